"""load_state_dict: a checkpoint, or several, as one state dict of torch's."""

from __future__ import annotations

from ._errors import refuse
from ._weights import load

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import torch

    from ._types import DType, Path


def load_state_dict(path: Path | Sequence[Path], device: Any = "cpu", torch_dtype: DType | None = None,
                    **options: Any) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint of any format, or of several, as torch tensors on a device.

    torch_dtype: that numbers are converted to while they are read, types of blocks too; integers stay. Without, all are
        as they are, types of blocks as rows of bytes.
    options: as for headrace.load, which this is in other words.

    Raises ConflictError for a name that two of them have, and what load() raises.
    """
    paths = path if isinstance(path, (list, tuple)) else [path]
    if not paths:
        raise refuse("path: found an empty list", expected="a path or a list of them")
    state: dict[str, torch.Tensor] = {}
    for one in paths:
        tensors = load(one, device, framework="torch", dtype=torch_dtype, **options)
        both = next((name for name in tensors if name in state), None)
        if both is not None:
            raise refuse("another of the files has a tensor of this name", code="conflict", file=str(one), tensor=both,
                         hint="load them one by one")
        if not state and len(paths) == 1:
            return tensors
        state.update(tensors)
    return state
