"""Options, versions and hashes: what a score belongs to."""

import platform
from collections.abc import Mapping

import cv2
import numpy as np
import PIL
import torch

from engine.report.html import Markup, element, join, table


def versions() -> dict[str, str]:
    """Versions of what a score can depend on."""
    modules = {"torch": torch, "numpy": np, "opencv": cv2, "Pillow": PIL}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def facts_tables(facts: Mapping[str, Mapping]) -> Markup:
    """A table of two columns for each group of facts."""
    groups = []
    for title, group in facts.items():
        rows = [[name, element("td", _fact(value))] for name, value in group.items()]
        groups.append(element("section", element("h3", title), table(["name", "value"], rows), class_="facts"))
    return join(groups)


def _fact(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
