"""What DEVELOPERS.md promises of every program: exit codes, and one line that names file or flag and the remedy."""

import pytest

from tests.campaigns.fuzz.options import base, parser_of
from tests.entry_points import programs

pytestmark = pytest.mark.usefixtures("small_roofline")
PROGRAMS = programs()
FLAGS = {name: set(parser_of(main)._option_string_actions) for name, main in PROGRAMS.items()}
OUTPUTS = {"train": "--ckpt", "eval": "--save_dir", "demo_folder": "--save_dir", "export": "--out", "compare": "--json"}
OUTPUTS |= {"make_receipt": "--out", "benchmark": "--json", "show_samples": "--out", "doctor": "--json"}
OUTPUTS |= {"profile_step": "--json", "configure": "--out"}
OUTPUTS |= dict.fromkeys(("label_faults", "microscope", "robustness", "study"), "--out")
NEEDS_DATA = ("--data_root", "--source")
CHECKLISTS = ("doctor",)  # say what is wrong in lines of their own
# taken, but read by another mode of the program than its plain command line, or by train.py alone
UNREAD = {("export", "--data_root"), ("benchmark", "--snapshot"), ("benchmark", "--data_root")}
UNREAD |= {("show_samples", flag) for flag in ("--snapshot", "--resume", "--pretrained", "--device")}
UNREAD |= {("doctor", "--device")}  # the rehearsal reads it
UNREAD |= {("configure", "--device")}
UNREAD |= {
    (name, flag) for name in ("calibrate", "microscope", "robustness") for flag in ("--snapshot", "--resume")
}  # as the argument


def with_flag(*flags: str) -> list[tuple[str, str]]:
    return [
        (name, flag) for name, known in FLAGS.items() for flag in flags if flag in known and (name, flag) not in UNREAD
    ]


def changed(argv: list, flag: str, value: object) -> list[str]:
    """A command line whose `flag` has another value."""
    argv = [str(word) for word in argv]
    if flag in argv:
        place = argv.index(flag)
        argv[place : place + 2] = []
    return [*argv, flag, str(value)]


def ends(capfd, name: str, argv: list, code: int, *words: object) -> None:
    capfd.readouterr()
    assert PROGRAMS[name]([str(word) for word in argv]) == code
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    if name in CHECKLISTS and not lines:
        lines = [out]
    assert len(lines) == 1 and "Traceback" not in err, err
    for word in words:
        assert str(word) in lines[0], lines[0]


def test_every_program_is_here():
    assert {"train", "eval", "demo_folder", "export", "compare", "benchmark"} <= PROGRAMS.keys()
    for name, flags in FLAGS.items():
        assert "--help" in flags and "--debug" in flags, f"{name}: takes no --debug"


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_and_unknown_flags(name, world, tmp_path, capfd):
    with pytest.raises(SystemExit) as stop:
        PROGRAMS[name](["--help"])
    assert stop.value.code == 0 and "--debug" in capfd.readouterr().out
    ends(capfd, name, [*base(name, world, tmp_path / "out"), "--unknown"], 2, "--unknown", "--help")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_plain_command_lines_work(name, world, tmp_path, capfd):
    # otherwise the tests below would show nothing
    if name == "calibrate":
        pytest.skip(
            "no temperature fits a model that has learnt nothing; tests/scripts/test_calibrate.py has one that has"
        )
    code = PROGRAMS[name]([str(word) for word in base(name, world, tmp_path / "out")])
    assert code == 0, capfd.readouterr().err


@pytest.mark.parametrize(("name", "flag"), with_flag("--snapshot", "--resume", "--pretrained"))
def test_a_snapshot_that_cannot_be_read(name, flag, world, tmp_path, capfd):
    if name == "eval" and flag == "--resume":
        pytest.skip("a switch there")
    argv = base(name, world, tmp_path / "out")
    damaged, pipe = tmp_path / "damaged.pth", "/dev/zero"
    damaged.write_bytes(world.best.read_bytes()[:1000])
    (tmp_path / "text.pth").write_text("weights")
    missing = 2 if flag == "--pretrained" else 4  # it may be a name there
    ends(capfd, name, changed(argv, flag, tmp_path / "none.pth"), missing, "none.pth")
    for path in (tmp_path, damaged, tmp_path / "text.pth", pipe):
        ends(capfd, name, changed(argv, flag, path), 4, path)
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.suffix in (".pth", ".json", ".png")]
    assert not left


@pytest.mark.parametrize(("name", "flag"), with_flag(*NEEDS_DATA))
def test_data_that_is_missing_or_empty(name, flag, world, tmp_path, capfd):
    argv = base(name, world, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "none", tmp_path / "empty"):
        ends(capfd, name, changed(argv, flag, path), 3, path)


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, flag in OUTPUTS.items() if name in PROGRAMS])
def test_output_that_cannot_be_written(name, flag, world, tmp_path, capfd):
    (tmp_path / "file").write_text("of the user")
    argv = base(name, world, tmp_path / "out")
    ends(capfd, name, changed(argv, flag, tmp_path / "file" / "out.json"), 5, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "of the user"


@pytest.mark.parametrize(("name", "flag"), with_flag("--device"))
def test_a_device_that_is_not_there(name, flag, world, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ends(capfd, name, changed(base(name, world, tmp_path / "out"), flag, "cuda"), 5, "--device cuda")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_mistake_of_ours_is_one_line(name, world, tmp_path, capfd, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("utils.options.Parser.parse_args", broken)
    ends(capfd, name, base(name, world, tmp_path / "out"), 1, "internal: ZeroDivisionError: a mistake", "--debug")
