"""All outputs of an exported model beside the original's, on batches: labels, confidence, probabilities."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from engine.inference.build import LoadedModel
from engine.inference.certainty import label_confidence
from engine.inference.exported import Outputs
from engine.inference.score_maps import predict_labels
from utils.errors import CheckpointError

# on batches, some of them of tiny images, whose labels are less sure: least share of equal labels, ...
MIN_AGREEMENT = {"float32": 0.997, "float16": 0.98, "int8": 0.6}
MAX_ERROR = {"float32": 0.001, "float16": 0.01, "int8": 0.1}  # ... and mean absolute error of probabilities


def original_outputs(model: LoadedModel, images: np.ndarray) -> Outputs:
    """RGB (N,H,W,3) uint8 -> what a file with all outputs should give; `model` merges logits."""
    rng = np.random.default_rng(0)
    normalised = torch.stack([model.transform({"image": image}, rng)["image"] for image in images])
    scores = model.predict({"image": normalised, "name": ["image"] * len(images)})
    labels, logits = predict_labels(scores), model.predict.calibrate_(scores)
    confidence = label_confidence(logits, model.predict.merge)
    found = {"labels": labels, "confidence": confidence, "probabilities": logits.softmax(dim=1)}
    return {name: tensor.numpy() for name, tensor in found.items()}


def compare_outputs(
    original: Callable[[np.ndarray], Outputs], exported: Callable[[np.ndarray], Outputs], batches: Iterable[np.ndarray]
) -> list[dict]:
    """For each batch its `shape` (N,H,W), the `agreement` of labels (0 to 1), and the mean absolute error of others."""
    results = []
    for images in batches:
        expected, found = original(images), exported(images)
        result = {"shape": list(images.shape[:3]), "agreement": float((found["labels"] == expected["labels"]).mean())}
        for name in found.keys() - {"labels"}:
            result[name] = float(np.abs(found[name] - expected[name]).mean())
        results.append(result)
    return results


def check_outputs(results: Iterable[dict], min_agreement: float, max_error: float) -> None:
    """Refuse a file of which a batch differs too much.

    Args:
        results: What `compare_outputs` gave.
        min_agreement: Least share of equal labels.
        max_error: Largest mean absolute error of confidence and probabilities.

    Raises:
        CheckpointError: Below or beyond.
    """
    for result in results:
        errors = {name: value for name, value in result.items() if name not in ("shape", "agreement")}
        if result["agreement"] < min_agreement or any(not value <= max_error for value in errors.values()):
            said = "".join(f", {name} {value:.4f} off on average" for name, value in sorted(errors.items()))
            raise CheckpointError(
                f"the exported model is not the same on a batch of {result['shape']} (N,H,W):"
                f" {100 * result['agreement']:.3f} % of the labels agree{said}; {100 * min_agreement:g} % and at most"
                f" {max_error:g} are asked for, so no file is kept; relax --min_agreement, or leave the output out"
            )
