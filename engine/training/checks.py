"""What is checked of data and batches before anything of a run is built."""

from collections.abc import Iterable

from datasets.checks.crops import Crop
from datasets.checks.findings import Finding, many
from datasets.checks.run import CHECKS, Plan, run_check
from datasets.options import DataOptions
from datasets.sampling.sampler import count_batches
from engine.training.options import ScheduleOptions, ValidationOptions
from engine.training.start import Indexes, Splits
from transforms.options import AugmentOptions
from utils import distributed
from utils.errors import DataError, OptionError
from utils.logging import get_logger

DOCTOR = "scripts/doctor.py, with the same options, lists all"


def data_plan(
    data: DataOptions,
    augment: AugmentOptions,
    schedule: ScheduleOptions,
    validation: ValidationOptions,
    images: int,
) -> Plan:
    """What the checks of the data need to know of a run; `images`: of an epoch, on each process."""
    side = augment.crop_size
    size = side if isinstance(side, tuple) else (side, side)
    crop = Crop(size, (augment.scale_min, augment.scale_max), augment.pre_size)
    steps = max(1, images // (schedule.bs_mult * schedule.accumulate))
    epochs = schedule.max_epoch or -(schedule.max_iters // -steps)
    whole = schedule.bs_mult if augment.trains_whole(epochs - 1) else 0
    return Plan(data, crop, validation.bs_mult_val, whole)


def check_data(splits: Splits, indexes: Indexes, plan: Plan, checks: Iterable[str] = CHECKS) -> list[Finding]:
    """What rank 0 finds in the data that is worth saying; the same on all ranks, whatever else differs there.

    Args:
        splits: What is trained and validated on.
        indexes: What its files hold.
        plan: What is done with it.
        checks: Some of `CHECKS`.

    Raises:
        DataError: The data can't be trained on.
        OptionError: It can't with these options.
    """
    findings = distributed.from_first_rank(lambda: _look(splits, indexes, plan, checks))
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        unusable = [finding for finding in errors if finding.exit_code == DataError.exit_code]
        first, fault = (unusable[0], DataError) if unusable else (errors[0], OptionError)
        more = f" ({many(len(errors) - 1, 'more error')}: {DOCTOR})" if len(errors) > 1 else ""
        raise fault(f"{first.line()}{more}")
    return findings


def _look(splits: Splits, indexes: Indexes, plan: Plan, checks: Iterable[str]) -> list[Finding]:
    parts = dict(zip((split.split for split in splits), zip(splits, indexes, strict=True), strict=False))
    found = [
        finding
        for split, index in parts.values()
        for title in checks
        for finding in run_check(CHECKS[title], split, index, plan)
    ]
    return [finding for finding in dict.fromkeys(found) if finding.severity != "ok"]


def log_findings(findings: list[Finding]) -> None:
    """Warnings and notes in the log, a line each."""
    for finding in findings:
        log = get_logger().warning if finding.severity == "warning" else get_logger().info
        log(finding.line())


def check_batches(images: int, schedule: ScheduleOptions, norm: str, processes: int) -> None:
    """Refuse a batch that the norms can't work with, or that an epoch doesn't fill.

    Args:
        images: Of an epoch.
        schedule: Batch and accumulation.
        norm: `plain`, `sync`, `group` or `frozen`.
        processes: That train.

    Raises:
        OptionError: The message names what works for so many images.
    """
    least, batch = 2 if norm == "plain" else 1, schedule.bs_mult
    if images < least * processes:
        raise OptionError(f"--bs_mult {batch}: {_too_few(images, norm, processes)}")
    if batch < least:
        raise OptionError(
            "--bs_mult 1: with plain norms a batch of 1 leaves one value per channel in the pyramid pooling;"
            " use --bs_mult 2 or more, --norm group, --fix_bn, or several processes with --syncbn"
        )
    count_batches(images, processes, batch, schedule.accumulate)


def _too_few(images: int, norm: str, processes: int) -> str:
    """What to do where no batch can be filled with these norms on so many processes."""
    ways = ["add images"]
    if norm == "plain" and images >= processes:
        ways.append("use --bs_mult 1 with --norm group or --fix_bn")
    if processes > 1:
        ways.append("use fewer processes")
    each = " on each process" if processes > 1 else ""
    needed = f"with plain norms a batch needs 2{each}" if norm == "plain" else f"a batch needs 1{each}"
    return f"an epoch has {many(images, 'image')}, and {needed}; {', or '.join(ways)}"
