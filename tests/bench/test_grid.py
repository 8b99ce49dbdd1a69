"""What a grid means, and what is refused before anything starts."""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from ftreg.bench import grid
from ftreg.bench.cells import budget, named, tuning
from ftreg.bench.command import main
from tests.bench.conftest import Bench, Write
from tests.cli.runs import ROOT

TUNE = {
    "seeds": [8, 9],
    "settings": {"plain": [["--model.lr=1e-5"], ["--model.lr=2e-5"]], "mixout": [["--model.lr=1e-5"], []]},
}


def test_settings_in_the_order_in_which_the_later_one_wins(write: Write) -> None:
    path = write(
        base=["--a.a=1"],
        protocol="dev",
        train_subset=9,
        tasks={"t": ["--t.t=1"]},
        stage_one=["--s.s=1"],
        methods={"m": ["--m.m=1"]},
        seeds={"init": [3, 4], "split": [5]},
    )
    cells = named(grid.read_grid(path), {})
    assert [cell.name for cell in cells] == ["t/m/3-0-5", "t/m/4-0-5"]
    common = ["--a.a=1", "--data.protocol=dev", "--data.train_subset=9", "--t.t=1", "--s.s=1", "--m.m=1"]
    assert list(cells[0].arguments) == [*common, "--seeds.init=3", "--seeds.order=0", "--seeds.split=5"]


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ({"init+order": [1, 2], "split": 7}, [(1, 1, 7), (2, 2, 7)]),
        ({"split+init": [1, 2], "order": [3, 4]}, [(1, 3, 1), (1, 4, 1), (2, 3, 2), (2, 4, 2)]),
        ({"order": [3, 4]}, [(0, 3, 0), (0, 4, 0)]),
    ],
)
def test_seeds_together_and_crossed(write: Write, seeds: Any, expected: list[tuple[int, ...]]) -> None:
    assert [astuple(s) for s in grid.read_grid(write(seeds=seeds)).seeds] == expected


def test_seeds_are_paired_across_methods(write: Write) -> None:
    cells = named(grid.read_grid(write()), {})
    by_method = {m: [astuple(c.seed) for c in cells if c.method == m] for m in ("plain", "mixout")}
    assert by_method["plain"] == by_method["mixout"] == [(0, 0, 0), (1, 1, 1)]


def test_files_beside_the_grid_come_first(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "b.yaml").touch()
    (tmp_path / "a.yaml").touch()
    (here / "a.yaml").touch()
    monkeypatch.chdir(here)
    assert grid.read_grid(write(base=["a.yaml", "b.yaml"])).base == (
        f"--config={tmp_path / 'a.yaml'}",
        "--config=b.yaml",
    )


def test_tuning_gives_every_method_as_many_settings(write: Write) -> None:
    found = [cell.name for cell in tuning(grid.read_grid(write(tune=TUNE)))]
    assert found == [f"tune/rte/{m}.{n}/{s}" for m in ("plain", "mixout") for n in (0, 1) for s in (8, 9)]


def test_a_budget_is_rounded_in_favour_of_plain() -> None:
    assert budget(3, 20, -1) == ("--trainer.max_epochs=60",)
    assert budget(2.5, 3, -1) == ("--trainer.max_epochs=8",)
    assert budget(1.1, None, 100) == ("--trainer.max_steps=110",)


def test_the_primary_family(write: Write) -> None:
    assert grid.read_grid(write(primary="plain")).primary == (("mixout", "plain"),)
    assert grid.read_grid(write(primary="matched", match_compute=True)).primary == (("mixout", "plain@mixout"),)
    assert grid.read_grid(write(primary=[["plain", "mixout"]])).primary == (("plain", "mixout"),)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "grids").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_grids_of_this_repository(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "tests")
    assert len(grid.read_grid(path).methods) > 1


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"method": {}}, "no key 'method'; did you mean 'methods'? Valid: base, tasks, "),
        ({"seeds": None}, "seeds is missing"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] has one of them twice"),
        ({"seeds": [0.5]}, "seeds: found [0.5]; give a list of whole numbers"),
        ({"seeds": {"int": [1]}}, "seeds: no seed 'int'; did you mean 'init'?"),
        ({"seeds": {"init+spilt": [1]}}, "seeds: no seed 'spilt'; did you mean 'split'?"),
        ({"seeds": {"init+order": [1], "order": [2]}}, "seeds: order is there twice; name each seed once"),
        ({"seeds": {"init+order": 0.5}}, "seeds.init+order: found 0.5; give a list of whole numbers"),
        ({"methods": {"a/b": []}}, "methods: the name 'a/b' cannot be a folder's"),
        ({"methods": {"plain": "x"}}, "methods.plain: found 'x'; give a list"),
        ({"methods": {"plain": ["gird.yaml"]}}, "methods.plain: no file 'gird.yaml' in "),
        ({"methods": {"plain": ["--model.lr", "1"]}}, "methods.plain: found '--model.lr'; write --option=value"),
        ({"base": ["--seeds.init=1"]}, "base: option seeds.init is the grid's to set"),
        ({"match_compute": {"mixuot": 3}}, "match_compute: no method 'mixuot'; did you mean 'mixout'?"),
        ({"match_compute": {"mixout": "3x"}}, "match_compute.mixout: found '3x'"),
        ({"match_compute": True, "methods": {"mixout": []}}, "match_compute: there is no method 'plain'"),
        ({"tune": TUNE, "seeds": [9]}, "tune.seeds: init 9 is among seeds too"),
        ({"tune": {**TUNE, "seeds": {"init": [8], "order": [0, 1]}}}, "tune.seeds: order 0 is among seeds too"),
        ({"tune": TUNE, "protocol": "dev"}, "tune: there is no selection split under this protocol"),
        ({"tune": {**TUNE, "settings": {"mixout": [[]]}}}, "tune.settings: none for plain"),
        ({"tune": {**TUNE, "settings": {"plain": [[]], "mixout": [[], []]}}}, "mixout has 2 and plain has 1"),
        ({"primary": "plian"}, "primary: no method 'plian'; did you mean 'plain'?"),
        ({"primary": "matched"}, "primary: matched is for a grid with match_compute"),
        ({"primary": ["plain/mixout"]}, "primary: found 'plain/mixout'; give pairs"),
        ({"primary": 3}, "primary: found 3; give pairs [method, baseline]"),
        ({"primary": [["plain", "plain"]]}, "primary: plain is compared with itself"),
        ({"slurm": {"time": 14400}}, 'slurm.time: found 14400; write it in quotes, "4:00:00"'),
        ({"tune": TUNE, "base": ["--data.protocol=dev"]}, "tune/rte/plain.0/8: tune: there is no selection split"),
        ({"tasks": ["rtee"]}, "rtee/plain/0: unknown task 'rtee'; did you mean 'rte'?"),
        ({"methods": {"m": ["--trainer.callbacks+=Mixuot"]}}, "rte/m/0: no method 'Mixuot'; did you mean 'Mixout'?"),
        ({"methods": {"m": ["--trainer.callbacks+=Mixout", "--trainer.callbacks.p=2"]}}, "rte/m/0: Mixout.p is 2.0"),
        ({"methods": {"m": ["--trainer.callbacks+=FreeLB", "--trainer.callbacks+=PGD"]}}, "rte/m/0: FreeLB and PGD"),
        ({"methods": {"m": ["--model.lr=-1"]}}, "rte/m/0: model.lr is -1.0"),
        ({"methods": {"m": ["--trainer.limit_train_batches=2"]}}, "rte/m/0: trainer.limit_train_batches: runs are"),
    ],
)
def test_complaints(
    bench: Bench, pretend: None, runs: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], line: str
) -> None:
    assert bench(**keys) == 2
    out, err = capsys.readouterr()
    assert line in err
    assert err.startswith("ftreg bench: error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere.yaml"], "nowhere.yaml: cannot be read (No such file or directory)"),
        ([], "the following arguments are required: grid"),
        ([f"{ROOT}/experiments/grids/quick.yaml", "--workers=-1"], "--workers is -1; give 1 or more"),
    ],
)
def test_complaints_about_arguments(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, f"--runs={tmp_path / 'runs'}"]) == 2
    assert line in capsys.readouterr().err
