"""TensorFlow.js models given to the command: real ones, a crafted one, and hostile manifests (tests/data/bad/tfjs)."""

import hashlib
import json
import pathlib
import runpy
import shutil

import numpy as np
import pytest

import weights

DATA = pathlib.Path(__file__).parent.parent / "data"
GOLDEN = DATA / "golden" / "tfjs"
BAD = DATA / "bad" / "tfjs"
MODELS = ["face_expression", "face_landmark_68_tiny", "tiny_face_detector"]
DTYPES = {"float32": "F32", "int32": "I32", "bool": "BOOL", "complex64": "C64", "string": "STRING"}


def manifest_of(name):
    return next(path for path in (GOLDEN / name).glob("*.json") if path.name != "expected.json")


def expected_of(name):
    return json.loads((GOLDEN / name / "expected.json").read_text())


def assert_decoded(path, expected):
    """The safetensors file holds just these tensors, with tfjs' own numbers."""
    found = weights.read_safetensors(path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        dtype, shape, data = found[name]
        assert (dtype, list(shape)) == (DTYPES[tensor["dtype"]], tensor["shape"]), name
        assert hashlib.sha256(data).hexdigest() == tensor["sha256"], name


@pytest.fixture
def numbers(tmp_path):
    """The crafted model without its text, which no other format holds: the bytes of that go, too."""
    folder = shutil.copytree(GOLDEN / "crafted", tmp_path / "crafted", copy_function=shutil.copyfile)
    folder.chmod(0o755)
    model = json.loads((folder / "model.json").read_text())
    (group,) = model["weightsManifest"]
    content = b"".join((folder / path).read_bytes() for path in group["paths"])
    begin = 13163  # of the text, in all files together
    text = next(weight for weight in group["weights"] if weight["dtype"] == "string")
    content = content[:begin] + content[begin + expected_of("crafted")[text["name"]]["bytes"] :]
    group["weights"].remove(text)
    (folder / "sub").mkdir()
    group["paths"] = ["first.bin", "sub/second.bin", "empty.bin", "./third.bin"]
    for path, part in zip(group["paths"], [content[:8057], content[8057:13000], b"", content[13000:]]):
        (folder / path).write_bytes(part)
    (folder / "model.json").write_text(json.dumps(model))
    return folder / "model.json"


@pytest.mark.parametrize("name", MODELS)
def test_published_models(headrace, output, name):
    result = headrace("convert", manifest_of(name), "-o", output / "out.safetensors")
    assert result.returncode == 0, result.stderr
    assert_decoded(output / "out.safetensors", expected_of(name))
    result = headrace("verify", manifest_of(name), output / "out.safetensors")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_type_but_text(headrace, output, numbers):
    expected = expected_of("crafted")
    expected = {name: tensor for name, tensor in expected.items() if tensor["dtype"] != "string"}
    result = headrace("convert", numbers, "-o", output / "out.safetensors")
    assert result.returncode == 0, result.stderr
    assert_decoded(output / "out.safetensors", expected)


def test_a_bare_manifest_is_the_same(headrace, output, numbers):
    bare = numbers.with_name("weights_manifest.json")
    bare.write_text(json.dumps(json.loads(numbers.read_text())["weightsManifest"]))
    for path, name in [(numbers, "a.safetensors"), (bare, "b.safetensors")]:
        assert headrace("convert", path, "-o", output / name).returncode == 0
    first, second = (weights.read_safetensors(output / name) for name in ("a.safetensors", "b.safetensors"))
    assert first == second


@pytest.mark.parametrize("options", [["--threads", "1"], ["--threads", "4", "--memory", "16MiB"]])
@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_quantised_again_from_its_numbers(headrace, output, kind, options):
    """What is made of a quantised model is what is made of the numbers it stands for."""
    manifest = manifest_of("tiny_face_detector")
    assert headrace("convert", manifest, "-o", output / "numbers.safetensors").returncode == 0
    for source, name in [(manifest, "a.gguf"), (output / "numbers.safetensors", "b.gguf")]:
        result = headrace("convert", source, "-o", output / name, "--type", kind, *options)
        assert result.returncode == 0, result.stderr
    assert (output / "a.gguf").read_bytes() == (output / "b.gguf").read_bytes()


def test_inspect_lists_text_with_the_rest(headrace):
    result = headrace("inspect", manifest_of("crafted"), "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["format"] == "tfjs"
    tensors = {tensor["name"]: tensor for tensor in document["tensors"]}
    assert {name: (tensor["dtype"], tensor["shape"], tensor["bytes"]) for name, tensor in tensors.items()} == {
        name: (DTYPES[tensor["dtype"]], tensor["shape"], tensor["bytes"])
        for name, tensor in expected_of("crafted").items()
    }
    assert {pair["key"]: pair["value"] for pair in document["metadata"]} == {"generatedBy": "crafted"}


def test_what_the_target_cant_hold_is_refused_by_name(headrace, output):
    result = headrace("convert", manifest_of("crafted"), "-o", output / "out.safetensors")
    assert result.returncode == 1
    assert "tensor 'labels'" in result.stderr and "safetensors can't hold STRING tensors" in result.stderr
    result = headrace("convert", manifest_of("crafted"), "-o", output / "out.gguf", "--type", "f16")
    assert result.returncode == 1
    assert "tensor 'mask'" in result.stderr and "gguf can't hold BOOL tensors" in result.stderr
    assert list(output.iterdir()) == []


def test_verify_compares_text_as_bytes(headrace, tmp_path):
    folder = shutil.copytree(GOLDEN / "crafted", tmp_path / "other", copy_function=shutil.copyfile)
    assert headrace("verify", manifest_of("crafted"), folder / "model.json").returncode == 0
    shard = folder / "group1-shard4of6.bin"
    content = bytearray(shard.read_bytes())
    content[13163 + 347 - 1 - 3 * 4096] ^= 1  # the last letter of the last string
    shard.write_bytes(content)
    result = headrace("verify", manifest_of("crafted"), folder / "model.json")
    assert result.returncode == 1
    assert "labels" in result.stdout and "bytes differ" in result.stdout


def test_many_small_shards(headrace, tmp_path, output):
    """Tensors of 1,000 numbers across files of 1,009 bytes."""
    array = np.random.default_rng(1).standard_normal((40, 1000), dtype=np.float32)
    content, size = array.tobytes(), 1009
    paths = [f"shard{i}.bin" for i in range(-(-len(content) // size))]
    for i, path in enumerate(paths):
        (tmp_path / path).write_bytes(content[i * size : (i + 1) * size])
    listed = [{"name": f"w{i}", "shape": [1000], "dtype": "float32"} for i in range(len(array))]
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": [{"paths": paths, "weights": listed}]}))
    result = headrace("convert", tmp_path / "model.json", "-o", output / "out.safetensors")
    assert result.returncode == 0, result.stderr
    found = weights.read_safetensors(output / "out.safetensors")
    for i, row in enumerate(array):
        assert found[f"w{i}"] == ("F32", (1000,), row.tobytes())


def test_weights_in_another_folder(headrace, tmp_path, output):
    far = tmp_path / "far"
    far.mkdir()
    manifest = manifest_of("face_landmark_68_tiny")
    shutil.copyfile(manifest, tmp_path / "model.json")
    for path in manifest.parent.glob("*.bin"):
        shutil.copyfile(path, far / path.name)
    assert headrace("convert", tmp_path / "model.json", "-o", output / "a.safetensors").returncode == 1
    for prefix in (far, f"{far}/", "far"):
        command = ["convert", tmp_path / "model.json", "-o", output / "a.safetensors", "--force"]
        result = headrace(*command, "--weight-path-prefix", prefix, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert_decoded(output / "a.safetensors", expected_of("face_landmark_68_tiny"))
    result = headrace("inspect", output / "a.safetensors", "--weight-path-prefix", far)
    assert result.returncode == 2
    assert "weight_path_prefix is for TensorFlow.js models alone" in result.stderr


def test_a_manifest_on_the_standard_input_has_nothing_beside_it(headrace, output):
    text = manifest_of("face_landmark_68_tiny").read_text()
    result = headrace("convert", "-", "-o", output / "a.safetensors", input=text)
    assert result.returncode == 1
    assert "only safetensors and GGUF can be read from a stream" in result.stderr


def reasons():
    return json.loads((BAD / "reasons.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file, expected", reasons().items(), ids=lambda value: value if isinstance(value, str) else "")
def test_hostile_manifests_are_refused(headrace, output, file, expected):
    for command in (["inspect", BAD / file], ["convert", BAD / file, "-o", output / "out.safetensors"]):
        result = headrace(*command)
        assert result.returncode == 1, result
        assert result.stdout == ""
        assert result.stderr.startswith("headrace: error: ") and result.stderr.count("\n") == 1
        assert result.stderr.removesuffix("\n").isprintable()
        assert expected["error"] in result.stderr
        if "tensor" in expected:
            assert f"tensor '{expected['tensor']}'" in result.stderr
    assert list(output.iterdir()) == []


def test_the_maker_makes_these_manifests():
    maker = runpy.run_path(str(BAD / "make.py"))
    made = maker["tfjs"]()
    assert made.reasons == reasons()
    there = {path.name: path.read_bytes() for path in BAD.iterdir() if path.name not in ("reasons.json", "make.py")}
    manifests = {f"{name}.json": content.encode() for name, content in made.files.items()}
    assert manifests | maker["DATA"] == there
