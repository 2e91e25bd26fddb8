"""The exceptions: one for each kind of failure, all of them `headrace.Error`."""

from __future__ import annotations

import errno


class Error(Exception):
    """Something that Headrace could not do.

    ``str(error)`` is the whole story: file, tensor, byte offset, the problem, what was expected and found, and what
    can be done about it. The same for programs, each None where it says nothing: ``code`` ("io", "format",
    "unsupported", "invalid_argument", "conflict", "no_space", "budget", "value", "cancelled", "internal"),
    ``problem``, ``file``, ``tensor``, ``offset`` (bytes from the file's start), ``expected``, ``found``, ``hint``.
    """

    code: str = "internal"
    problem: str | None = None
    file: str | None = None
    tensor: str | None = None
    offset: int | None = None
    expected: str | None = None
    found: str | None = None
    hint: str | None = None

    def __reduce__(self) -> tuple:  # so that they pass between processes whole
        fields = dict(self.__dict__)
        if isinstance(self, OSError):
            fields.update(errno=self.errno, filename=self.filename)
        return _restore, (type(self), str(self), fields)


class IoError(Error, OSError):
    """The system refused a read, a write, a flush or a rename. ``errno`` is its number, ``filename`` is ``file``."""

    code = "io"

    def __str__(self) -> str:  # OSError would make its own text
        return Exception.__str__(self)


class MissingFileError(IoError, FileNotFoundError):
    """There is no such file."""


class FormatError(Error, ValueError):
    """A file's bytes break the rules of its format."""

    code = "format"


class UnsupportedError(Error, NotImplementedError):
    """Valid, but this build or the target format can't do it."""

    code = "unsupported"


class InvalidArgumentError(Error, ValueError):
    """Something was asked for that makes no sense."""

    code = "invalid_argument"


class ConflictError(Error, FileExistsError):
    """The output exists, or is one of the inputs."""

    code = "conflict"

    def __str__(self) -> str:
        return Exception.__str__(self)


class NoSpaceError(IoError):
    """The file system can't hold the output."""

    code = "no_space"


class BudgetError(Error, MemoryError):
    """The memory budget is too small for the job."""

    code = "budget"


class ValueConversionError(Error, ValueError):
    """A number in a tensor can't be represented in the type asked for."""

    code = "value"


class CancelledError(Error):
    """The job was cancelled."""

    code = "cancelled"


_BY_CODE = {
    kind.code: kind
    for kind in (IoError, FormatError, UnsupportedError, InvalidArgumentError, ConflictError, NoSpaceError,
                 BudgetError, ValueConversionError, CancelledError)
}


def _restore(kind: type[Error], text: str, fields: dict) -> Error:
    error = kind(text)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def make(code: str, text: str, problem=None, file=None, tensor=None, offset=None, expected=None, found=None,
         hint=None, system=0) -> Error:
    """The exception of a code, with its fields. `system`: errno, where the system refused something."""
    if hint and "--" in hint:
        spoken = _as_keywords(hint)
        text, hint = text.replace(hint, spoken), spoken
    kind = MissingFileError if system == errno.ENOENT and code == "io" else _BY_CODE.get(code, Error)
    error = kind(text)
    if isinstance(error, OSError):
        error.errno, error.filename = system or None, file
    error.code = code
    error.problem, error.file, error.tensor, error.offset = problem, file, tensor, offset
    error.expected, error.found, error.hint = expected, found, hint
    return error


def _as_keywords(hint: str) -> str:
    """The command's options as Python's keywords: "raise --memory" becomes "raise memory"."""
    words = hint.replace("--force", "force=True").split("--")
    return words[0] + "".join(_dashes_replaced(word) for word in words[1:])


def _dashes_replaced(text: str) -> str:
    end = next((i for i, letter in enumerate(text) if letter != "-" and not letter.isalpha()), len(text))
    return text[:end].replace("-", "_") + text[end:]


def refuse(problem: str, *, code: str = "invalid_argument", file=None, tensor=None, expected=None, found=None,
           hint=None) -> Error:
    """An error found on Python's side, worded as the library words its own."""
    text = ": ".join(part for part in (file, f"tensor '{tensor}'" if tensor is not None else None, problem) if part)
    sides = [f"{word} {value}" for word, value in (("expected", expected), ("found", found)) if value]
    text += f" ({', '.join(sides)})" if sides else ""
    text += f"; {hint}" if hint else ""
    return make(code, text, problem, file, tensor, None, expected, found, hint)
