"""`--evaluateF`: train.py scores boundaries, and trains nothing."""

from pathlib import Path

from engine.evaluation.build import score_boundaries
from engine.evaluation.options import EvalOptions
from utils.distributed import Process
from utils.files import write_json
from utils.logging import get_logger


def record_boundary_scores(options: EvalOptions, folder: Path, process: Process) -> None:
    """Boundary F-scores, in the log and in `boundary_f_scores.json` of a run's folder."""
    result = score_boundaries(options, process)
    for threshold, row in result.items():
        get_logger().info(f"boundary F-score at {threshold}: {row['mean_f']}")
    if process.is_main:
        write_json(folder / "boundary_f_scores.json", result)
