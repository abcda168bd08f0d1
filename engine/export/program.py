"""The graph that every exported file is made from."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from engine.export.formats import AXES, SIDES, quiet
from network.parts.open_sizes import open_pools, open_timm_padding
from utils.errors import OptionError

MAX_BATCH = 1024


def check_opens(model: nn.Module) -> None:
    """Raises `OptionError` for a model whose size can't be left open, before minutes go into tracing it."""
    for module in model.modules():
        if "reflect" in (getattr(module, "padding", ""), getattr(module, "padding_mode", "")):
            raise OptionError("--filter_padding reflect fixes the size of an exported file; give --size H,W")
        if hasattr(module, "window_size"):
            raise OptionError(
                f"this model's encoder attends within windows ({type(module).__name__}), whose number would have to be"
                " fixed in an exported file; give --size H,W"
            )


def export_program(model: nn.Module, size: Sequence[int], dynamic: bool) -> ExportedProgram:
    """Trace `model`, (N,H,W,3) uint8 -> (N,H,W) uint8 and perhaps further outputs.

    Args:
        model: In evaluation mode, on the CPU; if `dynamic`, its adaptive poolings are replaced.
        size: (H,W).
        dynamic: Leave height, width, within `SIDES`, and batch open; else N is 1.

    Raises:
        OptionError: The model can't be traced, or its size can't be left open.
    """
    image = torch.zeros(2 if dynamic else 1, *size, 3, dtype=torch.uint8)
    sides = {0: Dim(AXES[0], min=1, max=MAX_BATCH)}
    sides |= {1 + i: Dim(name, min=SIDES[0], max=SIDES[1]) for i, name in enumerate(AXES[1:])}
    if dynamic:
        open_pools(model)
    try:
        with quiet(), open_timm_padding(), torch.no_grad():
            return drop_assertions(
                torch.export.export(
                    model,
                    (image,),
                    dynamic_shapes=(sides if dynamic else None,),
                    prefer_deferred_runtime_asserts_over_guards=True,
                )
            )
    except Exception as error:  # torch raises many kinds for what it can't trace
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(" For more information")[0][:200]
        if dynamic:
            raise OptionError(f"this model fixes its size ({reason}); export it with --size H,W") from error
        raise OptionError(f"this model can't be traced ({reason}); take another --size or model") from error


def drop_assertions(program: ExportedProgram) -> ExportedProgram:
    """Take the assertions on sizes out of `program`, in place.

    Most say that a map isn't of one pixel, which decides its strides in memory and no value. Whether the program is
    right is measured: at the images' size, at an odd one and at the least.
    """
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program
