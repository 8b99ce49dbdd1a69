"""A report of scores is numbers and pictures: whoever has no GPU, no model and no data set waits for no torch."""

import subprocess
import sys
from pathlib import Path

from tests.report.records import grid

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "pytorch_lightning", "lightning_fabric", "torchmetrics", "datasets", "pandas"}
SCRIPT = f"""
import sys
from ftreg.__main__ import main
for path in sys.argv[2:]:
    assert main(["report", path, "--out", sys.argv[1]]) == 0
    loaded = {HEAVY} & sys.modules.keys()
    assert not loaded, (path, loaded)
"""
CONFIG = """
model: {backbone: demo, decay_towards: zero, weight_decay: 0.01}
data: {task: rte, source: sample}
trainer: {callbacks: null, logger: {class_path: ftreg.loggers.CSVLogger, init_args: {save_dir: .}}}
"""


def test_a_report_imports_none(tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("task,method,seed,score\nrte,plain,0,0.5\nrte,plain,1,0.6\nrte,other,0,0.6\nrte,other,1,0.7\n")
    runs = grid(tmp_path / "runs", {"plain": [0.6, 0.61, None], "plain@other": [0.65, 0.64, 0.66]})
    for path in runs.rglob("config.yaml"):
        path.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "out"), str(scores), str(runs)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
