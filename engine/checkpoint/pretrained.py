"""ImageNet weights for encoders, by name or from a file, with their provenance; never needed for building a model."""

from dataclasses import dataclass

import torch
from torch import nn

from engine.checkpoint.keys import encoder_keys, flat_key
from engine.checkpoint.pretrained_sources import find_encoder_weights
from engine.checkpoint.weights import LoadReport, Scale, counted, fit_weights
from utils.errors import CheckpointError
from utils.optional import import_extra

COUNTER = "num_batches_tracked"  # of the norms' steps; old files lack it, and nothing here reads it


@dataclass
class PretrainedReport(LoadReport):
    """A load report over an encoder's tensors.

    Attributes:
        sha256: Of the file, or of the tensors of weights that came from a hub.
        unused: The source's tensors outside the encoder: its classifier.
    """

    sha256: str = ""

    def record(self) -> dict:
        """Provenance as plain data, for snapshots."""
        skipped, random = self.unused + self.unexpected, self.missing + self.mismatched
        counts = {"loaded": len(self.loaded), "skipped": skipped, "random": random}
        return {"source": self.source, "sha256": self.sha256, **counts}

    def __str__(self) -> str:
        record, loaded = self.record(), len(self.loaded)
        text = f"{self.source}: {loaded} of {loaded + len(record['random'])} encoder tensors loaded"
        text += "".join(f"; {counted(record[kind], kind)}" for kind in ("skipped", "random"))
        return f"{text}; sha256 {self.sha256}"


def load_pretrained(model: nn.Module, source: str, partial: bool = False) -> PretrainedReport:
    """Load an encoder's ImageNet weights; `model.config` gets their record under `pretrained`.

    Where the encoder is one of timm's, the mean and std of its images follow the weights.

    Args:
        model: Has an `encoder` with a `backbone` (timm's name) or a `depth` (deep stem).
        source: `timm` (or `imagenet`; a deep stem gets its exact twin, R50 and R101), `torchvision` (a deep stem needs
            `partial`, since its own doesn't fit), a package (`efficientnet-lite0` to `-lite2`, without network), or a
            file in one of the key styles of `engine.checkpoint.keys`.
        partial: Load what fits; otherwise anything missing, left over or misshapen is refused, but for a classifier.

    Returns:
        What was loaded, over the encoder's tensors.

    Raises:
        OptionError: No weights of that name for this encoder.
        CheckpointError: The file is unreadable, fails its hash, or doesn't fit.
        EnvironmentFault: A package is missing, or the weights can't be downloaded.
    """
    encoder = model.encoder
    found = find_encoder_weights(encoder, source)
    own = encoder.state_dict()
    weights = encoder_keys(found.weights, own)
    known = _classifier_keys(encoder)
    skipped = [name for name in weights if name not in own and flat_key(name) in known]
    fitting = {name: value for name, value in weights.items() if name not in skipped}
    norms = {name for name in own if name.endswith(COUNTER) and name.replace(COUNTER, "running_mean") in weights}
    counters = {name: own[name] for name in norms if name not in weights}
    try:
        report = fit_weights(encoder, counters | fitting, found.name, partial)
    except CheckpointError as error:
        raise CheckpointError(f"--pretrained {error}") from error
    report = PretrainedReport(**vars(report), sha256=found.sha256)
    report.loaded = [name for name in report.loaded if name not in counters]
    report.unused = skipped
    _keep_record(model, report, found.scale)
    return report


def _keep_record(model: nn.Module, report: PretrainedReport, scale: Scale | None) -> None:
    model.config["pretrained"] = report.record()
    if scale and hasattr(model.encoder, "backbone"):
        model.encoder.mean, model.encoder.std = scale
        model.config["options"] |= {"mean": list(scale[0]), "std": list(scale[1])}


def _classifier_keys(encoder: nn.Module) -> set[str]:
    """Flat keys of the whole classifier that `encoder` is a part of."""
    if not hasattr(encoder, "backbone"):
        return {"fc_weight", "fc_bias"}
    with torch.device("meta"):
        whole = import_extra("timm", "--pretrained").create_model(encoder.backbone)
    return {flat_key(key) for key in whole.state_dict()}
