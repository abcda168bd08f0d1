"""A model for inference only: norms and the filters' subtraction fused into convolutions; image in, labels out."""

import copy
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from network.parts.depthwise_layers import DepthwiseConv2d
from network.parts.enhancement import FeatureFilter, least_side
from network.parts.pyramid_conv import PyramidConv
from network.parts.sync_norm import SyncNorm
from utils.errors import DataError
from utils.resizing import resize

TRIED_SIZE = (192, 256)  # pixels, where reflect padding needs no more
CONVOLUTIONS = (nn.Conv2d, DepthwiseConv2d, PyramidConv)  # another subclass may change its weight in its forward
NORMS = (nn.BatchNorm2d, SyncNorm)


class ImageToLabels(nn.Module):
    """RGB images (N,H,W,3) uint8 -> train ids (N,H,W) uint8: normalisation, model, upsampling and argmax in one graph.

    With further `outputs` a tuple of them in that order: `confidence` (N,H,W) float32, the probability of the label;
    `probabilities` (N,C,H,W) float32.

    Args:
        model: Maps (N,3,H,W) to a dict with `logits`, of at most 256 classes; has an encoder with `mean` and `std`.
        outputs: Names, `labels` first.
        temperature: Scores are divided by it before they become probabilities; labels don't depend on it.
    """

    def __init__(self, model: nn.Module, outputs: Sequence[str] = ("labels",), temperature: float = 1.0) -> None:
        super().__init__()
        self.model, self.outputs, self.temperature = model, tuple(outputs), temperature
        self.register_buffer("mean", 255 * torch.tensor(model.encoder.mean).view(3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(model.encoder.std).view(3, 1, 1)))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) * self.scale
        # half precision would round what it enlarges
        scores = resize(self.model(x)["logits"].to(self.mean.dtype), x.shape[-2:])
        labels = scores.argmax(dim=1).to(torch.uint8)
        if self.outputs == ("labels",):
            return labels
        probabilities = (scores / self.temperature).softmax(dim=1)
        found = {"labels": labels, "confidence": probabilities.amax(dim=1), "probabilities": probabilities}
        return tuple(found[name] for name in self.outputs)


def fuse_for_inference(model: nn.Module) -> nn.Module:
    """A copy of `model` in evaluation mode that computes the same logits with fewer passes over its maps.

    A batch norm goes into the convolution that it alone reads from, a `FeatureFilter` becomes a convolution, and heads
    for training are dropped. Norms behind an addition (FEM's) stay. In float32 the logits agree to 1e-4 of the largest.
    """
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    if isinstance(getattr(fused, "aux_heads", None), nn.ModuleList):
        fused.aux_heads = nn.ModuleList()
    if hasattr(fused, "boundary_head"):
        fused.boundary_head = None
    for conv_name, norm_name in find_pairs(fused):
        norm = fused.get_submodule(norm_name)
        fused.set_submodule(conv_name, fuse_conv_bn_eval(fused.get_submodule(conv_name), norm))
        fused.set_submodule(norm_name, nn.Sequential(*norm.children()))  # timm's norms hold their activation
    for name in names_of_filters(fused):
        fused.set_submodule(name, _as_convolution(fused.get_submodule(name)))
    return fused


def names_of_filters(model: nn.Module) -> list[str]:
    """Names of the `FeatureFilter`s of `model`, which `fuse_for_inference` keeps."""
    return [name for name, module in model.named_modules() if isinstance(module, FeatureFilter)]


def find_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of the convolutions and batch norms of `model`, in evaluation mode, that can become one convolution.

    Both run once in a forward pass, and only the norm reads what the convolution gives. One pass on the meta device,
    without arithmetic, tells.
    """
    flow = _Flow()
    made_by: dict[int, str] = {}  # id of a tensor -> convolution
    read_by: dict[str, int] = {}  # norm -> id of a tensor
    calls: Counter[str] = Counter()

    def watch_conv(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            calls[name] += 1
            made_by[id(output)] = name

        return hook

    def watch_norm(name: str):
        def hook(module: nn.Module, inputs: tuple) -> None:
            calls[name] += 1
            read_by[name] = id(inputs[0])

        return hook

    hooks = []
    for name, module in model.named_modules():
        if type(module) in CONVOLUTIONS:
            hooks.append(module.register_forward_hook(watch_conv(name)))
        elif isinstance(module, NORMS) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(watch_norm(name)))
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    on_meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    with torch.no_grad(), flow:
        size = (max(side, least_side(model)) for side in TRIED_SIZE)
        functional_call(model, on_meta, torch.empty(1, 3, *size, device="meta"))
    for hook in hooks:
        hook.remove()
    pairs = [(made_by[x], norm) for norm, x in read_by.items() if x in made_by and flow.reads[x] == 1]
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


class _Flow(TorchFunctionMode):
    """Counts how often each tensor is read by a function that gives tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[int] = Counter()
        self._alive: list = []  # an id may be given anew when its tensor is gone

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self.reads.update(id(tensor) for tensor in read)
            self._alive += [*read, result]
        return result


class _FilterConv(nn.Conv2d):
    """A fixed feature filter."""

    def forward(self, x: Tensor) -> Tensor:
        """Raises `DataError` for a map that is too small to be padded by reflection."""
        if self.padding_mode == "reflect" and min(x.shape[-2:]) <= self.padding[0]:
            raise DataError(
                f"a map of {x.shape[-2]}x{x.shape[-1]} is too small for this model, which was built with"
                " --filter_padding reflect; enlarge the image (--base_size)"
            )
        return super().forward(x)


def _as_convolution(layer: FeatureFilter) -> nn.Conv2d:
    channels, _, side, _ = layer.weight.shape
    options = {"padding": side // 2, "padding_mode": layer.padding, "groups": channels, "bias": False}
    conv = _FilterConv(channels, channels, side, **options)
    conv.weight = nn.Parameter(layer.kernel().detach(), requires_grad=False)
    return conv.eval()
