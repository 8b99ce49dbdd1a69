"""The table of what holds: every method in every loop on every encoder, and on every head, run and written down.

    python -m ftreg.testing.contract_table experiments/contracts.md [--jobs 2]

A cell of the first table is one training of `ftreg.testing.drivers`, whole and broken off: exact where its weights are
those of the bare loop to 1e-9 in float64, and those of the training that went on are bit for bit its own. A cell of the
second is one step of `ftreg.testing.given_models`.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import torch

import ftreg
from ftreg._base.atomic import write_atomically
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer
from ftreg.testing import drivers
from ftreg.testing.cases import CASES
from ftreg.testing.encoders import ARCHITECTURES, checkpoint
from ftreg.testing.fits import quiet
from ftreg.testing.given_models import HEADS, cell

EXACT = "exact"
TOLERANCE = 1e-9
Cells = dict[tuple[str, str], str]


def in_loops(method: str, architecture: str, names: Iterable[str] = tuple(drivers.DRIVERS)) -> dict[str, str]:
    """Train with a method on an encoder in each loop, whole and with a break.

    Args:
        method: of `ftreg.testing.CASES`.
        architecture: of `ftreg.testing.encoders`.
        names: of the loops; the bare one is always run.

    Returns:
        by loop, `exact`, how far it is off, or the line that refuses it.
    """
    case, found = CASES[method], dict[str, str]()
    build = case.card if case.on is None else partial(case.on, architecture)

    def methods() -> list[Regularizer]:
        return [build()]

    with tempfile.TemporaryDirectory() as folder:
        backbone = checkpoint(Path(folder) / "encoder", architecture)
        first: drivers.Weights = {}
        for number, name in enumerate(dict.fromkeys(["plain loop", *names])):
            place = Path(folder) / str(number)
            place.mkdir()
            try:
                whole = drivers.DRIVERS[name](backbone, methods, place, False)
                again = drivers.DRIVERS[name](backbone, methods, place, True)
            except UsageError as refusal:
                found[name] = str(refusal).replace(backbone, architecture)
                continue
            first = first or whole
            if whole.keys() != first.keys():
                found[name] = "other parameters"
                continue
            gap = max(float((whole[key] - value).abs().max()) for key, value in first.items())
            same = all(torch.equal(again[key], value) for key, value in whole.items())
            found[name] = f"{gap:.0e} off" if gap > TOLERANCE else EXACT if same else "not resumed exactly"
    return found


def on_head(method: str, head: str, backbone: str) -> str:
    """Return `exact`, or the line that refuses a method on a head of BERT."""
    return cell(CASES[method], "bert", head, backbone) or EXACT


def rendered(loops: Mapping[tuple[str, str, str], str], heads: Mapping[tuple[str, str], str]) -> str:
    """Return the document: a cell is `exact`, or the number of the note that says what is refused, and why.

    Args:
        loops: by method, encoder and loop.
        heads: by method and head.
    """
    notes: list[str] = []

    def short(cells: Iterable[str]) -> str:
        others = [*dict.fromkeys(found for found in cells if found != EXACT)]
        notes.extend(note for note in others if note not in notes)
        return " ".join(f"[{notes.index(note) + 1}]" for note in others) or EXACT

    methods = [*dict.fromkeys(method for method, _, _ in loops)]
    encoders, names = (list(dict.fromkeys(key[place] for key in loops)) for place in (1, 2))
    by_loop = {(m, n): short(loops[m, e, n] for e in encoders) for m in methods for n in names}
    by_encoder = {(m, e): short(loops[m, e, n] for n in names) for m in methods for e in encoders}
    by_head = {(m, h): short([heads[m, h]]) for m in methods for h in dict.fromkeys(head for _, head in heads)}
    text = [
        "# What holds where",
        f"Written by `python -m ftreg.testing.contract_table` of ftreg {ftreg.__version__} with torch "
        f"{torch.__version__.partition('+')[0]}: {len(loops):,} trainings of {drivers.STEPS} optimizer steps, each "
        f"whole and broken off, and {len(heads)} steps on other heads. Tiny encoders with random weights, float64, one "
        "process on a CPU, dropout on, clipping, a schedule, two micro-batches a step.",
        "**exact**: the weights are those of the bare loop to 1e-9, and a training that was broken off and went on "
        "from what it had saved ends with the same bits as the whole one. On a head: plain is the model's own loss to "
        "1e-12, the null settings are plain bit for bit, and the method changes the gradient. Numbers are of notes.",
        "## Methods × loops, on every encoder",
        _table(methods, names, by_loop),
        "## Methods × encoders, in every loop",
        _table(methods, encoders, by_encoder),
        "## Methods × heads, of BERT in an engine",
        _table(methods, [*dict.fromkeys(head for _, head in heads)], by_head),
        "## Notes",
        "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)) or "None.",
    ]
    return "\n\n".join(text) + "\n"


def _table(rows: list[str], columns: list[str], cells: Mapping[tuple[str, str], str]) -> str:
    head = f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}"
    return "\n".join([head, *(f"| {r} | {' | '.join(cells[r, c] for c in columns)} |" for r in rows)])


def _prepare() -> None:
    torch.set_num_threads(1)
    quiet()


def _loops_of(pair: tuple[str, str]) -> tuple[tuple[str, str], dict[str, str]]:
    return pair, in_loops(*pair)


def main() -> None:
    """Run everything and write the document, whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    loops: dict[tuple[str, str, str], str] = {}
    pairs = [(method, architecture) for architecture in ARCHITECTURES for method in CASES]
    with multiprocessing.get_context("forkserver").Pool(options.jobs, _prepare) as pool:
        for (method, architecture), found in pool.imap(_loops_of, pairs):
            loops |= {(method, architecture, name): value for name, value in found.items()}
            print(method, architecture, *({*found.values()}), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            backbone = checkpoint(Path(folder), "bert")
            heads = [(method, head) for method in CASES for head in HEADS]
            lines = pool.starmap(on_head, [(method, head, backbone) for method, head in heads])
            lines = [line.replace(backbone, "bert") for line in lines]
    text = rendered(loops, dict(zip(heads, lines, strict=True)))
    write_atomically(options.file, lambda temporary: temporary.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
