"""An output is there whole, or not at all, whenever the process is killed; the input is never touched."""

import random
import signal
import subprocess
import time

import pytest

import bigfiles

MODEL = {f"blocks.{i}.weight": (1024, 4096) for i in range(36)} | {f"blocks.{i}.norm": (4096,) for i in range(36)}
OLD = b"what was here before"


class Scene:
    """A folder with an input and nothing else, and what a conversion of it should give."""

    def __init__(self, binary, folder, shapes):
        self.binary, self.folder = binary, folder
        folder.mkdir()
        self.input = bigfiles.write_halves(folder / "model.safetensors", shapes)
        self.output = folder / "out.gguf"
        self.input_sha256 = bigfiles.sha256(self.input)
        start = time.monotonic()
        assert self.start().wait() == 0
        self.seconds = time.monotonic() - start
        self.right = bigfiles.sha256(self.output)
        self.output.unlink()

    def start(self, *extra, env=None):
        command = [self.binary, "convert", self.input, "-o", self.output, "--type", "q8_0", "-q", *extra]
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def state(self):
        """"absent", "whole" or "old"; anything else is what must not be."""
        if not self.output.exists():
            return "absent"
        if self.output.stat().st_size == len(OLD) and self.output.read_bytes() == OLD:
            return "old"
        return "whole" if bigfiles.sha256(self.output) == self.right else "broken"

    def strays(self):
        return [name for name in bigfiles.listing(self.folder) if name not in (self.input.name, self.output.name)]

    def clean(self):
        self.output.unlink(missing_ok=True)
        for name in self.strays():
            (self.folder / name).unlink()

    def assert_input_untouched(self):
        assert bigfiles.sha256(self.input) == self.input_sha256


@pytest.fixture(scope="module", params=["memory", "disk"])
def scene(request, binary, tmp_path_factory):
    """A model of 300 MB, in a folder in memory and in one on a disk."""
    if request.param == "memory":
        folder = request.getfixturevalue("memory_folder") / "whole"
    else:
        folder = tmp_path_factory.mktemp("whole") / "scene"
    scene = Scene(binary, folder, MODEL)
    yield scene
    scene.clean()
    scene.input.unlink()


@pytest.fixture
def small_scene(binary, tmp_path):
    return Scene(binary, tmp_path / "scene", {"a.weight": (300, 4096), "a.norm": (4096,), "b.weight": (64, 4096)})


def kill_at_random_moments(scene, times, env=None, hidden_may_stay=False):
    rng = random.Random(7)
    seen = {"absent": 0, "whole": 0, "old": 0}
    for i in range(times):
        force = i % 2 == 1
        if force:
            scene.output.write_bytes(OLD)
        process = scene.start(*(["--force"] if force else []), env=env)
        time.sleep(rng.uniform(0, 1.1 * scene.seconds))
        process.kill()
        process.communicate()
        state = scene.state()
        assert state in ({"old", "whole"} if force else {"absent", "whole"})
        for name in scene.strays():
            # Over an old file, a nameless one gets a hidden name for the instant before it is renamed.
            assert (force or hidden_may_stay) and bigfiles.TEMPORARY.fullmatch(name), f"left behind: {name}"
        seen[state] += 1
        scene.clean()
    assert seen["absent"] > 0 and seen["old"] > 0, f"no kill came early enough: {seen}"
    scene.assert_input_untouched()
    return seen


def test_killed_at_any_moment(scene, figure):
    seen = kill_at_random_moments(scene, 30)
    figure(f"killed 30 times within {scene.seconds:.2f} s, in {scene.folder}: {seen}")


def test_killed_at_any_moment_without_nameless_files(scene, faults):
    env = faults(scene.folder, NO_TMPFILE=1)
    kill_at_random_moments(scene, 12, env=env, hidden_may_stay=True)


def wait_for(line, log):
    deadline = time.monotonic() + 30
    while not (log.exists() and f"{line}\n" in log.read_text()):
        assert time.monotonic() < deadline, f"never came so far: {line}"
        time.sleep(0.005)


def stall(faults, folder, tmp_path, call, **settings):
    """An environment in which the first such call waits, a function that waits for that, and the file that ends it."""
    log, resume = tmp_path / "faults.log", tmp_path / "resume"
    env = faults(folder, STALL=call, LOG=log, RESUME=resume, **settings)
    name, moment = call.split(":")
    return env, lambda: wait_for(f"stalled {moment} {name}", log), resume


# Where the process is killed, whether an old file is to be replaced, whether the file system has nameless files; and
# what must be there then.
KILLED_AT = [
    ("pread:before", False, True, "absent", False),
    ("pwrite:after", False, True, "absent", False),
    ("fsync:before", False, True, "absent", False),
    ("fsync:after", False, True, "absent", False),
    ("linkat:before", False, True, "absent", False),
    ("linkat:after", False, True, "whole", False),
    ("fsync_folder:before", False, True, "whole", False),
    ("pwrite:after", True, True, "old", False),
    ("linkat:before", True, True, "old", False),
    ("linkat:after", True, True, "old", False),
    ("renameat2:before", True, True, "old", True),
    ("renameat2:after", True, True, "whole", False),
    ("pwrite:after", False, False, "absent", True),
    ("fsync:after", False, False, "absent", True),
    ("renameat2:before", False, False, "absent", True),
    ("renameat2:after", False, False, "whole", False),
    ("renameat2:before", True, False, "old", True),
    ("renameat2:after", True, False, "whole", False),
]


@pytest.mark.parametrize("call, force, nameless, state, hidden_stays", KILLED_AT)
def test_killed_between_two_calls(small_scene, faults, tmp_path, call, force, nameless, state, hidden_stays):
    scene = small_scene
    if force:
        scene.output.write_bytes(OLD)
    env, wait, _ = stall(faults, scene.folder, tmp_path, call, **({} if nameless else {"NO_TMPFILE": 1}))
    process = scene.start(*(["--force"] if force else []), env=env)
    try:
        wait()
    finally:
        process.kill()
        process.communicate()
    assert scene.state() == state
    strays = scene.strays()
    assert len(strays) == (1 if hidden_stays else 0), strays
    assert all(bigfiles.TEMPORARY.fullmatch(name) for name in strays)
    scene.assert_input_untouched()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("nameless", [True, False])
def test_interrupted(small_scene, faults, tmp_path, number, nameless):
    log = tmp_path / "faults.log"
    settings = {"SLOW_MS": 700, "LOG": log} | ({} if nameless else {"NO_TMPFILE": 1})
    process = small_scene.start("-t", "1", env=faults(small_scene.folder, **settings))
    wait_for("slow pwrite", log)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"nothing was written" in stderr
    assert small_scene.state() == "absent" and small_scene.strays() == []
    small_scene.assert_input_untouched()


@pytest.mark.parametrize("settings", [{}, {"NO_TMPFILE": 1}, {"NO_TMPFILE": 1, "RENAME_FLAGS": 22}])
def test_someone_else_takes_the_name_meanwhile(small_scene, faults, tmp_path, settings):
    env, wait, resume = stall(faults, small_scene.folder, tmp_path, "fsync:before", **settings)
    process = small_scene.start(env=env)
    wait()
    small_scene.output.write_bytes(OLD)
    resume.touch()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert str(small_scene.output).encode() in stderr and b"--force" in stderr
    assert small_scene.state() == "old" and small_scene.strays() == []


def test_the_input_is_cut_off_meanwhile(small_scene, faults, tmp_path):
    env, wait, resume = stall(faults, small_scene.folder, tmp_path, "pwrite:after")
    process = small_scene.start("-t", "1", env=env)
    wait()
    cut = small_scene.input.stat().st_size - 100_000
    with open(small_scene.input, "r+b") as file:
        file.truncate(cut)
    resume.touch()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert str(small_scene.input).encode() in stderr and f"at byte {cut}".encode() in stderr
    assert b"'b.weight'" in stderr
    assert small_scene.state() == "absent" and small_scene.strays() == []
