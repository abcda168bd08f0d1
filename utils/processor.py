"""The processor's instructions for bfloat16."""

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16 = ("amx_bf16", "avx512_bf16")
# the user's limit for oneDNN, which computes convolutions: by it one machine stands for another
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


def bf16_instructions() -> frozenset[str]:
    """Those of `BF16` that this machine's processor has and that convolutions may use."""
    try:
        with CPUINFO.open() as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:  # not Linux
        return frozenset()
    return frozenset(name for name in BF16 if name in flags.split() and _allowed(name))


def _allowed(name: str) -> bool:
    limit = next((os.environ[key].upper() for key in LIMITS if os.environ.get(key)), "DEFAULT")
    if "AMX" in limit or limit in ("DEFAULT", "ALL"):
        return True
    return name == "avx512_bf16" and limit.endswith(("BF16", "FP16"))
