"""Hugging Face's Trainer with an engine: evaluation, checkpoints, precisions, Trainers of one's own, refusals."""

import csv
import importlib.util
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import ftreg
from ftreg import SMART, FreeLB, LayerPooling, Mixout, Regularizer, UsageError, criteria
from ftreg.huggingface import EngineMixin, Trainer
from ftreg.testing.encoders import checkpoint
from tests.trainers import HALVES, STEPS, Widened, built, gap, methods, model, named, rows, summed, trained, weights

# Evaluation, checkpoints


def test_the_model_is_the_users_own(tmp_path: Path) -> None:
    data = named(rows("single"))
    ours = built(Trainer, "single", tmp_path, methods=methods(), train_dataset=data, eval_dataset=data)
    before = ours.evaluate()
    ours.train()
    stock = built(transformers.Trainer, "single", tmp_path, model=ours.model, eval_dataset=rows("single"))
    assert ours.evaluate()["eval_loss"] == stock.evaluate()["eval_loss"] != before["eval_loss"]
    assert (ours.predict(data).predictions == stock.predict(rows("single")).predictions).all()
    ours.save_model(str(tmp_path / "saved"))
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ours.model.parameters(), strict=True))
    assert not (tmp_path / "saved" / "ftreg_methods.pt").exists()


def test_a_head_of_a_method_is_evaluated_and_kept(tmp_path: Path) -> None:
    data, saving = named(rows("single")), {"save_strategy": "steps", "save_steps": 2}
    options: dict[str, Any] = {"train_dataset": data, "eval_dataset": data}
    with pytest.warns(UserWarning, match="from_pretrained gives the model's own"):
        whole = trained(Trainer, "single", tmp_path, saving, methods=[LayerPooling()], **options)
    engine = whole.engine.eval()
    losses = [float(engine({key: torch.as_tensor(v)[None] for key, v in row.items()}).detach()) for row in data]
    found = whole.predict(data)
    assert found.metrics["test_loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-7)
    assert found.metrics["test_loss"] == pytest.approx(
        float(F.cross_entropy(torch.tensor(found.predictions), torch.tensor(found.label_ids))), abs=1e-7
    )
    kept = str(tmp_path / "checkpoint-2")
    again = trained(Trainer, "single", tmp_path, methods=[LayerPooling()], resume=kept, **options)
    assert again.predict(data).predictions.tolist() == found.predictions.tolist()


def test_a_resumed_training_is_the_whole_one(tmp_path: Path) -> None:
    saving = {**HALVES, "save_strategy": "steps", "save_steps": 2}
    noisy = {"hidden_dropout_prob": 0.1}
    whole = trained(
        Trainer, "masked", tmp_path, saving, model=model("masked", **noisy), methods=[*methods(), Widened()]
    )
    kept = tmp_path / "checkpoint-2"
    assert torch.load(kept / "ftreg_methods.pt", weights_only=True)["counts"]["number"] == 2
    options: dict[str, Any] = {"methods": [*methods(), Widened()], "resume": str(kept)}
    again = trained(Trainer, "masked", tmp_path, saving, model=model("masked", **noisy), **options)
    assert gap(whole, again) == 0
    assert torch.equal(*(t.engine.encoder.parts["Widened"].weight for t in (whole, again)))
    fresh = {"model_init": lambda: model("masked", **noisy), "methods": [*methods(), Widened()]}
    assert gap(whole, trained(Trainer, "masked", tmp_path, saving, resume=True, **fresh)) == 0
    with pytest.raises(UsageError, match=r"ftreg_methods.pt is of Mixout, FreeLB, SMART, Widened, and this training"):
        trained(Trainer, "masked", tmp_path, saving, methods=methods(), resume=str(kept))
    file = kept / "ftreg_methods.pt"
    flipped = bytearray(file.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    file.write_bytes(flipped)
    refused = built(Trainer, "masked", tmp_path, saving, methods=methods())
    with pytest.raises(UsageError, match="is damaged"):
        refused.train(str(kept))
    file.unlink()
    with pytest.raises(UsageError, match=r"has no ftreg_methods.pt, which holds the states of Mixout"):
        refused.train(str(kept))
    with pytest.raises(UsageError, match="no such folder"):
        refused.train(str(tmp_path / "nowhere"))


def test_a_checkpoint_of_transformers_trainer_goes_on_where_nothing_is_lost(tmp_path: Path) -> None:
    stock = trained(transformers.Trainer, "single", tmp_path, {"save_strategy": "steps", "save_steps": 2})
    again = trained(Trainer, "single", tmp_path, resume=str(tmp_path / "checkpoint-2"))
    assert gap(stock, again) < 1e-12
    assert again.engine.number == STEPS


def test_adapters(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")

    def adapted() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
            return peft.get_peft_model(model("single"), config).double()

    saving = {"save_strategy": "steps", "save_steps": 2}
    whole = trained(Trainer, "single", tmp_path, saving, model=adapted(), methods=methods())
    assert (tmp_path / "checkpoint-2" / "adapter_model.safetensors").is_file()
    kept = str(tmp_path / "checkpoint-2")
    assert gap(whole, trained(Trainer, "single", tmp_path, model=adapted(), methods=methods(), resume=kept)) == 0
    stock = trained(transformers.Trainer, "single", tmp_path, model=adapted())
    assert gap(stock, trained(Trainer, "single", tmp_path, model=adapted())) == 0 < gap(stock, whole)


def test_training_goes_on_from_where_it_has_ended(tmp_path: Path) -> None:
    stock, ours = (trained(kind, "single", tmp_path) for kind in (transformers.Trainer, Trainer))
    stock.train()
    ours.train()
    assert gap(stock, ours) < 1e-12
    assert ours.engine.number == STEPS


def test_each_training_of_a_model_init_is_the_first(tmp_path: Path) -> None:
    trainer = built(Trainer, "single", tmp_path, model_init=lambda: model("single"), methods=methods())
    trainer.train()
    once = weights(trainer)
    trainer.train()
    assert torch.equal(weights(trainer), once)


# Precision, recomputation


def test_bf16(tmp_path: Path) -> None:
    data = named(rows("single"))
    options: dict[str, Any] = {"model": model("single").float(), "train_dataset": data, "eval_dataset": data}
    stock = built(transformers.Trainer, "single", tmp_path, {"bf16": True}, **options)
    ours = built(Trainer, "single", tmp_path, {"bf16": True}, **{**options, "model": model("single").float()})
    assert stock.evaluate()["eval_loss"] == ours.evaluate()["eval_loss"]
    stock.train()
    ours.train()
    assert gap(stock, ours) == 0
    assert ours.predict(data).predictions.dtype == "float32"
    assert (stock.predict(rows("single")).predictions == ours.predict(data).predictions).all()
    dtypes: list[torch.dtype] = []

    class Seen(Regularizer):
        full_precision = True

        def observe(self, step: Any) -> None:
            dtypes.append(step.logits().dtype)

    trainer = built(
        Trainer, "single", tmp_path, {"bf16": True}, **{**options, "model": model("single").float()}, methods=[Seen()]
    )
    trainer.evaluate()  # accelerate hangs autocast on the model that it evaluates
    trainer.train()
    assert {*dtypes} == {torch.float32}


def test_a_scaler_is_the_engines_too_and_methods_see_unscaled_gradients(tmp_path: Path) -> None:
    norms: list[float] = []

    class Seen(Regularizer):
        def before_step(self, encoder: Any, number: int) -> None:
            norms.append(float(encoder.get_parameter("model.classifier.weight").grad.norm()))

    ends = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**20)):
        trainer = built(Trainer, "single", tmp_path, {"max_grad_norm": 0}, methods=[FreeLB(), Seen()])
        trainer.accelerator.scaler = scaler
        trainer.train()
        assert trainer.engine.scaler is scaler
        ends.append(trainer)
    assert norms[:STEPS] == pytest.approx(norms[STEPS:], rel=1e-12)
    assert gap(*ends) < 1e-12


def test_activation_checkpointing(tmp_path: Path) -> None:
    plain = trained(Trainer, "single", tmp_path, methods=methods())
    checkpointed = trained(Trainer, "single", tmp_path, {"gradient_checkpointing": True}, methods=methods())
    assert gap(plain, checkpointed) < 1e-12
    reentrant = model("single")
    reentrant.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(UsageError, match="reentrant activation checkpointing"):
        trained(Trainer, "single", tmp_path, model=reentrant, methods=methods())


@pytest.mark.parametrize("strategy", ["group_by_length", "sequential"])
def test_data_arguments(strategy: str, tmp_path: Path) -> None:
    arguments = {"train_sampling_strategy": strategy, "dataloader_drop_last": True}
    stock, ours = (trained(kind, "single", tmp_path, arguments) for kind in (transformers.Trainer, Trainer))
    assert gap(stock, ours) < 1e-12


def test_row_ids_reach_the_engine_and_no_other_columns_do(tmp_path: Path) -> None:
    plain = [
        {key: v.tolist() if isinstance(v, Tensor) else v for key, v in row.items()} for row in named(rows("single"))
    ]
    table = datasets.Dataset.from_list([{**row, "idx": 7, "sentence": "text"} for row in plain])
    listed, tabular = (
        trained(Trainer, "single", tmp_path, methods=methods(), train_dataset=data, eval_dataset=data)
        for data in (named(rows("single")), table)
    )
    assert gap(listed, tabular) == 0
    assert listed.evaluate()["eval_loss"] == tabular.evaluate()["eval_loss"]


# Trainers of one's own


class Counting(Trainer):
    """A Trainer that looks at its losses and adds to them."""

    seen = 0

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        self.seen += len(outputs.logits)
        loss = loss + 0.0 * outputs.logits.sum()
        return (loss, outputs) if return_outputs else loss


class Plain(transformers.Trainer):
    """Somebody's Trainer."""

    logged = 0

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        self.logged += 1
        super().log(logs, *args, **kwargs)


def test_subclasses(tmp_path: Path) -> None:
    penalties = [Mixout(p=0.5), SMART()]
    ours = trained(Trainer, "single", tmp_path, methods=penalties)
    counting = trained(Counting, "single", tmp_path, methods=[Mixout(p=0.5), SMART()], eval_dataset=rows("single"))
    assert gap(ours, counting) == 0
    assert counting.seen == 10 + 0 * counting.evaluate()["eval_loss"]
    mixed = trained(type("Mixed", (EngineMixin, Plain), {}), "single", tmp_path, methods=[Mixout(p=0.5), SMART()])
    assert gap(ours, mixed) == 0
    assert mixed.logged == STEPS + 1
    with pytest.raises(UsageError, match="return_outputs: FreeLB runs the model several times"):
        trained(Counting, "single", tmp_path, methods=[FreeLB()])


def test_a_loss_that_passes_the_engine_by_is_refused(tmp_path: Path) -> None:
    def compute(
        self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        return self.model(**inputs).loss

    def call(self: Any, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        return model(**inputs)["loss"]

    for own in (compute, call):
        aside = type("Aside", (Trainer,), {"compute_loss": own})
        with pytest.raises(UsageError, match=r"methods (would )?take no part"):
            trained(aside, "single", tmp_path, methods=methods())
    below = type("Below", (transformers.Trainer,), {"compute_loss": compute})
    with pytest.raises(UsageError, match=r"Below\.compute_loss would not be called"):
        built(type("Above", (EngineMixin, below), {}), "single", tmp_path, methods=methods())


# Refusals and callbacks


@pytest.mark.parametrize(
    ("arguments", "options", "line"),
    [
        ({"torch_compile": True}, {}, "torch_compile would compile"),
        ({"use_liger_kernel": True}, {}, "use_liger_kernel"),
        ({"auto_find_batch_size": True}, {}, "auto_find_batch_size begins again"),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": True}}, {}, "reentrant"),
        ({"label_smoothing_factor": 0.1}, {"criterion": criteria.SingleLabel()}, "each say what the loss is"),
        ({}, {"criterion": criteria.SingleLabel(), "compute_loss_func": summed}, "each say what the loss is"),
        ({}, {"methods": [Mixout]}, "give instances of ftreg.Regularizer"),
    ],
)
def test_refused_before_anything_starts(arguments: Any, options: Any, line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        built(Trainer, "single", tmp_path, arguments, **{"methods": [Mixout()], **options})
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["deepspeed", "fsdp", "parallelism_config"])
def test_split_parameters_are_refused(name: str, tmp_path: Path) -> None:
    trainer = built(Trainer, "single", tmp_path, methods=[Mixout()])
    setattr(trainer.args, name, {"stage": 3})
    with pytest.raises(UsageError, match=f"{name} splits parameters"):
        trainer.train()


def test_a_score_has_nothing_to_smooth(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no classes to smooth"):
        built(Trainer, "score", tmp_path, {"label_smoothing_factor": 0.1})


def test_methods_among_the_callbacks(tmp_path: Path) -> None:
    ours = trained(Trainer, "single", tmp_path, methods=methods())
    assert gap(ours, trained(Trainer, "single", tmp_path, callbacks=methods())) == 0
    with pytest.raises(UsageError, match=r"methods=\[Mixout\(\.\.\.\)\]"):
        ours.add_callback(Mixout())
    with pytest.raises(UsageError, match=r"Mixout would do nothing: transformers' Trainer drives no engine"):
        built(transformers.Trainer, "single", tmp_path, callbacks=[Mixout()])
    stock = built(transformers.Trainer, "single", tmp_path)
    stock.add_callback(Mixout())
    with pytest.raises(UsageError, match="Mixout would do nothing"):
        stock.train()


def test_without_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'ftreg\[huggingface\]'"):
        _ = ftreg.huggingface.Trainer


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError):
        _ = ftreg.huggingface.Nothing


def test_the_example_that_a_run_glue_user_recognises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    place = Path(__file__).parent.parent / "experiments" / "examples" / "run_glue_with_methods.py"
    spec = importlib.util.spec_from_file_location("run_glue_with_methods", place)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    for name, size in {"train": 16, "dev": 6}.items():
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            pairs = [(f"ab{'cd' * (n % 2)}", "x y", ("no", "yes")[n % 2]) for n in range(size)]
            csv.writer(file).writerows([("sentence1", "sentence2", "label"), *pairs])
    arguments = ["--train_file", f"{tmp_path}/train.csv", "--validation_file", f"{tmp_path}/dev.csv", "--do_train"]
    arguments += ["--model_name_or_path", checkpoint(tmp_path / "encoder", "bert"), "--output_dir", f"{tmp_path}/out"]
    arguments += ["--mixout", "0.3", "--freelb", "--do_eval", "--use_cpu", "--report_to", "none", "--max_steps", "3"]
    metrics = example.main([*arguments, "--disable_tqdm", "true", "--logging_steps", "1"])
    assert 0 <= metrics["eval_accuracy"] <= 1
    saved = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert saved.config.id2label == {0: "no", 1: "yes"}
