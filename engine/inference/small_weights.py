"""The weights that the repository holds: small, and trained on drawn scenes."""

from pathlib import Path

SMALL_ARCH = "fenet_tiny"
SMALL_WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "fenet_tiny_synthetic.safetensors"


def describe_small_weights() -> str:
    """What is said where these weights are used."""
    return (
        f"weights: {SMALL_WEIGHTS.name}, the repository's own, a small FENet trained for minutes on drawn street"
        " scenes; it shows that everything works, not what the model can do on photos: name yours with --snapshot"
    )
