"""What every method promises, each as a function of its settings and an empty folder.

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
from torch import Tensor, nn

from ftreg.__main__ import main
from ftreg.encoder import Encoder
from ftreg.finetuner import FineTuner
from ftreg.step import Moment, Step
from ftreg.testing.cases import Case, companions
from ftreg.testing.encoders import checkpoint
from ftreg.testing.fits import difference, fit, state
from ftreg.weights import Weights

EFFECT = 1e-3
"""The least relative change of a step's gradient that counts as doing something."""
LATE = 4
"""The optimizer step, from 0, at which the change is measured: at the first one a teacher is still the student."""


def null(case: Case, folder: Path) -> None:
    """At its null settings the method is plain fine-tuning, bit for bit, with dropout on; also under autocast."""
    backbone = checkpoint(folder / "encoder", "bert")
    kinds: list[dict[str, Any]] = [{}, {"precision": "bf16-mixed", "max_steps": 2}]
    for options in kinds:
        plain, method = state(fit(backbone, **options)), case.null()
        found = state(fit(backbone, [method], **options))
        gap = difference(plain, {name: tensor for name, tensor in found.items() if name in plain})
        where = f"{method.name} at its null settings ends {gap:.1e} away from plain fine-tuning"
        require(gap == 0, f"{where} {options or ''}")


def gradient(case: Case, folder: Path) -> None:
    """At its card's settings the method changes the gradient of one step by 1e-3 of its norm or more.

    Measured at the same weights, batch and dropout masks, at a step after the first.
    """
    method, probe = case.card(), _Probe()
    fit(checkpoint(folder / "encoder", "bert"), [method, probe], max_steps=LATE + 1)
    change = probe.change()
    require(change >= EFFECT, f"{method.name} changes the gradient by {change:.1e} of its norm, less than {EFFECT}")


def clean(case: Case, folder: Path) -> None:
    """After a fit, and after one that failed in any of its passes or its backward, the network is as it was.

    The plain encoder's keys, modes, dropout probabilities and hooks; real leaf parameters, as trainable as before. A
    method that changes the network is held against itself as attached.
    """
    backbone = checkpoint(folder / "encoder", "bert")
    plain = FineTuner(backbone)
    plain.configure_model()
    case.card().attach(plain.encoder)
    expected = _footprint(plain)
    count = _Fail(None)
    endings: list[tuple[str, FineTuner]] = [("a fit", fit(backbone, [case.card(), count], max_steps=1))]
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
    """Beside methods of the other kinds, the order of the callbacks changes nothing, dropout on: 1e-12."""
    backbone = checkpoint(folder / "encoder", "bert")
    one, other = [case.card(), *companions(case.card())], [case.card(), *companions(case.card())][::-1]
    gap = difference(state(fit(backbone, one)), state(fit(backbone, other)))
    require(gap < 1e-12, f"{', '.join(m.name for m in one)}: in reversed order the fit ends {gap:.1e} away")


def command_line(case: Case, folder: Path) -> None:
    """The method's options survive YAML, `ftreg fit`, its `config.yaml` and its `result.json`, and the run repeats.

    The built-in sample, the tiny encoder and one step.
    """
    method = case.card()
    cls, options = type(method), json.loads(json.dumps(method.options()))
    entry = {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": options}
    written = folder / "method.yaml"
    written.write_text(yaml.safe_dump({"trainer": {"callbacks": [entry]}}), encoding="utf-8")
    quick = ["--model.backbone=tiny", "--data.task=rte", "--data.max_length=32", "--data.train_subset=32"]
    quick += ["--trainer.max_steps=1", "--trainer.accelerator=cpu"]
    runs = {"first": [f"--config={written}", *quick], "again": [f"--config={folder / 'first' / 'config.yaml'}"]}
    for name, arguments in runs.items():
        code = main(["fit", *arguments, f"--trainer.default_root_dir={folder / name}"])
        require(code == 0, f"{method.name}: `ftreg fit {' '.join(arguments)}` ends with exit code {code}")
    results = {name: json.loads((folder / name / "result.json").read_text(encoding="utf-8")) for name in runs}
    config = yaml.safe_load((folder / "first" / "config.yaml").read_text(encoding="utf-8"))
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


class _Probe(pl.Callback):
    """Takes a step's gradient with the methods and, at the same weights, the plain one."""

    def __init__(self) -> None:
        self._plain: dict[str, Tensor] = {}
        self._found: dict[str, Tensor] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        if trainer.global_step == LATE:
            encoder, seed = _encoder(pl_module), int(pl_module.hparams["init_seed"])
            step = Step(batch, encoder, Weights(encoder), lambda: None, Moment(seed, LATE, LATE))
            found = torch.autograd.grad(step.loss(), [*step.params.values()], materialize_grads=True)
            self._plain = dict(zip(step.params, found, strict=True))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step == LATE:
            named = _encoder(pl_module).named_parameters()
            self._found = {name: p.grad.clone() for name, p in named if p.grad is not None}

    def change(self) -> float:
        """‖found − plain‖ / ‖plain‖, over all parameters."""
        names = self._plain.keys() | self._found.keys()
        zero = torch.zeros(())
        gaps = [self._found.get(name, zero) - self._plain.get(name, zero) for name in names]
        norm = torch.nn.utils.get_total_norm
        return float(norm(gaps) / norm(self._plain.values()))


class _OnPurpose(Exception):
    """The failure that `_Fail` brings about."""


class _Fail(pl.Callback):
    """Counts the network's forward passes in training, and fails in one of them, or in the backward."""

    def __init__(self, point: int | str | None) -> None:
        self.point, self.passes = point, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not a hook: those are what is looked for afterwards.
        self._model = _encoder(pl_module).model
        forward = self._model.forward

        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.point == self.passes:
                raise _OnPurpose
            self.passes += 1
            return forward(*args, **kwargs)

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


def _footprint(model: FineTuner) -> dict[str, Any]:
    """What a method may not leave changed, each under the name that a complaint gives it."""
    found: dict[str, Any] = {"the keys of state_dict": [*model.state_dict()]}
    for name, p in model.named_parameters():
        found[f"parameter {name}"] = (type(p), p.is_leaf, p.requires_grad)
        found[f"hooks on parameter {name}"] = (p._backward_hooks, getattr(p, "_post_accumulate_grad_hooks", None))
    for path, module in model.encoder.named_modules():
        found[f"training mode of {path}"] = module.training
        hooks = {name: len(value) for name, value in vars(module).items() if name.endswith("_hooks") and value}
        found[f"hooks of {path}"] = hooks
        if isinstance(module, nn.modules.dropout._DropoutNd):
            found[f"dropout {path}"] = module.p
    return found
