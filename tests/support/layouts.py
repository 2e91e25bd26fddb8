"""The tensors of published models, by tests/data/layouts: whole but without weights, or small with random ones."""

import itertools
import json
import math
import pathlib
import re

import numpy as np
from narrow_floats import BF16

FOLDER = pathlib.Path(__file__).parent.parent / "data/layouts"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
DTYPES = {"BF16": BF16, "F16": np.float16, "F32": np.float32, "I64": np.int64}


def tensors(layout):
    """{name: (dtype name, shape)}, with what stands in braces written out."""
    document = json.loads((FOLDER / f"{layout}.json").read_text())
    listed = {}
    for name, shape, *own in document["tensors"]:
        texts = re.split(r"\{\d+\.\.\d+\}", name)
        ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"\{(\d+)\.\.(\d+)\}", name)]
        for numbers in itertools.product(*ranges):
            pairs = itertools.zip_longest(texts, map(str, numbers), fillvalue="")
            listed["".join(itertools.chain(*pairs))] = (own[0] if own else document["dtype"], tuple(shape))
    return listed


def shrunk(shape):
    """A smaller shape of as many dimensions, alike in what profiles ask: whether the row and the number of elements are
    multiples of 256, and whether there are more than 1,024 elements."""
    if len(shape) < 2:
        return tuple(dim % 256 or 256 for dim in shape)
    small = [dim % 16 or 16 for dim in shape[:-1]] + [shape[-1] % 256 or 256]
    elements = math.prod(shape)
    while (elements % 256 == 0 and math.prod(small) % 256) or (elements > 1024 and math.prod(small) <= 1024):
        small[0] *= 2
    return tuple(small)


def small(layout, dtype=None):
    """{name: random array in the shrunken shape}; floats are of `dtype` where one is given."""
    random = np.random.default_rng(1)
    arrays = {}
    for name, (own, shape) in tensors(layout).items():
        numbers = random.standard_normal(shrunk(shape), dtype=np.float32)
        arrays[name] = numbers.astype(DTYPES[own if own == "I64" else dtype or own])
    return arrays
