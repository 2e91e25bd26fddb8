"""What the gguf package reads in a GGUF."""

import gguf


def read_gguf(path):
    """{name: (type name, shape, bytes)}, the outermost dimension first."""
    return {
        t.name: (t.tensor_type.name, tuple(int(n) for n in reversed(t.shape)), t.data.tobytes())
        for t in gguf.GGUFReader(path).tensors
    }


def read_pairs(path):
    """{key: (type name, value)} of the metadata."""
    fields = gguf.GGUFReader(path).fields
    return {key: (f.types[0].name, f.contents()) for key, f in fields.items() if not key.startswith("GGUF.")}
