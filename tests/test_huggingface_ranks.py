"""On two processes a Trainer with an engine ends where one process does: accelerate wraps the engine in DDP."""

import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from torch.multiprocessing.spawn import start_processes

from ftreg.huggingface import Trainer
from tests.trainers import built, methods, named, rows, trained, weights

KINDS = ("single", "tokens", "span")


def ends(folder: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Train these heads, and go on from a checkpoint."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        saving = {**arguments, "save_strategy": "steps", "save_steps": 2}
        options: dict[str, Any] = {"train_dataset": named(rows(kind, 12)), "eval_dataset": named(rows(kind, 12))}
        whole = trained(Trainer, kind, folder / kind, saving, methods=methods(), **options)
        again = built(Trainer, kind, folder / kind, saving, methods=methods(), **options)
        again.train(str(folder / kind / "checkpoint-2"))
        logs = [log for log in whole.state.log_history if "loss" in log]
        found[kind] = {"whole": weights(whole), "again": weights(again), "logs": logs}
        logits = whole.predict(options["eval_dataset"]).predictions
        found[kind]["logits"] = torch.tensor(logits[0] if isinstance(logits, tuple) else logits)
    return found


def rank_of(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    # As torchrun says it; a file to meet at, and no port that another process could take.
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    torch.distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2)
    torch.save(ends(folder / "two", {"per_device_train_batch_size": 2, "ddp_backend": "gloo"}), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path) -> None:
    multiprocessing.set_forkserver_preload([__name__])
    ranks = start_processes(rank_of, (tmp_path,), nprocs=2, join=False, daemon=True, start_method="forkserver")
    assert ranks is not None
    alone = ends(tmp_path / "one", {})
    while not ranks.join():
        pass
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for kind, one in alone.items():
            two = found[kind]
            assert float((two["whole"] - one["whole"]).abs().max()) < 1e-9
            assert torch.equal(two["again"], two["whole"])
            assert torch.equal(one["again"], one["whole"])
            assert float((two["logits"] - one["logits"]).abs().max()) < 1e-9
            for here, there in zip(two["logs"], one["logs"], strict=True):
                assert here == pytest.approx(there, rel=1e-5)
