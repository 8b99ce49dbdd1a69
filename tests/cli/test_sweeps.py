"""The sweep files are run by W&B's agent as they are: its command, with values in place of `${args}`, is a fit."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ftreg.cli import Plan, build
from tests.cli.runs import ROOT

SWEEPS = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))


def value(parameter: dict[str, Any], last: bool) -> Any:
    if "values" in parameter:
        return parameter["values"][-1 if last else 0]
    return parameter["max" if last else "min"]


@pytest.mark.parametrize("last", [False, True], ids=["lowest", "highest"])
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_a_list_of_fits(path: Path, last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sweep = yaml.safe_load(path.read_text())
    env, *command = sweep["command"]
    assert (env, command[:2], command[-1]) == ("${env}", ["ftreg", "fit"], "${args}")
    # As the agent writes them.
    given = {name: value(parameter, last) for name, parameter in sweep["parameters"].items()}
    plan = build(
        [*command[1:-1], *(f"--{name}={v}" for name, v in given.items()), "--model.backbone=tiny", "--data.source=tsv"],
        Plan,
    )
    assert sweep["metric"] == {"name": f"{plan.datamodule.evaluation_splits[0]}/score", "goal": "maximize"}
    config = plan.config.fit
    for name, expected in given.items():
        if name.startswith("trainer.callbacks."):
            (entry,) = config.trainer.callbacks
            assert entry.init_args[name.rpartition(".")[2]] == expected
        else:
            assert config[name] == pytest.approx(expected)
