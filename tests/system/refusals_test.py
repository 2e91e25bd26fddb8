"""Inputs that can't be read and outputs that mustn't be written: a clear refusal, and nothing changed."""

import os
import pathlib
import shutil
import socket
import subprocess

import pytest

import bigfiles
import weights


@pytest.fixture
def folder(tmp_path):
    """An empty folder for outputs."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def model(tmp_path):
    return weights.write_safetensors(tmp_path / "model.safetensors", {"a.weight": weights.random_floats(64, 64)})


def assert_refused(result, *words):
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert result.stderr.startswith("headrace: error: ") and result.stderr.count("\n") == 1
    for word in words:
        assert str(word) in result.stderr


def other_names(model):
    """The input under other names."""
    link, hard, folder = model.with_name("link.safetensors"), model.with_name("hard.safetensors"), model.parent / "way"
    link.symlink_to(model)
    hard.hardlink_to(model)
    folder.symlink_to(model.parent)
    return {
        "itself": model,
        "relative": pathlib.Path(model.name),
        "roundabout": model.parent / "." / "out" / ".." / model.name,
        "symlink": link,
        "hard link": hard,
        "through a linked folder": folder / model.name,
    }


NAMES = ["itself", "relative", "roundabout", "symlink", "hard link", "through a linked folder"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extra", [[], ["--force"], ["--force", "--type", "f16"]])
def test_the_input_is_never_the_output(headrace, model, folder, name, extra):
    before = model.read_bytes()
    output = other_names(model)[name]
    assert_refused(headrace("convert", model, "-o", output, *extra), output, "is an input")
    assert model.read_bytes() == before
    assert bigfiles.listing(folder) == []


def test_an_existing_output_stays(headrace, model, folder):
    output = folder / "out.gguf"
    output.write_bytes(b"old")
    assert_refused(headrace("convert", model, "-o", output), output, "File exists", "--force")
    assert output.read_bytes() == b"old"
    assert headrace("convert", model, "-o", output, "--force").returncode == 0
    assert output.read_bytes()[:4] == b"GGUF"
    assert bigfiles.listing(folder) == ["out.gguf"]


def test_an_output_that_is_a_link(headrace, model, folder):
    target, link = folder / "target.gguf", folder / "link.gguf"
    link.symlink_to("target.gguf")
    assert headrace("convert", model, "-o", link, "-q").returncode == 0  # a link to nowhere: its target is made
    assert link.is_symlink() and target.read_bytes()[:4] == b"GGUF"
    target.write_bytes(b"old")
    assert_refused(headrace("convert", model, "-o", link), link, "--force")
    assert headrace("convert", model, "-o", link, "--force").returncode == 0
    assert link.is_symlink() and target.read_bytes()[:4] == b"GGUF"
    assert bigfiles.listing(folder) == ["link.gguf", "target.gguf"]


def test_a_folder_that_is_missing(headrace, model, folder):
    output = folder / "missing" / "out.gguf"
    assert_refused(headrace("convert", model, "-o", output), output, "No such file or directory")
    assert bigfiles.listing(folder) == []


def test_a_folder_that_is_a_file(headrace, model, folder):
    (folder / "file").write_bytes(b"x")
    assert_refused(headrace("convert", model, "-o", folder / "file" / "out.gguf"), "out.gguf", "Not a directory")
    assert (folder / "file").read_bytes() == b"x"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_output_that_is_a_folder(headrace, model, folder, force):
    output = folder / "out.gguf"
    output.mkdir()
    (output / "kept").write_bytes(b"kept")
    assert_refused(headrace("convert", model, "-o", output, *force), output)
    assert bigfiles.listing(folder) == ["out.gguf"] and (output / "kept").read_bytes() == b"kept"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_output_that_is_a_pipe(headrace, model, folder, force):
    output = folder / "out.gguf"
    os.mkfifo(output)
    assert_refused(headrace("convert", model, "-o", output, *force, timeout=20), output, "no regular file")
    assert output.is_fifo() and bigfiles.listing(folder) == ["out.gguf"]


def test_a_device_is_not_replaced(headrace, model):
    assert_refused(headrace("convert", model, "-o", "/dev/null", "--to", "gguf", "--force"), "/dev/null")
    assert pathlib.Path("/dev/null").is_char_device()


def test_names_as_long_as_they_can_be(headrace, model, folder):
    longest = "n" * 250 + ".gguf"
    assert headrace("convert", model, "-o", folder / longest).returncode == 0
    assert_refused(headrace("convert", model, "-o", folder / ("n" + longest)), "File name too long")
    assert bigfiles.listing(folder) == [longest]


def make_input(kind, path):
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))
    elif kind == "a link in a circle":
        path.symlink_to(path.name)
    elif kind != "missing":
        path.write_bytes(CONTENTS[kind])


CONTENTS = {
    "empty": b"",
    "one byte": b"G",
    "text": b"These are no weights.\n" * 20,
    "zeros": bytes(4096),
    "noise": bytes(i * 37 % 251 for i in range(4096)),
    "a zip file": b"PK\x03\x04" + bytes(400),
    "a pickle": b"\x80\x02}q\x00." + bytes(100),
}


@pytest.mark.parametrize("kind", ["missing", "a folder", "a pipe", "a socket", "a link in a circle", *CONTENTS])
@pytest.mark.parametrize("suffix", ["safetensors", "gguf"])
def test_inputs_that_are_no_checkpoints(headrace, folder, tmp_path, monkeypatch, kind, suffix):
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    source = tmp_path / f"in.{suffix}"
    make_input(kind, source)
    output = folder / "out.gguf"
    assert_refused(headrace("convert", source, "-o", output, timeout=20), source)
    assert_refused(headrace("inspect", source, timeout=20), source)
    if kind in ("a folder", "a pipe"):
        assert kind.removeprefix("a ") in headrace("inspect", source).stderr
    assert bigfiles.listing(folder) == []


def test_a_device_as_input(headrace, folder):
    assert_refused(headrace("convert", "/dev/zero", "-o", folder / "out.gguf", timeout=20), "/dev/zero")
    assert bigfiles.listing(folder) == []


def test_an_input_that_may_not_be_read(binary, tmp_path):
    folder = tmp_path / "secret"
    folder.mkdir()
    source = weights.write_safetensors(folder / "in.safetensors", {"a": weights.random_floats(4)})
    source.chmod(0)
    command = [binary, "convert", source, "-o", folder / "out.gguf"]
    if os.geteuid() == 0:  # root may read anything: give that up
        if not shutil.which("setpriv"):
            pytest.skip("as root, this needs setpriv")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert_refused(result, source, "Permission denied")
    assert bigfiles.listing(folder) == ["in.safetensors"]
