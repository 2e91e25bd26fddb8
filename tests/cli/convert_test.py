"""headrace convert: what it writes, and what each option does."""

import json
import os

import pytest
import weights


def block_bytes(elements, block, size):
    return elements // block * size


def test_a_copy_keeps_everything(headrace, model, output):
    result = headrace("convert", model, "-o", output / "copy.safetensors")
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert weights.read_safetensors(output / "copy.safetensors") == weights.read_safetensors(model)


def test_round_trip_through_gguf(headrace, model, output):
    assert headrace("convert", model, "-o", output / "m.gguf").returncode == 0
    assert (output / "m.gguf").read_bytes()[:4] == b"GGUF"
    assert headrace("convert", output / "m.gguf", "-o", output / "back.safetensors").returncode == 0
    assert weights.read_safetensors(output / "back.safetensors") == weights.read_safetensors(model)


@pytest.mark.parametrize("spelling", ["q8_0", "Q8_0"])
def test_type(headrace, model, output, spelling):
    result = headrace("convert", model, "-o", output / "q.gguf", "--type", spelling)
    assert result.returncode == 0, result.stderr
    tensors = {t["name"]: t for t in json.loads(headrace("inspect", output / "q.gguf", "--json").stdout)["tensors"]}
    assert tensors["blocks.0.weight"]["dtype"] == "Q8_0"
    assert tensors["blocks.0.weight"]["bytes"] == block_bytes(8 * 256, 32, 34)
    assert tensors["positions"]["dtype"] == "I32"
    assert tensors["norm.bias"]["dtype"] == "F32"


def test_half_precision_has_the_right_bits(headrace, model, output):
    assert headrace("convert", model, "-o", output / "h.safetensors", "--type", "f16").returncode == 0
    dtype, shape, data = weights.read_safetensors(output / "h.safetensors")["blocks.0.weight"]
    assert (dtype, shape) == ("F16", (8, 256))
    assert data == weights.random_floats(8, 256, seed=1).astype("float16").tobytes()


@pytest.mark.parametrize("flag", ["-m", "--model"])
def test_input_as_an_option(headrace, model, output, flag):
    assert headrace("convert", flag, model, "-o", output / "m.gguf").returncode == 0
    assert (output / "m.gguf").exists()


def test_input_given_twice(headrace, model, output):
    result = headrace("convert", model, "-m", model, "-o", output / "m.gguf")
    assert result.returncode == 1
    assert "both have it" in result.stderr
    assert os.listdir(output) == []


def test_to_overrides_the_suffix(headrace, model, output):
    assert headrace("convert", model, "-o", output / "weights.bin", "--to", "gguf").returncode == 0
    assert (output / "weights.bin").read_bytes()[:4] == b"GGUF"


def test_architecture(headrace, model, output):
    assert headrace("convert", model, "-o", output / "m.gguf", "--architecture", "flux").returncode == 0
    pairs = json.loads(headrace("inspect", output / "m.gguf", "--json").stdout)["metadata"]
    assert {"key": "general.architecture", "type": "string", "value": "flux"} in pairs


def test_threads_and_memory_do_not_change_the_bytes(headrace, model, output):
    first = None
    for number, options in enumerate([["-t", "1"], ["--threads", "3"], ["--memory", "64MiB"], ["--memory", "1G"]]):
        path = output / f"{number}.gguf"
        result = headrace("convert", model, "-o", path, "--type", "q4_0", *options)
        assert result.returncode == 0, result.stderr
        first = first or path.read_bytes()
        assert path.read_bytes() == first


def test_too_little_memory_fails(headrace, model, output):
    result = headrace("convert", model, "-o", output / "m.gguf", "--type", "q8_0", "--memory", "1k")
    assert result.returncode == 1
    assert result.stderr.startswith("headrace: error: ")
    assert os.listdir(output) == []


def test_an_existing_output_needs_force(headrace, model, output):
    path = output / "m.gguf"
    path.write_text("precious")
    result = headrace("convert", model, "-o", path)
    assert result.returncode == 1
    assert "m.gguf" in result.stderr
    assert path.read_text() == "precious"
    assert headrace("convert", model, "-o", path, "--force").returncode == 0
    assert path.read_bytes()[:4] == b"GGUF"


def test_the_input_is_never_the_output(headrace, model):
    before = model.read_bytes()
    assert headrace("convert", model, "-o", model, "--force").returncode == 1
    assert model.read_bytes() == before


def test_nonfinite(headrace, tmp_path, output):
    numbers = weights.random_floats(2, 64)
    numbers[1, 5] = float("inf")
    source = weights.write_safetensors(tmp_path / "inf.safetensors", {"broken.weight": numbers})
    for options in [[], ["--nonfinite", "refuse"]]:
        result = headrace("convert", source, "-o", output / "m.gguf", "--type", "q8_0", *options)
        assert result.returncode == 1
        assert "broken.weight" in result.stderr
        assert os.listdir(output) == []
    result = headrace("convert", source, "-o", output / "m.gguf", "--type", "q8_0", "--nonfinite", "keep")
    assert result.returncode == 0, result.stderr
    assert (output / "m.gguf").exists()


def test_summary(headrace, model, output):
    result = headrace("convert", model, "-o", output / "m.gguf", "--type", "q8_0")
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"headrace: wrote {output / 'm.gguf'}: ")
    assert "GB/s" in last and "of the size" in last


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet(headrace, model, output, flag):
    result = headrace("convert", model, "-o", output / "m.gguf", "--type", "q8_0", flag)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (output / "m.gguf").exists()


def test_quiet_still_shows_errors(headrace, output):
    result = headrace("convert", "absent.safetensors", "-o", output / "m.gguf", "-q")
    assert result.returncode == 1
    assert "absent.safetensors" in result.stderr


def test_json_report(headrace, model, output):
    path = output / "m.gguf"
    report = json.loads(headrace("convert", model, "-o", path, "--type", "q8_0", "--json").stdout)
    assert report["inputs"] == [{"file": str(model), "prefix": "", "format": "safetensors"}]
    assert report["output"] == str(path)
    assert (report["to"], report["type"]) == ("gguf", "Q8_0")
    assert report["tensor_count"] == 5
    assert report["bytes_written"] == report["output_bytes"] == path.stat().st_size
    assert report["source_bytes"] == sum(len(data) for _, _, data in weights.read_safetensors(model).values())
    assert sum(t["tensors"] for t in report["types"]) == 5
    assert report["seconds"] >= 0


def test_a_missing_input(headrace, output):
    result = headrace("convert", "absent.safetensors", "-o", output / "m.gguf")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("headrace: error: absent.safetensors: ")


def test_errors_as_json(headrace, tmp_path, output):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 64)
    result = headrace("convert", broken, "-o", output / "m.gguf", "--json")
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "format"
    assert error["file"] == str(broken)
    assert error["message"] and error["message"] in result.stderr
    assert os.listdir(output) == []


def test_hostile_names_are_escaped(headrace, tmp_path, output):
    numbers = weights.random_floats(2, 64)
    numbers[0, 0] = float("nan")
    source = weights.write_safetensors(tmp_path / "x.safetensors", {"a\x1b[31mred\nline": numbers})
    result = headrace("convert", source, "-o", output / "m.gguf", "--type", "q8_0")
    assert result.returncode == 1
    assert "\x1b" not in result.stderr
    assert "\\u001b[31mred\\nline" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_notes_stay_short(headrace, tmp_path, output):
    model = weights.write_gguf(tmp_path / "m.gguf", [], {"n" * 100_000: weights.random_floats(32)})
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "f16")
    assert result.returncode == 0
    assert "a name longer than 63 bytes" in result.stderr
    assert len(result.stderr) < 2000


def test_records_that_fit_no_tensor_take_no_time(headrace, tmp_path, output):
    shape = ("array", ("i32", [1, 2, 3, 4, 5]))
    pairs = [(f"comfy.gguf.orig_shape.gone.{i}", *shape) for i in range(50_000)]
    model = weights.write_gguf(tmp_path / "m.gguf", pairs, {"a": weights.random_floats(32)})
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "f16", timeout=10)
    assert result.returncode == 0
    assert "metadata that fits no tensor is left out: 50000 pairs" in result.stderr and len(result.stderr) < 2000
    assert headrace("inspect", output / "o.gguf", "--metadata", "--json").stdout.count("orig_shape") == 0
