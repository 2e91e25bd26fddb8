"""What numpy and torch call element types, and the two themselves, imported when they are used."""

from __future__ import annotations

from . import _core
from ._errors import refuse

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from typing import Any

    import numpy
    import torch

_NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
}
_ML_DTYPES = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn",
}
_TORCH = {
    **_NUMPY, **_ML_DTYPES, "F4": "float4_e2m1fn_x2",
}
del _TORCH["F6_E2M3"], _TORCH["F6_E3M2"]

# Filled when asked for: importing the frameworks takes longer than everything else here.
_numpy_dtypes: dict[str, Any] = {}
_torch_dtypes: dict[str, Any] = {}
_table: dict[str, tuple[str, int, int, bool, bool]] = {}


def about(name: str) -> tuple[str, int, int, bool, bool]:
    """Of a canonical name: the kind, the elements and bytes of a block, whether it can be read and made."""
    if not _table:
        _table.update(_core.dtype_table())
    return _table[name]


def is_packed(name: str) -> bool:
    """True for types of several numbers to a block: ggml's, F4, F6."""
    return about(name)[1] > 1


def raw_shape(name: str, shape: tuple[int, ...], nbytes: int) -> tuple[int, ...]:
    """Of a tensor's bytes as uint8: [..., rows, bytes of a row] for types of blocks, one dimension for all others."""
    kind, elements, size = about(name)[:3]
    return (*shape[:-1], shape[-1] // elements * size) if kind == "block" else (nbytes,)


def import_numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise refuse("numpy isn't installed", code="unsupported", hint="pip install numpy, or use .torch()") from error
    return numpy


def import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise refuse("torch isn't installed", code="unsupported", hint="pip install torch, or use .numpy()") from error
    return torch


def numpy_dtype(name: str, *, tensor: str | None = None) -> numpy.dtype:
    """numpy's type of a canonical name; ml_dtypes' where numpy has none. Raises UnsupportedError where neither has."""
    found = _numpy_dtypes.get(name)
    if found is None:
        found = _numpy_dtypes[name] = _find_numpy_dtype(name, tensor)
    return found


def _find_numpy_dtype(name: str, tensor: str | None) -> Any:
    numpy = import_numpy()
    if name in _NUMPY:
        return numpy.dtype(_NUMPY[name])
    if name not in _ML_DTYPES:
        raise refuse(f"numpy has no type for {name}", code="unsupported", tensor=tensor,
                     hint=_way_out(name))
    try:
        import ml_dtypes

        return numpy.dtype(getattr(ml_dtypes, _ML_DTYPES[name]))
    except (ImportError, AttributeError) as error:
        raise refuse(f"numpy has no {name} without ml_dtypes", code="unsupported", tensor=tensor,
                     hint='pip install ml_dtypes, or use .torch(), .raw() or dtype="F32"') from error


def _way_out(name: str) -> str:
    return ('dtype="F32" decodes it, ' if about(name)[3] else "") + ".raw() gives its bytes"


def torch_dtype(name: str, *, tensor: str | None = None) -> torch.dtype:
    """torch's type of a canonical name. Raises UnsupportedError where it has none."""
    found = _torch_dtypes.get(name)
    if found is None:
        found = getattr(import_torch(), _TORCH.get(name, ""), None)
        if found is None:
            raise refuse(f"torch has no type for {name}", code="unsupported", tensor=tensor, hint=_way_out(name))
        _torch_dtypes[name] = found
    return found
