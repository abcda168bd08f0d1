"""Criteria: modules that map a model's outputs and label maps to a loss."""

from loss.boundary import BoundaryLoss
from loss.build import build_loss
from loss.cross_entropy import CrossEntropy
from loss.given_weights import class_weights
from loss.image_weighted import ImageWeightedCrossEntropy
from loss.ohem import OhemCrossEntropy
from loss.options import LossOptions
from loss.registry import LOSSES, list_losses
from loss.relaxed_boundary import RelaxedBoundaryLoss
from loss.segmentation import SegmentationLoss

__all__ = [
    "LOSSES",
    "BoundaryLoss",
    "CrossEntropy",
    "ImageWeightedCrossEntropy",
    "LossOptions",
    "OhemCrossEntropy",
    "RelaxedBoundaryLoss",
    "SegmentationLoss",
    "build_loss",
    "class_weights",
    "list_losses",
]
