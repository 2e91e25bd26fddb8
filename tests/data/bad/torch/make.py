#!/usr/bin/env python3
"""Makes the hostile PyTorch files beside it, one a cause, and reasons.json: {file: {reason, error, …}}, as ../make.py
does for its formats (what the fields mean is said there). The names end in .pt whether they are archives or of the
format before.

Pickles are put together opcode by opcode here, since no pickler writes such ones: the functions below give the bytes
that make a value. Run it after adding a line; the tests read what it wrote, and its functions make the larger bombs.
"""

import io
import json
import pathlib
import struct
import zipfile

HERE = pathlib.Path(__file__).parent

NONE, TRUE, FALSE, EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, MARK, STOP = b"N", b"\x88", b"\x89", b"}", b"]", b")", b"(", b"."
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
PICKLE_AT = 40  # where the pickle begins in an archive() of ours


def text(content):
    content = content if isinstance(content, bytes) else content.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def integer(n):
    if 0 <= n < 256:
        return b"K" + bytes([n])
    content = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def put(n):
    return b"r" + struct.pack("<I", n)


def get(n):
    return b"j" + struct.pack("<I", n)


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items):
    return MARK + b"".join(items) + b"t"


def list_of(*items):
    return EMPTY_LIST + MARK + b"".join(items) + b"e"


def dict_of(*pairs):
    return EMPTY_DICT + MARK + b"".join(key + value for key, value in pairs) + b"u"


def numbers(*values):
    return tuple_of(*map(integer, values))


def call(module, attribute, *arguments):
    return name(module, attribute) + tuple_of(*arguments) + b"R"


def storage(kind="FloatStorage", key="0", count=4, view=None, word="storage", module="torch"):
    parts = [text(word), name(module, kind), text(key), text("cpu"), count if isinstance(count, bytes) else integer(count)]
    return tuple_of(*parts, *([view] if view else [])) + b"Q"


HOOKS = name("collections", "OrderedDict") + EMPTY_TUPLE + b"R"


def tensor(source=None, offset=0, size=(4,), stride=(1,), *more, function="_rebuild_tensor_v2"):
    source = storage() if source is None else source
    size = size if isinstance(size, bytes) else numbers(*size)
    stride = stride if isinstance(stride, bytes) else numbers(*stride)
    offset = offset if isinstance(offset, bytes) else integer(offset)
    return call("torch._utils", function, source, offset, size, stride, FALSE, HOOKS, *more)


def pickle(value, protocol=2):
    return b"\x80" + bytes([protocol]) + value + STOP


def one(value, key="a"):
    """A state dict of one tensor."""
    return pickle(dict_of((text(key), value)))


def archive(content, *entries, root="m/"):
    """A zip file: data.pkl, and entries of (name, bytes); the storage "0" of 16 bytes unless there are others."""
    entries = entries or ((f"{root}data/0", bytes(16)),)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for entry, data in ((f"{root}data.pkl", content), *entries):
            info = zipfile.ZipInfo(entry)
            info.create_system = 3
            file.writestr(info, data)
    return packed.getvalue()


def legacy(content, keys=None, data=None, magic=None, protocol=None, system=None):
    """The format before 1.6: pickles in a row, then the storages."""
    system = dict_of((text("little_endian"), TRUE)) if system is None else system
    keys = list_of(text("0")) if keys is None else keys
    data = struct.pack("<q16x", 4) if data is None else data
    head = pickle(integer(MAGIC) if magic is None else magic)
    head += pickle(integer(PROTOCOL) if protocol is None else protocol) + pickle(system)
    return head + content + pickle(keys) + data


class Cases:
    def __init__(self):
        self.files, self.reasons = {}, {}

    def add(self, name, content, error, reason, at=None, code="format", **more):
        """`at`: the bytes that are at fault, the first time they are there; or a number; None: no byte is. `tensor`: None
        where any may be named."""
        assert name not in self.files and content not in self.files.values(), name
        if code != "format":
            more["code"] = code
        more["offset"] = at if at is None or isinstance(at, int) else content.index(at)
        self.files[name] = content
        self.reasons[f"{name}.pt"] = {"reason": reason, "error": error, **more}


def globals_of(cases):
    def refused(name, value, error, reason, at=None):
        content = archive(pickle(value))
        cases.add(name, content, f"{error}, which Headrace doesn't run", reason, at or value, "unsupported")

    asks = "the pickle asks for "
    refused("system", call("os", "system", text("true")), asks + "os.system", "A command would run.")
    refused("posix_system", call("posix", "system", text("true")), asks + "posix.system", "os.system's other name.")
    refused("eval", call("builtins", "eval", text("1")), asks + "builtins.eval", "Code would run.")
    refused("exec_of_python_2", call("__builtin__", "execfile", text("x")), asks + "__builtin__.execfile", "Code would run.")
    refused("getattr", call("builtins", "getattr", NONE, text("x")), asks + "builtins.getattr", "A way to anything.")
    refused("inst", MARK + text("true") + b"ios\nsystem\n", asks + "os.system", "INST names and calls at once.", b"ios\n")
    refused("obj", MARK + name("os", "system") + text("true") + b"o", asks + "os.system", "OBJ calls.", b"cos\n")
    refused("newobj", name("subprocess", "Popen") + tuple_of(text("true")) + b"\x81", asks + "subprocess.Popen", "A process.")
    stack_global = b"\x8c\x02os\x8c\x06system\x93"
    refused("stack_global", stack_global + tuple_of(text("true")) + b"R", asks + "os.system", "Protocol 4's GLOBAL.", b"\x93")
    dotted = text("torch") + text("serialization.os.system") + b"\x93"
    refused("dotted", dotted, asks + "torch.serialization.os.system", "An attribute's attribute.", b"\x93")
    refused("unused", name("os", "system") + b"0" + EMPTY_DICT, asks + "os.system", "Asked for, then dropped.")
    refused("load_from_bytes", call("torch.storage", "_load_from_bytes", b"C\0"), asks + "torch.storage._load_from_bytes",
            "Bytes that are a pickle again.")  # fmt: skip
    refused("hub", call("torch.hub", "load", text("x")), asks + "torch.hub.load", "Code from elsewhere.")
    refused("linear", name("torch.nn.modules.linear", "Linear"), asks + "torch.nn.modules.linear.Linear", "A whole module.")
    refused("script", name("__torch__.model", "Net"), asks + "__torch__.model.Net", "TorchScript's own classes.")
    refused("array", name("numpy.core.multiarray", "_reconstruct"), asks + "numpy.core.multiarray._reconstruct", "An array.")
    refused("reconstructor", name("copyreg", "_reconstructor"), asks + "copyreg._reconstructor", "Any class's object.")
    refused("no_name", b"c\n\n", asks + ".", "Nothing is asked for.")
    refused("steers_the_terminal", b"c\x1b[2J\nx\n", asks + r"\u001b[2J.x", "A name is shown to a person.")
    refused("quantised", name("torch._utils", "_rebuild_qtensor"), asks + "torch._utils._rebuild_qtensor", "Not plain numbers.")
    refused("calls_a_dtype", call("torch", "float32"), "the pickle calls torch.float32", "A dtype is no function.", b"R")
    refused("calls_a_storage", call("torch", "FloatStorage"), "the pickle calls torch.FloatStorage", "No storage's bytes.", b"R")
    refused("calls_tensor", call("torch", "Tensor"), "the pickle calls torch.Tensor", "No plain tensor.", b"R")
    for code in (1, 2, 4):
        op = bytes([0x82 + (code > 1) + (code > 2)]) + b"\7" + bytes(code - 1)
        refused(f"extension_{code}", op, "the pickle asks for extension 7", "A registered function, by number.")


def calls_of(cases):
    def bad(name, value, error, reason, at, code="format"):
        cases.add(name, archive(pickle(value)), error, reason, at, code)

    bad("calls_a_text", text("x") + EMPTY_TUPLE + b"R", "the pickle calls a string", "A text is no function.", b"R.")
    bad("calls_with_a_list", name("torch", "Size") + EMPTY_LIST + b"R", "without a tuple of arguments", "No arguments.", b"R.")
    named = name("torch", "Size") + EMPTY_TUPLE + dict_of((text("x"), NONE)) + b"\x92"
    bad("named_arguments", named, "with named arguments", "None of ours has them.", b"\x92", "unsupported")
    bad("attributes_of_a_tensor", tensor() + NONE + b"b", "sets the attributes of a tensor", "It would be another.", b"b.",
        "unsupported")  # fmt: skip
    bad("attributes_of_a_list", EMPTY_LIST + NONE + b"b", "sets the attributes of a list", "A list has none.", b"b.", "unsupported")
    bad("size_of_a_text", call("torch", "Size", text("x")), "makes a torch.Size of something else", "No numbers.", b"R.")
    bad("set_of_a_text", call("builtins", "set", text("x")), "makes a set of something else", "No list.", b"R.")
    bad("dict_of_texts", call("collections", "OrderedDict", list_of(text("x"))), "makes a dict of something", "No pairs.", b"R.")
    bad("dict_of_a_text", call("collections", "Counter", text("x")), "makes a dict of something else", "No pairs.", b"R.")
    bad("parameter_of_nothing", call("torch._utils", "_rebuild_parameter"), "a parameter without a tensor", "No data.", b"R.")
    own = call("torch._tensor", "_rebuild_from_type_v2", name("torch", "Size"), name("torch", "Tensor"), EMPTY_TUPLE, NONE)
    bad("from_type_by_a_class", own, "a tensor of a class in a way that isn't known", "A size is no tensor.", b"R.")
    nested = name("torch._tensor", "_rebuild_from_type_v2") + put(0)
    nested = nested + tuple_of(get(0), name("torch", "Tensor"), EMPTY_TUPLE, NONE) + b"R"
    bad("from_type_of_itself", nested, "a tensor of a class in a way that isn't known", "It could go on so.", b"R.")
    bad("persistent_text", b"Px\n", "opcode 0x50, which no checkpoint needs", "Ids are tuples.", b"Px", "unsupported")
    bad("buffers", b"\x97", "opcode 0x97, which no checkpoint needs", "They come from outside.", b"\x97", "unsupported")


def stack_of(cases):
    def bad(name, content, error, reason, at=None, code="format"):
        if at is None:
            at = content[:-1] or STOP
        cases.add(name, archive(b"\x80\2" + content), error, reason, at, code)

    missing = "takes a value that isn't there"
    bad("nothing_at_the_end", STOP, missing, "No value is left.", PICKLE_AT + 2)
    bad("pop_of_nothing", b"0.", missing, "There is none.")
    bad("dup_of_nothing", b"2.", missing, "There is none.")
    bad("pair_of_one", b"N\x86.", missing, "Two make a pair.", b"\x86")
    bad("pair_across_a_mark", b"N(N\x86.", missing, "What is below a mark is another's.", b"\x86")
    bad("reduce_of_nothing", b"R.", missing, "There is none.")
    bad("memoize_of_nothing", b"\x94.", missing, "There is none.")
    bad("tuple_without_a_mark", b"Nt.", "a mark that isn't there", "Where does it begin?", b"t.")
    bad("append_to_a_dict", b"}Na.", "the wrong kind of value (expected a list, found a dict)", "A dict has keys.", PICKLE_AT + 4)
    bad("append_to_nothing", b"Na.", "adds to nothing", "No list is there.", PICKLE_AT + 3)
    bad("append_across_a_mark", b"](Na.", "adds to nothing", "The list is below the mark.", PICKLE_AT + 5)
    bad("item_of_a_tuple", b")NNs.", "the wrong kind of value (expected a dict, found a tuple)", "A tuple is fixed.", b"s.")
    bad("key_without_a_value", b"}(NNNu.", "a key of the pickle's dict has no value", "Three make no pairs.", b"u.")
    bad("dict_of_three", b"(NNNd.", "a key of the pickle's dict has no value", "Three make no pairs.", b"d.")
    bad("call_of_nothing", b"(o.", "the pickle calls nothing", "There is no class.", b"o.")
    bad("memo_unknown", b"h\5.", "refers to a value that isn't there (found 5)", "Nothing was put there.")
    bad("memo_unknown_far", b"j\xff\xff\xff\xff.", "refers to a value that isn't there", "Nothing was put there.")
    bad("memo_hole", b"Nr\xff\xff\xff\x7f.", "the pickle's memo has a hole", "16 GiB of memo for six bytes.", b"r\xff")
    bad("memo_no_number", b"Npx\n.", "a number in the pickle is malformed", "x is no number.", b"px")
    bad("integer_no_number", b"I1x\n.", "a number in the pickle is malformed", "x is no number.")
    bad("long_no_number", b"LL\n.", "a number in the pickle is malformed", "No digits.")
    bad("string_without_quotes", b"Sx\n.", "has no quotes", "repr has them.")
    bad("string_with_escapes", b"S'\\x41'\n.", "written with escapes", "Not done here.", code="unsupported")
    bad("opcode_unknown", b"\x01.", "this is no opcode of a pickle", "There is none of that number.")
    bad("protocol_6", b"\x80\6N.", "protocol is too new (expected at most 5, found 6)", "Not known yet.", code="unsupported",
        at=b"\x80\6")  # fmt: skip
    bad("global_without_names", NONE + NONE + b"\x93.", "a global of the pickle has no name", "None is no name.", b"\x93")
    too_soon = "the pickle ends too soon"
    cases.add("no_stop", archive(b"\x80\2N"), too_soon, "It has no end.", PICKLE_AT + 3)
    cases.add("no_pickle", archive(b""), too_soon, "Nothing is in data.pkl.", PICKLE_AT)
    bad("text_of_8_eib", b"\x8d" + b"\xff" * 7 + b"\x7f.", too_soon, "It is longer than the file.", PICKLE_AT + 11)
    bad("bytes_of_4_gib", b"B\xff\xff\xff\xff.", too_soon, "They are longer than the file.", PICKLE_AT + 7)
    bad("integer_of_2_gib", b"\x8b\xff\xff\xff\x7f.", too_soon, "It is longer than the file.", PICKLE_AT + 7)
    bad("line_without_end", b"cos.", too_soon, "No newline comes.", PICKLE_AT + 6)
    bad("line_of_5000", b"c" + b"x" * 5000 + b"\nx\n.", "a line of the pickle is too long", "No name is so long.", b"xxx")


def tensors_of(cases):
    def bad(name, value, error, reason, at=b"R", code="format", tensor="a", **more):
        content = archive(one(value))
        if at == b"R":  # the last call
            at = content.index(b"Ru.")
        if tensor:
            more["tensor"] = tensor
        cases.add(name, content, error, reason, at, code, **more)

    def malformed(name, value, error, reason, at=b"R", code="format"):
        bad(name, value, error, reason, at, code, tensor=None)

    past = "the tensor goes past the end of its storage"
    bad("past_the_storage", tensor(size=(5,)), past, "Five of four.")
    bad("offset_past_the_storage", tensor(offset=1), past, "The last is the fifth.")
    bad("stride_past_the_storage", tensor(size=(2, 2), stride=(3, 1)), past, "The last is the fifth.")
    bad("strides_wrap", tensor(size=(3,), stride=(1 << 54,)), past, "Far beyond.")
    bad("sum_wraps", tensor(size=(1 << 30, 1 << 30), stride=((1 << 34) + 1, (1 << 34) + 1)), past, "2^65 in 64 bits.")
    bad("elements_wrap", tensor(size=(1 << 32, 1 << 32), stride=(0, 0)), "too many elements", "0 in 64 bits.")
    bad("bytes_wrap", tensor(size=(1 << 31, 1 << 31), stride=(0, 0)), "too many elements", "0 bytes in 64 bits.")
    bad("elements_wrap_before_a_0", tensor(size=(1 << 32, 1 << 32, 0), stride=(0, 0, 0)), "too many elements", "Before the 0.")
    bad("conjugated", tensor(None, 0, (4,), (1,), dict_of((text("conj"), TRUE))), "before its 'conj' is applied",
        "The storage holds other numbers.", code="unsupported")  # fmt: skip
    bad("complex128", tensor(storage("ComplexDoubleStorage", count=1), size=(1,)), "can't hold complex128", "No such type.",
        code="unsupported")  # fmt: skip
    bad("storage_missing", tensor(storage(key="7")), "the tensor's storage isn't in the archive", "No entry.", None)
    bad("storage_of_a_folder_up", tensor(storage(key="../data.pkl")), "isn't in the archive", "Keys are no paths.", None)
    bad("storage_too_short", tensor(storage(count=5)), "the tensor's storage is too short", "16 bytes of 20.",
        archive(one(tensor(storage(count=5)))).index(b"data/0") + 6)  # fmt: skip

    malformed("stride_negative", tensor(stride=(-1,)), "a tensor's stride is no count", "They only go forward.")
    malformed("size_negative", tensor(size=(-4,)), "a tensor's size is no count", "Minus four elements.")
    malformed("offset_negative", tensor(offset=-1), "a tensor's offset is no count", "Before the storage.")
    malformed("offset_huge", tensor(offset=1 << 70), "a tensor's offset is too large", "0 in 64 bits.")
    malformed("size_of_texts", tensor(size=tuple_of(text("4"))), "a tensor's size is no count", "A text.")
    malformed("size_no_tuple", tensor(size=integer(4)), "a tensor's size is no tuple", "A number.")
    malformed("ranks_differ", tensor(size=(2, 2)), "size and stride differ in length", "A stride each.")
    malformed("dimensions_65", tensor(size=(1,) * 65, stride=(1,) * 65), "a tensor's size is too long", "64 at most.")
    malformed("without_a_storage", tensor(NONE), "a tensor without a storage", "None has no bytes.")
    malformed("v2_of_8", tensor(None, 0, (4,), (1,), NONE, NONE), "a wrong number of arguments", "One too many.")
    malformed("v3_without_a_dtype", tensor(None, 0, (4,), (1,), NONE, function="_rebuild_tensor_v3"), "without an element type",
              "None is no dtype.")  # fmt: skip
    malformed("metadata_unknown", tensor(None, 0, (4,), (1,), dict_of((text("warp"), TRUE))), "a tensor's metadata isn't known",
              "Who knows what it does.", code="unsupported")  # fmt: skip
    malformed("metadata_no_dict", tensor(None, 0, (4,), (1,), integer(1)), "a tensor's metadata is malformed", "A number.")
    many = dict_of(*((integer(i), FALSE) for i in range(17)))
    malformed("metadata_of_17", tensor(None, 0, (4,), (1,), many), "a tensor's metadata is malformed", "Two are known.")

    def persistent(name, value, error, reason):
        content = archive(one(tensor(value)))
        cases.add(name, content, error, reason, content.index(b"Q", content.index(b"cpu")))

    none = "a persistent id of the pickle describes no storage"
    persistent("id_of_a_module", storage(word="module"), none, "Code of a class.")
    persistent("id_without_a_type", storage("float32"), none, "A dtype is no storage.")
    persistent("storage_negative", storage(count=-1), "a storage's size is no count", "Minus one element.")
    persistent("storage_wraps", storage(count=1 << 64), "a storage's size is too large", "2^64 elements.")
    short = archive(one(tensor(tuple_of(text("storage")) + b"Q")))
    cases.add("id_too_short", short, none, "One part of five.", short.index(b"tQ") + 1)
    no_tuple = archive(one(tensor(text("0") + b"Q")))
    cases.add("id_a_text", no_tuple, none, "One part of five.", no_tuple.index(b"0Q") + 1)
    sizes = archive(pickle(dict_of((text("a"), tensor()), (text("b"), tensor(storage(count=3))))))
    cases.add("storage_of_two_sizes", sizes, "the storage '0' has two sizes", "12 bytes, or 16?", sizes.rindex(b"tQ") + 1)


def deep(levels, value):
    """`value` in that many dicts."""
    for _ in range(levels):
        value = dict_of((text("x"), value))
    return value


def doubling(levels, value, make=lambda n: tuple_of(get(n), get(n))):
    """A value, a pair of that, a pair of those pairs…: two to the power of `levels` values, in a few bytes a level."""
    content = value + put(0)
    for n in range(levels):
        content += b"0" + make(n) + put(n + 1)
    return content


def twins(n):
    return dict_of((text("a"), get(n)), (text("b"), get(n)))


def names_of(cases):
    def bad(name, value, error, reason, code="format", offset=None, **more):
        content = archive(pickle(value))
        cases.add(name, content, error, reason, offset(content) if offset else None, code, **more)

    def last_call(content):
        return content.rindex(b"Ru.")

    twice = "two tensors have this name"
    bad("name_twice", dict_of((text("a"), tensor()), (text("a"), tensor())), twice, "One would hide.", tensor="a", offset=last_call)
    bad("name_of_a_number", dict_of((text("1"), tensor()), (integer(1), tensor())), twice, "Both print as 1.", tensor="1",
        offset=last_call)  # fmt: skip
    bad("name_of_a_path", dict_of((text("a"), dict_of((text("b"), tensor()))), (text("a.b"), tensor())), twice,
        "Both are a.b.", tensor="a.b", offset=last_call)  # fmt: skip
    bad("name_with_nul", dict_of((text("a\0b"), tensor())), "contains a NUL byte", "C ends there.", tensor=r"a\u0000b",
        offset=last_call)  # fmt: skip
    bad("key_a_tuple", dict_of((EMPTY_TUPLE, tensor())), "neither a string nor an integer", "No name.", "unsupported")
    bad("key_huge", dict_of((integer(1 << 80), tensor())), "neither a string nor an integer", "No name.", "unsupported")
    bad("in_a_set", dict_of((text("a"), b"\x8f(" + tensor() + b"\x90")), "a tensor in a set has no name", "Unordered.",
        "unsupported", tensor="a")  # fmt: skip
    bad("in_a_set_of_python_2", dict_of((text("a"), call("__builtin__", "set", list_of(tensor())))),
        "a tensor in a set has no name", "Unordered.", "unsupported", tensor="a")  # fmt: skip
    bad("root_a_text", text("weights"), "holds no tensors (expected a state dict, found a string)", "Nothing to convert.")
    bad("root_a_storage", storage(), "holds no tensors (expected a state dict, found a storage)", "Bytes of no shape.")
    bad("levels_200", deep(200, tensor()), "nested too deep (expected at most 128 levels)", "A stack each.",
        tensor="x" + ".x" * 99 + ".…")  # fmt: skip
    bad("holds_itself", EMPTY_DICT + put(0) + text("a") + get(0) + b"s", "holds itself", "Without end.")
    bad("holds_itself_in_a_list", EMPTY_LIST + put(0) + list_of(tensor(), get(0)) + b"a", "holds itself", "Without end.")
    bad("names_2_to_60", doubling(60, tensor(), twins), "lists the same entries over and over", "60 dicts, each twice.",
        tensor=None)  # fmt: skip
    wrapped = dict_of((text("model"), dict_of((text("a"), tensor()))), (text("ema"), dict_of((text("a"), tensor()))))
    bad("two_models", wrapped, "several entries of the checkpoint hold tensors", "Which one?", "invalid_argument")


def archives_of(cases):
    good = one(tensor())
    data = ("m/data/0", bytes(16))
    cases.add("two_pickles", archive(good, data, ("n/data.pkl", good)), "the archive holds two checkpoints", "Which one?")
    cases.add("big_endian", archive(good, data, ("m/byteorder", b"big")), "saved on a big-endian machine",
              "Each number would be turned round.", code="unsupported")  # fmt: skip
    cases.add("byte_order_unknown", archive(good, data, ("m/byteorder", b"pdp")), "byteorder is unknown", "Neither of two.")


def legacies_of(cases):
    good = one(tensor())

    def bad(name, content, error, reason, at, code="format", **more):
        cases.add(name, content, error, reason, at, code, **more)

    whole = legacy(good)
    bad("legacy_magic_other", legacy(good, magic=integer(MAGIC + 1)), "no PyTorch checkpoint", "Another number.", 0)
    bad("legacy_no_magic", pickle(dict_of((text("a"), integer(1)))) + bytes(8), "no PyTorch checkpoint", "A plain pickle.", 0)
    bad("legacy_plain_system", pickle(call("os", "system", text("true"))), "asks for os.system", "A plain pickle.", 2, "unsupported")
    bad("legacy_in_the_system_info", legacy(good, system=call("os", "system", text("true"))), "asks for os.system", "Not there, too.",
        whole.index(b"\x80\2}") + 2, "unsupported")  # fmt: skip
    bad("legacy_protocol_1002", legacy(good, protocol=integer(1002)), "this version of PyTorch's old format isn't known",
        "Newer, or damaged.", 15, "unsupported")  # fmt: skip
    system = dict_of((text("little_endian"), FALSE))
    bad("legacy_big_endian", legacy(good, system=system), "saved on a big-endian machine", "Each number turned round.",
        whole.index(b"\x80\2}"), "unsupported")  # fmt: skip
    bad("legacy_no_byte_order", legacy(good, system=EMPTY_DICT), "doesn't say in which byte order", "It always does.",
        whole.index(b"\x80\2}"))  # fmt: skip
    bad("legacy_system_a_list", legacy(good, system=EMPTY_LIST), "doesn't say in which byte order", "It always does.",
        whole.index(b"\x80\2}"))  # fmt: skip
    keys_at = whole.index(b"\x80\2]")
    end = whole.index(struct.pack("<q", 4), keys_at)
    bad("legacy_keys_no_list", legacy(good, keys=text("0")), "list of storages is no list", "A text.", keys_at)
    bad("legacy_key_unknown", legacy(good, keys=list_of(text("9"))), "no tensor has the storage '9'", "Whose is it?", keys_at)
    bad("legacy_key_a_number", legacy(good, keys=list_of(integer(0))), "no tensor has the storage 'an integer'", "A text.", keys_at)
    bad("legacy_key_twice", legacy(good, keys=list_of(text("0"), text("0")), data=struct.pack("<q16xq16x", 4, 4)),
        "the storage '0' is there twice", "Which one?", keys_at)  # fmt: skip
    bad("legacy_key_missing", legacy(good, keys=EMPTY_LIST), "the storage '0' isn't in the file", "Its bytes are nowhere.",
        whole.index(b"tQ") + 1)  # fmt: skip
    bad("legacy_count_other", legacy(good, data=struct.pack("<q16x", 3)), "has another size than its tensors say", "3 or 4?", end)
    bad("legacy_count_negative", legacy(good, data=struct.pack("<q16x", -1)), "has another size than its tensors say", "-1?", end)
    bad("legacy_cut_short", whole[:-1], "the storage '0' goes past the end of the file", "15 bytes of 16.", end)
    bad("legacy_no_data", whole[:-24], "the storage '0' goes past the end of the file", "Nothing of 16.", end)
    bad("legacy_count_cut", whole[:-20], "the storage '0' goes past the end of the file", "Half a number.", end)
    view = tuple_of(text("1"), integer(1), integer(4))
    past = legacy(one(tensor(storage(view=view))))
    bad("legacy_view_past_the_end", past, "a view goes past the end of its storage", "Five of four.", past.index(b"tQ") + 1)
    view = tuple_of(text("1"), integer((1 << 55) - 1), integer((1 << 55) - 1))
    wraps = legacy(one(tensor(storage("ComplexDoubleStorage", view=view))), data=struct.pack("<q64x", 4))
    bad("legacy_view_wide", wraps, "a view goes past the end of its storage", "Far beyond.", wraps.index(b"tQ") + 1)
    no_view = legacy(one(tensor(storage(view=text("1")))))
    bad("legacy_view_a_text", no_view, "a view of a storage is malformed", "No numbers.", no_view.index(b"tQ") + 1)
    view = tuple_of(text("1"), integer(2), integer(2))
    short = legacy(one(tensor(storage(view=view))))
    bad("legacy_past_its_view", short, "the tensor goes past the end of its storage", "Four of two.", short.index(b"Ru."), tensor="a")


def torch():
    cases = Cases()
    for part in (globals_of, calls_of, stack_of, tensors_of, names_of, archives_of, legacies_of):
        part(cases)
    return cases


if __name__ == "__main__":
    made = torch()
    for old in HERE.glob("*.pt"):
        old.unlink()
    for file, content in made.files.items():
        (HERE / f"{file}.pt").write_bytes(content)
    reasons = json.dumps(dict(sorted(made.reasons.items())), indent=1, ensure_ascii=False)
    (HERE / "reasons.json").write_text(reasons + "\n", encoding="utf-8")
