"""The shell scripts, run with stubs in the place of torchrun and python that record how they were called."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import config
from scripts import benchmark, make_receipt
from scripts.benchmarks import gpu_facts
from scripts.receipts.command import parse_command

ROOT = Path(__file__).resolve().parents[2]
SHELL_SCRIPTS = sorted(p.relative_to(ROOT) for kind in ("*.sh", "*.sbatch") for p in (ROOT / "scripts").rglob(kind))
# each program once: on Debian sh is dash
SHELLS = {
    os.path.realpath(path): shell for shell in ("dash", "busybox", "sh") if (path := shutil.which(shell))
}.values()
# that bench_gpu.sh calls
ENTRIES = {"train.py", "eval.py", "demo_folder.py", "scripts/benchmark.py", "scripts/profile_step.py"}
ENTRIES |= {"scripts/make_receipt.py", "scripts/benchmarks/gpu_facts.py", "scripts/benchmarks/two_on_one.py"}
MODELS = [("res18", "fenet_r18"), ("res101", "fenet_r101")]

# the arguments end in NUL each, so that spaces and empty ones show
STUB = """#!/bin/sh
[ "${2:-}" != "import torch" ] || exit 0
printf '%s\\0' "$@" >>"$RECORD"
echo "from the stub"
echo "its errors" >&2
exit "${STUB_STATUS:-0}"
"""


def listing(gpus: int) -> str:
    """A nvidia-smi that lists so many GPUs."""
    return "#!/bin/sh\n" + "".join(f"echo 'GPU {i}: H (UUID: GPU-{i})'\n" for i in range(gpus))


class Place:
    """A copy of the scripts in a folder with a space, a folder to call them from, and stubs first in PATH."""

    def __init__(self, folder: Path) -> None:
        self.root, self.caller, self.stubs = folder / "the repo", folder / "some where", folder / "stubs"
        for path in (self.root, self.caller, self.stubs):
            path.mkdir()
        for copied in ("scripts", "recipes"):
            shutil.copytree(ROOT / copied, self.root / copied)
        for name in ("torchrun", "python3", "python"):
            self.stub(name, STUB)
        self.stub("nvidia-smi", listing(8))
        self.record = folder / "record"
        self.env = {name: value for name, value in os.environ.items() if name in ("HOME", "TMPDIR", "LANG")}
        self.env |= {"PATH": f"{self.stubs}:{os.environ['PATH']}", "RECORD": str(self.record)}

    def stub(self, name: str, text: str) -> Path:
        """Write an executable."""
        path = self.stubs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def command(self, script: str, *argv: str, shell: str = "sh") -> list[str]:
        """The command line that runs a script."""
        return [*([shell, "sh"] if shell == "busybox" else [shell]), str(self.root / "scripts" / script), *argv]

    def run(self, script: str, *argv: str, shell: str = "sh", **env: object) -> subprocess.CompletedProcess:
        """Run a script from the caller's folder."""
        variables = self.env | {name: str(value) for name, value in env.items()}
        command = self.command(script, *argv, shell=shell)
        return subprocess.run(command, cwd=self.caller, env=variables, capture_output=True, text=True, timeout=60)

    def recorded(self, program: str) -> list[str]:
        """The arguments that the stub got, from those of `program` (such as train.py) on."""
        argv = self.record.read_text().split("\0")[:-1]
        return argv[argv.index(program) + 1 :]

    def launched(self) -> list[str]:
        """torchrun's own arguments."""
        argv = self.record.read_text().split("\0")
        return argv[: argv.index("train.py")]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def recipe(arch: str, folder: Path | str, exp: str) -> dict:
    """Every option of the paper's recipe, by name."""
    default = config.parse_train([]).to_dict()
    return default | {
        "arch": arch,
        "dataset": "cityscapes",
        "cv": 0,
        "class_uniform_pct": 0.5,
        "class_uniform_tile": 1024,
        "lr": 0.01,
        "lr_schedule": "poly",
        "poly_exp": 1.0,
        "repoly": 1.5,
        "rescale": 1.0,
        "optimizer": "sgd",
        "syncbn": True,
        "loss": "ohem",
        "ohem": True,
        "crop_size": 1024,
        "scale_min": 0.5,
        "scale_max": 2.0,
        "color_aug": 0.25,
        "gblur": True,
        "max_epoch": 300,
        "wt_bound": 1.0,
        "bs_mult": 1,
        "ckpt": str(folder),
        "exp": exp,
    }


@pytest.mark.parametrize("script", [*SHELL_SCRIPTS, Path(".ci/run")], ids=str)
@pytest.mark.parametrize("shell", ["sh", "bash --posix"])
def test_syntax(script, shell):
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"no {shell} here")
    checked = subprocess.run([*shell.split(), "-n", ROOT / script], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "arch"), MODELS)
def test_training_is_the_paper_s_recipe(place, name, arch, shell):
    done = place.run(f"train_cityscapes_fenet_{name}.sh", shell=shell)
    assert done.returncode == 0, done.stderr
    parsed = config.parse_train(place.recorded("train.py"))
    assert parsed.to_dict() == recipe(arch, place.root / "results", f"cityscapes_fenet_{name}")
    assert parsed.notes == []
    assert place.launched()[:2] == ["--standalone", "--nproc_per_node=8"]
    assert "SIGUSR1" in place.launched()[2]  # a queue's warning reaches the training processes


@pytest.mark.parametrize(
    ("name", "arch", "batch"),
    [
        ("fenet_res50", "fenet_r50", 1),
        ("sfnet_res18", "sfnet_r18", 2),
        ("sfnet_res50", "sfnet_r50", 2),
        ("sfnet_res101", "sfnet_r101", 2),
        ("sfnet_lite_res18", "sfnet_lite_r18", 2),
    ],
)
def test_the_rest_of_the_family_has_the_same_recipe(place, name, arch, batch):
    done = place.run(f"train_cityscapes_{name}.sh", "--lr", "0.02")
    assert done.returncode == 0, done.stderr
    expected = recipe(arch, place.root / "results", f"cityscapes_{name}") | {"bs_mult": batch, "lr": 0.02}
    expected |= {"max_epoch": 1000} if name == "sfnet_lite_res18" else {}
    assert config.parse_train(place.recorded("train.py")).to_dict() == expected


def test_training_output_goes_to_terminal_and_log(place):
    done = place.run("train_cityscapes_fenet_res18.sh")
    log = place.root / "results" / "cityscapes_fenet_res18" / "console.log"
    for line in ("from the stub", "its errors"):
        assert line in done.stdout
        assert line in log.read_text()
    place.run("train_cityscapes_fenet_res18.sh")
    assert log.read_text().count("from the stub") == 2  # a resumed run keeps what was there


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("status", [0, 1, 6, 77])
def test_training_status_is_the_launcher_s(place, status, shell):
    assert place.run("train_cityscapes_fenet_res18.sh", shell=shell, STUB_STATUS=status).returncode == status


@pytest.mark.parametrize("shell", SHELLS)
def test_the_error_is_the_last_line_and_its_code_the_status(place, shell):
    place.run("train_cityscapes_fenet_res18.sh")
    log = place.root / "results" / "cityscapes_fenet_res18" / "console.log"
    log.write_text("error: of an earlier run\n  exitcode  : 6 (pid: 1)\n")
    text = "error: data/x: no such folder\nTraceback\n  exitcode  : -15 (pid: 8)\nRoot\n  exitcode  : 3 (pid: 9)\n==="
    place.stub("torchrun", f"#!/bin/sh\necho '{text}'\nexit 1\n")
    done = place.run("train_cityscapes_fenet_res18.sh", shell=shell)
    assert (done.returncode, done.stderr) == (3, "\nerror: data/x: no such folder\n")
    place.stub("torchrun", "#!/bin/sh\necho killed\nexit 1\n")
    done = place.run("train_cityscapes_fenet_res18.sh", shell=shell)
    assert (done.returncode, done.stderr) == (1, "")


def test_training_leaves_no_temporary_files(place, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    place.run("train_cityscapes_fenet_res18.sh", TMPDIR=temporary, STUB_STATUS=3)
    assert list(temporary.iterdir()) == []


def test_further_training_options_win(place):
    options = ["--exp", "mine", "--ckpt", "out put", "--max_epoch", "3", "--crop_size=512", "--no-gblur"]
    place.run("train_cityscapes_fenet_res18.sh", *options, "--tb_tag", "")
    parsed = config.parse_train(place.recorded("train.py")).to_dict()
    expected = recipe("fenet_r18", "out put", "mine") | {"max_epoch": 3, "crop_size": 512, "gblur": False}
    assert parsed == expected
    assert (place.root / "out put" / "mine" / "console.log").is_file()


def test_training_from_the_environment(place):
    weights = place.caller / "encoder weights.pth"
    weights.touch()
    variables = {"NGPU": 2, "EXP_DIR": "my runs", "DATA_ROOT": "/data/city scapes", "PRETRAINED": weights.name}
    done = place.run("train_cityscapes_fenet_res101.sh", **variables)
    parsed = config.parse_train(place.recorded("train.py")).to_dict()
    expected = recipe("fenet_r101", place.caller / "my runs", "cityscapes_fenet_res101")
    assert parsed == expected | {"data_root": "/data/city scapes", "pretrained": str(weights)}
    assert "--nproc_per_node=2" in place.launched()
    assert "random" not in done.stdout
    assert (place.caller / "my runs" / "cityscapes_fenet_res101" / "console.log").is_file()


def test_pretrained_may_be_a_name(place):
    place.run("train_cityscapes_fenet_res18.sh", PRETRAINED="imagenet")
    assert config.parse_train(place.recorded("train.py")).weights.pretrained == "imagenet"


def test_random_encoder_weights_are_said(place):
    done = place.run("train_cityscapes_fenet_res18.sh")
    assert "random weights" in done.stdout
    assert "PRETRAINED=FILE" in done.stdout and "resnet18-deep-stem" in done.stdout
    assert "PRETRAINED=imagenet" not in done.stdout  # fits the deeper ones only
    assert "PRETRAINED=imagenet" in place.run("train_cityscapes_fenet_res101.sh").stdout
    assert "random" not in place.run("train_cityscapes_fenet_res18.sh", "--pretrained", "imagenet").stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_deep_stem_file_that_lies_there_is_used(place, shell):
    (place.root / "pretrained_models").mkdir()
    for name in ("resnet18-deep-stem-pytorch.pth", "resnet101-deep-stem.pth", "resnet18-5c106cde.pth"):
        (place.root / "pretrained_models" / name).touch()
    done = place.run("train_cityscapes_fenet_res18.sh", "--seed", "3", shell=shell)
    file = str(place.root / "pretrained_models" / "resnet18-deep-stem-pytorch.pth")
    assert config.parse_train(place.recorded("train.py")).weights.pretrained == file
    assert f"Encoder weights: {file}" in done.stdout and "random" not in done.stdout
    place.record.unlink()
    place.run("train_cityscapes_fenet_res18.sh", "--snapshot", "s.pth", shell=shell)
    assert config.parse_train(place.recorded("train.py")).weights.pretrained is None


def test_the_launcher_may_be_named(place):
    other = place.stub("other launcher", STUB)
    (place.stubs / "torchrun").unlink()
    assert place.run("train_cityscapes_fenet_res18.sh", TORCHRUN=other).returncode == 0
    done = place.run("train_cityscapes_fenet_res18.sh", TORCHRUN="no_such_launcher")
    assert done.returncode == 5
    assert "no_such_launcher" in done.stderr


def test_the_launcher_of_the_environment_is_found(place):
    (place.root / ".venv" / "bin").mkdir(parents=True)
    (place.stubs / "torchrun").rename(place.root / ".venv" / "bin" / "torchrun")
    for tool in ("sh", "dirname", "mktemp", "mkfifo", "mkdir", "tee", "rm"):
        (place.stubs / tool).symlink_to(shutil.which(tool))
    place.env["PATH"] = str(place.stubs)  # where no other torchrun is
    assert place.run("train_cityscapes_fenet_res18.sh").returncode == 0


# like torchrun it handles these itself, whatever it inherits; it saves, and ends with a status of its own
SAVING = """
import signal, sys, time
asked = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: asked.append(number))
print("started", flush=True)
while not asked:
    time.sleep(0.02)
time.sleep(0.3)
print("saved after", len(asked), "signal", flush=True)
sys.exit(9)
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGTERM, False), (signal.SIGUSR1, False), (signal.SIGINT, True), (signal.SIGHUP, True)],
    ids=["queue", "queue warning", "Ctrl-C", "terminal closes"],
)
def test_a_signal_reaches_the_launcher_once(place, shell, number, to_all):
    program = place.stub("saving.py", SAVING)
    place.stub("torchrun", f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(program))}\n")
    command = place.command("train_cityscapes_fenet_res18.sh", shell=shell)
    log = place.root / "results" / "cityscapes_fenet_res18" / "console.log"
    options = {"cwd": place.caller, "env": place.env, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        deadline = time.monotonic() + 20
        while not (log.is_file() and "started" in log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        (os.killpg if to_all else os.kill)(process.pid, number)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 9
    assert "saved after 1 signal" in output
    assert "saved after 1 signal" in log.read_text()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("name", "arch"), MODELS)
def test_submission_protocol(place, name, arch, shell):
    done = place.run(f"submit_test/submit_cityscapes_fenet_{name}.sh", "my model.pth", "out put", shell=shell)
    assert done.returncode == 0, done.stderr
    options, notes = config.parse_eval(place.recorded("eval.py"))
    snapshot, out = str(place.caller / "my model.pth"), str(place.caller / "out put")
    default, _ = config.parse_eval(["--snapshot", snapshot, "--save_dir", out])
    changed = {
        "arch": arch,
        "dataset": "cityscapes",
        "split": "test",
        "inference_mode": "sliding",
        "scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        "flip": True,
        "dump_images": True,
        "submission": f"{out}/submission.zip",
    }
    assert vars(options) == vars(default) | changed
    assert notes == []


def test_further_submission_options_win(place):
    script = "submit_test/submit_cityscapes_fenet_res18.sh"
    place.run(script, "/m.pth", "/out", "--scales", "1.0", "--no_flip", "--split=val", DATA_ROOT="city scapes")
    options, _ = config.parse_eval(place.recorded("eval.py"))
    assert (options.scales, options.flip, options.split) == ((1.0,), False, "val")
    assert (options.snapshot, options.save_dir) == ("/m.pth", "/out")
    assert options.data_root == str(place.caller / "city scapes")


def test_submission_status(place):
    script = "submit_test/submit_cityscapes_fenet_res18.sh"
    assert place.run(script, "m.pth", "out", STUB_STATUS=4).returncode == 4


NO_TORCH = "#!/bin/sh\nexit 1\n"


def interpreters(place: Place, folder: str = ".venv", **texts: str) -> None:
    """Interpreters that say their name: on PATH by their names, `venv` in the environment in `folder`."""
    for name, text in texts.items():
        named = place.stub(name, text.replace("from the stub", f"this is {name}"))
        if name == "venv":
            (place.root / folder / "bin").mkdir(parents=True)
            named.rename(place.root / folder / "bin" / "python")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"venv": STUB, "python3": STUB, "python": STUB}, "this is venv"),
        ({"venv": NO_TORCH, "python3": STUB, "python": STUB}, "this is python3"),
        ({"python3": NO_TORCH, "python": STUB}, "this is python"),
    ],
    ids=["environment", "environment without torch", "python3 without torch"],
)
def test_submission_takes_the_first_interpreter_that_has_torch(place, texts, expected, shell):
    interpreters(place, **texts)
    done = place.run("submit_test/submit_cityscapes_fenet_res18.sh", "m.pth", "out", shell=shell)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, expected), done.stderr


def test_the_interpreter_and_the_environment_may_be_named(place):
    script = "submit_test/submit_cityscapes_fenet_res18.sh"
    interpreters(place, "my env", venv=STUB)
    (place.stubs / "mine").write_text(STUB.replace("from the stub", "this is mine"))
    (place.stubs / "mine").chmod(0o755)
    assert place.run(script, "m.pth", "out", VENV="my env").stdout.startswith("this is venv")
    assert place.run(script, "m.pth", "out", VENV=place.root / "my env").stdout.startswith("this is venv")
    for name in ("mine", place.stubs / "mine", "../stubs/mine"):
        assert place.run(script, "m.pth", "out", VENV="my env", PYTHON=name).stdout.startswith("this is mine")


@pytest.mark.parametrize("script", ["submit_test/submit_cityscapes_fenet_res18.sh", "quickstart.sh"])
@pytest.mark.parametrize(("env", "words"), [({}, [".venv/bin/python", "make quickstart"]), ({"PYTHON": "python"}, [])])
def test_no_interpreter_has_torch(place, script, env, words):
    interpreters(place, python3=NO_TORCH, python=NO_TORCH)
    done = place.run(script, "m.pth", "out", **env)
    assert done.returncode == 5 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and all(word in line for word in [*words, "import torch", "PYTHON="])


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("variables", [{}, {"EXP_DIR": "my runs"}])
def test_submission_takes_what_the_training_script_left(place, shell, variables):
    script, run = "submit_test/submit_cityscapes_fenet_res101.sh", place.root / "results" / "cityscapes_fenet_res101"
    if variables:
        run = place.caller / "my runs" / "cityscapes_fenet_res101"
    done = place.run(script, shell=shell, **variables)
    assert done.returncode == 2 and not place.record.exists()
    assert f"no SNAPSHOT is named, and {run}/best.pth" in done.stderr and "usage: " in done.stderr
    run.mkdir(parents=True)
    (run / "best.pth").touch()
    done = place.run(script, "--no_flip", shell=shell, **variables)
    assert done.returncode == 0 and f"Snapshot: {run}/best.pth" in done.stdout, done.stderr
    options, _ = config.parse_eval(place.recorded("eval.py"))
    assert (options.snapshot, options.save_dir, options.flip) == (f"{run}/best.pth", f"{run}/test", False)
    assert options.submission == f"{run}/test/submission.zip"


@pytest.mark.parametrize("argv", [[], ["model.pth"], ["", "out"], ["model.pth", ""]])
def test_submission_says_how_to_call_it(place, argv):
    done = place.run("submit_test/submit_cityscapes_fenet_res101.sh", *argv)
    assert done.returncode == 2
    assert "usage:" in done.stderr and "SNAPSHOT OUT" in done.stderr
    assert not place.record.exists()


def test_quickstart_s_command_lines(place):
    out = place.root / "runs" / "quickstart"
    (out / "earlier" / "1").mkdir(parents=True)
    (out / "metrics.json").write_text("of the run before")
    python = place.stub("python", STUB + "\n")
    done = place.run("quickstart.sh", PYTHON=python)
    assert done.returncode == 0, done.stderr
    argv = place.record.read_text().split("\0")
    evaluation = argv.index("eval.py")
    trained = config.parse_train(argv[1:evaluation])
    assert (trained.model.arch, trained.data.dataset, str(trained.run.folder)) == (
        "fenet_tiny", "synthetic", "runs/quickstart",
    )  # fmt: skip
    scored, _ = config.parse_eval(argv[evaluation + 1 : argv.index("-")])
    assert (scored.snapshot, scored.save_dir) == ("runs/quickstart/best.pth", "runs/quickstart")
    assert scored.dump_images and scored.report and not trained.validation.report
    assert trained.notes == []
    assert [path.name for path in out.iterdir()] == ["earlier"]
    assert (out / "earlier" / "2" / "metrics.json").read_text() == "of the run before"


def test_quickstart_stops_where_training_fails(place):
    python = place.stub("python", STUB)
    assert place.run("quickstart.sh", PYTHON=python, STUB_STATUS=3).returncode == 3
    assert "eval.py" not in place.record.read_text()


def test_gpu_benchmark_without_a_gpu(place):
    python = place.stub("python", STUB)
    done = place.run("bench_gpu.sh", PYTHON=python, STUB_STATUS=1)
    assert done.returncode == 5
    assert "no CUDA" in done.stderr
    assert "train.py" not in place.record.read_text()


def json_of(argv: list[str]) -> str:
    """The name of the file that a program of bench_gpu.sh is to write."""
    return Path(argv[argv.index("--json") + 1]).name


def test_gpu_benchmark_s_command_lines(place):
    python = place.stub("python", STUB)
    done = place.run("bench_gpu.sh", PYTHON=python, RESULTS="docs/results", DATA_ROOT="/data/cam vid")
    assert done.returncode == 0, done.stderr
    assert re.findall("^== (.*)", done.stdout, re.MULTILINE) == [
        *("gpu-facts", "gpu-facts-triton", "cuda-tests", "smoke", "accuracy-fenet_r18", "accuracy-sfnet_r18"),
        *("two-on-one", "profile", "train-step", "infer", "eval", "loss", "hpf"),
        *("train-step-r101", "profile-r101", "infer-r101", "data", "loss-triton", "hpf-triton"),
    ]
    calls = programs(place.record.read_text().split("\0"))
    by_name = {name: [argv for program, argv in calls if program == name] for name, _ in calls}
    assert config.parse_train(by_name["train.py"][0]).compute.amp == "bf16"
    assert config.parse_eval(by_name["eval.py"][0])[0].device == "cuda"
    assert config.parse_demo(by_name["demo_folder.py"][0])[0].device == "cuda"
    assert [gpu_facts.parse(argv).kernels for argv in by_name["scripts/benchmarks/gpu_facts.py"]] == ["torch", "triton"]
    parts = {json_of(argv): benchmark.build_parser().parse_args(argv) for argv in by_name["scripts/benchmark.py"]}
    assert {name: (options.what, options.arch, options.kernels) for name, options in parts.items()} == {
        "gpu_train-step.json": ("train-step", "fenet_r18", "torch"),
        "gpu_train-step-r101.json": ("train-step", "fenet_r101", "torch"),
        "gpu_loss.json": ("loss", "fenet_r18", "torch"),
        "gpu_hpf.json": ("hpf", "fenet_r18", "torch"),
        "gpu_infer.json": ("infer", "fenet_r18", "torch"),
        "gpu_infer-r101.json": ("infer", "fenet_r101", "torch"),
        "gpu_eval.json": ("eval", "fenet_r18", "torch"),
        "gpu_data.json": ("data", "fenet_r18", "torch"),
        "gpu_loss-triton.json": ("loss", "fenet_r18", "triton"),
        "gpu_hpf-triton.json": ("hpf", "fenet_r18", "triton"),
    }
    assert by_name["scripts/profile_step.py"] == [
        ["--json", "docs/results/gpu_profile.json", "--arch", "fenet_r18"],
        ["--json", "docs/results/gpu_profile-r101.json", "--arch", "fenet_r101"],
    ]
    receipts = [make_receipt.parse(argv) for argv in by_name["scripts/make_receipt.py"]]
    assert [receipt.out.name for receipt in receipts] == ["gpu_camvid_fenet_r18.json", "gpu_camvid_sfnet_r18.json"]
    for receipt, arch in zip(receipts, ("fenet_r18", "sfnet_r18"), strict=True):
        assert receipt.execute and receipt.data_root == "/data/cam vid"
        training, scoring = parse_command(receipt.command, "--command").steps
        assert (training.script, training.variables["ARCH"]) == ("scripts/train_camvid_gpu.sh", arch)
        trained = place.run("train_camvid_gpu.sh", "--dry-run", *training.arguments, ARCH=arch, EXP_DIR="/out")
        options = config.parse_train(shlex.split(trained.stdout)[2:])
        snapshot = config.parse_eval(scoring.arguments)[0].snapshot
        assert snapshot == f"$OUT/{options.run.exp}/best.pth" and options.schedule.max_epoch == 200


def programs(argv: list[str]) -> list[tuple[str, list[str]]]:
    """Python files that the stub was called with, each with its arguments."""
    starts = [i for i, word in enumerate(argv) if word in ENTRIES]
    ends = [*starts[1:], len(argv) - 1]
    calls = []
    for start, end in zip(starts, ends, strict=True):
        words = argv[start + 1 : end]
        calls.append((argv[start], words[: words.index("-c")] if "-c" in words else words))
    return calls


@pytest.mark.parametrize("shell", SHELLS)
def test_gpu_benchmark_s_facts_are_tried_without_a_gpu(place, shell):
    python = place.stub("python", STUB)
    done = place.run("bench_gpu.sh", "facts", shell=shell, PYTHON=python, DEVICE="cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left out") == 2
    calls = dict(programs(place.record.read_text().split("\0")))
    assert gpu_facts.parse(calls["scripts/benchmarks/gpu_facts.py"]).device == "cpu"
    assert json_of(calls["scripts/benchmarks/gpu_facts.py"]) == "gpu_facts.json"
    assert not (place.root / "docs").exists()  # where measured results are
    assert config.parse_train(calls["train.py"]).compute.device == "cpu"
    done = place.run("bench_gpu.sh", "speed", shell=shell, PYTHON=python, DEVICE="cpu")
    assert done.returncode == 2 and "DEVICE=cpu is for facts only" in done.stderr


def test_gpu_benchmark_goes_on_after_a_failure(place):
    fails = """#!/bin/sh
case $* in *" loss "*) exit 6 ;; *) printf '%s\\0' "$@" >>"$RECORD" ;; esac
"""
    python = place.stub("python", fails)
    done = place.run("bench_gpu.sh", "train-step", "loss", "hpf", PYTHON=python)
    assert done.returncode == 6
    assert "part loss failed with status 6" in done.stderr
    assert "hpf" in place.record.read_text().split("\0")
    assert place.run("bench_gpu.sh", "nonsense", PYTHON=python).returncode == 2


PYTHON_STUB = """#!/bin/sh
# `python -m venv DIR` makes an environment whose python does nothing but record
printf '%s\\0' "$@" >>"$RECORD"
[ "$2" != venv ] || { mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python"; }
exit "${STUB_STATUS:-0}"
"""


class TestSetup:
    """scripts/setup_venv.sh, which the Makefile calls in the root."""

    @pytest.fixture(autouse=True)
    def _place(self, place):
        self.place, self.caller = place, place.caller
        self.python = place.stub("a python", PYTHON_STUB)
        shutil.copy(ROOT / "constraints.txt", place.caller)

    def set_up(self, venv: str, *files: str, **env: object) -> subprocess.CompletedProcess:
        return self.place.run("setup_venv.sh", venv, str(self.python), *(files or ("requirements.txt",)), **env)

    def calls(self) -> str:
        return self.place.record.read_text().replace("\0", " ")

    def test_installs_the_pinned_torch_first(self):
        done = self.set_up(".venv", "requirements.txt", "requirements-dev.txt")
        assert done.returncode == 0, done.stderr
        pins = (ROOT / "constraints.txt").read_text().splitlines()
        torch = next(line for line in pins if line.startswith("torch=="))
        assert self.calls().endswith(
            f"-m pip install --quiet {torch} "
            "-m pip install --quiet -r requirements.txt -r requirements-dev.txt -c constraints.txt "
        )

    def test_an_unfinished_environment_is_made_anew(self):
        assert self.set_up(".venv").returncode == 0
        (self.caller / ".venv" / "half").touch()
        assert self.set_up(".venv").returncode == 0
        assert not (self.caller / ".venv" / "half").exists()

    def test_a_finished_environment_is_completed_and_its_stamps_withdrawn(self):
        self.set_up(".venv")
        for name in (".core.stamp", ".dev.stamp", "kept"):
            (self.caller / ".venv" / name).touch()
        assert self.set_up(".venv").returncode == 0
        assert self.calls().count("venv .venv") == 1
        assert (self.caller / ".venv" / "kept").exists()
        assert not list((self.caller / ".venv").glob("*.stamp"))

    def test_somebody_s_environment_is_used_as_it_is(self):
        subprocess.run([self.python, "-m", "venv", self.caller / "mine"], env=self.place.env, check=True)
        (self.caller / "mine" / "kept").touch()
        assert self.set_up("mine").returncode == 0
        assert self.set_up("mine").returncode == 0
        assert (self.caller / "mine" / "kept").exists()
        assert self.calls().count("venv") == 1

    def test_a_folder_that_is_no_environment_is_refused(self):
        (self.caller / "photos").mkdir()
        (self.caller / "photos" / "kept").touch()
        done = self.set_up("photos")
        assert done.returncode == 5
        assert "photos" in done.stderr and "VENV=" in done.stderr
        assert (self.caller / "photos" / "kept").exists()

    def test_remains_in_the_default_folder_are_replaced(self):
        (self.caller / ".venv" / "bin").mkdir(parents=True)
        assert self.set_up(".venv").returncode == 0

    def test_a_failed_install_is_a_failure(self):
        assert self.set_up(".venv", STUB_STATUS=1).returncode != 0

    def test_no_python(self):
        self.python = ""
        done = self.set_up(".venv")
        assert done.returncode == 5
        assert "PYTHON=" in done.stderr
