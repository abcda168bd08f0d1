"""The report of an evaluation: one HTML page with scores, charts and pictures."""

from engine.report.curves import draw_curves, update_curves
from engine.report.page import write_report
from engine.report.pictures import Sample, resampler

__all__ = ["Sample", "draw_curves", "resampler", "update_curves", "write_report"]
