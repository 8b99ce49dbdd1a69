"""Every method keeps these promises, each a function of its settings and an empty folder.

They raise AssertionError with what was promised and what was found. The promises that need a second process are in
`ftreg.testing.ranks`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor

from ftreg.__main__ import main
from ftreg.core.criteria import criterion_of
from ftreg.core.method import Regularizer
from ftreg.core.method_registry import structural
from ftreg.core.step import Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import StreamKey
from ftreg.encoder.torch_internals import dropout_rate, hooks_on
from ftreg.lightning.finetuner import FineTuner
from ftreg.run.places import CONFIG, RESULT
from ftreg.testing.cases import Case, companions
from ftreg.testing.encoders import checkpoint
from ftreg.testing.fits import EVALUATED, difference, fit, random_rows, state

EFFECT = 1e-3
"""The least relative change of a step's gradient that counts as doing something."""
LATE = 4
"""The optimizer step, from 0, at which the change is measured: at the first one a teacher is still the student."""


def null(case: Case, folder: Path) -> None:
    """Require that at its null settings the method is plain fine-tuning, bit for bit, dropout on; also under autocast.

    A method without them is plain fine-tuning of the network that it makes: a fit with its structure and learning
    rates alone, and none of its other parts, ends in the same bits.
    """
    backbone = checkpoint(folder / "encoder", "bert")
    build, name = case.null or case.card, case.card().name
    if case.null is None:
        require(structural(build()), f"{name} has no null settings, but leaves the network as it is")
        where, other = name, "plain fine-tuning of the network that it makes"
    else:
        where, other = f"{name} at its null settings", "plain fine-tuning"
    kinds: list[dict[str, Any]] = [{}, {"precision": "bf16-mixed", "max_steps": 2}]
    for options in kinds:
        plain = state(fit(backbone, [] if case.null else [_Structure(build())], **options))
        found = state(fit(backbone, [build()], **options))
        gap = difference(plain, {key: tensor for key, tensor in found.items() if key in plain})
        require(gap == 0, f"{where} ends {gap:.1e} away from {other} {options or ''}")


def gradient(case: Case, folder: Path) -> None:
    """Require that at its card's settings the method changes the gradient of one step by 1e-3 of its norm or more.

    Measured against the plain model at the same weights, batch and dropout masks, at a step after the first; over the
    parameters that are trainable in both, so without the heads where the method has one of its own. A method that
    changes the start alone is measured against the plain model at the backbone's weights.
    """
    method = case.card()
    probe = _Probe(same_weights=not case.start)
    fit(checkpoint(folder / "encoder", "bert"), [method, probe], max_steps=LATE + 1)
    change = probe.change()
    require(change >= EFFECT, f"{method.name} changes the gradient by {change:.1e} of its norm, less than {EFFECT}")


def clean(case: Case, folder: Path) -> None:
    """Require that after a fit, and one that failed in any of its passes or its backward, the network is as it was.

    The plain encoder's keys, modes, dropout probabilities and hooks; real leaf parameters, as trainable as before. A
    method that changes the network is held against itself as attached.
    """
    backbone = checkpoint(folder / "encoder", "bert")
    plain = FineTuner(backbone)
    plain.configure_model()
    case.card().attach(plain.encoder)
    _logits(plain)  # transformers puts hooks of its own on the layers at the first pass that asks for hidden states
    expected = _footprint(plain)
    count = _Fail(None)
    endings: list[tuple[str, FineTuner]] = [("a fit", fit(backbone, [case.card(), count], max_steps=1))]
    require(count.passes > 0, f"{case.card().name}: a step in which the encoder is not run")
    for point in [*range(count.passes), "backward"]:
        model = FineTuner(backbone)
        try:
            fit(backbone, [case.card(), _Fail(point)], model=model, max_steps=1)
        except _OnPurpose:
            endings.append((f"a failure in {point if point == 'backward' else f'pass {point}'}", model))
        else:
            raise AssertionError(f"{case.card().name}: a failure in {point} was swallowed")
    for ending, model in endings:
        found = _footprint(model)
        wrong = [key for key in expected | found if expected.get(key) != found.get(key)]
        require(not wrong, f"{case.card().name}: after {ending}, {', '.join(wrong[:3])} is not as before")


def permutation(case: Case, folder: Path) -> None:
    """Require that the order of the callbacks changes nothing beside methods of other kinds, dropout on: 1e-12."""
    backbone = checkpoint(folder / "encoder", "bert")
    one, other = [case.card(), *companions(case.card())], [case.card(), *companions(case.card())][::-1]
    gap = difference(state(fit(backbone, one)), state(fit(backbone, other)))
    require(gap < 1e-12, f"{', '.join(m.name for m in one)}: in reversed order the fit ends {gap:.1e} away")


def reloading(case: Case, folder: Path) -> None:
    """Require that a checkpoint, loaded without a trainer, makes the fitted network's predictions, bit for bit."""
    backbone = checkpoint(folder / "encoder", "bert")
    fitted = fit(backbone, [case.card()], precision="32-true", max_steps=2)
    fitted.trainer.save_checkpoint(folder / "kept.ckpt")
    loaded = FineTuner.load_from_checkpoint(folder / "kept.ckpt", weights_only=True)
    first, again = (model.state_dict() | {"logits": _logits(model.eval())} for model in (fitted, loaded))
    gap = difference(first, again)
    require(gap == 0, f"{case.card().name}: loaded from its checkpoint, weights or predictions are {gap:.1e} away")


def command_line(case: Case, folder: Path) -> None:
    """Require that options survive YAML, `ftreg fit`, its `config.yaml` and `result.json`, and that the run repeats.

    The built-in sample, a tiny encoder and one step.
    """
    method = case.card()
    cls, options = type(method), json.loads(json.dumps(method.options()))
    entry = {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": options}
    written = folder / "method.yaml"
    written.write_text(yaml.safe_dump({"trainer": {"callbacks": [entry]}}), encoding="utf-8")
    backbone = checkpoint(folder / "encoder", "bert")
    quick = [f"--model.backbone={backbone}", "--data.task=rte", "--data.max_length=32", "--data.train_subset=32"]
    quick += ["--trainer.max_steps=1", "--trainer.accelerator=cpu"]
    runs = {"first": [f"--config={written}", *quick], "again": [f"--config={folder / 'first' / 'config.yaml'}"]}
    for name, arguments in runs.items():
        code = main(["fit", *arguments, f"--trainer.default_root_dir={folder / name}"])
        require(code == 0, f"{method.name}: `ftreg fit {' '.join(arguments)}` ends with exit code {code}")
    results = {name: json.loads((folder / name / RESULT).read_text(encoding="utf-8")) for name in runs}
    config = yaml.safe_load((folder / "first" / CONFIG).read_text(encoding="utf-8"))
    kept = config["trainer"]["callbacks"][0]["init_args"]
    require(kept == options, f"{method.name}: config.yaml has {kept} for {options}")
    recorded = results["first"]["methods"]
    require(
        recorded == [{"name": method.name, "options": options}], f"{method.name}: result.json has {recorded} for it"
    )
    identities = [result["identity"] for result in results.values()]
    require(identities[0] == identities[1], f"{method.name}: config.yaml is of another run than its own")
    first, again = (
        torch.load(folder / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for name in runs
    )
    gap = difference(first, again)
    require(gap == 0, f"{method.name}: the run that config.yaml repeats ends {gap:.1e} away")


def require(kept: bool, message: str) -> None:
    """Raise AssertionError with the message, unless the promise was kept; also under `python -O`."""
    if not kept:
        raise AssertionError(message)


class _Structure(Regularizer):
    """This has the network that a method makes and its learning rates, without the method's other parts."""

    def __init__(self, method: Regularizer) -> None:
        self.method = method

    def attach(self, encoder: Encoder) -> None:
        self.method.attach(encoder)

    def learning_rates(self, encoder: Encoder) -> Mapping[str, float]:
        return self.method.learning_rates(encoder)


class _Probe(pl.Callback):
    """A probe takes a step's gradient with the methods and the plain model's, at the same weights or the backbone's."""

    def __init__(self, same_weights: bool) -> None:
        self.same_weights = same_weights
        self._plain: dict[str, Tensor] = {}
        self._found: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        if trainer.global_step == LATE:
            encoder, seed = _encoder(pl_module), int(pl_module.hparams["init_seed"])
            plain = Encoder(encoder.backbone, encoder.labels).to(next(encoder.parameters()))
            if self.same_weights:
                plain.load_state_dict(encoder.state_dict(), strict=False)
            step = Step(batch, plain, (), criterion_of(plain.model), StreamKey(seed, LATE, LATE))
            found = torch.autograd.grad(step.loss(), [*step.params.values()], materialize_grads=True)
            self._plain = dict(zip(step.params, found, strict=True))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step == LATE:
            named = [(name, p) for name, p in _encoder(pl_module).named_parameters() if p.requires_grad]
            self._found = {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}

    def change(self) -> float:
        """Return ‖found − plain‖ / ‖plain‖, over the parameters that are trainable in both."""
        names = self._plain.keys() & self._found.keys()
        gaps = [self._found[name] - self._plain[name] for name in names]
        norm = torch.nn.utils.get_total_norm
        return float(norm(gaps) / norm([self._plain[name] for name in names]))


class _OnPurpose(Exception):
    """This is the failure that `_Fail` brings about."""


class _Fail(pl.Callback):
    """This counts the network's forward passes in training, and fails in one of them, or in the backward."""

    def __init__(self, point: int | str | None) -> None:
        self.point, self.passes = point, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not a hook: those are what is looked for afterwards. Of the base model, which any head runs on.
        self._model = _encoder(pl_module).model.base_model
        forward = self._model.forward

        def counted(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            if self.point == self.passes:
                raise _OnPurpose
            self.passes += 1
            return out

        self._model.forward = counted

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if self.point == "backward":
            loss.register_hook(_fail)

    def on_train_batch_end(self, *args: Any) -> None:
        self._model.__dict__.pop("forward", None)

    def on_exception(self, *args: Any) -> None:
        self.on_train_batch_end()


def _fail(gradient: Tensor) -> Tensor:
    raise _OnPurpose


def _encoder(module: pl.LightningModule) -> Encoder:
    encoder = module.encoder
    assert isinstance(encoder, Encoder)
    return encoder


def _logits(model: FineTuner) -> Tensor:
    """Return what it says of some rows."""
    batch: Any = random_rows("dev", EVALUATED).collate(torch.arange(EVALUATED), torch.ones(EVALUATED).bool())
    with torch.no_grad():
        out: Tensor = model(batch)
    return out


def _footprint(model: FineTuner) -> dict[str, Any]:
    """Return what a method may not leave changed, each under the name that a complaint gives it."""
    found: dict[str, Any] = {"the keys of state_dict": [*model.state_dict()]}
    for name, p in model.named_parameters():
        found[f"parameter {name}"] = (type(p), p.is_leaf, p.requires_grad)
        found[f"hooks on parameter {name}"] = hooks_on(p)
    for path, module in model.encoder.named_modules():
        found[f"training mode of {path}"] = module.training
        hooks = {name: len(value) for name, value in vars(module).items() if name.endswith("_hooks") and value}
        found[f"hooks of {path}"] = hooks
        if dropout_rate(module) is not None:
            found[f"dropout {path}"] = module.p
    return found
