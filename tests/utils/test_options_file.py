import json

import pytest

import config
from utils.errors import OptionError
from utils.options_file import as_arguments


def write(path, content) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_what_a_config_holds_can_be_given_back(tmp_path):
    given = ["--lr", "0.3", "--crop_size", "32,64", "--no-gblur", "--ohem", "--strict_bdr_cls", "1,2", "--adamw"]
    options = config.parse_train([*given, "--exp", "odd name", "--norm", "group"]).to_dict()
    file = write(tmp_path / "a.json", options)
    assert config.parse_train(["--options_from", file]).to_dict() == options


def test_the_command_line_wins(tmp_path):
    file = write(tmp_path / "a.json", {"lr": 0.3, "gblur": False, "optimizer": "adam", "bs_mult": None})
    parsed = config.parse_train(["--sgd", f"--options_from={file}", "--gblur"]).to_dict()
    assert (parsed["lr"], parsed["gblur"], parsed["optimizer"], parsed["bs_mult"]) == (0.3, True, "sgd", 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"lr": 1, "learning_rate": 2}, "learning_rate: no such option"),
        ("{", "cannot be read as JSON"),
        ([1], "holds no options"),
        ({"lr": "fast"}, "--lr"),
    ],
)
def test_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(OptionError, match=words):
        config.parse_train(["--options_from", write(tmp_path / "a.json", content)])


@pytest.mark.parametrize("argv", [["--options_from"], ["--options_from", "missing.json"]])
def test_no_file(argv):
    with pytest.raises(OptionError, match="--options_from"):
        config.parse_train(argv)


def test_arguments():
    options = {"a": True, "b": False, "c": None, "d": [1, 2], "e": "x y"}
    assert as_arguments(options) == ["--a", "--no-b", "--d=1,2", "--e=x y"]
