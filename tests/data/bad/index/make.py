#!/usr/bin/env python3
"""Makes the hostile indexes beside it, one a cause, the two good shards they speak of, and reasons.json:

    error   part of the message that is expected       tensor  the tensor that the error names, if any
    code    the error's code, where it isn't "format"  file    the file that the error names, where it isn't the index

Run it after adding a line; the tests read what it wrote.
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
A, B = "a.safetensors", "b.safetensors"
GOOD = {"x": A, "y": A, "z": B}  # what the shards hold
SUFFIX = ".safetensors.index.json"

files, reasons = {}, {}


def shard(*names):
    """A safetensors file of one-byte tensors."""
    text = json.dumps({n: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, n in enumerate(names)})
    return struct.pack("<Q", len(text)) + text.encode() + bytes(len(names))


def text_of(weight_map):
    return json.dumps({"metadata": {"total_size": 3}, "weight_map": weight_map}, ensure_ascii=False)


def case(name, content, error, reason, **more):
    content = content if isinstance(content, bytes) else content.encode()
    assert name + SUFFIX not in files and content not in files.values(), name
    files[name + SUFFIX] = content
    reasons[name + SUFFIX] = {"reason": reason, "error": error, **more}


def tensor(name, places, error, reason, tensor, **more):
    """A good map, changed by `places`; a place of None goes."""
    changed = {n: f for n, f in {**GOOD, **places}.items() if f is not None}
    case(name, text_of(changed), error, reason, tensor=tensor, **more)


def structure():
    good = text_of(GOOD)
    case("cut_short", good[:-2], "no valid JSON", "The end is missing.")
    case("text_after", good + "x", "no valid JSON", "Something follows the object.")
    case("trailing_comma", good[:-2] + ",}}", "no valid JSON", "No pair follows the comma.")
    case("not_utf_8", good.encode().replace(b'"x"', b'"\xff"'), "no valid JSON", "FF is in no UTF-8.")
    case("lone_surrogate", good.replace('"x"', '"\\ud800"'), "no valid JSON", "Half a character.")
    case("deep", '{"weight_map":' + '{"a":' * 2000 + "1" + "}" * 2000 + "}", "no valid JSON", "Deeper than any index.")
    case("deep_arrays", '{"x":' + "[" * 2000 + "]" * 2000 + ',"weight_map":{}}', "no valid JSON", "Deep where unread.")
    case("map_a_string", '{"weight_map":"a.safetensors"}', "weight_map is no object", "A map is an object.")
    case("map_an_array", '{"weight_map":[["x","a.safetensors"]]}', "weight_map is no object", "A map is an object.")
    case("map_null", '{"weight_map":null}', "weight_map is no object", "A map is an object.")
    case("map_empty", '{"weight_map":{}}', "names no tensors", "There is nothing in it.")
    case("map_twice", good[:-1] + ',"weight_map":{"x":"a.safetensors"}}', "more than one weight_map", "Which one?")
    case("map_inside", '{"metadata":{"weight_map":{"x":"a.safetensors"}}}', "leads to no weights", "Not at the top.")
    case("no_map", '{"metadata":{"total_size":3}}', "leads to no weights", "Any other JSON.")


def places():
    where = "doesn't say where the tensor is"
    tensor("file_a_number", {"y": 1}, where, "A number is no file.", "y")
    case("file_is_null", text_of({**GOOD, "y": None}), where, "Nothing is no file.", tensor="y")
    tensor("file_an_array", {"y": [A, B]}, where, "A tensor is in one file.", "y")
    tensor("file_an_object", {"y": {"file": A}}, where, "Another way to write it.", "y")
    beside = "isn't beside it"
    tensor("file_empty", {"y": ""}, beside, "A file has a name.", "y")
    tensor("file_above", {"y": "../a.safetensors"}, beside, "Leaves the folder.", "y")
    tensor("file_above_by_a_detour", {"y": "b/../../a.safetensors"}, beside, "Leaves it on a way inside.", "y")
    tensor("file_two_dots", {"y": ".."}, beside, "The folder above.", "y")
    tensor("file_absolute", {"y": "/etc/passwd"}, beside, "Any file of the system.", "y")
    tensor("file_a_url", {"y": "https://example.org/a.safetensors"}, beside, "Asks a server of its choice.", "y")
    tensor("file_a_file_url", {"y": "file:///etc/passwd"}, beside, "Any file of the system.", "y")
    tensor("file_of_windows", {"y": "C:\\a.safetensors"}, beside, "Absolute elsewhere.", "y")
    tensor("file_above_by_backslash", {"y": "..\\a.safetensors"}, beside, "Leaves the folder elsewhere.", "y")
    tensor("file_with_nul", {"y": "a.safetensors\0.txt"}, beside, "Two names in one.", "y")
    tensor("file_very_long", {"y": "a" * 5000}, beside, "Longer than any name.", "y")
    tensor("file_missing", {"w": "c.safetensors"}, "no 'c.safetensors'", "It isn't there.", None, code="io")
    tensor("file_is_the_folder", {"w": "."}, "found a folder", "A folder is no shard.", None, code="io", file=".")
    tensor("file_is_this_index", {"w": "file_is_this_index" + SUFFIX}, "can't be a shard", "It would never end.", None,
           file="file_is_this_index" + SUFFIX)  # fmt: skip
    tensor("file_is_an_index", {"w": "map_empty" + SUFFIX}, "can't be a shard", "A set is no shard.", None,
           file="map_empty" + SUFFIX)  # fmt: skip
    tensor("file_is_text", {"w": "make.py"}, "no checkpoint that Headrace reads", "No weights.", None, file="make.py")


def tensors():
    lack, unlisted = "lack tensors that the index lists", "doesn't list"
    tensor("tensor_missing", {"w": B}, lack, "No shard has it.", "w")
    tensor("tensor_name_empty", {"": B}, lack, "No shard has one without a name.", "")
    tensor("tensor_name_with_nul", {"x\0": A}, lack, "It only looks like x.", "x\\u0000")
    tensor("tensor_name_steers", {"\x1b[2J\u202e": A}, lack, "The message must not steer a terminal.",
           "\\u001b[2J\\u202e")  # fmt: skip
    tensor("tensor_unlisted", {"x": None}, unlisted, "A shard has more than the index says.", "x")
    tensor("tensor_elsewhere", {"y": B}, "isn't in the file that the index says", "It is in the other shard.", "y")
    tensor("tensors_swapped", {"y": B, "z": A}, "isn't in the file that the index says", "Both are misplaced.", "y")
    case("tensor_twice", text_of(GOOD)[:-2] + ', "x": "a.safetensors"}}', "has the tensor twice", "Once is enough.",
         tensor="x")  # fmt: skip
    case("tensor_twice_in_two_files", text_of(GOOD)[:-2] + ', "x": "b.safetensors"}}', "has the tensor twice",
         "Which of them?", tensor="x")  # fmt: skip
    case("tensor_twice_by_escapes", text_of(GOOD)[:-2] + ', "\\u0078": "b.safetensors"}}', "has the tensor twice",
         "Another way to write x.", tensor="x")  # fmt: skip


def make():
    """{file: content} and {file: reason}, the shards only among the first."""
    for part in (structure, places, tensors):
        part()
    for expected in reasons.values():
        if expected.get("tensor", "") in (None, ""):
            expected.pop("tensor", None)
    return {A: shard("x", "y"), B: shard("z"), **files}, dict(sorted(reasons.items()))


if __name__ == "__main__":
    made, why = make()
    for old in HERE.iterdir():
        if old.name != "make.py":
            old.unlink()
    for name, content in made.items():
        (HERE / name).write_bytes(content)
    (HERE / "reasons.json").write_text(json.dumps(why, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
