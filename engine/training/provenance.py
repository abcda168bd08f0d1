"""Where a run comes from: command, revision, versions, host."""

import socket

from engine.report.page import versions
from utils.machine import present_revision


def provenance(command: str) -> dict:
    """What `config.json` says of a run besides its options."""
    return {"command": command, "revision": present_revision(), "versions": versions(), "host": socket.gethostname()}
