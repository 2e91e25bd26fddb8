"""Hostile files (tests/data/bad) given to the command: one clear message each, no output, the input untouched."""

import json
import pathlib
import runpy

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "data" / "bad"
FORMATS = ["safetensors", "gguf"]


def reasons(format_name):
    return json.loads((FOLDER / format_name / "reasons.json").read_text(encoding="utf-8"))


FILES = [FOLDER / format_name / file for format_name in FORMATS for file in reasons(format_name)]


def assert_refused(result, path, expected):
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert result.stderr.startswith(f"headrace: error: {path}: ") and result.stderr.count("\n") == 1
    assert result.stderr.removesuffix("\n").isprintable()
    assert expected["error"] in result.stderr
    if "tensor" in expected:
        assert f"tensor '{expected['tensor']}'" in result.stderr
    if expected.get("offset") is not None:
        assert f": at byte {expected['offset']}: " in result.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_refused(headrace, output, path):
    expected = reasons(path.parent.name)[path.name]
    before, changed = path.read_bytes(), path.stat().st_mtime_ns
    assert_refused(headrace("inspect", path), path, expected)
    assert_refused(headrace("convert", path, "-o", output / "out.gguf", "--type", "q8_0"), path, expected)
    assert_refused(headrace("convert", path, "-o", output / "out.safetensors"), path, expected)
    assert list(output.iterdir()) == []
    assert path.read_bytes() == before and path.stat().st_mtime_ns == changed


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_maker_makes_these_files(format_name):
    made = runpy.run_path(str(FOLDER / "make.py"))[format_name]()
    folder = FOLDER / format_name
    assert made.reasons == reasons(format_name)
    there = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "reasons.json"}
    assert {f"{name}.{format_name}": content for name, content in made.files.items()} == there


def test_the_folder_stays_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3_000_000
