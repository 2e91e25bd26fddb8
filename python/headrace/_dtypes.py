"""Element types: Headrace's names for those of torch, numpy and ml_dtypes."""

from __future__ import annotations

from . import _core
from ._errors import refuse


# Types that a file packs into less than a byte an element, as ml_dtypes has them: a byte an element.
UNPACKED = {"float4_e2m1fn": "F4", "float6_e2m3fn": "F6_E2M3", "float6_e3m2fn": "F6_E3M2"}


def spelt(dtype: object) -> str:
    """The name that a type goes by where it comes from: a str as it is, torch.bfloat16, numpy.dtype("float16"),
    numpy.float32, ml_dtypes.bfloat16."""
    if isinstance(dtype, str):
        name = dtype
    elif isinstance(dtype, type):
        name = dtype.__name__.rstrip("_")  # numpy.bool_, as it was once called
    else:
        name = getattr(dtype, "name", None) or str(dtype)
    return name[len("torch."):] if name.startswith("torch.") else name


def dtype_name(dtype: object, *, tensor: str | None = None) -> str:
    """Headrace's name of an element type ("BF16", "F32", "Q4_K"), given by any of its names, in any case, or as an
    object of torch, numpy or ml_dtypes.

    Raises InvalidArgumentError for what is no such type.
    """
    name = spelt(dtype)
    known = _core.parse_dtype(name) or UNPACKED.get(name)
    if known is not None:
        return known
    near = " or ".join(_core.closest(name, list(_core.dtypes())))
    raise refuse(f"unknown type {name!r}", tensor=tensor, hint=f"did you mean {near}?" if near else None)
