"""An evaluation, composed of its options: model, split, journal, prediction files."""

from dataclasses import replace

from datasets.base import Split
from datasets.dataset import EvaluationDataset
from datasets.instances import InstanceFiles
from engine.evaluation.boundary import BoundaryFScore
from engine.evaluation.confidence import ConfidenceMaps
from engine.evaluation.journal import EvaluationJournal
from engine.evaluation.load import load_with_split
from engine.evaluation.options import EvalOptions
from engine.evaluation.prediction_files import PredictionWriter
from engine.evaluation.run import EvaluationRun, shared_loader
from engine.evaluation.scoring import check_labelled, evaluate
from engine.evaluation.submission import prepare_submission
from utils.distributed import Process
from utils.errors import OptionError
from utils.files import file_sha256
from utils.logging import get_logger

TEST_MODE_SAMPLES = 4


def build_evaluation(options: EvalOptions, process: Process) -> EvaluationRun:
    """Load model and split, refuse what can't be scored, and read what an earlier evaluation finished.

    Raises:
        OptionError: The split has no labels for what is asked for, or other options that don't fit the data.
        DataError: The data is missing or wrong, or `pred/` holds files of another split.
        CheckpointError: The snapshot is missing, damaged, or of other classes.
    """
    model, split = load_with_split(options, process)
    options = replace(options, amp=model.precision.amp)  # for the records
    indices, digest, writer = choose_part(options, split), file_sha256(options.snapshot), None
    if options.writes_predictions:
        writer = PredictionWriter(options.folder, split, model.mean, model.std, options.dump_images)
    confidence = None
    if options.confidence:
        confidence = ConfidenceMaps(options.folder, model.mean, model.std, options.settings().passes)
    if options.submission and process.is_main:
        prepare_submission(options.submission, options.folder / "pred", split)
    settings = {"snapshot": digest, "data": split.fingerprint(), "device": process.device.type}
    settings["options"] = options.reproducibility_key()
    if model.predict.label_map is not None:
        settings["label_map"] = model.predict.label_map.tolist()
    instances = InstanceFiles(split) if options.instance_scores else None
    if instances is not None:
        instances.check(indices)
    writers = (writer, confidence)
    journal = EvaluationJournal(options.folder / "partial", settings, split, writers, options.part, instances)
    finished = [image for image in journal.start(options.resume) if image.index in indices]
    get_logger().info(f"{split.dataset} {split.split}, {len(indices)} images: {options.describe_protocol()}")
    if options.resume:
        get_logger().info(f"resuming: {len(finished)} of {len(indices)} images are finished")
    dataset = EvaluationDataset(split, model.transform, instances)
    return EvaluationRun(options, process, model, dataset, indices, finished, journal, writer, confidence, digest)


def choose_part(options: EvalOptions, split: Split) -> range:
    """Indices of the part of the split that is asked for.

    Raises:
        OptionError: The part is empty, or a score is asked for and the split has no labels.
        DataError: It has, and they are all void.
    """
    part = range(len(split))[options.split_index :: options.split_count]
    if options.test_mode:
        part = part[:TEST_MODE_SAMPLES]
    if not part:
        raise OptionError(
            f"--split_count {options.split_count}: more than the {len(split)} images of the split; lower it"
        )
    if split.has_labels:
        check_labelled(split, part)
    elif (
        options.boundary
        or options.report
        or options.instance_scores
        or not (options.writes_predictions or options.confidence)
    ):
        raise OptionError(
            f"--split {split.split}: there is no score, because the labels of this split of {split.dataset} are not"
            " published or not in its folder; predict it with --dump_images, --confidence or --submission, or score"
            " another split"
        )
    return part


def score_boundaries(options: EvalOptions, process: Process) -> dict[str, dict]:
    """Boundary F-scores of a snapshot on a split, as `BoundaryFScore.average` gives them: train.py's --evaluateF.

    Raises:
        OptionError: The split has no labels.
        DataError: The data is missing or wrong, or all labels are void.
        CheckpointError: The snapshot is missing, damaged, or of other classes.
    """
    model, split = load_with_split(options, process)
    if not split.has_labels:
        raise OptionError(f"--val_split {split.split}: this split of {split.dataset} has no labels to score with")
    part = range(len(split))[: TEST_MODE_SAMPLES if options.test_mode else None]
    check_labelled(split, part, "--val_split")
    metric = BoundaryFScore(split.classes.num_classes, options.eval_thresholds)
    loader = shared_loader(EvaluationDataset(split, model.transform), part, options, process)
    evaluation = evaluate(model.predict, loader, split.classes.num_classes, metrics=[metric], progress=process.is_main)
    return metric.average(evaluation, split.classes.names)
