"""Options, versions and hashes: what a score belongs to."""

import platform
from collections.abc import Mapping

import cv2
import numpy as np
import PIL
import torch

from engine.report.html import Markup, element, join


def versions() -> dict[str, str]:
    """Versions of what a score can depend on."""
    modules = {"torch": torch, "numpy": np, "opencv": cv2, "Pillow": PIL}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def facts_lists(facts: Mapping[str, Mapping]) -> Markup:
    """A list of names and values for each group of facts."""
    groups = []
    for title, group in facts.items():
        rows = [element("div", element("dt", name), element("dd", fact(value))) for name, value in group.items()]
        groups.append(element("section", element("h3", title), element("dl", *rows), class_="facts"))
    return join(groups)


def fact(value: object) -> str:
    """A plain value in words."""
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(fact, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
