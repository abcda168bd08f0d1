"""Figures and events of a run: whose they are, and a disk that takes none."""

import errno
import shutil
from unittest.mock import Mock

import pytest

import train
from engine.checkpoint.run_state import RunState
from engine.training.events import NAMES, OWNER, check_owner
from engine.training.recorder import Recorder
from engine.training.resume import _began_here
from tests.conftest import make_scenes, train_args
from utils.errors import EnvironmentFault, OptionError
from utils.logging import setup_logging


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob(NAMES)}


def test_a_shared_folder_of_events_is_one_runs(tmp_path, capfd):
    data, events = make_scenes(tmp_path / "data", 9), tmp_path / "events" / "run"
    first, second = (
        train_args(data, tmp_path / name, "--max_steps", "1", "--tb_path", str(tmp_path / "events")) for name in "ab"
    )
    assert train.main(first) == 0
    before = contents(events)
    assert before and (events / OWNER).read_text() == f"{tmp_path / 'a' / 'run'}\n"
    assert train.main(second) == 2
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"error: --tb_path: {events} has the events of {tmp_path / 'a' / 'run'}; name another")
    assert contents(events) == before and not (tmp_path / "b" / "run").exists()
    assert train.main([*first, "--max_steps", "2"]) == 0  # it goes on
    check_owner(tmp_path / "a" / "run", tmp_path / "a" / "run")
    with pytest.raises(OptionError, match="has the events of"):  # a run that keeps its own, without a mark
        check_owner(tmp_path / "a" / "run", tmp_path / "b" / "run")
    shutil.rmtree(tmp_path / "a")
    last = contents(events)
    assert train.main(second) == 0
    assert contents(events / "replaced_1") == last and not contents(events).keys() & last.keys()


def test_a_disk_that_takes_no_events_costs_the_run_these_only(tmp_path, capsys):
    setup_logging(True)
    recorder = Recorder(tmp_path, tmp_path / "events", True, RunState())
    recorder._writer = Mock(add_scalars=Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    for step in (1, 2):
        recorder.step(step, {"loss": 1.0})
    recorder.epoch({"epoch": 0, "step": 2, "mean_iou": 0.5})
    recorder.close()
    assert capsys.readouterr().out.count(f"WARNING: {tmp_path / 'events'}: no more TensorBoard events") == 1
    assert (tmp_path / "metrics.jsonl").read_text().count("mean_iou") == 1


def test_damaged_files_of_an_earlier_start_do_no_harm(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'\xff\xfe\n{"epoch": 0}\n[]\n{"epoch": 5}\n')
    Recorder(tmp_path, tmp_path / "events", True, RunState(epoch=1, step=4)).close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 0}\n'
    for text in ("[]", '{"launchers": null}', '{"job": 3'):
        (tmp_path / "config.json").write_text(text)
        assert not _began_here(tmp_path)


def test_figures_that_cannot_be_written_name_their_file(tmp_path):
    recorder = Recorder(tmp_path, tmp_path, True, RunState())
    recorder.path.unlink()
    recorder.path.symlink_to("/dev/full")
    with pytest.raises(EnvironmentFault, match=f"{recorder.path}: cannot be written .*No space left"):
        recorder.epoch({"epoch": 0, "step": 1})
