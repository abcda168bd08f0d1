"""Metrics over label maps; counts are 64-bit integers."""

from utils.metrics.boundary import boundary_f_score, boundary_iou
from utils.metrics.confusion import compute_metrics, confusion_matrices, confusion_matrix

__all__ = ["boundary_f_score", "boundary_iou", "confusion_matrices", "confusion_matrix", "compute_metrics"]
