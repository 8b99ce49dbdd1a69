"""What is raised while a command reads is the input's fault; what is raised while it runs is ours."""

from collections.abc import Callable

import pytest

from ftreg._base.errors import UsageError
from ftreg._base.messages import answered, reading, running
from glue_tasks.errors import DataError


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero; mend the option or the file"),
        (ValueError("embedded null byte"), "a path has a NUL character"),
        (RecursionError("maximum"), "nested too deeply"),
        (KeyError("a"), "KeyError: 'a'; "),
        (FileNotFoundError(2, "No such file or directory", "/a"), "/a: No such file or directory"),
        (UsageError("model.lr is nan"), "model.lr is nan"),
        (DataError("train.csv:2: x"), "train.csv:2: x"),
        (ValueError("a\n\n b\0"), "ValueError: a b\\x00; mend"),
    ],
)
@pytest.mark.parametrize("where", ["", "rte/plain/0"])
def test_reading(error: Exception, line: str, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    @answered("ftreg")
    def command() -> int:
        with reading(where):
            _raise(error)
        return 0

    assert command() == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ftreg: error: {where}{': ' * bool(where)}{line}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("begun", "caught"), [(lambda: True, ZeroDivisionError), (lambda: False, UsageError)])
def test_running_inside_of_reading(begun: Callable[[], bool], caught: type[Exception]) -> None:
    with pytest.raises(caught), reading("stage one"), reading(), running(begun):
        _raise(ZeroDivisionError("division by zero"))


def test_running_keeps_what_tells_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    @answered("ftreg bench")
    def command() -> int:
        with reading(), running():
            _raise(OSError(28, "No space left on device", "a.ckpt"))
        return 0

    assert command() == 2
    assert capsys.readouterr().err == "ftreg bench: error: a.ckpt: No space left on device\n"


def test_an_exit_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), reading():
        raise SystemExit(0)
