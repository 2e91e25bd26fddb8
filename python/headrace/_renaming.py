"""state_dict_converter: a function that renames a state dict, asked for the names alone."""

from __future__ import annotations

from collections.abc import Mapping

from ._errors import Error, refuse

TYPE_CHECKING = False  # importing typing takes longer than this package
if TYPE_CHECKING:
    from collections.abc import Callable


def converted_names(converter: Callable[[dict[str, str]], Mapping[str, str]] | None, names: list[str],
                    file: str) -> dict[str, str]:
    """New names, in the converter's order, and of each the old one. The converter sees every name as its own value."""
    if converter is None:
        return {name: name for name in names}
    if not callable(converter):
        raise refuse(f"state_dict_converter: found {type(converter).__name__} {converter!r}", expected="a function")
    try:
        converted = converter({name: name for name in names})
    except Error:
        raise
    except KeyError as error:
        raise refuse("state_dict_converter asked for a tensor that isn't there", file=file,
                     found=str(error)) from error
    except Exception as error:
        raise _computes(file, found=f"{type(error).__name__}: {error}") from error
    if not isinstance(converted, Mapping):
        raise refuse("state_dict_converter returned no state dict", file=file, expected="a dict of new name to value",
                     found=type(converted).__name__)
    known = set(names)
    for new, old in converted.items():
        if not isinstance(new, str):
            raise refuse("state_dict_converter returned a name that is no text", file=file, found=repr(new))
        if not isinstance(old, str) or old not in known:
            raise _computes(file, tensor=new, found=repr(old)[:80])
    return dict(converted)


def _computes(file: str, tensor: str | None = None, found: str | None = None) -> Error:
    return refuse("state_dict_converter computes with tensors, and a map can only rename", code="unsupported",
                  file=file, tensor=tensor, expected="values as they were given: each is a tensor's name", found=found,
                  hint="convert the checkpoint first, and map what comes of it")
