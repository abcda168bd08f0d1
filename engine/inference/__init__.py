"""From images to class scores: the one predictor of training, evaluation, demo and export."""

from engine.inference.predictor import Predictor, build_predictor

__all__ = ["Predictor", "build_predictor"]
