"""Metadata between Python's values and GGUF's."""

import struct

import headrace
import numpy as np
import pytest
from headrace import _core


def string(text):
    return struct.pack("<Q", len(text)) + text


def array(kind, *elements):
    return struct.pack("<IQ", kind, len(elements)) + b"".join(elements)


def packed(code, *numbers):
    return [struct.pack("<" + code, number) for number in numbers]


@pytest.mark.parametrize(
    "value, kind, data",
    [
        ("text", "string", string(b"text")),
        ("größe", "string", string("größe".encode())),
        ("\udcff", "string", string(b"\xff")),  # bytes that were no UTF-8 in the file they came from
        ("", "string", string(b"")),
        (True, "bool", b"\1"),
        (False, "bool", b"\0"),
        (0, "u32", packed("I", 0)[0]),
        (2**32 - 1, "u32", packed("I", 2**32 - 1)[0]),
        (2**32, "u64", packed("Q", 2**32)[0]),
        (2**64 - 1, "u64", packed("Q", 2**64 - 1)[0]),
        (-1, "i32", packed("i", -1)[0]),
        (-(2**31), "i32", packed("i", -(2**31))[0]),
        (-(2**31) - 1, "i64", packed("q", -(2**31) - 1)[0]),
        (0.1, "f32", packed("f", 0.1)[0]),
        (float("inf"), "f32", packed("f", float("inf"))[0]),
        (1e300, "f64", packed("d", 1e300)[0]),
        ([], "array", array(8)),
        (["a", "b"], "array", array(8, string(b"a"), string(b"b"))),
        ([True, False], "array", array(7, b"\1", b"\0")),
        ((1, -2), "array", array(5, *packed("i", 1, -2))),
        ([2**32 - 1], "array", array(4, *packed("I", 2**32 - 1))),
        ([-1, 2**40], "array", array(11, *packed("q", -1, 2**40))),
        ([1, 2**64 - 1], "array", array(10, *packed("Q", 1, 2**64 - 1))),
        ([1, 0.5], "array", array(6, *packed("f", 1, 0.5))),
        ([1, 1e300], "array", array(12, *packed("d", 1, 1e300))),
        ([[1], ["a"]], "array", array(9, array(5, *packed("i", 1)), array(8, string(b"a")))),
        (np.int64(7), "u32", packed("I", 7)[0]),
        (np.float32(0.5), "f32", packed("f", 0.5)[0]),
        (np.bool_(True), "bool", b"\1"),
        (np.arange(3), "array", array(5, *packed("i", 0, 1, 2))),
        ([np.float32(0.5)], "array", array(6, *packed("f", 0.5))),
    ],
)
def test_values_get_the_types_that_llama_cpp_gives_them(value, kind, data):
    assert _core.encode_metadata({"key": value}) == {"key": (kind, data)}


def test_pairs_keep_their_order():
    pairs = {"z": 1, "a": 2, "m": 3}
    assert list(_core.encode_metadata(pairs)) == ["z", "a", "m"]


@pytest.mark.parametrize(
    "value, words",
    [
        (None, ["of a type", "found NoneType"]),
        (b"bytes", ["of a type", "found bytes"]),
        ({"a": 1}, ["of a type", "found dict"]),
        (2**64, ["beyond 64 bits", str(2**64)]),
        (-(2**63) - 1, ["beyond 64 bits"]),
        ([-1, 2**64 - 1], ["no one type"]),
        ([1, "a"], ["no type in common", "expected int, found str"]),
        ([True, 1], ["no type in common", "expected bool, found int"]),
        ([None], ["a list of a type", "NoneType"]),
        ([0.5, 10**400], ["too large for a float"]),
    ],
)
def test_values_that_metadata_cannot_hold_are_refused(value, words):
    with pytest.raises(headrace.InvalidArgumentError) as caught:
        _core.encode_metadata({"the.key": value})
    assert str(caught.value).startswith("metadata 'the.key': ")
    for word in words:
        assert word in str(caught.value)


def test_lists_in_lists_have_an_end():
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(headrace.InvalidArgumentError, match="too deep"):
        _core.encode_metadata({"key": deep})


def test_keys_are_texts():
    with pytest.raises(headrace.InvalidArgumentError, match="no text.*found int"):
        _core.encode_metadata({1: "a"})
