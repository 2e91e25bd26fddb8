"""Saving takes the memory of one tensor, whatever the checkpoint's size. Measured in processes of their own."""

import subprocess
import sys

import pytest

MIB = 1 << 20

SCRIPT = """
import sys
import numpy as np
import headrace, headrace._save, headrace._source

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024

way, path = sys.argv[1:]
count, shape = 12, (16384, 4096)  # of BF16: 128 MiB, of F32: 256
def made(dtype):
    for i in range(count):
        yield f"t{i}", np.full(shape, i, dtype)  # gone before the next is made

if way == "streaming":
    import ml_dtypes
    run = lambda: headrace.save_safetensors_streaming(made(ml_dtypes.bfloat16), path, meta)
    meta = [(f"t{i}", "BF16", shape) for i in range(count)]
else:
    def run():
        with headrace.Writer(path, [(f"t{i}", "BF16", shape, "F32") for i in range(count)]) as writer:
            for name, tensor in made(np.float32):
                writer.write(name, tensor)
                del tensor
headrace.save_file({"a": np.zeros(3)}, path + ".warm.safetensors")
np.full(10, 1.0).T.copy()
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
run()
print(status("VmHWM") - before)
"""


@pytest.mark.parametrize("way, tensor", [("streaming", 128 * MIB), ("retyped", 256 * MIB)])
def test_many_tensors_take_the_memory_of_one(tmp_path, way, tensor):
    done = subprocess.run([sys.executable, "-c", SCRIPT, way, tmp_path / "m.safetensors"], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    growth = int(done.stdout)
    assert growth <= tensor + 64 * MIB, f"{growth / MIB:.0f} MiB"
    assert (tmp_path / "m.safetensors").stat().st_size > 12 * 128 * MIB
