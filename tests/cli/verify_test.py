"""headrace verify: equal, close, different, missing."""

import json
import os

import numpy as np
import pytest
import weights


@pytest.fixture
def pair(tmp_path):
    """Writes two checkpoints from two dictionaries of arrays and gives their paths."""

    def write(first, second, metadata=None):
        return (
            weights.write_safetensors(tmp_path / "a.safetensors", first),
            weights.write_safetensors(tmp_path / "b.safetensors", second, metadata),
        )

    return write


def test_identical_files(headrace, model):
    result = headrace("verify", model, model)
    assert result.returncode == 0
    assert "identical files" in result.stdout
    document = json.loads(headrace("verify", model, model, "--json").stdout)
    assert document["match"] and document["files_identical"] and document["metadata_identical"]
    assert document["identical"] == 5
    assert document["tensors"] == []


def test_the_same_tensors_in_another_format(headrace, model, output):
    assert headrace("convert", model, "-o", output / "m.gguf").returncode == 0
    result = headrace("verify", model, output / "m.gguf", "--max-rmse", "0")
    assert result.returncode == 0
    assert "identical files" not in result.stdout
    assert "5 identical" in result.stdout


def test_other_types_with_the_same_numbers(headrace, pair):
    numbers = weights.random_floats(4, 8).astype("float16")
    first, second = pair({"w": numbers}, {"w": numbers.astype("float32")})
    result = headrace("verify", first, second, "--max-rmse", "0")
    assert result.returncode == 0, result.stdout
    assert "1 with the same numbers in other bytes" in result.stdout


def test_figures(headrace, pair):
    a = np.array([[3.0, 4.0]], dtype=np.float32)
    b = np.array([[3.0, 4.5]], dtype=np.float32)
    first, second = pair({"same": a, "w": a}, {"same": a, "w": b})
    document = json.loads(headrace("verify", first, second, "--json").stdout)
    assert document["match"]
    assert (document["identical"], document["differing"]) == (1, 1)
    (tensor,) = document["tensors"]
    assert tensor["name"] == "w" and tensor["result"] == "compared"
    assert tensor["max_error"] == 0.5
    assert tensor["relative_rmse"] == pytest.approx(0.1)
    assert document["worst_relative_rmse"] == {"tensor": "w", "value": tensor["relative_rmse"]}
    assert document["worst_max_error"] == {"tensor": "w", "value": 0.5}


@pytest.mark.parametrize("limit, status", [(None, 0), ("0.2", 0), ("0.01", 1), ("0", 1)])
def test_max_rmse(headrace, pair, limit, status):
    a = np.array([[3.0, 4.0]], dtype=np.float32)
    first, second = pair({"w": a}, {"w": a + np.float32([0, 0.5])})
    options = [] if limit is None else ["--max-rmse", limit]
    result = headrace("verify", first, second, *options)
    assert result.returncode == status
    assert ("over the limit" in result.stdout) == (status == 1)
    assert result.stdout.splitlines()[-1] == ("match" if status == 0 else "no match")
    assert "0.5" in result.stdout and "0.1" in result.stdout


def test_quantised_copies(headrace, model, output):
    assert headrace("convert", model, "-o", output / "q.gguf", "--type", "q4_0").returncode == 0
    assert headrace("verify", model, output / "q.gguf").returncode == 0
    assert headrace("verify", model, output / "q.gguf", "--max-rmse", "0.2").returncode == 0
    assert headrace("verify", model, output / "q.gguf", "--max-rmse", "0.001").returncode == 1


def test_missing_extra_and_reshaped_tensors(headrace, pair):
    a = weights.random_floats(2, 32)
    first, second = pair({"both": a, "gone": a}, {"both": a.reshape(4, 16), "new": a})
    result = headrace("verify", first, second)
    assert result.returncode == 1
    rows = {line.split()[0]: line for line in result.stdout.split("\n\n")[0].splitlines()}
    assert "shape differs" in rows["both"]
    assert {"gone", "new"} < set(rows)
    document = json.loads(headrace("verify", first, second, "--json").stdout)
    assert not document["match"]
    assert (document["only_in_first"], document["only_in_second"], document["not_comparable"]) == (1, 1, 1)


@pytest.mark.parametrize("missing_on", ["first", "second"])
def test_one_missing_tensor(headrace, pair, missing_on):
    a = weights.random_floats(2, 32)
    sides = [{"both": a}, {"both": a, "more": a}]
    result = headrace("verify", *pair(*(sides if missing_on == "first" else sides[::-1])))
    assert result.returncode == 1
    assert "more" in result.stdout


def test_integers_against_floats(headrace, pair):
    first, second = pair({"w": np.arange(8, dtype="int32")}, {"w": np.arange(8, dtype="float32")})
    result = headrace("verify", first, second)
    assert result.returncode == 1
    assert "type differs" in result.stdout


def test_nan_on_one_side_is_never_close(headrace, pair):
    a = weights.random_floats(2, 32)
    b = a.copy()
    b[1, 3] = np.nan
    first, second = pair({"w": a}, {"w": b})
    result = headrace("verify", first, second)
    assert result.returncode == 0
    assert "NaN or infinity on one side only" in result.stdout
    assert headrace("verify", first, second, "--max-rmse", "1000").returncode == 1
    document = json.loads(headrace("verify", first, second, "--json").stdout, parse_constant=pytest.fail)
    assert document["not_finite"] == 1
    assert document["tensors"][0]["max_error"] is None


def test_nan_on_both_sides_is_equal(headrace, pair):
    a = np.array([[1.0, np.nan]], dtype=np.float16)
    first, second = pair({"w": a}, {"w": a.astype("float32")})
    assert headrace("verify", first, second, "--max-rmse", "0").returncode == 0


def test_zeros_against_numbers(headrace, pair):
    """Relative to nothing, every error is too large."""
    first, second = pair({"w": np.zeros((2, 2), "float32")}, {"w": np.ones((2, 2), "float32")})
    assert headrace("verify", first, second, "--max-rmse", "1000").returncode == 1


def test_tensors_lists_all(headrace, model, pair):
    a = weights.random_floats(2, 32)
    first, second = pair({"same": a, "w": a}, {"same": a, "w": a + 1})
    assert "same" not in headrace("verify", first, second).stdout.split("\n\n")[0]
    listed = headrace("verify", first, second, "--tensors").stdout.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == ["tensor", "same", "w"]
    assert "identical" in listed[1]
    assert len(json.loads(headrace("verify", first, second, "--tensors", "--json").stdout)["tensors"]) == 2


def test_other_metadata(headrace, pair):
    a = weights.random_floats(2, 32)
    first, second = pair({"w": a}, {"w": a}, metadata={"author": "me"})
    result = headrace("verify", first, second)
    assert result.returncode == 0
    assert "metadata" in result.stdout and "differs" in result.stdout
    assert "identical files" not in result.stdout


def test_options_of_the_job(headrace, pair):
    a = weights.random_floats(64, 256)
    first, second = pair({"w": a}, {"w": a + np.float32(0.25)})
    results = {
        headrace("verify", first, second, *options).stdout
        for options in [[], ["-t", "1"], ["--threads", "2", "--memory", "64MiB"], ["--quiet"]]
    }
    assert len(results) == 1


def test_quiet(headrace, pair):
    a = weights.random_floats(2, 32)
    result = headrace("verify", *pair({"w": a}, {"w": a + 1}), "-q")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "with other numbers" in result.stdout


def test_a_missing_file(headrace, model):
    result = headrace("verify", model, "absent.gguf", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["file"] == "absent.gguf"
    assert os.path.basename(model) not in result.stderr
