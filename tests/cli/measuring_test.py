"""headrace convert --measure and --report: what a conversion costs, tensor by tensor."""

import hashlib
import itertools
import json
import math

import gguf
import pytest
import weights
from narrow_floats import BF16, F8_E4M3, F8_E5M2, finite_bytes
from streams_test import convert_stream
from weights import np

THREADS = [1, 2, 7]
MEMORY = ["16MiB", "64MiB", "1GiB"]
TYPES = [["--type", "q8_0"], ["--type", "q4_K"], ["--type", "q4_0", "--imatrix", "ones"], ["--type", "f16"],
         ["--type", "bf16"]]  # fmt: skip


def tensors_of_all_types():
    floats = weights.random_floats
    return {
        "f32.weight": floats(30, 512, seed=1),
        "f16.weight": floats(64, 256, seed=2).astype(np.float16),
        "bf16.weight": floats(9, 768, seed=3).astype(BF16),
        "f64.weight": floats(17, 256, seed=4).astype(np.float64) * math.pi,
        "e4m3.weight": finite_bytes(F8_E4M3, 12, 256),
        "e5m2.weight": (floats(12, 256, seed=5)).astype(F8_E5M2),
        "cube.weight": floats(3, 4, 256, seed=6) ** 3,
        "odd.weight": floats(5, 77, seed=7),
        "vector.f16": floats(1000, seed=8).astype(np.float16),
        "vector.f32": floats(1000, seed=9),
        "scalar.f64": np.float64(math.pi).reshape(()),
        "zeros": np.zeros((8, 256), np.float32),
        "numbers": np.arange(40, dtype=np.int16),
    }


@pytest.fixture
def model(tmp_path):
    return weights.write_safetensors(tmp_path / "model.safetensors", tensors_of_all_types())


def strict(text):
    """JSON without the NaN and Infinity that Python would take."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def measured(headrace, output):
    """Converts; gives the path and the errors: {tensor: entry}."""

    def convert(model, *options, to="gguf"):
        path = output / f"measured.{to}"
        result = headrace("convert", model, "-o", path, "--force", "--measure", "--json", *options)
        assert result.returncode == 0, result.stderr
        return path, {error["name"]: error for error in strict(result.stdout)["errors"]}

    return convert


@pytest.fixture
def verified(headrace):
    """{tensor: entry} of headrace verify."""

    def compare(a, b):
        tensors = strict(headrace("verify", a, b, "--tensors", "--json").stdout)["tensors"]
        return {tensor["name"]: tensor for tensor in tensors}

    return compare


def assert_same_figures(errors, entries):
    changed = [name for name, entry in entries.items() if entry["first"] != entry["second"]]
    assert sorted(errors) == sorted(changed)
    for name, error in errors.items():
        entry = entries[name]
        assert (error["from"], error["to"], error["elements"]) == (entry["first"], entry["second"], entry["elements"])
        assert error["relative_rmse"] == pytest.approx(entry["relative_rmse"], rel=1e-12, abs=0), name
        assert error["max_error"] == pytest.approx(entry["max_error"], rel=1e-12, abs=0), name


@pytest.mark.parametrize("options", TYPES)
def test_the_figures_are_those_of_verify(measured, verified, model, options):
    path, errors = measured(model, *options)
    assert_same_figures(errors, verified(model, path))
    assert "numbers" not in errors
    if "q8_0" in options:
        assert "vector.f32" not in errors and "vector.f16" in errors


@pytest.mark.parametrize("options", TYPES)
def test_the_cosine_is_numpys(measured, model, options):
    path, errors = measured(model, *options)
    tensors, made = tensors_of_all_types(), {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name not in errors:
            continue
        made[tensor.name] = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64).ravel()
    for name, error in errors.items():
        a, b = tensors[name].astype(np.float64).ravel(), made[name]
        if not a.any():
            assert error["cosine"] == 1
            continue
        assert error["cosine"] == pytest.approx(a @ b / math.sqrt((a @ a) * (b @ b)), abs=1e-13), name
        assert error["relative_rmse"] == pytest.approx(math.sqrt(((a - b) ** 2).sum() / (a @ a)), rel=1e-7, abs=0)
        assert error["max_error"] == pytest.approx(np.abs(a - b).max(), rel=1e-6, abs=0)


@pytest.mark.parametrize("kind", ["f8_e4m3", "f6_e2m3", "f4", "f32"])
def test_types_of_safetensors(measured, verified, model, kind):
    path, errors = measured(model, "--type", kind, "--nonfinite", "keep", to="safetensors")
    entries = verified(model, path)
    if kind == "f32":
        assert errors["f16.weight"]["relative_rmse"] == 0 and errors["f16.weight"]["cosine"] == 1
        assert 0 < errors["f64.weight"]["relative_rmse"] < 1e-7
    assert_same_figures(errors, entries)


def test_what_each_entry_says(measured, headrace, model):
    path, errors = measured(model, "--type", "q8_0", "--rule", "odd=f16")
    listed = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
    sizes = {tensor["name"]: tensor["bytes"] for tensor in listed}
    assert {name: error["bytes"] for name, error in errors.items()} == {name: sizes[name] for name in errors}
    assert list(errors) == [name for name in sizes if name in errors]
    assert errors["odd.weight"]["why"] == "rule 'odd=F16'"
    assert errors["f32.weight"]["why"] == "--type Q8_0"


def test_a_copy_has_no_errors(measured, headrace, model, output):
    assert measured(model, to="safetensors")[1] == {}
    result = headrace("convert", model, "-o", output / "o.safetensors", "--measure")
    assert result.returncode == 0
    assert "13 tensors keep their type" in result.stdout


def test_the_table(headrace, model, output):
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q8_0", "--measure")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["tensor", "from", "to", "relative", "RMSE", "max", "error", "cosine"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if line and " keep " not in line}
    assert rows["zeros"] == ["F32", "Q8_0", "0", "0", "1.000000"]
    assert rows.keys() == tensors_of_all_types().keys() - {"vector.f32", "scalar.f64", "numbers"}
    assert lines[-1] == "3 tensors keep their type"


def test_empty_tensors_are_listed_alone_in_their_piece_and_with_others(measured, tmp_path):
    shapes = {"a": (4, 64), "empty.a": (0, 64), "b": (4, 64), "large.a": (900, 512), "empty.b": (0, 64),
              "large.b": (900, 512)}  # fmt: skip
    tensors = {name: weights.random_floats(*shape) for name, shape in shapes.items()}
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    for memory in ["2MiB", "64MiB"]:
        errors = measured(model, "--type", "q8_0", "--memory", memory)[1]
        assert list(errors) == list(tensors)
        assert (errors["empty.a"]["relative_rmse"], errors["empty.a"]["cosine"]) == (0, 1)


def test_scaled_floats_that_become_float32_are_listed(measured, tmp_path):
    weight = finite_bytes(F8_E4M3, 8, 64)
    tensors = {"x.scale_weight": np.float32([2]), "x.weight": weight, "y.weight": weight}
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    errors = measured(model, "--type", "f32", to="safetensors")[1]
    assert list(errors) == ["x.weight", "y.weight"]
    assert {error["relative_rmse"] for error in errors.values()} == {0}


@pytest.mark.parametrize("kind", ["q8_0", "q4_K", "bf16"])
def test_numbers_that_are_none(measured, verified, tmp_path, kind):
    tensors = {}
    for name, number in {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 3e38}.items():
        tensors[name] = weights.random_floats(8, 256)
        tensors[name][3, 7] = number
    tensors["nan.f64"] = tensors["nan"].astype(np.float64)
    tensors["nothing else"] = np.full((2, 256), np.nan, np.float32)
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    path, errors = measured(model, "--type", kind, "--nonfinite", "keep")
    entries = verified(model, path)
    assert errors.keys() == tensors.keys()
    for name, error in errors.items():
        for figure in ["relative_rmse", "max_error"]:
            assert error[figure] == pytest.approx(entries[name][figure], rel=1e-12, abs=0), name
        assert error["cosine"] is None or -1 <= error["cosine"] <= 1
    if kind == "bf16":
        assert errors["nan"]["max_error"] < 0.01 and errors["nothing else"]["relative_rmse"] == 0
    else:
        assert errors["nan"]["relative_rmse"] is None and errors["nan"]["max_error"] is None


def large_tensors():
    """Some cut into several pieces, rows that no piece and no tile fits evenly, and small ones that share a piece."""
    floats = weights.random_floats
    tensors = {
        "plain": floats(1000, 2048, seed=1).astype(np.float16),
        "rows": floats(300, 4128, seed=2),
        "long": floats(2, 600_032, seed=3).astype(BF16),
        "wide": floats(2, 400_032, seed=4).astype(np.float64),
        "odd": floats(333, 1001, seed=5),
    }
    for i in range(200):
        dtype = [np.float32, np.float16, BF16, np.float64][i % 4]
        tensors[f"small.{i}"] = floats(*[(4, 64), (7,), (3, 33), (1, 1, 96)][i // 4 % 4], seed=i).astype(dtype)
    return tensors


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return weights.write_safetensors(tmp_path_factory.mktemp("large") / "large.safetensors", large_tensors())


@pytest.mark.parametrize("options", [["--type", "q8_0"], ["--type", "f16"], ["--type", "q4_0", "--imatrix", "ones"]])
def test_the_same_figures_to_the_last_bit(headrace, verified, large, output, options):
    path, seen, hashes = output / "o.gguf", {}, set()
    for threads, memory in itertools.product(THREADS, MEMORY):
        arguments = ["-t", threads, "--memory", memory, "--measure", "--json", "--force", "-q", *options]
        result = headrace("convert", large, "-o", path, *arguments)
        assert result.returncode == 0, result.stderr
        seen[json.dumps(strict(result.stdout)["errors"])] = (threads, memory)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(seen) == 1, f"different figures: {list(seen.values())}"
    plain = output / "plain.gguf"
    assert headrace("convert", large, "-o", plain, *options).returncode == 0
    assert hashes == {hashlib.sha256(plain.read_bytes()).hexdigest()}
    errors = {error["name"]: error for error in json.loads(next(iter(seen)))}
    assert_same_figures(errors, verified(large, path))


def test_gguf_to_gguf(measured, verified, headrace, large, output):
    source = output / "q8_0.gguf"
    assert headrace("convert", large, "-o", source, "--type", "q8_0").returncode == 0
    for kind in ["q4_K", "q5_0", "bf16"]:
        path, errors = measured(source, "--rule", f"ndim>1={kind}")
        assert errors["plain"]["from"] == "Q8_0"
        assert_same_figures(errors, verified(source, path))


@pytest.mark.parametrize("options", [["--type", "q8_0"], ["--type", "q4_0", "--imatrix", "ones"]])
@pytest.mark.parametrize("threads", [1, 7])
def test_from_a_pipe(binary, measured, large, output, options, threads):
    path, errors = measured(large, *options)
    arguments = ["-o", output / "s.gguf", "--measure", "--json", "-t", threads, *options]
    result = convert_stream(binary, large.read_bytes(), *arguments)
    assert result.returncode == 0, result.stderr
    assert strict(result.stdout)["errors"] == list(errors.values())
    assert (output / "s.gguf").read_bytes() == path.read_bytes()


def test_a_dry_run_measures_nothing(headrace, model, output):
    arguments = ["convert", model, "-o", output / "o.gguf", "--type", "q8_0", "--dry-run", "--report", output / "r"]
    plain = headrace(*arguments, "--json")
    result = headrace(*arguments, "--json", "--measure")
    assert result.returncode == 0
    assert result.stdout == plain.stdout and "errors" not in strict(result.stdout)
    assert headrace(*arguments, "--measure").returncode == 0
    assert list(output.iterdir()) == []


# --report


@pytest.mark.parametrize("options", [[], ["--measure"], ["--measure", "--shard-size", "20KB"]])
def test_the_report_is_what_json_prints(headrace, model, output, options):
    path = output / "r.json"
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q8_0", "--json", "--report", path, *options)
    assert result.returncode == 0, result.stderr
    assert path.read_text() == result.stdout
    assert ("errors" in strict(result.stdout)) == ("--measure" in options)


def test_the_report_alone(headrace, model, output):
    path = output / "r.json"
    path.write_text("older and longer " * 10_000)
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q8_0", "--report", path, "-q")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert strict(path.read_text())["type"] == "Q8_0"


def test_no_report_of_what_failed(headrace, output, tmp_path):
    numbers = weights.random_floats(8, 256)
    numbers[7, 255] = np.nan
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers})
    arguments = ["convert", model, "-o", output / "o.gguf", "--type", "q8_0", "--report", output / "r.json"]
    assert headrace(*arguments).returncode == 1
    assert list(output.iterdir()) == []
    (output / "r.json").write_text("older")
    assert headrace(*arguments).returncode == 1
    assert (output / "r.json").read_text() == "older"


@pytest.mark.parametrize("place", ["missing/r.json", "", "/dev/full"])
def test_a_report_that_cant_be_written(headrace, verified, model, output, place):
    path = output / "o.gguf"
    report = output / place if place else output  # a folder
    result = headrace("convert", model, "-o", path, "--type", "q8_0", "--report", report)
    assert result.returncode == 1
    assert f"{report}: can't write the report" in result.stderr
    assert [file for file in output.iterdir() if file != path] == []
    if path.exists():  # then it is whole
        assert verified(model, path).keys() == tensors_of_all_types().keys()


def test_a_report_touches_no_file_beside_it(headrace, model, output):
    beside = output / "r.json.tmp"
    beside.write_text("somebody's")
    options = ["--type", "q8_0", "--report", output / "r.json"]
    assert headrace("convert", model, "-o", output / "o.gguf", *options).returncode == 0
    assert beside.read_text() == "somebody's"
    assert {file.name for file in output.iterdir()} == {"o.gguf", "r.json", "r.json.tmp"}


@pytest.mark.parametrize("linked", [False, True])
def test_the_report_is_no_input(headrace, model, output, linked):
    before = model.read_bytes()
    report = model
    if linked:
        report = output / "r.json"
        report.symlink_to(model)
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q8_0", "--report", report)
    assert model.read_bytes() == before
    assert result.returncode in (1, 2)


def test_the_report_is_not_the_output(headrace, model, output):
    path = output / "o.gguf"
    result = headrace("convert", model, "-o", path, "--type", "q8_0", "--report", path)
    assert result.returncode in (1, 2)
    assert not path.exists() or path.read_bytes().startswith(b"GGUF")
