"""The keywords of plan(), convert(), verify() and load() made plain for the library: str, int, bool and lists of str."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping

from . import _core
from ._dtypes import spelt
from ._errors import refuse


def plain(given: Mapping[str, object]) -> dict[str, object]:
    """What was given, without what was left at its default. Raises InvalidArgumentError, naming the keyword."""
    left = dict(given)
    for_, profile = left.pop("for_", None), left.get("profile")
    if for_ is not None:
        if profile is not None and profile != for_:
            raise refuse("for_ and profile are one option", found=f"{for_!r} and {profile!r}")
        left["profile"] = for_
    return {key: _KINDS[key](key, value) for key, value in left.items() if value is not None and value is not False}


def _wrong(key: str, value: object, expected: str):
    return refuse(f"{key}: found {type(value).__name__} {value!r}", expected=expected)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(key, value, "a str")
    return value


def _path(key: str, value: object) -> str:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise _wrong(key, value, "a path")
    return os.fsdecode(value)


def _list(key: str, value: object) -> list:
    """One value counts as a list of one."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _texts(key: str, value: object) -> list[str]:
    return [_text(key, one) for one in _list(key, value)]


def _paths(key: str, value: object) -> list[str]:
    return [_path(key, one) for one in _list(key, value)]


def _flag(key: str, value: object) -> bool:
    if value is not True:  # False is a default
        raise _wrong(key, value, "True or False")
    return value


def _number(key: str, value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise _wrong(key, value, "a whole number") from None


def _size(key: str, value: object) -> str | int:
    return value if isinstance(value, str) else _number(key, value)


def _type(key: str, value: object) -> str | None:
    name = spelt(value)
    return None if name.lower() == "copy" else name  # llama-quantize's word for no type


def _recipe(key: str, value: object) -> str | None:
    return None if _text(key, value).lower() == "copy" else value


def _assignments(key: str, value: object, text_of: Callable[[object], str]) -> list[str]:
    """Texts "NAME=VALUE", or a mapping."""
    if isinstance(value, Mapping):
        return [f"{_text(key, name)}={text_of(one)}" for name, one in value.items()]
    return _texts(key, value)


def _rules(key: str, value: object) -> list[str]:
    return _assignments(key, value, spelt)


def _rename(key: str, value: object) -> list:
    if isinstance(value, Mapping):
        return [(_text(key, pattern), _text(key, text)) for pattern, text in value.items()]
    return _texts(key, value)


def _concat(key: str, value: object) -> list[str]:
    return _assignments(key, value, lambda parts: ",".join(_texts(key, parts)))


def _split(key: str, value: object) -> list[str]:
    def parts(given: object) -> str:
        if isinstance(given, Mapping):
            return ",".join(f"{_text(key, name)}:{_number(key, rows)}" for name, rows in given.items())
        return ",".join(_texts(key, given))

    return _assignments(key, value, parts)


def _layers(key: str, value: object) -> list[int]:
    if not isinstance(value, str):
        return [_number(key, one) for one in (value if isinstance(value, range) else _list(key, value))]
    try:
        return [int(one) for one in value.split(",")]
    except ValueError:
        raise _wrong(key, value, "numbers, such as [3, 5] or '3,5'") from None


def _override_kv(key: str, value: object) -> list:
    if not isinstance(value, Mapping):
        return _texts(key, value)
    return [(_text(key, name), _value(f"{key}: {name}", one)) for name, one in value.items()]


def _value(key: str, value: object) -> str | int | float | bool:
    """numpy's numbers as Python's."""
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, (str, int, float)):  # a bool is an int
        raise _wrong(key, value, "str, int, float or bool")
    return value


def _headers(key: str, value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{_text(key, name)}: {_text(key, one)}" for name, one in value.items()]
    return _texts(key, value)


def _callable(key: str, value: object) -> Callable:
    if not callable(value):
        raise _wrong(key, value, "a function")
    return value


def _converter(key: str, value: object) -> Callable[[str], str]:
    """Its answers may be paths of any kind."""
    convert = _callable(key, value)
    return lambda name: _path(key, convert(name))


_KINDS: dict[str, Callable[[str, object], object]] = {
    "to": _text, "type": _type, "rules": _rules, "rules_file": _paths, "tensor_type_rules": _text, "profile": _path,
    "recipe": _recipe, "pure": _flag, "output_tensor_type": _type, "token_embedding_type": _type,
    "leave_output_tensor": _flag, "allow_requantize": _flag, "component": _text, "select": _texts, "drop": _texts,
    "strip_prefix": _texts, "rename": _rename, "prefix": _text, "split": _split, "concat": _concat, "prefer": _text,
    "prune_layers": _layers, "override_kv": _override_kv, "imatrix": _paths, "include_weights": _texts,
    "exclude_weights": _texts, "architecture": _text, "nonfinite": _text, "measure": _flag, "shard_size": _size,
    "memory": _size, "threads": _number, "force": _flag, "torch_key": _text, "variant": _text, "headers": _headers,
    "connections": _number, "fetch": _callable, "weight_path_prefix": _path, "weight_url_converter": _converter,
    "host_threshold": _number, "keep_host_copy": _flag, "host_reads": _text,
    "alignment": _number, "strict": _texts,
}


def count(value: int, what: str, least: int, most: int) -> int:
    """A whole number within its bounds."""
    try:
        number = operator.index(value)
    except TypeError:
        raise refuse(f"{what}: {value!r} is no whole number") from None
    if isinstance(value, bool) or not least <= number <= most:
        raise refuse(f"{what}: found {value!r}", expected=f"a number from {least} to {most}")
    return number


def byte_count(amount: Bytes | None, what: str) -> int | None:
    """Bytes, given as a number or as people write them: "5GB", "64MiB"."""
    if amount is None:
        return None
    if not isinstance(amount, str):
        return count(amount, what, 0, (1 << 64) - 1)
    found = _core.parse_bytes(amount)
    if found is None:
        raise refuse(f"{what}: {amount!r} is no number of bytes", hint="write 4096, 64MiB, 5GB")
    return found
