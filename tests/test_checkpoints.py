"""Checkpoints that were damaged, that lie on a full disk, or that somebody else wrote."""

import os
import random
import zipfile
from pathlib import Path

import pytest
import torch

from ftreg._base.errors import UsageError
from ftreg.core import checkpoint_reader
from ftreg.core.checkpoint_reader import load_checkpoint
from ftreg.run.checkpoints import Whole
from tests.full import full

GENERATOR = torch.Generator().manual_seed(0)
CHECKPOINT = {
    "state_dict": {f"encoder.{n}": torch.randn(64, 8, generator=GENERATOR) for n in range(6)},
    "global_step": 8,
    "ftreg_run": {"task": "rte", "config": {"seeds": {"init": 0}}},
}


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Whole().save_checkpoint(CHECKPOINT, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_no_flipped_bit_gets_through(path: Path) -> None:
    """Not into the weights, nor into anything else: the file is refused, or the bit means nothing."""
    content, chosen = path.read_bytes(), random.Random(0)
    refused: list[str] = []
    for _ in range(150):
        flipped = bytearray(content)
        at = chosen.randrange(8 * len(content))
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        checkpoint_reader._whole.clear()
        try:
            assert same(load_checkpoint(str(path), "ckpt_path"), CHECKPOINT)
        except UsageError as error:
            refused.append(str(error))
    assert len(refused) > 75
    for line in refused:
        assert line.startswith(f"ckpt_path {path}: not a checkpoint, or a broken one (")
        assert "\n" not in line
        assert len(line) < 500


@pytest.mark.parametrize("size", [0, 1, 100, 5000, -1])
def test_a_truncated_one_is_refused(path: Path, size: int) -> None:
    os.truncate(path, size if size >= 0 else path.stat().st_size - 1)
    with pytest.raises(UsageError, match="a broken one"):
        load_checkpoint(str(path), "ckpt_path")


def test_the_newest_whole_one_beside_it_is_named(path: Path) -> None:
    for name, step in (("best.ckpt", 4), ("older.ckpt", 2), ("broken.ckpt", 6)):
        Whole().save_checkpoint({**CHECKPOINT, "global_step": step}, path.with_name(name))
        os.utime(path.with_name(name), (step, step))
    for name in ("last.ckpt", "broken.ckpt"):
        content = path.with_name(name).read_bytes()
        at = content.index(CHECKPOINT["state_dict"]["encoder.3"].numpy().tobytes())
        path.with_name(name).write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    with pytest.raises(UsageError) as error:
        load_checkpoint(str(path), "ckpt_path")
    assert str(error.value).endswith(
        f"(data/3 does not match its checksum); {path.with_name('best.ckpt')}, of step 4, is whole"
    )
    with pytest.raises(UsageError, match="does not match its checksum"):
        Whole().load_checkpoint(path)


def test_it_is_read_once_as_long_as_it_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_checkpoint(str(path), "ckpt_path")
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: "archive/data/0")
    load_checkpoint(str(path), "ckpt_path")
    os.utime(path)
    with pytest.raises(UsageError, match="data/0 does not match"):
        load_checkpoint(str(path), "ckpt_path")


def test_one_without_checksums_is_loaded_with_a_word(path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(CHECKPOINT, path)
    finally:
        torch.serialization.set_crc32_options(before)
    with pytest.warns(UserWarning, match="has no checksums"):
        assert same(load_checkpoint(str(path), "ckpt_path"), CHECKPOINT)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 1.0])
def test_on_a_full_disk_one_line_and_the_one_before(path: Path, share: float) -> None:
    before = path.read_bytes()
    size = max(0, int(share * len(before)) - 1)
    with full(size), pytest.raises(UsageError) as error:
        Whole().save_checkpoint({**CHECKPOINT, "global_step": 9}, path)
    assert str(error.value).startswith(f"{path}: cannot be written (File too large); make room")
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
