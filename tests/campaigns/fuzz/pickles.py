"""Hostile pickles, by their opcodes: what they would run makes a file called CANARY."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import torch

from tests.campaigns.fuzz.guard import CANARY
from tests.campaigns.fuzz.mutations import Rng


def text(data: bytes) -> bytes:
    """BINUNICODE, of protocol 1, which torch's own unpickler knows too."""
    return b"X" + struct.pack("<I", len(data)) + data


COMMAND = f"touch {CANARY}".encode()
# callables that a pickle may ask for, and their arguments as opcodes
CALLS = (
    (b"posix\nsystem", text(COMMAND) + b"\x85"),
    (b"os\nsystem", text(COMMAND) + b"\x85"),
    (b"builtins\nexec", text(b"open('CANARY0', 'w')") + b"\x85"),
    (b"builtins\neval", text(b"open('CANARY1', 'w')") + b"\x85"),
    (b"builtins\nopen", text(b"CANARY2") + text(b"w") + b"\x86"),
    (b"io\nopen", text(b"CANARY3") + text(b"w") + b"\x86"),
    (b"subprocess\nPopen", b"(" + text(b"touch") + text(b"CANARY4") + b"l\x85"),
    (b"runpy\nrun_path", text(b"CANARY5") + b"\x85"),
    (b"builtins\ngetattr", text(b"a") + text(b"upper") + b"\x86"),
    (b"builtins\n__import__", text(b"this") + b"\x85"),
    (b"importlib\nimport_module", text(b"this") + b"\x85"),
    (b"torch\nload", text(b"CANARY6") + b"\x85"),
    (b"torch.hub\nload", text(b"a") + text(b"b") + b"\x86"),
    (b"torch.storage\n_load_from_bytes", b"C\x04abcd\x85"),
    (b"torch.serialization\nload", text(b"CANARY7") + b"\x85"),
    (b"torch\nsave", b"K\x01" + text(b"CANARY8") + b"\x86"),
    (b"torch._utils\n_rebuild_tensor_v2", b"K\x01K\x02K\x03\x87"),
    (b"torch._utils\n_rebuild_parameter", b"K\x01\x88)\x87"),
    (b"torch._utils\n_rebuild_meta_tensor_no_storage", b"K\x01K\x02K\x03\x87"),
    (b"torch._tensor\n_rebuild_from_type_v2", b"K\x01K\x02K\x03\x87"),
    (b"collections\nOrderedDict", b"K\x01\x85"),
    (b"collections\nCounter", b"K\x01\x85"),
    (b"numpy._core.multiarray\nscalar", b"cnumpy\ndtype\n" + text(b"O") + b"\x85RC\x04abcd\x86"),
    (b"numpy.core.multiarray\nscalar", b"cnumpy\ndtype\n" + text(b"f8") + b"\x85RC\x04abcd\x86"),
    (b"numpy\ndtype", text(b"f4," * 21 + b"f4") + b"\x85"),
    (b"numpy\ndtype", text(b"S999999999") + b"\x85"),
    (b"numpy._core.multiarray\n_reconstruct", b"cnumpy\nndarray\nK\x00\x85C\x01b\x87"),
    (b"torch\nSize", b"(J\xff\xff\xff\xffl\x85"),
    (b"torch\ndevice", text(b"cuda") + b"\x85"),
    (b"torch\nFloatStorage", b"\x8a\x06\x00\x00\x00\x00\x00\x10\x85"),
    (b"torch._C\nFloatTensorBase", b")"),
)


def a_call(rng: Rng) -> bytes:
    """REDUCE, or one of the other opcodes that call something."""
    name, arguments = CALLS[rng.integers(len(CALLS))]
    module, attribute = name.split(b"\n")
    by_stack = text(module) + text(attribute) + b"\x93"
    found = (b"c" + name + b"\n", by_stack)[rng.integers(2)]
    forms = (
        found + arguments + b"R",
        found + arguments + b"\x81",  # NEWOBJ
        found + arguments + b"}\x92",  # NEWOBJ_EX
        b"(" + found + b"K\x01o",  # OBJ
        b"(K\x01i" + name + b"\n",  # INST
        found + arguments + b"R}(" + text(b"a") + b"K\x01ub",  # BUILD on what it gives
        found + b"}(" + text(b"__doc__") + b"K\x01ub",  # BUILD on the class itself
        b"}" + found + b"b",  # a class as state
    )
    return forms[rng.integers(len(forms))]


def odd_value(rng: Rng) -> bytes:
    """Opcodes whose arguments don't hold, or that multiply."""
    forms = (
        *(
            b"\x8b\xff\xff\xff\x7f",
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x8a\xff" + b"\x7f" * 255,
            b"\x8d" + b"\x7f" * 8,
        ),
        *(
            b"h\x05",
            b"j\xff\xff\xff\xff",
            b"p-1\n",
            b"Qx",
            b"\x82\x01",
            b"\x84\xff\xff\xff\x7f",
            b"0000",
            b"1",
            b"t",
            b"a",
        ),
        *(
            b"(" * 100_000,
            b"]" * 100_000 + b"a" * 99_999,
            b"2" * 10,
            b"]2aa",
            b"}2}2s",
            b"]\x94h\x00a",
            b"I99999999999L\n",
        ),
        *(
            b"Fnan\n",
            b"V\\ud800\n",
            b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"I" + b"9" * 10_000 + b"\n",
            b"\x97",
            b"\x98",
        ),
        *(
            b"\x96\x00\x00\x00\x00\xff\xff\x00\x00",
            b"K\x01K\x02s",
            b"}]K\x01s",
            b"}}K\x01s",
            b"ccollections\nOrderedDict\n}b",
        ),
        b"]\x94"
        + b"(h\x00h\x00l\x940" * 3
        + b"".join(b"(h" + bytes([i]) + b"h" + bytes([i]) + b"l\x940" for i in range(1, 90)),
        b"]" + b"".join(b"(X" + struct.pack("<I", 1000) + b"x" * 1000 + b"l" for _ in range(3)) + b"a" * 3,
    )
    return forms[rng.integers(len(forms))]


def a_tensor(rng: Rng) -> bytes:
    """`_rebuild_tensor_v2` on storage 0 with sizes, strides and offsets that don't fit it."""
    kind = (b"FloatStorage", b"HalfStorage", b"BoolStorage", b"UntypedStorage", b"QInt8Storage", b"Linear")[
        rng.integers(6)
    ]
    count = struct.pack("<i", int(rng.choice([1, 16, 2**31 - 1, -1])))
    key, device = (text(b"0"), text(b"../../evil"))[rng.integers(2)], (text(b"cpu"), text(b"meta"))[rng.integers(2)]
    storage = b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + key + device + b"J" + count + b"tQ"

    def numbers() -> bytes:
        values = rng.choice([0, 1, 2, 16, -1, 2**31 - 1], rng.integers(0, 4))
        return b"(" + b"".join(b"J" + struct.pack("<i", int(value)) for value in values) + b"t"

    offset = b"J" + struct.pack("<i", int(rng.choice([0, 1, 15, -1, 2**31 - 1])))
    tail = b"\x89ccollections\nOrderedDict\n)R" + (b"", b"}" + text(b"conj") + b"\x88s")[rng.integers(2)]
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + numbers() + numbers() + tail + b"tR"


def hostile_pickle(rng: Rng) -> bytes:
    """One of the above, alone or as a weight of a state dict."""
    value = (a_call, odd_value, a_tensor)[rng.integers(3)](rng)
    forms = (
        value,
        b"}(" + text(b"w") + value + b"u",
        b"}" + text(b"model") + b"}" + text(b"w") + value + b"ss",
        b"(" + value + b"l",
    )
    return b"\x80" + bytes([(2, 2, 2, 4)[rng.integers(4)]]) + forms[rng.integers(len(forms))] + b"."


def as_zip(content: bytes) -> bytes:
    """A pickle where torch looks for it in its archives, beside one storage."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", b"3\n")
    return file.getvalue()


def as_legacy(content: bytes) -> bytes:
    """A pickle in torch's old format without an archive."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    content = content.replace(b"tQ", b"NtQ")  # a storage's name has one more part there
    return b"".join(pickle.dumps(part, 2) for part in head) + content + pickle.dumps(["0"], 2) + bytes(8 + 64)


WRAPPINGS: tuple[Callable[[bytes], bytes], ...] = (as_zip, as_legacy, bytes)


def in_memory(content: object) -> bytes:
    """`torch.save` into bytes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def odd_tensors(rng: Rng) -> object:
    """Tensors that are more, or other, than what is stored of them."""
    one = torch.zeros(1)
    laughs: list = [one]
    for _ in range(40):
        laughs = [laughs, laughs]
    deep: list = [one]
    for _ in range(400):
        deep = [deep]
    text = "x" * 1_000_000
    makers = (
        lambda: one.expand(10**12),
        lambda: torch.zeros(4).to_sparse(),
        lambda: torch.sparse_coo_tensor(torch.tensor([[0]]), one, (10**12,)),
        lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8),
        lambda: torch.empty(10**12, device="meta"),
        lambda: torch.zeros(2, dtype=torch.complex64).conj(),
        lambda: torch.zeros(2, dtype=torch.complex64).imag,
        lambda: torch.zeros(3, dtype=torch.float8_e4m3fn),
        lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        lambda: torch.as_strided(torch.zeros(8), (4, 4), (1, 1)),
        lambda: torch.zeros(0, 10**12),
        lambda: laughs,
        lambda: deep,
        lambda: {"sha256": {}, "format": 1, "plain_sha256": "", "a": [text] * 100_000},
        lambda: {"x" * 10_000_000: one},
        lambda: np.float64(1),
        lambda: {1: one, None: one, (1, 2): one},
    )
    value = makers[rng.integers(len(makers))]()
    return ({"head.3.bias": value}, value, {"state_dict": {"head.3.bias": value}})[rng.integers(3)]
