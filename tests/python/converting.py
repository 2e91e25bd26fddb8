"""What the tests of converting share: the command to compare with, and small models."""

import os
import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(TESTS / "support"))

import weights  # noqa: E402  (found through the line above)

COMMAND = os.environ.get("HEADRACE")


def command(*arguments, cwd=None):
    """Runs the `headrace` command that the environment variable HEADRACE names; its standard output."""
    assert COMMAND, "set HEADRACE to the path of the headrace binary to compare with"
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def small_model(folder):
    """Two matrices, one that no block type fits, a vector, and numbers that are no floats."""
    return weights.write_safetensors(
        folder / "model.safetensors",
        {
            "blocks.0.weight": weights.random_floats(8, 256, seed=1),
            "blocks.1.weight": weights.random_floats(4, 512, seed=2),
            "odd.weight": weights.random_floats(3, 20, seed=3),
            "norm.bias": weights.random_floats(256, seed=4),
            "positions": weights.np.arange(10, dtype="int32"),
        },
        metadata={"general.name": "tiny", "author": "nobody"},
    )


def language_model(folder, layers=3):
    """A llama of a few layers, as GGUF."""
    tensors = {"token_embd.weight": weights.random_floats(64, 256, seed=90)}
    for i in range(layers):
        tensors[f"blk.{i}.attn_q.weight"] = weights.random_floats(256, 256, seed=i)
        tensors[f"blk.{i}.ffn_down.weight"] = weights.random_floats(64, 512, seed=i + 10)
        tensors[f"blk.{i}.attn_norm.weight"] = weights.random_floats(256, seed=i + 20)
    tensors["output_norm.weight"] = weights.random_floats(256)
    tensors["output.weight"] = weights.random_floats(64, 256, seed=91)
    pairs = [
        ("general.architecture", "string", "llama"), ("general.name", "string", "tiny"),
        ("llama.block_count", "u32", layers), ("llama.context_length", "u32", 64),
        ("llama.embedding_length", "u32", 256), ("llama.feed_forward_length", "u32", 512),
        ("llama.attention.head_count", "u32", 4),
    ]  # fmt: skip
    return weights.write_gguf(folder / "llama.gguf", pairs, tensors)


def importance(folder, name="imatrix.gguf", seed=7):
    """An importance matrix for language_model()."""
    random = weights.np.random.default_rng(seed)
    tensors = {}
    for tensor, columns in [("blk.0.attn_q.weight", 256), ("blk.1.ffn_down.weight", 512), ("output.weight", 256)]:
        tensors[tensor + ".in_sum2"] = (random.exponential(size=(1, columns)) + 0.01).astype("<f4")
        tensors[tensor + ".counts"] = weights.np.ones((1, 1), "<f4")
    return weights.write_gguf(folder / name, [("general.type", "string", "imatrix")], tensors)
