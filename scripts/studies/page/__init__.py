"""A study on one HTML page."""

from scripts.studies.page.page import write_study
from scripts.studies.page.tables import findings, markdown

__all__ = ["findings", "markdown", "write_study"]
