"""The model and the split of an evaluation, with the model's own classes or mapped to those of the data."""

from dataclasses import replace

import datasets
from datasets.base import Split
from datasets.options import find_root
from datasets.relabelled import ReducedSplit
from engine.checkpoint.digests import is_snapshot
from engine.checkpoint.loading import check_classes
from engine.checkpoint.snapshot import read_snapshot_file
from engine.evaluation.class_map import FLAG, ClassMap, check_names
from engine.evaluation.options import EvalOptions
from engine.evaluation.seen import warn_of_seen
from engine.inference.build import LoadedModel, load
from engine.inference.exported import load_exported
from engine.inference.precision import check_processes
from utils.distributed import Process
from utils.errors import OptionError
from utils.logging import get_logger


def load_with_split(options: EvalOptions, process: Process) -> tuple[LoadedModel, Split]:
    """The model and the split, which is of the data set that is named, or else of the snapshot's."""
    model, split = (load_same if options.class_map is None else load_mapped)(options, process)
    if process.is_main:
        root = find_root(split.dataset, options.data_root)
        warn_of_seen(model.header.get("trained_on"), split.dataset, root, split, options.cv_split)
    return model, split


def load_same(options: EvalOptions, process: Process) -> tuple[LoadedModel, Split]:
    """`load_with_split` for data whose classes are the model's."""
    split = build_split(options, options.dataset) if options.dataset else None
    model = load(options, process.device, split.classes if split else None, options.partial)
    check_processes(model.precision)
    if model.report:
        get_logger().info(model.report)
    if split is None:
        split = build_split(options, model.header["classes"]["dataset"])
        check_classes(model.header, split.classes.names, options.snapshot)
    return model, split


def load_mapped(options: EvalOptions, process: Process) -> tuple[LoadedModel, Split]:
    """`load_with_split` for data that share only some of the model's classes, as `--class_map` says.

    Raises:
        OptionError: It names a class that there isn't, or the snapshot doesn't name its classes.
    """
    given, classes = options.class_names(), read_classes(options)
    check_names(given, "model", classes["names"])
    dataset = options.dataset or classes["dataset"]
    if known := known_classes(dataset):  # before its files are looked for
        ClassMap.of(given, classes["names"], known)
    split = build_split(options, dataset)
    class_map = ClassMap.of(given, classes["names"], split.classes.names)
    model = load(options, process.device, None, options.partial)
    check_processes(model.precision)
    for line in [*([model.report] if model.report else []), *class_map.lines()]:
        get_logger().info(line)
    predict = replace(model.predict, label_map=class_map.table)
    return replace(model, predict=predict), ReducedSplit(split, class_map.unscored)


def read_classes(options: EvalOptions) -> dict:
    """What the snapshot says of its classes: `names`, `dataset`, ... Raises `OptionError` for bare weights."""
    if options.exported:
        return load_exported(options.snapshot, options.runs_on, options.max_pixels, options.amp).header["classes"]
    content = read_snapshot_file(options.snapshot)
    if not is_snapshot(content) or "classes" not in content:
        raise OptionError(f"{FLAG}: {options.snapshot} holds bare weights, without names of classes; give a snapshot")
    return content["classes"]


def known_classes(dataset: str) -> tuple[str, ...]:
    """Names of a data set's classes; none where they come with the data."""
    table = datasets.class_table(dataset)
    return table.names if table else ()


def build_split(options: EvalOptions, dataset: str) -> Split:
    """The split that is evaluated."""
    return datasets.build_split(dataset, find_root(dataset, options.data_root), options.split, options.cv_split)
