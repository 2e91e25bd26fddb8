"""Saving whole dictionaries, and tensors that come one at a time, under the names people know."""

from __future__ import annotations

import os

from ._errors import refuse
from ._source import describe, has_data, is_torch
from ._writer import Writer, specs_of

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future
    from typing import Any

    from ._types import OutputPath

# In which order the reference writer lays types: the widest first, and these among equals.
_ORDER = ("U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E5M2FNUZ", "F8_E4M3FNUZ",
          "F8_E8M0", "F8_E4M3", "F8_E5M2", "I8", "U8", "F6_E3M2", "F6_E2M3", "F4", "BOOL")


def save_file(tensors: Mapping[str, Any], filename: OutputPath, metadata: Mapping[str, str] | None = None) -> None:
    """Saves a dictionary of tensors of torch or arrays of numpy; a drop-in for safetensors.torch.save_file and
    safetensors.numpy.save_file, with the same bytes.

    What it adds: tensors that don't lie in one piece are saved without a copy of them; the file appears complete and
    flushed, or not at all; a name ending in .gguf gives GGUF. An existing file is replaced.

    tensors: by name. Two torch tensors that share memory are refused: they would be two after loading
        (``headrace.torch.save_streaming`` saves tied weights once).
    metadata: of str to str.
    Raises InvalidArgumentError, UnsupportedError, NoSpaceError, IoError.
    """
    _refuse_shared(tensors)
    specs = {spec[0]: spec for spec in specs_of(tensors)}
    rank = {dtype: i for i, dtype in enumerate(_ORDER)}
    order = sorted(specs.values(), key=lambda spec: (rank.get(spec[1], 0), spec[0].encode("utf-8", "surrogateescape")))
    with Writer(filename, order, metadata=metadata, force=True) as writer:
        for name, *_ in order:
            writer.write(name, tensors[name])


def _refuse_shared(tensors: Mapping[str, Any]) -> None:
    """Of tensors that lie in one piece, what they cover is compared; of others, whether they are the same view."""
    taken: dict[Any, list[tuple[int, int, str]]] = {}
    for name, value in tensors.items():
        if not is_torch(value) or value.device.type == "meta" or value.numel() == 0 or str(value.layout) != _DENSE:
            continue
        if not has_data(value):
            continue  # refused when it is written
        last = sum((extent - 1) * stride for extent, stride in zip(value.shape, value.stride()))
        first, whole = value.data_ptr(), last + 1 == value.numel()
        key = (value.device, value.untyped_storage().data_ptr())
        if not whole:
            key = (*key, first, value.dtype, value.shape, value.stride(), value.is_conj(), value.is_neg())
        taken.setdefault(key, []).append((first, first + (last + 1) * value.element_size(), name))
    for ranges in taken.values():
        ranges.sort()
        for (_, end, name), (first, _, other) in zip(ranges, ranges[1:]):
            if first < end:
                raise refuse(f"it shares memory with '{name}', and would be a tensor of its own after loading",
                             tensor=other, hint="save one of them, or use headrace.torch.save_streaming, which saves "
                                                "tied weights once; .clone() makes them two")


_DENSE = "torch.strided"


def collect_state_dict_meta(module: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    """(name, dtype, shape) of all tensors of a module or of its state dict: what `save_safetensors_streaming` wants to
    know first. No tensor is copied or moved."""
    state = module.state_dict() if hasattr(module, "state_dict") else module
    return [(name, *describe(value, name)) for name, value in state.items()]


def save_safetensors_streaming(tensor_iter: Iterable[tuple[str, Any]], filepath: OutputPath, state_dict_meta: Any, *,
                               rename: bool = True, asynchronous: bool = False,
                               metadata: Mapping[str, str] | None = None) -> str | Future[str]:
    """Saves tensors that come one at a time, in any order; only one of them need be in memory.

    tensor_iter: of (name, tensor), tensors of torch on the CPU or arrays of numpy.
    filepath: the file to be written; it has the name filepath + ".tmp" meanwhile. An existing one is replaced.
    state_dict_meta: (name, dtype, shape) of every tensor, dtypes as "BF16", "bfloat16" or torch.bfloat16; or a
        mapping of names to (dtype, shape). See `collect_state_dict_meta`.
    rename: when False, the complete file keeps its temporary name, and fsync and rename are the caller's.
    asynchronous: tensors are taken and written before it returns; flushing and renaming go on in the background.
    metadata: of str to str.

    Returns the final path; with rename=False the temporary's; with asynchronous=True a future of the final path.
    Raises InvalidArgumentError, and leaves no file, for a tensor that differs from its declaration, comes twice, wasn't
    declared, is missing or is on another device; NoSpaceError, IoError.
    """
    if asynchronous and not rename:
        raise refuse("asynchronous=True flushes and renames in the background, rename=False leaves that to you",
                     hint="choose one of them")
    path = os.fsdecode(filepath)
    temporary = os.path.basename(path) + ".tmp"
    writer = Writer(path, state_dict_meta, metadata=metadata, to="safetensors", force=True, temporary=temporary)
    try:
        left = dict.fromkeys(writer._declared)
        for name, tensor in tensor_iter:
            if name in writer._declared and name not in left:
                raise refuse("the tensor came twice", file=path, tensor=name)
            writer.write(name, tensor)
            left.pop(name, None)
            del tensor  # the next one is made before this name is bound again
        if left:
            raise refuse("tensors are missing: " + _some(left), file=path)
        return writer.commit_async() if asynchronous else writer.commit() if rename else writer.leave()
    except BaseException:
        writer.abandon()
        raise


def _some(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    text = ", ".join(f"'{name}'" for name in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
