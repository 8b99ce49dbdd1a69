"""What people write is read in one way, or refused in one line with its place."""

from pathlib import Path

import pytest
import yaml

from ftreg.__main__ import main
from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg._base.messages import LONGEST, shortened

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("{a: 1.5e3, b: 1E2, c: 0x1F, d: .inf}", {"a": 1500.0, "b": 100.0, "c": 31, "d": float("inf")}),
        ("2001-01-01", "2001-01-01"),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 'yes'\nb: \"null\"", {"a": "yes", "b": "null"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: *x", {"a": {"b": 1}, "c": {"b": 1, "d": 2}, "e": {"b": 1}}),
        ("a: !!str 3", {"a": "3"}),
        ("--- \na: 1\n...\n", {"a": 1}),
    ],
)
def test_values(text: str, value: object) -> None:
    assert yaml_text.parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", "x:3: the key 'a' is there twice"),
        ("m: {lr: 1, 'lr': 2}", "x:1: the key 'lr' is there twice"),
        ("a: 1\n---\nb: 2", "x:2: a second document"),
        ("1: a", "x: keys: the key 1 is no text; write it in quotes"),
        ("a: {no: 1}", "x: a: the key False is no text"),
        ("? [a]\n: 1", "x:1: a key that is no text"),
        ("a: !!python/object/apply:os.system [ls]", "x:1: the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !!int x", "x:1: not YAML (ValueError"),
        ("a: !!timestamp 2001-01-01", "x:1: the tag"),
        ("a: !!binary aGk=", "x:1: the tag"),
        ("a: " + "9" * 5000, "x:1: not YAML (ValueError: Exceeds the limit"),
        ("a: " + "9" * 400, "x: a: a whole number of 400 digits"),
        ("a: " + "[" * 1200 + "]" * 1200, "x:1: nested more than 31 levels deep"),
        ("a: " + "{b: " * 100_000, "x:1: 400,003 characters"),
        ("- " * 1000, "x:1: nested more than"),
        (BOMB, "more than 20,000 entries, with what aliases stand for"),
        ("a: &a [*a]", "x:1: *a stands for nothing, or for itself"),
        ("a: *b", "x:1: *b stands for nothing"),
        ("a:\n\tb: 1", "x:2: not YAML (found character '\\t'"),
        ("a: \x00", "x:1: not YAML (special characters are not allowed)"),
    ],
)
def test_refused(text: str, line: str) -> None:
    with pytest.raises(UsageError) as error:
        yaml_text.parse_yaml(text, "x")
    assert line in str(error.value)


def test_it_reads_as_the_parser_does() -> None:
    from ftreg.cli.parser import Parser

    parser = Parser()
    parser.add_argument("--a", type=float)
    assert parser.parse_string("a: 1e-5").a == yaml_text.parse_yaml("a: 1e-5")["a"] == 1e-5
    with pytest.raises(UsageError, match="line 2: the key 'a' is there twice"):
        parser.parse_string("a: 1\na: 2")


class TestFiles:
    def test_encodings(self, tmp_path: Path) -> None:
        file = tmp_path / "a.yaml"
        file.write_bytes(b"a: 1\nb: caf\xe9\n")
        assert str(_refused(file)) == f"{file}:2: not UTF-8 text; give a YAML file"
        assert str(_refused(Path("a\0b"))).startswith("'a\\x00b': no path (")
        file.write_text("a: é", encoding="utf-8-sig")
        assert yaml_text.read_yaml(file, "mend it") == {"a": "é"}


def _refused(path: Path) -> Exception:
    with pytest.raises(UsageError) as error:
        yaml_text.read_yaml(path, "mend it")
    return error.value


@pytest.mark.parametrize("command", [["fit", "--config"], ["bench"], ["cite"]])
def test_every_command_reads_so(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("seeds: [1]\nseeds: [2]")
    assert main([*command, str(file)]) == 2
    assert capsys.readouterr().err.endswith(f"error: {file}:2: the key 'seeds' is there twice; keep one of them\n")


def test_what_is_quoted_gives_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ("d" * 200) / ("e" * 200) / ("f" * 200)
    assert main(["cite", str(path)]) == 2
    line = capsys.readouterr().err
    assert len(line) <= 500
    assert line.startswith(f"ftreg: error: {tmp_path}"[:60])
    assert line.endswith(": no such file or folder; give a configuration, or a folder with runs\n")


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "found " + "'a b' " * 50_000 + "; mend it", "a\0b\x1b[31m\ud800\n\r"]
)
def test_any_text_becomes_a_short_line(text: str) -> None:
    line = shortened(text)
    assert len(line) <= LONGEST
    assert line.isprintable()
    assert "mend it" not in text or line.endswith("; mend it")
    line.encode()


def test_configurations_that_we_write_are_read(tmp_path: Path) -> None:
    content = {"data": {"task": {"labels": [str(n) for n in range(5000)]}}}
    assert yaml_text.parse_yaml(yaml.safe_dump(content)) == content
