"""The sweep files are run by W&B's agent as they are: its command, with values in place of `${args}`, is a fit."""

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from wandb.wandb_agent import Agent

from ftreg.cli.plan import FitPlan, build
from tests.cli.offline import config, described, history, offline
from tests.cli.runs import ROOT, SHORT, result

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
        FitPlan,
    )
    assert sweep["metric"] == {"name": f"{plan.datamodule.evaluation_splits[0]}/score", "goal": "maximize"}
    config = plan.config.fit
    for name, expected in given.items():
        if name.startswith("trainer.callbacks."):
            (entry,) = config.trainer.callbacks
            assert entry.init_args[name.rpartition(".")[2]] == expected
        else:
            assert config[name] == pytest.approx(expected)


def test_the_agent_runs_one(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B's own agent, given by hand what its server would send it, and made short by further parameters."""
    monkeypatch.chdir(ROOT)
    for name, given in (("WANDB_MODE", "offline"), ("WANDB_DIR", str(tmp_path)), ("WANDB_SWEEP_ID", "one")):
        monkeypatch.setenv(name, given)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    sweep = yaml.safe_load(SWEEPS[0].read_text())
    chosen = {name: value(parameter, True) for name, parameter in sweep["parameters"].items()}
    short = dict(option.removeprefix("--").split("=") for option in SHORT if "data.task" not in option)
    root = {"trainer.default_root_dir": str(tmp_path / "run")}
    agent = Agent(api=None, queue=None)
    agent._sweep_command = list(sweep["command"])
    arguments = {name: {"value": v} for name, v in (chosen | short | root).items()}
    with patch.dict(os.environ):  # where the agent leaves the run's name for whatever comes after it
        agent._command_run({"args": arguments, "run_id": "chosen", "program": None})
    assert agent._run_processes["chosen"]._popen.wait(timeout=300) == 0
    (run,) = offline(tmp_path / "run")
    assert (described(run).run_id, described(run).sweep_id) == ("chosen", "one")
    found = config(run)
    assert {name: found[name] for name in chosen} == pytest.approx(chosen)
    assert found["methods"] == result(tmp_path / "run")["methods"]
    assert any(sweep["metric"]["name"] in row for row in history(run))
