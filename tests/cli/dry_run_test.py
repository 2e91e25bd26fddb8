"""headrace convert --dry-run: the plan as a table and as JSON."""

import json
import os
import time

import weights


def rows_of(text):
    """{name: the words after it} of a table that begins the text."""
    return {line.split()[0]: line.split()[1:] for line in text.split("\n\n")[0].splitlines()[1:]}


def test_table(headrace, model, output):
    result = headrace("convert", model, "-o", output / "m.gguf", "--type", "q8_0", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert os.listdir(output) == []
    assert result.stdout.splitlines()[0].split() == ["tensor", "from", "to", "shape", "bytes", "offset", "why"]
    rows = rows_of(result.stdout)
    assert set(rows) == {"blocks.0.weight", "blocks.1.weight", "odd.weight", "norm.bias", "positions"}
    assert rows["blocks.0.weight"][:5] == ["F32", "Q8_0", "[8,", "256]", str(8 * 256 // 32 * 34)]
    assert rows["odd.weight"][0] == "F32" and rows["odd.weight"][1] != "Q8_0"
    assert "blocks" in rows["odd.weight"] and "32" in rows["odd.weight"]
    assert rows["positions"][:2] == ["I32", "I32"]
    for word in ["tensors  5", "source ", "output ", "header ", "Q8_0"]:
        assert word in result.stdout


def test_columns_are_aligned(headrace, model):
    lines = headrace("convert", model, "-o", "m.gguf", "--dry-run").stdout.split("\n\n")[0].splitlines()
    at = lines[0].index("from")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)


def test_json_says_what_the_conversion_does(headrace, model, output):
    arguments = ["convert", model, "-o", output / "m.gguf", "--type", "q8_0", "--json"]
    planned = json.loads(headrace(*arguments, "--dry-run").stdout)
    assert os.listdir(output) == []
    assert headrace(*arguments).returncode == 0
    written = json.loads(headrace("inspect", output / "m.gguf", "--json").stdout)
    assert planned["output_bytes"] == written["file_bytes"]
    assert planned["header_bytes"] == written["data_offset"]
    assert [(t["name"], t["to"], t["bytes"], t["offset"]) for t in planned["tensors"]] == [
        (t["name"], t["dtype"], t["bytes"], t["offset"]) for t in written["tensors"]
    ]
    reasons = {t["name"]: t["why"] for t in planned["tensors"]}
    assert len(set(reasons.values())) >= 3 and all(reasons.values())


def test_an_output_in_the_way_is_noted(headrace, model, output):
    (output / "m.gguf").write_text("precious")
    arguments = ["convert", model, "-o", output / "m.gguf", "--dry-run"]
    assert "--force" in headrace(*arguments).stdout
    assert any("--force" in note for note in json.loads(headrace(*arguments, "--json").stdout)["notes"])
    assert "exists" not in headrace(*arguments, "--force").stdout
    assert (output / "m.gguf").read_text() == "precious"


def test_hostile_names(headrace, tmp_path):
    names = [b"bell\x07\xff\xe2\x80\xae", "größe"]
    source = weights.write_gguf(tmp_path / "x.gguf", tensors={name: weights.random_floats(2, 32) for name in names})
    result = headrace("convert", source, "-o", "y.gguf", "--dry-run", encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert "bell\\x07\\xff\\xe2\\x80\\xae" in result.stdout
    assert "größe" in result.stdout
    assert "\x07" not in result.stdout
    document = json.loads(headrace("convert", source, "-o", "y.gguf", "--dry-run", "--json", encoding="utf-8").stdout)
    assert [t["name"] for t in document["tensors"]] == ["bell\x07\ufffd\u202e", "größe"]
    # safetensors can't hold bytes that are no UTF-8
    result = headrace("convert", source, "-o", "x.safetensors", "--dry-run", encoding="utf-8")
    assert result.returncode == 1
    assert "\x07" not in result.stderr


def test_ten_thousand_tensors(headrace, tmp_path, capsys):
    tensors = {f"blocks.{i}.attention.query.weight": ("F32", (32, 64)) for i in range(10_000)}
    source = weights.write_sparse_safetensors(tmp_path / "many.safetensors", tensors)
    for options in [[], ["--json"]]:
        start = time.perf_counter()
        result = headrace("convert", source, "-o", "m.gguf", "--type", "q8_0", "--dry-run", *options)
        seconds = time.perf_counter() - start
        assert result.returncode == 0, result.stderr
        named = '"name":"blocks.' if options else "\nblocks."
        assert result.stdout.count(named) == 10_000
        with capsys.disabled():
            print(f"\ndry run of 10,000 tensors {' '.join(options)}: {seconds:.3f} s")
