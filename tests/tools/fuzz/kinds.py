"""Kinds of inputs: each writes one into a folder, and says how it is read.

What a command would compute after it has read is left out: a plan in place of a fit, no figures of a report.
"""

import json
import random as of_random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ftreg.__main__ import main
from ftreg._base.messages import answered, reading
from ftreg._base.quiet import quiet
from ftreg.bench.plans import Checked
from ftreg.cli.plan import Parsed, build
from ftreg.report import figures, page
from glue_tasks.data import GlueDataModule
from glue_tasks.submission import validate_submission, write_submission
from tests.report.records import grid
from tests.tools.fuzz.answer import Worker
from tests.tools.fuzz.declarations import BASE, CONFIGURATION, GRID, METHODS, OPTIONS, TASK, TEXTS
from tests.tools.fuzz.mutate import NASTY, altered, as_json, as_yaml, mutated

Random = of_random.Random
Run = Callable[[], int]


@dataclass(frozen=True)
class Material:
    """Right inputs, made once.

    Args:
        run: a finished fit's folder.
        runs: a folder of a bench.
        submission: what the GLUE server takes.
    """

    run: Path
    runs: Path
    submission: Path

    @classmethod
    def made(cls, folder: Path) -> "Material":
        quiet()
        figures.draw = lambda report, out: {}  # type: ignore[assignment]
        page.write = lambda report, out, drawn: out / "index.html"  # type: ignore[assignment]
        fit = {"fit": Parsed.subcommands()["fit"]}  # a parser is made for each of them
        Parsed.subcommands = staticmethod(lambda: fit)  # type: ignore[method-assign]
        run, runs = folder / "fit", folder / "runs"
        arguments = ["fit", *BASE, "--trainer.max_steps=2", f"--trainer.default_root_dir={run}"]
        # Forked processes wait for threads that only their parent has: it must not compute.
        worker = Worker(lambda arguments: lambda: main(arguments))
        made = worker.answer(arguments, folder, 600)
        worker.close()
        assert made.code == 0, made.err
        grid(runs, {"plain": [0.5, 0.6, 0.55], "mixout": [0.6, 0.7, 0.5]}, family=[("mixout", "plain")])
        write_submission({}, folder / "submission")
        return cls(run, runs, folder / "submission" / "submission.zip")


def answered_as(run: Callable[[], Any]) -> Run:
    """A reader with the boundary that every command has."""

    @answered("ftreg")
    def command() -> int:
        with reading():
            run()
        return 0

    return command


def data(random: Random, folder: Path, material: Material) -> Run:
    """Files of one's own: CSV, TSV, JSONL, lines of text."""
    end = random.choice(("csv", "tsv", "jsonl", "txt"))
    text = TEXTS[end].encode()
    for split in ("train", "dev", "test"):
        content = mutated(text, random) if random.random() < 0.6 else text
        (folder / f"{split}.{end}").write_bytes(content.replace(b"\n", b"\r\n") if random.random() < 0.1 else content)
    task: Any = random.choice(("text", "nsp", "sop")) if end == "txt" else altered_sometimes(TASK, random, 0.3)
    source = "text" if end == "txt" else "files"
    path = str(folder / "train.txt") if end == "txt" else str(folder)

    def read() -> None:
        module = GlueDataModule(task, "", source, path, protocol=random.choice(("holdout", "dev")))
        assert module.fingerprints

    return answered_as(read)


def configurations(random: Random, folder: Path, material: Material) -> Run:
    """A file with values, keys or bytes of another one, and options on the command line."""
    config = altered_sometimes(CONFIGURATION, random, 0.7)
    if isinstance(config, dict) and isinstance(config.get("trainer"), dict) and random.random() < 0.5:
        name = random.choice([*METHODS])
        entry = {"class_path": name, "init_args": altered_sometimes(METHODS[name], random, 0.7)}
        config["trainer"]["callbacks"] = [entry] if random.random() < 0.9 else entry
    content = as_yaml(config, random)
    (folder / "a.yaml").write_bytes(mutated(content, random) if random.random() < 0.4 else content)
    arguments = ["--config=a.yaml"] * random.choice((0, 1, 1, 1, 1, 2))
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        value = random.choice(NASTY)
        text = value if isinstance(value, str) and "\0" not in value else json.dumps(value) if _short(value) else "x"
        arguments.append(f"--{random.choice(OPTIONS)}={text}")
        if random.random() < 0.1:
            arguments[-1:] = arguments[-1].split("=", 1)
    stage = random.random() < 0.05
    if stage:
        (folder / "stage.yaml").write_bytes(mutated(as_yaml(altered(CONFIGURATION, random), random), random))
        arguments += ["--trainer.callbacks+=TwoStage", "--trainer.callbacks.stages=[stage.yaml]"]

    @answered("ftreg")
    def command() -> int:
        build(["fit", *BASE, *arguments], Checked)
        return 0

    return command


def grids(random: Random, folder: Path, material: Material) -> Run:
    """Grid files, listed but not run."""
    content = as_yaml(altered(GRID, random), random)
    (folder / "grid.yaml").write_bytes(mutated(content, random) if random.random() < 0.4 else content)
    return lambda: main(["bench", "grid.yaml", "--dry-run", "--runs=runs"])


def records(random: Random, folder: Path, material: Material) -> Run:
    """A folder of runs with one file, or two, that are damaged or foreign."""
    shutil.copytree(material.runs, folder / "runs")
    shutil.copytree(material.run, folder / "runs" / "rte" / "plain" / "3", ignore=shutil.ignore_patterns("*.ckpt"))
    files = sorted(path for path in (folder / "runs").rglob("*") if path.is_file())
    for path in random.sample(files, random.choice((1, 1, 2))):
        content = path.read_bytes()
        if path.suffix == ".json" and random.random() < 0.7:
            content = as_json(altered(json.loads(content), random))
        elif path.suffix == ".yaml" and random.random() < 0.3:
            content = as_yaml(altered({"data": {"task": "rte"}}, random), random)
        else:
            content = mutated(content, random)
        path.write_bytes(content)
    if random.random() < 0.05:
        (folder / "runs" / "rte" / "mixout" / "0" / "error.json").write_bytes(as_json(random.choice(NASTY[:9])))
    if random.random() < 0.2:
        return lambda: main(["cite", "runs"])
    return lambda: main(["report", "runs", "--out=report"])


def scores(random: Random, folder: Path, material: Material) -> Run:
    """A CSV file of scores, for a report."""
    lines = ["task,method,seed,score,step"]
    cells = [(method, seed, step) for method in ("plain", "b") for seed in range(3) for step in (1, 2)]
    lines += [f"rte,{method},{seed},{0.5 + seed / 10 + len(method) / 100},{step}" for method, seed, step in cells]
    if random.random() < 0.5:
        lines = [line.rpartition(",")[0] for line in lines]
    (folder / "scores.csv").write_bytes(mutated("\n".join(lines).encode(), random))
    more = random.choice([""] * 6 + ["--alpha=nan", "--effect=x", "--baseline=", "--columns=a=b", "--metric=x"])
    return lambda: main(["report", "scores.csv", "--out=report", *more.split()])


def checkpoints(random: Random, folder: Path, material: Material) -> Run:
    """A checkpoint with other bytes, or other values in their places."""
    path = folder / "fit" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    whole = material.run / "checkpoints" / "last.ckpt"
    if random.random() < 0.6:
        path.write_bytes(mutated(whole.read_bytes(), random))
    else:
        content = torch.load(whole, weights_only=True)
        weights = content.pop("state_dict")
        content = altered(content, random)
        if isinstance(content, dict):
            if random.random() < 0.3:
                weights.pop(random.choice([*weights]))
            content["state_dict"] = random.choice([weights] * 8 + [None, [], {"a": 1}])
        torch.save(content, path)
    command = random.choice(("fit", "fit", "validate"))
    if command == "fit":
        return answered_as(lambda: build(["fit", *BASE, "--trainer.max_steps=2", f"--ckpt_path={path}"], Checked))
    return answered_as(lambda: _loaded(path))


def _loaded(path: Path) -> None:
    from ftreg.lightning.finetuner import FineTuner
    from ftreg.run.checkpoints import Whole

    content = Whole().load_checkpoint(path)
    model = FineTuner(**content["hyper_parameters"])
    model.configure_model()
    model.on_load_checkpoint(content)
    model.load_state_dict(content["state_dict"])


def submissions(random: Random, folder: Path, material: Material) -> Run:
    """Predictions for the GLUE server, and a zip of them."""
    if random.random() < 0.4:
        given: Any = altered({"rte.test": [0, 1, 0], "stsb.test": [0.5] * 5}, random)
        if random.random() < 0.7 and isinstance(given, dict):
            given = {"wnli.test": altered([0] * 146, random)}
        return answered_as(lambda: write_submission(given, folder / "out"))
    file = folder / "submission.zip"
    shutil.copy(material.submission, file)
    if random.random() < 0.5:
        file.write_bytes(mutated(file.read_bytes(), random))
    else:
        with zipfile.ZipFile(material.submission) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            changed = random.choice(source.namelist())
            for name in source.namelist():
                content = source.read(name)
                target.writestr(name, mutated(content, random) if name == changed else content)
    return answered_as(lambda: validate_submission(file))


def altered_sometimes(value: Any, random: Random, share: float) -> Any:
    """Another value, or the same one."""
    return altered(value, random) if random.random() < share else altered_not(value)


def altered_not(value: Any) -> Any:
    """A copy."""
    return json.loads(json.dumps(value))


def _short(value: Any) -> bool:
    return not isinstance(value, int) or abs(value) < 10**300


@dataclass(frozen=True)
class Kind:
    """How inputs of a kind are made, and how many of them come in a round."""

    make: Callable[[Random, Path, Material], Run]
    share: int


KINDS: Mapping[str, Kind] = {
    "data": Kind(data, 8),
    "configurations": Kind(configurations, 4),
    "grids": Kind(grids, 3),
    "records": Kind(records, 3),
    "scores": Kind(scores, 3),
    "checkpoints": Kind(checkpoints, 2),
    "submissions": Kind(submissions, 3),
}
