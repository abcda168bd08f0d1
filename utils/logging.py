"""A logger and a progress bar; on all ranks but the first both are silent."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from tqdm import tqdm

NAME = "fenet"


def get_logger() -> logging.Logger:
    """The project's logger."""
    return logging.getLogger(NAME)


def one_line(text: str) -> str:
    """`text` with line breaks, terminal codes and broken UTF-8 spelt out; names of files may hold any of them."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class _OneLine(logging.Formatter):
    """Warnings say that they are."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.WARNING:
            record.message = f"{record.levelname}: {record.message}"
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


class _BesideBars(logging.StreamHandler):
    """Standard output whose lines don't run into bars: these are taken away for a moment."""

    has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode() if _open_bars else nullcontext():
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exception(), BrokenPipeError):  # nobody reads it any more
            return
        if not _survive(self, "standard output"):
            super().handleError(record)


class _LogFile(logging.FileHandler):
    """A file that costs the run nothing where the disk is full."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not _survive(self, self.baseFilename):
            super().handleError(record)


def _survive(handler: _BesideBars | _LogFile, what: str) -> bool:
    """True for an error of the disk, which costs the run nothing; the other handler says so, once."""
    error = sys.exception()
    if isinstance(error, OSError) and not handler.has_failed:
        handler.has_failed = True
        get_logger().warning(f"{what}: cannot be written ({error}); the run goes on")
    return isinstance(error, OSError)


def is_output_lost() -> bool:
    """True if the log has said that standard output can't be written, which is no fault of the run."""
    return any(isinstance(handler, _BesideBars) and handler.has_failed for handler in get_logger().handlers)


def complain(line: str) -> None:
    """To standard error; where it can't be written, the exit code says it alone."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def setup_logging(is_main: bool, file: Path | None = None) -> logging.Logger:
    """Send the logger to standard output and `file` (appended); other ranks only show warnings.

    Args:
        is_main: True on the first rank.
        file: A log file that outlives the run.
    """
    logger = get_logger()
    logger.handlers.clear()
    logger.propagate = False
    logger.setLevel(logging.INFO if is_main else logging.WARNING)
    logger.addHandler(_BesideBars(sys.stdout))
    logger.handlers[0].setFormatter(_OneLine())
    if file is not None and is_main:
        logger.addHandler(_LogFile(file, encoding="utf-8"))
        logger.handlers[1].setFormatter(_OneLine("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    return logger


class _Lines:
    """Standard error for a bar that no terminal shows: whole lines, so that what is printed next starts on its own.

    What can't be written, to a reader that is gone or to a full disk, costs the run nothing.
    """

    def write(self, text: str) -> None:
        """Write what the bar shows now, without what moves a terminal's cursor."""
        shown = text.replace("\x1b[A", "").strip()
        if shown and sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.write(f"{shown}\n")

    def flush(self) -> None:
        if sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.flush()


_open_bars: set[tqdm] = set()


def close_bars() -> None:
    """Take away the bars that an exception left on the terminal, so that a message can stand in their place."""
    while _open_bars:
        _open_bars.pop().close()


class Progress:
    """A bar with a few live figures and the time left; where standard error is no terminal, a line now and then.

    Args:
        iterable: What is walked over; None: the bar is open in a `with`, and `advance` moves it.
        total: Its length, if it has none of its own.
        initial: Items already done.
        title: Shown on the left.
        shown: False makes it silent.
    """

    def __init__(
        self, iterable: Iterable | None, title: str, shown: bool, total: int | None = None, initial: int = 0
    ) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar = tqdm(
            iterable,
            total=total,
            initial=initial,
            desc=one_line(title),
            disable=not shown,
            smoothing=0.3 if iterable is not None else 0,  # 0: the mean of all, so that validations count
            mininterval=0.2 if terminal else 30.0,
            leave=False,
            file=sys.stderr if terminal else _Lines(),  # a terminal that is gone tqdm survives by itself
        )

    def __iter__(self) -> Iterator:
        _open_bars.add(self._bar)
        try:
            yield from self._bar
        finally:
            _open_bars.discard(self._bar)

    def __enter__(self) -> "Progress":
        _open_bars.add(self._bar)
        return self

    def __exit__(self, *_: object) -> None:
        _open_bars.discard(self._bar)
        self._bar.close()

    def advance(self) -> None:
        """One item is done."""
        self._bar.update()

    def show(self, **figures: float | str) -> None:
        """Update the figures at the right end."""
        self._bar.set_postfix(figures, refresh=False)
