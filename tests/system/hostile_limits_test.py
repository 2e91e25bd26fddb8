"""Any file under a megabyte is accepted or refused at once and in little memory: the worst ones that come to mind.

Memory decides; time is printed, and decides only at twenty times what it should be, for machines that are busy.
"""

import itertools
import os
import string
import struct

import pytest

from measure import MIB, measure

SIZE = 999_999  # bytes of a file
MOST_MEMORY = 32 * MIB  # of the whole process
LIKELY_SECONDS, MOST_SECONDS = 0.1, 2.0

LETTERS = string.ascii_letters + string.digits


def short_names():
    """As many different names as wanted, of three characters each."""
    return map("".join, itertools.product(LETTERS, repeat=3))


def first_names(count):
    return itertools.islice(short_names(), count)


def colliding_names():
    """Names with one hash in every function that multiplies by 31 and adds, as many languages' do."""
    return map("".join, itertools.product(["Aa", "BB"], repeat=16))


def filled(start, parts, end, size=SIZE):
    """`start`, as many of `parts` with commas between as there is room for, `end`."""
    room, chosen = size - len(start) - len(end), []
    for part in parts:
        room -= len(part) + 1
        if room < 0:
            break
        chosen.append(part)
    return start + ",".join(chosen) + end


# safetensors: the JSON of a header


def entry(name, shape="[0]", offsets="[0,0]", more=""):
    return f'"{name}":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}{more}}}'


def with_field(start, part, end):
    """One tensor with an unknown field that fills the file: `start`, `part` again and again, `end`."""
    head, tail = entry("a", more=',"x":' + start)[:-1], end + "}}"
    return "{" + head + part * ((SIZE - 9 - len(head) - len(tail)) // len(part)) + tail


def with_name(part, count=SIZE):
    frame = len(entry("")) + 10
    return "{" + entry(part * ((min(count, SIZE) - frame) // len(part))) + "}"


def entries(names, **parts):
    return filled("{", (entry(name, **parts) for name in names), "}", SIZE - 8)


def entries_backwards():
    names = list(first_names(14_000))
    rows = (entry(name, "[1]", f"[{len(names) - i - 1},{len(names) - i}]") for i, name in enumerate(names))
    return filled("{", rows, "}"), len(names)


def pairs(rows, rest=""):
    return filled('{"__metadata__":{', rows, "}" + rest + "}", SIZE - 8)


DIMENSIONS = "[" + ",".join(["0"] * 64) + "]"

# {name: (makes the JSON, and how many bytes of data where there are any; whether it is accepted)}
SAFETENSORS = {
    "most tensors": (lambda: entries(short_names()), True),
    "tensors backwards": (lambda: entries_backwards(), True),
    "tensors of 64 dimensions": (lambda: entries(short_names(), shape=DIMENSIONS), True),
    "names that collide": (lambda: entries(colliding_names()), True),
    "most pairs": (lambda: pairs(f'"{name}":""' for name in short_names()), True),
    "keys that collide": (lambda: pairs(f'"{name}":""' for name in colliding_names()), True),
    "the last key twice": (lambda: pairs(f'"{name}":""' for name in [*first_names(90_000), "aaa"]), False),
    "one long name": (lambda: with_name("n"), True),
    "one name of NULs": (lambda: with_name("\\u0000"), True),
    "one name of braces": (lambda: with_name("{"), True),
    "one name of quotes": (lambda: with_name('\\"'), True),
    "one name of surrogates": (lambda: with_name("\\ud83e\\udd99"), True),
    "one name, half of it invalid": (lambda: with_name("\\ud83e"), False),
    "two equal long names": (lambda: "{" + entry("n" * 400_000) + "," + entry("n" * 400_000) + "}", False),
    "one long value": (lambda: pairs(['"k":"' + "v" * (SIZE - 40) + '"']), True),
    "one value of escapes": (lambda: pairs(['"k":"' + "\\u00e9" * 160_000 + '"']), True),
    "numbers nobody wants": (lambda: with_field("[0", ",0", "]"), True),
    "one long number nobody wants": (lambda: with_field("1", "1", ""), True),
    "empty arrays": (lambda: with_field("[[]", ",[]", "]"), True),
    "empty objects": (lambda: with_field("[{}", ",{}", "]"), True),
    "empty strings": (lambda: with_field('[""', ',""', "]"), True),
    "fields nobody wants": (lambda: with_field("0", ',"x":0', ""), True),
    "as deep as allowed": (lambda: with_field("[0", "," + "[" * 124 + "]" * 124, "]"), True),
    "only [": (lambda: "[" * (SIZE - 8), False),
    "only {": (lambda: "{" * (SIZE - 8), False),
    "arrays never closed": (lambda: with_field("", "[", ""), False),
    "objects never closed": (lambda: with_field("", '{"x":', ""), False),
    "balanced arrays": (lambda: with_field("", "[", "")[: SIZE // 2] + "]" * (SIZE // 2 - 20) + "}}", False),
    "endless shape": (lambda: "{" + entry("a", shape="[1" + ",1" * 480_000 + "]") + "}", False),
    "endless offsets": (lambda: "{" + entry("a", offsets="[0" + ",0" * 480_000 + "]") + "}", False),
    "endless dimension": (lambda: "{" + entry("a", shape="[" + "1" * 900_000 + "]") + "}", False),
    "spaces": (lambda: " " * (SIZE - 10) + "{}", True),
    "spaces inside": (lambda: "{" + " " * (SIZE - 10) + "}", True),
    "only spaces": (lambda: " " * (SIZE - 8), False),
    "only commas": (lambda: "{" + "," * (SIZE - 10) + "}", False),
    "only quotes": (lambda: "{" + '"' * (SIZE - 10) + "}", False),
    "only backslashes": (lambda: '{"' + "\\" * (SIZE - 12) + '"}', False),
    "a string never closed": (lambda: '{"' + "a" * (SIZE - 11) + "}", False),
}


def safetensors(content):
    text, data = content if isinstance(content, tuple) else (content, 0)
    return struct.pack("<Q", len(text)) + text.encode() + bytes(data)


# GGUF

U8, STRING, ARRAY, F32 = 0, 8, 9, 0


def gguf(tensors, count_of_pairs, body):
    content = b"GGUF" + struct.pack("<IQQ", 3, tensors, count_of_pairs) + body
    return content + bytes(min(-len(content) % 32, SIZE - len(content)))


def text(content):
    content = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(content)) + content


def many(part, names, room=SIZE - 64):
    """As many `part(name)` as there is room for, and their number."""
    chosen = []
    for name in names:
        made = part(name)
        room -= len(made)
        if room < 0:
            break
        chosen.append(made)
    return len(chosen), b"".join(chosen)


def tensor(name, dims=(0,)):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, F32, 0)


def many_tensors(names, dims=(0,)):
    count, body = many(lambda name: tensor(name, dims), names)
    return gguf(count, 0, body)


def many_pairs(names, value=struct.pack("<IB", U8, 1), last=b""):
    count, body = many(lambda name: text(name) + value, names, SIZE - 64 - len(last))
    return gguf(0, count + (1 if last else 0), body + last)


def array(kind, count, elements=b""):
    return struct.pack("<IQ", kind, count) + elements


def one_array(kind, element):
    """One pair: an array of as many of that element as there is room for."""
    count = (SIZE - 128) // len(element)
    return gguf(0, 1, text("k") + struct.pack("<I", ARRAY) + array(kind, count, element * count))


def growing_pairs():
    """Keys and values that each need a larger buffer than those before."""
    rows = [text("k" * i) + struct.pack("<I", STRING) + text("v" * i) for i in range(1, 900)]
    return gguf(0, len(rows), b"".join(rows))


DEEPEST = array(ARRAY, 1, array(ARRAY, 1, array(STRING, 1, text(""))))

# {name: (makes the file; whether it is accepted)}
GGUF = {
    "most tensors": (lambda: many_tensors(short_names()), True),
    "tensors of 8 dimensions": (lambda: many_tensors(short_names(), (0,) * 8), True),
    "names that collide": (lambda: many_tensors(colliding_names()), True),
    "one long name": (lambda: gguf(1, 0, tensor("n" * (SIZE - 100))), True),
    "one name of escapes": (lambda: gguf(1, 0, tensor("\x1b" * (SIZE - 100))), True),
    "two equal long names": (lambda: gguf(2, 0, tensor("n" * 400_000) * 2), False),
    "tensors of zeros": (lambda: gguf((SIZE - 24) // 24, 0, bytes(SIZE - 24)), False),
    "most pairs": (lambda: many_pairs(short_names()), True),
    "keys that collide": (lambda: many_pairs(colliding_names()), True),
    "the last key twice": (lambda: many_pairs(short_names(), last=text("aaa") + struct.pack("<IB", U8, 1)), False),
    "one long key": (lambda: many_pairs(["k" * (SIZE - 100)]), True),
    "pairs of zeros": (lambda: gguf(0, (SIZE - 24) // 13, bytes(SIZE - 24)), False),
    "pairs that grow": (lambda: growing_pairs(), True),
    "pairs of empty arrays": (lambda: many_pairs(short_names(), struct.pack("<I", ARRAY) + array(STRING, 0)), True),
    "one long string": (lambda: gguf(0, 1, text("k") + struct.pack("<I", STRING) + text("v" * (SIZE - 128))), True),
    "a million u8": (lambda: one_array(U8, b"\1"), True),
    "empty strings": (lambda: one_array(STRING, text("")), True),
    "strings of one byte": (lambda: one_array(STRING, text("x")), True),
    "empty arrays": (lambda: one_array(ARRAY, array(U8, 0)), True),
    "arrays as deep as allowed": (lambda: one_array(ARRAY, DEEPEST), True),
    "arrays without end": (lambda: gguf(0, 1, text("k") + struct.pack("<I", ARRAY) + array(ARRAY, 1) * 83_000), False),
    "strings that are missing": (lambda: one_array(STRING, text(""))[:-9_000] + b"\xff" * 9_000, False),
}

CASES = [("safetensors", name) for name in SAFETENSORS] + [("gguf", name) for name in GGUF]


@pytest.fixture(autouse=True)
def unsanitized(sanitized):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")


def write_case(folder, format_name, name):
    make, accepted = (SAFETENSORS if format_name == "safetensors" else GGUF)[name]
    path = folder / f"hostile.{format_name}"
    path.write_bytes(safetensors(make()) if format_name == "safetensors" else make())
    assert path.stat().st_size < 1_000_000, "not under a megabyte"
    return path, accepted


@pytest.mark.parametrize("format_name, name", CASES)
def test_done_with_quickly(figure, binary, tmp_path, format_name, name):
    path, accepted = write_case(tmp_path, format_name, name)
    runs = [measure(binary, "inspect", path) for _ in range(3)]
    result = min(runs, key=lambda run: run.wall)
    peak = max(run.peak for run in runs)
    late = f"  (more than {LIKELY_SECONDS} s)" if result.wall > LIKELY_SECONDS else ""
    verdict = "accepted" if result.returncode == 0 else "refused"
    figure(f"{format_name:11} {name:30} {verdict}: peak {peak / MIB:5.1f} MiB, {result.wall:5.3f} s{late}")
    assert result.returncode == (0 if accepted else 1), result.stderr
    assert result.stderr.count(os.linesep) == (0 if accepted else 1) and len(result.stderr) < 2000
    assert peak <= MOST_MEMORY
    assert result.wall < MOST_SECONDS
