"""From images to class scores: the one predictor of training, evaluation, demo and export."""

from engine.inference.batch import BatchPredictor
from engine.inference.predictor import Predictor, build_predictor
from engine.inference.settings import InferenceSettings

__all__ = ["BatchPredictor", "InferenceSettings", "Predictor", "build_predictor"]
