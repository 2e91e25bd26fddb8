"""Peak memory: at most the budget and 48 MiB, whatever the model; and numbers far into a huge tensor are right.

The models are sparse files: zeros, but for islands of numbers. Outputs are removed at once.
"""

import errno
import json
import os
import pathlib
import uuid

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Ggml

import bigfiles
from measure import MIB, measure

ALLOWANCE = 48 * MIB
BUDGETS = [64, 256]  # MiB

HUGE = 1 << 32
MODELS = {
    "3 GB in 400 tensors": {f"blocks.{i}.weight": (915, 4096) for i in range(400)},
    "one tensor of 4 GiB": {"weight": (524288, 4096)},
    "[1048577, 4096]": {"weight": (1048577, 4096)},
    "[1, 2^32 + 256]": {"weight": (1, HUGE + 256)},
    "100,000 tensors": {f"layers.{i // 20}.mlp.experts.{i % 20}.down_proj.weight": (2, 32) for i in range(100_000)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def unsanitized(sanitized):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")


@pytest.fixture(scope="module")
def model(request, roomy_folder):
    """One of MODELS, and what it has where: {tensor: {first element: numbers}}."""
    shapes = MODELS[request.param]
    islands = {}
    for i, (name, shape) in enumerate(shapes.items()):
        if i % (len(shapes) // 3 + 1) and i != len(shapes) - 1:
            continue
        islands[name] = islands_of(shape[0] * shape[1], i)
    path = bigfiles.write_islands(roomy_folder / "model.safetensors", shapes, islands)
    yield request.param, path, islands
    path.unlink()


def islands_of(elements, seed):
    """Numbers at the start, around elements 2^31 and 2^32, and at the end: whole blocks of 32, none in two islands."""
    numbers = bigfiles.tame_halves(4096, seed)
    if elements <= len(numbers):
        return {0: numbers[:elements]}
    islands = {0: numbers, elements - 128: numbers[:128]}
    for middle in (1 << 31, HUGE):
        if middle + 256 <= elements:
            islands[middle - 3968] = numbers
    return islands


def quantised(numbers, dtype):
    block_bytes = gguf.GGML_QUANT_SIZES[dtype][1]
    return gguf.quants.quantize(numbers.astype(np.float32).reshape(1, -1), dtype).reshape(-1, block_bytes)


def assert_quantised_right(path, islands, dtype):
    """Islands where they belong, and zeros at a few thousand places between them."""
    zero = quantised(np.zeros(32, np.float16), dtype)[0]
    places = bigfiles.gguf_places(path)
    for name, numbers_at in islands.items():
        begin, elements = places[name]
        blocks = np.memmap(path, np.uint8, "r", begin, (elements // 32, len(zero)))
        sea = np.ones(len(blocks), bool)
        for first, numbers in numbers_at.items():
            island = slice(first // 32, (first + len(numbers)) // 32)
            assert np.array_equal(blocks[island], quantised(numbers, dtype)), f"{name} from element {first}"
            sea[island] = False
        probes = np.random.default_rng(1).integers(0, len(blocks), 3000)
        assert (blocks[probes[sea[probes]]] == zero).all()


def assert_copied_right(path, islands):
    with open(path, "rb") as file:
        length = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length - 8))
        for name, numbers_at in islands.items():
            for first, numbers in numbers_at.items():
                file.seek(length + header[name]["data_offsets"][0] + 2 * first)
                assert file.read(2 * len(numbers)) == numbers.tobytes(), f"{name} from element {first}"


def run_within(figure, binary, source, output, budget, what, *options, **extra):
    """Converts at that budget, in MiB, and checks the peak."""
    command = [binary, "convert", source, "-o", output, "--memory", f"{budget}MiB", "-q", *options]
    result = measure(*command, **extra)
    figure(
        f"{what}, --memory {budget}MiB: peak {result.peak / MIB:6.1f} MiB, {result.wall:5.2f} s, "
        f"{result.cpu / result.wall:4.2f} cores"
    )
    assert result.returncode == 0, result.stderr
    assert result.peak <= budget * MIB + ALLOWANCE, f"peak of {result.peak / MIB:.1f} MiB"
    return result


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("model", ["3 GB in 400 tensors", "one tensor of 4 GiB", "100,000 tensors"], indirect=True)
def test_quantised_within_the_budget(figure, binary, roomy_folder, model, budget):
    name, source, islands = model
    output = roomy_folder / "out.gguf"
    try:
        run_within(figure, binary, source, output, budget, f"F16 -> Q8_0, {name}", "--type", "q8_0")
        assert_quantised_right(output, islands, Ggml.Q8_0)
    finally:
        output.unlink(missing_ok=True)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("model", ["3 GB in 400 tensors", "one tensor of 4 GiB", "100,000 tensors"], indirect=True)
def test_copied_within_the_budget(figure, binary, roomy_folder, model, budget):
    name, source, islands = model
    output = roomy_folder / "out.safetensors"
    try:
        run_within(figure, binary, source, output, budget, f"F16 copied,   {name}")
        assert_copied_right(output, islands)
    finally:
        output.unlink(missing_ok=True)


@pytest.mark.parametrize("model", ["one tensor of 4 GiB"], indirect=True)
def test_copied_through_memory_within_the_budget(
    figure, binary, roomy_folder, faults, tmp_path, model, copied_by_the_system
):
    name, source, islands = model
    output, log = roomy_folder / "out.safetensors", tmp_path / "faults.log"
    env = faults(roomy_folder, NO_COPY_FILE_RANGE=errno.EXDEV, LOG=log)
    try:
        run_within(figure, binary, source, output, 64, f"F16 copied through memory, {name}", env=env)
        assert_copied_right(output, islands)
        if copied_by_the_system(roomy_folder):
            assert log.read_text() == "failed copy_file_range\n"
    finally:
        output.unlink(missing_ok=True)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("model", ["[1048577, 4096]", "[1, 2^32 + 256]"], indirect=True)
def test_huge_tensors(figure, binary, roomy_folder, model, budget):
    name, source, islands = model
    assert len(islands["weight"]) == 4
    output = roomy_folder / "out.gguf"
    try:
        run_within(figure, binary, source, output, budget, f"F16 -> Q4_0, {name}", "--type", "q4_0")
        assert_quantised_right(output, islands, Ggml.Q4_0)
    finally:
        output.unlink(missing_ok=True)


@pytest.mark.parametrize("model", ["3 GB in 400 tensors"], indirect=True)
def test_within_a_hard_limit(figure, binary, roomy_folder, model):
    # RLIMIT_DATA: heap, slabs and stacks. RLIMIT_AS would count address space that malloc reserves and never touches.
    name, source, islands = model
    output = roomy_folder / "out.gguf"
    options = ["--type", "q8_0", "-t", "2"]
    try:
        what = f"F16 -> Q8_0 under RLIMIT_DATA of {64 + 48} MiB, {name}"
        run_within(figure, binary, source, output, 64, what, *options, data_limit=64 * MIB + ALLOWANCE)
        assert_quantised_right(output, islands, Ggml.Q8_0)
    finally:
        output.unlink(missing_ok=True)


def own_cgroup():
    """The folder of this process's version 2 control group, when memory can be limited below it; else why not."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            folder = pathlib.Path("/sys/fs/cgroup") / line[3:].lstrip("/")
            try:
                controllers = (folder / "cgroup.subtree_control").read_text().split()
            except OSError as error:
                return None, f"no control group of version 2: {error}"
            if "memory" not in controllers:
                return None, f"{folder} doesn't hand the memory controller on"
            return (folder, "") if os.access(folder, os.W_OK) else (None, f"{folder} can't be written")
    return None, "no control group of version 2"


@pytest.mark.parametrize("model", ["one tensor of 4 GiB"], indirect=True)
def test_within_a_control_group(figure, binary, tmp_path, model):
    parent, reason = own_cgroup()
    if parent is None:
        pytest.skip(reason)
    name, source, islands = model
    group = parent / f"headrace-test-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    output = tmp_path / "out.gguf"  # on a disk: files in memory would count
    try:
        (group / "memory.max").write_text(str(64 * MIB + ALLOWANCE))
        swap = group / "memory.swap.max"
        if swap.exists():
            swap.write_text("0")
        enter = f'echo $$ > "{group}/cgroup.procs" && exec "$@"'
        command = ["/bin/sh", "-c", enter, "sh", binary, "convert", source, "-o", output, "--type", "q8_0"]
        result = measure(*command, "--memory", "64MiB", "-q")
        assert result.returncode == 0, result.stderr
        assert_quantised_right(output, islands, Ggml.Q8_0)
        figure(f"F16 -> Q8_0 in a control group of {64 + 48} MiB, {name}: {result.wall:.2f} s")
    finally:
        output.unlink(missing_ok=True)
        group.rmdir()
