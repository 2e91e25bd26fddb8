"""Runs a command and says what it took: time, processor time, and the most memory it ever held.

The command is started by a bare interpreter, not by the test: a child's peak memory (ru_maxrss) counts what its parent
held when it was forked, and a test with numpy and its arrays holds a lot.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys

# Arguments: a descriptor for the report, a limit for RLIMIT_DATA (0: none), the command.
_LAUNCHER = """
import os, resource, sys, time
report, limit = int(sys.argv[1]), int(sys.argv[2])
if limit:
    # A thread's stack is as large as the stack's limit, and counts as data: keep it small.
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
start = time.monotonic()
child = os.fork()
if child == 0:
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    os.execv(sys.argv[3], sys.argv[3:])
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - start
text = '{"status": %d, "wall": %r, "cpu": %r, "peak": %d}' % (
    os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
os.write(report, text.encode())
"""

MIB = 1 << 20


@dataclasses.dataclass
class Measured:
    returncode: int
    stdout: str
    stderr: str
    wall: float  # seconds
    cpu: float  # seconds, user and system, all threads
    peak: int  # bytes of memory


def measure(*command, timeout=300, data_limit=0, **options):
    """Runs `command`; `data_limit` caps its heap, mapped slabs and stacks in bytes (RLIMIT_DATA)."""
    read_end, write_end = os.pipe()
    arguments = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(write_end), str(data_limit), *map(str, command)]
    defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(arguments, pass_fds=[write_end], **(defaults | options)) as launcher:
        os.close(write_end)
        try:
            stdout, stderr = launcher.communicate(timeout=timeout)
        except BaseException:
            os.killpg(launcher.pid, signal.SIGKILL)  # the command too
            raise
        finally:
            with os.fdopen(read_end) as pipe:
                text = pipe.read()
    if not text:
        raise RuntimeError(f"{command} could not be started: {stderr}")
    report = json.loads(text)
    return Measured(report["status"], stdout, stderr, report["wall"], report["cpu"], report["peak"])
