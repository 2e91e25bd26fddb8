"""Reads a GGUF with the gguf package, as ComfyUI-GGUF's loader does."""

import math

import gguf
from gguf import GGUFValueType as Kind

ARCHITECTURES = {
    "flux", "sd1", "sdxl", "sd3", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan", "lumina2", "qwen_image",
}  # fmt: skip
SHAPE_KEY = "comfy.gguf.orig_shape."


def value_of(reader, key, *kinds):
    """The value of metadata, which has to be of that kind."""
    field = reader.get_field(key)
    assert field is not None, key
    assert field.types == list(kinds), key
    return field.contents()


def shape_of(reader, tensor):
    """As recorded in the metadata, or else as listed; outermost dimension first."""
    if reader.get_field(SHAPE_KEY + tensor.name) is None:
        return tuple(int(dim) for dim in reversed(tensor.shape))
    return tuple(value_of(reader, SHAPE_KEY + tensor.name, Kind.ARRAY, Kind.INT32))


def load(path):
    """The architecture and {name: (type, shape, float32 numbers)}."""
    reader = gguf.GGUFReader(path)
    architecture = value_of(reader, "general.architecture", Kind.STRING)
    assert architecture in ARCHITECTURES
    value_of(reader, "general.file_type", Kind.UINT32)
    assert value_of(reader, "general.quantization_version", Kind.UINT32) == 2
    tensors = {}
    for tensor in reader.tensors:
        assert len(tensor.name.encode()) <= 127
        shape = shape_of(reader, tensor)
        assert math.prod(shape) == tensor.n_elements, tensor.name
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        tensors[tensor.name] = (tensor.tensor_type.name, shape, numbers)
    recorded = [key.removeprefix(SHAPE_KEY) for key in reader.fields if key.startswith(SHAPE_KEY)]
    assert set(recorded) <= tensors.keys()
    return architecture, tensors
