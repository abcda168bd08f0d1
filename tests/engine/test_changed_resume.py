"""A run that resumes under other conditions has the weights of one whose snapshot was written under these."""

import copy
import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

import train
from config import parse_train
from engine.checkpoint.digests import weights_sha256
from engine.training.build import adapt_model, build_learner, build_schedule, create_model
from engine.training.learner import Learner
from engine.training.resume import Checkpoint
from tests.conftest import make_scenes, train_args
from tests.processes import launch
from utils.distributed import Process

ALONE = Process(0, 1, torch.device("cpu"))
LAYOUTS, PRECISIONS = ("--channels_last", "--no-channels_last"), ("--amp off", "--amp bf16", "--amp fp16")
TAUGHT = "--optimizer adamw --ema 0.9"
CHANGES = [(a, b) for values in (LAYOUTS, PRECISIONS) for a in values for b in values if a != b]
SOON = (CHANGES[0], CHANGES[-1])  # those that are tried each time


def learner(options: str, seed: int = 0) -> Learner:
    config = parse_train(["--arch", "fenet_tiny", "--channels", "8", "--amp", "off", *options.split()])
    torch.manual_seed(seed)
    built = build_learner(config, ALONE, adapt_model(create_model(config, 4), config, ALONE), 4, None)
    built.start_epoch(0)
    return built


def step(made: Learner, number: int) -> None:
    torch.manual_seed(number)
    batch = {"image": torch.randn(2, 3, 32, 32), "label": torch.randint(0, 4, (2, 32, 32))}
    for _ in range(20):  # float16 finds its scale by steps that are left out
        _, applied = made.step([batch], number, build_schedule(parse_train([]), 10, ALONE))
        if applied:
            return
    pytest.fail("no step is finite")


def content(made: Learner) -> dict:
    return copy.deepcopy({"model": made.model.state_dict(), "training": made.state_dict()})


def resumed(saved: dict, options: str) -> Learner:
    """A learner that took over a snapshot and made a step."""
    made = learner(options, seed=2)
    made.load(Checkpoint(Path("last.pth"), copy.deepcopy(saved)))
    step(made, 1)
    return made


def weights(made: Learner) -> list[str]:
    return [weights_sha256(state) for state in made.weights().values() if state is not None]


@pytest.mark.parametrize(
    ("written", "now"),
    [pytest.param(*pair, marks=[] if pair in SOON else pytest.mark.slow) for pair in CHANGES],
    ids=str,
)
def test_where_a_snapshot_was_written_makes_no_difference(written, now):
    first, native = (learner(f"{TAUGHT} {options}") for options in (written, now))
    for made in (first, native):
        step(made, 0)
    saved, own = content(first), content(native)
    scaler = own["training"].pop("scaler")  # no precision takes over another one's

    def with_own_strides(mine: object, value: object) -> object:
        return torch.empty_like(mine).copy_(value) if isinstance(value, Tensor) else value

    there = {"model": saved["model"], "training": {name: saved["training"][name] for name in own["training"]}}
    there = tree_map(with_own_strides, own, there)
    there["training"]["scaler"] = learner(now).state_dict()["scaler"]
    assert bool(scaler) == ("fp16" in now)
    assert weights(resumed(saved, f"{TAUGHT} {now}")) == weights(resumed(there, f"{TAUGHT} {now}"))


def test_an_average_that_begins_with_a_resume_begins_with_its_weights():
    first = learner("")
    step(first, 0)
    made = learner("--ema 0.9", seed=2)
    made.load(Checkpoint(Path("last.pth"), content(first)))
    with made.evaluated_weights() as model:
        assert weights_sha256(model.state_dict()) == weights_sha256(first.model.state_dict())


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_maxima_that_begin_with_a_resume_begin_with_the_moments(name):
    first = learner(f"--optimizer {name}")
    step(first, 0)
    made = resumed(content(first), f"--optimizer {name} --optimizer_args amsgrad=true")
    before = [state["exp_avg_sq"] for state in first.optimizer.state.values()]
    pairs = zip(before, made.optimizer.state.values(), strict=True)
    assert all(torch.equal(state["max_exp_avg_sq"], state["exp_avg_sq"].maximum(old)) for old, state in pairs)


def moments(made: Learner) -> dict[str, Tensor]:
    named = {parameter: name for name, parameter in made.model.named_parameters()}
    return {named[parameter]: state["exp_avg"] for parameter, state in made.optimizer.state.items()}


@pytest.mark.parametrize("before", ["", "--fix_bn"])
@pytest.mark.parametrize("now", ["", "--fix_bn", "--freeze_stages 1", "--no_decay_norm_bias", "--encoder_lr 0.1"])
def test_parameters_keep_their_moments_in_other_groups(before, now):
    first = learner(f"--optimizer adam {before}")
    step(first, 5)
    made = learner(f"--optimizer adam {now}", seed=2)
    base = made.lr
    made.load(Checkpoint(Path("last.pth"), content(first)))
    assert made.lr == first.lr < base  # an epoch whose end was cut off says the rate at which it ended
    kept, trained = moments(first), {name for name, p in made.model.named_parameters() if p.requires_grad}
    assert moments(made).keys() == kept.keys() & trained
    assert all(torch.equal(value, kept[name]) for name, value in moments(made).items())
    step(made, 1)
    assert moments(made).keys() == trained


def digest(text: str) -> str:
    return re.findall("final weights sha256: (.*)", text)[-1]


@pytest.mark.slow
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("what", ["--amp bf16", "--no-channels_last", "two processes"])
def test_runs_that_resume_otherwise(tmp_path, what, back):
    """Of two snapshots of one state, one written otherwise and one as the run resumes, come the same weights."""
    data, half = make_scenes(tmp_path / "data", 13), {False: ("--bs_mult", "4"), True: ("--bs_mult", "2")}
    otherwise = () if what == "two processes" else (what.split(" "))

    def run(name: str, changed: bool, steps: int) -> str:
        two = changed and what == "two processes"
        options = ("--amp", "off", *(otherwise if changed else ()), *half[two], "--norm", "frozen")
        argv = train_args(data, tmp_path / name, *options, "--max_steps", str(steps), "--resume_override")
        done = launch(["train.py", *argv], 1 + two)
        assert done.returncode == 0, done.stderr
        return digest(done.stdout)

    before = run("a", back, 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert run("b", not back, 2) == before  # written anew, no step made
    saved = tmp_path / "b" / "run" / "last.pth"
    assert saved.read_bytes() != (tmp_path / "a" / "run" / "last.pth").read_bytes()
    after = run("a", not back, 5)
    assert after == run("b", not back, 5) != before


@pytest.mark.slow
def test_another_precision_is_refused_unless_it_is_meant(tmp_path, capfd):
    argv = train_args(make_scenes(tmp_path / "data", 9), tmp_path, "--max_steps", "1", "--amp", "off")
    assert train.main(argv) == 0
    assert train.main([*argv, "--amp", "bf16"]) == 2
    assert "amp was off, is bf16; give the old ones, --resume_override" in capfd.readouterr().err
