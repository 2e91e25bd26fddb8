"""Disks that fail, and disks that are merely slow-witted: those end in a clear error, these in the same bytes."""

import errno
import json
import subprocess

import pytest

import bigfiles
import weights

OLD = b"what was here before"

# What is done, and so which calls carry the bytes.
JOBS = {
    "retyped": ["out.gguf", "--type", "q8_0"],  # read, convert, write
    "copied": ["out.safetensors"],  # copy_file_range
}


class Job:
    def __init__(self, binary, folder, log, name):
        folder.mkdir()
        self.name, self.binary, self.folder, self.log = name, binary, folder, log
        shapes = {"big.weight": (512, 4096), "one.norm": (4096,), "two.weight": (7, 96), "last.weight": (256, 1024)}
        self.input = bigfiles.write_halves(folder / "in.safetensors", shapes, metadata={"who": "me"})
        output, *self.options = JOBS[name]
        self.output = folder / output
        assert self.run(None).returncode == 0
        self.right = self.output.read_bytes()
        self.output.unlink()
        self.input_sha256 = bigfiles.sha256(self.input)
        header, _ = weights.safetensors_header({n: ("F16", s) for n, s in shapes.items()}, {"who": "me"})
        self.data = len(header)

    def run(self, env, *extra):
        command = [self.binary, "convert", self.input, "-o", self.output, *self.options, "--json", *extra]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)

    def fired(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def assert_untouched(self):
        assert bigfiles.sha256(self.input) == self.input_sha256

    def assert_done(self, result):
        assert result.returncode == 0, result.stderr
        assert self.output.read_bytes() == self.right
        assert bigfiles.listing(self.folder) == sorted([self.input.name, self.output.name])
        self.assert_untouched()

    def assert_failed(self, result, code, file):
        """Returns the error, as --json prints it."""
        assert result.returncode == 1, result.stderr
        assert str(file) in result.stderr
        error = json.loads(result.stdout)["error"]
        assert error["code"] == code
        assert error["file"] == str(file)
        assert bigfiles.listing(self.folder) == [self.input.name]
        self.assert_untouched()
        return error


@pytest.fixture(params=list(JOBS))
def job(request, binary, tmp_path):
    return Job(binary, tmp_path / "scene", tmp_path / "faults.log", request.param)


@pytest.fixture
def retyping(binary, tmp_path):
    return Job(binary, tmp_path / "scene", tmp_path / "faults.log", "retyped")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("settings", [{"SHORT": 1}, {"EINTR": 2}, {"SHORT": 1, "EINTR": 3}])
def test_short_and_interrupted_calls(job, faults, settings, seed, copied_by_the_system):
    result = job.run(faults(job.folder, LOG=job.log, SEED=seed, **settings))
    job.assert_done(result)
    transfer = "copy_file_range" if job.name == "copied" and copied_by_the_system(job.folder) else "pwrite"
    if "SHORT" in settings:
        assert "short pread" in job.fired() and f"short {transfer}" in job.fired()
    if "EINTR" in settings:
        assert {"EINTR pread", f"EINTR {transfer}", "EINTR ftruncate", "EINTR fsync"} <= set(job.fired())


@pytest.mark.parametrize(
    "number",
    [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY, errno.EIO],
    ids=errno.errorcode.get,
)
def test_without_copy_file_range(binary, tmp_path, faults, number, copied_by_the_system):
    job = Job(binary, tmp_path / "scene", tmp_path / "faults.log", "copied")
    if not copied_by_the_system(job.folder):
        pytest.skip("copy_file_range isn't used on the file system of the temporary folder")
    result = job.run(faults(job.folder, LOG=job.log, NO_COPY_FILE_RANGE=number, SHORT=1, EINTR=3))
    job.assert_done(result)
    assert "failed copy_file_range" in job.fired() and "short pwrite" in job.fired()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_without_fallocate(job, faults, number):
    result = job.run(faults(job.folder, LOG=job.log, FALLOCATE=number))
    job.assert_done(result)
    if "failed fallocate" not in job.fired():
        pytest.skip("fallocate isn't used on the file system of the temporary folder")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("settings", [{}, {"RENAME_FLAGS": errno.EINVAL}])
def test_without_nameless_files(job, faults, settings, force):
    if force:
        job.output.write_bytes(OLD)
    env = faults(job.folder, LOG=job.log, NO_TMPFILE=1, **settings)
    job.assert_done(job.run(env, *(["--force"] if force else [])))
    assert "no O_TMPFILE for openat" in job.fired()
    assert ("failed renameat2" in job.fired()) == (bool(settings) and not force)


# Offsets in the tensors' data: in the large one, in the small ones, in the last; and whose they are.
BAD_READS = [(0, "big.weight"), (1_000_001, "big.weight"), (4_194_303, "big.weight"), (4_194_304, "one.norm"),
             (4_202_497, "two.weight"), (4_203_840, "last.weight"), (4_728_127, "last.weight")]  # fmt: skip


@pytest.mark.parametrize("offset, tensor", BAD_READS)
def test_a_byte_that_cannot_be_read(job, faults, offset, tensor):
    result = job.run(faults(job.folder, LOG=job.log, READ_EIO_AT=job.data + offset))
    error = job.assert_failed(result, "io", job.input)
    assert "EIO pread" in job.fired()
    assert error["offset"] == job.data + offset
    assert f"at byte {job.data + offset}" in result.stderr
    assert error["tensor"] == tensor


def test_a_header_that_cannot_be_read(job, faults):
    result = job.run(faults(job.folder, LOG=job.log, READ_EIO_AT=11))
    error = job.assert_failed(result, "io", job.input)
    assert error["offset"] == 11
    assert "Input/output error" in result.stderr


# Parts of the output, in thousandths of its length.
@pytest.mark.parametrize("part", [0, 1, 500, 998])
@pytest.mark.parametrize("kind, code", [("EIO", "io"), ("ENOSPC", "no_space")])
@pytest.mark.parametrize("settings", [{}, {"NO_TMPFILE": 1}, {"SHORT": 1, "EINTR": 5}])
def test_a_byte_that_cannot_be_written(job, faults, settings, kind, code, part):
    offset = len(job.right) * part // 1000
    env = faults(job.folder, LOG=job.log, **{f"WRITE_{kind}_AT": offset}, **settings)
    result = job.run(env, "-t", "1")
    error = job.assert_failed(result, code, job.output)
    assert {f"{kind} pwrite", f"{kind} copy_file_range"} & set(job.fired())
    assert error["offset"] == offset
    assert (kind == "ENOSPC") == ("No space left" in result.stderr and "free some space" in result.stderr)
    if part >= 500:
        assert error["tensor"] == ("big.weight" if part == 500 else "last.weight")


@pytest.mark.parametrize("threads", [2, 7])
def test_one_bad_byte_and_many_threads(job, faults, threads):
    offset = job.data + 2_500_000
    for _ in range(5):
        result = job.run(faults(job.folder, LOG=job.log, READ_EIO_AT=offset), "-t", str(threads))
        assert job.assert_failed(result, "io", job.input)["offset"] == offset


# A call that fails once all is written, or before anything is; the kind of error it gives.
BROKEN_CALLS = [
    ("FTRUNCATE", errno.EIO, "io", {}),
    ("FTRUNCATE", errno.EFBIG, "no_space", {}),
    ("FSYNC", errno.EIO, "io", {}),
    ("FSYNC", errno.ENOSPC, "no_space", {}),
    ("FSYNC", errno.EDQUOT, "no_space", {"NO_TMPFILE": 1}),
    ("FSYNC", errno.EIO, "io", {"NO_TMPFILE": 1}),
    ("LINK", errno.EIO, "io", {}),
    ("LINK", errno.ENOSPC, "no_space", {}),
    ("RENAME", errno.EIO, "io", {"NO_TMPFILE": 1}),
    ("RENAME", errno.ENOSPC, "no_space", {"NO_TMPFILE": 1}),
]


@pytest.mark.parametrize("call, number, code, settings", BROKEN_CALLS)
def test_a_call_that_fails(job, faults, call, number, code, settings):
    result = job.run(faults(job.folder, LOG=job.log, **{call: number}, **settings))
    job.assert_failed(result, code, job.output)
    assert any(line.startswith("failed ") for line in job.fired())


@pytest.mark.parametrize("call, settings", [("FSYNC", {}), ("LINK", {}), ("RENAME", {}), ("RENAME", {"NO_TMPFILE": 1})])
def test_a_failure_leaves_the_old_file(job, faults, call, settings):
    job.output.write_bytes(OLD)
    result = job.run(faults(job.folder, LOG=job.log, **{call: errno.EIO}, **settings), "--force")
    assert result.returncode == 1
    assert job.output.read_bytes() == OLD
    assert bigfiles.listing(job.folder) == sorted([job.input.name, job.output.name])
    job.assert_untouched()
    assert any(line.startswith("failed ") for line in job.fired())


def test_room_that_cannot_be_reserved(retyping, faults):
    result = retyping.run(faults(retyping.folder, LOG=retyping.log, FALLOCATE=errno.ENOSPC))
    if "failed fallocate" not in retyping.fired():
        pytest.skip("fallocate isn't used on the file system of the temporary folder")
    retyping.assert_failed(result, "no_space", retyping.output)


@pytest.mark.parametrize("settings", [{}, {"NO_TMPFILE": 1}])
def test_a_folder_that_cannot_be_flushed(retyping, faults, settings):
    # The name may not survive a power cut, so it is no success; and a failed run leaves nothing.
    result = retyping.run(faults(retyping.folder, LOG=retyping.log, FSYNC_FOLDER=errno.EIO, **settings))
    retyping.assert_failed(result, "io", retyping.output)
    assert "failed fsync_folder" in retyping.fired()
