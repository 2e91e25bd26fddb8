"""headrace convert --override-kv: metadata that the caller sets, in llama-quantize's words."""

import json

import pytest
import weights
from gguf_files import read_gguf, read_pairs


@pytest.fixture
def llama(tmp_path):
    pairs = [
        ("general.architecture", "string", "llama"),
        ("llama.block_count", "u32", 2),
        ("general.name", "string", "old"),
    ]
    return weights.write_gguf(tmp_path / "m.gguf", pairs, {"w": weights.random_floats(2, 32)})


@pytest.fixture
def sets(headrace, llama, output):
    """Converts with overrides; gives the metadata that comes out."""

    def convert(*pairs, source=llama):
        options = [part for pair in pairs for part in ("--override-kv", pair)]
        result = headrace("convert", source, "-o", output / "o.gguf", "--force", *options)
        assert result.returncode == 0, result.stderr
        return read_pairs(output / "o.gguf")

    return convert


@pytest.mark.parametrize(
    "pair, key, value",
    [
        ("k=int:3", "k", ("UINT32", 3)),
        ("k=int:0", "k", ("UINT32", 0)),
        ("k=int:4294967295", "k", ("UINT32", 2**32 - 1)),
        ("k=int:-7", "k", ("UINT32", 7)),  # llama.cpp takes the sign off
        ("k=float:0.5", "k", ("FLOAT32", 0.5)),
        ("k=float:-1e3", "k", ("FLOAT32", -1000.0)),
        ("k=float:3", "k", ("FLOAT32", 3.0)),
        ("k=float:0", "k", ("FLOAT32", 0.0)),
        ("k=float:1e-42", "k", ("FLOAT32", float(weights.np.float32(1e-42)))),
        ("k=float:1e-50", "k", ("FLOAT32", 0.0)),
        ("k=bool:true", "k", ("BOOL", True)),
        ("k=bool:false", "k", ("BOOL", False)),
        ("k=str:x", "k", ("STRING", "x")),
        ("k=str:", "k", ("STRING", "")),
        ("k=str:int:3=größe:", "k", ("STRING", "int:3=größe:")),
        ("a:b.c=int:3", "a:b.c", ("UINT32", 3)),
    ],
)
def test_types(sets, llama, pair, key, value):
    assert sets(pair) == read_pairs(llama) | {key: value}


def test_it_replaces_what_is_there(sets, llama):
    found = sets("llama.block_count=int:7", "general.name=str:new", "k=int:1", "k=bool:true")
    assert found == read_pairs(llama) | {
        "llama.block_count": ("UINT32", 7),
        "general.name": ("STRING", "new"),
        "k": ("BOOL", True),  # the last one counts
    }
    assert sets("llama.block_count=str:two")["llama.block_count"] == ("STRING", "two")


def test_the_tensors_stay_readable(sets, llama, output):
    """Whatever is said of the file's own alignment."""
    for alignment in (8, 32, 64, 4096):
        assert sets(f"general.alignment=int:{alignment}")["general.alignment"] == ("UINT32", alignment)
        assert read_gguf(output / "o.gguf") == read_gguf(llama)


@pytest.mark.parametrize("pair", ["general.alignment=int:33", "general.alignment=int:0", "general.alignment=str:x"])
def test_what_no_reader_would_understand(headrace, llama, output, pair):
    result = headrace("convert", llama, "-o", output / "o.gguf", "--override-kv", pair)
    assert result.returncode == 2
    assert "general.alignment" in result.stderr
    assert list(output.iterdir()) == []


def test_a_file_is_no_part_of_another_by_saying_so(headrace, llama, output):
    """Else what was written can't be read again."""
    result = headrace("convert", llama, "-o", output / "o.gguf", "--override-kv", "split.count=int:3")
    if result.returncode == 0:
        assert headrace("inspect", output / "o.gguf").returncode == 0
    else:
        assert result.returncode == 2 and "split.count" in result.stderr


def test_with_another_source_and_type(sets, tmp_path, model, output, headrace):
    found = sets("general.architecture=str:flux", "k=int:3", source=model)
    assert found["general.architecture"] == ("STRING", "flux") and found["k"] == ("UINT32", 3)
    assert found["author"] == ("STRING", "nobody")
    options = ["--override-kv", "general.file_type=int:99", "--type", "q8_0"]
    assert headrace("convert", model, "-o", output / "q.gguf", *options).returncode == 0
    assert read_pairs(output / "q.gguf")["general.file_type"] == ("UINT32", 99)


def test_safetensors_hold_text(headrace, model, output):
    path = output / "o.safetensors"
    options = ["--override-kv", "author=str:someone", "--override-kv", "k=str:größe"]
    assert headrace("convert", model, "-o", path, *options).returncode == 0
    pairs = json.loads(headrace("inspect", path, "--json").stdout)["metadata"]
    assert {p["key"]: p["value"] for p in pairs} == {"general.name": "tiny", "author": "someone", "k": "größe"}
    assert weights.read_safetensors(path) == weights.read_safetensors(model)
    for pair in ("k=int:3", "k=float:0.5", "k=bool:true"):
        result = headrace("convert", model, "-o", output / "p.safetensors", "--override-kv", pair)
        assert result.returncode in (1, 2)
        assert "metadata 'k': safetensors holds text only" in result.stderr and "KEY=str:" in result.stderr
        assert not (output / "p.safetensors").exists()


@pytest.mark.parametrize(
    "pair",
    [
        "", "k", "k=", "k=3", "k=int", "k=int:", "k=int:x", "k=int:1.5", "k=int:0x10", "k=int: 3", "k=int:3 ",
        "k=int:4294967296", "k=int:-4294967296", "k=int:9223372036854775808", "k=int:-9223372036854775808",
        "=int:3", "k=float:", "k=float:x", "k=float:nan", "k=float:-inf", "k=float:1e39", "k=float:1e400", "k=float:1,5",
        "k=bool:", "k=bool:1", "k=bool:True", "k=bool:yes", "k=string:x", "k=INT:3", "k=b=int:3", "int:3",
    ],
)  # fmt: skip
def test_wrong_pairs(headrace, llama, output, pair):
    result = headrace("convert", llama, "-o", output / "o.gguf", "--override-kv", pair)
    assert result.returncode == 2
    assert f"'{pair}' sets no metadata" in result.stderr and "KEY=int:3" in result.stderr
    assert list(output.iterdir()) == []
