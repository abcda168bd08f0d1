"""scripts/launch.sh and scripts/slurm/train.sbatch: what they would start, and what they refuse."""

import shlex

import pytest

from tests.scripts.test_shell import ROOT, SHELLS, STUB, Place, listing

PROGRAM = ["train.py", "--exp", "it's one", "--tb_tag", ""]
SIGNALS = "--signals_to_handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"  # torchrun passes these on: processes save
NODES = ["--nnodes=1:4", "--nproc_per_node=2", "--rdzv_backend=c10d", "--rdzv_endpoint=node1:29500"]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_dry_run_prints_what_is_started(place, shell):
    place.stub("nvidia-smi", listing(3))
    dry = place.run("launch.sh", "--dry-run", *PROGRAM, shell=shell)
    assert dry.returncode == 0 and not place.record.exists(), dry.stderr
    assert place.run("launch.sh", *PROGRAM, shell=shell).returncode == 0
    started = place.record.read_text().split("\0")[:-1]
    assert shlex.split(dry.stdout) == ["torchrun", *started] == [
        "torchrun", "--standalone", "--nproc_per_node=3", SIGNALS, *PROGRAM,
    ]  # fmt: skip
    assert "from the stub" in (place.root / "runs" / "console" / "console.log").read_text()


def test_without_a_gpu_there_is_one_process(place):
    place.stub("nvidia-smi", "#!/bin/sh\nexit 9\n")
    assert "--nproc_per_node=1" in place.run("launch.sh", "--dry-run", "eval.py").stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("visible", "processes"), [("2,3", 2), ("GPU-5", 1), ("", 1), ("0,1,-1,2", 2)])
def test_each_visible_gpu_has_a_process(place, visible, processes, shell):
    done = place.run("launch.sh", "eval.py", "--dry-run", shell=shell, CUDA_VISIBLE_DEVICES=visible)
    assert f"--nproc_per_node={processes} " in done.stdout


RECIPES = sorted(path.name for path in (ROOT / "scripts").glob("train_*.sh"))
RECIPE = "train_cityscapes_fenet_res18.sh"


@pytest.mark.parametrize("script", RECIPES)
@pytest.mark.parametrize("place_of", [0, 2])
def test_every_recipe_has_a_dry_run(place, script, place_of):
    argv = ["--max_epoch", "3", "it's"]
    argv.insert(place_of, "--dry-run")
    for name in ("nvidia-smi", "python3", "python", "torchrun"):  # neither GPUs nor PyTorch
        place.stub(name, "#!/bin/sh\nexit 9\n")
    done = place.run(script, *argv)
    assert done.returncode == 0 and not place.record.exists(), done.stderr
    words = shlex.split(done.stdout.splitlines()[-1])
    assert "train.py" in words and words[-3:] == ["--max_epoch", "3", "it's"] and "--dry-run" not in words


@pytest.mark.parametrize("shell", SHELLS)
def test_a_missing_gpu_is_said_once_before_anything_starts(place, shell):
    place.stub("nvidia-smi", "#!/bin/sh\nexit 9\n")
    place.stub("python3", '#!/bin/sh\n[ "$2" = "import torch" ] || echo 0\n')  # how many PyTorch sees
    done = place.run(RECIPE, shell=shell)
    assert done.returncode == 5 and done.stderr.count("\n") == 1
    assert "error: no CUDA device found" in done.stderr and "NGPU=1" in done.stderr
    place.stub("nvidia-smi", listing(8))
    done = place.run(RECIPE, shell=shell, CUDA_VISIBLE_DEVICES="0,1")
    assert done.returncode == 5 and "GPUs found: 2, and this recipe is for 8" in done.stderr
    assert "plan.py --gpus 2" in done.stderr and not place.record.exists()


@pytest.mark.parametrize(("argv", "names"), [(["--device", "cpu"], {}), (["--device=cpu"], {}), ([], {"NGPU": 2})])
def test_who_names_device_or_number_is_not_asked_for_gpus(place, argv, names):
    place.stub("nvidia-smi", "#!/bin/sh\nexit 9\n")
    assert place.run(RECIPE, *argv, **names).returncode == 0 and place.recorded("train.py")


def test_several_machines(place):
    names = {"NNODES": "1:4", "HEAD": "node1:29500", "NGPU": 2, "IFNAME": "eth1", "RUN_ID": "mine", "RESTARTS": 5}
    done = place.run("launch.sh", "--dry-run", *PROGRAM, **names, NODE_ADDRESS="10.0.0.7", RDZV_CONF="a=1,b=2")
    words = shlex.split(done.stdout)
    assert words[:3] == ["GLOO_SOCKET_IFNAME=eth1", "NCCL_SOCKET_IFNAME=eth1", "torchrun"]
    more = ["--rdzv_id=mine", "--max_restarts=5", "--rdzv_conf=a=1,b=2", "--local_addr=10.0.0.7"]
    assert words[3:] == [*NODES, *more, SIGNALS, *PROGRAM]


def test_the_recipes_run_on_several_machines(place):
    done = place.run("train_cityscapes_fenet_res18.sh", "--dry-run", "--lr", "0.1", NNODES=2, HEAD="a:1")
    assert "--nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=a:1 --rdzv_id=fenet" in done.stdout
    assert "--arch fenet_r18" in done.stdout and done.stdout.rstrip().endswith("--lr 0.1")
    assert not place.record.exists() and not (place.root / "results").exists()


@pytest.mark.parametrize(
    ("argv", "names", "words"),
    [
        ([], {}, "usage:"),
        (["other.py"], {}, "usage:"),
        (["train.py"], {"NNODES": 2}, "needs HEAD=HOST:PORT"),
    ],
)
def test_refused(place, argv, names, words):
    done = place.run("launch.sh", *argv, **names)
    assert done.returncode == 2 and words in done.stderr


def slurm(place: Place, *argv: str, **names: object):
    place.stub("scontrol", '#!/bin/sh\nprintf "n7\\nn8\\n"\n')
    place.stub("srun", STUB)
    return place.run("slurm/train.sbatch", *argv, SLURM_SUBMIT_DIR=place.root, **names)


@pytest.mark.parametrize("script", ["launch.sh", "train_cityscapes_fenet_res18.sh"])
def test_slurm_dry_run(place, script):
    names = {"SLURM_JOB_ID": 12345, "SLURM_JOB_NUM_NODES": 2, "SLURM_JOB_NODELIST": "n[7-8]", "MIN_NODES": 1}
    argv = ["train.py"] if script == "launch.sh" else []
    done = slurm(place, f"scripts/{script}", *argv, "--dry-run", SLURM_GPUS_ON_NODE=4, **names)
    assert done.stdout == slurm(place, "--dry-run", f"scripts/{script}", *argv, SLURM_GPUS_ON_NODE=4, **names).stdout
    assert done.returncode == 0, done.stderr
    assert "on each of 2 nodes:" in done.stdout and not place.record.exists()
    for word in ("--nnodes=1:2", "--nproc_per_node=4", "--rdzv_endpoint=n7:22345", "--rdzv_id=12345", "SIGUSR1"):
        assert word in done.stdout, word


@pytest.mark.parametrize("status", [0, 3])
def test_slurm_starts_a_step_on_each_node(place, status):
    done = slurm(place, "scripts/launch.sh", *PROGRAM, SLURM_JOB_NUM_NODES=2, SLURM_JOB_ID=1, STUB_STATUS=status)
    assert done.returncode == status
    started = place.record.read_text().split("\0")[:-1]
    assert started[:2] == ["--nodes=2", "--ntasks-per-node=1"]
    assert started[started.index("sh") + 1 :] == [str(place.root / "scripts" / "launch.sh"), *PROGRAM]


def test_slurm_without_a_script(place):
    done = slurm(place, "scripts/no_such.sh")
    assert done.returncode == 2 and "usage" in done.stderr and "no_such.sh" in done.stderr
