"""What a backbone's files hold is what the encoder starts from; anything else is refused by name, or told."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ftreg import LayerPooling, UsageError
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.other_backbone import values_of
from ftreg.encoder.prefixes import stripped
from ftreg.testing.encoders import checkpoint, configuration
from ftreg.testing.fits import fit

WEIGHTS = "model.safetensors"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 440473133\n"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(checkpoint(tmp_path_factory.mktemp("bert"), "bert"))


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    """A BERT of this test's own."""
    return Path(shutil.copytree(bert, tmp_path / "own"))


def rewrite(folder: Path, change: Callable[[Tensors], Mapping[str, torch.Tensor]]) -> None:
    """Change the weights' names or values."""
    save_file({**change(load_file(folder / WEIGHTS))}, folder / WEIGHTS, metadata={"format": "pt"})


def configure(folder: Path, **entries: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def refusal(folder: Path, **options: Any) -> str:
    """The one line that an encoder of that folder is refused with."""
    with pytest.raises(UsageError) as found:
        Encoder(str(folder), ("a", "b"), **options)
    line = str(found.value)
    assert line.startswith(f"backbone {folder}: ")
    assert "\n" not in line
    assert len(line) < 500
    return line


def weights(encoder: Encoder) -> Tensors:
    return dict(encoder.model.bert.state_dict())


@pytest.mark.parametrize(
    "prefix",
    [
        "module.", "model.", "encoder.model.", "_orig_mod.", "module._orig_mod.", "model.module.", "_forward_module.",
        "auto_model.", "bert.bert.", "encoder.model.bert.", "module.bert.", "model._orig_mod.bert.",
    ],
)  # fmt: skip
def test_a_known_wrappers_prefix_is_taken_away_and_told(bert: Path, folder: Path, prefix: str) -> None:
    rewrite(folder, lambda held: {prefix + name: tensor for name, tensor in held.items()})
    found = Encoder(str(folder), ("a", "b"))
    plain = Encoder(str(bert), ("a", "b"))
    assert all(torch.equal(tensor, weights(found)[name]) for name, tensor in weights(plain).items())
    assert torch.equal(found.model.classifier.weight, plain.model.classifier.weight)
    assert found.start.pretrained == plain.start.pretrained
    assert any("is taken away from the names in model.safetensors" in note for note in found.notes)
    assert not plain.notes


def test_a_prefix_within_the_names_is_taken_away(bert: Path, folder: Path) -> None:
    rewrite(folder, lambda held: {name.replace("layer.1.", "layer.1._orig_mod."): t for name, t in held.items()})
    found, plain = Encoder(str(folder), ("a", "b")), Encoder(str(bert), ("a", "b"))
    assert all(torch.equal(tensor, weights(found)[name]) for name, tensor in weights(plain).items())


def without(held: Tensors, part: str) -> Tensors:
    return {name: tensor for name, tensor in held.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "entries", "line"),
    [
        (lambda held: without(held, ".layer.1."), {}, "16 of the encoder's 39 weights are missing: bert.enc"),
        (lambda held: without(held, "word_emb"), {}, "bert.embeddings.word_embeddings.weight"),
        (lambda held: without(held, "pooler.dense.bias"), {}, "1 of the .* are missing: bert.pooler.dense.bias"),
        (dict, {"vocab_size": 119}, r"mismatched or missing: .*word_embeddings.weight is \[120, 32\], not \[119, 32\]"),
        (dict, {"hidden_size": 16}, "37 of the encoder's 39 weights are mismatched or missing: .* and 35 more"),
        (dict, {"num_hidden_layers": 1}, "has encoder.layer.1.*, and config.json makes no such layer"),
        (dict, {"num_hidden_layers": 3}, "16 of .* are missing: .*layer.2"),
        (lambda held: {f"roberta.{n}": t for n, t in held.items()}, {}, "under 'roberta.', where this .* has bert."),
        (lambda held: {f"student.bert.{n}": t for n, t in held.items()}, {}, "under 'student.bert.'"),
        (lambda held: {f"lm.{n}": t for n, t in held.items()}, {}, "under 'lm.', .*; if they are .*, rename them"),
        (
            lambda held: {**held, **{f"teacher.{n}": t.clone() for n, t in held.items()}},
            {},
            "holds several encoders, under no prefix and 'teacher.'",
        ),
        (lambda held: {"x": torch.zeros(2)}, {}, "39 of .* are missing.*; it has 1 others, such as 'x'"),
        (lambda held: {n: t.to(torch.int8) for n, t in held.items()}, {}, "quantised weights .* is int8"),
    ],
)  # fmt: skip
def test_what_the_encoder_lacks_is_refused_by_name(
    folder: Path, change: Callable[[Tensors], Tensors], entries: dict[str, Any], line: str
) -> None:
    rewrite(folder, change)
    configure(folder, **entries)
    found = refusal(folder)
    assert re.search(line, found), found
    assert WEIGHTS in found


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    folder = Path(checkpoint(tmp_path, "distilbert"))
    configure(folder, **configuration("bert").to_dict())
    assert "are missing: " in refusal(folder)


@pytest.mark.parametrize(
    ("architecture", "entries", "line"),
    [
        ("bert", {"model_type": "roberta"}, r"architectures=\['BertModel'\], and model_type=roberta"),
        ("roberta", {"model_type": "bert"}, r"architectures=\['RobertaModel'\], and model_type=bert"),
        ("roberta", {"model_type": "xlm-roberta"}, ""),
        ("bert", {"architectures": ["BertForTasksOfMyOwn"]}, ""),
        ("bert", {"architectures": None}, ""),
        ("bert", {"architectures": ["RobertaModel", "BertModel"]}, ""),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(
    tmp_path: Path, architecture: str, entries: dict[str, Any], line: str
) -> None:
    folder = Path(checkpoint(tmp_path, architecture))
    configure(folder, **entries)
    if line:
        assert re.search(line, refusal(folder))
    else:
        Encoder(str(folder), ("a", "b"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_read(folder: Path, dtype: torch.dtype) -> None:
    before = load_file(folder / WEIGHTS)
    rewrite(folder, lambda held: {name: tensor.to(dtype) for name, tensor in held.items()})
    found = weights(Encoder(str(folder), ("a", "b")))
    assert all(torch.equal(tensor.to(dtype).float(), found[name]) for name, tensor in before.items())


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_and_pickled_tensors_are_read(bert: Path, folder: Path, suffix: str) -> None:
    held = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    if suffix == "bin":
        torch.save(held, folder / "pytorch_model.bin")
    else:
        names = [*held]
        parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        for file, part in parts.items():
            save_file({name: held[name] for name in part}, folder / file)
        places = {name: file for file, part in parts.items() for name in part}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    found, plain = weights(Encoder(str(folder), ("a", "b"))), weights(Encoder(str(bert), ("a", "b")))
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    if suffix == "safetensors":
        (folder / "model-00002-of-00002.safetensors").unlink()
        assert "model-00002-of-00002.safetensors is missing" in refusal(folder)


def test_a_pooler_that_masked_language_modelling_left_out_is_told(folder: Path) -> None:
    transformers.BertForMaskedLM(configuration("bert")).save_pretrained(folder)
    found = Encoder(str(folder), ("a", "b"))
    assert found.notes == ("model.safetensors has no pooler, as after masked language modelling; a new one is drawn",)
    assert not any("pooler" in name for name in found.start.pretrained)


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "electra", "deberta-v2", "albert", "modernbert"])
def test_only_the_head_is_new_in_every_architecture(tmp_path: Path, architecture: str) -> None:
    changes = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3} if architecture == "modernbert" else {}
    folder = checkpoint(tmp_path, architecture, **changes)
    found = Encoder(folder, ("a", "b"))
    assert not found.notes
    assert {name for name, _ in found.named_parameters() if name not in found.start.pretrained} == {
        name for name, _ in found.named_parameters() if found.in_head(name)
    }


def damaged(file: str, content: bytes | str | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        if content is None:
            (folder / file).mkdir()
        else:
            (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def pickled(value: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        torch.save(value, folder / "pytorch_model.bin")

    return damage


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:20000])


def said(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(text) and None


def entries(**changed: Any) -> Callable[[Path], None]:
    return lambda folder: configure(folder, **changed)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (damaged(WEIGHTS, ""), "model.safetensors is empty; download it again"),
        (damaged(WEIGHTS, POINTER), "model.safetensors is a Git LFS pointer in place of the file; run `git lfs pull`"),
        (damaged("pytorch_model.bin", POINTER), "pytorch_model.bin is a Git LFS pointer"),
        (damaged("pytorch_model.bin", ""), "pytorch_model.bin is empty"),
        (damaged(f"{WEIGHTS}.index.json", "[]"), "index.json holds a list"),
        (damaged(f"{WEIGHTS}.index.json", '{"weight_map": {"a": "../x"}}'), "names '../x', which is not in its folder"),
        (damaged(WEIGHTS, "<!DOCTYPE html><html>"), "model.safetensors is a web page"),
        (damaged(WEIGHTS, b"\x07" * 5000), "model.safetensors is damaged, cut short or something else"),
        (damaged("pytorch_model.bin", b"\x80\x07" * 500), "pytorch_model.bin is damaged"),
        (damaged(WEIGHTS, None), "model.safetensors is no file, but a folder"),
        (damaged("tf_model.h5", "x"), "no weights there, .*; what is there .tf_model.h5. is something else"),
        (cut, "model.safetensors is damaged, cut short"),
        (pickled({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}), "with its weights under 'state_dict'; save those"),
        (pickled({"a": torch.zeros(1), "b": "x"}), "holds a str at 'b', not a tensor"),
        (pickled([torch.zeros(1)]), "pytorch_model.bin holds a list"),
        (pickled(Path("x")), "pytorch_model.bin is damaged, cut short or something else"),
        (said("{"), "config.json is damaged, cut short or something else"),
        (said(""), "config.json is empty"),
        (said("[1]"), "config.json holds a list in place of named values"),
        (said(POINTER), "config.json is a Git LFS pointer"),
        (said("{}"), "config.json is no configuration that transformers can read"),
        (entries(model_type="brt"), "config.json is no configuration that transformers can read"),
        (entries(auto_map={"AutoModel": "code.Own"}), "config.json names code of its own .auto_map."),
        (entries(quantization_config={"bits": 4}), "its weights are quantised"),
        (entries(num_hidden_layers=0), "config.json has num_hidden_layers=0"),
        (entries(hidden_size=-1), "config.json"),
        (entries(num_attention_heads=5), "config.json"),
        (entries(vocab_size="many"), "config.json"),
        (entries(id2label=3), "config.json"),
        (entries(model_type="vit"), "config.json"),
    ],
)
def test_a_damaged_backbone_is_one_line(folder: Path, damage: Callable[[Path], None], line: str) -> None:
    damage(folder)
    found = refusal(folder)
    assert re.search(line, found), found


def test_a_stale_anchor_is_refused_too(bert: Path, folder: Path) -> None:
    rewrite(folder, lambda held: without(held, ".layer.1."))
    name = "model.bert.encoder.layer.0.output.dense.weight"
    with pytest.raises(UsageError, match="16 of the encoder's 39 weights are missing"):
        values_of(Encoder(str(bert), ("a", "b")), str(folder), [name])


class TestHead:
    """A fine-tuned backbone's."""

    NAMES = ("contradiction", "neutral", "entailment")

    @pytest.fixture(scope="class")
    def places(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
        """By architecture, an encoder alone, and the same with a head that has learnt something."""
        return {name: self.pair(tmp_path_factory.mktemp(name), name) for name in ("bert", "roberta", "deberta-v2")}

    def pair(self, root: Path, architecture: str, names: tuple[str, ...] = NAMES, **more: Any) -> tuple[str, str]:
        alone = checkpoint(root / "alone", architecture)
        named = {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}}
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            alone, num_labels=len(names), **(named | more)
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.startswith(model.base_model_prefix):
                    parameter.copy_(torch.randn(parameter.shape))
        model.save_pretrained(root / "tuned")
        return alone, str(root / "tuned")

    @pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta-v2"])
    def test_is_left_out(self, places: dict[str, tuple[str, str]], architecture: str) -> None:
        alone, tuned = places[architecture]
        ours = ("entailment", "neutral", "contradiction")
        for seed in (0, 1):
            plain, found = Encoder(alone, ours, seed), Encoder(tuned, ours, seed)
            assert all(torch.equal(value, found.state_dict()[name]) for name, value in plain.state_dict().items())
            assert found.start.pretrained == plain.start.pretrained
        assert "its own head (contradiction, neutral, entailment) is left out" in found.notes[0]
        assert not plain.notes

    @pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta-v2"])
    def test_is_kept_by_the_names_of_its_classes(self, places: dict[str, tuple[str, str]], architecture: str) -> None:
        _, tuned = places[architecture]
        held = load_file(f"{tuned}/{WEIGHTS}")
        found = Encoder(tuned, ("Entailment", "NEUTRAL", "contra-diction"), head="keep")
        head = {n.removeprefix("model."): p for n, p in found.named_parameters() if found.in_head(n)}
        last = "classifier.out_proj" if architecture == "roberta" else "classifier"
        for name, parameter in head.items():
            rows = held[name].flip(0) if name.startswith(f"{last}.") else held[name]
            assert torch.equal(parameter, rows), name
        assert found.notes == (
            "its own head is kept: Entailment from entailment, NEUTRAL from neutral, contra-diction from contradiction",
        )

    def test_of_regression_is_kept_for_regression(self, tmp_path: Path) -> None:
        alone, tuned = self.pair(tmp_path, "bert", ("LABEL_0",))
        held = load_file(f"{tuned}/{WEIGHTS}")["classifier.weight"]
        assert torch.equal(Encoder(tuned, (), head="keep").model.classifier.weight, held)
        assert not torch.equal(Encoder(tuned, ()).model.classifier.weight, held)
        with pytest.raises(UsageError, match="tells a score apart, the target has a, b; give head=new"):
            Encoder(tuned, ("a", "b"), head="keep")
        with pytest.raises(UsageError, match=r"model.safetensors has no classifier"):
            Encoder(alone, (), head="keep")

    @pytest.mark.parametrize(
        ("names", "more", "line"),
        [
            (("no", "yes"), {}, "tells no, yes apart, the target has a, b; give head=new"),
            (("LABEL_0", "LABEL_1"), {}, "are called LABEL_0, LABEL_1, which does not say what they mean"),
            (("a", "A"), {}, "tells a, A apart"),
            (("a", "b", "c"), {}, "tells a, b, c apart"),
            (("a", "b"), {"problem_type": "multi_label_classification"}, "a task with several labels a row"),
        ],
    )
    def test_of_other_classes_is_not_kept(
        self, tmp_path: Path, names: tuple[str, ...], more: dict[str, Any], line: str
    ) -> None:
        _, tuned = self.pair(tmp_path, "bert", names, **more)
        assert line in refusal(Path(tuned), head="keep")

    def test_of_another_kind_is_never_taken_for_one(self, tmp_path: Path) -> None:
        alone, _ = self.pair(tmp_path, "bert")
        model = transformers.BertForTokenClassification.from_pretrained(alone, num_labels=2)
        model.save_pretrained(tmp_path / "tags")
        found = Encoder(str(tmp_path / "tags"), ("a", "b"))
        assert not torch.equal(found.model.classifier.weight, model.classifier.weight)
        line = refusal(tmp_path / "tags", head="keep")
        assert "the head of model.safetensors is of BertForTokenClassification" in line

    def test_anchors_are_those_of_the_start(self, places: dict[str, tuple[str, str]]) -> None:
        encoder = Encoder(places["bert"][1], self.NAMES, head="keep")
        start = encoder.model.classifier.weight.detach().clone()
        encoder.start.passed = True
        assert torch.equal(encoder.start.value("model.classifier.weight"), start)

    def test_a_fit_says_so_once(
        self, places: dict[str, tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[str] = []
        monkeypatch.setattr("ftreg.encoder.encoder.rank_zero_warn", said.append)
        backbone, path = places["bert"][1], str(tmp_path / "a.ckpt")
        options = {"decay_towards": "anchor"}
        fit(backbone, options=options, max_steps=1).trainer.save_checkpoint(path)
        names = "contradiction, neutral, entailment"
        line = f"its own head ({names}) is left out, a new one is drawn; model.head=keep keeps it"
        assert said == [f"backbone {backbone}: {line}"]
        fit(backbone, options=options, resume=path, max_steps=2)
        assert len(said) == 1

    def test_which_is_not_used_is_not_kept(self, places: dict[str, tuple[str, str]]) -> None:
        with pytest.raises(UsageError, match=r"model.head is keep, and LayerPooling puts another head there"):
            fit(places["bert"][1], [LayerPooling()], options={"labels": self.NAMES, "head": "keep"})


def test_a_prefix_that_ends_like_the_base_model_s_is_taken_away_whole() -> None:
    """ModernBERT's base model is called `model`, which is no part of `auto_model`."""
    tensors = {"0.auto_model.layers.0.weight": torch.zeros(1), "0.auto_model.norm.weight": torch.ones(1)}
    found, taken = stripped(tensors, ["model.layers.0.weight", "model.norm.weight"], "model", "model.safetensors")
    assert taken == ["0.auto_model."]
    assert [*found] == ["layers.0.weight", "norm.weight"]
