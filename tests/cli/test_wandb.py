"""What a run leaves in Weights & Biases, read back from its offline files."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from ftreg.bench.command import main as bench
from ftreg.run.evaluations import Last
from tests.cli.offline import config, described, history, offline
from tests.cli.runs import BASE, MIXOUT, ROOT, SHORT, fit, metrics, result


def test_offline_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, *BASE, *MIXOUT, "--seeds.order=3")
    out, err = capsys.readouterr()
    assert err == ""
    assert [line for line in out.splitlines() if "wandb" in line.removeprefix(f"record {tmp_path}").lower()] == [
        f"Weights & Biases: no API key, so offline; `wandb sync {tmp_path}/wandb/offline-run-*` uploads it later"
    ]
    (run,) = offline(tmp_path)
    told = described(run)
    assert (told.project, told.run_group, told.display_name) == ("ftreg", "rte/Mixout", "0-3-0")
    found = config(run)
    assert found["seeds"] == {"init": 0, "order": 3, "split": 0}
    assert found["model"]["max_grad_norm"] == 1.0
    (method,) = found["methods"]
    assert (method["name"], method["options"]["p"]) == ("Mixout", 0.7)
    rows = history(run)
    scores = [row["selection/score"] for row in rows if "selection/score" in row]
    assert len(scores) == 5  # of five steps, each is evaluated after
    record = result(tmp_path)["scores"]
    final = next(row for row in rows if "last/dev/accuracy" in row)
    assert final["last/dev/accuracy"] == pytest.approx(record["dev"]["last"]["accuracy"])
    assert final["best/selection/accuracy"] == pytest.approx(max(scores))
    assert final["trainer/global_step"] == 5


def test_gone_on_with_it_is_the_same_run(tmp_path: Path) -> None:
    fit(tmp_path, *BASE)
    (first,) = offline(tmp_path)
    fit(tmp_path, *BASE, f"--ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}")
    known = {described(run).run_id for run in offline(tmp_path)}
    assert known == {described(first).run_id}
    fit(tmp_path, *BASE, "--overwrite")
    (other,) = offline(tmp_path)
    assert described(other).run_id not in known


def test_what_is_logged_again_has_its_number_and_its_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after the third step was logged, and before its checkpoint."""

    def cut(self: Last, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 3:
            raise ZeroDivisionError
        save(self, trainer, *_)

    save = Last.on_validation_end
    options = [*BASE, "--trainer.log_every_n_steps=1"]
    with monkeypatch.context() as patch:
        patch.setattr(Last, "on_validation_end", cut)
        with pytest.raises(ZeroDivisionError):
            fit(tmp_path, *options)
    found: dict[int, list[dict[str, Any]]] = {}
    fit(tmp_path, *options, f"--ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}")
    for run in offline(tmp_path):
        for row in history(run):
            found.setdefault(row["_step"], []).append(
                {k: v for k, v in row.items() if k not in ("_timestamp", "_runtime")}
            )
    assert max(map(len, found.values())) == 2
    assert all(row == rows[0] for rows in found.values() for row in rows)
    assert [rows[0]["trainer/global_step"] for _, rows in sorted(found.items())] == [
        int(row["step"]) for row in metrics(tmp_path)
    ]


def test_a_cell_is_a_run_of_its_arm(tmp_path: Path) -> None:
    """Two arms with the same method are two groups."""
    grid = {
        "base": [str(ROOT / "experiments" / "base.yaml"), *(a for a in SHORT if a.startswith("--"))],
        "tasks": ["rte"],
        "methods": {f"mixout_{p}": ["--trainer.callbacks+=Mixout", f"--trainer.callbacks.p={p}"] for p in (0.5, 0.7)},
        "seeds": [1],
    }
    (tmp_path / "grid.yaml").write_text(json.dumps(grid))
    assert bench([str(tmp_path / "grid.yaml"), f"--runs={tmp_path}", "--workers=2"]) == 0
    for method in grid["methods"]:
        (run,) = offline(tmp_path / "rte" / method / "1")
        assert (described(run).run_group, described(run).display_name) == (f"rte/{method}", "1")
