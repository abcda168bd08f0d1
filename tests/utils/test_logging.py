"""Lines of the log beside a bar."""

import io
from pathlib import Path

import pytest

from utils.logging import Progress, get_logger, setup_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_of_the_log_do_not_run_into_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    setup_logging(True)
    with Progress(None, "training", True, total=4, initial=1) as bar:
        for step in range(3):
            bar.advance()
            bar.show(loss=step)
            get_logger().info(f"step {step}")
    shown = terminal.getvalue()
    assert "training:  25%|" in shown
    assert "training: 100%|" in shown
    lines = [line.rsplit("\r", 1)[-1] for line in shown.split("\n")]
    assert [line for line in lines if "step" in line] == ["step 0", "step 1", "step 2"]


def test_a_full_disk_costs_the_log_file_only_and_is_said_once(capsys):
    setup_logging(True, Path("/dev/full"))
    for step in range(3):
        get_logger().info(f"step {step}")
    setup_logging(True)
    out, err = capsys.readouterr()
    assert not err and [line for line in out.splitlines() if line.startswith("step")] == ["step 0", "step 1", "step 2"]
    assert out.count("WARNING: /dev/full: cannot be written ([Errno 28] No space left on device); the run goes on") == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(32, "Broken pipe"), None])
def test_a_bar_and_a_log_that_cannot_be_written_cost_the_run_nothing(monkeypatch, tmp_path, error):
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    gone = Broken() if error else None  # closed before the program started
    monkeypatch.setattr("sys.stdout", gone)
    monkeypatch.setattr("sys.stderr", gone)
    setup_logging(True, tmp_path / "log.txt")
    for step in Progress(range(3), "training", True):
        get_logger().info(f"step {step}")
    said = (tmp_path / "log.txt").read_text()
    assert [line[-6:] for line in said.splitlines() if "step" in line] == ["step 0", "step 1", "step 2"]
    assert said.count("standard output: cannot be written ([Errno 28]") == (getattr(error, "errno", 0) == 28)
