"""NumPy's files, written by NumPy and by zipfile, through the command: what comes out is what NumPy reads."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest

import weights
from measure import MIB, measure

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]
SAFETENSORS = {np.dtype(t): name for t, name in {
    "?": "BOOL", "u1": "U8", "i1": "I8", "u2": "U16", "i2": "I16", "u4": "U32", "i4": "I32", "u8": "U64", "i8": "I64",
    "f2": "F16", "f4": "F32", "f8": "F64", "c8": "C64"}.items()}  # fmt: skip


def numbers(dtype, shape, seed=1):
    """Any bits at all, so that a swapped or misplaced byte shows."""
    data = np.random.default_rng(seed).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    array = np.frombuffer(data, "u1") & 1 if dtype == "?" else np.frombuffer(data, np.dtype(dtype))
    return array.astype(dtype, copy=False).reshape(shape)


def every_kind_of_array():
    arrays = {}
    for dtype in DTYPES:
        for order in "<>":
            for shape in [(), (7,), (3, 5), (2, 3, 4), (0, 3)]:
                array = numbers(dtype, shape).astype(np.dtype(dtype).newbyteorder(order))
                name = f"{np.dtype(dtype).name}/{order}/{'x'.join(map(str, shape))}".replace("<", "little")
                arrays[name.replace(">", "big")] = array
                if len(shape) > 1:
                    arrays[name.replace(">", "big") + ".f"] = np.asfortranarray(array)
    return arrays


def assert_same(output, arrays):
    found = weights.read_safetensors(output)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        little = array.astype(array.dtype.newbyteorder("<"))
        dtype = SAFETENSORS[little.dtype]
        assert found[name] == (dtype, array.shape, little.tobytes()), name


def convert(headrace, source, output, *options, **more):
    result = headrace("convert", source, "-o", output, "-q", *options, **more)
    assert result.returncode == 0, result.stderr
    return output


def assert_refused(headrace, source, output, *parts):
    result = headrace("convert", source, "-o", output / "out.safetensors", "-q")
    assert result.returncode == 1, result
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr, result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_kind_of_array(headrace, tmp_path, output, save):
    arrays = every_kind_of_array()
    save(tmp_path / "all.npz", **arrays)
    assert_same(convert(headrace, tmp_path / "all.npz", output / "out.safetensors", "--memory", "32MiB"), arrays)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", ">i2", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_single_array_has_its_files_name(headrace, tmp_path, output, dtype, order):
    array = np.array(numbers(dtype, (33, 65)), order=order)
    np.save(tmp_path / "conv1.weight.npy", array)
    assert_same(convert(headrace, tmp_path / "conv1.weight.npy", output / "out.safetensors"), {"conv1.weight": array})


def test_a_converted_type_and_a_report(headrace, tmp_path, output):
    array = weights.random_floats(64, 256)
    np.savez_compressed(tmp_path / "in.npz", w=np.asfortranarray(array).astype(">f4"))
    out = convert(headrace, tmp_path / "in.npz", output / "out.safetensors", "--type", "f16")
    assert weights.read_safetensors(out)["w"] == ("F16", (64, 256), array.astype("f2").tobytes())
    result = headrace("inspect", tmp_path / "in.npz")
    assert result.returncode == 0 and "format      numpy" in result.stdout.splitlines(), result


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("zip64", [False, True])
def test_archives_as_zipfile_writes_them(headrace, tmp_path, output, method, streamed, zip64):
    arrays = {"a": numbers("f4", (100, 100)), "b/c": numbers("i8", (3,)), "empty": numbers("f4", (0,))}

    class Stream(io.RawIOBase):  # can't seek, so the sizes follow the data
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with open(tmp_path / "in.npz", "wb") as file:
        with zipfile.ZipFile(Stream(file) if streamed else file, "w", method) as archive:
            archive.comment = b"a comment"
            archive.mkdir("b") if not streamed else None
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=zip64) as entry:
                    np.lib.format.write_array(entry, array)
    assert_same(convert(headrace, tmp_path / "in.npz", output / "out.safetensors"), arrays)


def entry_data(path, name):
    """Where an entry's bytes begin."""
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(name).header_offset
    name_bytes, extra_bytes = struct.unpack("<HH", path.read_bytes()[at + 26 : at + 30])
    return at + 30 + name_bytes + extra_bytes


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_damaged_archive_makes_no_output(headrace, tmp_path, output, save, threads):
    path = tmp_path / "in.npz"
    save(path, good=numbers("f4", (300, 1000), 1), bad=numbers("f4", (2000, 1000), 2))
    with open(path, "r+b") as file:
        file.seek(entry_data(path, "bad.npy") + 5_000_000)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 8]))
    result = headrace("convert", path, "-o", output / "out.safetensors", "-q", "--threads", threads)
    assert result.returncode == 1
    assert "the entry 'bad.npy'" in result.stderr, result.stderr
    assert list(output.iterdir()) == []
    assert headrace("inspect", path).returncode == 0  # lists what it says; reads no tensor


def test_a_damaged_archive_that_is_only_copied(headrace, tmp_path, output):
    path = tmp_path / "in.npz"
    array = weights.random_floats(1000, 1000)
    np.savez(path, bad=array)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    right = zlib.crc32(zipfile.ZipFile(path).open("bad.npy").read(128) + array.tobytes())
    assert_refused(headrace, path, output, "the entry 'bad.npy' is damaged", f"expected {right:08x}")


@pytest.mark.parametrize("array, part", [
    (np.array([{}], dtype=object), "Python objects"),
    (np.zeros(2, dtype=[("x", "f4"), ("y", "i4")]), "records"),
    (np.array(["text"]), "holds text"),
    (np.array([b"text"]), "holds text"),
    (np.zeros(2, "c16"), "complex"),
    (np.zeros(2, np.longdouble), "width"),
    (np.zeros(2, "V2"), "bfloat16"),
    (np.zeros(2, "M8[s]"), "dates"),
])  # fmt: skip
def test_what_no_tensor_can_hold_is_refused_by_name(headrace, tmp_path, output, array, part):
    np.savez(tmp_path / "in.npz", good=np.zeros(3), odd=array)
    assert_refused(headrace, tmp_path / "in.npz", output, "tensor 'odd'", part)
    np.save(tmp_path / "odd.npy", array)
    assert_refused(headrace, tmp_path / "odd.npy", output, "tensor 'odd'", part)


def test_other_archives_are_refused(headrace, tmp_path, output):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("readme.txt", "no weights here")
    assert_refused(headrace, tmp_path / "in.zip", output, "holds no weights", "'readme.txt'")
    np.savez(tmp_path / "in.npz", a=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "in.npz", "a") as archive:
        archive.writestr("config.json", "{}")
    assert_refused(headrace, tmp_path / "in.npz", output, "'config.json'")
    with zipfile.ZipFile(tmp_path / "lzma.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", b"")
    assert_refused(headrace, tmp_path / "lzma.npz", output, "the entry 'a.npy' is compressed by a method")


def test_any_cut_is_refused(headrace, tmp_path, output):
    np.savez_compressed(tmp_path / "in.npz", a=numbers("f4", (5,)))
    whole = (tmp_path / "in.npz").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        assert_refused(headrace, tmp_path / "cut.npz", output, "cut.npz: ")


def test_no_room_for_temporary_files(headrace, tmp_path, output):
    np.savez_compressed(tmp_path / "in.npz", a=np.zeros(1000))
    result = headrace("convert", tmp_path / "in.npz", "-o", output / "out.safetensors", "-q",
                      env=os.environ | {"TMPDIR": str(tmp_path / "none")})  # fmt: skip
    assert result.returncode == 1
    assert str(tmp_path / "none") in result.stderr and "TMPDIR" in result.stderr, result.stderr
    assert list(output.iterdir()) == []


def test_inflating_needs_no_memory_and_leaves_no_file(binary, tmp_path, output):
    if os.environ.get("HEADRACE_SANITIZER"):
        pytest.skip("the sanitizer's own memory would be measured")
    spool = tmp_path / "spool"
    spool.mkdir()
    row = weights.random_floats(1, 4096)
    np.savez_compressed(tmp_path / "in.npz", w=np.repeat(row, 16_384, axis=0))  # 256 MiB
    run = measure(binary, "convert", tmp_path / "in.npz", "-o", output / "out.safetensors", "-q", "--type", "f16",
                  "--memory", "32MiB", env=os.environ | {"TMPDIR": str(spool)})  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.peak <= 80 * MIB
    assert list(spool.iterdir()) == []
    _, shape, data = weights.read_safetensors(output / "out.safetensors")["w"]
    assert shape == (16_384, 4096) and data == row.astype("f2").tobytes() * 16_384


def crc_after_zeros(crc, count):
    """A checksum after `count` more bytes of zeros, without going through them: what one byte does to the state is
    linear, so it can be squared."""
    ones = 0xFFFFFFFF
    columns = [zlib.crc32(b"\0", (1 << bit) ^ ones) ^ ones for bit in range(32)]

    def apply(state):
        result = 0
        for bit in range(32):
            result ^= columns[bit] if state >> bit & 1 else 0
        return result

    state = crc ^ ones
    while count:
        state = apply(state) if count & 1 else state
        columns = [apply(column) for column in columns]
        count >>= 1
    return state ^ ones


def test_past_four_gigabytes(headrace, tmp_path):
    """A sparse archive that needs ZIP64 for a size and for an offset."""
    elements, small = (1 << 30) + 1000, numbers("f4", (5, 7))
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (elements,)})
    tail = io.BytesIO()
    np.save(tail, small)
    crc = crc_after_zeros(zlib.crc32(head.getvalue()), elements * 4)

    def entry(file, name, data, size, checksum):
        at = file.tell()
        file.write(struct.pack("<IHHHIIIIHH", 0x04034B50, 45, 0, 0, 0, checksum, *[0xFFFFFFFF] * 2, len(name), 20))
        file.write(name + struct.pack("<HHQQ", 1, 16, size, size) + data)
        file.seek(at + 50 + len(name) + size)
        record = struct.pack("<IHHHHIIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, checksum, *[0xFFFFFFFF] * 2, len(name),
                             28, 0, 0, 0, 0, 0xFFFFFFFF)  # fmt: skip
        return record + name + struct.pack("<HHQQQ", 1, 24, size, size, at)

    with open(tmp_path / "in.npz", "wb") as file:
        records = entry(file, b"big.npy", head.getvalue(), len(head.getvalue()) + elements * 4, crc)
        records += entry(file, b"small.npy", tail.getvalue(), len(tail.getvalue()), zlib.crc32(tail.getvalue()))
        at = file.tell()
        file.write(records + struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 2, 2, len(records), at))
        file.write(struct.pack("<IIQI", 0x07064B50, 0, at + len(records), 1))
        file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 2, 2, len(records), 0xFFFFFFFF, 0))
    with zipfile.ZipFile(tmp_path / "in.npz") as archive:  # so that others agree it is one
        assert [info.file_size for info in archive.infolist()] == [elements * 4 + 128, len(tail.getvalue())]

    weights.write_sparse_safetensors(tmp_path / "same.safetensors", {"big": ("F32", (elements,)), "small": ("F32", (5, 7))})
    with open(tmp_path / "same.safetensors", "r+b") as file:
        file.seek(-small.nbytes, os.SEEK_END)
        file.write(small.tobytes())
    result = headrace("verify", tmp_path / "in.npz", tmp_path / "same.safetensors")
    assert result.returncode == 0, result.stdout + result.stderr
