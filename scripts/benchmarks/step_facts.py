"""Facts of whole training steps: the CPU's values, skipped and repeated ones, their time, memory and waits."""

import copy
import time
from collections.abc import Iterator
from functools import partial

import torch

from optimizer import match_strides
from scripts.benchmarks.facts import CPU, FLAT, LAST, LAYOUTS, Place, Row, Trial, difference

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # of float32, relative
UPDATE_TOLERANCE = 1e-6  # of weights after an optimizer's step with the same gradients
STEPS = {  # name -> model, layout, precision, cuDNN's benchmark mode
    "fenet_r18": ("fenet_r18", LAST, "bf16", True),
    "fenet_r101": ("fenet_r101", LAST, "bf16", True),
    "fenet_r18 without cuDNN's trials": ("fenet_r18", LAST, "bf16", False),
    "fenet_r18 NCHW": ("fenet_r18", FLAT, "bf16", True),
    "fenet_r18 float32": ("fenet_r18", LAST, "off", True),
    "sfnet_r18": ("sfnet_r18", LAST, "bf16", True),
}
TWO_MODELS = ("fenet_r18", "fenet_r101")  # all that Triton's kernels are tried in, and a CPU


def same_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """Loss and gradients of a step in float32, without TF32, beside those of PyTorch's operations on the CPU."""
    others = ("sfnet_r18", "sfnet_lite_r18") if not place.small and place.kernels == "torch" else ()
    for arch in ("fenet_tiny", *others):
        for name, layout in LAYOUTS.items():
            yield f"{arch} {name}", partial(_same, place, arch, layout)


def _same(place: Place, arch: str, layout: torch.memory_format) -> dict:
    side = 64 if place.small else 128
    expected = Trial.build(Place(CPU, small=place.small), arch, FLAT, "off", side=side)
    found = Trial.build(place, arch, layout, "off", side=side)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        losses = [trial.run()[0]["total"] for trial in (found, expected)]
    row = {"loss_error": difference(*losses), "gradient_error": difference(found.gradient(), expected.gradient())}
    return row | {"ok": row["loss_error"] < LOSS_TOLERANCE and row["gradient_error"] < GRADIENT_TOLERANCE}


def skipped_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """A step with an infinite pixel changes nothing; moments saved in another memory layout fit."""
    for optimizer in ("sgd", "adam", "adamw"):
        for amp in ("bf16",) if place.small else ("bf16", "fp16", "off"):
            yield f"{optimizer} {amp}", partial(_skipped, place, optimizer, amp)
        yield f"{optimizer}, state of the other layout", partial(_other_layout, place, optimizer)


def _skipped(place: Place, optimizer: str, amp: str) -> dict:
    trial = Trial.build(place, amp=amp, optimizer=optimizer, side=64 if place.small else 128)
    trial.run()
    before = {name: value.clone() for name, value in trial.model.state_dict().items() if value.is_floating_point()}
    trial.batch["image"][0, 0, 0, 0] = float("inf")
    applied = bool(trial.run()[1])
    unchanged = all(torch.equal(trial.model.state_dict()[name], value) for name, value in before.items())
    trial.batch["image"][0, 0, 0, 0] = 0
    after = bool(trial.run()[1])
    row = {"applied": applied, "unchanged": unchanged, "next_applied": after}
    return row | {"ok": row == {"applied": False, "unchanged": True, "next_applied": True}}


def _other_layout(place: Place, optimizer: str) -> dict:
    settings = {"amp": "off", "optimizer": optimizer, "side": 64 if place.small else 128}
    saved, resumed = (Trial.build(place, layout=layout, **settings) for layout in (LAST, FLAT))
    for trial in (saved, resumed):
        trial.run()
    resumed.model.load_state_dict(saved.model.state_dict())
    resumed.optimizer.load_state_dict(copy.deepcopy(saved.optimizer.state_dict()))
    match_strides(resumed.optimizer)
    for parameter, other in zip(resumed.model.parameters(), saved.model.parameters(), strict=True):
        parameter.grad.copy_(other.grad)
    weights = []
    for trial in (saved, resumed):
        trial.optimizer.step()
        weights.append(torch.cat([parameter.flatten() for parameter in trial.model.parameters()]))
    error = difference(*weights)
    return {"weight_error": error, "ok": error < UPDATE_TOLERANCE}


def step_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """A step of 2 x 1024: time, the host's share, images a second, memory, and whether the host waits."""
    for name, values in STEPS.items():
        if name in TWO_MODELS or (not place.small and place.kernels == "torch"):
            yield name, partial(_step, place, *values)


def _step(place: Place, arch: str, layout: torch.memory_format, amp: str, trials: bool) -> dict:
    torch.backends.cudnn.benchmark = trials
    trial = Trial.build(place, arch, layout, amp, side=64 if place.small else 1024, dropout=0.1)
    if place.cuda:
        torch.cuda.reset_peak_memory_stats()
    taken = place.milliseconds(trial.run, rounds=5)
    start = time.perf_counter()
    trial.run()
    host = round(1e3 * (time.perf_counter() - start), 3)
    place.wait()
    wait = host_wait(place, trial)
    held = torch.cuda.max_memory_allocated() if place.cuda else None
    row = {"ms": taken, "host_ms": host, "images_per_s": round(2 * 1e3 / taken, 1)}
    return row | {"gib": held and round(held / 2**30, 2), "host_wait": wait, "ok": wait is None}


def host_wait(place: Place, trial: Trial) -> str | None:
    """Where the host waits for the GPU in a step, in words; None: nowhere."""
    if not place.cuda:
        trial.run()
        return None
    torch.cuda.set_sync_debug_mode("error")
    try:
        trial.run()
    except RuntimeError as error:
        trace, places = error.__traceback__, []
        while trace is not None:
            places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
            trace = trace.tb_next
        return f"{str(error).splitlines()[0]} at {', '.join(places[-3:])}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return None


def deterministic_rows(place: Place) -> Iterator[tuple[str, Row]]:
    """Two steps under `--deterministic`, twice: the weights are equal bit by bit."""
    for arch in ("fenet_tiny",) if place.small else ("fenet_tiny", "sfnet_r18"):
        yield arch, partial(_deterministic, place, arch)


def _deterministic(place: Place, arch: str) -> dict:
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    weights = []
    try:
        for _ in range(2):
            trial = Trial.build(place, arch, side=64 if place.small else 256, dropout=0.1)
            for seed in range(2):
                torch.manual_seed(seed)
                trial.run()
            weights.append(torch.cat([parameter.detach().flatten() for parameter in trial.model.parameters()]))
    finally:
        torch.use_deterministic_algorithms(False)
    return {"ok": torch.equal(*weights)}
