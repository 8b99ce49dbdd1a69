"""Random streams have names: every draw is a function of what it is for, never of what was drawn before it.

A stream is named by a key such as ``(seed, "Mixout", step, "bert.encoder.layer.0.attention.self.query.weight")``.
Hashing the key gives its seed. So adding a method shifts no other stream, a resumed run draws what the
uninterrupted one would have drawn without any generator state in the checkpoint, and every rank and micro-batch
of one optimizer step sees the same weight noise.
"""

import hashlib
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, SupportsIndex

import torch
from torch import Tensor

Key = str | SupportsIndex
"""A word, or an integer of any kind: `0`, `np.int64(0)` and `torch.tensor(0)` are one key, and "0" is another."""
Draw = Literal["normal", "uniform"]


def stream_seed(*key: Key) -> int:
    """Return the seed of the stream named by `key`: 63 bits of BLAKE2b, the same on every machine and in every process.

    Raises:
        TypeError: a part of the key is neither a string nor an integer.
    """
    digest = hashlib.blake2b(repr(tuple(map(_spelt, key))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _spelt(part: Key) -> str | int:
    """Return the one spelling that is hashed."""
    if isinstance(part, bool) or "bool" in str(getattr(part, "dtype", "")):
        raise TypeError(f"{part!r} names no random stream; give a string or an integer")
    return str.__str__(part) if isinstance(part, str) else operator.index(part)


@dataclass(frozen=True)
class StreamKey:
    """A stream key says when in a run a pass runs, and on which process: all its random streams are named by it.

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
    """Noise makes a method's random draws at one optimizer step, and is the one place where they are made.

    To inject draws of one's own, as to replay a trace of other code, subclass it, override `mask` or `perturbation`,
    and give the class to the engine: `Engine(model, methods, noise=Replayed)`.

    Args:
        seed: the run's `seeds.init`.
        method: the method's name; its position among the callbacks plays no part.
        step: the optimizer step, from 0.
    """

    seed: int
    method: str
    step: int

    def generator(self, *name: Key, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a fresh generator on `device` for one named draw: a parameter's name, or a row id."""
        generator = torch.Generator(device)
        generator.manual_seed(stream_seed(self.seed, self.method, self.step, *name))
        return generator

    def mask(self, parameter: str, like: Tensor, drop: float) -> Tensor:
        """Draw a mask for a parameter: zeros with probability `drop`, ones elsewhere.

        Args:
            parameter: its name, which names the stream.
            like: the shape, dtype and device of the mask.
            drop: the probability of a zero.
        """
        generator = self.generator(parameter, device=like.device)
        # In one precision whatever the default is, which differs from loop to loop.
        uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=torch.float32)
        return (uniform >= drop).to(like.dtype)

    def perturbation(
        self, draw: str, row_ids: Sequence[int], places: Sequence[slice | Tensor], out: Tensor, kind: Draw
    ) -> Tensor:
        """Fill `out` [batch, tokens, dim], which is zero, on real tokens; each row from its own stream.

        Args:
            draw: the name of the draw.
            row_ids: which name the rows' streams.
            places: of each row's real tokens: the first few, or a boolean mask [tokens].
            out: where the values go.
            kind: `normal`, N(0, 1), or `uniform`, U(−1, 1).
        """
        for place, (row, tokens) in enumerate(zip(row_ids, places, strict=True)):
            generator = self.generator(draw, row, device=out.device)
            values = out[place, tokens]  # of a slice a view, of a mask a copy
            values.normal_(generator=generator) if kind == "normal" else values.uniform_(-1, 1, generator=generator)
            out[place, tokens] = values
        return out


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Make and draw new parameters in a precision, and leave the default as it was."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


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
