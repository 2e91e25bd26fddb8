"""What the whole-process tests share: the command, the faulty disk, room to work in, and figures printed at the end.

HEADRACE         the headrace binary to test
HEADRACE_FAULTS  libheadrace_faults.so, built from tests/faults
HEADRACE_SANITIZER  set when the binary was built with a sanitizer: memory is then not measured and nothing is preloaded
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))

FIGURES = pytest.StashKey[list]()


def pytest_configure(config):
    binary = os.environ.get("HEADRACE")
    if not binary:
        raise pytest.UsageError("set HEADRACE to the path of the headrace binary to test")
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError(f"HEADRACE={binary} can't be executed")
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)


@pytest.fixture
def figure(pytestconfig):
    """Call it with a line to be printed when all tests are done, whether they passed or not."""
    return pytestconfig.stash[FIGURES].append


@pytest.fixture(scope="session")
def binary():
    return os.path.abspath(os.environ["HEADRACE"])


@pytest.fixture(scope="session")
def sanitized():
    return os.environ.get("HEADRACE_SANITIZER", "")


@pytest.fixture
def headrace(binary, tmp_path):
    """Runs the command in the test's folder; keywords go to subprocess.run."""

    def run(*arguments, **options):
        defaults = {"capture_output": True, "text": True, "timeout": 120, "cwd": tmp_path}
        return subprocess.run([binary, *map(str, arguments)], **(defaults | options))

    return run


@pytest.fixture(scope="session")
def faults(sanitized):
    """Makes environments in which a disk misbehaves: faults(folder, SHORT=1, EINTR=3). See tests/faults/faults.c."""
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's run-time must come before a preloaded library")
    library = os.environ.get("HEADRACE_FAULTS")
    if not library or not os.path.isfile(library):
        pytest.fail(f"set HEADRACE_FAULTS to the path of libheadrace_faults.so; it is {library!r}")

    def environment(folder, **settings):
        named = {f"FAULT_{name}": str(value) for name, value in settings.items()}
        return os.environ | {"LD_PRELOAD": os.path.abspath(library), "FAULT_DIR": str(folder)} | named

    return environment


def _free(folder):
    return shutil.disk_usage(folder).free if os.access(folder, os.W_OK) else 0


@pytest.fixture(scope="session")
def memory_folder():
    """A folder that lives in memory; skips where there is none with a gigabyte free."""
    if _free("/dev/shm") < 1 << 30:
        pytest.skip("/dev/shm has less than 1 GiB free")
    with tempfile.TemporaryDirectory(prefix="headrace-test-", dir="/dev/shm") as folder:
        yield pathlib.Path(folder)


@pytest.fixture(scope="session")
def copied_by_the_system():
    """Whether headrace has the system copy bytes that stay as they are, in a folder: not on tmpfs, where that is slower."""

    def ask(folder):
        name = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout
        return name.strip() != "tmpfs"

    return ask


@pytest.fixture(scope="session")
def roomy_folder():
    """A folder with 12 GB free, in memory if it can be."""
    for place in ["/dev/shm", tempfile.gettempdir()]:
        if _free(place) >= 12_000_000_000:
            with tempfile.TemporaryDirectory(prefix="headrace-test-", dir=place) as folder:
                yield pathlib.Path(folder)
            return
    pytest.skip("neither /dev/shm nor the temporary folder has 12 GB free")


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of so many megabytes (2**20 bytes); only root can."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = []

    def mount(megabytes):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "headrace-test", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"can't mount a small disk: {result.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
