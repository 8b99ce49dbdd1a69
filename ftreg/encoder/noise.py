"""Named random streams: every draw is a function of what it is for, never of what was drawn before it.

A stream is named by a key such as ``(seed, "Mixout", step, "bert.encoder.layer.0.attention.self.query.weight")``.
Hashing the key gives its seed. So adding a method shifts no other stream, a resumed run draws what the
uninterrupted one would have drawn without any generator state in the checkpoint, and every rank and micro-batch
of one optimizer step sees the same weight noise.
"""

import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import SupportsIndex

import torch

Key = str | SupportsIndex
"""A word, or an integer of any kind: `0`, `np.int64(0)` and `torch.tensor(0)` are one key, and "0" is another."""


def stream_seed(*key: Key) -> int:
    """The seed of the stream named by `key`: 63 bits of BLAKE2b, the same on every machine and in every process.

    Raises:
        TypeError: a part of the key is neither a string nor an integer.
    """
    digest = hashlib.blake2b(repr(tuple(map(_spelt, key))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _spelt(part: Key) -> str | int:
    """The one spelling that is hashed."""
    if isinstance(part, bool) or "bool" in str(getattr(part, "dtype", "")):
        raise TypeError(f"{part!r} names no random stream; give a string or an integer")
    return str.__str__(part) if isinstance(part, str) else operator.index(part)


@dataclass(frozen=True)
class Moment:
    """When in a run: what all random streams are named by.

    Args:
        seed: the run's `seeds.init`.
        number: the optimizer step, from 0.
        micro_batch: how many micro-batches this rank has seen before.
        rank: of this process.
    """

    seed: int
    number: int
    micro_batch: int = 0
    rank: int = 0


@dataclass(frozen=True)
class Noise:
    """The streams of one method at one optimizer step.

    Args:
        seed: the run's `seeds.init`.
        method: the method's name; its position among the callbacks plays no part.
        step: the optimizer step, from 0.
    """

    seed: int
    method: str
    step: int

    def generator(self, *name: Key, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh generator on `device` for one named draw: a parameter's name, or a row id."""
        generator = torch.Generator(device)
        generator.manual_seed(stream_seed(self.seed, self.method, self.step, *name))
        return generator


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from one seed on the CPU, and leave the global generators as they were."""
    with torch.random.fork_rng(), torch.device("cpu"):
        torch.manual_seed(seed)
        yield


def seed_dropout(seed: int, micro_batch: int, rank: int, *stream: Key) -> None:
    """Seed the global generators, which dropout draws from, for one forward pass.

    Dropout is drawn per micro-batch and rank: it is the one noise that depends on how a batch is sharded.
    The same `stream` again replays the same masks; another name gives fresh ones.
    """
    torch.manual_seed(stream_seed(seed, "dropout", micro_batch, rank, *stream))
