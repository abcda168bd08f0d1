"""Models of segmentation-models-pytorch behind our interface, on the same encoders, for fair comparisons.

Source: https://github.com/qubvel-org/segmentation_models.pytorch (MIT licence), an optional package.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from network.encoders.timm_encoder import DEFAULT_BACKBONE, feature_size, inspect_encoder, stage_ends
from network.parts.open_sizes import cut_to, pad_to_multiple
from utils.errors import OptionError, first_line
from utils.optional import import_extra

DECODERS = (
    *("deeplabv3", "deeplabv3plus", "fpn", "linknet", "manet", "pan"),
    *("pspnet", "segformer", "unet", "unetplusplus", "upernet"),
)
MULTIPLE = 32  # sides that every encoder and decoder of the package takes
LEAST = {"pan": 128}  # its attention halves the coarsest map three times


class SmpModel(nn.Module):
    """(N,3,H,W) normalised images -> dict with `logits` (N,num_classes,ceil(H/s),ceil(W/s)) at its head's stride s.

    Encoder, decoder and head are the package's, with its defaults; only its last upsampling is left to the caller. That
    is bilinear with align_corners=True there and here, so at sides of multiples of 32 the result is the package's own.
    Other sizes are padded with zeros, the mean colour, at the bottom and the right, and the logits cut to size.

    Args:
        decoder: One of `DECODERS`.
        num_classes: Number of classes.
        backbone: The encoder by timm's name; weights are fresh.
        mean: Of the images, RGB in [0, 1]; None: as timm says for the weights of that name.
        std: As `mean`.
    """

    aux_heads = ()

    def __init__(
        self,
        decoder: str,
        *,
        num_classes: int,
        backbone: str = DEFAULT_BACKBONE,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        smp = import_extra("segmentation_models_pytorch", f"--arch smp_{decoder}")
        plan = inspect_encoder(backbone)
        try:
            peer = smp.create_model(
                decoder, encoder_name=f"tu-{backbone}", encoder_weights=None, classes=num_classes, **plan.options
            )
        except Exception as error:  # both packages raise many kinds
            raise OptionError(
                f"--backbone {backbone}: can't be built for smp_{decoder} ({first_line(error)}); take another encoder,"
                " or a decoder that leaves its strides as they are, such as smp_fpn"
            ) from error
        self.least = LEAST.get(decoder, MULTIPLE)
        self.encoder, self.decoder, self.head = peer.encoder, peer.decoder, peer.segmentation_head[0]
        self.encoder.backbone, self.encoder.channels = backbone, tuple(self.encoder.out_channels)
        self.encoder.mean, self.encoder.std = tuple(mean or plan.mean), tuple(std or plan.std)
        self.encoder.stage_ends = stage_ends(self.encoder.model)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        padded = pad_to_multiple(x, MULTIPLE, self.least)
        logits = self.head(self.decoder(self.encoder(padded)))
        stride = int(padded.shape[-1] // logits.shape[-1])
        return {"logits": cut_to(logits, feature_size(x.shape[-2:], stride))}
