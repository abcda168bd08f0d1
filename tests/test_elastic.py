"""The global batch stays whatever the number of processes; norms are rebuilt as they were trained."""

import re
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import config
import eval as evaluation
import train
from datasets.sampling.class_uniform import CropSample
from engine.checkpoint.snapshot import load_snapshot
from tests.conftest import eval_args, train_args
from tests.datasets.trees import sampler
from tests.processes import launch
from tests.test_demo import names
from utils.errors import OptionError


def accumulation(global_batch: int, bs_mult: int, processes: int) -> int:
    argv = ["--global_batch", str(global_batch), "--bs_mult", str(bs_mult)]
    return config.parse_train(argv).for_processes(processes).schedule.accumulate


def steps(draws: list, global_batch: int, bs_mult: int, processes: int, first: int, last: int) -> list[list]:
    """Samples of the optimizer steps `first` to `last` of an epoch, in order over processes and batches."""
    accumulate, made = accumulation(global_batch, bs_mult, processes), []
    ranks = [list(sampler(draws, bs_mult, r, processes, first * accumulate)) for r in range(processes)]
    for step in range(last - first):
        batches = range(step * accumulate, (step + 1) * accumulate)
        made.append([draw.index for batch in batches for rank in ranks for draw in rank[batch]])
    return made


@settings(deadline=None)
@given(
    phases=st.lists(st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (1, 8), (8, 1)]), min_size=1),
    left_over=st.integers(0, 7),
)
def test_processes_that_come_and_go_see_the_same_samples(phases, left_over):
    draws = [CropSample(image, None, None, 0, image) for image in range(8 * 2 * len(phases) + left_over)]
    alone = steps(draws, 8, 8, 1, 0, 2 * len(phases))
    assert sum(alone, []) == list(range(16 * len(phases)))
    changing = [steps(draws, 8, b, n, 2 * i, 2 * i + 2) for i, (n, b) in enumerate(phases)]
    assert sum(changing, []) == alone


def test_settings_stay_while_processes_change():
    parsed = config.parse_train(["--global_batch", "8"])
    one, four = (parsed.for_processes(n).reproducibility_key(n) for n in (1, 4))
    assert {name for name in one if one[name] != four[name]} == {"processes", "accumulate"}


@pytest.mark.parametrize(
    ("argv", "processes", "words"),
    [
        (["--global_batch", "8"], 3, "use --global_batch 6 or 12, or 2 or 4 processes"),
        (["--global_batch", "4"], 3, "use --global_batch 6, or 1 or 2 processes"),
        (["--global_batch", "3"], 2, "use --global_batch 4$"),
        (["--global_batch", "8", "--accumulate", "3"], 2, "--accumulate 2; leave --accumulate out"),
        (["--global_batch", "0"], 1, "--global_batch 0"),
        (["--norm_groups", "8"], 1, "--norm_groups: is for --norm group"),
        (["--fix_bn", "--norm", "group"], 1, "--fix_bn is --norm frozen"),
        (["--norm", "batch"], 1, "--norm"),
    ],
)
def test_refused_with_what_would_work(argv, processes, words):
    with pytest.raises(OptionError, match=words):
        config.parse_train(argv).for_processes(processes)


def test_group_norms_take_a_batch_of_one_and_are_rebuilt(scenes, tmp_path):
    argv = train_args(scenes, tmp_path, "--norm", "group", "--norm_groups", "8", "--bs_mult", "1", "--max_epoch", "1")
    assert train.main(argv) == 0
    snapshot = tmp_path / "run" / "best.pth"
    assert load_snapshot(snapshot)["config"]["options"]["norm_groups"] == 8
    assert evaluation.main(eval_args(snapshot, scenes, tmp_path)) == 0
    assert train.main([*argv, "--norm_groups", "4", "--max_epoch", "2"]) == 4  # another model
    assert train.main([*argv, "--norm_groups", "7", "--resume", "never"]) == 2


def test_frozen_norms_have_two_names(scenes, tmp_path):
    for name, flags in (("a", ["--fix_bn"]), ("b", ["--norm", "frozen"])):
        assert train.main(train_args(scenes, tmp_path / name, *flags, "--bs_mult", "1", "--max_steps", "2")) == 0
    a, b = (load_snapshot(tmp_path / name / "run" / "last.pth")["model"] for name in "ab")
    assert all((a[name] == b[name]).all() for name in a)


def test_the_demo_shares_its_files_out(trained, tmp_path):
    images = shutil.copytree(trained.data / "images" / "val", tmp_path / "images")
    (images / "broken.png").write_bytes(b"no picture")
    command = ["demo_folder.py", "--snapshot", str(trained.last), "--device", "cpu", "--source"]
    done = launch([*command, str(images), "--save_dir", str(tmp_path / "out")], processes=2)
    assert done.returncodes == [0, 0], done.stderr
    assert len(re.findall("4 of 5 images done", done.stdout)) == 1
    assert done.stdout.count("skipped:") == 1
    assert names(tmp_path / "out") == {f"{kind}_00{i}.png" for kind in ("color_mask", "overlay") for i in range(4)}
    one_file = [*command, str(images / "broken.png"), "--save_dir", str(tmp_path / "none")]
    assert launch(one_file, processes=2).returncodes == [3, 3]
