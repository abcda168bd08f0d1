"""The recipes for CamVid and the modern one for Cityscapes, run with stubs that record how they were called."""

import pytest

import config
from scripts.studies.study_file import read_study
from tests.scripts.test_shell import SHELLS, STUB, Place, recipe
from utils.machine import ROOT


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def trained(place: Place, script: str, *argv: str, shell: str = "sh", **env: object) -> config.TrainConfig:
    """The options that train.py gets; a script has to end well."""
    done = place.run(script, *argv, shell=shell, **env)
    assert done.returncode == 0, done.stderr
    return config.parse_train(place.recorded("train.py"))


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("arch", ["fenet", "smp_fpn", "smp_deeplabv3plus"])
def test_models_on_two_cores_differ_in_the_decoder_alone(place, arch, shell):
    python = place.stub("python", STUB)
    got = trained(place, "train_camvid_2cores.sh", shell=shell, PYTHON=python, ARCH=arch, DATA_ROOT="/cam vid")
    expected = config.parse_train([]).to_dict() | {
        **{"arch": arch, "backbone": "tf_efficientnet_lite0", "pretrained": "efficientnet-lite0", "dataset": "camvid"},
        **{"data_root": "/cam vid", "cache": "ram", "num_workers": 0, "bs_mult": 8, "crop_size": 320},
        **{"class_uniform_tile": 128, "optimizer": "adamw", "lr": 0.001, "weight_decay": 0.01, "poly_exp": 0.9},
        **{
            "warmup_steps": 100,
            "ema": 0.998,
            "scale_min": 0.75,
            "max_epoch": 40,
            "val_every": 10,
            "seed": 1,
            "device": "cpu",
        },
        **{"ckpt": "./results", "exp": f"camvid_2cores_{arch}"},
    }
    assert got.to_dict() == expected | ({"channels": 64} if arch == "fenet" else {})
    assert got.notes == []


def test_fenet_is_what_two_cores_train_by_default(place):
    got = trained(place, "train_camvid_2cores.sh", "--max_epoch", "3", PYTHON=place.stub("python", STUB), EXP_DIR="r")
    assert (got.model.arch, got.to_dict()["max_epoch"], str(got.run.folder)) == ("fenet", 3, "r/camvid_2cores_fenet")


@pytest.mark.parametrize("arch, variant", [("fenet", "FENet"), ("smp_fpn", "FPN")])
def test_the_hour_s_recipe_is_what_its_study_compares(place, arch, variant):
    got = trained(place, "train_camvid_hour.sh", PYTHON=place.stub("python", STUB), ARCH=arch)
    plan = read_study(ROOT / "recipes" / "camvid_hour.json").variants[variant]
    own = {"seed": 1, "ckpt": "./results", "exp": f"camvid_hour_{arch}"}
    assert got.to_dict() == plan.config.to_dict() | own


def test_the_hour_names_the_models_that_it_has_epochs_for(place):
    done = place.run("train_camvid_hour.sh", PYTHON=place.stub("python", STUB), ARCH="smp_deeplabv3plus")
    assert done.returncode == 2 and "ARCH=smp_deeplabv3plus: fenet or smp_fpn" in done.stderr


@pytest.mark.parametrize(
    "script",
    [
        "train_camvid_2cores.sh",
        "train_camvid_hour.sh",
        "train_cityscapes_modern.sh",
        "train_cityscapes_fenet_res18.sh",
        "train_cityscapes_sfnet_lite_res18.sh",
    ],
)
def test_a_number_of_steps_wins_over_a_recipe_s_epochs_and_a_file_can_t(place, script):
    python = place.stub("python", STUB)
    got = trained(place, script, "--max_iters", "7", PYTHON=python, NGPU=4).to_dict()
    assert (got["max_iters"], got["max_epoch"]) == (7, None)
    done = place.run(script, "--options_from", "mine.json", PYTHON=python, NGPU=4)
    assert done.returncode == 2 and "--options_from: the recipe's options would win over" in done.stderr


def test_camvid_on_a_gpu(place):
    python = place.stub("python", STUB)
    got = trained(place, "train_camvid_gpu.sh", "--seed", "2", PYTHON=python, ARCH="sfnet_r18").to_dict()
    wanted = {
        "arch": "sfnet_r18",
        "backbone": None,
        "pretrained": None,
        "dataset": "camvid",
        "device": "cuda",
        "seed": 2,
    }
    wanted |= {"cache": "ram", "augment": "device", "amp": "bf16", "optimizer": "adamw", "exp": "camvid_gpu_sfnet_r18"}
    assert {name: got[name] for name in wanted} == wanted


def test_the_modern_recipe_is_the_paper_s_but_for_the_optimizer_s_part(place):
    got = trained(place, "train_cityscapes_modern.sh", "--lr", "1e-3", ARCH="sfnet_r18", NGPU=4)
    expected = recipe("sfnet_r18", place.root / "results", "cityscapes_modern_sfnet_r18") | {
        **{"bs_mult": 2, "max_epoch": 200, "optimizer": "adamw", "lr": 0.001, "weight_decay": 0.01, "poly_exp": 0.9},
        **{"warmup_steps": 1000, "ema": 0.999, "amp": "bf16"},
    }
    assert got.to_dict() == expected and "--nproc_per_node=4" in place.launched()
