"""What `import headrace` brings along, and what works without numpy, torch and ml_dtypes."""

import ast

import pytest
from reading import random_bytes, run_python, write_safetensors

HEAVY = ["numpy", "torch", "ml_dtypes", "dataclasses", "inspect", "concurrent.futures", "typing", "asyncio", "difflib"]


@pytest.fixture
def model(tmp_path):
    tensors = {dtype: (dtype, [2, 24], random_bytes(dtype, 48)) for dtype in ("F32", "BF16", "I32", "F8_E4M3", "F4")}
    return write_safetensors(tmp_path / "m", tensors)


def test_importing_brings_nothing_heavy():
    program = f"""
import sys
before = set(sys.modules)
import headrace
print([name for name in {HEAVY} if name in set(sys.modules) - before])
"""
    found = ast.literal_eval(run_python(program))
    assert found == []


def test_importing_is_fast(capsys):
    times = []
    for _ in range(5):
        program = "import time; t = time.perf_counter(); import headrace; print(time.perf_counter() - t)"
        times.append(float(run_python(program)))
    with capsys.disabled():
        print(f"\nimport headrace: {min(times) * 1e3:.1f} ms at best, {max(times) * 1e3:.1f} at worst")
    assert min(times) < 5  # a figure to look at, not a limit


def test_without_numpy(model):
    program = """
import sys, headrace, torch
c = headrace.open(sys.argv[1], framework="pt")
assert c["BF16"][1, 3:].shape == (21,) and c["BF16"].torch().dtype == torch.bfloat16
assert headrace.load_file(sys.argv[1])["F32"].shape == (2, 24)
assert c["F32"].raw().dtype == torch.uint8 and torch.from_dlpack(c["F32"]).shape == (2, 24)
assert c["F32"].torch(dtype=torch.float16).dtype == torch.float16
try:
    c["F32"].numpy()
except headrace.UnsupportedError as error:
    print(error)
"""
    assert "numpy isn't installed" in run_python(program, model, without=["numpy"])


def test_without_torch(model):
    program = """
import sys, headrace, numpy as np, ml_dtypes
c = headrace.open(sys.argv[1])
assert c["BF16"].numpy().dtype == ml_dtypes.bfloat16 and headrace.load_file(sys.argv[1])["F32"].shape == (2, 24)
assert c["F32"].numpy(dtype=ml_dtypes.bfloat16).dtype == ml_dtypes.bfloat16
try:
    c["F32"].torch()
except headrace.UnsupportedError as error:
    print(error)
"""
    assert "torch isn't installed" in run_python(program, model, without=["torch"])


def test_without_ml_dtypes(model):
    program = """
import sys, headrace, torch
c = headrace.open(sys.argv[1])
assert c["BF16"].torch().dtype == torch.bfloat16 and c["F32"].numpy().shape == (2, 24)
assert c["BF16"].numpy(dtype="F32").shape == (2, 24) and c["BF16"].raw().size == 96
for name in ("BF16", "F8_E4M3", "F4"):
    try:
        c[name].numpy()
    except headrace.UnsupportedError as error:
        print(error.tensor, error.hint)
"""
    lines = run_python(program, model, without=["ml_dtypes"]).splitlines()
    assert len(lines) == 3 and all("pip install ml_dtypes" in line and ".torch()" in line for line in lines)


def test_without_any(model):
    program = """
import sys, headrace
c = headrace.open(sys.argv[1])
buffer = bytearray(c["F32"].nbytes)
c["F32"].read_into(buffer)
print(len(buffer), c["F32"].shape)
"""
    out = run_python(program, model, without=["numpy", "torch", "ml_dtypes"])
    assert out.split() == ["192", "(2,", "24)"]
