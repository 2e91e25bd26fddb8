"""What Headrace writes, the formats' own packages read; what they write, Headrace reads; and where both make the same
numbers, they make the same bytes."""

import pathlib

import gguf
import ml_dtypes
import numpy as np
import pytest
import safetensors
from gguf import GGMLQuantizationType as Ggml

import weights

SAMPLES = pathlib.Path(__file__).parent.parent / "data" / "golden" / "gguf-samples"

# safetensors' dtypes: bits of an element, and what the package calls them (it can't write the six-bit ones).
SAFETENSORS_TYPES = {
    "BOOL": (8, "bool"), "U8": (8, "uint8"), "I8": (8, "int8"), "U16": (16, "uint16"), "I16": (16, "int16"),
    "U32": (32, "uint32"), "I32": (32, "int32"), "U64": (64, "uint64"), "I64": (64, "int64"), "F16": (16, "float16"),
    "BF16": (16, "bfloat16"), "F32": (32, "float32"), "F64": (64, "float64"), "C64": (64, "complex64"),
    "F8_E4M3": (8, "float8_e4m3fn"), "F8_E5M2": (8, "float8_e5m2"), "F8_E8M0": (8, "float8_e8m0fnu"),
    "F8_E4M3FNUZ": (8, "float8_e4m3fnuz"), "F8_E5M2FNUZ": (8, "float8_e5m2fnuz"), "F4": (4, "float4_e2m1fn_x2"),
    "F6_E2M3": (6, None), "F6_E3M2": (6, None),
}  # fmt: skip
BOTH_HOLD = ["F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"]
SHAPES = {"matrix": (6, 64), "odd": (3, 20), "vector": (12,), "größe.重み.🜁": (4, 4), " ": (4,),
          "five": (2, 3, 4, 5, 6), "zero": (0, 8), "zero.inner": (8, 0), "deep": (1, 1, 1, 1, 1, 1, 4)}  # fmt: skip


def noise(dtype, shape, seed=5):
    """Bytes of a tensor: any at all, but for BOOL, which are 0 and 1."""
    count = int(np.prod(shape, dtype=np.int64)) * SAFETENSORS_TYPES[dtype][0] // 8
    numbers = np.random.default_rng(seed).integers(0, 2 if dtype == "BOOL" else 256, count, dtype=np.uint8)
    return numbers.tobytes()


def tensors_of(dtypes):
    """{name: (dtype, shape, bytes)}: every shape in every one of those types; scalars where a byte holds one."""
    tensors = {}
    for dtype in dtypes:
        for name, shape in SHAPES.items():
            tensors[f"{dtype}.{name}"] = (dtype, shape, noise(dtype, shape, len(tensors)))
        if SAFETENSORS_TYPES[dtype][0] >= 8:
            tensors[f"{dtype}.scalar"] = (dtype, (), noise(dtype, (), len(tensors)))
    return tensors


def write_with_safetensors(path, tensors, metadata=None):
    specs, arrays = {}, []
    for name, (dtype, shape, data) in tensors.items():
        array = np.frombuffer(data, np.uint8)
        arrays.append(array)
        package_shape = (*shape[:-1], shape[-1] // 2) if dtype == "F4" else shape
        specs[name] = safetensors.TensorSpec(
            dtype=SAFETENSORS_TYPES[dtype][1],
            shape=package_shape,
            data_ptr=array.ctypes.data,
            data_len=len(data),
        )
    safetensors.serialize_file(specs, path, metadata=metadata)
    return path


def read_with_safetensors(path):
    tensors = safetensors.deserialize(path.read_bytes())
    return {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in tensors}


def metadata_with_safetensors(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return file.metadata()


def read_with_gguf(path):
    """{name: (type, shape, bytes)}, and {key: (types, contents)} of the metadata."""
    reader = gguf.GGUFReader(path)
    tensors = {}
    for tensor in reader.tensors:
        shape = tuple(int(dim) for dim in reversed(tensor.shape))
        tensors[tensor.name] = (tensor.tensor_type.name, shape, tensor.data.tobytes())
    pairs = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    return tensors, {key: (field.types, field.contents()) for key, field in pairs.items()}


def write_with_gguf(path, tensors, add_pairs=lambda writer: None, alignment=None):
    """`tensors`: {name: array, or (ggml type, array of bytes)}."""
    writer = gguf.GGUFWriter(path, "tiny")
    if alignment:
        writer.add_custom_alignment(alignment)
    add_pairs(writer)
    for name, array in tensors.items():
        dtype, array = array if isinstance(array, tuple) else (None, array)
        writer.add_tensor(name, array, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def convert(headrace, tmp_path):
    """Converts to a file of that name and returns its path."""

    def run(source, output, *options):
        result = headrace("convert", source, "-o", tmp_path / output, *options)
        assert result.returncode == 0, result.stderr
        return tmp_path / output

    return run


def test_every_safetensors_type_is_copied(convert, tmp_path):
    tensors = tensors_of(dtype for dtype, (_, package) in SAFETENSORS_TYPES.items() if package)
    metadata = {"who": "me", "what": "größe \U0001f701 \"quoted\" \\ \n\t\x01", "": ""}
    source = write_with_safetensors(tmp_path / "in.safetensors", tensors, metadata)
    assert read_with_safetensors(source) == tensors
    copy = convert(source, "out.safetensors")
    assert read_with_safetensors(copy) == tensors
    assert metadata_with_safetensors(copy) == metadata


def test_a_copy_of_what_safetensors_wrote_is_the_same_file(convert, tmp_path):
    tensors = tensors_of(["F32", "F16", "BF16", "I64", "U8"])
    source = write_with_safetensors(tmp_path / "in.safetensors", tensors, {"format": "pt"})
    assert convert(source, "out.safetensors").read_bytes() == source.read_bytes()


def test_six_bit_types_and_odd_places_are_copied(convert, tmp_path):
    # The package writes neither: six-bit types, and tensors that begin anywhere.
    tensors = {"three bytes": ("U8", (3,)), "six": ("F6_E2M3", (4, 8)), "other six": ("F6_E3M2", (4, 3)),
               "one": ("BOOL", ()), "wide": ("F64", (2,)), "four": ("F4", (2, 3)), "last": ("C64", (1,))}  # fmt: skip
    parts, header, end = [], {}, 0
    for i, (name, (dtype, shape)) in enumerate(tensors.items()):
        parts.append(noise(dtype, shape, i))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(parts[-1])]}
        end += len(parts[-1])
    text = weights.json.dumps(header).encode()
    source = tmp_path / "in.safetensors"
    source.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    expected = {name: (*tensors[name], part) for name, part in zip(tensors, parts)}
    copy = convert(source, "out.safetensors")
    assert read_with_safetensors(copy) == expected
    assert copy.read_bytes()[-end:] == b"".join(parts)  # in the order they had


def merged(shape):
    """The shape that GGUF lists: one to four dimensions, the outermost multiplied, scalars as vectors of one."""
    if not shape:
        return (1,)
    return shape if len(shape) <= 4 else (int(np.prod(shape[: len(shape) - 3])), *shape[-3:])


def test_safetensors_to_gguf_and_back(convert, tmp_path):
    tensors = tensors_of(BOTH_HOLD)
    metadata = {"who": "größe \U0001f701", "general.name": "mixed", "general.architecture": "tiny"}
    source = write_with_safetensors(tmp_path / "in.safetensors", tensors, metadata)
    middle = convert(source, "out.gguf")
    read, pairs = read_with_gguf(middle)
    assert read == {name: (dtype, merged(shape), data) for name, (dtype, shape, data) in tensors.items()}
    assert {key: pairs[key][1] for key in metadata} == metadata
    assert pairs["general.quantization_version"] == ([gguf.GGUFValueType.UINT32], 2)
    deep = {name: shape for name, (_, shape, _) in tensors.items() if len(shape) > 4}
    recorded = {key: pairs[key] for key in pairs if key.startswith("comfy.gguf.orig_shape.")}
    kinds = [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32]
    kinds_of_names, names = pairs["headrace.scalars"]
    assert kinds_of_names == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING]
    assert sorted(names) == sorted(name for name, (_, shape, _) in tensors.items() if not shape)
    assert recorded == {f"comfy.gguf.orig_shape.{name}": (kinds, list(shape)) for name, shape in deep.items()}

    back = convert(middle, "back.safetensors")
    assert read_with_safetensors(back) == tensors
    assert metadata_with_safetensors(back) == metadata


@pytest.mark.parametrize("dtype", sorted(set(SAFETENSORS_TYPES) - set(BOTH_HOLD)))
def test_types_that_gguf_cannot_hold_are_refused(headrace, tmp_path, dtype):
    header = {"fine": ("U8", (8,))} if dtype == "U8" else {"the.tensor": (dtype, (8,))}
    bits = SAFETENSORS_TYPES[dtype][0]
    entry = {n: {"dtype": d, "shape": list(s), "data_offsets": [0, bits]} for n, (d, s) in header.items()}
    text = weights.json.dumps(entry).encode()
    source = tmp_path / "in.safetensors"
    source.write_bytes(len(text).to_bytes(8, "little") + text + noise(dtype, (8,)))
    result = headrace("convert", source, "-o", "out.gguf")
    assert result.returncode == 1
    assert f"'{next(iter(header))}'" in result.stderr and dtype in result.stderr and str(source) in result.stderr
    assert not (tmp_path / "out.gguf").exists()


ARRAYS = {
    "f32": np.arange(-6, 6, dtype=np.float32).reshape(3, 4),
    "f16": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "f64": np.array([np.pi, -0.0, np.inf]),
    "i8": np.arange(-5, 5, dtype=np.int8),
    "i16": np.arange(-5, 5, dtype=np.int16).reshape(5, 2),
    "i32": np.arange(-5, 5, dtype=np.int32),
    "i64": np.array([[-(2**63), 2**63 - 1]]),
    "größe.重み": np.ones((1, 2, 3, 4), np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.array(2.5, np.float32),
}


@pytest.mark.parametrize("alignment", [None, 8, 64, 4096])
def test_what_the_gguf_package_wrote(convert, tmp_path, alignment):
    halves = ARRAYS["f32"].astype(ml_dtypes.bfloat16)
    extra = {"bf16": (Ggml.BF16, halves.view(np.uint8))}
    source = write_with_gguf(tmp_path / "in.gguf", ARRAYS | extra, alignment=alignment)
    expected = {name: (name.upper(), array.shape, array.tobytes()) for name, array in ARRAYS.items()}
    for name in ["größe.重み", "empty", "scalar"]:
        expected[name] = ("F32", *expected[name][1:])
    expected["bf16"] = ("BF16", halves.shape, halves.tobytes())

    tensors = read_with_safetensors(convert(source, "out.safetensors"))
    assert tensors == expected
    copy = convert(source, "copy.gguf")
    assert read_with_gguf(copy) == read_with_gguf(source)
    assert read_with_gguf(copy)[0] == expected
    # The way back: safetensors keeps the architecture, so only the alignment and the order of the tensors may change.
    again, pairs = read_with_gguf(convert(tmp_path / "out.safetensors", "again.gguf"))
    assert again == {name: (dtype, merged(shape), data) for name, (dtype, shape, data) in expected.items()}
    assert pairs["general.architecture"][1] == "tiny"


def add_every_kind(writer):
    for kind, values in {
        "uint8": [0, 255], "int8": [-128, 127], "uint16": [0, 65535], "int16": [-32768, 32767],
        "uint32": [0, 2**32 - 1], "int32": [-(2**31), 2**31 - 1], "uint64": [0, 2**64 - 1],
        "int64": [-(2**63), 2**63 - 1], "float32": [-0.0, 1.5, float("inf")], "float64": [1e-320, 1e308],
        "bool": [True, False], "string": ["text", "größe 重み \U0001f701", " \n\t\"\\"],
    }.items():  # fmt: skip
        for i, value in enumerate(values):
            getattr(writer, f"add_{kind}")(f"kinds.{kind}.{i}", value)
        sub_type = gguf.GGUFValueType[kind.upper()]
        writer.add_key_value(f"lists.{kind}", values, gguf.GGUFValueType.ARRAY, sub_type)
    writer.add_array("lists.lists", [[1, 2, 3], [4]])
    writer.add_array("lists.long", [f"token {i}" for i in range(5000)])
    writer.add_bool("größe", True)


def test_every_kind_of_metadata_is_copied(convert, tmp_path):
    source = write_with_gguf(tmp_path / "in.gguf", {"a": np.ones(3, np.float32)}, add_every_kind)
    copy = convert(source, "out.gguf")
    assert read_with_gguf(copy) == read_with_gguf(source)
    assert list(read_with_gguf(copy)[1]) == list(read_with_gguf(source)[1])
    # Text alone goes on to safetensors.
    texts = {k: v for k, (types, v) in read_with_gguf(source)[1].items() if types == [gguf.GGUFValueType.STRING]}
    assert len(texts) == 4
    assert metadata_with_safetensors(convert(source, "out.safetensors")) == texts


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.gguf")), ids=lambda path: path.stem)
def test_every_gguf_type_is_copied(convert, sample):
    # Written by ggml itself: every tensor type, every kind of metadata, alignments, odd shapes.
    assert convert(sample, "out.gguf").read_bytes() == sample.read_bytes()


def test_there_are_samples_of_every_type():
    types = {type for sample in SAMPLES.glob("tensors_*.gguf") for type, _, _ in all_types(sample)}
    assert {"Q4_0", "Q8_0", "Q4_K", "Q6_K", "IQ4_XS", "TQ2_0", "MXFP4", "BF16", "I64"} <= types


def all_types(sample):
    expected = weights.json.loads((SAMPLES / "expected.json").read_text())
    described = next(file for file in expected["files"] if file["file"] == sample.name)
    return [(t["type"].upper(), t["dims"], t["nbytes"]) for t in described["tensors"]]


def demanding_rows():
    """Rows that tell rounding rules apart: ordinary, tiny, huge, ties, signs, zeros, one outlier."""
    rng = np.random.default_rng(11)
    rows = [rng.standard_normal((64, 256)), rng.uniform(-1, 1, (64, 256)) * 1e-6, rng.standard_normal((16, 256)) * 6e3,
            rng.integers(-127, 128, (64, 256)) / 2, rng.integers(-8, 9, (32, 256)) * 0.5, np.zeros((1, 256)),
            -np.abs(rng.standard_normal((8, 256))), rng.standard_normal((8, 256)) * (rng.random((8, 256)) < 0.01),
            np.full((1, 256), -3.0)]  # fmt: skip
    # No negative zeros: a block of nothing else has scale -0 in ggml, but +0 in the package.
    return np.concatenate(rows).astype(np.float32) + np.float32(0)


SOURCES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F64": np.float64}


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_0"])
@pytest.mark.parametrize("source_type", SOURCES)
def test_quantised_bytes_equal_the_gguf_packages(convert, tmp_path, source_type, dtype):
    rows = demanding_rows().astype(SOURCES[source_type])
    source = write_with_safetensors(tmp_path / "in.safetensors", {"rows": (source_type, rows.shape, rows.tobytes())})
    read, pairs = read_with_gguf(convert(source, "out.gguf", "--type", dtype))
    theirs = gguf.quants.quantize(rows.astype(np.float32), Ggml[dtype])
    ours = np.frombuffer(read["rows"][2], np.uint8).reshape(theirs.shape)
    block_bytes = gguf.GGML_QUANT_SIZES[Ggml[dtype]][1]
    differing = np.flatnonzero((ours != theirs).reshape(-1, block_bytes).any(axis=1))
    assert len(differing) == 0, f"{len(differing)} blocks differ, the first {differing[:5]}"
    assert read["rows"][:2] == (dtype, rows.shape)
    assert pairs["general.file_type"][1] == {"Q8_0": 7, "Q4_0": 2}[dtype]


@pytest.mark.parametrize("dtype", ["Q8_0", "Q4_0"])
def test_what_the_gguf_package_quantised_is_decoded_alike(convert, tmp_path, dtype):
    blocks = gguf.quants.quantize(demanding_rows(), Ggml[dtype])
    source = write_with_gguf(tmp_path / "in.gguf", {"rows": (Ggml[dtype], blocks)})
    expected = gguf.quants.dequantize(blocks, Ggml[dtype])
    tensors = read_with_safetensors(convert(source, "out.safetensors", "--type", "f32"))
    assert tensors["rows"] == ("F32", expected.shape, expected.tobytes())
    assert read_with_gguf(convert(source, "copy.gguf")) == read_with_gguf(source)


CASTS = [("F16", "F32"), ("BF16", "F32"), ("F8_E4M3", "F32"), ("F8_E5M2", "F32"), ("F32", "F16"), ("F32", "BF16"),
         ("F64", "F32"), ("BF16", "F16"), ("F32", "F64"), ("F16", "BF16"), ("F32", "F8_E4M3"),
         ("F32", "F8_E5M2")]  # fmt: skip
NUMPY = SOURCES | {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}


def numbers_of(dtype):
    """Every number of a type of at most 16 bits, else many of all magnitudes and those halfway between two halves."""
    bits = 8 * np.dtype(NUMPY[dtype]).itemsize
    if bits <= 16:
        return np.arange(1 << bits, dtype=f"u{bits // 8}").view(NUMPY[dtype])
    rng = np.random.default_rng(3)
    halves = np.arange(1 << 16, dtype=np.uint16)
    singles = [(halves.astype(np.uint32) << 16 | 0x8000).view(np.float32)]  # halfway between two BF16
    near = halves.view(np.float16)
    singles.append((near.astype(np.float32) + np.nextafter(near, np.float16(np.inf)).astype(np.float32)) / 2)
    singles.append(rng.standard_normal(1 << 14).astype(np.float32) * np.float32(10.0) ** rng.integers(-30, 30, 1 << 14))
    return np.concatenate(singles).astype(NUMPY[dtype])


@pytest.mark.parametrize("source_type, target_type", CASTS)
def test_casts_equal_ml_dtypes(convert, tmp_path, source_type, target_type):
    with np.errstate(all="ignore"):
        numbers = numbers_of(source_type)
        expected = numbers.astype(NUMPY[target_type])
    source = write_with_safetensors(tmp_path / "in.safetensors", {"x": (source_type, numbers.shape, numbers.tobytes())})
    options = ["--type", target_type, "--nonfinite", "keep"]
    dtype, shape, data = read_with_safetensors(convert(source, "out.safetensors", *options))["x"]
    assert (dtype, shape) == (target_type, numbers.shape)
    ours = np.frombuffer(data, NUMPY[target_type])
    both_nan = np.isnan(ours.astype(np.float32)) & np.isnan(expected.astype(np.float32))  # whichever of the many
    same = (ours.view(f"u{ours.itemsize}") == expected.view(f"u{ours.itemsize}")) | both_nan
    bad = np.flatnonzero(~same)
    assert len(bad) == 0, f"{len(bad)} differ: {[(numbers[i], ours[i], expected[i]) for i in bad[:5]]}"
