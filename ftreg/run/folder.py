"""A run's folder holds one run, one fit at a time writes there, and nothing is touched before all is checked.

    check()  reads, and refuses      open()  takes the lock, and makes the folder the run's      close()

What is in the folder beside a run (a cell's record, other people's files) is no concern of these.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg._base.launch import first, launch
from ftreg._base.locks import Lock
from ftreg.run import history
from ftreg.run.places import CONFIG, FOLDERS, METRICS, REPLACED, RESULT, resumable
from ftreg.run.result import Outcome
from ftreg.run.resume import difference
from glue_tasks.atomic import tidy

LOCK = ".run.lock"
FINISHED, CUT_OFF = "a finished run", "a run that was cut off"
BEGUN = "a run that was cut off before its first checkpoint"
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
REMEDY = "give another trainer.default_root_dir, or --overwrite, which moves what is there aside"


@dataclass
class Folder:
    """A run's folder, as a fit is about to use it.

    Args:
        root: it.
        config: the run's resolved configuration.
        checkpoint: that the fit goes on from; empty if it begins.
        step: optimizer steps at that checkpoint.
        overwrite: whether a run that is there gives way.
    """

    root: Path
    config: Mapping[str, Any]
    checkpoint: str = ""
    step: int = 0
    overwrite: bool = False
    _lock: Lock | None = field(default=None, init=False)

    def check(self) -> None:
        """Refuse a folder that another run is in. Changes nothing.

        Raises:
            UsageError: what is there, and what to do.
        """
        check_foreign(self.root)
        check_writable(self.root)
        if self.overwrite:
            if self.checkpoint:
                raise UsageError("--overwrite begins anew, and --ckpt_path goes on with a run; give one of them")
            if held(self.root) and Path.cwd().resolve().is_relative_to(self.root.resolve()):
                raise UsageError(f"--overwrite would move {self.root}, where you are, aside; run it from elsewhere")
            return
        what = held(self.root)
        if not what:
            return
        changed = self._changed(what)
        if self._own():
            if changed:
                raise UsageError(f"{self.root / 'config.yaml'} is of another run ({changed}); {REMEDY}")
            history.read_history(self.root / METRICS)
            outcome = Outcome.read(self.root / RESULT)
            spent = 0 if outcome is None else outcome.cost.steps
            if self.step < spent:
                raise UsageError(
                    f"{self.root} holds a finished run of {spent} steps; to go on from step {self.step}, {REMEDY}"
                )
        elif what != BEGUN or changed:  # of a run that is begun there is nothing to lose: the same one begins again
            last = resumable(self.root)
            on = f"to go on with it, give --ckpt_path {last.stem}; or " if what == CUT_OFF and last else ""
            other = f" ({changed})" if changed else ""
            raise UsageError(f"{self.root} holds {what}{other}, and a folder holds one run; {on}{REMEDY}")

    def open(self) -> str:
        """Take the folder for this fit, on the first process of its launch: call it once everything is checked.

        Returns:
            a line to tell the user; empty if there is nothing to tell.

        Raises:
            UsageError: another fit is writing there, or it has another run by now.
        """
        if not first():
            return ""
        said = self._take()
        try:
            self.check()
            if self.overwrite and held(self.root):
                aside = self._move_aside()
                said = f"{self.root} held a run, which is now in {aside}{'; ' if said else ''}{said}"
                self._take()
            if not self._own():
                (self.root / METRICS).unlink(missing_ok=True)
            for folder in (self.root, *(self.root / name for name in FOLDERS if (self.root / name).is_dir())):
                tidy(folder)
        except BaseException:
            self.close()
            raise
        return said

    def close(self) -> None:
        """Release the folder, so that others can have it."""
        if self._lock is not None:
            self._lock.remove()
        self._lock = None

    def is_ours(self) -> bool:
        """Return whether this launch has opened it: its other processes find what the first one has made of it."""
        try:
            return (self.root / LOCK).read_text().startswith(f"{launch()}\n")
        except (OSError, ValueError):
            return False

    def _own(self) -> bool:
        """Return whether the fit goes on with the run that is there."""
        return bool(self.checkpoint) and Path(self.checkpoint).resolve().parent == (self.root / "checkpoints").resolve()

    def _changed(self, what: str) -> str:
        """Return what the run that is there has other than this one; nothing if that is the same, or unknown."""
        path = self.root / CONFIG
        if not path.exists():
            return "without a config.yaml" if what == BEGUN else ""
        before = yaml_text.read_yaml(path, "take it away")
        try:
            return difference(before, self.config, "there", "here")
        except (AttributeError, KeyError, TypeError):
            return "its config.yaml is no fit's"

    def _take(self) -> str:
        """Hold the lock; return a warning where the file system has none."""
        lock = Lock(self.root / LOCK)
        try:
            if not lock.take():
                raise UsageError(f"{self.root}: another fit is writing there; wait for its end, or give another folder")
        except OSError as error:
            if error.errno in NO_LOCKS:
                return f"{self.root}: a file system without locks; see to it that no other fit writes there"
            raise UsageError(f"{self.root}: cannot write there ({error.strerror}); give another folder") from None
        if self._lock is not None:
            self._lock.release()
        self._lock = lock
        os.ftruncate(lock.file, 0)
        os.write(lock.file, f"{launch()}\n".encode())
        return ""

    def _move_aside(self) -> Path:
        """Rename the folder, with all that is in it; its lock goes along."""
        place = Path(os.path.abspath(self.root))
        number = 1
        while (aside := place.with_name(f"{place.name}{REPLACED}{number}")).exists():
            number += 1
        try:
            place.rename(aside)
        except OSError as error:
            raise UsageError(
                f"--overwrite: {self.root} cannot be moved aside ({error.strerror}); give another folder"
            ) from None
        (aside / LOCK).unlink(missing_ok=True)
        return aside


def held(root: Path) -> str:
    """Return what run a folder holds; nothing for none."""
    if (root / RESULT).exists():
        return FINISHED
    if any((root / "checkpoints").glob("*.ckpt")):
        return CUT_OFF
    return BEGUN if any((root / name).exists() for name in (CONFIG, METRICS)) else ""


def clear(root: Path) -> None:
    """Take away what a fit has left in its folder."""
    for name in FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in (CONFIG, METRICS, LOCK):
        (root / name).unlink(missing_ok=True)


def check_foreign(root: Path) -> None:
    """Refuse checkpoints that Lightning takes up by itself on SLURM, unchecked. No fit of ours leaves any.

    Raises:
        UsageError: names one.
    """
    for path in sorted(root.glob("hpc_ckpt_*.ckpt")):
        raise UsageError(
            f"{path}: not of ftreg, and Lightning would load it unchecked on SLURM; move it out of the run's folder, "
            "and give it as --ckpt_path if it is this run's"
        )


def check_writable(root: Path) -> None:
    """Refuse a folder that cannot be made, or written in. Makes nothing.

    Raises:
        UsageError: why not.
    """
    above = next((place for place in (root, *root.absolute().parents) if os.path.lexists(place)), root)
    reason = "" if os.access(above, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
    if not above.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    if reason:
        raise UsageError(f"trainer.default_root_dir {root}: cannot write there ({reason}); give another folder")
