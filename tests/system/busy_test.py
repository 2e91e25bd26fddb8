"""How many cores a conversion keeps busy: a figure to look at, no promise, since a shared machine gives what it has."""

import bigfiles
from measure import measure

SHAPES = {"huge.weight": (1, 1_600_000_000)} | {f"small.{i}.weight": (16, 256) for i in range(20_000)}


def test_cores_kept_busy(figure, binary, memory_folder):
    source = bigfiles.write_islands(memory_folder / "busy.safetensors", SHAPES, {})
    output = memory_folder / "busy.gguf"
    try:
        for _ in range(3):
            result = measure(binary, "convert", source, "-o", output, "--type", "q4_0", "-t", "2", "-q", "--force")
            assert result.returncode == 0, result.stderr
            figure(
                f"F16 -> Q4_0, a tensor of 3.2 GB and 20,000 of 8 kB, 2 threads: {result.wall:.2f} s, "
                f"{result.cpu / result.wall:.2f} cores busy"
            )
    finally:
        source.unlink()
        output.unlink(missing_ok=True)
