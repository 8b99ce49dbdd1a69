"""What people's files look like: read where only one thing can be meant, else one line with place and remedy."""

import codecs
import csv
import gzip
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.sources import load
from glue_tasks.tasks import Task

OWN = Task("own", ("text",), ("no", "yes"))
FOUR = Task("four", ("text",), ("a", "b", "c", "d"))
SCORED = Task("scored", ("text",), ())


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[tuple[str, float]]]:
    """Write a file, load it as a split of a task: its texts with their labels."""

    def run(name: str, content: str | bytes, task: Task = OWN) -> list[tuple[str, float]]:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        table = load(task, name.partition(".")[0], "files", str(tmp_path))
        return list(zip(table["text"][:], table["label"][:], strict=True))

    return run


Read = Callable[..., list[tuple[str, float]]]


def refusal(read: Read, name: str, content: str | bytes, task: Task = OWN) -> str:
    with pytest.raises(DataError) as error:
        read(name, content, task)
    message = str(error.value)
    assert "\n" not in message
    assert len(message.replace(str(Path(message).parent), "")) < 500
    return message


def written(rows: list[tuple[str, str]], delimiter: str, quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> str:
    """As pandas' to_csv writes them, which uses this writer."""
    stream = StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)  # type: ignore[arg-type]
    return stream.getvalue()


ROWS = [
    ('say "hi" twice', "yes"),
    ("plain", "no"),
    ("a\ttab", "no"),
    ("two\nlines", "yes"),
    ("", "no"),
    ("a, b; c", "no"),
]
FOUND = [(text, ["no", "yes"].index(label)) for text, label in ROWS]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_what_pandas_writes_is_read_back(read: Read, suffix: str, delimiter: str, quoting: int, end: str) -> None:
    assert read(f"train.{suffix}", written([("text", "label"), *ROWS], delimiter, quoting, end)) == FOUND


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"a', '"a'),
        ('a "b" c', 'a "b" c'),
        ('"Hello"', '"Hello"'),
        ('"Yes" and "no"', '"Yes" and "no"'),
        ('""Yes""', '""Yes""'),
        ('"say ""hi"""', 'say "hi"'),
        ('"a\tb"', "a\tb"),
    ],
)
def test_quotes_in_a_tsv_of_ones_own(read: Read, cell: str, text: str) -> None:
    assert read("train.tsv", f"text\tlabel\n{cell}\tyes\nb\tno\n") == [(text, 1), ("b", 0)]


def test_quotes_that_may_be_either_are_refused(read: Read) -> None:
    line = refusal(read, "train.tsv", 'text\tlabel\n"Hello"\tyes\n"a ""b"""\tno\n')
    assert "train.tsv:2: a text in quotes that it does not need, but line 3 is quoted as pandas does it" in line
    assert read("dev.tsv", 'text\tlabel\n"Hello"\tyes\n"a ""b"""\tno\n"c\tno\n')[0] == ('"Hello"', 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", "label,text,,,\nyes,a,,,\nno,b,,,\n"),
        ("train.csv", "label,text,,,\nyes,a\nno,b,,\n"),
        ("train.csv", ",label,text\n0,yes,a\n1,no,b\n"),
        ("train.csv", "label,text,note,note\nyes,a,1,2\nno,b,3,4\n"),
        ("train.csv", "text,label\na,yes\n\nb,no\n\n  \n"),
        ("train.csv", "\n\ntext,label\na,yes\nb,no\n,\n,\n"),
        ("train.csv", "text,label\ra,yes\rb,no\r"),
        ("train.csv", "text,label\r\na,yes\r\nb,no\r\n\r\n"),
        ("train.tsv", "text\tlabel\n\na\tyes\nb\tno\n\n"),
        ("train.tsv", "text\tlabel\r\na\tyes\r\nb\tno\r\n\r\n\t\r\n"),
        ("train.jsonl", '{"text": "a", "label": "yes"}\n\n{"text": "b", "label": "no"}\n \n'),
        ("train.csv", codecs.BOM_UTF8.decode() + "text,label\na,yes\nb,no\n"),
        ("train.csv", "text,label\na,1.0\nb,0.0\n"),
        ("train.csv", "text,label\na,1\nb,0.0\n"),
        ("train.jsonl", '{"text": "a", "label": 1.0}\n{"text": "b", "label": 0.0}\n'),
    ],
)
def test_what_can_only_be_meant_so(read: Read, name: str, content: str) -> None:
    assert read(name, content) == [("a", 1), ("b", 0)]


def test_a_long_text(read: Read) -> None:
    text = "word " * 30_000
    assert read("train.csv", f"text,label\n{text},yes\n") == [(text, 1)]


CAFE = "text,label\n" + "a row,yes\n" * 2000 + "caf\xe9 au lait,no\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", CAFE.encode("latin-1"), "train.csv:2002: not UTF-8 text (byte 20014 of the file is 0xe9; as Win"),
        ("train.csv", CAFE.encode("latin-1"), "'caf\xe9 au lait,no'); if that is right, convert it by: iconv"),
        ("train.tsv", b"text\tlabel\nit\x92s\tyes\n", "train.tsv:2: not UTF-8 text (byte 13 of the file is 0x92; as W"),
        ("train.jsonl", b'{"text": "\x81"}\n', "train.jsonl:1: not UTF-8 text (byte 10 of the file is 0x81; as Latin-"),
        ("train.csv", CAFE.encode("utf-16"), "train.csv: UTF-16 text, not UTF-8; if that is right, convert it by: ico"),
        ("train.csv", CAFE.encode("utf-32"), "train.csv: UTF-32 text, not UTF-8"),
        ("train.csv", CAFE.encode("utf-16-le"), "train.csv:1: every second byte is NUL, as in UTF-16 text"),
        ("train.csv", "text,label\na,yes\nb\0c,no\n", "train.csv:3: holds a NUL byte"),
        ("train.csv", gzip.compress(b"text,label\n", mtime=0), "train.csv: compressed with gzip, not text; unpack it"),
        ("train.csv", b"PK\x03\x04rest", "train.csv: a zip file or an Excel workbook, not text"),
        ("train.csv", "text;label\na;yes\n", "its columns are separated by semicolons, and those of a .csv file are n"),
        ("train.csv", "text\tlabel\na\tyes\n", "its columns are separated by tabs, and those of a .csv file are not; "),
        ("train.tsv", "text,label\na,yes\n", "its columns are separated by commas, and those of a .tsv file are not; "),
        ("train.tsv", "text\tlabel\ra\tyes\rb\tno\r", "train.tsv: its lines end with CR alone; convert it by: tr"),
        ("train.csv", "Text,label\na,yes\n", "no column 'text' (found 'Text', 'label'); did you mean 'Text'?"),
        ("train.csv", "sentence,label\na,yes\n", "no column 'text' (found 'sentence', 'label'); the task has 'text', "),
        ("train.csv", "text,text,label\na,b,yes\n", "train.csv:1: the header repeats 'text'"),
        ("train.csv", "text,label\na,b,yes\n", "train.csv:2: found 3 columns, expected 2 comma-separated columns; quo"),
        ("train.csv", "text,label\na,yes\n\nb\n", "train.csv:4: found 1 column, expected 2"),
        ("train.csv", "text,label\n", "train.csv: no rows; the file is empty, or has a header alone"),
        ("train.csv", "\n\n", "train.csv: no rows"),
        ("train.csv", 'text,label\na,yes\n"b,no\nc,no\n', "train.csv:3: broken CSV (unexpected end of data); a text t"),
        ("train.csv", "text,label\na,Yes\nb,no\n", "train.csv:2: label 'Yes' is unknown; did you mean 'yes'? task 'ow"),
        ("train.csv", "text,label\na,yes \nb,no\n", "train.csv:2: label 'yes ' is unknown; did you mean 'yes'?"),
        ("train.csv", "text,label\na,\nb,no\n", "train.csv:2: the label is missing; task 'own' expects no or yes, so "),
        ("train.csv", "text,label\na,1.5\nb,0\n", "train.csv:2: label '1.5' is unknown"),
        ("test.tsv", "text\na\n\nb\n", "test.tsv:3: an empty line between rows of one column; leave it out, or, if it"),
        ("train.jsonl", '{"text": {"a": 1}, "label": "no"}', "train.jsonl:1: 'text' is {\"a\": 1}; expected a string "),
        ("train.jsonl", '{"text": null, "label": "no"}', "train.jsonl:1: 'text' is null; expected a string of text"),
        ("train.jsonl", '{"text": 5, "label": "no"}', "train.jsonl:1: 'text' is 5; expected a string of text, in quot"),
        ("train.jsonl", '{"text": "a", "text": "b", "label": "no"}', "train.jsonl:1: not JSON (a key twice among 'tex"),
        ("train.jsonl", '{"text": "\\ud800", "label": "no"}', "train.jsonl:1: 'text' holds \\ud800, half of a charact"),
        ("train.jsonl", "[" * 100_000, "train.jsonl:1: not JSON ("),
        ("train.jsonl", '{"label": ' + "1" * 5000 + "}", "train.jsonl:1: not JSON ("),
        ("train.jsonl", '[{"text": "a"}]', 'train.jsonl:1: found [{"text": "a"}]; expected one JSON object per line'),
        ("train.jsonl", '[\n{"text": "a"},\n', "train.jsonl:1: not JSON (Expecting value); one object per line, witho"),
    ],
)  # fmt: skip
def test_one_line(read: Read, name: str, content: str | bytes, message: str) -> None:
    assert message in refusal(read, name, content)


def test_a_wide_header_stays_short(read: Read) -> None:
    header = ",".join(f"a column with a long name, number {number}".replace(", ", " ") for number in range(300))
    assert "(300 in all)); the task has 'text', 'label'" in refusal(read, "train.csv", f"{header}\n{',' * 299}x\n")


@pytest.mark.parametrize("score", ["nan", "inf", "1e400", "1e39", "1_0", "five", ""])
def test_a_target_is_a_number(read: Read, score: str) -> None:
    assert f"train.csv:2: score {score!r}; task 'scored' expects a finite" in refusal(
        read, "train.csv", f"text,label\na,{score}\n", SCORED
    )


def test_a_comma_in_a_target(read: Read) -> None:
    assert "expects a finite number, with a point for its fraction" in refusal(
        read, "train.tsv", "text\tlabel\na\t3,5\n", SCORED
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            "1 2 3",
            "labels are 1, 2, 3 and never 0: it is open whether they count from 0 or from 1, and ids of a, b, c, d",
        ),
        ("1.0 2.0 3.0", "labels are 1, 2, 3 and never 0: it is open whether they count from 0 or from 1"),
        (
            "1 2 3 4",
            "never 0: they count from 1, and ids of a, b, c, d count from 0; write the names in the file, or, if",
        ),
        ("1 2 3 4", 'if 1 is the first class, declare labels: ["1", "2", "3", "4"]'),
        ("0 1 4", "train.csv:4: label '4' is unknown; task 'four' expects 0, 1, 2 or 3"),
        ("2 3 7", "train.csv:4: label '7' is unknown"),
        ("0 1 a", "train.csv:2: label '0' is unknown; task 'four' expects a, b, c or d"),
    ],
)
def test_integers_are_ids_only_where_that_is_safe(read: Read, labels: str, message: str) -> None:
    rows = "".join(f"x,{label}\n" for label in labels.split())
    assert message in refusal(read, "train.csv", f"text,label\n{rows}", FOUR)


def test_a_zero_in_train_says_how_the_others_count(read: Read) -> None:
    assert "never 0" in refusal(read, "dev.csv", "text,label\nx,1\nx,2\n", FOUR)
    assert read("train.csv", "text,label\nx,0\nx,3\n", FOUR) == [("x", 0), ("x", 3)]
    assert read("dev.csv", "text,label\nx,1\nx,2\n", FOUR) == [("x", 1), ("x", 2)]


def test_integers_that_are_names(read: Read) -> None:
    counted = Task("counted", ("text",), ("1", "2", "3"))
    assert read("train.csv", "text,label\nx,1.0\nx,2.0\n", counted) == [("x", 0), ("x", 1)]


def module(folder: Path, task: Task, rows: list[str], dev: int = 20) -> GlueDataModule:
    header = ",".join((*task.columns, "label"))
    for split, part in (("train", rows), ("dev", rows[:dev])):
        (folder / f"{split}.csv").write_text("\n".join((header, *part)))
    return GlueDataModule(task, source="files", path=str(folder))


def told(data: GlueDataModule) -> list[str]:
    """What is said of the selection and the training rows."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        data.table("train")
    messages = [str(one.message) for one in found]
    assert all("\n" not in message and len(message) < 500 for message in messages)
    return messages


def test_text_in_columns_without_a_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("label,text,,\nyes,a,,\nno,b,c,\n")
    with pytest.warns(
        UserWarning, match="columns without a name are not read, but 1 rows hold something there, the first"
    ):
        load(OWN, "train", "files", str(tmp_path))


def test_one_class_alone_is_told(tmp_path: Path) -> None:
    data = module(tmp_path, OWN, [f"text {row},no" for row in range(40)])
    with pytest.warns(UserWarning, match="all 40 rows of 'train' of task 'own' are labelled 'no', so there is nothing"):
        data.table("train")


def test_what_train_lacks_is_told(tmp_path: Path) -> None:
    rows = [f"text {row},{'ab'[row % 2]}" for row in range(40)]
    assert told(module(tmp_path, FOUR, rows)) == [
        "no row of 'train' of task 'four' is labelled c or d: a model will not predict it"
    ]
    (line,) = told(
        module(tmp_path, OWN, [*(f"text {row},{'no' if row % 2 else 'yes'}" for row in range(38)), ",no", " ,yes"])
    )
    assert line == "2 rows of 'train' of task 'own' have no text at all, the first is row 38 (from 0)"
    (line,) = told(module(tmp_path, SCORED, [f"text {row},{row % 2}" for row in range(40)]))
    assert line.endswith('its only targets are 0 and 1; if they are classes, declare labels: ["0", "1"]')
