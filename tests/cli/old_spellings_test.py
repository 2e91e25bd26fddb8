"""Options as other tools spell them: they do the same here, or a message says what is called what."""

import json

import pytest
import weights
from gguf_files import read_gguf, read_pairs
from imatrix_test import write_imatrix


@pytest.fixture
def llama(tmp_path):
    pairs = [
        ("general.architecture", "string", "llama"), ("llama.block_count", "u32", 2),
        ("llama.context_length", "u32", 64), ("llama.embedding_length", "u32", 256),
        ("llama.feed_forward_length", "u32", 512), ("llama.attention.head_count", "u32", 4),
    ]  # fmt: skip
    tensors = {
        name: weights.random_floats(64, 256, seed=i) for i, name in enumerate(["token_embd.weight", "output.weight"])
    }
    for i in range(2):
        tensors[f"blk.{i}.attn_v.weight"] = weights.random_floats(64, 256, seed=i + 10)
        tensors[f"blk.{i}.ffn_down.weight"] = weights.random_floats(256, 512, seed=i + 20)
    return weights.write_gguf(tmp_path / "llama.gguf", pairs, tensors)


@pytest.fixture
def matrix(tmp_path):
    names = {
        f"blk.{i}.{part}.weight": columns for i in range(2) for part, columns in [("attn_v", 256), ("ffn_down", 512)]
    }
    entries = {name: (weights.np.linspace(0.1, 3, columns, dtype="f4"), [1]) for name, columns in names.items()}
    return write_imatrix(tmp_path / "imatrix.gguf", entries)


@pytest.fixture
def made(headrace, llama, output):
    """Converts; gives the bytes of the file."""

    def convert(*options, source=llama):
        path = output / "o.gguf"
        result = headrace("convert", *([source] if source else []), "-o", path, "--force", *options)
        assert result.returncode == 0, result.stderr
        return path.read_bytes()

    return convert


@pytest.fixture
def explained(headrace, output, llama):
    """Asserts that the words are refused, and what the message says instead."""

    def check(words, *arguments):
        arguments = [llama if a == "IN" else output / "o.gguf" if a == "OUT" else a for a in arguments]
        result = headrace("convert", *arguments)
        assert result.returncode == 2, result
        first, second = result.stderr.splitlines()
        assert first.startswith("headrace: error: ") and second == "Try 'headrace convert --help'."
        for word in words:
            assert word in first
        assert list(output.iterdir()) == []
        return first

    return check


# What is called something else here: the old words, and what the message names.
OLD = [
    (["--tensor-type-file", "rules.txt"], "--rules FILE"),
    (["--keep-split"], "--shard-size"),
    (["--max-buffer-size", "1G"], "--memory"),
    (["-M", "convert"], "headrace convert"),
    (["--mode", "convert"], "headrace convert"),
    (["--convert-name"], "--rename"),
    (["--src", "model.safetensors"], "the input stands alone"),
    (["--dst", "model.gguf"], "-o FILE"),
    (["--qtype", "Q4_K_S"], "--type"),
    (["--outtype", "f16"], "--type f16"),
    (["--outfile", "model.gguf"], "-o FILE"),
    (["--max-shard-size", "5GB"], "--shard-size 5GB"),
    (["--max_shard_size", "5GB"], "--shard-size 5GB"),
]


@pytest.mark.parametrize("old, now", OLD, ids=lambda value: value[0] if isinstance(value, list) else "")
@pytest.mark.parametrize("place", ["first", "in the middle", "last", "joined", "alone"])
def test_what_is_called_something_else(explained, old, now, place):
    flag = old[0]
    if place == "joined":
        old = [f"{flag}={old[1]}"] if len(old) == 2 and flag.startswith("--") else ["".join(old)]
    arguments = {
        "first": [*old, "IN", "-o", "OUT"],
        "in the middle": ["IN", *old, "-o", "OUT"],
        "last": ["IN", "-o", "OUT", *old],
        "joined": ["IN", *old, "-o", "OUT"],
        "alone": [flag],
    }[place]
    name = {"--mode": "-M", "--max_shard_size": "--max-shard-size"}.get(flag, flag)
    explained([f"{name} is called something else here: ", now], *arguments)


def test_whole_command_lines_of_others(explained):
    explained(["--src", "headrace convert model.safetensors -o model.gguf"], "--src", "IN", "--dst", "OUT")
    explained(["--src"], "--src", "IN", "--dst", "OUT", "--qtype", "Q4_K_S")
    explained(["-M", "headrace convert"], "-M", "convert", "-m", "IN", "-o", "OUT", "-v", "--type", "q8_0")
    explained(["--keep-split", "--shard-size"], "--keep-split", "IN", "OUT", "Q4_K_M")
    explained(["--max-buffer-size", "--memory"], "--max-buffer-size", "1024", "IN", "OUT", "Q4_K_M", "8")
    explained(["-o FILE"], "IN", "OUT", "Q4_K_M")
    explained(["-o FILE"], "--imatrix", "imatrix.gguf", "IN", "OUT", "q4_k_m", "8")


def test_a_recipe_where_an_input_is_expected(explained):
    explained(["--recipe Q4_K_M"], "IN", "-o", "OUT", "Q4_K_M")


def test_as_json(headrace, llama, output):
    result = headrace("convert", llama, "-o", output / "o.gguf", "--keep-split", "--json")
    assert result.returncode == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "invalid_argument" and "--shard-size" in error["message"]


def test_help_names_none_of_them(headrace):
    text = headrace("convert", "--help").stdout
    for old, _ in OLD:
        assert f"{old[0]} " not in text and f"{old[0]}," not in text


DETAILS = [["--pure"], ["--leave-output-tensor"], ["--allow-requantize"]]
DETAILS += [["--output-tensor-type", "q8_0"], ["--token-embedding-type", "q8_0"]]


@pytest.mark.parametrize("options", DETAILS, ids=lambda options: options[0])
def test_what_belongs_to_a_recipe(explained, made, options):
    for others in ([], ["--type", "q4_K"]):
        explained([options[0], "--recipe", "--rule"], "IN", "-o", "OUT", *options, *others)
    made("--recipe", "Q4_K_M", *options)


def test_what_the_details_do(made, output):
    made("--recipe", "Q4_K_M", "--output-tensor-type", "Q5_K", "--token-embedding-type", "Q8_0")
    types = {name: kind for name, (kind, _, _) in read_gguf(output / "o.gguf").items()}
    assert (types["output.weight"], types["token_embd.weight"]) == ("Q5_K", "Q8_0")
    made("--recipe", "Q4_K_M", "--leave-output-tensor")
    assert read_gguf(output / "o.gguf")["output.weight"][0] == "F32"
    made("--recipe", "Q4_K_M", "--pure")
    assert {kind for kind, _, _ in read_gguf(output / "o.gguf").values()} == {"Q4_K"}


def test_requantizing_is_allowed_or_not(headrace, made, tmp_path, output):
    small = tmp_path / "small.gguf"
    small.write_bytes(made("--type", "q8_0"))
    command = ["convert", small, "-o", output / "p.gguf", "--recipe", "Q4_K_M"]
    result = headrace(*command)
    assert result.returncode == 1 and "--allow-requantize" in result.stderr
    assert headrace(*command, "--allow-requantize").returncode == 0


@pytest.mark.parametrize(
    "name", ["Q4_K_M", "q4_k_m", "Q4_k_M", "q5_K_s", "Q3_K_L", "q6_k", "IQ4_NL", "iq4_xs", "q8_0", "f16", "BF16"]
)
def test_recipes_in_any_case(made, name):
    assert made("--recipe", name) == made("--recipe", name.upper()) == made("--recipe", name.lower())


def test_other_names_of_recipes(made):
    """llama-quantize's own."""
    for short, long in [("Q3_K", "Q3_K_M"), ("Q4_K", "Q4_K_M"), ("q5_k", "Q5_K_M")]:
        assert made("--recipe", short) == made("--recipe", long)


@pytest.mark.parametrize("name", ["Q4_K_M", "q4_k_m", "Q4_K_S", "q5_K_M", "Q2_K_S", "Q3_K_L", "IQ3_M", "MXFP4_MOE"])
def test_a_recipe_is_no_type(explained, name):
    for options in (["--type", name], ["--recipe", "Q4_K_M", "--output-tensor-type", name]):
        explained([options[-2], f"{name.upper()} is a recipe", f"--recipe {name.upper()}"], "IN", "-o", "OUT", *options)
    explained(["recipe", f"--recipe {name.upper()}"], "IN", "-o", "OUT", "--tensor-type-rules", f"attn={name}")


def test_an_unknown_recipe(explained):
    explained(["'Q4_K_X'", "did you mean", "Q4_K_S", "Q4_K_M"], "IN", "-o", "OUT", "--recipe", "Q4_K_X")


@pytest.mark.parametrize("option", ["--recipe", "--type"])
@pytest.mark.parametrize("name", ["COPY", "copy"])
def test_copy(headrace, llama, output, option, name):
    """llama-quantize's word for every tensor as it is, which is what happens without one."""
    result = headrace("convert", llama, "-o", output / "o.gguf", option, name)
    if result.returncode == 0:
        assert (output / "o.gguf").read_bytes() == llama.read_bytes()
    else:
        assert result.returncode == 2 and "without" in result.stderr


@pytest.mark.parametrize("spelling", ["--tensor-type", "--rule"])
def test_tensor_type(made, output, spelling):
    assert made(spelling, "attn_v=q8_0", spelling, r"blk\.1\.ffn_down=Q5_K", "--type", "q4_0") == made(
        "--tensor-type-rules", r"attn_v=q8_0,blk\.1\.ffn_down=q5_k", "--type", "q4_0"
    )
    types = {name: kind for name, (kind, _, _) in read_gguf(output / "o.gguf").items()}
    assert types["blk.0.attn_v.weight"] == "Q8_0" and types["blk.1.ffn_down.weight"] == "Q5_K"
    assert types["blk.0.ffn_down.weight"] == "Q4_0"


def test_imatrix(made, matrix):
    by_matrix = made("--imatrix", matrix, "--type", "q4_K")
    assert made("--imat-in", matrix, "--type", "q4_K") == by_matrix
    part = made("--imatrix", matrix, "--type", "q4_K", "--include-weights", "attn_v")
    assert part == made("--imatrix", matrix, "--type", "q4_K", "--exclude-weights", "ffn_down")
    assert len({by_matrix, part, made("--type", "q4_K")}) == 3


def test_prune_layers_and_override_kv(made, output):
    made("--prune-layers", "1", "--override-kv", "llama.context_length=int:128")
    pairs = read_pairs(output / "o.gguf")
    assert (pairs["llama.block_count"][1], pairs["llama.context_length"][1]) == (1, 128)


def test_dry_run(headrace, llama, output):
    result = headrace("convert", llama, "-o", output / "o.gguf", "--recipe", "q4_k_m", "--dry-run")
    assert result.returncode == 0 and "Q6_K" in result.stdout
    assert list(output.iterdir()) == []


def test_stable_diffusion_cpps_words(made, headrace, tmp_path, output):
    """Its command line, less its mode."""
    parts = {
        name: weights.write_safetensors(tmp_path / name, {name: weights.random_floats(64, 256)}) for name in "abcdef"
    }
    flags = ["-m", "--clip_l", "--clip_g", "--t5xxl", "--diffusion-model", "--vae"]
    inputs = [word for flag, path in zip(flags, parts.values()) for word in (flag, path)]
    options = ["--type", "q4_K", "--tensor-type-rules", "vae=f16,clip_l=q8_0", "-t", "2", "--imat-in", "ones"]
    made(*inputs, *options, source=None)
    assert {name: kind for name, (kind, _, _) in read_gguf(output / "o.gguf").items()} == {
        "a": "Q4_K",
        "text_encoders.clip_l.transformer.b": "Q8_0",
        "text_encoders.clip_g.transformer.c": "Q4_K",
        "text_encoders.t5xxl.transformer.d": "Q4_K",
        "model.diffusion_model.e": "Q4_K",
        "vae.f": "F16",
    }
