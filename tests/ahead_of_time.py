"""Triton's kernels compiled for GPUs that aren't here; what their code takes is read with the tools of its package."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

each_gpu = pytest.mark.parametrize("capability", [80, 90])  # A100, H100


def spilled_bytes(kernel, capability: int, types: Mapping[str, str], constants: Mapping[str, int], folder: Path) -> int:
    """Bytes of memory that each thread of the compiled kernel uses because its registers don't suffice.

    Args:
        kernel: A function of `triton.jit`.
        capability: Of the GPU, such as 90.
        types: Of its arguments, as Triton writes them: `*bf16`, `i32`; what pointers lead to is aligned to 16 bytes.
        constants: Its other arguments.
        folder: Gets the machine code.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constants else types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name, kind in types.items() if kind[0] == "*"},
    )
    path = folder / "kernel.cubin"
    path.write_bytes(triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    said = subprocess.run([tool, "-res-usage", path], capture_output=True, check=True, text=True).stdout
    ((stack, local),) = re.findall(r"STACK:(\d+) .*LOCAL:(\d+)", said)
    return int(stack) + int(local)
