"""Floats that numpy itself lacks: importing this teaches `weights` to write them."""

import ml_dtypes
import numpy as np

import weights

BF16 = np.dtype(ml_dtypes.bfloat16)
F8_E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
F8_E5M2 = np.dtype(ml_dtypes.float8_e5m2)

for _dtype, _name in [(BF16, "BF16"), (F8_E4M3, "F8_E4M3"), (F8_E5M2, "F8_E5M2")]:
    weights.NAMES[_dtype] = _name
    weights.ITEM_BYTES[_name] = _dtype.itemsize


def finite_bytes(dtype, *shape, seed=1):
    """8-bit floats of that type: every finite one comes up, the rest at random."""
    every = np.arange(256, dtype=np.uint8).view(dtype)
    every = every[np.isfinite(every.astype(np.float32))]
    count = int(np.prod(shape, dtype=np.int64))
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([every, rng.choice(every, max(count - len(every), 0))])[:count]
    return rng.permutation(chosen).reshape(shape)
