"""PyTorch files made to do harm: refused in one line, in little time and memory, with nothing written or run.

Put together by hand, so PyTorch isn't needed. The small ones are in tests/data/bad/torch; the larger are made here.
"""

import json
import os
import pathlib
import runpy
import types

import pytest

from measure import MIB, measure

FOLDER = pathlib.Path(__file__).parent.parent / "data" / "bad" / "torch"
REASONS = json.loads((FOLDER / "reasons.json").read_text(encoding="utf-8"))
make = types.SimpleNamespace(**runpy.run_path(str(FOLDER / "make.py")))

MOST_SECONDS = 10
MOST_MEMORY = (256 + 48) * MIB


@pytest.mark.parametrize("name", REASONS)
def test_small_ones(headrace, tmp_path, name):
    path, expected = FOLDER / name, REASONS[name]
    before = path.read_bytes()
    for command in (["inspect", path], ["convert", path, "-o", tmp_path / "out.safetensors"]):
        result = headrace(*command)
        assert result.returncode == (2 if expected.get("code") == "invalid_argument" else 1), result
        assert result.stderr.startswith(f"headrace: error: {path}: ") and result.stderr.count("\n") == 1
        assert result.stderr.removesuffix("\n").isprintable()
        assert expected["error"] in result.stderr
    assert list(tmp_path.iterdir()) == [] and path.read_bytes() == before


def test_the_maker_makes_these_files():
    made = make.torch()
    assert made.reasons == REASONS
    assert {f"{name}.pt": content for name, content in made.files.items()} == {
        path.name: path.read_bytes() for path in FOLDER.glob("*.pt")
    }


def test_nothing_is_run(headrace, tmp_path):
    """What would leave a trace, in each way that a pickle has to call a function."""
    trace = tmp_path / "trace"
    command = make.text(f"touch {trace}")
    ask = make.name("os", "system")
    calls = [
        ask + make.tuple_of(command) + b"R",
        ask + make.tuple_of(command) + b"\x81",
        make.text("os") + make.text("system") + b"\x93" + make.tuple_of(command) + b"R",
        make.MARK + command + b"ios\nsystem\n",
        make.MARK + ask + command + b"o",
        make.call("builtins", "eval", make.text(f"open({str(trace)!r}, 'w')")),
        make.EMPTY_DICT + make.text("a") + ask + make.tuple_of(command) + b"Rs",
    ]
    for i, call in enumerate(calls):
        for content in (make.archive(make.pickle(call)), make.legacy(make.pickle(call)), make.pickle(call)):
            path = tmp_path / f"{i}.pt"
            path.write_bytes(content)
            result = headrace("inspect", path)
            assert result.returncode == 1 and "which Headrace doesn't run" in result.stderr, result
    assert not trace.exists()


def dicts(levels, leaf):
    """So many dicts, each twice in the next."""
    return make.doubling(levels, leaf, make.twins)


def long_names():
    """A thousand names of a megabyte each, out of one."""
    shared = make.dict_of((make.text("n" * 1_000_000), make.tensor()))
    return make.EMPTY_LIST + make.MARK + shared + make.put(0) + make.get(0) * 999 + b"e"


def nested_lists(levels):
    return b"]" * levels + b"a" * (levels - 1)


BOMBS = {
    "2^60 values": lambda: make.doubling(60, make.EMPTY_LIST),
    "2^60 values in dicts": lambda: dicts(60, make.NONE),
    "2^60 names": lambda: dicts(60, make.tensor()),
    "2^100000 values": lambda: make.EMPTY_LIST + b"2\x86" * 100_000,
    "2^120 names": lambda: dicts(120, make.tensor()),
    "a million levels": lambda: nested_lists(1_000_000),
    "a million levels above a tensor": lambda: make.tensor() + b"\x85" * 1_000_000,
    "a million marks": lambda: make.MARK * 1_000_000 + make.NONE,
    "ten million values": lambda: make.NONE * 10_000_000,
    "five million dicts": lambda: make.MARK + make.EMPTY_DICT * 5_000_000 + b"t",
    "a dict that is copied": lambda: make.dict_of(*((make.integer(i % 256), make.NONE) for i in range(100_000)))
    + make.put(0)
    + make.name("collections", "Counter")
    + make.put(1)
    + (make.get(1) + make.get(0) + b"\x85R0") * 10_000,
    "names of a megabyte": long_names,
    "a text of 100 MB": lambda: make.text(b"x" * 100_000_000),
    "a million tensors of one": lambda: make.list_of(make.tensor() + make.put(0), make.get(0) * 1_000_000),
    "shapes of 64": lambda: make.list_of(*[make.tensor(size=(1,) * 64, stride=(0,) * 64)] * 10_000),
    "a million globals": lambda: make.name("collections", "OrderedDict") * 500_000,
    "a list in itself": lambda: make.EMPTY_LIST + make.put(0) + make.get(0) + b"a",
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(binary, tmp_path, name, legacy):
    """Refused, or harmless and empty; in seconds, and in the memory that was allowed."""
    pickle = make.pickle(BOMBS[name]())
    path = tmp_path / "bomb.pt"
    path.write_bytes(make.legacy(pickle) if legacy else make.archive(pickle))
    result = measure(binary, "inspect", path, timeout=60)
    path.unlink()
    assert result.returncode in (0, 1), result.stderr
    assert len(result.stderr) < 2000 and result.stderr.count("\n") == result.returncode
    assert result.cpu < MOST_SECONDS
    if not os.environ.get("HEADRACE_SANITIZER"):
        assert result.peak <= MOST_MEMORY, f"{result.peak / MIB:.0f} MiB"


@pytest.mark.parametrize("name", ["2^60 names", "a million levels", "2^100000 values", "five million dicts"])
def test_bombs_in_little_memory(binary, tmp_path, name):
    """Where the system allows no more than was asked for, nothing breaks."""
    if os.environ.get("HEADRACE_SANITIZER"):
        pytest.skip("the sanitizer's own memory would be limited")
    path = tmp_path / "bomb.pt"
    path.write_bytes(make.archive(make.pickle(BOMBS[name]())))
    result = measure(binary, "inspect", path, "--memory", "16MiB", timeout=60, data_limit=96 * MIB)
    assert result.returncode in (0, 1), result.stderr
    assert result.peak <= (16 + 48) * MIB


def test_a_pickle_cut_anywhere(headrace, tmp_path):
    """The archive around it is whole."""
    whole = make.one(make.tensor())
    for size in range(0, len(whole)):
        path = tmp_path / "cut.pt"
        path.write_bytes(make.archive(whole[:size]))
        result = headrace("inspect", path)
        assert result.returncode == 1 and "ends too soon" in result.stderr, (size, result)
    path.write_bytes(make.archive(whole))
    assert headrace("inspect", path).returncode == 0


def test_a_legacy_file_cut_anywhere(headrace, tmp_path):
    whole = make.legacy(make.one(make.tensor()))
    path = tmp_path / "cut.pt"
    for size in range(0, len(whole)):
        path.write_bytes(whole[:size])
        result = headrace("inspect", path)
        assert result.returncode == 1 and result.stderr.count("\n") == 1, (size, result)
    path.write_bytes(whole)
    assert headrace("inspect", path).returncode == 0
