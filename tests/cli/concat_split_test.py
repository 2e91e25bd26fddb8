"""headrace convert --concat and --split: tensors joined and cut along their first dimension."""

import json

import gguf
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
import weights
from gguf_files import read_gguf
from streams_test import convert_stream
from weights import random_floats

GOLDEN_TFJS = "golden/tfjs/crafted/model.json"

SHAPES = {
    "blk.0.q": (6, 64), "blk.0.k": (2, 64), "blk.0.v": (3, 64), "blk.11.q": (6, 64), "blk.11.k": (2, 64),
    "blk.11.v": (3, 64), "deep.a": (4, 3, 32), "deep.b": (2, 3, 32), "vec.a": (33,), "vec.b": (31,),
}  # fmt: skip
ARRAYS = {name: random_floats(*shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())}


def each(option, *texts):
    return [word for text in texts for word in (option, text)]


JOIN = each("--concat", "blk.{}.qkv=blk.{}.q,blk.{}.k,blk.{}.v", "deep=deep.b,deep.a", "vec=vec.a,vec.b")
JOINED = {
    "blk.0.qkv": ["blk.0.q", "blk.0.k", "blk.0.v"],
    "blk.11.qkv": ["blk.11.q", "blk.11.k", "blk.11.v"],
    "deep": ["deep.b", "deep.a"],
    "vec": ["vec.a", "vec.b"],
}
CUT = each("--split", "blk.{}.q=blk.{}.q.a,blk.{}.q.b,blk.{}.q.c", "deep.a=deep.x:1,deep.y:3", "vec.a=vec.x:32,vec.y:1")


def joined(arrays):
    return {name: np.concatenate([arrays[part] for part in parts]) for name, parts in JOINED.items()}


def cut(arrays):
    parts = {}
    for name, array in arrays.items():
        if name.endswith(".q"):
            parts |= {f"{name}.{c}": part for c, part in zip("abc", np.split(array, 3))}
        elif name == "deep.a":
            parts |= {"deep.x": array[:1], "deep.y": array[1:]}
        elif name == "vec.a":
            parts |= {"vec.x": array[:32], "vec.y": array[32:]}
        else:
            parts[name] = array
    return parts


def as_safetensors(folder):
    return weights.write_safetensors(folder / "in.safetensors", ARRAYS)


def as_gguf(folder):
    return weights.write_gguf(folder / "in.gguf", tensors=ARRAYS)


def as_swapped_gguf(folder):
    writer = gguf.GGUFWriter(folder / "in.gguf", "llama", endianess=gguf.GGUFEndian.BIG)
    for name, array in ARRAYS.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "in.gguf"


def as_torch_views(folder):
    """Transposed, every other element, a run in the middle."""
    tensors = {}
    for i, (name, array) in enumerate(ARRAYS.items()):
        tensor = torch.from_numpy(array)
        if i % 3 == 0:
            tensor = (
                tensor.t().contiguous().t()
                if tensor.dim() == 2
                else tensor.transpose(0, -1).contiguous().transpose(0, -1)
            )
        elif i % 3 == 1:
            tensor = torch.repeat_interleave(tensor, 2, -1)[..., ::2]
        else:
            tensor = torch.cat([tensor, tensor, tensor])[len(array) : 2 * len(array)]
        tensors[name] = tensor
    torch.save(tensors, folder / "in.pt")
    return folder / "in.pt"


def as_npz(folder):
    """The other byte order and the other order of dimensions in turn, deflated."""
    arrays = {n: a.astype(">f4") if i % 2 else np.asfortranarray(a) for i, (n, a) in enumerate(ARRAYS.items())}
    np.savez_compressed(folder / "in.npz", **arrays)
    return folder / "in.npz"


def as_shards(folder):
    """Each tensor in a file of its own."""
    places = {}
    for name, array in ARRAYS.items():
        places[name] = f"{name}.safetensors"
        weights.write_safetensors(folder / places[name], {name: array})
    (folder / "in.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder / "in.safetensors.index.json"


SOURCES = [as_safetensors, as_gguf, as_swapped_gguf, as_torch_views, as_npz, as_shards]


@pytest.fixture
def converted(headrace, output):
    """Converts to safetensors; gives {name: tensor}."""

    def convert(source, *options):
        path = output / "out.safetensors"
        inputs = source if isinstance(source, list) else [source]
        result = headrace("convert", *inputs, "-o", path, "--force", *options)
        assert result.returncode == 0, result.stderr
        return weights.read_safetensors(path)

    return convert


@pytest.fixture
def refused(headrace, output):
    """Asserts that a conversion ends with that status, says these words and writes nothing."""

    def check(source, status, words, *options, suffix="safetensors"):
        for more in ([], ["--dry-run"]):
            result = headrace("convert", source, "-o", output / f"out.{suffix}", *options, *more)
            assert result.returncode == status, result
            for word in words:
                assert word in result.stderr
            assert list(output.iterdir()) == []

    return check


def as_read(arrays):
    return {name: ("F32", array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.mark.parametrize("options", [[], ["--memory", "16MiB", "-t", "3"]])
@pytest.mark.parametrize("write", SOURCES)
def test_joined(converted, tmp_path, write, options):
    assert converted(write(tmp_path), *JOIN, *options) == as_read(joined(ARRAYS))


@pytest.mark.parametrize("options", [[], ["--memory", "16MiB", "-t", "3"]])
@pytest.mark.parametrize("write", SOURCES)
def test_cut(converted, tmp_path, write, options):
    assert converted(write(tmp_path), *CUT, *options) == as_read(cut(ARRAYS))


@pytest.mark.parametrize("write", SOURCES)
def test_cut_then_joined(converted, tmp_path, write):
    found = converted(
        write(tmp_path), *CUT, "--concat", "blk.{}.q=blk.{}.q.c,blk.{}.k,blk.{}.q.a", "--concat", "deep.b=deep.y,deep.b"
    )
    parts = cut(ARRAYS)
    for layer in (0, 11):
        parts[f"blk.{layer}.q"] = np.concatenate([parts.pop(f"blk.{layer}.{part}") for part in ("q.c", "k", "q.a")])
    parts["deep.b"] = np.concatenate([parts.pop("deep.y"), parts["deep.b"]])
    assert found == as_read(parts)


def test_tfjs(converted, tmp_path):
    """Numbers that their bytes stand for, times a scale."""
    numbers = {"a": np.arange(60, dtype="u1").reshape(4, 15), "b": np.arange(200, 230, dtype="u1").reshape(2, 15)}
    (tmp_path / "w.bin").write_bytes(b"".join(n.tobytes() for n in numbers.values()))
    coding = {"a": {"dtype": "uint8", "scale": 0.5, "min": -3}, "b": {"dtype": "uint8", "scale": 0.25, "min": 2}}
    listed = [
        {"name": n, "shape": [*a.shape], "dtype": "float32", "quantization": coding[n]} for n, a in numbers.items()
    ]
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": [{"paths": ["w.bin"], "weights": listed}]}))
    a, b = (n.astype("f4") * np.float32(coding[k]["scale"]) + np.float32(coding[k]["min"]) for k, n in numbers.items())
    source = tmp_path / "model.json"
    assert converted(source, "--concat", "ba=b,a") == as_read({"ba": np.concatenate([b, a])})
    assert converted(source, "--split", "a=x:1,y:3") == as_read({"x": a[:1], "y": a[1:], "b": b})


def test_parts_in_different_files(converted, tmp_path):
    q, k, v = random_floats(6, 64, seed=1), random_floats(2, 64, seed=2), random_floats(3, 64, seed=3)
    a = weights.write_safetensors(tmp_path / "a.safetensors", {"q": q, "other": random_floats(5)})
    b = weights.write_gguf(tmp_path / "b.gguf", tensors={"k": k})
    torch.save({"v": torch.from_numpy(v.T.copy()).t()}, tmp_path / "c.pt")
    np.savez(tmp_path / "d.npz", w=np.asfortranarray(v))
    found = converted([a, b, tmp_path / "c.pt", tmp_path / "d.npz"], "--concat", "all=v,q,w,k")
    assert found == as_read({"other": random_floats(5), "all": np.concatenate([v, q, v, k])})


def test_other_types(converted, tmp_path):
    """The bytes are moved, whatever they mean."""
    arrays = {"h": random_floats(6, 5).astype(ml_dtypes.bfloat16), "i": random_floats(4, 5).astype(ml_dtypes.bfloat16)}
    arrays |= {
        "l": np.arange(12).reshape(4, 3),
        "m": np.arange(3, dtype="i8").reshape(1, 3),
        "b": np.array([True, False, True]),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors")
    options = ["--concat", "hi=i,h", "--concat", "lm=m,l", "--split", "b=b0:1,b1:2"]
    found = converted(tmp_path / "m.safetensors", *options)
    expected = {"hi": np.concatenate([arrays["i"], arrays["h"]]), "lm": np.concatenate([arrays["m"], arrays["l"]])}
    expected |= {"b0": arrays["b"][:1], "b1": arrays["b"][1:]}
    assert {name: data for name, (_, _, data) in found.items()} == {name: a.tobytes() for name, a in expected.items()}
    assert {name: shape for name, (_, shape, _) in found.items()} == {name: a.shape for name, a in expected.items()}


@pytest.mark.parametrize("kind", ["q8_0", "q4_K", "bf16", "iq4_nl"])
def test_whole_rows_of_blocks(headrace, tmp_path, kind):
    """The bytes of blocks are joined and cut between rows."""
    arrays = {"a": random_floats(6, 256, seed=1), "b": random_floats(2, 256, seed=2)}
    source = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    quantised, out = tmp_path / "q.gguf", tmp_path / "out.gguf"
    assert headrace("convert", source, "-o", quantised, "--type", kind).returncode == 0
    result = headrace("convert", quantised, "-o", out, "--concat", "ab=b,a")
    assert result.returncode == 0, result.stderr
    (dtype, _, a), (_, _, b) = (read_gguf(quantised)[name] for name in "ab")
    assert read_gguf(out) == {"ab": (dtype, (8, 256), b + a)}
    result = headrace("convert", quantised, "-o", out, "--split", "a=x:5,y:1", "--force")
    assert result.returncode == 0, result.stderr
    row = len(a) // 6
    assert read_gguf(out) == {
        "x": (dtype, (5, 256), a[: 5 * row]),
        "y": (dtype, (1, 256), a[5 * row :]),
        "b": (dtype, (2, 256), b),
    }


@pytest.mark.parametrize("options", [["--type", "q8_0"], ["--type", "q4_K", "--imatrix", "ones"], ["--type", "f16"]])
@pytest.mark.parametrize("budget", [[], ["--memory", "3MiB", "-t", "3"]])
def test_retyped_in_many_pieces(headrace, tmp_path, options, budget):
    """The blocks are those of the parts, wherever the pieces end."""
    arrays = {name: random_floats(rows, 512, seed=rows) for name, rows in {"q": 700, "k": 301, "v": 260}.items()}
    source = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    apart, one, cut_again = tmp_path / "apart.gguf", tmp_path / "one.gguf", tmp_path / "cut.gguf"
    assert headrace("convert", source, "-o", apart, *options).returncode == 0
    result = headrace("convert", source, "-o", one, "--concat", "qkv=q,k,v", *options, *budget)
    assert result.returncode == 0, result.stderr
    parts = read_gguf(apart)
    expected = (parts["q"][0], (1261, 512), b"".join(parts[name][2] for name in "qkv"))
    assert read_gguf(one) == {"qkv": expected}
    assert headrace("convert", source, "-o", tmp_path / "whole.safetensors", "--concat", "qkv=q,k,v").returncode == 0
    options = ["--split", "qkv=q:700,k:301,v:260", *options, *budget]
    result = headrace("convert", tmp_path / "whole.safetensors", "-o", cut_again, *options)
    assert result.returncode == 0, result.stderr
    assert cut_again.read_bytes() == apart.read_bytes()


@pytest.mark.parametrize("kind", [[], ["--type", "q8_0"]])
def test_there_and_back(headrace, tmp_path, kind):
    source, whole, back = tmp_path / "in.gguf", tmp_path / "whole.gguf", tmp_path / "back.gguf"
    plain = weights.write_safetensors(
        tmp_path / "m.safetensors", {n: a for n, a in ARRAYS.items() if n.startswith("blk")}
    )
    assert headrace("convert", plain, "-o", source, *kind).returncode == 0
    assert headrace("convert", source, "-o", whole, *JOIN[:2]).returncode == 0
    result = headrace("convert", whole, "-o", back, "--split", "blk.{}.qkv=blk.{}.q:6,blk.{}.k:2,blk.{}.v:3")
    assert result.returncode == 0, result.stderr
    assert back.read_bytes() == source.read_bytes()
    assert headrace("verify", source, back).returncode == 0


def test_they_stand_where_their_first_part_was(converted, tmp_path):
    source = weights.write_safetensors(tmp_path / "m.safetensors", {n: random_floats(4, seed=ord(n)) for n in "abcdef"})
    assert list(converted(source, "--concat", "be=e,b", "--split", "d=x,y")) == ["a", "c", "x", "y", "be", "f"]
    assert list(converted(source, "--concat", "be=b,e", "--split", "b=b,z")) == ["a", "be", "z", "c", "d", "f"]


def test_a_name_may_be_used_again(converted, tmp_path):
    a, b = random_floats(4, 3, seed=1), random_floats(2, 3, seed=2)
    source = weights.write_safetensors(tmp_path / "m.safetensors", {"a": a, "b": b})
    assert converted(source, "--concat", "b=a,b") == as_read({"b": np.concatenate([a, b])})
    assert converted(source, "--split", "a=a:1,c:3") == as_read({"a": a[:1], "c": a[1:], "b": b})
    parts = converted(source, "--split", "a=c:3,d:1", "--split", "c=a:1,c:2")
    assert parts == as_read({"a": a[:1], "c": a[1:3], "d": a[3:], "b": b})


def test_nothing_in_a_tensor(converted, tmp_path):
    arrays = {"none": random_floats(0, 4), "empty": random_floats(4, 0), "some": random_floats(3, 4)}
    source = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    found = converted(source, "--concat", "all=none,some", "--split", "empty=x:1,y:3")
    assert found == as_read({"x": arrays["empty"][:1], "y": arrays["empty"][1:], "all": arrays["some"]})


def test_names_after_renaming(converted, tmp_path):
    source = as_safetensors(tmp_path)
    options = ["--select", "blk", "--rename", r"^blk\.=layers.", "--prefix", "m."]
    found = converted(source, *options, "--concat", "m.layers.{}=m.layers.{}.v,m.layers.{}.k", "--drop", "q$")
    expected = {f"m.layers.{i}": np.concatenate([ARRAYS[f"blk.{i}.v"], ARRAYS[f"blk.{i}.k"]]) for i in (0, 11)}
    assert found == as_read(expected)


def test_rules_see_the_new_tensors(headrace, tmp_path, output):
    source = as_safetensors(tmp_path)
    command = [
        "convert",
        source,
        "-o",
        output / "o.gguf",
        *JOIN,
        "--split",
        "deep.a=deep.x,deep.y",
        "--dry-run",
        "--json",
    ]
    command[command.index("deep=deep.b,deep.a")] = "deep=deep.b,deep.y"
    plan = json.loads(headrace(*command, "--rule", "qkv=q8_0", "--rule", "ndim==3=f16", "--rule", "vec=drop").stdout)
    assert {t["name"]: (t["to"], t["shape"], t["joined_from"]) for t in plan["tensors"]} == {
        "blk.0.qkv": ("Q8_0", [11, 64], 3),
        "blk.11.qkv": ("Q8_0", [11, 64], 3),
        "deep.x": ("F16", [2, 3, 32], 1),
        "deep": ("F16", [4, 3, 32], 2),
    }
    assert [t["name"] for t in plan["dropped"]] == ["vec"]
    assert plan["tensors"][0]["why"] == "rule 'qkv=Q8_0', joined from 3"
    assert plan["tensors"][2]["why"] == "rule 'ndim==3=F16', a part of 'deep.a'"


def test_the_smallest_type_is_found_in_joined_numbers(headrace, tmp_path, output):
    """As in a file that has the tensor whole."""
    arrays = {"a": random_floats(4, 256), "b": 100 * random_floats(4, 256, seed=2).round(1)}
    apart = weights.write_safetensors(tmp_path / "apart.safetensors", arrays)
    whole = weights.write_safetensors(tmp_path / "whole.safetensors", {"w": np.concatenate([arrays["a"], arrays["b"]])})
    for limit in ("0.1", "0.01", "0.001"):
        files = []
        for source, options in [(apart, ["--concat", "w=a,b"]), (whole, [])]:
            files.append(output / f"{source.stem}{limit}.gguf")
            result = headrace("convert", source, "-o", files[-1], "--rule", f"w=rmse:{limit}", "--measure", *options)
            assert result.returncode == 0, result.stderr
        assert read_gguf(files[0]) == read_gguf(files[1])


def test_shards(headrace, tmp_path, output):
    source = as_safetensors(tmp_path)
    options = [*JOIN, "--shard-size", "3000"]
    result = headrace("convert", source, "-o", output / "o.safetensors", *options)
    assert result.returncode == 0, result.stderr
    merged = tmp_path / "merged.safetensors"
    assert headrace("merge", output / "o.safetensors.index.json", "-o", merged).returncode == 0
    assert weights.read_safetensors(merged) == as_read(joined(ARRAYS))
    assert len(list(output.glob("*.safetensors"))) > 2


@pytest.mark.parametrize("options", [[], ["--type", "q8_0", "--memory", "4MiB", "-t", "4"]])
def test_a_stream_can_be_cut(binary, headrace, tmp_path, output, options):
    arrays = {"a": random_floats(900, 512, seed=1), "b": random_floats(7, 32, seed=2)}
    source = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    options = ["--split", "a=z:1,y:698,x:201", "--split", "b=b0:3,b1:4", *options]
    assert headrace("convert", source, "-o", output / "file.gguf", *options).returncode == 0
    result = convert_stream(binary, source.read_bytes(), "-o", output / "stream.gguf", *options)
    assert result.returncode == 0, result.stderr
    assert (output / "stream.gguf").read_bytes() == (output / "file.gguf").read_bytes()


def test_a_stream_cant_be_joined(binary, tmp_path, output):
    source = as_safetensors(tmp_path)
    for options in (JOIN, ["--split", "blk.0.q=x,y", "--concat", "xy=y,x"]):
        result = convert_stream(binary, source.read_bytes(), "-o", output / "o.gguf", *options)
        assert result.returncode == 1
        assert "what a stream brings can't be joined" in result.stderr and "save it to a file first" in result.stderr
    # Other inputs can be.
    other = weights.write_safetensors(tmp_path / "other.safetensors", {"x": random_floats(2), "y": random_floats(3)})
    result = convert_stream(binary, source.read_bytes(), other, "-o", output / "o.safetensors", "--concat", "xy=x,y")
    assert result.returncode == 0, result.stderr
    expected = ARRAYS | {"xy": np.concatenate([random_floats(2), random_floats(3)])}
    assert weights.read_safetensors(output / "o.safetensors") == as_read(expected)


@pytest.fixture
def odd(tmp_path):
    """Nothing here fits anything else."""
    arrays = {"a": random_floats(6, 4), "b": random_floats(2, 5), "c": random_floats(6), "d": random_floats(2, 2, 4)}
    arrays |= {"i": np.arange(8, dtype="i4").reshape(2, 4), "s": np.asarray(1, "f4"), "bytes": np.arange(7, dtype="u1")}
    arrays |= {
        "none": random_floats(0, 4),
        "empty": random_floats(4, 0),
        "blk.0.x": random_floats(1),
        "blk.1.x": random_floats(1),
    }
    return weights.write_safetensors(tmp_path / "odd.safetensors", arrays)


@pytest.mark.parametrize(
    "status, options, words",
    [
        (2, ["--concat", "x=a,none_such"], ["--concat", "there is no tensor 'none_such'"]),
        (2, ["--concat", "x=none_such,a"], ["--concat", "there is no tensor 'none_such'"]),
        (2, ["--concat", "x{}=y{},z{}"], ["--concat", "'y{}'"]),
        (2, ["--concat", "x=a,a"], ["'x=a,a'", "each part once"]),
        (2, ["--concat", "x=a,b"], ["tensor 'b'", "don't fit", "[6, 4] of F32", "[2, 5] of F32"]),
        (2, ["--concat", "x=a,c"], ["tensor 'c'", "don't fit", "[6] of F32"]),
        (2, ["--concat", "x=a,d"], ["tensor 'd'", "don't fit"]),
        (2, ["--concat", "x=a,i"], ["tensor 'i'", "don't fit", "of I32"]),
        (2, ["--concat", "x=s,c"], ["tensor 's'", "a scalar has no rows"]),
        (2, ["--concat", "x=c,s"], ["tensor 's'", "a scalar has no rows"]),
        (2, ["--concat", "x=blk.0.x,blk.{}.x"], ["--concat"]),
        (2, ["--concat", "x=a"], ["'x=a' isn't understood", "NAME=A,B"]),
        (2, ["--concat", "x"], ["isn't understood"]),
        (2, ["--concat", "=a,b"], ["isn't understood"]),
        (2, ["--concat", "x=a,,b"], ["isn't understood"]),
        (2, ["--concat", "x=a,b,"], ["isn't understood"]),
        (1, ["--concat", "c=a,none"], ["tensor 'c'", "both have it"]),
        (1, ["--concat", "c=a,none", "--prefer", "first"], ["tensor 'c'", "both have it"]),
        (2, ["--split", "none_such=x,y"], ["--split", "there is no tensor 'none_such'"]),
        (2, ["--split", "a=x,y,z,w"], ["tensor 'a'", "the rows don't add up", "a multiple of 4", "[6, 4]"]),
        (2, ["--split", "a=x:1,y:2"], ["tensor 'a'", "the rows don't add up", "expected 3", "[6, 4]"]),
        (2, ["--split", "a=x:4,y:3"], ["tensor 'a'", "the rows don't add up"]),
        (2, ["--split", "s=x,y"], ["tensor 's'", "a scalar has no rows"]),
        (2, ["--split", "none=x,y"], ["tensor 'none'", "the rows don't add up"]),
        (2, ["--split", "a=x:5,y"], ["isn't understood", "NAME=A:ROWS,B:ROWS"]),
        (2, ["--split", "a=x:6,y:0"], ["isn't understood"]),
        (2, ["--split", "a=x:-1,y:7"], ["isn't understood"]),
        (2, ["--split", "a=x:3.0,y:3"], ["isn't understood"]),
        (2, ["--split", "a=x:99999999999999999999,y:3"], ["isn't understood"]),
        (2, ["--split", "a=x"], ["isn't understood"]),
        (2, ["--split", "a=x,"], ["isn't understood"]),
        (2, ["--split", "a=:3,y:3"], ["isn't understood"]),
        (1, ["--split", "a=c,y"], ["tensor 'c'", "both have it"]),
        (1, ["--split", "a=x,x"], ["tensor 'x'", "both have it"]),
    ],
)
def test_what_doesnt_fit(refused, odd, status, options, words):
    refused(odd, status, words, *options)


# Rows whose sum is that of the tensor, less 2⁶⁴.
@pytest.mark.parametrize(
    "split",
    [
        "a=x:18446744073709551615,y:7",
        "bytes=x:18446744073709551615,y:8",
        "empty=x:18446744073709551615,y:5",
        "i=x:4611686018427387905,y:13835058055282163713",
        "i=x:9223372036854775809,y:9223372036854775809",
    ],
)
def test_rows_that_add_up_to_too_much(refused, odd, split):
    refused(odd, 2, ["the rows don't add up"], "--split", split)


@pytest.mark.parametrize(
    "option, text",
    [("--concat", "x{}=a,none"), ("--split", "a=x{},y{}"), ("--concat", "x=blk.{}.x,c"), ("--split", "blk.{}.x=x,y")],
)
def test_a_number_that_one_side_alone_has(refused, odd, option, text):
    refused(odd, 2, [option, "{}"], option, text)


def test_blocks_are_not_cut_in_two(refused, converted, headrace, tmp_path):
    arrays = {"a": random_floats(4, 3), "b": random_floats(4, 6), "c": random_floats(12)}
    source = weights.write_safetensors(tmp_path / "m.safetensors", arrays)
    for kind, block, bad, good in [
        ("f4", 2, ["a=x:1,y:3", "c=x:5,y:7"], ["a=x,y", "b=x:1,y:3", "c=x:4,y:8"]),
        ("f6_e2m3", 4, ["a=x,y", "b=x:1,y:3", "c=x:6,y:6"], ["b=x,y", "c=x:4,y:8"]),
    ]:
        small = tmp_path / f"{kind}.safetensors"
        assert headrace("convert", source, "-o", small, "--type", kind, "--nonfinite", "keep").returncode == 0
        whole = weights.read_safetensors(small)
        for split in bad:
            words = [f"tensor '{split[0]}'", "would cut a block of numbers in two", f"whole blocks of {block}"]
            refused(small, 1, words, "--split", split)
        for split in good:
            name = split[0]
            parts = converted(small, "--split", split)
            assert parts["x"][2] + parts["y"][2] == whole[name][2]
            assert parts["x"][1][0] + parts["y"][1][0] == whole[name][1][0]
            assert converted(small, "--split", split, "--concat", f"{name}=x,y") == whole
            (tmp_path / "out/out.safetensors").unlink()


def test_text_has_no_rows(refused, request):
    source = request.path.parent.parent / "data" / GOLDEN_TFJS
    for options in (["--split", "labels=a,b"], ["--concat", "x=labels,mask"], ["--concat", "x=mask,labels"]):
        refused(source, 2, ["tensor 'labels'", "text"], *options)


@pytest.mark.parametrize("split", ["deep=x,y", "deep=x:1,y:1"])
def test_a_shape_that_gguf_has_merged(headrace, tmp_path, output, split):
    """The first dimension is the one that it has, not the one that GGUF lists."""
    array = random_floats(2, 3, 4, 5, 32)
    source = weights.write_safetensors(tmp_path / "m.safetensors", {"deep": array})
    assert headrace("convert", source, "-o", tmp_path / "m.gguf").returncode == 0
    path = output / "o.safetensors"
    result = headrace("convert", tmp_path / "m.gguf", "-o", path, "--split", split)
    assert result.returncode == 0, result.stderr
    assert weights.read_safetensors(path) == as_read({"x": array[:1], "y": array[1:]})
