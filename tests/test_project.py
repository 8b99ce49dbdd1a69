"""The project's own files agree with each other, and what needs no torch does not import it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import ftreg
from ftreg.__main__ import COMMANDS, HOMES, main

ROOT = Path(__file__).parent.parent


def test_citation_is_valid_and_of_this_version() -> None:
    from cffconvert.citation import Citation

    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    Citation(cffstr=text).validate()
    fields = yaml.safe_load(text)
    assert str(fields["version"]) == ftreg.__version__
    assert fields["license"] == "Apache-2.0"


def test_constraints_pin_every_dependency() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", text, re.MULTILINE))
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    assert pinned["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    wanted = {re.match(r"[A-Za-z0-9_-]+", one)[0].lower() for one in project["dependencies"] + extras}  # type: ignore[index]
    assert wanted <= pinned.keys()


def test_changelog_has_an_unreleased_section() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "statement",
    ["import ftreg", "import glue_tasks", "import ftreg.__main__ as m; m.main(['--help']); m.main(['--version'])"],
)
def test_without_torch(statement: str) -> None:
    check = f"import sys; {statement}; sys.exit('torch' in sys.modules or 'pytorch_lightning' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from ftreg.cli.command import Cli

    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert set(COMMANDS) - set(HOMES) == set(Cli.subcommands())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ftreg {ftreg.__version__}\n"


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fitt", "--data.task", "rte"]) == 2
    assert capsys.readouterr().err == (
        "ftreg: error: no command 'fitt'; did you mean 'fit'? "
        "Valid: fit, validate, test, predict, bench, report, cite\n"
    )


def test_a_report_without_its_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def lacking(name: str) -> None:
        raise ModuleNotFoundError(name, name="scipy")

    monkeypatch.setattr("ftreg.__main__.importlib.import_module", lacking)
    assert main(["report", "runs"]) == 2
    assert capsys.readouterr().err == "ftreg: error: ftreg report needs scipy; pip install 'ftreg[report]'\n"
