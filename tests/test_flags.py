"""The command lines of the SFNet family, flag by flag: each is accepted, and lands where it says."""

import dataclasses
import re
import sys
from collections.abc import Iterator

import pytest

import config
import train as train_program
from loss import list_losses
from loss.options import OLD_NAMES
from utils.errors import OptionError

R101 = "network.fenet_resnet_conv_2b_2d.DeepR101_FE_deeply_completely"
SCALES = "0.5,0.75,1.0,1.25,1.5,1.75,2.0"
THRESHOLDS = (0.0005, 0.001875, 0.00375, 0.005)

MISTAKES = [
    (["--ohem_thresh", "70"], r"--ohem_thresh 70.0: .*\(0, 1\]"),
    (["--ohem", "--ohem_thresh", "70"], r"--ohem_thresh 70.0: .*\(0, 1\]"),
    (["--ohem", "--img_wt_loss"], "--img_wt_loss --ohem: .*different losses"),
    (["--jointwtborder", "--img_wt_loss"], "--img_wt_loss --jointwtborder: .*different losses"),
    (["--loss", "ce", "--ohem"], "--ohem --loss ce: .*different losses"),
    (["--loss", "ohem", "--jointwtborder"], "--jointwtborder --loss ohem: .*different losses"),
    (["--loss", "none"], "--loss none: no such loss; choose one of .*image_weighted"),
    (["--loss", "ohem", "--loss_args", "min_kept=few"], "--loss_args min_kept=few: .*thresh=0.7, min_kept=100000"),
    (["--loss", "ohem", "--loss_args", "gamma=2"], "--loss_args gamma=2: .*thresh=0.7, min_kept=100000"),
    (["--loss", "ohem", "--loss_args", "thresh"], "--loss_args thresh: has no value; give thresh=VALUE; .*thresh=0.7"),
    (["--crop_size", "0"], "--crop_size 0: "),
    (["--crop_size", "abc"], "^(error: )?--crop_size abc: must be one number of pixels, or height,width"),
    (["--arch", "fenet_r19"], "--arch fenet_r19: .*fenet_r18"),
    (["--arch", "network.sfnet_resnet.DeepR18_SF_deeply_dsn"], "DeepR18_SF_deeply_dsn: .*--arch sfnet_r18 --aux"),
    (["--arch", "DeepR18_SF_deeply_dsn"], "DeepR18_SF_deeply_dsn: .*--arch sfnet_r18 --aux"),
    (["--arch", "network.sfnet_dfnet.AlignedDFNetV2_FPNDSN"], "DFNet is not part .*--arch sfnet_lite_r18"),
    (["--arch", "network.sfnet_stdcnet.AlignSTDC"], "STDC is not part .*--arch sfnet_lite_r18"),
    (["--arch", "network.pspnet.DeepR50_PSP_deeply"], "PSPNet is not part .*--arch smp_pspnet"),
    (["--arch", "network.sfnet_resnet.DeepR50_SF"], "nearest is --arch network.sfnet_resnet.DeepR50_SF_deeply"),
    (["--mode", "fine"], "--mode fine: choose one of train, trainval, val"),
    (["--backbone", "resnet18"], "--backbone: fenet_r18 has an encoder of its own"),
    (["--arch", "sfnet_r18", "--boundary"], "--boundary: sfnet_r18 has no such option"),
    (["--filter_kernel", "4"], "--filter_kernel 4: must be odd"),
    (["--norm", "group", "--norm_groups", "7"], "^(error: )?--norm_groups 7: norms of 64"),
    (["--arch", "sfnet_r18", "--channels", "0"], "--channels 0: "),
    (["--model_args", "wings=2"], "--model_args wings=2: "),
    (["--optimizer", "lamb"], "^(error: )?--optimizer lamb: choose one of sgd, adam"),
    (["--amsgrad"], "--amsgrad: sgd .*--adam or --adamw"),
    (["--optimizer_args", "nesterov=true"], "--optimizer_args nesterov=true: .*momentum=0.9"),
    (["--lr_schedule", "steps"], "--lr_schedule.*steps.*poly.*cosine"),
    (["--max_iters", "5", "--max_epoch", "2"], "--max_iters 5 --max_epoch 2: both are the run's length; choose one"),
    (["--max_iters", "5", "--rlx_off_epoch", "2"], "--max_iters --rlx_off_epoch: .*give --max_epoch"),
    (["--class_weights", "car=much"], "--class_weights car=much: 'much' is no number"),
    (["--class_weights", "1,2", "--img_wt_loss"], "--class_weights: --loss image_weighted takes none"),
    (["--clip_grad", "-1"], "--clip_grad -1.0: must be positive"),
    (["--encoder_lr", "0"], "--encoder_lr 0.0: must be above 0"),
    (["--lr_decay_by_depth", "2"], "--lr_decay_by_depth 2.0: must be above 0 and at most 1"),
    (["--patience", "0"], "--patience 0: must be at least 1"),
    (["--limit_images", "0"], "--limit_images 0: must be at least 1"),
    (["--freeze_stages", "5"], "--freeze_stages 5: an encoder has 4"),
    (["--freeze_stages", "1", "--freeze_trunk"], "--freeze_trunk --freeze_stages 1: .*choose one"),
    (["--max_crop_epoch", "-1"], "--max_crop_epoch -1: must not be negative"),
    (["--rotate", "181"], "--rotate 181.0: must be from 0 to 180"),
    (["--rotate", "5", "--augment", "device"], "--augment device --rotate 5.0: .*--augment cpu"),
]

# the releases' defaults that stay; what they left to us is not listed
TRAIN_DEFAULTS = {
    "dataset": "cityscapes",
    "cv": 0,
    "class_uniform_pct": 0.5,
    "class_uniform_tile": 1024,
    "max_cu_epoch": 100000,
    "coarse_boost_classes": None,
    "ohem": False,
    "img_wt_loss": False,
    "batch_weighting": False,
    "wt_bound": 1.0,
    "jointwtborder": False,
    "strict_bdr_cls": (),
    "rlx_off_epoch": -1,
    "lr": 0.002,
    "lr_schedule": "poly",
    "poly_exp": 1.0,
    "repoly": 1.5,
    "rescale": 1.0,
    "optimizer": "sgd",
    "amsgrad": False,
    "weight_decay": 1e-4,
    "momentum": 0.9,
    "max_epoch": 180,
    "crop_size": 720,
    "pre_size": None,
    "scale_min": 0.5,
    "scale_max": 2.0,
    "color_aug": 0.25,
    "gblur": True,
    "bblur": False,
    "bs_mult": 2,
    "bs_mult_val": 1,
    "amp": "auto",
    "kernels": "torch",
    "syncbn": False,
    "fix_bn": False,
    "snapshot": None,
    "restore_optimizer": False,
    "freeze_trunk": False,
    "exp": "default",
    "ckpt": "logs/ckpt",
    "tb_tag": "",
    "evaluateF": False,
    "eval_thresholds": THRESHOLDS,
    "dump_augmentation_images": False,
    "test_mode": False,
}

# arguments -> option and its value
TRAIN_FLAGS = [
    (["--arch", R101], "arch", R101),
    (["--dataset", "camvid"], "dataset", "camvid"),
    (["--dataset", "bdd"], "dataset", "bdd100k"),
    (["--mode", "trainval"], "train_split", "trainval"),
    (["--dataset_dir", "some where"], "data_root", "some where"),
    (["--cv", "2"], "cv", 2),
    (["--class_uniform_pct", "0.25"], "class_uniform_pct", 0.25),
    (["--class_uniform_tile", "512"], "class_uniform_tile", 512),
    (["--max_cu_epoch", "150"], "max_cu_epoch", 150),
    (["--ohem"], "ohem", True),
    (["--aux"], "aux", True),
    (["--img_wt_loss"], "img_wt_loss", True),
    (["--batch_weighting"], "batch_weighting", True),
    (["--wt_bound", "2.5"], "wt_bound", 2.5),
    (["-wb", "2.5"], "wt_bound", 2.5),
    (["--jointwtborder"], "jointwtborder", True),
    (["--strict_bdr_cls", "5,6,7"], "strict_bdr_cls", (5, 6, 7)),
    (["--strict_bdr_cls", ""], "strict_bdr_cls", ()),
    (["--rlx_off_epoch", "100"], "rlx_off_epoch", 100),
    (["--lr", "0.01"], "lr", 0.01),
    (["--lr_schedule", "scl-poly"], "lr_schedule", "scl-poly"),
    (["--poly_exp", "0.9"], "poly_exp", 0.9),
    (["--repoly", "2"], "repoly", 2.0),
    (["--rescale", "0.5"], "rescale", 0.5),
    (["--sgd"], "optimizer", "sgd"),
    (["--adam"], "optimizer", "adam"),
    (["--sgd", "--adam"], "optimizer", "adam"),
    (["--adam", "--sgd"], "optimizer", "sgd"),
    (["--adam", "--amsgrad"], "amsgrad", True),
    (["--weight_decay", "5e-4"], "weight_decay", 5e-4),
    (["--momentum", "0.8"], "momentum", 0.8),
    (["--max_epoch", "300"], "max_epoch", 300),
    (["--eval_epoch", "150"], "eval_epoch", 150),
    (["--crop_size", "1024"], "crop_size", 1024),
    (["--pre_size", "800"], "pre_size", 800),
    (["--scale_min", "0.75"], "scale_min", 0.75),
    (["--scale_max", "1.5"], "scale_max", 1.5),
    (["--color_aug", "0"], "color_aug", 0.0),
    (["--gblur"], "gblur", True),
    (["--bblur"], "bblur", True),
    (["--bs_mult", "1"], "bs_mult", 1),
    (["--bs_mult_val", "4"], "bs_mult_val", 4),
    (["--fp16"], "amp", "fp16"),
    (["--kernels", "triton"], "kernels", "triton"),
    (["--syncbn"], "syncbn", True),
    (["--fix_bn"], "fix_bn", True),
    (["--snapshot", "a b.pth"], "snapshot", "a b.pth"),
    (["--snapshot", "a.pth", "--restore_optimizer"], "restore_optimizer", True),
    (["--freeze_trunk"], "freeze_trunk", True),
    (["--exp", "first"], "exp", "first"),
    (["--ckpt", "out/"], "ckpt", "out/"),
    (["--tb_path", "tb/"], "tb_path", "tb/"),
    (["--tb_tag", "tag"], "tb_tag", "tag"),
    (["--evaluateF"], "evaluateF", True),
    (["--eval_thresholds", "0.001,0.002"], "eval_thresholds", (0.001, 0.002)),
    (["--dump_augmentation_images"], "dump_augmentation_images", True),
    (["--test_mode"], "test_mode", True),
]

# flags that are on unless told otherwise, or that a script may have switched on before
TRAIN_SWITCHES = [
    "gblur", "bblur", "ohem", "aux", "img_wt_loss", "batch_weighting", "jointwtborder", "amsgrad", "syncbn", "fix_bn",
    "freeze_trunk", "evaluateF", "dump_augmentation_images", "test_mode",
]  # fmt: skip

LOCAL_RANK = [["--local_rank", "3"], ["--local_rank=3"], ["--local-rank", "3"], ["--local-rank=3"]]
TRAIN_MEANINGLESS = [
    *LOCAL_RANK,
    ["--apex"],
    ["--fpn_dsn_loss"],
    ["--start_epoch", "10"],
    ["--trunk", "resnet101"],
    ["--hardnm", "0"],
    ["--maxSkip", "0"],
    ["--scf"],
    ["--edge_weight", "1.0"],
    ["--seg_weight", "1.0"],
    ["--att_weight", "1.0"],
]

EVAL_DEFAULTS = {
    "split": "val",
    "cv_split": 0,
    "inference_mode": "whole",
    "scales": (1.0,),
    "flip": False,
    "sliding_overlap": 1 / 3,
    "crop_size": None,
    "base_size": None,
    "merge": "prob",
    "dump_images": False,
    "split_index": 0,
    "split_count": 1,
    "batch_size": 1,
    "test_mode": False,
}
EVAL_FLAGS = [
    (["--arch", R101], "arch", R101),
    (["--snapshot", "a b.pth"], "snapshot", "a b.pth"),
    (["--dataset", "camvid"], "dataset", "camvid"),
    (["--dataset", "bdd"], "dataset", "bdd100k"),
    (["--dataset_dir", "some where"], "data_root", "some where"),
    (["--data_root", "some where"], "data_root", "some where"),
    (["--split", "test"], "split", "test"),
    (["--cv_split", "1"], "cv_split", 1),
    (["--inference_mode", "sliding"], "inference_mode", "sliding"),
    (["-im", "sliding"], "inference_mode", "sliding"),
    (["--inference_mode", "whole"], "inference_mode", "whole"),
    (["--inference_mode", "pooling"], "inference_mode", "whole"),
    (["-im", "pooling"], "inference_mode", "whole"),
    (["--scales", "0.5,1.0,2.0"], "scales", (0.5, 1.0, 2.0)),
    (["--scales", "0.5,1.0", "--single_scale"], "scales", (1.0,)),
    (["--flip"], "flip", True),
    (["--flip", "--no_flip"], "flip", False),
    (["--flip", "--no-flip"], "flip", False),
    (["--inference_mode", "sliding", "--sliding_overlap", "0.5"], "sliding_overlap", 0.5),
    (["--inference_mode", "sliding", "--crop_size", "1024"], "crop_size", 1024),
    (["--base_size", "2048"], "base_size", 2048),
    (["--dump_images"], "dump_images", True),
    (["--ckpt_path", "out put"], "save_dir", "out put"),
    (["--save_dir", "out put"], "save_dir", "out put"),
    (["--exp_name", "first"], "exp_name", "first"),
    (["--split_count", "8", "--split_index", "7"], "split_index", 7),
    (["--split_count", "8"], "split_count", 8),
    (["--num_workers", "0"], "num_workers", 0),
    (["--batch_size", "4"], "batch_size", 4),
    (["--test_mode"], "test_mode", True),
    (["--resume"], "resume", True),
    (["--boundary"], "boundary", True),
    (["--eval_thresholds", "0.1,0.2", "--boundary"], "eval_thresholds", (0.1, 0.2)),
    (["--bootstrap", "0"], "bootstrap", 0),
]
EVAL_MEANINGLESS = [
    *LOCAL_RANK,
    ["--dataset_cls", "cityscapes"],
    ["--mode", "fine"],
    ["--dist_bn"],
    ["--profile"],
    ["--fixed_aspp_pool"],
    ["--trunk", "resnet101"],
]
EVAL_NEEDED = ["--snapshot", "model.pth", "--save_dir", "out"]

DEMO_NEEDED = ["--demo_folder", "in", "--snapshot", "model.pth"]
DEMO_FLAGS = [
    (["--demo_folder", "a b"], "source", "a b"),
    (["--demo_floder", "a b"], "source", "a b"),
    (["--snapshot", "other.pth"], "snapshot", "other.pth"),
    (["--arch", R101], "arch", R101),
    (["--save_dir", "out put"], "save_dir", "out put"),
]


def train(*argv: str) -> dict:
    return config.parse_train(argv).to_dict()


def evaluate(*argv: str) -> dict:
    return dataclasses.asdict(config.parse_eval([*EVAL_NEEDED, *argv])[0])


def name_of(argv: object) -> str | None:
    return " ".join(argv) if isinstance(argv, list) else None


@pytest.mark.parametrize(("option", "value"), TRAIN_DEFAULTS.items())
def test_train_default(option, value):
    assert train()[option] == value


@pytest.mark.parametrize(("argv", "option", "value"), TRAIN_FLAGS, ids=name_of)
def test_train_flag(argv, option, value):
    parsed = config.parse_train(argv)
    assert parsed.to_dict()[option] == value
    assert type(parsed.to_dict()[option]) is type(value)
    assert not parsed.notes


@pytest.mark.parametrize("argv", TRAIN_FLAGS, ids=lambda row: name_of(row[0]))
def test_train_flag_leaves_the_others_alone(argv):
    flags, option, _ = argv
    extra = {"restore_optimizer": {"snapshot"}, "amsgrad": {"optimizer"}}.get(option, set())
    extra |= {"loss"} if option in OLD_NAMES else set()
    before, after = train(), train(*flags)
    assert {name for name in before if before[name] != after[name]} <= {option} | extra


@pytest.mark.parametrize("option", TRAIN_SWITCHES)
@pytest.mark.parametrize("form", ["--no-{}", "--no_{}"])
def test_train_switch_off(option, form):
    assert train("--adam", f"--{option}", form.format(option))[option] is False
    assert train("--adam", form.format(option), f"--{option}")[option] is True


@pytest.mark.parametrize(
    ("argv", "blur"), [([], "gaussian"), (["--bblur"], "bilateral"), (["--no-gblur"], "off"), (["--no_gblur"], "off")]
)
def test_blur(argv, blur):
    assert config.parse_train(argv).augment.blur == blur


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ([], "ce"),
        (["--ohem"], "ohem"),
        (["--img_wt_loss"], "image_weighted"),
        (["--jointwtborder"], "relaxed_boundary"),
        (["--jointwtborder", "--ohem"], "relaxed_boundary"),
        (["--loss", "relaxed_boundary", "--ohem"], "relaxed_boundary"),
        *((["--loss", name], name) for name in list_losses()),
    ],
)
def test_loss_that_the_flags_name(argv, name):
    assert config.parse_train(argv).loss.name == name


@pytest.mark.parametrize("argv", TRAIN_MEANINGLESS, ids=name_of)
def test_train_meaningless_flag_leaves_one_note(argv):
    parsed = config.parse_train(argv)
    flag = argv[0].split("=")[0]
    assert len(parsed.notes) == 1
    assert parsed.notes[0].startswith(f"{flag} ")
    assert parsed.to_dict() == train()


def test_the_note_on_sfnet_lite_s_auxiliary_loss_says_that_nothing_used_it():
    lite = "network.sfnet_resnet.DeepR18_SFV2_deeply_dsn_FA_Atten"
    for arch, words in ((lite, "no part of SFNet-Lite"), (R101, "whenever the model has auxiliary heads")):
        (note,) = config.parse_train(["--arch", arch, "--fpn_dsn_loss"]).notes
        assert note.startswith("--fpn_dsn_loss is accepted and has no effect: ") and words in note


@pytest.mark.parametrize(
    ("argv", "noted"),
    [
        (["--ohem_thresh", "0.6", "--wt_bound", "1.0"], ["--ohem_thresh"]),
        (["--ohem", "--ohem_thresh", "0.6"], []),
        (["--img_wt_loss", "--strict_bdr_cls", "1", "--wt_bound", "2"], ["--strict_bdr_cls"]),
        (["--jointwtborder", "--ohem", "--ohem_thresh", "0.6", "--rlx_off_epoch", "3"], []),
        (["--jointwtborder", "--ohem", "--ohem_thresh", "0.6"], ["--ohem", "--ohem_thresh"]),
        (["--rlx_off_epoch", "3"], ["--rlx_off_epoch"]),
    ],
)
def test_options_of_other_losses_are_said_to_have_no_effect(argv, noted):
    notes = config.parse_train(argv).loss.notes()
    assert [note.split()[0] for note in notes] == noted


@pytest.mark.parametrize(
    ("argv", "noted"),
    [
        (["--lr_schedule", "scl-poly"], ["--lr_schedule"]),
        (["--lr_schedule", "scl-poly", "--jointwtborder", "--rlx_off_epoch", "3"], []),
        (["--adam", "--momentum", "0.5"], ["--momentum"]),
        (["--momentum", "0.5", "--adamw"], ["--momentum"]),
        (["--momentum", "0.5"], []),
        (["--tb_tag", "a"], ["--tb_tag"]),
        (["--tb_tag", "a", "--tb_path", "b"], []),
        (["--corruptions", "fog"], ["--corruptions"]),
        (["--corruptions", "fog", "--augment_corruption", "0.5"], []),
        (["--teacher_weight", "2", "--partial"], ["--teacher_weight", "--partial"]),
        (["--freeze_trunk", "--encoder_lr", "0.1"], ["--encoder_lr"]),
        (["--lr_schedule", "cosine", "--poly_exp", "0.9", "--repoly", "2"], ["--poly_exp", "--repoly"]),
        (["--class_uniform_pct", "0", "--class_uniform_tile", "64"], ["--class_uniform_tile"]),
    ],
)
def test_options_without_effect_are_said(argv, noted):
    assert [note.split()[0] for note in config.parse_train(argv).idle()] == noted


def test_thresholds_without_a_boundary_score_are_said_to_have_no_effect():
    argv = [*EVAL_NEEDED, "--arch", R101, "--eval_thresholds", "0.01"]
    assert config.parse_eval(argv)[0].notes() == ["--eval_thresholds: no effect without --boundary"]
    assert config.parse_eval([*argv, "--boundary"])[0].notes() == []


@pytest.mark.parametrize(
    "argv",
    [
        ["--max_epoch", str(2**63)],
        ["--max_iters", str(10**13)],
        ["--worker_timeout", str(10**14)],
        ["--eval_thresholds", "1e308"],
    ],
)
def test_numbers_that_nothing_can_hold_are_refused(argv):
    with pytest.raises(OptionError, match=argv[0]):
        config.parse_train(argv)


def test_scales_that_no_image_can_have_are_refused():
    with pytest.raises(OptionError, match="--scales"):
        config.parse_eval([*EVAL_NEEDED, "--arch", R101, "--scales", "1e308"])


def test_windows_of_whole_images_are_said_to_have_no_effect():
    for mode, noted in (
        ("whole", ["--crop_size, --sliding_overlap: no effect, because --inference_mode is whole"]),
        ("sliding", []),
    ):
        argv = [*EVAL_NEEDED, "--arch", R101, "--inference_mode", mode, "--crop_size", "64", "--sliding_overlap", "0.5"]
        assert config.parse_eval(argv)[0].notes() == noted


def test_old_evaluations_flipped():
    def line(*argv):
        return config.parse_eval([*EVAL_NEEDED, *argv])[0].describe_protocol()

    assert "--scales 1 --no_flip (the releases' eval.py flipped" in line("--arch", R101)
    assert "--scales 1 --no_flip --base_size" in line("--arch", "fenet_r101")
    assert "--crop_size 512 --sliding_overlap 0.333 --scales 0.5,1 --flip --base_size" in line(
        "--arch", R101, "--flip", "--inference_mode", "sliding", "--crop_size", "512", "--scales", "0.5,1.0"
    )


def test_notes_of_one_parse_do_not_reach_the_next():
    config.parse_train(["--apex", "--scf"])
    assert config.parse_train([]).notes == []
    assert len(config.parse_train(["--apex", "--scf"]).notes) == 2


@pytest.mark.parametrize("flag", ["--joint_edgeseg_loss", "--icnet_loss"])
def test_refused_with_the_reason(flag):
    with pytest.raises(OptionError, match=f"{flag}: .*not part of this family"):
        config.parse_train([flag])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--no_such_option"], "--no_such_option"),
        (["--crop"], "--crop"),  # an abbreviation
        (["--lr", "fast"], "--lr.*fast"),
        (["--kernels", "cuda"], "--kernels.*cuda"),
        (["--max_epoch", "0"], "--max_epoch 0"),
        (["--class_uniform_pct", "1.5"], "--class_uniform_pct 1.5"),
        (["--crop_size", "1,2,3"], "--crop_size.*1,2,3"),
        (["--restore_optimizer"], "--snapshot"),
        (["--exp", "../elsewhere"], "--exp"),
        (["--compile", "--checkpoint_activations"], "--compile --checkpoint_activations"),
        (["--compile", "--kernels", "triton"], "--compile --kernels triton"),
        *MISTAKES,
    ],
)
def test_train_refuses(argv, message):
    with pytest.raises(OptionError, match=message):
        config.parse_train(argv)


@pytest.fixture(scope="module")
def looked_once() -> None:
    """What a process reads once and keeps: its share of the cores, libraries that a model needs."""
    config.parse_train(["--norm", "group"])


@pytest.fixture
def touched(monkeypatch, looked_once) -> Iterator[list]:
    """What is opened, made, connected or joined meanwhile; Python's own files apart."""
    found, watching = [], True

    def watch(event: str, args: tuple) -> None:
        own = event == "open" and str(args[0]).endswith((".py", ".pyc", ".so"))
        if watching and event in ("open", "os.mkdir", "socket.connect", "socket.bind") and not own:
            found.append((event, args))

    sys.addaudithook(watch)
    monkeypatch.setattr("utils.distributed.job", lambda *args: found.append(("job", args)))
    yield found
    watching = False


@pytest.mark.parametrize(("argv", "message"), MISTAKES, ids=str)
def test_a_mistake_touches_nothing(argv, message, touched, capsys):
    code, seen = train_program.main(argv), list(touched)
    assert code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not seen


@pytest.mark.parametrize(("option", "value"), EVAL_DEFAULTS.items())
def test_eval_default(option, value):
    assert evaluate()[option] == value


@pytest.mark.parametrize(("argv", "option", "value"), EVAL_FLAGS, ids=name_of)
def test_eval_flag(argv, option, value):
    options, notes = config.parse_eval([*EVAL_NEEDED, *argv])
    assert getattr(options, option) == value
    assert not notes


@pytest.mark.parametrize("argv", EVAL_MEANINGLESS, ids=name_of)
def test_eval_meaningless_flag_leaves_one_note(argv):
    options, notes = config.parse_eval([*EVAL_NEEDED, *argv])
    assert len(notes) == 1
    assert notes[0].startswith(f"{argv[0].split('=')[0]} ")
    assert dataclasses.asdict(options) == evaluate()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--save_dir", "out"], "--snapshot"),
        (["--snapshot", "model.pth"], "--save_dir"),
        ([*EVAL_NEEDED, "--no_such_option"], "--no_such_option"),
        ([*EVAL_NEEDED, "--inference_mode", "diagonal"], "--inference_mode.*diagonal"),
        ([*EVAL_NEEDED, "--split_count", "2", "--split_index", "2"], "--split_index 2"),
    ],
)
def test_eval_refuses(argv, message):
    with pytest.raises(OptionError, match=message):
        config.parse_eval(argv)


@pytest.mark.parametrize("parse", [config.parse_eval, config.parse_demo])
def test_merging_is_said_to_mean_nothing_where_a_model_gives_labels(parse):
    argv = [*(EVAL_NEEDED[2:] if parse is config.parse_eval else DEMO_NEEDED[:2]), "--merge", "logit", "--snapshot"]
    assert parse([*argv, "model.pth"])[1] == []
    (note,) = parse([*argv, "model.onnx"])[1]
    assert note.startswith("--merge: no effect") and "model.onnx" in note


@pytest.mark.parametrize(("argv", "option", "value"), DEMO_FLAGS, ids=name_of)
def test_demo_flag(argv, option, value):
    options, notes = config.parse_demo([*DEMO_NEEDED, *argv])
    assert getattr(options, option) == value
    assert not notes


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (DEMO_NEEDED[2:], "--demo_folder"),
        ([*DEMO_NEEDED, "--no_such_option"], "--no_such_option"),
    ],
)
def test_demo_refuses(argv, message):
    with pytest.raises(OptionError, match=message):
        config.parse_demo(argv)


@pytest.mark.parametrize("launcher", [[], *LOCAL_RANK], ids=name_of)
def test_training_line_in_the_field(launcher):
    line = f"""--dataset cityscapes --cv 0 --arch {R101} --class_uniform_pct 0.5 --class_uniform_tile 1024 --lr 0.01
        --lr_schedule poly --poly_exp 1.0 --repoly 1.5 --rescale 1.0 --syncbn --sgd --ohem --fpn_dsn_loss
        --crop_size 1024 --scale_min 0.5 --scale_max 2.0 --color_aug 0.25 --gblur --max_epoch 300
        --wt_bound 1.0 --bs_mult 1 --apex --exp NAME --ckpt DIR/ --tb_path DIR/"""
    parsed = config.parse_train([*launcher, *line.split()])
    changed = {
        "arch": R101,
        "lr": 0.01,
        "syncbn": True,
        "ohem": True,
        "loss": "ohem",
        "crop_size": 1024,
        "max_epoch": 300,
        "bs_mult": 1,
        "exp": "NAME",
        "ckpt": "DIR/",
        "tb_path": "DIR/",
    }
    assert parsed.to_dict() == train() | changed
    assert str(parsed.run.folder) == "DIR/NAME"
    assert len(parsed.notes) == 2 + bool(launcher)  # --fpn_dsn_loss, --apex


def test_submission_line_in_the_field():
    line = f"""--dataset cityscapes --arch {R101} --inference_mode sliding --scales {SCALES} --split test --cv_split 0
        --dump_images --ckpt_path OUT --snapshot FILE"""
    options, notes = config.parse_eval(line.split())
    assert not notes
    assert dataclasses.asdict(options) == evaluate() | {
        "dataset": "cityscapes",
        "arch": R101,
        "inference_mode": "sliding",
        "scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        "split": "test",
        "dump_images": True,
        "save_dir": "OUT",
        "snapshot": "FILE",
    }
