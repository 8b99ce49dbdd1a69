"""`ftreg cite` prints the BibTeX of exactly what configurations and runs use.

What a fit cites follows from `ftreg.run.provenance.Fit` alone: from its methods at their options, its tasks, its
software, and the fits that it starts from. The entries are those of `references.bib` beside this file.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NoReturn

from ftreg._base.errors import UsageError
from ftreg._base.messages import reading
from ftreg.run.provenance import Fit, read_fits
from glue_tasks.documents import TASKS as TEXT_TASKS

BENCHMARK = "wang2019glue"
TASKS: Mapping[str, tuple[str, ...]] = {
    "cola": (BENCHMARK, "warstadt2019cola"),
    "sst2": (BENCHMARK, "socher2013sst"),
    "mrpc": (BENCHMARK, "dolan2005mrpc"),
    "stsb": (BENCHMARK, "cer2017stsb"),
    "qqp": (BENCHMARK, "iyer2017qqp"),
    "mnli": (BENCHMARK, "williams2018mnli"),
    "qnli": (BENCHMARK, "rajpurkar2016squad"),
    "rte": (BENCHMARK, "dagan2006rte", "barhaim2006rte", "giampiccolo2007rte", "bentivogli2009rte"),
    "wnli": (BENCHMARK, "levesque2012winograd"),
    "ax": (BENCHMARK,),
    "text": (),
    "nsp": ("devlin2019bert",),
    "sop": ("lan2020albert",),
}
STATISTICS: Mapping[str, tuple[str, ...]] = {
    "permutation tests": ("fisher1935design", "good2005permutation", "phipson2010permutation"),
    "signed ranks": ("wilcoxon1945individual",),
    "equal variances": ("levene1960robust", "brown1974robust"),
    "multiple tests": ("holm1979simple",),
    "bootstrap": ("efron1993bootstrap", "owen2007pigeonhole"),
    "variance components": ("searle1992variance",),
    "almost stochastic order": ("delbarrio2018optimal", "dror2019deep"),
    "expected maximum": ("dodge2019show", "tang2020showing"),
    "seeds": ("dodge2020finetuning",),
    "strong baseline": ("mosbach2021stability", "zhang2021revisiting"),
}
SOFTWARE = (
    "ftreg",
    "paszke2019pytorch",
    "falcon2019lightning",
    "wolf2020transformers",
    "detlefsen2022torchmetrics",
    "lhoest2021datasets",
)
WANDB = "biewald2020wandb"
TOWARDS_ANCHOR = "li2018l2sp"
"""`model.decay_towards=anchor`."""


@dataclass
class Cited:
    """BibTeX keys by group, and by group what has no entry here."""

    methods: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    statistics: set[str] = field(default_factory=set)
    software: set[str] = field(default_factory=lambda: set(SOFTWARE))
    own: dict[str, set[str]] = field(default_factory=lambda: {"methods": set(), "tasks": set()})


def statistics_keys() -> tuple[str, ...]:
    """Return the keys of every statistic that a report has."""
    return tuple(key for keys in STATISTICS.values() for key in keys)


def cited(fits: Iterable[Fit], statistics: bool = False) -> Cited:
    """Return what fits cite, with those that they start from; `statistics` adds those of a report."""
    found = Cited(statistics=set(statistics_keys()) if statistics else set())
    known = entries().keys()
    for fit in _and_starts(fits):
        papers = {*_papers(fit)}
        found.methods |= papers & known
        found.own["methods"] |= papers - known | {method.name for method in fit.methods if not method.papers}
        found.own["methods"].update(fit.own_methods)
        found.tasks.update(key for task in fit.tasks for key in TASKS[task])
        found.own["tasks"].update(fit.own_tasks, TEXT_TASKS.keys() & {*fit.tasks})
        if fit.wandb:
            found.software.add(WANDB)
    return found


def entries() -> dict[str, str]:
    """Return the text of every entry, by its key."""
    text = (resources.files("ftreg.cli") / "references.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in re.finditer(r"^@\w+\{([^,]+),\n.*?^\}$", text, re.MULTILINE | re.DOTALL)}


def render(found: Cited) -> str:
    """Return BibTeX: a comment before each group, entries ordered by key, each in the first group that has it."""
    texts = entries()
    parts: list[str] = []
    shown: set[str] = set()
    for group in ("methods", "tasks", "statistics", "software"):
        fresh = getattr(found, group) - shown
        shown |= fresh
        # BibTeX takes an @ for an entry, in a comment too.
        own = sorted(re.sub(r"[^\w.+:/-]+", "_", name) for name in found.own.get(group, ()))
        if fresh or own:
            parts.append(f"% {group}{'; to be added, of your own: ' * bool(own)}{', '.join(own)}")
            parts.extend(texts[key] for key in sorted(fresh))
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Run `ftreg cite`; returns the exit code, 2 for a mistake in the input.

    Args:
        arguments: those after the command.
    """
    parser = _Parser(
        prog="ftreg cite",
        allow_abbrev=False,
        description="Print the BibTeX of the methods, tasks and software that configurations or runs use.",
        epilog="for example: ftreg cite runs/rte > used.bib",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="CONFIG|DIR",
        help="a YAML file of ftreg fit, a run's folder, a folder of runs, or a report's folder",
    )
    parser.add_argument("--statistics", action="store_true", help="add the statistics, as for a report's folder")
    options = parser.parse_args(list(arguments))
    with reading():
        told = [read_fits(path.expanduser()) for path in options.paths]
    statistics = options.statistics or any(report for _, report in told)
    print(render(cited((fit for fits, _ in told for fit in fits), statistics)))
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise, where the stock parser prints its usage and exits."""
        raise UsageError(f"cite: {message}; see ftreg cite --help")


def _and_starts(fits: Iterable[Fit]) -> Iterator[Fit]:
    for fit in fits:
        at: Fit | None = fit
        while at is not None:
            yield at
            at = at.start


def _papers(fit: Fit) -> Iterator[str]:
    if fit.methods:
        from ftreg.core.roles import StartsFromFits
    for method in fit.methods:
        yield from method.cites
        if isinstance(method, StartsFromFits):
            yield from method.cites_start(None if fit.start is None else fit.start.supervised)
    if fit.towards_anchor:
        yield TOWARDS_ANCHOR
