"""Stands for `ftreg fit` where the launcher is tested and not the training: leaves in a moment what a run leaves.

SCORE, SECONDS and FAIL in the environment are by method and setting: `{"mixout.1": 0.9}`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

root = Path(next(a.partition("=")[2] for a in sys.argv if a.startswith("--trainer.default_root_dir=")))
arm, seed = root.parent.name, root.name
with open(root / "attempts", "a") as file:
    file.write(f"{sys.argv[1:]}\n")
time.sleep(float(os.environ.get("SLEEP", "0")))
fail = json.loads(os.environ.get("FAIL", "{}"))
if arm in fail:
    print("a line before")
    print(f"ftreg: error: {fail[arm]}", file=sys.stderr)
    print("a line after")
    sys.exit(2)
if arm in json.loads(os.environ.get("STOP", "[]")) and not (root / "stopped").exists():
    (root / "stopped").touch()
    sys.exit(75)
if arm in json.loads(os.environ.get("LEAVE", "[]")):
    left = subprocess.Popen(["sleep", "300"])
    (root / "left").write_text(str(left.pid))
value = json.loads(os.environ.get("SCORE", "{}")).get(arm, 0.5)
value = value[int(seed) % 2] if isinstance(value, list) else value
seconds = json.loads(os.environ.get("SECONDS", "{}")).get(arm, 1.0)
result = {
    "identity": json.loads((root / "cell.json").read_text())["identity"],
    # Dev says the opposite: it must not be looked at.
    "scores": {"selection": {"best": {"accuracy": value}, "last": {"accuracy": 0}}, "dev": {"best": {"accuracy": 0}}},
    "reported": {"split": "dev", "checkpoint": "best", "metric": "accuracy", "value": 1 - (value or 0)},
    "failed": False,
    "cost": {"steps": 10, "seconds": 10 * seconds},
}
(root / "result.json").write_text(json.dumps(result))
