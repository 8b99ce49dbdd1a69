"""A Trainer can be asked for what an engine cannot work under: it is refused by name, before anything starts."""

from collections.abc import Sequence
from typing import Any

from transformers.training_args import ParallelMode

from ftreg._base.errors import UsageError

COMPILED = "would compile the whole engine, again in each step; compile the model's layers (layer.compile())"


def check_arguments(args: Any) -> None:
    """Refuse training arguments that do not go with an engine.

    Args:
        args: a `transformers.TrainingArguments`.

    Raises:
        UsageError: names the argument and the remedy.
    """
    split = "splits parameters over processes, and methods work on whole ones; use DDP (torchrun)"
    refused = {
        "deepspeed": split,
        "fsdp": split,
        "parallelism_config": split,
        "torch_compile": COMPILED,
        "use_liger_kernel": "puts losses into the model that an engine does not call; leave it out",
        "auto_find_batch_size": "begins again in the middle of the methods' training; give per_device_train_batch_size",
    }
    for name, why in refused.items():
        if getattr(args, name, None):
            raise UsageError(f"{name} {why}")
    kwargs = getattr(args, "activation_checkpointing_kwargs", None) or getattr(
        args, "gradient_checkpointing_kwargs", None
    )
    if isinstance(kwargs, dict) and kwargs.get("use_reentrant"):
        raise UsageError(_reentrant("the arguments ask"))
    if args.n_gpu > 1:
        raise UsageError(
            f"one process with {args.n_gpu} GPUs uses DataParallel, which copies the model in each step; start with "
            f"torchrun --nproc-per-node={args.n_gpu}, or show one GPU (CUDA_VISIBLE_DEVICES=0)"
        )
    if args.parallel_mode not in (ParallelMode.NOT_PARALLEL, ParallelMode.DISTRIBUTED):
        raise UsageError(
            f"parallel mode {args.parallel_mode.value}: methods work on one device a process; use torchrun"
        )


def check_trainer(trainer: Any, below: Sequence[type]) -> None:
    """Refuse what a launcher, or the model, brings.

    Args:
        trainer: built, but for its engine.
        below: the classes between it and transformers' own Trainer, whose `compute_loss` is overridden.

    Raises:
        UsageError: names it and the remedy.
    """
    split = "parameters over processes or devices, and methods work on whole ones; use DDP (torchrun)"
    model = trainer.model
    loaded_in_parts = getattr(model, "is_distributed_loading_by_transformers", False)
    for found, what in (
        (trainer.is_deepspeed_enabled, "DeepSpeed (of accelerate's launcher) splits"),
        (trainer.is_fsdp_enabled, "FSDP (of accelerate's launcher) splits"),
        (trainer.is_model_parallel, "device_map has split"),
        (loaded_in_parts or (getattr(model, "tp_size", None) or 1) > 1, "tensor parallelism has split"),
    ):
        if found:
            raise UsageError(f"{what} {split}")
    compiler = getattr(trainer.accelerator.state, "dynamo_plugin", None)
    if compiler is not None and str(compiler.backend.value).lower() != "no":
        raise UsageError(f"accelerate's dynamo_backend {COMPILED}")
    for cls in below:
        if "compute_loss" in vars(cls):
            raise UsageError(
                f"{cls.__name__}.compute_loss would not be called in training, where the engine makes the loss; give "
                f"its loss as criterion= or compute_loss_func=, or override compute_loss in a subclass of this Trainer "
                f"and call super()"
            )


def check_checkpointing(model: Any) -> None:
    """Refuse activation checkpointing of the reentrant kind.

    Raises:
        UsageError: names the remedy.
    """
    for module in model.modules():
        function = getattr(module, "_gradient_checkpointing_func", None)
        if getattr(function, "keywords", {}).get("use_reentrant"):
            raise UsageError(_reentrant("the model asks"))


def _reentrant(who: str) -> str:
    return (
        f"{who} for reentrant activation checkpointing, under which no method can take a gradient of its own; give "
        f"activation_checkpointing_kwargs={{'use_reentrant': False}}"
    )
