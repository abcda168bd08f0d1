"""Parts of a model in what PyTorch's profiler sees of a training step."""

from collections import Counter
from collections.abc import Iterator, Sequence

from torch import nn
from torch.autograd import DeviceType
from torch.profiler import record_function

MARK = "part: "
OPERATIONS = 12  # that are listed


def mark(module: nn.Module, name: str) -> None:
    """Let the profiler see each call of `module` as part `name`."""
    running = []

    def enter(module: nn.Module, inputs: tuple) -> None:
        running.append(record_function(MARK + name))
        running[-1].__enter__()

    def leave(module: nn.Module, inputs: tuple, output: object) -> None:
        running.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)


def mark_parts(model: nn.Module) -> None:
    """The parts of a model are its children; those of a list count together."""
    for name, child in model.named_children():
        for module in child if isinstance(child, nn.ModuleList) else [child]:
            mark(module, name)


def lineage(event) -> Iterator:
    """An event of the profiler and what called it, innermost first."""
    while event is not None:
        yield event
        event = event.cpu_parent


def marked(event) -> str | None:
    """The part that an event ran in, or None."""
    return next((caller.name[len(MARK) :] for caller in lineage(event) if caller.name.startswith(MARK)), None)


def share_out(events: Sequence, on_device: bool) -> tuple[Counter, Counter]:
    """Microseconds per (part, direction), and per operation.

    A kernel's time is that of the operation that launched it; the profiler lists it again among the device's events,
    and there once more for each part that was marked.

    Args:
        events: Of the profiler.
        on_device: Count the kernels' time, not the operations'.
    """
    events = [event for event in events if event.device_type == DeviceType.CPU]
    made_by = {event.sequence_nr: part for event in events if event.sequence_nr >= 0 and (part := marked(event))}
    parts, operations = Counter(), Counter()
    for event in events:
        time = event.self_device_time_total if on_device else event.self_cpu_time_total
        if not event.name.startswith(MARK):
            operations[event.name] += time
        parts[place(event, made_by)] += time
    return parts, operations


def place(event, made_by: dict[int, str]) -> tuple[str, str]:
    """(part, `forward` or `backward`) of an event; `made_by`: number in the graph -> part whose forward made it."""
    if part := marked(event):
        return part, "forward"
    for caller in lineage(event):
        if caller.name.startswith("Optimizer."):
            return "optimizer", "forward"
        if caller.name.startswith("autograd::engine"):
            return made_by.get(caller.sequence_nr, "other"), "backward"
    return "other", "forward"


def summarise(parts: Counter, operations: Counter, steps: int, seconds: float) -> dict:
    """Fractions of a step of so many seconds, largest first, and as last part what no operation accounts for."""
    whole = 1e6 * seconds * steps
    names = sorted({name for name, _ in parts}, key=lambda name: -parts[name, "forward"] - parts[name, "backward"])
    rows = {name: {way: parts[name, way] / whole for way in ("forward", "backward")} for name in names}
    rows["unaccounted"] = {"forward": 1 - sum(parts.values()) / whole, "backward": 0.0}
    return {
        "seconds": seconds,
        "parts": rows,
        "operations": {name: time / whole for name, time in operations.most_common(OPERATIONS)},
    }
