"""headrace.verify: how two checkpoints differ."""

import json
import math
import shutil

import headrace
import pytest
from converting import command, small_model, weights


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_model(tmp_path)


def test_the_same_file(model):
    shutil.copy(model, "copy.safetensors")
    report = headrace.verify(model, "copy.safetensors")
    assert report.files_identical and report.metadata_identical and report.same() and report.same(max_rmse=0.5)
    assert [t.match for t in report.tensors] == ["identical"] * 5
    assert repr(report) == "<headrace.VerifyReport: 5 tensors, identical files>"
    assert (report.first, report.second) == (str(model), "copy.safetensors")


def test_another_type(model):
    headrace.convert(model, "q.gguf", type="q8_0")
    seen = []
    report = headrace.verify(model, "q.gguf", memory="64MiB", threads=2, progress=seen.append)
    assert not report.files_identical and not report.metadata_identical
    assert not report.same() and report.same(0.01) and not report.same(max_rmse=1e-5)
    tensor = report.tensors[0]
    assert (tensor.name, tensor.match, tensor.first, tensor.second) == ("blocks.0.weight", "compared", "F32", "Q8_0")
    assert tensor.elements == 2048 and 0 < tensor.relative_rmse < 0.01 and 0 < tensor.max_error < 0.1
    assert seen[-1].bytes_done == seen[-1].bytes_total > 0
    theirs = json.loads(command("verify", model, "q.gguf", "--json", "--tensors"))
    ours = json.loads(json.dumps(report.to_dict()))
    assert ours == {key: theirs[key] for key in ours}


def test_what_cannot_be_compared(tmp_path):
    numbers = weights.random_floats(2, 32)
    nan = numbers.copy()
    nan[0, 0] = math.nan
    a = weights.write_safetensors(tmp_path / "a.safetensors", {"x": numbers, "s": numbers, "n": numbers, "a": numbers})
    b = weights.write_safetensors(tmp_path / "b.safetensors", {"x": numbers, "s": numbers[:1], "n": nan, "b": numbers})
    report = headrace.verify(a, b)
    rows = {t.name: t for t in report.tensors}
    assert {name: t.match for name, t in rows.items()} == {
        "x": "identical", "s": "shape differs", "n": "compared", "a": "only in first", "b": "only in second"
    }  # fmt: skip
    assert (rows["a"].second, rows["b"].first, rows["s"].max_error, rows["x"].max_error) == (None, None, None, 0.0)
    assert rows["n"].max_error == math.inf and not report.same(1e9)
    assert "1 identical, 1 compared, 3 not comparable" in repr(report) and "shape differs" in repr(rows["s"])
    json.dumps(report.to_dict(), allow_nan=False)


def test_open_checkpoints(model):
    headrace.convert(model, "q.gguf", type="q8_0")
    with headrace.open(model) as first, headrace.open("q.gguf") as second:
        for sides in ((first, second), (first, "q.gguf"), (model, second)):
            report = headrace.verify(*sides)
            assert (report.first, report.second) == (str(model), "q.gguf")
            assert report.same(0.01) and not report.same()
        assert headrace.verify(first, first).same()
    with pytest.raises(headrace.InvalidArgumentError, match="closed"):
        headrace.verify(first, "q.gguf")


def test_of_what_is_no_checkpoint(model, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF\x03\0\0\0")
    with pytest.raises(headrace.FormatError) as caught:
        headrace.verify(model, tmp_path / "bad.gguf")
    assert caught.value.file == str(tmp_path / "bad.gguf")
    with pytest.raises(headrace.IoError):
        headrace.verify(model, "nothing.gguf")
    with pytest.raises(headrace.InvalidArgumentError, match="second: found int"):
        headrace.verify(model, 3)


def test_a_cancelled_one(model):
    token = headrace.CancelToken()
    token.cancel()
    with pytest.raises(headrace.CancelledError):
        headrace.verify(model, model, cancel=token)


def test_the_examples_of_the_docstrings(tmp_path, monkeypatch):
    import doctest

    monkeypatch.chdir(tmp_path)
    weights.write_safetensors(tmp_path / "model.safetensors", {"blocks.0.weight": weights.random_floats(8, 256)})
    names = {"headrace": headrace}
    for function in (headrace.convert, headrace.verify, headrace.plan):
        for example in doctest.DocTestFinder(recurse=False).find(function, globs=names):
            results = doctest.DocTestRunner().run(example)
            assert results.attempted >= 2 and results.failed == 0
