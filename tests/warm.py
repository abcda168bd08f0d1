"""Loaded by the server of `tests.processes` last: what PyTorch loads only when it is used, such as sympy."""

import network
from network.fusing import fuse_for_inference

fuse_for_inference(network.build_model("fenet_tiny", 4, channels=16).eval())
