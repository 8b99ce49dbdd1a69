"""Tasks of tokens: their files, the words that a tokenizer sees of them, the entities that are counted."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import tokenizers
import torch
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import ftreg
from ftreg.lightning.predictions import Collector, Predictions
from ftreg.run.record import write_predictions
from glue_tasks import hub
from glue_tasks.data import GlueDataModule
from glue_tasks.entity_scores import UNSEEN
from glue_tasks.errors import DataError
from glue_tasks.loader import EvalLoader
from glue_tasks.metrics import combined, metrics
from glue_tasks.overlap import overlap
from glue_tasks.sources import load
from glue_tasks.tags import entities
from glue_tasks.tasks import Conll, Task
from glue_tasks.tokens import tokenise
from tests.reference import conlleval

TINY = str(Path(ftreg.__file__).parent / "encoder" / "backbones" / "tiny")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
NER = Task("ner", ("tokens",), TAGS, kind="tokens")
CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-PER
rejects VBZ B-VP O

Peter NNP B-NP B-PER
Black NNP I-NP I-PER
-DOCSTART- -X- -X- O
in IN B-PP O
York NNP B-NP B-LOC
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[list[tuple[str, str]]]]:
    """Write a file, load it as a split of a task: of each row, the tokens with their labels."""

    def run(content: str, name: str = "train.conll", task: Task = NER) -> list[list[tuple[str, str]]]:
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        table = load(task, name.partition(".")[0], "files", str(tmp_path))
        rows = zip(table["tokens"][:], table["label"][:], strict=True)
        return [list(zip(t, ["-" if n < 0 else TAGS[n] for n in ids], strict=True)) for t, ids in rows]

    return run


Read = Callable[..., list[list[tuple[str, str]]]]


# Entities


@pytest.mark.parametrize(
    ("tags", "spelt"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
        ("I-PER I-PER B-PER O I-LOC", [("PER", 0, 1), ("PER", 2, 2), ("LOC", 4, 4)]),  # IOB1
        ("S-PER B-LOC I-LOC E-LOC S-PER", [("PER", 0, 0), ("LOC", 1, 3), ("PER", 4, 4)]),  # BIOES
        ("U-PER B-LOC L-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),  # BILOU
        ("B-LOC I-PER", [("LOC", 0, 0), ("PER", 1, 1)]),  # illegal: it begins one
        ("O I-PER", [("PER", 1, 1)]),
        ("E-PER I-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-creative-work I-creative-work", [("creative-work", 0, 1)]),
        ("B I O", [("_", 0, 1)]),
        ("", []),
    ],
)
def test_entities_of_every_scheme(tags: str, spelt: list[tuple[str, int, int]]) -> None:
    assert list(entities(tags.split())) == spelt


def test_entities_are_those_of_the_shared_tasks_script() -> None:
    draw, alphabet = random.Random(0), ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]
    for _ in range(2000):
        tags = draw.choices(alphabet, k=draw.randrange(9))
        assert list(entities(tags)) == conlleval.chunks(tags), tags


def test_scores_are_of_the_whole_split() -> None:
    draw = random.Random(1)
    rows = [[draw.choices(range(5), k=2)[draw.random() < 0.2] for _ in range(draw.randrange(1, 9))] for _ in range(60)]
    guesses = [[label if draw.random() < 0.7 else draw.randrange(5) for label in row] for row in rows]
    task = Task("ner", ("tokens",), TAGS, ("entity_f1", "entity_precision", "entity_recall", "accuracy"), kind="tokens")
    found = metrics(task, sync_on_compute=False)
    for part in (slice(0, 7), slice(7, 60)):  # as shards or batches
        flat = [torch.tensor([n for row in each[part] for n in row]) for each in (guesses, rows)]
        found.update(*flat, torch.tensor([len(row) for row in rows[part]]))
    scores = {name: float(value) for name, value in found.compute().items()}
    precision, recall, f1 = conlleval.f1(*([[TAGS[n] for n in row] for row in each] for each in (guesses, rows)))
    assert 0.3 < f1 < 0.9
    accuracy = np.mean([a == b for row in zip(guesses, rows, strict=True) for a, b in zip(*row, strict=True)])
    wanted = {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall, "accuracy": accuracy}
    assert scores == pytest.approx(wanted, abs=1e-6)
    assert combined(task, scores) == scores["entity_f1"]


@pytest.mark.parametrize(("labels", "right"), [(("B-PER", "O"), 2), (("NOUN", "VERB"), 1)])
def test_an_unseen_token_is_outside_or_never_right(labels: tuple[str, str], right: int) -> None:
    found = metrics(Task("t", ("tokens",), labels, ("accuracy",), kind="tokens"), sync_on_compute=False)
    found.update(torch.tensor([0, UNSEEN, UNSEEN]), torch.tensor([0, 1, 0]), torch.tensor([3]))
    assert float(found.compute()["accuracy"]) == pytest.approx(right / 3)


# Files


def test_the_files_of_the_shared_task(read: Read) -> None:
    rows = [
        [("EU", "B-PER"), ("rejects", "O")],
        [("Peter", "B-PER"), ("Black", "I-PER")],
        [("in", "O"), ("York", "B-LOC")],
    ]
    assert read(CONLL) == rows
    assert read(CONLL.replace("\n", "\r\n")) == rows
    assert read(CONLL.replace(" ", "\t"), "dev.tsv") == rows
    assert read(CONLL.replace(" ", "   "), "test.txt") == rows


@pytest.mark.parametrize(
    ("conll", "content"),
    [
        (Conll(token=2, label=3), "1 a B-PER x\n2 b I-PER y\n"),
        (Conll(header=("number", "label", "tokens")), "1 B-PER a\n2 I-PER b\n"),
        (Conll(token=2, label=1), "B-PER a\nI-PER b\n"),
    ],
)
def test_columns_by_number_or_by_name(read: Read, conll: Conll, content: str) -> None:
    assert read(content, task=Task("ner", ("tokens",), TAGS, kind="tokens", conll=conll)) == [
        [("a", "B-PER"), ("b", "I-PER")]
    ]


def test_a_token_may_hold_a_space_where_columns_are_tabs(read: Read) -> None:
    assert read("New York\tB-LOC\n \u00a0 \tO\n") == [[("New York", "B-LOC"), ("\u00a0", "O")]]


def test_lists_of_tokens(read: Read) -> None:
    lines = '{"tokens": ["a", "b"], "label": ["B-PER", "O"]}\n{"tokens": ["c"], "label": ["O"]}\n'
    assert read(lines, "train.jsonl") == [[("a", "B-PER"), ("b", "O")], [("c", "O")]]
    assert read(lines.replace('"B-PER"', "1").replace('"O"', "0"), "dev.jsonl") == read(lines, "test.jsonl")


def test_a_test_split_without_labels(read: Read) -> None:
    assert read("a\nb\n\nc\n", "test.conll") == [[("a", "-"), ("b", "-")], [("c", "-")]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.conll", "", "train.conll: no tokens; write one a line with its label"),
        ("train.conll", "\n-DOCSTART- O\n\n", "train.conll: no tokens"),
        ("train.conll", "a O\nb\n", "train.conll:2: 1 column, but line 1 has 2: 'b'; write the same columns"),
        ("train.conll", "a O\n# a comment\n", "train.conll:2: 3 columns, but line 1 has 2: '# a comment'; "),
        ("train.conll", "a\nb\n", "train.conll:1: 1 column, where a token and its label are wanted"),
        ("train.conll", "a O\nb B-PRE\n", "train.conll:2: label 'B-PRE' is unknown; did you mean 'B-PER'?"),
        ("train.conll", "a\tO\n\tO\n", "train.conll:2: no token in column 1; leave the line out or mend it"),
        ("train.conll", "a\tO\nb\t\n", "train.conll:2: the label is missing; task 'ner' expects O, B-PER"),
        ("train.conll", "tokens label\na O\n", "train.conll:1: a line with the columns' names; leave it out"),
        ("train.conll", "a O\rb O\r", "train.conll: its lines end with CR alone; convert it"),
        ("train.csv", "a,O\n", "no train.conll, train.txt, train.tsv or train.jsonl (found train.csv)"),
        ("train.jsonl", '{"tokens": ["a"]}\n', "train.jsonl:1: no 'label' (found 'tokens')"),
        ("train.jsonl", '{"tokens": "a b", "label": ["O"]}\n', "train.jsonl:1: 'tokens' is 'a b'; expected a list"),
        ("train.jsonl", '{"tokens": ["a", ""], "label": ["O", "O"]}\n', "one at least, none empty"),
        ("train.jsonl", '{"tokens": ["a", "b"], "label": ["O"]}\n', "train.jsonl:1: 2 tokens, but 1 labels; "),
        ("train.jsonl", '{"tokens": ["a"], "label": "O"}\n', "train.jsonl:1: 'label' is 'O'; expected a list"),
        ("train.jsonl", '{"tokens": ["a", "b"], "label": ["O", "X"]}\n', "train.jsonl:1, token 2: label 'X' is"),
    ],
)  # fmt: skip
def test_what_is_refused_says_where(read: Read, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read(content, name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_tokens_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Features({"tokens": ListOf(Value("string")), "ner_tags": ListOf(ClassLabel(names=["B-PER", "O"]))})
    rows: dict[str, Any] = {"tokens": [["a", "b"], ["c"]], "ner_tags": [[0, 1], [1]]}
    monkeypatch.setattr(hub, "fetch_split", lambda task, split: (Dataset.from_dict(rows, found), "there/train"))
    task = Task("ner", ("tokens",), TAGS, kind="tokens", label="ner_tags")
    assert load(task, "train", "hub")["label"][:] == [[1, 0], [0]]
    rows["ner_tags"][1] = [1, 1]
    with pytest.raises(DataError, match="there/train, row 1: 1 tokens, but 2 labels; write one for each token"):
        load(task, "train", "hub")


def test_a_pattern_may_have_any_ending(tmp_path: Path) -> None:
    (tmp_path / "eng.testa").write_text(CONLL)
    task = Task("ner", ("tokens",), TAGS, kind="tokens", dev=("testa",))
    assert len(load(task, "testa", "files", f"{tmp_path}/eng.{{split}}")) == 3
    with pytest.raises(DataError, match="a CSV file has neither"):
        load(task, "testa", "files", f"{tmp_path}/eng.{{split}}.csv")
    with pytest.raises(DataError, match="no built-in sample"):
        load(task, "testa", "sample")


# Words and tokens


def byte_level(folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer like RoBERTa's, to which a space belongs to the word behind it."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=made.pre_tokenizer.alphabet()
    )
    made.train_from_iterator(["peter black lives in york and peter likes york"] * 9, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", model_max_length=64)
    fast.save_pretrained(folder)
    return fast


def table(tmp_path: Path, content: str, split: str = "train") -> Any:
    (tmp_path / f"{split}.conll").write_text(content, encoding="utf-8")
    return load(NER, split, "files", str(tmp_path))


def test_the_first_token_of_a_word_has_its_label(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    rows = tokenise("train", table(tmp_path, CONLL), NER, tokenizer, 32)
    batch = rows.collate(torch.tensor([1, 0]), torch.tensor([True, True]))
    theirs = tokenizer([["Peter", "Black"], ["EU", "rejects"]], is_split_into_words=True, padding=True)
    assert batch["input_ids"].tolist() == theirs["input_ids"]
    assert batch["attention_mask"].tolist() == theirs["attention_mask"]
    wanted, tags = torch.full_like(batch["input_ids"], -100), [[1, 2], [1, 0]]
    for row in range(2):
        words = theirs.word_ids(row)
        assert len(words) > 4, "words of several tokens"
        for position, word in enumerate(words):
            if word is not None and word not in words[:position]:
                wanted[row, position] = tags[row][word]
    assert batch["labels"].dtype == torch.int64
    assert torch.equal(batch["labels"], wanted)
    assert batch["word_labels"].tolist() == tags
    assert torch.equal(batch["labels"].gather(1, batch["word_positions"]), batch["word_labels"])


def test_a_space_belongs_to_the_word_behind_it(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path / "bpe")
    rows = tokenise("train", table(tmp_path, "peter B-PER\nlives O\nin O\nyork B-LOC\n"), NER, tokenizer, 32)
    batch = rows.collate(torch.tensor([0]), torch.tensor([True]))
    assert batch["input_ids"][0].tolist() == tokenizer(" peter lives in york")["input_ids"]
    assert batch["word_positions"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_words_that_are_cut_off_or_that_have_no_token(tmp_path: Path, side: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY, truncation_side=side)
    found = table(tmp_path, "".join(f"{word}\tB-PER\n" for word in ("peter", "\u00a0", "black", "york")))
    with pytest.warns(UserWarning, match="have no token") as warned:
        rows = tokenise("train", found, NER, tokenizer, 8)
    batch = rows.collate(torch.tensor([0]), torch.tensor([True]))
    whole = tokenizer(["peter", "\u00a0", "black", "york"], is_split_into_words=True).word_ids()[1:-1]
    left = whole[:6] if side == "right" else whole[-6:]
    begun = {word: left.index(word) for word in set(left)}
    if side == "left":
        begun = {word: at for word, at in begun.items() if whole.index(word) >= len(whole) - 6}
        assert len(begun) < len(set(left)), "a word is cut through"
    assert batch["word_positions"].tolist() == [[begun.get(word, -2) + 1 for word in range(4)]]
    assert int((batch["labels"] != -100).sum()) == len(begun)
    message = f"{4 - len(begun)} of the 4 words of 'train' of task 'ner' have no token, as 1 rows are cut to data.max_"
    assert message in str(warned[0].message)


# Predictions


class Ranks:
    """Two pretended processes, threads that meet in every gathering."""

    def __init__(self) -> None:
        self.barrier, self.tensors = threading.Barrier(2, timeout=20), [torch.empty(0)] * 2

    def module(self, rank: int, world: int) -> Any:
        def all_gather(tensor: torch.Tensor) -> torch.Tensor:
            self.tensors[rank] = tensor
            self.barrier.wait()
            both = torch.stack(self.tensors)  # as the real one, it wants equal shapes
            self.barrier.wait()
            return both

        class Module(pl.LightningModule):
            trainer: Any = type("Trainer", (), {"world_size": world})  # type: ignore[assignment]

        module: Any = Module()
        module.all_gather = all_gather
        return module


def logits_of(batch: Any, tags: int) -> torch.Tensor:
    """Logits that name the token and the row, whatever batch they are in."""
    ids = batch["input_ids"][..., None] * 31 + torch.arange(tags) * 17 + batch["row_ids"][:, None, None] * 7
    return (ids % 13).float()


def gathered(data: GlueDataModule, world: int) -> Predictions:
    ranks = Ranks()
    found: list[dict[str, Predictions]] = [{}] * world

    def run(rank: int) -> None:
        collector = Collector()
        for number, batch in enumerate(EvalLoader(data.rows("dev"), 2, world, rank)):
            collector.add(batch, logits_of(batch, 5), number)
        found[rank] = collector.gather(ranks.module(rank, world))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found[1:]:
        assert torch.equal(one["dev"].labels, found[0]["dev"].labels)
    return found[0]["dev"]


@pytest.fixture
def ner(tmp_path: Path) -> GlueDataModule:
    """Sentences of one to eight words; of the train ones, a tenth has a place, a half a person."""
    draw = random.Random(0)
    for split, count in (("train", 80), ("dev", 13)):
        rows = []
        for row in range(count):
            words = [f"w{draw.randrange(99)}\tO" for _ in range(draw.randrange(1, 7))]
            person = ["Peter\tB-PER", "Black\tI-PER"] if row % 2 else []
            rows.append("\n".join([f"{split}{row}\tO", *words, *person, *(["York\tB-LOC"] if row % 10 == 0 else [])]))
        (tmp_path / f"{split}.conll").write_text("\n\n".join(rows) + "\n")
    return GlueDataModule(NER, TINY, "files", str(tmp_path), max_length=12)


@pytest.mark.filterwarnings("ignore:.*have no token")
def test_predictions_are_the_same_on_any_number_of_ranks(ner: GlueDataModule, tmp_path: Path) -> None:
    alone, two = gathered(ner, 1), gathered(ner, 2)
    assert alone.words is not None
    assert alone.seen is not None
    for name in ("row_ids", "labels", "words", "seen"):
        assert torch.equal(getattr(alone, name), getattr(two, name)), name
    assert torch.equal(alone.logits.nan_to_num(-1), two.logits.nan_to_num(-1))
    table = ner.table("dev")
    assert alone.row_ids.tolist() == table["idx"][:]
    assert alone.labels.tolist() == [label for row in table["label"][:] for label in row]
    assert 0 < int((~alone.seen).sum()) < len(alone.seen), "some words are cut off"
    assert (alone.classes()[~alone.seen] == UNSEEN).all()
    tags = ["O" if n < 0 else TAGS[n] for n in alone.classes().tolist()]
    ends = np.cumsum(alone.words.tolist())
    rows = [tags[end - count : end] for end, count in zip(ends, alone.words.tolist(), strict=True)]
    labels = [[TAGS[n] for n in row] for row in table["label"][:]]
    scores = alone.scores(ner.metrics("dev"))
    assert scores["entity_f1"] == pytest.approx(conlleval.f1(rows, labels)[2], abs=1e-6)
    losses = torch.nn.functional.cross_entropy(alone.logits[alone.seen], alone.labels[alone.seen], reduction="none")
    parts = losses.split([int(seen.sum()) for seen in alone.seen.split(alone.words.tolist())])
    torch.testing.assert_close(alone.losses(), torch.stack([part.mean() for part in parts]))
    write_predictions(tmp_path / "dev.parquet", alone)
    written = pq.read_table(tmp_path / "dev.parquet").to_pydict()
    assert written["label"] == table["label"][:]
    assert [[logits is not None for logits in row] for row in written["logits"]] == [
        seen.tolist() for seen in alone.seen.split(alone.words.tolist())
    ]


# The rest of the protocol


@pytest.mark.filterwarnings("ignore:.*have no token")
def test_the_protocol(ner: GlueDataModule) -> None:
    assert ner.sizes == {"train": 72, "selection": 8, "dev": 13}
    assert ner.majority("dev")["entity_f1"] == 0
    labels = [label for row in ner.table("dev")["label"][:] for label in row]
    assert ner.majority("dev")["accuracy"] == pytest.approx(labels.count(0) / len(labels))
    assert sum(3 in row for row in ner.table("selection")["label"][:]) == 1, "a tenth has a place"
    few = GlueDataModule(NER, TINY, "files", ner.path, train_subset=20)
    assert sum(3 in row for row in few.table("train")["label"][:]) == 2
    assert few.fingerprints.keys() == {"train", "selection", "dev"}
    with pytest.raises(DataError, match=r"data.also: task 'ner' is of kind tokens, and tasks that train together have"):
        GlueDataModule(NER, TINY, "files", ner.path, also=[{"task": "rte"}])  # type: ignore[list-item]


def test_what_a_table_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "dev.conll").write_text(CONLL)
    for tag, message in (
        ("O", "all 30 rows of 'train' of task 'ner' have no entity, so there is nothing to learn"),
        ("B-PER", "no row of 'train' of task 'ner' has LOC: a model will not predict it"),
    ):
        (tmp_path / "train.conll").write_text("".join(f"w{n} {tag}\n\n" for n in range(30)))
        with pytest.warns(UserWarning, match=message):
            GlueDataModule(NER, TINY, "files", str(tmp_path)).table("train")


def test_sentences_that_were_trained_on_before(tmp_path: Path) -> None:
    ours, train = table(tmp_path, CONLL, "dev"), table(tmp_path, "other O\nwords O\n")
    found = overlap({"dev": ours}, ("tokens",), ours, ("tokens",), train)
    assert found is not None
    assert "the first is row 0 of dev: 'EU rejects'" in str(found)
