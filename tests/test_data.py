"""The data module: protocols, subsets, tokens, and what it refuses."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from transformers import AutoTokenizer

import ftreg
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.tasks import Task

TINY = str(Path(ftreg.__file__).parent / "encoder" / "backbones" / "tiny")
OWN = Task("own", ("text",), ("no", "yes"), ("accuracy", "f1"))
NUMBERS = Task("numbers", ("a", "b"), (), ("pearson", "spearman"))


def write(folder: Path, split: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """120 train rows, a third of them `yes`, and 30 dev rows of `OWN`."""
    for split, count in (("train", 120), ("dev", 30)):
        rows = [(f"{split} text number {row}", "yes" if row % 3 == 0 else "no") for row in range(count)]
        write(tmp_path, split, ("text", "label"), rows)
    return tmp_path


def module(own: Path, **options: Any) -> GlueDataModule:
    defaults: dict[str, Any] = {"task": OWN, "tokenizer": TINY, "source": "files", "path": str(own)}
    return GlueDataModule(**(defaults | options))


def ids(data: GlueDataModule, split: str) -> list[int]:
    found: list[int] = data.table(split)["idx"][:]
    return found


def refusal(data: GlueDataModule, stage: str = "fit") -> str:
    with pytest.raises(DataError) as error:
        data.setup(stage)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_holdout_carves_the_selection_out_of_train(own: Path) -> None:
    data = module(own)
    assert data.evaluation_splits == ("selection",)
    assert data.final_splits == ("selection", "dev")
    assert data.sizes == {"train": 108, "selection": 12, "dev": 30}
    assert sorted(ids(data, "train") + ids(data, "selection")) == list(range(120))
    assert sum(data.table("selection")["label"][:]) == 4
    assert ids(module(own, split_seed=1), "selection") != ids(data, "selection") == ids(module(own), "selection")


def test_the_selection_is_no_larger_than_dev(own: Path) -> None:
    write(own, "dev", ("text", "label"), [("one", "yes"), ("two", "no"), ("three", "no")])
    assert module(own).sizes == {"train": 117, "selection": 3, "dev": 3}


def test_dev_trains_on_all_of_train(own: Path) -> None:
    data = module(own, protocol="dev")
    assert data.evaluation_splits == data.final_splits == ("dev",)
    assert data.sizes == {"train": 120, "dev": 30}


def test_a_subset_leaves_the_selection_alone(own: Path) -> None:
    data = module(own, train_subset=30)
    assert ids(data, "selection") == ids(module(own), "selection")
    assert set(ids(data, "train")) < set(ids(module(own), "train"))
    assert sum(data.table("train")["label"][:]) == 10
    assert data.fingerprints["selection"] == module(own).fingerprints["selection"]
    assert data.fingerprints["train"] != module(own).fingerprints["train"]
    assert list(data.fingerprints) == ["train", "selection", "dev"]


def test_a_split_trained_on_is_no_dev_split(own: Path) -> None:
    task = Task("own", ("text",), ("no", "yes"), dev=("dev", "train"), train=None)
    data = module(own, task=task, train_split="train")
    assert data.final_splits == ("selection", "dev")
    assert module(own, task=task, train_split="train", protocol="dev").final_splits == ("dev",)
    assert module(own, train_split="dev").final_splits == ("selection",)
    with pytest.raises(DataError, match="leaves no split to evaluate on"):
        module(own, train_split="dev", protocol="dev")


def test_mnli_from_its_matched_dev_set_alone(glue_dir: Path) -> None:
    options: dict[str, Any] = {
        "task": "mnli",
        "source": "tsv",
        "path": str(glue_dir),
        "train_split": "dev_matched",
    }
    data = GlueDataModule(**options, tokenizer=TINY)
    with pytest.warns(UserWarning, match="without dev_mismatched"):
        assert data.final_splits == ("selection",)
    assert data.missing_splits == ("dev_mismatched",)
    assert data.sizes == {"train": 8834, "selection": 981}
    assert "dev_mismatched" in refusal(GlueDataModule(**options, tokenizer=TINY, protocol="dev"))


def test_a_missing_dev_split_is_an_error_otherwise(own: Path) -> None:
    (own / "dev.tsv").unlink()
    assert "dev.tsv" in refusal(module(own))
    assert "dev.tsv" in refusal(module(own, protocol="dev"))


@pytest.mark.parametrize("name", ["cola", "mrpc", "rte", "sst2", "stsb", "wnli"])
def test_real_tasks(name: str, glue_dir: Path) -> None:
    data = GlueDataModule(name, TINY, "tsv", str(glue_dir))
    data.setup("test")
    sizes = data.sizes
    assert sizes["selection"] == min(sizes["dev"], (sizes["train"] + sizes["selection"]) // 10)
    assert len(data.rows("dev")) == sizes["dev"]


# Without evaluation


@pytest.mark.parametrize(
    "options",
    [{}, {"train_subset": 30}, {"split_seed": 3}, {"protocol": "dev"}, {"train_split": "dev"}],
    ids=str,
)
def test_without_evaluation_the_training_rows_stay_the_same(own: Path, options: dict[str, Any]) -> None:
    data, evaluated = module(own, evaluate=False, **options), module(own, **options)
    data.setup("fit")
    assert data.evaluation_splits == data.final_splits == ()
    assert list(data.truncated) == ["train"]
    assert ids(data, "train") == ids(evaluated, "train")
    assert data.fingerprints == {"train": evaluated.fingerprints["train"]}
    assert data.sizes == {"train": evaluated.sizes["train"]}
    held = {text for split in evaluated.final_splits for text in evaluated.table(split)["text"][:]}
    assert held.isdisjoint(data.table("train")["text"][:])


def test_without_evaluation_dev_and_test_are_their_number_of_rows(own: Path) -> None:
    write(own, "dev", ("text", "label"), [(f"dev {row}", "no") for row in range(7)])
    before = module(own, evaluate=False)
    assert before.sizes == {"train": 113}
    write(own, "dev", ("text", "label"), [(f"train text number {row}", "yes") for row in range(7)])
    write(own, "test", ("text", "label"), [("anything else", "no")])
    after = module(own, evaluate=False)
    assert after.table("train")[:] == before.table("train")[:]
    assert after.fingerprints == before.fingerprints


def test_without_evaluation_dev_may_be_missing_where_nothing_is_carved(own: Path) -> None:
    (own / "dev.tsv").unlink()
    data = module(own, protocol="dev", evaluate=False)
    data.setup("fit")
    assert data.sizes == {"train": 120}
    assert "dev.tsv" in refusal(module(own, evaluate=False))
    task = Task("own", ("text",), ("no", "yes"), dev=())
    assert module(own, task=task, protocol="dev", evaluate=False).sizes == {"train": 120}


def test_without_evaluation_there_is_nothing_to_test_on(own: Path) -> None:
    data = module(own, evaluate=False)
    data.setup("test")
    assert not data.truncated
    with pytest.raises(DataError, match="no dev split to test on"):
        data.test_dataloader()


@pytest.mark.filterwarnings("error:evaluating without")
def test_mnli_without_evaluation(glue_dir: Path) -> None:
    data = GlueDataModule("mnli", TINY, "tsv", str(glue_dir), train_split="dev_matched", evaluate=False)
    assert data.sizes == {"train": 8834}


# The sample, and batches


def test_the_default_is_the_sample() -> None:
    data = GlueDataModule(tokenizer=TINY)
    assert data.sample
    assert data.labels == ("entailment", "not_entailment")
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert len(batch["labels"]) == 16
    assert batch["scale"] == 1 / 16
    assert [loader.rows.split for loader in data.val_dataloader()] == ["selection"]
    assert [loader.rows.split for loader in data.test_dataloader()] == ["dev"]
    assert [loader.rows.split for loader in data.predict_dataloader()] == ["test"]


def test_a_regression_has_float_labels() -> None:
    data = GlueDataModule("stsb", TINY)
    batch = next(iter(data.train_dataloader()))
    assert batch["labels"].dtype == torch.float32
    assert data.labels == ()


@pytest.mark.parametrize("task", ["rte", "sst2"])
@pytest.mark.parametrize("max_length", [12, 128])
def test_tokens_are_those_of_the_tokenizer(task: str, max_length: int) -> None:
    data = GlueDataModule(task, TINY, max_length=max_length, eval_batch_size=10**6)
    batch = next(iter(data.eval_loader("dev")))
    table = data.table("dev")
    texts = [table[name][:] for name in data.task.columns]
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    expected = tokenizer(
        *texts, truncation="longest_first", max_length=max_length, padding="longest", return_tensors="pt"
    )
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], expected[name])
    longer = [len(row) > max_length for row in tokenizer(*texts)["input_ids"]]
    assert data.truncated == {"dev": sum(longer)}
    assert any(longer) == (max_length == 12)


def test_a_tokenizer_without_token_types(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer_config.json"
    config = json.loads(file.read_text()) | {"model_input_names": ["input_ids", "attention_mask"]}
    file.write_text(json.dumps(config))
    batch = next(iter(GlueDataModule(tokenizer=str(tmp_path / "tokenizer")).eval_loader("dev")))
    assert "token_type_ids" not in batch


def test_majority(own: Path) -> None:
    assert module(own).majority("dev") == pytest.approx({"accuracy": 20 / 30, "f1": 0.0})


def test_majority_of_a_regression_is_undefined(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "dev"):
        write(
            tmp_path,
            split,
            ("a", "b", "label"),
            [(f"{split} {i}", f"and {i}", rng.random()) for i in range(30)],
        )
    scores = module(tmp_path, task=NUMBERS).majority("dev")
    assert list(scores) == ["pearson", "spearman"]
    assert all(np.isnan(score) for score in scores.values())


# Lightning


class Nothing(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any) -> torch.Tensor:
        return self.weight * float(batch["scale"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        max_steps=2,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        **options,
    )


@pytest.mark.filterwarnings("ignore")
def test_under_a_trainer(own: Path, tmp_path: Path) -> None:
    data = module(own)
    run = trainer(tmp_path, accumulate_grad_batches=3, enable_checkpointing=False)
    run.fit(Nothing(), data)
    loader = data.train_dataloader()
    assert (loader.accumulate, loader.world, len(loader)) == (3, 1, 21)
    run.save_checkpoint(tmp_path / "run.ckpt")
    state = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert state["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["position"] == 6


class Watched(Nothing):
    """Counts what it is asked to validate."""

    validated = 0

    def validation_step(self, batch: Any) -> None:
        self.validated += 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("evaluate", "validated"), [(True, 2), (False, 0)])
def test_a_fit_without_evaluation_validates_nothing(own: Path, tmp_path: Path, evaluate: bool, validated: int) -> None:
    model = Watched()
    run = trainer(tmp_path, enable_checkpointing=False, val_check_interval=1, num_sanity_val_steps=0)
    run.fit(model, module(own, evaluate=evaluate))
    assert run.global_step == 2
    assert model.validated == validated


@pytest.mark.filterwarnings("ignore")
def test_a_changing_accumulation_is_refused(own: Path, tmp_path: Path) -> None:
    changing = pl.callbacks.GradientAccumulationScheduler({0: 1, 4: 2})
    with pytest.raises(DataError, match="accumulate_grad_batches"):
        trainer(tmp_path, callbacks=[changing]).fit(Nothing(), module(own))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train_subset": 109}, ("train_subset=109", "108", "own")),
        ({"tokenizer": ""}, ("no tokenizer is named",)),
        ({"tokenizer": "no/such/folder"}, ("tokenizer of no/such/folder",)),
        ({"max_length": 2}, ("max_length=2", "3")),
        ({"task": "ax", "source": "sample"}, ("ax", "no training split")),
    ],
)
def test_refused_at_setup(own: Path, options: dict[str, Any], words: tuple[str, ...]) -> None:
    line = refusal(module(own, **options))
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "data.batch_size=0"),
        ({"eval_batch_size": -1}, "data.eval_batch_size=-1"),
        ({"train_subset": 0}, "data.train_subset=0"),
        ({"protocol": "both"}, "holdout, dev"),
        ({"train_split": "test"}, "trains on one of: train, dev"),
        ({"train_split": "trian"}, "trains on one of: train, dev"),
        ({"task": "rtee"}, "rte"),
    ],
)
def test_refused_at_once(own: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        module(own, **options)
    assert "\n" not in str(error.value)


def test_a_folder_with_only_a_config_is_no_tokenizer(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    shutil.copy(Path(TINY) / "config.json", folder)
    assert "no vocabulary" in refusal(module(own, tokenizer=str(folder)))


def test_a_damaged_tokenizer_is_one_line(own: Path, tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{\n}\n")
    assert "tokenizer of" in refusal(module(own, tokenizer=str(tmp_path / "tokenizer")))


def test_rows_that_all_share_a_text_cannot_be_carved(tmp_path: Path) -> None:
    rows = [("the same", f"other {row}", row / 7) for row in range(40)]
    for split in ("train", "dev"):
        write(tmp_path, split, ("a", "b", "label"), rows)
    assert "selection" in refusal(module(tmp_path, task=NUMBERS))


def test_an_empty_split(own: Path) -> None:
    write(own, "dev", ("text", "label"), [])
    assert "dev" in refusal(module(own))
