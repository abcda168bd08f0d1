"""Are memory and disk large enough for the run?"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import torch

from config import TrainConfig
from datasets.checks.findings import Finding
from engine.training.build import precision_of
from engine.training.memory import StepMemory, build_step_memory, usable_memory
from scripts.doctor_checks.visit import Visit
from utils.devices import choose_device, has_cuda
from utils.distributed import Process

SNAPSHOTS = 3  # last.pth, its predecessor, and the one being written


def check_memory(visit: Visit) -> Iterator[Finding]:
    """An estimate for the chosen crop and batch, against the device's memory."""
    config, classes = in_its_precision(visit), next(iter(visit.splits.values())).classes
    batch, (height, width) = config.schedule.bs_mult, visit.plan.crop.size
    step = build_step_memory(config, classes.num_classes)
    needed, (size, there, device) = step.total(batch, height, width), device_memory(visit)
    visit.details["memory"] = {
        "estimate_bytes": round(needed), "fixed_bytes": step.fixed, "bytes_per_pixel": step.per_pixel,
        "available_bytes": size, "usable_bytes": round(there), "batch": batch, "crop": [height, width],
    }  # fmt: skip
    what = f"{config.model.arch}, {batch} crops of {height}x{width}, --amp {config.compute.amp}: a step takes about"
    what += f" {gib(needed)} (weights, gradients, optimizer {gib(step.fixed)}); {device} has {gib(size)}"
    what += f", {gib(there)} of it for a step" if there < size else ""
    if needed <= there:
        yield Finding("ok", what)
    else:
        yield Finding("warning", what, remedy=_less(config, step, classes.num_classes, there, batch, (height, width)))


def in_its_precision(visit: Visit) -> TrainConfig:
    """The run's config with the precision that `--amp auto` stands for on the device that is planned for."""
    cuda = visit.gpu_memory is not None or (visit.config.compute.device != "cpu" and has_cuda())
    process = Process(0, 1, torch.device("cuda" if cuda else "cpu"))
    amp = precision_of(visit.config, process).training.amp
    return replace(visit.config, compute=replace(visit.config.compute, amp=amp))


def _less(config: TrainConfig, step: StepMemory, num_classes: int, there: float, batch: int, crop: tuple) -> str:
    """Flags that make the run fit, each with what it would give."""
    options = []
    if config.compute.amp == "off":
        half = build_step_memory(replace(config, compute=replace(config.compute, amp="bf16")), num_classes)
        needed = half.total(batch, *crop)
        options.append(f"--amp bf16 (about {gib(needed)}{', still too much' if needed > there else ''})")
    whole, most = batch * config.schedule.accumulate, min(batch - 1, step.largest_batch(there, *crop))
    images = max((n for n in range(2, most + 1) if whole % n == 0), default=None)
    if images:
        more = "" if config.schedule.global_batch else f" --accumulate {whole // images}"
        options.append(f"--bs_mult {images}{more}")
    side = step.largest_crop(there, batch)
    options.append(f"--crop_size {side}" if side >= 64 else "a smaller --arch")
    return ", or ".join(options)


def gib(size: float) -> str:
    """Bytes in words."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.0f} MiB"


def device_memory(visit: Visit) -> tuple[float, float, str]:
    """Of the device that would be trained on: its bytes, those that a step may take, and its name."""
    if visit.gpu_memory is not None:
        size, name = visit.gpu_memory * 2**30, "the GPU of --gpu_memory"
    elif visit.config.compute.device != "cpu" and has_cuda():
        index = choose_device(visit.config.compute.device).index
        size, name = torch.cuda.get_device_properties(index).total_memory, torch.cuda.get_device_name(index)
    else:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return size, size, "this machine (no GPU here, see --gpu_memory)"
    return size, usable_memory(size), name


def check_disk(visit: Visit) -> Iterator[Finding]:
    """Room for snapshots below --ckpt."""
    config, memory = visit.config, visit.details.get("memory")
    folder = config.run.folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = (SNAPSHOTS + 1) * memory["fixed_bytes"] if memory else 0
    visit.details["disk_free_bytes"] = free
    what = f"disk of --ckpt {config.run.ckpt}: {gib(free)} free, snapshots take up to {gib(needed)}"
    yield Finding("ok", what) if free > needed else Finding("warning", what, remedy="--ckpt on another disk")
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        yield Finding("error", f"{folder}: can't be written", remedy="choose another --ckpt", exit_code=5)
