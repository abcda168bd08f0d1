"""Cameras and URLs that the demo is pointed at; loads no library, so that options can check them."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from utils.errors import OptionError

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """Where frames come from as they are taken.

    Attributes:
        target: What OpenCV opens: a camera's index, or a URL.
        shown: The same for messages, without user and password.
        name: The NAME in the names of its results.
        place: Host and port of a URL, else None.
    """

    target: int | str
    shown: str
    name: str
    place: tuple[str, int] | None = None


def parse_address(source: str) -> Address | None:
    """The camera or stream that `--source` names; None if it names files, also one that is called `0`.

    Raises:
        OptionError: A URL of another kind, or without a host.
    """
    if os.path.lexists(source):
        return None
    if re.fullmatch(r"[0-9]{1,4}", source):
        return Address(int(source), f"camera {int(source)}", f"camera_{int(source)}")
    scheme, mark, _ = source.partition("://")
    if not mark:
        return None
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
        if "@" in source and "@" not in parts.netloc:  # of a password that holds what ends a host
            host = None
    except ValueError:  # such as a port that is no number
        host = port = None
    if scheme.lower() not in PORTS or not host:
        shown = re.sub(r"//.*@", "//", source)  # a password may hold a slash
        raise OptionError(
            f"--source {shown}: give HOST and perhaps :PORT after one of {', '.join(PORTS)}, as rtsp://HOST/PATH; in a"
            " password write / as %2F, ? as %3F and # as %23, in a path without one @ as %40"
        )
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    name = re.sub(r"[^\w.-]+", "_", f"{host}{parts.path}").strip("._")[:100]
    return Address(source, shown, name, (host, port or PORTS[scheme.lower()]))
