"""The faults users meet, each with the exit code that the entry points return for it.

Raise one of these with a single line that names the file or flag and the remedy; `utils.cli.run_main` prints it as
``error: ...``. Anything else that escapes is our own mistake and ends in ``error: internal: ...``.
"""

# what helps loader processes
MORE_MEMORY = "free memory, give a container more /dev/shm (docker run --shm-size=1g), lower --num_workers (0: none)"


class FENetError(Exception):
    """Base of every fault that is reported as one line."""

    exit_code = 1


class OptionError(FENetError):
    """An option or a combination of options that cannot work."""

    exit_code = 2


class DataError(FENetError):
    """Images, labels or folders that are missing, unreadable or inconsistent."""

    exit_code = 3


class CheckpointError(FENetError):
    """A snapshot that is missing, unreadable, damaged or of another model."""

    exit_code = 4


class EnvironmentFault(FENetError):
    """A missing package, device, permission or disk space."""

    exit_code = 5


class NumericsError(FENetError):
    """A loss or gradient that is not finite."""

    exit_code = 6


class PeerLostError(FENetError):
    """Another process of the job failed or stopped answering."""

    exit_code = 7


class ProgramFailed(FENetError):
    """A program that was started ended with an error, whose exit code this one has."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code if code > 0 else 1  # a signal is negative


def first_line(error: Exception) -> str:
    """What another library's error says, short enough for a message of ours; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
