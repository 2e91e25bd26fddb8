"""What a conversion reads: paths and URLs, lists of them, components by name."""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import _core
from ._errors import refuse


def location(source: object, what: str = "source") -> str:
    """A path or URL as text; bytes and os.PathLike too."""
    if isinstance(source, (str, bytes, os.PathLike)):
        text = os.fsdecode(source)
        if text:
            return text
        raise refuse(f"{what}: found an empty text", expected="a path, a folder, a URL or '-'")
    raise refuse(f"{what}: found {type(source).__name__}", expected="a path, a folder, a URL or '-'")


def inputs(source: object) -> list[tuple[str, str]]:
    """Pairs of location and prefix, in the order in which their tensors come."""
    if isinstance(source, Mapping):
        found = _components(source)
    elif isinstance(source, (list, tuple)):
        found = [pair for one in source for pair in _one(one)]
    else:
        found = _one(source)
    if not found:
        raise refuse("no input was given", expected="a path, a folder, a URL or '-'")
    return found


def _one(source: object, prefix: str = "", what: str = "source") -> list[tuple[str, str]]:
    if isinstance(source, _core.Input):
        return [(location(source.location, what), source.prefix)]
    return [(location(source, what), prefix)]


def _several(source: object, prefix: str, what: str) -> list[tuple[str, str]]:
    sources = source if isinstance(source, (list, tuple)) else [source]
    return [pair for one in sources for pair in _one(one, prefix, what)]


def _components(source: Mapping) -> list[tuple[str, str]]:
    """Models first, then the components in the order of an all-in-one file, then other prefixes as they come."""
    known = _core.components()
    given = {}
    for key, value in source.items():
        if not isinstance(key, str):
            raise refuse(f"source: a component called {key!r}", expected="a str")
        name = key.replace("-", "_")
        name = name if name in known or name == "model" else key
        if name in given:
            raise refuse(f"source: the component {name!r} is given twice")
        if name not in known and name != "model" and not name.endswith("."):
            near = " or ".join(_core.closest(name, list(known)))
            raise refuse(f"source: unknown component {name!r}" + (f" (did you mean {near}?)" if near else ""),
                         expected=", ".join(["model", *known]) + " or a prefix that ends with a dot",
                         hint="headrace.Input(location, prefix) takes any prefix")
        if value is not None:
            given[name] = value
    found = _several(given.pop("model"), "", "model") if "model" in given else []
    for name, prefix in known.items():
        if name in given:
            found += _several(given.pop(name), prefix, name)
    for prefix, value in given.items():
        found += _several(value, prefix, prefix)
    return found
