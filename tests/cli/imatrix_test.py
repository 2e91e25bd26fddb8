"""headrace convert --imatrix: none, ones, and importance matrices in files, legacy and GGUF."""

import hashlib
import json
import pathlib
import struct

import pytest
import weights
from weights import np

GOLDEN = pathlib.Path(__file__).parent.parent / "data/golden"
TYPES = ["q4_0", "q4_1", "q5_0", "q5_1", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs"]


def write_legacy(path, entries, calls=1):
    """`entries`: {name: values}, already times the calls."""
    out = struct.pack("<i", len(entries))
    for name, values in entries.items():
        data = np.asarray(values, "<f4")
        out += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, data.size) + data.tobytes()
    path.write_bytes(out + struct.pack("<i", calls) + struct.pack("<i", 4) + b"data")
    return path


def write_imatrix(path, entries):
    """`entries`: {name: (sums [matrices, columns], counts [matrices])}."""
    tensors = {}
    for name, (sums, counts) in entries.items():
        tensors[name + ".in_sum2"] = np.atleast_2d(np.asarray(sums, "<f4"))
        tensors[name + ".counts"] = np.asarray(counts, "<f4").reshape(-1, 1)
    return weights.write_gguf(path, [("general.type", "string", "imatrix")], tensors)


@pytest.fixture(scope="session")
def given():
    """A given data set of 16 rows of 4096, and the given importance matrix."""
    return np.fromfile(GOLDEN / "ggml/normal.f32", "<f4").reshape(16, 4096), np.fromfile(GOLDEN / "ggml/imatrix.f32", "<f4")


@pytest.fixture
def quantised(headrace, tmp_path):
    """Converts to a type; gives the bytes of each tensor."""

    def convert(model, kind, *options, to="gguf"):
        path = tmp_path / f"out.{to}"
        result = headrace("convert", model, "-o", path, "--type", kind, "--force", *options)
        assert result.returncode == 0, result.stderr
        listed = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
        content = path.read_bytes()
        return {t["name"]: content[t["offset"] : t["offset"] + t["bytes"]] for t in listed}

    return convert


@pytest.mark.parametrize("kind", TYPES)
def test_given_bytes(quantised, tmp_path, given, kind):
    numbers, importance = given
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers})
    expected = (GOLDEN / f"ggml/{kind}-im__normal.bin").read_bytes()
    files = [
        write_imatrix(tmp_path / "i.gguf", {"w": (importance, [1])}),
        write_legacy(tmp_path / "i.dat", {"w": importance}),
        write_legacy(tmp_path / "i8.dat", {"w": importance * 8}, calls=8),
    ]
    for file in files:
        assert quantised(model, kind, "--imatrix", file)["w"] == expected
        assert quantised(model, kind, "--imat-in", file, "--memory", "3MiB", "-t", "3")["w"] == expected
    assert quantised(model, kind)["w"] == (GOLDEN / f"ggml/{kind}__normal.bin").read_bytes()
    assert quantised(model, kind, "--imatrix", "none")["w"] == (GOLDEN / f"ggml/{kind}__normal.bin").read_bytes()


@pytest.mark.parametrize("kind", TYPES)
def test_ones_give_stable_diffusion_cpps_bytes(quantised, kind):
    theirs = json.loads((GOLDEN / "sdcpp/types.json").read_text())
    options = ["--imatrix", "ones", "--skip-list", "sdcpp", "--tensor-type-rules", f"norm.weight={kind}"]
    ours = quantised(GOLDEN / "sdcpp/in.safetensors", kind, *options)
    assert {name: hashlib.sha256(data).hexdigest() for name, data in ours.items()} == theirs["sha256"][kind]


@pytest.mark.parametrize("kind", ["q4_0", "q5_1", "q4_K", "iq4_nl"])
def test_rows_longer_than_a_piece_and_experts(quantised, headrace, tmp_path, kind):
    """The same bytes whatever a piece holds: rows cut in pieces, and one set of weights for each expert."""
    rng = np.random.default_rng(5)
    long_row, experts = rng.standard_normal((2, 256 * 3000), "f4"), rng.standard_normal((3, 5, 512), "f4")
    importance = {"long": rng.random(256 * 3000, "f4"), "experts": rng.random((3, 512), "f4")}
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"long": long_row, "experts": experts})
    counts = {"long": [2], "experts": [4, 0, 1]}
    file = write_imatrix(tmp_path / "i.gguf", {name: (importance[name], counts[name]) for name in importance})
    whole = quantised(model, kind, "--imatrix", file, "--memory", "1GiB", "-t", "1")
    for options in [["--memory", "2MiB", "-t", "4"], ["--memory", "16MiB", "-t", "2"]]:
        assert quantised(model, kind, "--imatrix", file, *options) == whole

    # Each expert alone, with its own weights: 1 where it was never used.
    for e in range(3):
        part = weights.write_safetensors(tmp_path / "e.safetensors", {"experts": experts[e]})
        mean = importance["experts"][e] / counts["experts"][e] if counts["experts"][e] else np.ones(512, "f4")
        alone = write_imatrix(tmp_path / "e.gguf", {"experts": (mean, [1])})
        bytes_each = len(whole["experts"]) // 3
        own = whole["experts"][e * bytes_each : (e + 1) * bytes_each]
        assert quantised(part, kind, "--imatrix", alone)["experts"] == own


def test_several_files_count_as_one(quantised, tmp_path, given):
    numbers, importance = given
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers})
    other = importance[::-1].copy()
    a = write_imatrix(tmp_path / "a.gguf", {"w": (importance, [3])})
    b = write_imatrix(tmp_path / "b.gguf", {"w": (other, [5])})
    both = write_imatrix(tmp_path / "both.gguf", {"w": (importance + other, [8])})
    assert quantised(model, "q4_K", "--imatrix", a, "--imatrix", b) == quantised(model, "q4_K", "--imatrix", both)


def test_files_of_both_kinds_are_added_in_order(quantised, tmp_path, given):
    numbers, importance = given
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers, "v": numbers[::-1]})
    third = np.roll(importance, 7)
    files = [
        write_imatrix(tmp_path / "a.gguf", {"w": (importance, [300])}),
        write_legacy(tmp_path / "b.dat", {"w": importance[::-1], "v": third}, calls=2),
        write_imatrix(tmp_path / "c.gguf", {"w": (third, [0.5]), "v": (importance, [0])}),
    ]
    sums = (importance + np.float32(512) * importance[::-1]) + third
    mean = sums / ((np.float32(300) + np.float32(1024)) + np.float32(0.5))
    one = write_imatrix(tmp_path / "one.gguf", {"w": (mean, [1]), "v": (third / np.float32(2), [1])})
    options = [part for file in files for part in ("--imatrix", file)]
    assert quantised(model, "q4_K", *options) == quantised(model, "q4_K", "--imatrix", one)


def test_the_matrix_is_never_the_output(headrace, tmp_path, given):
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": given[0]})
    file = write_imatrix(tmp_path / "i.gguf", {"w": (given[1], [1])})
    before = file.read_bytes()
    (tmp_path / "link.gguf").symlink_to(file)
    for output in [file, tmp_path / "link.gguf"]:
        result = headrace("convert", model, "-o", output, "--type", "q4_K", "--imatrix", file, "--force")
        assert result.returncode == 1
        assert "the output is the importance matrix" in result.stderr
        assert file.read_bytes() == before


def test_an_entry_that_two_tensors_use_is_noted(headrace, tmp_path, given):
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": given[0]})
    file = write_imatrix(tmp_path / "i.gguf", {"w": (given[1], [1])})
    arguments = ["--vae", model, "--clip-l", model, "--type", "q4_K", "--imatrix", file]
    result = headrace("convert", *arguments, "-o", tmp_path / "o.gguf")
    assert result.returncode == 0
    assert "another input's tensor of the same name uses too: tensor 'vae.w'" in result.stderr


def test_a_matrix_that_matters_to_nothing_is_noted(headrace, tmp_path, given):
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": given[0]})
    file = write_imatrix(tmp_path / "i.gguf", {"w": (given[1], [1])})
    result = headrace("convert", model, "-o", tmp_path / "o.gguf", "--type", "q8_0", "--imatrix", file)
    assert result.returncode == 0
    assert "matters to none of the types" in result.stderr


def test_the_report_names_the_matrix(headrace, tmp_path, given):
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": given[0]})
    file = write_imatrix(tmp_path / "i.gguf", {"w": (given[1], [1])})
    for options, word, each in [(["--imatrix", file], [str(file)], "file"), (["--imatrix", "ones"], "ones", "ones"), ([], "none", "none")]:
        command = ["convert", model, "-o", tmp_path / "o.gguf", "--type", "q4_K", "--dry-run", "--json", *options]
        plan = json.loads(headrace(*command).stdout)
        assert (plan["imatrix"], plan["tensors"][0]["imatrix"]) == (word, each)


def test_the_prefixed_or_the_own_name(quantised, headrace, tmp_path, given):
    numbers, importance = given
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers})
    file = write_imatrix(tmp_path / "i.gguf", {"w": (importance, [1])})
    expected = (GOLDEN / "ggml/q4_K-im__normal.bin").read_bytes()
    path = tmp_path / "out.gguf"
    arguments = ["convert", "--vae", model, "-o", path, "--type", "q4_K", "--imatrix", file, "--force"]
    plan = json.loads(headrace(*arguments, "--dry-run", "--json").stdout)
    assert plan["tensors"][0]["why"] == "--type Q4_K, by the importance matrix"
    assert headrace(*arguments).returncode == 0
    assert expected in path.read_bytes()


def test_what_matches_nothing_is_noted(headrace, tmp_path, given):
    numbers, importance = given
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers, "v": numbers[:2]})
    file = write_imatrix(tmp_path / "i.gguf", {"w": (importance, [1]), "gone": (importance, [1])})
    result = headrace("convert", model, "-o", tmp_path / "o.gguf", "--type", "q4_K", "--imatrix", file)
    assert result.returncode == 0
    assert "made without weights, for the importance matrix has no entry: tensor 'v'" in result.stderr
    assert "entries of the importance matrix that match no tensor: tensor 'gone'" in result.stderr


@pytest.mark.parametrize(
    "entries, words",
    [
        ({"w": ([1.0] * 100, [1])}, ["tensor 'w'", "weights for rows of 4096", "100 weights"]),
        ({"other": ([1.0] * 4096, [1])}, ["none of the tensors", "'w'", "'other'"]),
        ({"w": ([-1.0] * 4096, [1])}, ["tensor 'w'", "no sum of squares", "-1"]),
        ({"w": ([float("nan")] * 4096, [1])}, ["tensor 'w'", "no sum of squares"]),
        ({"w": ([float("inf")] * 4096, [1])}, ["tensor 'w'", "no sum of squares"]),
        ({"w": ([1.0] * 4096, [-1])}, ["tensor 'w'", "a count that is none", "-1"]),
        ({"w": ([1.0] * 4096, [float("nan")])}, ["tensor 'w'", "a count that is none"]),
        ({"w": ([1.0] * 4096, [float("inf")])}, ["tensor 'w'", "a count that is none"]),
        ({"w": ([3e38] * 4096, [1])}, ["tensor 'w'", "a weight too large"]),
        ({"w": ([1.0] * 4096, [1e-45])}, ["tensor 'w'", "a weight too large"]),
        ({"w": ([1.0] * 4096, [1, 1])}, ["[matrices, columns]", "2 counts"]),
        ({"w": ([[1.0]] * 4096, [1] * 4096)}, ["tensor 'w'", "in rows of 1"]),
    ],
)
def test_wrong_entries_are_refused(headrace, tmp_path, given, output, entries, words):
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": given[0]})
    file = write_imatrix(tmp_path / "i.gguf", entries)
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q4_K", "--imatrix", file)
    assert result.returncode == 1
    for word in [str(file), *words]:
        assert word in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 3, 7, 10, 14, 18, 100])
def test_a_legacy_file_cut_short(headrace, tmp_path, given, output, cut):
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": given[0]})
    whole = write_legacy(tmp_path / "i.dat", {"w": given[1]})
    whole.write_bytes(whole.read_bytes()[:cut])
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q4_K", "--imatrix", whole)
    assert result.returncode == 1
    assert str(whole) in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("words", [["none", "ones"], ["ones", "x.dat"], [""]])
def test_modes_stand_alone(headrace, model, output, words):
    options = [part for word in words for part in ("--imatrix", word)]
    result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q4_K", *options)
    assert result.returncode == 2
    assert "--imatrix" in result.stderr


def test_a_model_is_no_importance_matrix(headrace, model, tmp_path, output):
    for wrong in [model, weights.write_gguf(tmp_path / "m.gguf", [], {"a": weights.random_floats(32)})]:
        result = headrace("convert", model, "-o", output / "o.gguf", "--type", "q4_K", "--imatrix", wrong)
        assert result.returncode == 1
        assert "importance matrix" in result.stderr
