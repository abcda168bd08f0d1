"""The report of an evaluation: one HTML page with scores, charts and pictures."""

from engine.report.curves import draw_curves, update_curves
from engine.report.page import Report, write_report
from engine.report.pictures import ImageSampler

__all__ = ["ImageSampler", "Report", "draw_curves", "update_curves", "write_report"]
