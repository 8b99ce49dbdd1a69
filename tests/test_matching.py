"""A tokenizer and a model that do not fit are told apart before any row is read; a row's logits are its own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tokenizers
import torch
import transformers

from ftreg import FineTuner, UsageError
from ftreg.__main__ import main
from ftreg.encoder.backbone import TINY
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.matching import check_rows, limits_of, longest
from ftreg.testing.encoders import SIZES, checkpoint
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.tokens import read_tokenizer

ROOM: dict[str, Any] = {**SIZES, "vocab_size": 1209, "pad_token_id": 0}
"""For the built-in sample's tokenizer."""
BARTS: dict[str, Any] = {
    **{f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in (("layers", 2), ("ffn_dim", 48))},
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
    "d_model": 32,
    "eos_token_id": 3,
}
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2}


def made(folder: Path, architecture: str, **changes: Any) -> str:
    """A tiny model with the built-in sample's tokenizer."""
    config = transformers.AutoConfig.for_model(
        architecture, **({k: v for k, v in (ROOM | changes).items() if v != "-"})
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(TINY) / file, folder / file)
    return str(folder)


def configure(folder: str, **entries: Any) -> None:
    file = Path(folder) / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


@pytest.mark.parametrize(
    ("architecture", "changes", "words", "types", "positions"),
    [
        ("bert", {}, 1209, 2, 64),
        ("roberta", {"type_vocab_size": 1}, 1209, 1, 63),
        ("xlm-roberta", {"pad_token_id": 1}, 1209, 2, 62),
        ("electra", {"embedding_size": 16}, 1209, 2, 64),
        ("albert", {"embedding_size": 16}, 1209, 2, 64),
        ("mpnet", {"pad_token_id": 1}, 1209, None, 62),
        ("deberta-v2", {"relative_attention": True, "position_biased_input": False}, 1209, None, None),
        ("modernbert", {"cls_token_id": 2, "sep_token_id": 3}, 1209, None, None),
    ],
)  # fmt: skip
def test_what_a_model_has_room_for(
    tmp_path: Path, architecture: str, changes: dict[str, Any], words: int, types: int | None, positions: int | None
) -> None:
    backbone = made(tmp_path, architecture, **changes)
    found = limits_of(backbone)
    assert (found.words, found.types, found.positions) == (words, types, positions)
    if positions is not None:
        model = Encoder(backbone, ("a", "b")).model.eval()
        for length in (positions, positions + 1):
            ids = torch.ones(1, length, dtype=torch.long)
            inputs = {"inputs_embeds": model.get_input_embeddings()(ids), "attention_mask": ids}
            if length == positions:
                model(**inputs)
            else:
                with pytest.raises((IndexError, RuntimeError)):
                    model(**inputs)


POINTER = "version https://git-lfs.github.com/spec/v1\n"


def grown(folder: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["@USER"])
    tokenizer.save_pretrained(folder)


def bare(folder: str) -> None:
    file = Path(folder) / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "post_processor": None}))
    configure(folder, tokenizer_class="PreTrainedTokenizerFast")


def padless(folder: str) -> None:
    configure(folder, pad_token=None)
    file = Path(folder) / "tokenizer.json"
    content = json.loads(file.read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "[PAD]"]
    file.write_text(json.dumps({**content, "padding": None}))


@pytest.mark.parametrize(
    ("architecture", "changes", "change", "line"),
    [
        ("bert", {}, grown, "its tokenizer has ids up to 1209"),
        ("bert", {"vocab_size": 800}, None, "ids up to 1208"),
        ("roberta", {"type_vocab_size": 1}, None, "its tokenizer writes token type 1, its model has 1"),
        ("bert", {}, padless, "no padding token; set pad_token"),
        ("bert", {}, lambda folder: Path(folder, "tokenizer.json").write_text("{"), "no tokenizer can be loaded"),
        ("bert", {}, lambda folder: Path(folder, "tokenizer.json").write_text(POINTER), "tokenizer.json is a Git LFS"),
        ("bert", {}, lambda folder: configure(folder, model_max_length="x"), "model_max_length is 'x' in its"),
        ("bert", {}, lambda folder: configure(folder, model_max_length=-5), "model_max_length is -5 in its tokenizer"),
        ("bert", {"is_decoder": True}, None, "config.json has is_decoder=true"),
        ("bart", BARTS, None, "BartForSequenceClassification cannot run on word embeddings"),
        ("longformer", {"attention_window": 16}, None, "LongformerForSequenceClassification cannot run on word"),
        ("gpt2", GPT, None, "depend on a row's padding"),
    ],
)  # fmt: skip
def test_a_fit_ends_in_one_line_before_any_row_is_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    changes: dict[str, Any],
    change: Callable[[str], Any] | None,
    line: str,
) -> None:
    backbone = made(tmp_path / "own", architecture, **changes)
    if change:
        change(backbone)
    monkeypatch.setattr(GlueDataModule, "table", lambda *_: pytest.fail("a row is read"))
    options = ["--data.task=rte", "--trainer.accelerator=cpu", f"--trainer.default_root_dir={tmp_path / 'run'}"]
    capsys.readouterr()
    assert main(["fit", f"--model.backbone={backbone}", "--data.max_length=32", *options]) == 2
    out, err = capsys.readouterr()
    assert line in err
    assert out == ""
    assert len(err) < 500
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_without_special_tokens_is_told_of(tmp_path: Path) -> None:
    backbone = made(tmp_path, "bert")
    bare(backbone)
    with pytest.warns(UserWarning, match="its tokenizer puts no special token around a text"):
        limits_of(backbone).check_tokenizer(read_tokenizer(backbone), backbone, pairs=True)


def test_rows_are_cut_to_what_a_model_takes(tmp_path: Path) -> None:
    backbone = made(tmp_path, "roberta")
    configure(backbone, model_max_length=512)
    with pytest.warns(UserWarning, match=r"data.max_length is 63 in place of 256: backbone .* takes no longer rows"):
        assert longest(backbone, 256, given=False) == 63
    assert longest(backbone, 40, given=True) == 40
    with pytest.raises(UsageError, match=r"data.max_length=64: backbone .* takes at most 63 tokens; give 63"):
        longest(backbone, 64, given=True)
    configure(backbone, model_max_length=20)
    assert longest(backbone, 256, given=False) == 20


def test_another_padding_is_told(tmp_path: Path) -> None:
    backbone = made(tmp_path, "bert", pad_token_id=7)
    with pytest.warns(UserWarning, match="its tokenizer pads with id 0, config.json says pad_token_id 7"):
        limits_of(backbone).check_tokenizer(read_tokenizer(backbone), backbone, pairs=True)


def test_rows_of_another_tokenizer_are_refused_in_python(tmp_path: Path) -> None:
    data = GlueDataModule("rte", TINY, train_subset=8, batch_size=8)
    small = checkpoint(tmp_path / "small", "bert")
    check_rows(small, data)  # nothing is tokenised yet
    data.setup("fit")
    with pytest.raises(UsageError, match="its tokenizer has ids up to 1208"):
        check_rows(small, data)
    short = made(tmp_path / "short", "bert", max_position_embeddings=12)
    with pytest.raises(
        UsageError, match=r"a row of the data has .* tokens, backbone .* takes 12; give .* max_length=12"
    ):
        check_rows(short, data)
    check_rows("tiny", data)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_steps=1)
    with pytest.raises(UsageError, match="its tokenizer has ids up to 1208"):
        trainer.fit(FineTuner(small), data)


def test_rows_of_unknown_words_alone_are_refused(tmp_path: Path) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "qqq": 4}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"split 'train': to the tokenizer of .* every word is \[UNK\]"):
        GlueDataModule("rte", str(tmp_path), train_subset=8).rows("train")


@pytest.mark.parametrize(
    ("architecture", "changes", "line"),
    [
        ("gpt2", GPT, "depend on a row's padding"),
        ("gpt2", GPT | {"pad_token_id": None}, "Cannot handle batch sizes > 1"),
        ("xlnet", {"d_model": 32, "n_head": 2, "max_position_embeddings": "-"}, "depend on a row's padding"),
        ("fnet", {}, "depend on a row's padding"),
        ("convbert", {"embedding_size": 32}, "depend on a row's padding"),
        ("t5", {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_heads": 2}, "cannot run on word embeddings"),
        ("mbart", BARTS, "cannot run on word embeddings"),
        ("longformer", {"attention_window": 16}, "cannot run on word embeddings"),
    ],
)  # fmt: skip
def test_an_architecture_whose_rows_are_not_their_own_is_refused(
    tmp_path: Path, architecture: str, changes: dict[str, Any], line: str
) -> None:
    before = torch.random.get_rng_state()
    with pytest.raises(UsageError, match=line) as found:
        Encoder(made(tmp_path, architecture, **changes), ("a", "b"))
    assert len(str(found.value)) < 500
    assert before.shape == torch.random.get_rng_state().shape


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path, "bert")
    model = transformers.BertModel.from_pretrained(folder)
    with torch.no_grad():
        model.encoder.layer[1].output.dense.weight[0, 0] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(UsageError, match="its logits are not finite numbers"):
        Encoder(folder, ("a", "b"))
