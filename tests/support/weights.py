"""Small checkpoints for tests, written byte by byte: nothing here depends on the code under test."""

import json
import struct

import numpy as np

# safetensors' names of numpy's types.
NAMES = {
    np.dtype(np.bool_): "BOOL",
    np.dtype(np.uint8): "U8",
    np.dtype(np.int8): "I8",
    np.dtype(np.int16): "I16",
    np.dtype(np.int32): "I32",
    np.dtype(np.int64): "I64",
    np.dtype(np.float16): "F16",
    np.dtype(np.float32): "F32",
    np.dtype(np.float64): "F64",
}
ITEM_BYTES = {name: dtype.itemsize for dtype, name in NAMES.items()} | {"BF16": 2}


def random_floats(*shape, seed=1):
    """Normally distributed float32 numbers, the same ones every time."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def safetensors_header(tensors, metadata=None):
    """`tensors`: {name: (dtype name, shape)}. The header's bytes, length included, and the bytes of data to follow."""
    header, end = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + ITEM_BYTES[dtype] * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, end


def write_safetensors(path, tensors, metadata=None):
    """`tensors`: {name: numpy array}."""
    header, _ = safetensors_header({name: (NAMES[a.dtype], a.shape) for name, a in tensors.items()}, metadata)
    path.write_bytes(header + b"".join(a.tobytes() for a in tensors.values()))
    return path


def write_sparse_safetensors(path, tensors):
    """`tensors`: {name: (dtype name, shape)}; all zeros, which take no room on the disk."""
    header, data_bytes = safetensors_header(tensors)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
    return path


def read_safetensors(path):
    """{name: (dtype name, shape, bytes)}."""
    content = path.read_bytes()
    data = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:data])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], tuple(entry["shape"]), content[data + begin : data + end])
    return tensors


# GGUF's value types: their numbers and how their values are packed.
GGUF_VALUES = {
    "u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"), "i32": (5, "<i"),
    "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"), "f64": (12, "<d"),
}  # fmt: skip


def _gguf_string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def _gguf_number_of(kind):
    return {"string": 8, "array": 9}.get(kind) or GGUF_VALUES[kind][0]


def _gguf_value(kind, value):
    if kind == "string":
        return _gguf_string(value)
    if kind == "array":
        element, values = value
        head = struct.pack("<IQ", _gguf_number_of(element), len(values))
        return head + b"".join(_gguf_value(element, v) for v in values)
    return struct.pack(GGUF_VALUES[kind][1], value)


def write_gguf(path, pairs=(), tensors=None, alignment=32):
    """`pairs`: (key, kind, value) each, an array's value being (kind, values). `tensors`: {name: float32 array}; names
    may be bytes."""
    tensors = tensors or {}
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)))
    for key, kind, value in pairs:
        out += _gguf_string(key) + struct.pack("<I", _gguf_number_of(kind)) + _gguf_value(kind, value)
    data = b""
    for name, array in tensors.items():
        shape = array.shape[::-1]
        out += _gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += array.astype("<f4").tobytes()
        data += b"\0" * (-len(data) % alignment)
    path.write_bytes(out + b"\0" * (-len(out) % alignment) + data)
    return path
