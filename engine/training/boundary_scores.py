"""`--evaluateF`: train.py scores boundaries, and trains nothing."""

from config import TrainConfig
from engine.evaluation.build import score_boundaries as boundary_scores
from engine.evaluation.options import EvalOptions
from utils.distributed import Process
from utils.errors import OptionError
from utils.files import write_json
from utils.logging import get_logger


def score_boundaries(config: TrainConfig, process: Process) -> None:
    """Boundary F-scores of --snapshot on the validation split, in `boundary_f_scores.json`."""
    if config.weights.snapshot is None:
        raise OptionError("--evaluateF: name the weights to score with --snapshot")
    options = EvalOptions(
        snapshot=config.weights.snapshot,
        partial=config.weights.partial,
        arch=config.model.arch,
        dataset=config.data.dataset,
        data_root=config.data.data_root,
        split=config.data.val_split,
        cv_split=config.data.cv,
        num_workers=config.data.num_workers,
        base_size=config.validation.base_size,
        max_pixels=config.validation.max_pixels,
        eval_thresholds=config.run.eval_thresholds,
        amp=config.compute.amp,
        save_dir=config.run.ckpt,
    )
    result = boundary_scores(options, process)
    for threshold, row in result.items():
        get_logger().info(f"boundary F-score at {threshold}: {row['mean_f']}")
    if process.is_main:
        write_json(config.run.folder / "boundary_f_scores.json", result)
