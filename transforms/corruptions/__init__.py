"""Fifteen corruptions of RGB images, each at five strengths: noise, blur, weather, digital.

Source: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR
2019; for images of any size as Michaelis et al., Benchmarking Robustness in Object Detection, 2019, do it. Written
from their definitions; tests/transforms/test_corruptions.py holds the results of their code and the tolerance.
"""

from transforms.corruptions.registry import CORRUPTIONS, GROUPS, STRENGTHS, check_names, corrupt, image_rng
from transforms.corruptions.weather import check_frost, frost_folder

__all__ = [
    "CORRUPTIONS",
    "GROUPS",
    "STRENGTHS",
    "check_frost",
    "check_names",
    "corrupt",
    "frost_folder",
    "image_rng",
]
