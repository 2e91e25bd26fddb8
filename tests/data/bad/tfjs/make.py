#!/usr/bin/env python3
"""Makes the hostile manifests beside it, one a cause, the few files of weights that they name, and reasons.json:
{manifest: {reason, error, …}}.

    error   part of the message that is expected       tensor  the tensor that the error names, if any
    code    the error's code, where it isn't "format"  offset  the byte that the error names, if any
    file    the file that the error names, where it isn't the manifest

Run it after adding a line; the tests read what it wrote.
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent

# Weights, four bytes and eight and some strings: "ab", "", and one that claims a byte more than there is.
DATA = {
    "four.bin": b"\0\0\x80\x3f",
    "eight.bin": b"\0\0\x80\x3f\0\0\0\x40",
    "strings.bin": struct.pack("<I2sII2s", 2, b"ab", 0, 3, b"cd"),
}


class Manifests:
    """Collects the cases."""

    def __init__(self):
        self.files, self.reasons = {}, {}

    def add(self, name, content, error, reason, **more):
        content = content if isinstance(content, str) else json.dumps(content)
        assert name not in self.files and content not in self.files.values(), name
        self.files[name] = content
        self.reasons[f"{name}.json"] = {"reason": reason, "error": error, **more}

    def tensor(self, name, content, error, reason, tensor="a", **more):
        """A manifest in which one tensor is wrong."""
        self.add(name, content, error, reason, tensor=tensor, **more)

    def write(self):
        for old in HERE.iterdir():
            if old.name != "make.py":
                old.unlink()
        for name, content in DATA.items():
            (HERE / name).write_bytes(content)
        for name, content in self.files.items():
            (HERE / f"{name}.json").write_bytes(content.encode("utf-8"))
        text = json.dumps(dict(sorted(self.reasons.items())), indent=1, ensure_ascii=False)
        (HERE / "reasons.json").write_text(text + "\n", encoding="utf-8")


def weight(name='"a"', shape="[1]", dtype='"float32"', more=""):
    return f'{{"name":{name},"shape":{shape},"dtype":{dtype}{more}}}'


def group(*weights, paths='["four.bin"]', more=""):
    return f'{{"paths":{paths},"weights":[{",".join(weights)}]{more}}}'


def manifest(*groups):
    return f"[{','.join(groups)}]"


def one(paths='["four.bin"]', **parts):
    """One group of one weight."""
    return manifest(group(weight(**parts), paths=paths))


def quantized(text, dtype='"float32"', shape="[4]"):
    return one(dtype=dtype, shape=shape, more=',"quantization":' + text)


def tfjs():
    made = Manifests()
    whole, tensor = made.add, made.tensor
    no_json = "this is no valid JSON"

    # The text.
    whole("cut_short", one()[:-1], no_json, "The last bracket is missing.")
    whole("trailing_comma", "[" + group(weight()) + ",]", no_json, "No group follows the comma.")
    whole("two_manifests", one() + one(), no_json, "Something follows the array.")
    whole("deep", '{"x":' + "[" * 2000 + "]" * 2000 + ',"weightsManifest":[]}', no_json, "2000 levels of arrays.")
    whole("deep_unclosed", "[" * 100_000, no_json, "100,000 levels, none closed.")
    whole("not_utf_8_escape", one(name=r'"\ud800"'), no_json, "Half a character.")
    whole("raw_nul", '{"a\0":1,"weightsManifest":[]}', no_json, "A NUL could end the text for some readers.")

    # What is around the groups.
    whole("no_manifest", {"modelTopology": {}}, "leads to no weights", "Neither weights nor an index.")
    whole("manifest_null", {"weightsManifest": None}, "weightsManifest is no JSON array", "There is none.")
    whole("manifest_an_object", {"weightsManifest": {"0": []}}, "weightsManifest is no JSON array", "A list it is.")
    whole("manifest_a_path", {"weightsManifest": "four.bin"}, "weightsManifest is no JSON array", "A list it is.")
    twice = '{"weightsManifest":[],"weightsManifest":' + one() + "}"
    whole("manifest_twice", twice, "has 'weightsManifest' twice", "Readers disagree about which counts.")
    escaped = r'{"weightsManifest":[],"weights\u004danifest":' + one() + "}"
    whole("manifest_twice_escaped", escaped, "has 'weightsManifest' twice", "Written otherwise, it is the same key.")

    # Groups.
    whole("group_a_number", "[1]", "group 0 is no JSON object", "A group has paths and weights.")
    whole("group_an_array", "[[]]", "group 0 is no JSON object", "A group has paths and weights.")
    whole("second_group_null", manifest(group(weight()), "null"), "group 1 is no JSON object", "The first is fine.")
    whole("paths_missing", '[{"weights":[]}]', "'paths' of group 0 is missing", "No files, no bytes.")
    whole("paths_a_string", one('"four.bin"'), "'paths' of group 0 is no JSON array", "A list it is.")
    paths = manifest(group(weight(), more=',"paths":["eight.bin"]'))
    whole("paths_twice", paths, "group 0 has 'paths' twice", "Readers disagree about which counts.")
    whole("weights_missing", '[{"paths":["four.bin"]}]', "'weights' of group 0 is missing", "Bytes of what?")
    whole("weights_an_object", '[{"paths":["four.bin"],"weights":{}}]', "'weights' of group 0 is no JSON array", "No.")
    weights = manifest(group(weight(), more=',"weights":[]'))
    whole("weights_twice", weights, "group 0 has 'weights' twice", "Readers disagree about which counts.")

    # Paths.
    outside = "leads out of the manifest's folder"
    whole("path_a_number", one("[4]"), "a path is no string", "A path is text.")
    whole("path_null", one("[null]"), "a path is no string", "A path is text.")
    whole("path_empty", one('[""]'), outside, "It names the folder.")
    whole("path_up", one('["../tfjs/four.bin"]'), outside, "It would come back, but goes out.")
    whole("path_up_within", one('["x/../../secret.bin"]'), outside, "It goes out on its way.")
    whole("path_up_alone", one('[".."]'), outside, "The folder above.")
    whole("path_absolute", one('["/etc/passwd"]'), outside, "From the root.")
    whole("path_a_url", one('["https://example.org/four.bin"]'), outside, "Another place altogether.")
    whole("path_a_file_url", one('["file:///etc/passwd"]'), outside, "A path in disguise.")
    whole("path_of_a_drive", one(r'["C:\\four.bin"]'), outside, "Elsewhere, this is absolute.")
    whole("path_with_backslashes", one(r'["..\\four.bin"]'), outside, "Elsewhere, this goes up.")
    whole("path_with_nul", one(r'["four.bin\u0000x"]'), outside, "The system would see another name.")
    whole("path_missing", one('["five.bin"]'), "No such file", "It isn't there.", code="io", file="five.bin")
    whole("path_of_a_folder", one('["."]'), "a folder", "Not a file.", code="io", file=".")
    whole("path_twice", manifest(group(weight(shape="[2]"), paths='["four.bin","four.bin"]')), "names a file twice",
          "Its bytes would be counted twice.")  # fmt: skip
    again = manifest(group(weight()), group(weight('"b"')))
    whole("path_twice_in_two_groups", again, "names a file twice", "Its bytes would be counted twice.")

    # Totals.
    short = "the files of group 0 end before the tensor does"
    tensor("files_too_short", one(shape="[2]"), short, "Four bytes are there, eight are wanted.")
    second = manifest(group(weight(), weight('"b"', dtype='"bool"')))
    tensor("files_too_short_by_one", second, short, "The first tensor took all four.", "b")
    tensor("no_files", one("[]"), short, "No files, no bytes.")
    halves = one('["four.bin","eight.bin"]', shape="[4]")
    tensor("files_too_short_together", halves, short, "Twelve bytes of sixteen.")
    long = "the files of group 0 go on after its last tensor"
    whole("files_too_long", one('["eight.bin"]'), long, "Four bytes belong to nobody.")
    whole("files_too_long_by_one", one(dtype='"bool"', shape="[3]"), long, "One byte belongs to nobody.")
    whole("files_without_weights", manifest(group()), long, "Four bytes belong to nobody.")
    whole("files_too_long_together", one('["four.bin","eight.bin"]'), long, "Eight bytes belong to nobody.")
    later = manifest(group(weight()), group(weight('"b"'), paths='["eight.bin"]'))
    whole("second_group_too_long", later, "the files of group 1 go on", "The first is whole.")
    tensor("second_group_too_short", manifest(group(weight()), group(weight('"b"', "[3]"), paths='["eight.bin"]')),
           "the files of group 1 end before", "The first is whole.", "b")  # fmt: skip

    # Names.
    whole("weight_a_string", manifest(group('"a"')), "weight 0 of group 0 is no JSON object", "A weight has fields.")
    whole("weight_null", manifest(group(weight(), "null")), "weight 1 of group 0 is no JSON object", "Nothing is there.")
    whole("name_missing", manifest(group('{"shape":[1],"dtype":"float32"}')), "weight 0 of group 0 has no name", "None.")
    whole("name_a_number", one(name="1"), "the name of weight 0 of group 0 is no string", "A name is text.")
    whole("name_field_twice", one(more=',"name":"b"'), "weight 0 of group 0 has 'name' twice", "Which one?")
    same = manifest(group(weight(), weight(), paths='["eight.bin"]'))
    tensor("name_twice", same, "two tensors have this name", "The second would hide the first.")
    far = manifest(group(weight()), group(weight(), weight('"b"'), paths='["eight.bin"]'))
    tensor("name_twice_in_two_groups", far, "two tensors have this name", "Groups share one list of names.")
    alias = manifest(group(weight(), weight(r'"\u0061"'), paths='["eight.bin"]'))
    tensor("name_twice_escaped", alias, "two tensors have this name", "Written otherwise, it is the same name.")

    # Shapes.
    plain = "a dimension is no plain non-negative integer"
    tensor("shape_missing", manifest(group('{"name":"a","dtype":"float32"}')), "the tensor has no shape", "How many?")
    tensor("shape_a_number", one(shape="1"), "the shape is no JSON array", "A list it is.")
    tensor("shape_null", one(shape="null"), "the shape is no JSON array", "A list it is.")
    whole("shape_twice", one(more=',"shape":[0]'), "weight 0 of group 0 has 'shape' twice", "Which one?")
    tensor("dimension_negative", one(shape="[-1]"), plain, "None can be missing.")
    tensor("dimensions_negative", one(shape="[-1,-1]"), plain, "Their product is 1.")
    tensor("dimension_a_float", one(shape="[1.0]"), plain, "No writer makes this.")
    tensor("dimension_a_fraction", one(shape="[0.5,2]"), plain, "Their product is 1.")
    tensor("dimension_with_an_exponent", one(shape="[1e0]"), plain, "No writer makes this.")
    tensor("dimension_a_string", one(shape='["1"]'), plain, "A number is no text.")
    tensor("dimension_true", one(shape="[true]"), plain, "No number.")
    tensor("dimension_null", one(shape="[null]"), plain, "An unknown batch size is for inputs, not weights.")
    tensor("dimension_an_array", one(shape="[[1]]"), plain, "No number.")
    whole("dimension_of_65_bits", one(shape="[18446744073709551616]"), no_json, "2^64 is no number of ours.")
    tensor("elements_wrap", one(shape="[4294967296,4294967296]"), "doesn't fit 64 bits", "The product is 0.")
    tensor("elements_wrap_before_a_0", one(shape="[9223372036854775808,2,0]"), "doesn't fit 64 bits", "Too late.")
    tensor("bytes_wrap", one(shape="[4611686018427387904]"), "size doesn't fit 64 bits", "Times 4 it is 0.")
    wide = one(shape="[4611686018427387904]", more=',"quantization":{"dtype":"uint8","scale":1,"min":0}')
    tensor("decoded_bytes_wrap", wide, "size doesn't fit 64 bits", "Its file could hold it, memory never.")
    behind = manifest(group(weight(), weight('"b"', "[18446744073709551613]", '"bool"')))
    tensor("end_wraps", behind, "size doesn't fit 64 bits", "It would end at byte 1.", "b")
    tensor("bytes_of_an_exbibyte", one(shape="[288230376151711744]"), short, "Nobody has it.")
    tensor("rank_65", one(shape=f"[{','.join('1' * 65)}]"), "too many dimensions", "64 are plenty.")
    tensor("rank_50000", one(shape=f"[{','.join('1' * 50_000)}]"), "too many dimensions", "64 are plenty.")

    # Types.
    unknown = "unknown dtype"
    tensor("dtype_missing", manifest(group('{"name":"a","shape":[1]}')), "the tensor has no dtype", "Of what?")
    tensor("dtype_a_number", one(dtype="32"), "the dtype is no string", "A type is named.")
    whole("dtype_twice", one(more=',"dtype":"int32"'), "weight 0 of group 0 has 'dtype' twice", "Which one?")
    for dtype in ("float64", "float16", "uint8", "int64", "Float32", "F32", ""):
        tensor(f"dtype_{dtype or 'empty'}", one(dtype=f'"{dtype}"'), unknown, "TensorFlow.js has five.")

    # Quantization.
    there = "of the quantization"
    tensor("quantization_null", quantized("null"), "the quantization is no JSON object", "Then it isn't there.")
    tensor("quantization_a_string", quantized('"uint8"'), "the quantization is no JSON object", "It has fields.")
    tensor("quantized_to_nothing", quantized('{"scale":1,"min":0}'), "the quantization has no dtype", "What is stored?")
    tensor("quantized_to_int8", quantized('{"dtype":"int8","scale":1,"min":0}'), "unknown dtype of a quantization", "No.")
    tensor("quantized_to_8", quantized('{"dtype":8,"scale":1,"min":0}'), "quantization's dtype is no string", "Named.")
    tensor("scale_missing", quantized('{"dtype":"uint8","min":0}'), f"the scale {there} is missing", "Both are needed.")
    tensor("min_missing", quantized('{"dtype":"uint8","scale":1}'), f"the min {there} is missing", "Both are needed.")
    tensor("scale_a_string", quantized('{"dtype":"uint8","scale":"1","min":0}'), f"the scale {there} is no", "No number.")
    tensor("scale_null", quantized('{"dtype":"uint8","scale":null,"min":0}'), f"the scale {there} is no", "No number.")
    tensor("min_true", quantized('{"dtype":"uint8","scale":1,"min":true}'), f"the min {there} is no", "No number.")
    whole("scale_infinite", quantized('{"dtype":"uint8","scale":1e999,"min":0}'), no_json, "Beyond all doubles.")
    whole("min_nan", quantized('{"dtype":"uint8","scale":1,"min":NaN}'), no_json, "JSON has no NaN.")
    whole("scale_hexadecimal", quantized('{"dtype":"uint8","scale":0x1,"min":0}'), no_json, "JSON has no such numbers.")
    fields = quantized('{"dtype":"uint8","scale":1,"min":0,"scale":2}')
    tensor("scale_twice", fields, "the quantization has 'scale' twice", "Which one?")
    tensor("float16_with_a_scale", quantized('{"dtype":"float16","scale":2,"min":0}', shape="[2]"), "has no scale", "No.")
    tensor("float16_of_int32", quantized('{"dtype":"float16"}', '"int32"', "[2]"), "can't be quantised to F16", "No.")
    for dtype in ("bool", "complex64", "string"):
        text = quantized('{"dtype":"uint8","scale":1,"min":0}', f'"{dtype}"')
        tensor(f"uint8_of_{dtype}", text, "can't be quantised to U8", "Only numbers can.")
    other = quantized('{"dtype":"uint8","scale":1,"min":0,"original_dtype":"int32"}')
    tensor("original_dtype_another", other, "original dtype is another than the tensor's", "They disagree.")
    number = quantized('{"dtype":"uint8","scale":1,"min":0,"original_dtype":32}')
    tensor("original_dtype_a_number", number, "the original dtype is no string", "A type is named.")

    # Strings.
    strings = {"paths": '["strings.bin"]', "dtype": '"string"'}
    trouble = "the strings don't lie in the files of group 0"
    at = {"file": "strings.bin"}
    tensor("strings_too_many", one(shape="[5]", **strings), trouble, "Five lengths alone are 20 bytes.", offset=0, **at)
    tensor("strings_of_a_yobibyte", one(shape="[18446744073709551615]", **strings), trouble, "No.", offset=0, **at)
    tensor("string_past_the_end", one(shape="[3]", **strings), trouble, "The third claims 3 bytes of 2.", offset=10, **at)
    whole("strings_leave_bytes", one(shape="[2]", **strings), long, "The third belongs to nobody.")
    shifted = manifest(group(weight(shape="[11]", dtype='"bool"'), weight('"b"', "[1]", '"string"'),
                             paths='["strings.bin"]'))  # fmt: skip
    tensor("string_length_from_text", shifted, trouble, "Read a byte late, it is huge.", "b", offset=11, **at)
    behind = manifest(group(weight(shape="[13]", dtype='"bool"'), weight('"b"', "[1]", '"string"'),
                            paths='["strings.bin"]'))  # fmt: skip
    tensor("string_length_cut", behind, trouble, "Three bytes of four.", "b", offset=13, **at)
    return made


if __name__ == "__main__":
    everything = tfjs()
    everything.write()
    print(f"{len(everything.files)} manifests, {sum(map(len, everything.files.values()))} bytes")
