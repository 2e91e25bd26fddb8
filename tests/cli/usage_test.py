"""The command line itself: help, version, wrong usage, and how mistakes are explained."""

import json
import os
import pty
import subprocess

import pytest
import weights


@pytest.mark.parametrize("command", ["convert", "inspect", "verify", "devices"])
def test_help_has_examples(headrace, command):
    result = headrace(command, "--help")
    assert result.returncode == 0
    assert f"  headrace {command} " in result.stdout
    assert "Examples:" in result.stdout
    assert "Exit status" in result.stdout
    assert result.stderr == ""


def test_help_lists_every_option(headrace):
    options = {
        "convert": "-m --model -o --type --to --architecture --threads -t --memory --force --nonfinite --dry-run "
        "--json --quiet -q",
        "inspect": "--tensors --metadata --json",
        "verify": "--max-rmse --threads --memory --json --quiet --tensors",
    }
    for command, names in options.items():
        text = headrace(command, "--help").stdout
        for name in names.split():
            assert name in text, f"{command} --help doesn't mention {name}"


def test_main_help(headrace):
    result = headrace("--help")
    assert result.returncode == 0
    for command in ["convert", "inspect", "verify"]:
        assert command in result.stdout


def test_version(headrace):
    result = headrace("--version")
    assert result.returncode == 0
    name, number = result.stdout.split()
    assert name == "headrace"
    assert number.count(".") == 2


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["no command", "convert, inspect, verify, split, merge"]),
        (["konvert"], ["unknown command 'konvert'", "did you mean convert?"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["convert"], ["no input"]),
        (["convert", "MODEL"], ["-o"]),
        (["convert", "MODEL", "-o", "a.gguf", "--frobnicate"], ["--frobnicate"]),
        (["convert", "MODEL", "-o", "a.bin"], ["a.bin", "--to"]),
        (["convert", "MODEL", "-o", "a.gguf", "--to", "onnx"], ["--to", "onnx", "gguf or safetensors"]),
        (["convert", "MODEL", "-o", "a.gguf", "--threads", "many"], ["--threads", "many"]),
        (["convert", "MODEL", "-o", "a.gguf", "-t", "-3"], ["-3"]),
        (["convert", "MODEL", "-o", "a.gguf", "-t", "99999"], ["--threads", "99999"]),
        (["convert", "MODEL", "-o", "a.gguf", "--memory", "lots"], ["--memory", "lots", "64MiB"]),
        (["convert", "MODEL", "-o", "a.gguf", "--memory", "0"], ["--memory"]),
        (["convert", "MODEL", "-o", "a.gguf", "--nonfinite", "drop"], ["--nonfinite", "refuse or keep"]),
        (["convert", "MODEL", "-o", "a.gguf", "--type"], ["--type"]),
        (["inspect"], ["no file"]),
        (["inspect", "MODEL", "--memory", "-"], ["--memory"]),
        (["verify", "MODEL"], ["two files"]),
        (["verify", "MODEL", "MODEL", "--max-rmse", "tiny"], ["--max-rmse", "tiny"]),
        (["verify", "MODEL", "MODEL", "--max-rmse", "nan"], ["--max-rmse", "nan"]),
        (["verify", "MODEL", "MODEL", "--max-rmse=-1"], ["--max-rmse", "-1"]),
    ],
)
def test_wrong_usage(headrace, model, tmp_path, arguments, words):
    before = sorted(tmp_path.iterdir())
    result = headrace(*[str(model) if a == "MODEL" else a for a in arguments])
    assert result.returncode == 2, result
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("headrace: error: ")
    assert second.startswith("Try 'headrace") and "--help" in second
    for word in words:
        assert word in first
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "typed, meant",
    [("q4-0", "q4_0"), ("Q8_0_M", "q8_0"), ("q8", "q8_0"), ("fp16", "f16"), ("f_32", "f32"), ("BF_16", "bf16")],
)
def test_mistyped_types_are_suggested(headrace, model, typed, meant):
    result = headrace("convert", model, "-o", "x.gguf", "--type", typed)
    assert result.returncode == 2
    assert f"unknown type '{typed}' (did you mean {meant}" in result.stderr
    listed = result.stderr.split("types: ")[1].splitlines()[0].split(", ")
    assert meant in listed and "f32" in listed


def test_types_like_no_other_get_the_list_alone(headrace, model):
    result = headrace("convert", model, "-o", "x.gguf", "--type", "something")
    assert result.returncode == 2
    assert "did you mean" not in result.stderr
    assert "q8_0" in result.stderr


def test_types_that_cannot_be_made_are_refused(headrace, model):
    for name in ["q8_K", "int32", "Q8_1"]:
        result = headrace("convert", model, "-o", "x.gguf", "--type", name)
        assert result.returncode == 2
        assert "this build can't make" in result.stderr
        assert "q8_0" in result.stderr


def test_wrong_usage_as_json(headrace):
    result = headrace("convert", "x.safetensors", "-o", "x.gguf", "--type", "q8_X", "--json")
    assert result.returncode == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "invalid_argument"
    assert "did you mean" in error["message"]
    assert set(error) == {"code", "message", "file", "tensor", "offset", "expected", "found", "hint"}


def test_nothing_is_said_when_the_reader_goes_away(headrace, model):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = headrace("inspect", model, "--tensors", capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert result.returncode == 0
    assert result.stderr == ""


def test_full_output_is_an_error(headrace, model):
    with open("/dev/full", "w") as full:
        result = headrace("inspect", model, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert "can't write to standard output" in result.stderr


def test_closed_streams_never_become_the_output_file(binary, model, output):
    """With 1 and 2 closed, the first files opened would get these numbers, and messages would land in them."""
    command = [binary, "convert", str(model), "-o", str(output / "x.safetensors"), "--json"]
    subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], timeout=60, check=False)
    assert weights.read_safetensors(output / "x.safetensors") == weights.read_safetensors(model)


@pytest.mark.parametrize("setting, coloured", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_errors_are_coloured_on_terminals_only(binary, setting, coloured):
    main, other = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | setting
    subprocess.run([binary, "inspect", "absent"], stderr=other, env=environment, timeout=60, check=False)
    os.close(other)
    text = os.read(main, 4096)
    os.close(main)
    assert (b"\x1b[" in text) == coloured
    assert b"absent" in text


def test_errors_are_not_coloured_in_pipes(headrace):
    result = headrace("inspect", "absent", env=os.environ | {"TERM": "xterm"})
    assert result.returncode == 1
    assert "\x1b" not in result.stderr
