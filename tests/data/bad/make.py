#!/usr/bin/env python3
"""Makes the hostile files beside it, one a cause, and each folder's reasons.json: {file: {reason, error, …}}.

    error   part of the message that is expected       tensor  the tensor that the error names, if any
    code    the error's code, where it isn't "format"  offset  the byte that the error names; null: it names none

Run it after adding a line; the tests read what it wrote. Files too large to keep are made by tests/system.
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent


class Folder:
    """Collects a format's cases."""

    def __init__(self, suffix):
        self.suffix, self.files, self.reasons = suffix, {}, {}

    def whole(self, name, content, error, reason, at=None, nowhere=False, **more):
        """A file that is wrong as a whole, or in a part that belongs to no tensor. `at`: the number of the byte that is
        at fault, or the bytes that are; `nowhere`: there is no such byte."""
        assert name not in self.files and content not in self.files.values(), name
        file = f"{name}.{self.suffix}"
        if nowhere:
            more["offset"] = None
        elif at is not None:
            more["offset"] = at if isinstance(at, int) else content.index(at)
        self.files[name] = content
        self.reasons[file] = {"reason": reason, "error": error, **more}

    def tensor(self, name, content, error, reason, at=None, nowhere=False, tensor="a"):
        """A file in which one tensor is wrong."""
        self.whole(name, content, error, reason, at, nowhere, tensor=tensor)

    def write(self):
        folder = HERE / self.suffix
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in self.files.items():
            (folder / f"{name}.{self.suffix}").write_bytes(content)
        text = json.dumps(dict(sorted(self.reasons.items())), indent=1, ensure_ascii=False)
        (folder / "reasons.json").write_text(text + "\n", encoding="utf-8")


def u32(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def u64(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def header(text, data=0, length=None):
    """A safetensors file: the length, the JSON and so many bytes of data."""
    text = text if isinstance(text, bytes) else text.encode()
    return u64(len(text) if length is None else length) + text + bytes(data)


def fields(text, data=4):
    """A safetensors file of one tensor, "a", with those fields."""
    return header('{"a":{' + text + "}}", data)


def entry(name="a", dtype='"U8"', shape="[4]", offsets="[0,4]"):
    return f'"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def one(data=4, **parts):
    return header("{" + entry(**parts) + "}", data)


def two(a, b, data):
    """Two tensors "a" and "b" of two bytes each, there."""
    return header(f'{{{entry("a", shape="[2]", offsets=a)},{entry("b", shape="[2]", offsets=b)}}}', data)


def unknown(value):
    """One good tensor with one more field."""
    return fields('"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":' + value)


def safetensors():
    folder = Folder("safetensors")
    whole, tensor = folder.whole, folder.tensor
    good = "{" + entry() + "}"
    nothing = "this is no checkpoint that Headrace reads"

    # The length, and what surrounds the JSON.
    whole("empty_file", b"", "the file is empty", "There is nothing in it.", nowhere=True)
    whole("seven_bytes", b"\2\0\0\0\0\0\0", nothing, "The length alone takes 8 bytes.", 0)
    whole("length_0", header("", 4), "found zeros", "No bytes are no JSON object.", 0)
    whole("length_over_the_cap", header("{}", length=100_000_001), "header is too long", "There is a cap.", 0)
    whole("length_past_the_end", header("{}", length=3), "header goes past the end", "The file ends before.", 0)
    whole("length_wraps", header("{}", length=2**64 - 8), "header is too long", "8 + n is 0 in 64 bits.", 0)
    whole("length_big_endian", struct.pack(">Q", 2) + b"{}", "header is too long", "The length is little-endian.", 0)
    whole("length_cuts_the_json", header(good, 4, len(good) - 1), "not valid JSON", "A brace is outside the header.")
    whole("length_takes_data_in", header(good, 4, len(good) + 4), "doesn't end with its object", "Data isn't JSON.")
    whole("only_spaces", header(" " * 64), "the header is empty", "White space is no JSON object.", 8)
    whole("byte_order_mark", header(b"\xef\xbb\xbf" + good.encode(), 4), "no JSON object", "JSON has no such mark.", 8)
    whole("nul_padding", header(good + "\0\0", 4), "doesn't end with its object", "Padding is spaces, not NUL.")
    whole("text_after_the_json", header(good + "x", 4), "doesn't end with its object", "Something follows the object.")
    whole("two_objects", header(good + "{}", 4), "JSON", "A second object follows the first.")
    whole("an_array", header("[]"), "the header is no JSON object", "The header must be an object.", 8)
    whole("vertical_tab", header("\v{}"), "the header is no JSON object", "JSON has four kinds of white space.", 8)

    # Other things under this name.
    whole("a_zip_file", b"PK\3\4" + bytes(60), "has no end", "A torch checkpoint is a zip file.", nowhere=True)
    whole("a_pickle", b"\x80\2}q\0." + bytes(60), "no PyTorch checkpoint", "An old torch checkpoint is a pickle.")
    whole("an_html_page", b"<!DOCTYPE html><html></html>", "an HTML page", "The download got an error page.")
    whole("a_git_lfs_pointer", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "No weights.")
    whole("an_index", b'{"metadata":{},"weight_map":{}}', "names no tensors", "The index lies beside the weights.", nowhere=True)
    whole("a_numpy_array", b"\x93NUMPY\1\0v\0" + bytes(60), "header goes past its end", "Another format.", tensor="a_numpy_array.safetensors")
    whole("zeros", bytes(256), "found zeros", "The disk was full, or the download broke off.")

    # The text.
    whole("utf_16", header(good.encode("utf-16-le"), 4), "doesn't end with its object", "JSON here is UTF-8.")
    whole("not_utf_8", header(b'{"\xff":' + good[5:].encode(), 4), "not valid UTF-8", "FF is in no UTF-8.", b"\xff")
    whole("utf_8_overlong", header(b'{"\xc0\xaf":1}'), "not valid UTF-8", "'/' in two bytes.", b"\xc0")
    whole("utf_8_surrogate", header(b'{"\xed\xa0\x80":1}'), "not valid UTF-8", "Surrogates are UTF-16's.", b"\xed")
    whole("utf_8_cut_short", header(b'{"\xe2\x82":1}'), "not valid UTF-8", "A character lacks its last byte.", b"\xe2")
    whole("utf_8_past_unicode", header(b'{"\xf4\x90\x80\x80":1}'), "not valid UTF-8", "No such character.", b"\xf4")
    whole("raw_newline", header('{"a\nb":{}}'), "JSON", "A control character in a string is escaped.")
    whole("raw_nul", header('{"a\0b":{}}'), "JSON", "A NUL could end the name for some readers.")
    whole("escape_unknown", header(r'{"\x":{}}'), "invalid escape", r"JSON has no \x.", b"\\x")
    whole("escape_of_three_digits", header(r'{"\u12g4":{}}'), "invalid escape", "Four digits make an escape.", b"\\u")
    whole("surrogate_alone", header(r'{"\ud800":{}}'), "invalid escape", "Half a character.", b"\\u")
    whole("surrogate_first_low", header(r'{"\udc00\ud800":{}}'), "invalid escape", "The halves are swapped.", b"\\u")
    whole("surrogate_twice_high", header(r'{"\ud83e\ud83e":{}}'), "invalid escape", "Two first halves.", b"\\u")
    whole("surrogate_and_a_letter", header(r'{"\ud83e\u0061":{}}'), "invalid escape", "No second half.", b"\\u")
    tensor("surrogate_in_an_unknown_field", unknown(r'"\ud800"'), "invalid escape", "Skipped text is text, too.")

    # The JSON's structure.
    whole("trailing_comma", header("{" + entry() + ",}", 4), "not valid JSON", "No entry follows the comma.")
    tensor("trailing_comma_in_the_shape", one(shape="[4,]"), "no plain", "No dimension follows the comma.")
    whole("missing_comma", header("{" + entry() + entry("b") + "}", 4), "not valid JSON", "Two entries in a row.")
    whole("missing_colon", header('{"a" {}}'), "not valid JSON", "A key without its colon.")
    tensor("missing_value", header('{"a":}'), "no JSON object", "A key without a value.")
    whole("single_quotes", header("{'a':{}}"), "not valid JSON", "JSON quotes are double.")
    whole("bare_key", header("{a:{}}"), "not valid JSON", "A key is a string.")
    whole("a_comment", header("{/* a */}"), "not valid JSON", "JSON has no comments.")
    whole("unclosed_string", header('{"a:{}}'), "not valid JSON", "A string without its end.")
    whole("unclosed_object", header("{" + entry(), 4), "not valid JSON", "An object without its end.")
    tensor("crossed_brackets", one(shape="[4}"), "not valid JSON", "A brace closes a bracket.")
    whole("a_brace_too_many", header("{" + entry() + "}}", 4), "JSON", "The object ended before.")
    hiding = fields('"shape":[4],"data_offsets":[0,4],"dtype":"U8":"U8","shape":[9]}')
    tensor("a_colon_after_a_value", hiding, "the value doesn't end here", "Content could hide behind it.")
    tensor("deep_arrays", unknown("[" * 126 + "]" * 126), "nested too deeply", "127 levels are allowed.")
    tensor("deep_objects", unknown('{"x":' * 126 + "1" + "}" * 126), "nested too deeply", "Objects nest, too.")
    tensor("deep_and_never_closed", fields('"x":' + "[" * 500), "nested too deeply", "Depth comes before structure.")
    tensor("not_a_number", unknown("NaN"), "no JSON value", "JSON has no NaN.", b"NaN")
    tensor("not_a_literal", unknown("tru"), "no JSON value", "A literal cut short.", b"tru")
    tensor("a_number_with_a_bare_point", unknown("1."), "no JSON value", "Digits follow the point.", b"1.")
    tensor("two_values", unknown("1 2"), "the value doesn't end here", "One field, one value.", b"2}")

    # Numbers.
    plain = "a dimension is no plain non-negative integer"
    tensor("dimension_negative", one(shape="[4,-1]"), plain, "A size is not negative.", b"-1")
    tensor("dimension_minus_0", one(shape="[-0]", offsets="[0,0]", data=0), plain, "-0 is a float's zero.", b"-0")
    tensor("dimension_with_a_fraction", one(shape="[4.0]"), plain, "A size is whole.", b"4.0")
    tensor("dimension_with_an_exponent", one(shape="[4e0]"), plain, "A size is written out.", b"4e0")
    tensor("dimension_with_a_zero_before", one(shape="[04]"), plain, "JSON's numbers have none.", b"04")
    tensor("dimension_with_a_plus", one(shape="[+4]"), plain, "JSON's numbers have none.", b"+4")
    tensor("dimension_in_hexadecimal", one(shape="[0x4]"), plain, "JSON's numbers are decimal.", b"0x4")
    tensor("dimension_of_65_bits", one(shape=f"[{2**64}]"), plain, "It doesn't fit 64 bits.", b"1844")
    tensor("dimension_a_string", one(shape='["4"]'), plain, "A size is a number.", b'"4"')
    tensor("dimension_null", one(shape="[null]"), plain, "A size is a number.", b"null")
    tensor("dimension_an_array", one(shape="[[4]]"), plain, "A shape is flat.", b"[4]")
    offset = "a data offset is no plain non-negative integer"
    tensor("offset_negative", one(offsets="[-4,0]"), offset, "Nothing lies before the data.", b"-4")
    tensor("offset_with_an_exponent", one(offsets="[0,4e0]"), offset, "An offset is written out.", b"4e0")
    tensor("offset_of_65_bits", one(offsets=f"[0,{2**64 + 4}]"), offset, "Cut to 64 bits it would be 4.", b"1844")

    # Entries.
    tensor("no_dtype", fields('"shape":[4],"data_offsets":[0,4]'), "lacks 'dtype'", "Of what type?")
    tensor("no_shape", fields('"dtype":"U8","data_offsets":[0,4]'), "lacks 'shape'", "Of what shape?")
    tensor("no_offsets", fields('"dtype":"U8","shape":[4]'), "lacks 'data_offsets'", "Where is it?")
    tensor("entry_null", header('{"a":null}'), "entry is no JSON object", "An entry is an object.", b"null")
    tensor("entry_an_array", header('{"a":["U8",[4],[0,4]]}', 4), "entry is no JSON object", "Fields have names.")
    tensor("dtype_unknown", one(dtype='"U12"'), "unknown dtype", "Nobody knows its size.", b'"U12"')
    tensor("dtype_in_lower_case", one(dtype='"u8"'), "unknown dtype", "Names are in capitals.", b'"u8"')
    tensor("dtype_of_ggml", one(dtype='"Q8_0"'), "unknown dtype", "safetensors has no block types.", b'"Q8_0"')
    tensor("dtype_empty", one(dtype='""'), "unknown dtype", "Some types have no safetensors name.", b'""')
    tensor("dtype_a_number", one(dtype="7"), "dtype is no string", "A name, not a number.", b"7")
    tensor("shape_a_number", one(shape="4"), "the shape is no JSON array", "A list, even for one.", b"4,")
    tensor("shape_an_object", one(shape='{"0":4}'), "the shape is no JSON array", "A list, not an object.", b'{"0"')
    tensor("shape_of_65_dimensions", one(shape=f"[4{',1' * 64}]"), "too many dimensions", "64 are allowed.")
    tensor("offsets_an_object", one(offsets='{"0":4}'), "data_offsets is no JSON array", "They are a list.", b'{"0"')
    tensor("offsets_empty", one(offsets="[]"), "data_offsets has the wrong length", "Begin and end.", b"[]")
    tensor("offsets_1", one(offsets="[4]"), "data_offsets has the wrong length", "Begin or end?")
    tensor("offsets_3", one(offsets="[0,2,4]"), "data_offsets has the wrong length", "Which two count?", b"[0,2")
    tensor("offsets_reversed", one(offsets="[4,0]"), "ends before it begins", "The size would be negative.", b"[4,0")
    tensor("dtype_twice", fields('"dtype":"U8",' + entry()[5:-1]), "'dtype' is there twice", "Which one counts?")
    tensor("shape_twice", fields('"shape":[1],' + entry()[5:-1]), "'shape' is there twice", "Which one counts?")
    escaped = fields(r'"data_offset\u0073":[0,1],' + entry()[5:-1])
    tensor("offsets_twice_one_escaped", escaped, "'data_offsets' is there twice", "Escapes are the same text.")
    twice = header(f'{{{entry()},{entry(offsets="[4,8]")}}}', 8)
    tensor("name_twice", twice, "two tensors have this name", "Which one is meant?")
    twice = header(f'{{{entry()},{entry(chr(92) + "u0061", offsets="[4,8]")}}}', 8)
    tensor("name_twice_one_escaped", twice, "two tensors have this name", "Escapes are the same text.")

    # Metadata.
    def metadata(name, pairs, error, reason, at=None):
        whole(f"metadata_{name}", header('{"__metadata__":' + pairs + "}"), error, reason, at)

    metadata("an_array", "[]", "__metadata__ is no JSON object", "It holds pairs.", b"[]")
    metadata("a_string", '"x"', "__metadata__ is no JSON object", "It holds pairs.", b'"x"')
    metadata("of_numbers", '{"k":1}', "a metadata value is no string", "Values are strings.", b"1}}")
    metadata("of_nulls", '{"k":null}', "a metadata value is no string", "Values are strings.", b"null")
    metadata("of_objects", '{"k":{}}', "a metadata value is no string", "Values are strings.", b"{}")
    metadata("twice", '{},"__metadata__":null', "__metadata__ is there twice", "Which one counts?", 28)
    metadata("key_twice", '{"k":"1","k":"2"}', "key 'k' is there twice", "Which one counts?", 34)
    metadata("key_twice_one_escaped", r'{"k":"1","\u006b":"2"}', "key 'k' is there twice", "Escapes are the same text.")
    metadata("with_half_a_character", r'{"k":"\ud800"}', "invalid escape", "A lone surrogate is no text.", b"\\u")

    # Places and sizes. Data is last in the file, so that its places are counted from the end.
    hole, overlap, past = "a hole before", "overlaps another", "goes past the end of the file"
    content = one(offsets="[4,8]", data=8)
    tensor("hole_at_the_start", content, hole, "Something could hide in it.", len(content) - 4)
    content = two("[0,2]", "[4,6]", 6)
    tensor("hole_in_the_middle", content, hole, "Something could hide in it.", len(content) - 2, tensor="b")
    content = one(shape="[0]", offsets="[1,1]", data=1)
    tensor("hole_before_an_empty_one", content, hole, "The byte before it belongs to none.", len(content))
    content = two("[0,2]", "[1,3]", 3)
    tensor("overlap", content, overlap, "A write to one changes both.", len(content) - 2, tensor="b")
    content = two("[0,2]", "[0,2]", 2)
    tensor("same_place_twice", content, overlap, "Both lie at 0.", len(content) - 2, tensor="b")
    content = one(data=0)
    tensor("data_missing", content, past, "The file was cut after its header.", len(content))
    content = two("[0,2]", "[2,4]", 3)
    tensor("data_cut_short", content, past, "A byte is missing.", len(content) - 1, tensor="b")
    content = one(data=5)
    whole("data_too_long", content, "goes on after the data", "Something could hide there.", len(content) - 1)
    whole("data_without_tensors", header("{}", 1), "goes on after the data", "It belongs to no tensor.", 10)
    tensor("size_too_small", one(shape="[5]"), "don't fit its dtype and shape", "5 bytes don't fit in 4.")
    tensor("size_too_large", one(shape="[3]"), "don't fit its dtype and shape", "A byte would be left over.")
    tensor("size_not_empty", one(shape="[0]"), "don't fit its dtype and shape", "No elements take no bytes.")
    huge = one(shape=f"[{2**32},{2**32}]", offsets="[0,0]", data=0)
    tensor("elements_wrap", huge, "elements doesn't fit 64 bits", "The product is 0 in 64 bits.")
    huge = one(shape=f"[{2**32},{2**32},0]", offsets="[0,0]", data=0)
    tensor("elements_wrap_before_a_0", huge, "elements doesn't fit 64 bits", "The 0 comes too late.")
    huge = one(dtype='"F32"', shape=f"[{2**62}]", offsets="[0,0]", data=0)
    tensor("bytes_wrap", huge, "size is no whole number of bytes, or", "Times 4 it is 0 in 64 bits.")
    huge = one(shape=f"[{2**64 - 1}]", offsets=f"[0,{2**64 - 1}]", data=0)
    tensor("end_near_2_to_the_64", huge, past, "With the header's length it wraps.")
    huge = one(shape="[0]", offsets=f"[{2**64 - 1},{2**64 - 1}]", data=0)
    tensor("begin_near_2_to_the_64", huge, hole, "With the header's length it wraps.", nowhere=True)
    half = one(dtype='"F4"', shape="[3]", offsets="[0,2]", data=2)
    tensor("half_a_byte", half, "no whole number of bytes", "Three numbers of 4 bits.")
    return folder


U8, U32, I32, STRING, ARRAY, U64 = 0, 4, 5, 8, 9, 10  # types of values
F32, Q8_0, I8, F64 = 0, 8, 24, 28  # types of tensors


def text(content, length=None):
    content = content if isinstance(content, bytes) else content.encode()
    return u64(len(content) if length is None else length) + content


def pair(key, kind, value):
    return text(key) + u32(kind) + value


def array(kind, count, elements=b""):
    return u32(kind) + u64(count) + elements


def info(name="a", dims=(8,), kind=F32, offset=0):
    return text(name) + u32(len(dims)) + u64(*dims) + u32(kind) + u64(offset)


def start(tensors=0, pairs=0, version=3):
    return b"GGUF" + u32(version) + u64(tensors, pairs)


def padded(content, data=0, alignment=32):
    return content + bytes(-len(content) % alignment) + bytes(data)


def pairs(*all_pairs):
    """A GGUF file of those pairs, long enough for whatever they claim in a small way."""
    return padded(start(0, len(all_pairs)) + b"".join(all_pairs), 64)


def infos(*all_infos, data=64):
    return padded(start(len(all_infos)) + b"".join(all_infos), data)


def gguf():
    folder = Folder("gguf")
    whole, tensor = folder.whole, folder.tensor

    # The first 24 bytes. In a file of one tensor "a", its name is at byte 24, its rank at 33, its dimensions at 37, and
    # with one dimension its type at 45 and its offset at 49.
    whole("empty_file", b"", "the file is empty", "There is nothing in it.", nowhere=True)
    whole("three_bytes", b"GGU", "at least 8 bytes", "Not even a magic number.", 0)
    whole("magic_alone", b"GGUF", "ends inside the version", "A version must follow.", 4)
    whole("magic_wrong", b"GGUG" + start()[4:], "this is no checkpoint", "It only looks like GGUF.", 0)
    whole("magic_reversed", b"FUGG" + start()[4:], "the other byte order", "Written from the wrong end.", 0)
    whole("version_cut", start()[:7], "ends inside the version", "Three bytes of four.", 4)
    whole("version_0", start(version=0), "version is 0", "There was no such version.", 4)
    whole("version_1", start(version=1), "can't be read", "Its counts had 32 bits.", 4, code="unsupported")
    whole("version_4", start(version=4), "can't be read", "It isn't written yet.", 4, code="unsupported")
    big = b"GGUF" + struct.pack(">IQQ", 4, 0, 0)
    whole("big_endian_4", big, "can't be read", "Version 4, its numbers reversed.", 4, code="unsupported")
    big = b"GGUF" + struct.pack(">IQQ", 3, 1000, 0) + bytes(64)
    whole("big_endian_too_many", big, "too short for its number of tensors", "1000 of them, reversed.", 8)
    big = b"GGUF" + struct.pack(">I", 3) + u64(1, 0) + bytes(64)
    whole("big_endian_version_alone", big, "too short for its number of tensors", "2^56, read like the version.", 8)
    whole("tensor_count_cut", start()[:12], "ends inside the tensor count", "Four bytes of eight.", 8)
    whole("pair_count_cut", start()[:23], "ends inside the metadata count", "Seven bytes of eight.", 16)
    whole("tensors_too_many", padded(start(1000), 64), "too short for its number of tensors", "Each takes 24 bytes.", 8)
    whole("tensors_wrap", padded(start(2**61), 64), "too short for its number of tensors", "Times 24 wraps to 0.", 8)
    whole("tensors_negative", padded(start(2**64 - 1), 64), "too short for its number of tensors", "-1 of them.", 8)
    whole("pairs_too_many", padded(start(0, 1000), 64), "too short for its number of metadata", "13 bytes each.", 16)
    whole("pairs_wrap", padded(start(0, 2**63), 64), "too short for its number of metadata", "Times 13 it wraps.", 16)
    whole("both_too_many", start(2, 4) + bytes(64), "too short for its number of metadata", "Together too many.", 16)
    whole("pairs_missing", start(0, 1), "too short for its number of metadata", "The file was cut.", 16)
    whole("tensors_missing", start(1), "too short for its number of tensors", "The file was cut.", 8)

    # Other things under this name.
    whole("legacy_ggml", b"lmgg" + bytes(60), "a legacy GGML file", "It is older than GGUF.")
    whole("legacy_ggmf", b"fmgg" + bytes(60), "a legacy GGMF file", "It is older than GGUF.")
    whole("legacy_ggjt", b"tjgg" + bytes(60), "a legacy GGJT file", "It is older than GGUF.")
    whole("legacy_adapter", b"algg" + bytes(60), "a legacy GGLA adapter", "It is older than GGUF.")
    whole("a_gzip_file", b"\x1f\x8b\x08\0" + bytes(60), "a gzip archive", "It must be unpacked.")
    whole("an_hdf5_file", b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file", "Another format.")
    whole("an_xml_page", b"<?xml version='1.0'?><Error/>", "an XML document", "A store's answer.")

    # Keys and values.
    value = u32(7)
    whole("key_past_the_end", padded(start(0, 1) + text("k", 5000), 64), "ends inside a key", "Longer than the file.")
    whole("key_wraps", padded(start(0, 1) + text("k", 2**64 - 8), 64), "ends inside a key", "8 + length wraps to 0.")
    cut = start(0, 2) + pair("k" * 12, U32, value) + b"\1\0\0"
    whole("key_length_cut", cut, "ends inside a key's length", "Three bytes of eight.", 52)
    whole("key_empty", pairs(pair("", U32, value)), "impossible length", "A key has a name.", 24)
    twice = pairs(pair("k", U32, value), pair("k", U8, b"\1"))
    whole("key_twice", twice, "key 'k' is there twice", "Which one counts?", 41)
    whole("key_of_zeros", start(0, 1) + bytes(64), "impossible length", "Zeros where pairs should be.", 24)
    whole("type_13", pairs(pair("k", 13, value)), "an unknown type", "12 is the last.", 33)
    whole("type_negative", pairs(pair("k", 2**32 - 1, value)), "an unknown type", "-1 is none.", 33)
    whole("type_cut", start(0, 1) + text("k" * 20) + b"\4\0", "ends inside a value's type", "Two bytes of four.", 52)
    whole("value_cut", start(0, 1) + text("k") + u32(U32) + b"\1", "ends inside a value", "One byte of four.", 37)
    wide = start(0, 1) + text("kk") + u32(U64) + bytes(7)
    whole("wide_value_cut", wide, "ends inside a value", "Seven bytes of eight.", 38)
    long = start(0, 1) + text("k") + u32(STRING) + u64(65)
    whole("string_past_the_end", long + bytes(64), "ends inside a string", "64 bytes of 65.", 45)
    wraps = pairs(pair("k", STRING, text("x", 2**64 - 1)))
    whole("string_wraps", wraps, "ends inside a string", "Where it begins plus its length wraps.", 45)
    cut = start(0, 1) + text("k") + u32(STRING) + b"\1"
    whole("string_length_cut", cut, "ends inside a string's length", "One byte of eight.", 37)
    whole("string_is_the_file", pairs(pair("k", STRING, text("x", 2**40))), "ends inside a string", "A terabyte.", 45)
    whole("array_past_the_end", pairs(pair("k", ARRAY, array(U8, 4096))), "longer than the file", "It has 64.", 37)
    whole("array_wraps", pairs(pair("k", ARRAY, array(U64, 2**61))), "longer than the file", "Times 8 it is 0.", 37)
    many = pairs(pair("k", ARRAY, array(STRING, 2**61)))
    whole("array_of_strings_wraps", many, "longer than the file", "Each takes 8 bytes or more.", 37)
    many = pairs(pair("k", ARRAY, array(ARRAY, 2**62)))
    whole("array_of_arrays_wraps", many, "longer than the file", "Each takes 12 bytes or more.", 37)
    cut = start(0, 1) + text("k") + u32(ARRAY) + b"\4"
    whole("array_type_cut", cut, "ends inside a value's type", "One byte of four.", 37)
    cut = start(0, 1) + text("k") + u32(ARRAY) + u32(U8) + b"\4"
    whole("array_count_cut", cut, "ends inside an array's length", "One byte of eight.", 41)
    whole("array_of_type_13", pairs(pair("k", ARRAY, array(13, 1))), "an unknown type", "12 is the last.", 37)
    whole("empty_array_of_type_99", pairs(pair("k", ARRAY, array(99, 0))), "an unknown type", "Empty, but of what?", 37)
    second = array(STRING, 2, text("x") + text("y", 500))
    whole("string_in_an_array_past_the_end", pairs(pair("k", ARRAY, second)), "inside a string", "The second is long.")
    inner = array(ARRAY, 1, array(U8, 500))
    whole("array_in_an_array_past_the_end", pairs(pair("k", ARRAY, inner)), "longer than the file", "The inner one is.")
    deep = array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(U8, 1, b"\1")))))
    whole("arrays_five_deep", pairs(pair("k", ARRAY, deep)), "nested too deeply", "Four are more than enough.", 85)
    deep = pairs(pair("k", ARRAY, array(ARRAY, 1) * 500))
    whole("arrays_500_deep", deep, "nested too deeply", "They could be as deep as the file is long.", 85)
    align = "general.alignment"
    not_a_power = "not a power of two of type u32"
    whole("alignment_0", pairs(pair(align, U32, u32(0))), not_a_power, "Nothing is a multiple of 0.", 24)
    whole("alignment_33", pairs(pair(align, U32, u32(33))), not_a_power, "A power of two.", 24)
    whole("alignment_of_64_bits", pairs(pair(align, U64, u64(32))), not_a_power, "Its type is u32.", 24)
    whole("alignment_signed", pairs(pair(align, I32, u32(32))), not_a_power, "Its type is u32.", 24)
    whole("alignment_a_string", pairs(pair(align, STRING, text("32"))), not_a_power, "Its type is u32.", 24)
    far = padded(start(1, 1) + pair(align, U32, u32(2**31)) + info(), 64)
    tensor("alignment_past_the_end", far, "goes past the end of the file", "The data begins at 2 GiB.", 2**31)
    late = pairs(pair("k", U32, value), pair(align, U32, u32(3)))
    whole("alignment_3_as_second_pair", late, not_a_power, "The rule holds wherever the pair stands.", 41)

    # Tensors' names and shapes.
    long = padded(start(1) + text("a", 5000), 64)
    whole("name_past_the_end", long, "inside a tensor's name", "The file isn't as long.", 32)
    whole("name_wraps", padded(start(1) + text("a", 2**64 - 1), 64), "inside a tensor's name", "8 + length wraps.", 32)
    nul = infos(info("a\0b"))
    tensor("name_with_nul", nul, "contains a NUL byte", "C would call it 'a'.", 24, tensor="a\\u0000b")
    tensor("name_twice", infos(info(), info(offset=32)), "two tensors have this name", "Which one is meant?", 57)
    empty = infos(info(""), info("", offset=32))
    whole("name_empty_twice", empty, "two tensors have this name", "Once is odd, twice is wrong.", 56)
    tensor("rank_9", infos(info(dims=[1] * 9)), "too many dimensions", "8 are read, 4 written.", 33)
    tensor("rank_negative", infos(text("a") + u32(2**32 - 1)), "too many dimensions", "-1 of them.", 33)
    cut = start(1) + text("a" * 14) + b"\1\0"
    tensor("rank_cut", cut, "inside a tensor's rank", "Two bytes of four.", 46, tensor="a" * 14)
    cut = start(1) + text("a") + u32(2) + u64(8) + b"\1\0\0"
    tensor("dimension_cut", cut, "inside a tensor's dimensions", "Three bytes of eight.", 45)
    tensor("dimension_negative", infos(info(dims=[2**64 - 1])), "too many elements", "-1 elements.", 37)
    tensor("dimension_of_63_bits", infos(info(dims=[2**63])), "too many elements", "ggml's are signed.", 37)
    tensor("elements_wrap", infos(info(dims=[2**32, 2**32])), "too many elements", "The product is 0.", 45)
    tensor("elements_past_63_bits", infos(info(dims=[2**62, 2])), "too many elements", "It would be negative.", 45)
    late = infos(info(dims=[2**62, 2**62, 0]))
    tensor("elements_wrap_before_a_0", late, "too many elements", "The 0 comes too late.", 45)
    tensor("bytes_wrap", infos(info(dims=[2**61], kind=F64)), "size doesn't fit 63 bits", "Times 8 it is 0.", 45)
    tensor("bytes_past_63_bits", infos(info(dims=[2**61])), "size doesn't fit 63 bits", "Times 4 it's negative.", 45)

    # Tensors' types and rows.
    gone = "was removed or is unknown"
    tensor("type_4", infos(info(kind=4)), gone, "Q4_2 was given up.", 45)
    tensor("type_5", infos(info(kind=5)), gone, "Q4_3 was given up.", 45)
    tensor("type_31", infos(info(kind=31)), gone, "Repacked Q4_0 isn't stored.", 45)
    tensor("type_36", infos(info(kind=36)), gone, "Repacked IQ4_NL isn't stored.", 45)
    tensor("type_43", infos(info(kind=43)), gone, "Nobody has defined it.", 45)
    tensor("type_far_off", infos(info(kind=0x80000000)), gone, "It would index far outside a table.", 45)
    cut = start(1) + text("a") + u32(1) + u64(8) + b"\0\0\0"
    tensor("tensor_type_cut", cut, "inside a tensor's type", "Three bytes of four.", 45)
    rows = "the tensor's rows are no whole blocks of Q8_0"
    tensor("row_of_33", infos(info(dims=[33], kind=Q8_0)), rows, "A block has 32 elements.", 45)
    tensor("rows_of_16", infos(info(dims=[16, 2], kind=Q8_0)), rows, "32 in all, but no row has them.", 53)
    tensor("scalar_of_blocks", infos(info(dims=[], kind=Q8_0)), rows, "One element is no block.", 37)

    # Tensors' places.
    place = "doesn't begin where the one before it ends"
    tensor("offset_not_0", infos(info(offset=32)), place, "Nothing comes before the first.", 49)
    tensor("offset_overlaps", infos(info(), info("b")), place, "Both lie at 0.", 82, tensor="b")
    tensor("offset_leaves_a_hole", infos(info(), info("b", offset=64), data=96), place, "32 is next.", 82, tensor="b")
    near = infos(info(dims=[3]), info("b", offset=12))
    tensor("offset_not_aligned", near, place, "Data is padded to the alignment.", 82, tensor="b")
    tensor("offset_near_2_to_the_64", infos(info(offset=2**64 - 32)), place, "Its end would wrap to 0.", 49)
    other = padded(start(2, 1) + pair(align, U32, u32(64)) + info() + info("b", offset=32), 96, 64)
    tensor("offset_of_another_alignment", other, place, "64 is the alignment, not 32.", tensor="b")
    wide = infos(info(dims=[2**63 - 1], kind=I8))
    tensor("end_past_63_bits", wide, "end doesn't fit 63 bits", "Rounded up to 32 it is 2^63.", 49)
    half = info(dims=[2**62], kind=I8), info("b", dims=[2**62], kind=I8, offset=2**62)
    tensor("ends_past_63_bits", infos(*half), "end doesn't fit 63 bits", "Two of 2^62 bytes.", 82, tensor="b")
    past = "the tensor's data goes past the end of the file"
    tensor("data_missing", start(1) + info(), past, "The file was cut after its header.", 64)
    tensor("data_in_the_padding", (start(1) + info(dims=[1])) + bytes(4), past, "Aligned, it is further on.", 64)
    tensor("data_cut_short", infos(info(), data=31), past, "A byte is missing.", 64)
    second = infos(info(), info("b", offset=32), data=32)
    tensor("data_of_the_second_missing", second, past, "The first is whole.", 128, tensor="b")
    tensor("data_of_a_terabyte", infos(info(dims=[2**38])), past, "It is no sparse file.", 64)
    cut = start(1) + text("abcdefg") + u32(1) + u64(8) + u32(F32) + b"\0\0"
    tensor("tensor_offset_cut", cut, "inside a tensor's offset", "Two bytes of eight.", 55, tensor="abcdefg")
    return folder


if __name__ == "__main__":
    for made in (safetensors(), gguf()):
        made.write()
        print(f"{made.suffix}: {len(made.files)} files, {sum(map(len, made.files.values()))} bytes")
