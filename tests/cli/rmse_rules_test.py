"""headrace convert --rule PATTERN=rmse:LIMIT: the smallest type whose error stays within the limit, and no other."""

import hashlib
import itertools
import json
import signal
import subprocess
import time

import pytest
import weights
from narrow_floats import BF16, F8_E4M3, F8_E5M2, finite_bytes
from streams_test import convert_stream
from weights import np

THREADS = [1, 2, 7]
MEMORY = ["16MiB", "64MiB", "1GiB"]

# Bits of an element.
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_1": 6,
    "Q5_K": 5.5, "Q5_0": 5.5, "Q4_1": 5, "Q4_K": 4.5, "Q4_0": 4.5, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "Q3_K": 3.4375,
    "Q2_K": 2.625, "F6_E2M3": 6, "F4": 4,
}  # fmt: skip
GGUF_LACKS = {"F8_E4M3", "F8_E5M2", "F6_E2M3", "F4"}
LADDER_OF_256 = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "F8_E4M3", "Q8_0", "F16"]
LADDER = ["Q4_0", "Q5_0", "F8_E4M3", "Q8_0", "F16"]
LIMITS = [0, 1e-7, 2e-4, 0.002, 0.005, 0.01, 0.04, 0.08, 0.15, 0.4]


def default_ladder(row):
    return LADDER_OF_256 if row % 256 == 0 else LADDER


def numbers_of_all_kinds(rows, row):
    """Distributions that types do differently well on, all float32."""
    rng = np.random.default_rng(rows * row)
    normal = rng.standard_normal((rows, row), dtype=np.float32)
    return {
        "normal": normal,
        "heavy": normal**3,
        "small": normal * np.float32(1e-6),
        "denormal": normal * np.float32(1e-42),
        "uniform": rng.uniform(-1, 1, (rows, row)).astype(np.float32),
        "positive": rng.uniform(5, 6, (rows, row)).astype(np.float32),
        "sparse": np.where(rng.random((rows, row)) < 0.01, normal * 10, 0).astype(np.float32),
        "whole": rng.integers(-8, 8, (rows, row)).astype(np.float32),
        "constant": np.full((rows, row), 0.3, np.float32),
        "zero": np.zeros((rows, row), np.float32),
        "spread": (normal * np.exp2(rng.integers(-18, 1, (rows, row)))).astype(np.float32),
    }


SHAPES = [(7, 256), (3, 768), (9, 32), (5, 96), (11, 33), (4, 1)]


def small_tensors():
    tensors = {}
    for rows, row in SHAPES:
        for name, numbers in numbers_of_all_kinds(rows, row).items():
            tensors[f"{name}.{rows}x{row}"] = numbers
    return tensors | {"vector": weights.random_floats(512), "cube": weights.random_floats(2, 3, 64)}


class Model:
    """A checkpoint, and what each type would make of its tensors, found by asking for that type."""

    def __init__(self, headrace, path, to, options=()):
        self.headrace, self.path, self.to, self.options = headrace, path, to, list(options)
        listed = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
        self.tensors = {t["name"]: t for t in listed}
        self.errors = {}  # {type: {tensor: relative RMSE}}

    def convert(self, output, *options):
        result = self.headrace("convert", self.path, "-o", output, "--force", *self.options, *options)
        assert result.returncode == 0, result.stderr
        return result

    def holds(self, kind):
        return self.to == "safetensors" and kind[0] in "FB" or self.to == "gguf" and kind not in GGUF_LACKS

    def errors_of(self, kind, folder):
        """Of those tensors that can become that type."""
        if kind not in self.errors:
            path = folder / f"forced.{self.to}"
            self.convert(path, "--rule", f".={kind}")
            entries = json.loads(self.headrace("verify", self.path, path, "--tensors", "--json").stdout)["tensors"]
            found = {e["name"]: e["relative_rmse"] for e in entries if e["second"] == kind}
            self.errors[kind] = {name: error for name, error in found.items() if error is not None}
        return self.errors[kind]

    def candidates(self, name, ladder, folder):
        """[(type, error)], the smallest first, and the type of a tensor that none of them is good enough for."""
        tensor = self.tensors[name]
        ceiling = tensor["dtype"] if self.holds(tensor["dtype"]) else "F16"
        types = ladder or default_ladder(tensor["shape"][-1] if tensor["shape"] else 1)
        types = [kind for kind in types if self.holds(kind) and BITS[kind] < BITS[ceiling]]
        found = [(kind, self.errors_of(kind, folder).get(name)) for kind in sorted(types, key=BITS.get)]
        return [(kind, error) for kind, error in found if error is not None], ceiling

    def right_type(self, name, limit, ladder, folder):
        candidates, ceiling = self.candidates(name, ladder, folder)
        return next((kind for kind, error in candidates if error <= limit), ceiling)

    def types_in(self, path):
        listed = json.loads(self.headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
        return {t["name"]: t["dtype"] for t in listed}

    def assert_right(self, folder, limits, ladder=None):
        """`limits`: of each tensor. Also: each measured error is within its limit."""
        path = folder / f"out.{self.to}"
        rules = folder / "rules"
        types = "".join(f",{kind}" for kind in ladder or [])
        escaped = {name: name.replace(".", r"\.") for name in limits}
        rules.write_text("".join(f"^{escaped[name]}$=rmse:{limit!r}{types}\n" for name, limit in limits.items()))
        report = json.loads(self.convert(path, "--rules", rules, "--measure", "--json").stdout)
        right = {name: self.right_type(name, limit, ladder, folder) for name, limit in limits.items()}
        chosen = self.types_in(path)
        assert {name: (chosen[name], limits[name]) for name in right} == {n: (k, limits[n]) for n, k in right.items()}
        for error in report["errors"]:
            if error["name"] in limits and error["to"] != self.candidates(error["name"], ladder, folder)[1]:
                assert error["relative_rmse"] <= limits[error["name"]]
        return chosen


@pytest.fixture
def model_of(headrace, tmp_path):
    """Makes a Model of tensors, or of a file that is there."""

    def make(tensors, to="gguf", options=(), name="model.safetensors"):
        path = weights.write_safetensors(tmp_path / name, tensors) if isinstance(tensors, dict) else tensors
        return Model(headrace, path, to, options)

    return make


def limits_between(model, folder, ladder=None):
    """For each tensor, limits between the errors of its candidates, below and above all of them: [{tensor: limit}]."""
    steps = []
    for name in model.tensors:
        errors = sorted({error for _, error in model.candidates(name, ladder, folder)[0]})
        bounds = [0.0, *errors, 2 * errors[-1] + 1e-3] if errors else [0.0, 1.0]
        steps.append([(name, (a + b) / 2) for a, b in itertools.pairwise(bounds)])
    return [dict(some for some in step if some) for step in itertools.zip_longest(*steps)]


@pytest.mark.parametrize("to", ["gguf", "safetensors"])
@pytest.mark.parametrize("options", [[], ["--imatrix", "ones"]])
def test_the_smallest_type_within_the_limit(model_of, output, to, options):
    model = model_of(small_tensors(), to, options)
    chosen = set()
    for limit in LIMITS:
        chosen |= set(model.assert_right(output, dict.fromkeys(model.tensors, limit)).values())
    assert len(chosen) >= (9 if to == "gguf" else 3)


@pytest.mark.parametrize("to", ["gguf", "safetensors"])
def test_each_type_of_the_ladder_when_the_limit_asks_for_it(model_of, output, to):
    model = model_of(small_tensors(), to)
    for limits in limits_between(model, output):
        model.assert_right(output, limits)


@pytest.mark.parametrize("kind", ["Q3_K", "Q5_K", "F16"])
def test_an_error_that_is_the_limit_is_within_it(model_of, output, kind):
    """The limit is the very figure that --measure reports for the type."""
    model = model_of({f"w{i}": weights.random_floats(8, 256, seed=i) for i in range(20)})
    path = output / "o.gguf"
    report = json.loads(model.convert(path, "--rule", f".={kind}", "--measure", "--json").stdout)
    rules = [f"^{error['name']}$=rmse:{error['relative_rmse']!r}" for error in report["errors"]]
    model.convert(path, *itertools.chain(*(("--rule", rule) for rule in rules)))
    assert model.types_in(path) == dict.fromkeys(model.tensors, kind)


LADDERS = [
    ["Q8_0", "Q4_0", "Q6_K"], ["F16", "Q2_K"], ["Q4_0", "Q4_K", "IQ4_NL"], ["IQ4_NL", "Q4_K", "Q4_0"],
    ["Q5_1", "IQ4_XS", "Q4_1", "Q3_K", "Q8_0", "BF16"], ["F64", "F32"], ["BF16", "F16"], ["F16", "BF16"],
    ["Q4_0", "Q4_0"],
]  # fmt: skip


@pytest.mark.parametrize("ladder", LADDERS, ids=",".join)
def test_ladders_of_the_users_in_any_order(model_of, output, ladder):
    model = model_of(small_tensors())
    for limits in limits_between(model, output, ladder):
        model.assert_right(output, limits, ladder)


@pytest.mark.parametrize("ladder", [["F8_E4M3", "F4", "F6_E2M3"], ["BF16", "F8_E5M2", "Q4_K"]], ids=",".join)
def test_ladders_of_safetensors(model_of, output, ladder):
    tensors = {name: t for name, t in small_tensors().items() if t.size % 4 == 0 and "positive" not in name}
    model = model_of(tensors, "safetensors", ["--nonfinite", "keep"])
    for limits in limits_between(model, output, ladder):
        model.assert_right(output, limits, ladder)


@pytest.mark.parametrize("dtype", [np.float16, BF16, np.float64, F8_E4M3, F8_E5M2])
@pytest.mark.parametrize("to", ["gguf", "safetensors"])
def test_the_source_type_is_the_ceiling(model_of, output, dtype, to):
    tensors = {}
    for name, numbers in small_tensors().items():
        if dtype in (F8_E4M3, F8_E5M2):
            numbers = numbers / max(np.abs(numbers).max(), 1e-30)  # none too large
        tensors[name] = numbers.astype(dtype)
    model = model_of(tensors, to)
    for limit in [0, 1e-5, 0.003, 0.02, 0.1]:
        chosen = model.assert_right(output, dict.fromkeys(model.tensors, limit))
        ceiling = max(BITS[weights.NAMES[np.dtype(dtype)]], 16 if to == "gguf" else 0)
        assert all(BITS[kind] <= ceiling for kind in chosen.values())


@pytest.mark.parametrize("kind", ["q8_0", "q4_K", "q5_0"])
def test_of_what_is_quantised_already(model_of, headrace, output, tmp_path, kind):
    whole = weights.write_safetensors(tmp_path / "whole.safetensors", small_tensors())
    source = tmp_path / "source.gguf"
    assert headrace("convert", whole, "-o", source, "--type", kind).returncode == 0
    model = model_of(source)
    for limit in [0, 0.002, 0.01, 0.06, 0.3]:
        model.assert_right(output, dict.fromkeys(model.tensors, limit))


# Tensors that look otherwise after a while.

PART = 160 * 4096  # a guess is made after 2^20 elements


def tame(seed, scale=1.0):
    """Numbers that the smallest types hold all but exactly."""
    signs = np.random.default_rng(seed).integers(0, 2, PART)
    return (np.where(signs, 1, -1) * np.float32(scale)).astype(np.float32)


def nasty(seed, scale=1.0):
    """One number in each block that is far larger than the rest: the small types lose these."""
    numbers = np.random.default_rng(seed).standard_normal(PART, dtype=np.float32)
    numbers[::32] *= 30
    return numbers * np.float32(scale)


def normal(seed, scale=1.0):
    return np.random.default_rng(seed).standard_normal(PART, dtype=np.float32) * np.float32(scale)


def changing_tensors():
    """Several million elements each; what the first of them say about the types is wrong."""
    parts = {
        "tame, then nasty": [tame(1), tame(2), nasty(3, 4), nasty(4, 4)],
        "nasty, then tame": [nasty(5), nasty(6), tame(7, 20), tame(8, 20)],
        "normal, then tame": [normal(9), normal(10), tame(11, 6), tame(12, 6)],
        "tame, then normal, then nasty": [tame(13), tame(14), normal(15, 3), nasty(16, 9)],
        "nasty, then normal, then tame": [nasty(17), normal(18, 9), normal(19, 27), tame(20, 81)],
        "zero, then normal": [np.zeros(PART, np.float32), np.zeros(PART, np.float32), normal(21), nasty(22)],
        "larger and larger": [normal(23 + i, 8**i) for i in range(5)],
        "smaller and smaller": [nasty(30 + i, 8**-i) for i in range(5)],
    }
    return {name: np.concatenate(some) for name, some in parts.items()}


@pytest.mark.parametrize("row", [256, 4096, 32, PART])
def test_tensors_whose_beginning_misleads(model_of, output, row):
    tensors = {name: numbers.reshape(-1, row).astype(np.float16) for name, numbers in changing_tensors().items()}
    some = None if row == 4096 else 4
    model = model_of(dict(itertools.islice(tensors.items(), some)))
    for limits in limits_between(model, output)[1 if some else 0 :: 2]:
        model.assert_right(output, limits)


def test_tensors_whose_beginning_misleads_with_weights(model_of, output):
    row = 4128  # no tile and no piece is whole rows
    tensors = {}
    for name, numbers in itertools.islice(changing_tensors().items(), 3):
        tensors[name] = numbers[: numbers.size // row * row].reshape(-1, row)
    model = model_of(tensors, options=["--imatrix", "ones"])
    for limits in limits_between(model, output):
        model.assert_right(output, limits)


# The same choice, whoever makes it.


@pytest.mark.parametrize("options", [[], ["--imatrix", "ones"]])
def test_the_same_choice_and_the_same_bytes(headrace, output, tmp_path, options):
    (first, second), rng = list(changing_tensors().values())[:2], np.random.default_rng(3)
    tensors = {"uneven": first[: 500 * 4128].reshape(500, 4128), "even": second.reshape(-1, 2048).astype(np.float16)}
    tensors |= small_tensors() | {f"s.{i}": rng.standard_normal((4, 64)).astype(np.float64) for i in range(200)}
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    path, seen = output / "o.gguf", {}
    for threads, memory in itertools.product(THREADS, MEMORY):
        arguments = ["--rule", ".=rmse:0.03", "-t", threads, "--memory", memory, "--force", "-q", *options]
        result = headrace("convert", model, "-o", path, *arguments)
        assert result.returncode == 0, result.stderr
        seen[hashlib.sha256(path.read_bytes()).hexdigest()] = (threads, memory)
    assert len(seen) == 1, f"different bytes: {seen}"


def test_the_choice_is_made_with_the_importance_matrix(model_of, output, tmp_path):
    shapes = {"a": (8, 512), "b": (6, 96), "c": (2, 4, 256), "without": (8, 256)}
    tensors = {name: weights.random_floats(*shape, seed=len(name)) for name, shape in shapes.items()}
    rng, entries = np.random.default_rng(5), {}
    for name in "abc":
        entries[name + ".in_sum2"] = np.exp(3 * rng.standard_normal((1, shapes[name][-1]))).astype(np.float32)
        entries[name + ".counts"] = np.ones((1, 1), np.float32)
    imatrix = weights.write_gguf(tmp_path / "i.gguf", [("general.type", "string", "imatrix")], entries)
    weighed = model_of(tensors, options=["--imatrix", imatrix])
    plain = model_of(tensors)
    differing = 0
    for limits in limits_between(weighed, output):
        chosen = weighed.assert_right(output, limits)
        differing += chosen != {name: plain.right_type(name, limits.get(name, 9), None, output) for name in chosen}
    assert differing > 0  # else the weights made no difference


# What there is nothing to choose from.


def test_empty_tensors_and_those_that_stay(model_of, headrace, output, tmp_path):
    nan = weights.random_floats(4, 256).astype(np.float16)
    nan[1, 1] = np.nan
    tensors = {"empty": np.zeros((0, 256), np.float32), "empty.odd": np.zeros((0, 33), np.float32), "nan": nan,
               "inf": np.full((2, 256), np.inf, np.float16), "numbers": np.arange(12, dtype=np.int32),
               "scalar": np.float32(3).reshape(()), "good": weights.random_floats(4, 256)}  # fmt: skip
    model = weights.write_safetensors(tmp_path / "m.safetensors", tensors)
    path = output / "o.gguf"
    result = headrace("convert", model, "-o", path, "--rule", ".=rmse:0.1")
    assert result.returncode == 0, result.stderr
    listed = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
    assert {t["name"]: t["dtype"] for t in listed} == {
        "empty": "Q2_K", "empty.odd": "F16", "nan": "F16", "inf": "F16", "numbers": "I32", "scalar": "F16",
        "good": "Q4_K",
    }  # fmt: skip


def test_a_type_that_a_number_is_too_large_for_is_not_good_enough(headrace, output, tmp_path):
    large = weights.random_floats(4, 256) * np.float32(1e6)
    large[0, 0] = 1e38
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": large})
    for options, right in [([], "F32"), (["--nonfinite", "keep"], "F32")]:
        path = output / "o.gguf"
        result = headrace("convert", model, "-o", path, "--rule", "w=rmse:0.5,f16,q4_K,q8_0", "--force", *options)
        assert result.returncode == 0, result.stderr
        (tensor,) = json.loads(headrace("inspect", path, "--tensors", "--json").stdout)["tensors"]
        assert tensor["dtype"] == right


def test_scaled_8_bit_floats(headrace, model_of, output, tmp_path):
    """What they stand for is what counts, and where they stay so does their scale."""
    weight = finite_bytes(F8_E4M3, 64, 256)
    scale = np.exp2(np.arange(64) % 7).astype(np.float32).reshape(-1, 1)
    scaled = {"a.weight_scale": scale, "a.weight": weight}
    plain = {"a.weight": (weight.astype(np.float32) * scale)}
    paths = [weights.write_safetensors(tmp_path / f"{i}.safetensors", t) for i, t in enumerate([scaled, plain])]
    for limit in [0.3, 0.08, 0.03, 0.005]:
        types = []
        for path in paths:
            out = output / "o.gguf"
            result = headrace("convert", path, "-o", out, "--rule", f"weight$=rmse:{limit}", "--force")
            assert result.returncode == 0, result.stderr
            types.append(model_of(out).types_in(out))
        assert types[0] == types[1], limit
    out = output / "o.safetensors"
    assert headrace("convert", paths[0], "-o", out, "--rule", "weight$=rmse:0.01").returncode == 0
    assert weights.read_safetensors(out) == weights.read_safetensors(paths[0])


# What is said beforehand.


@pytest.fixture
def rules():
    return ["--type", "q8_0", "--rule", "blocks=rmse:0.05", "--rule", "norm=keep"]


def test_a_dry_run_says_what_waits_for_data(headrace, model, output, rules):
    arguments = ["convert", model, "-o", output / "o.gguf", "--dry-run", *rules]
    plan = json.loads(headrace(*arguments, "--json").stdout)
    waiting = {t["name"]: (t["to"], t["why"]) for t in plan["tensors"] if t["needs_data"]}
    why = "rule 'blocks=rmse:0.05': F32 at most, the data decides"
    assert waiting == {"blocks.0.weight": ("F32", why), "blocks.1.weight": ("F32", why)}
    note = "found by a look at the data: 2 tensors, the first 'blocks.0.weight'"
    assert any(note in line for line in plan["notes"])
    text = headrace(*arguments).stdout
    assert text.count(why) == 2 and note in text
    assert list(output.iterdir()) == []


def test_explain(headrace, model, output, rules):
    arguments = ["convert", model, "-o", output / "o.gguf", *rules]
    text = headrace(*arguments, "--explain", "blocks.1.weight").stdout
    assert "why      rule 'blocks=rmse:0.05': F32 at most, the data decides" in text
    (tensor,) = json.loads(headrace(*arguments, "--explain", "blocks.1.weight", "--json").stdout)["tensors"]
    assert tensor["needs_data"]


def test_the_report_says_what_was_measured(headrace, model, output, rules):
    result = headrace("convert", model, "-o", output / "o.gguf", "--measure", "--json", *rules)
    report = json.loads(result.stdout)
    assert report["rules"] == ["blocks=rmse:0.05", "norm=keep"]
    errors = {error["name"]: error for error in report["errors"]}
    for name in ["blocks.0.weight", "blocks.1.weight"]:
        assert errors[name]["why"] == "rule 'blocks=rmse:0.05', measured"
        assert errors[name]["relative_rmse"] <= 0.05
    assert not any("look at the data" in note for note in report["notes"])


@pytest.mark.parametrize("rule, words", [
    ("w=rmse:", "'' is no limit"), ("w=rmse:x", "'x' is no limit"), ("w=rmse:-1", "'-1' is no limit"),
    ("w=rmse:nan", "'nan' is no limit"), ("w=rmse:inf", "'inf' is no limit"), ("w=rmse:0.1,q9", "unknown type 'q9'"),
    ("w=rmse:0.1,iq2_xxs", "can't make IQ2_XXS"), ("w=rmse:0.1,i32", "can't make I32"),
    ("nothing=rmse:0.1", "matches no tensor"),
])  # fmt: skip
def test_wrong_rules(headrace, model, output, rule, words):
    result = headrace("convert", model, "-o", output / "o.gguf", "--rule", rule)
    assert result.returncode == 2
    assert words in result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_stream_is_refused(binary, model, output, options):
    # The header alone: nothing else is read before the answer is no.
    content = model.read_bytes()
    header = content[: 8 + int.from_bytes(content[:8], "little")]
    result = convert_stream(binary, header, "-o", output / "o.gguf", "--rule", r"blocks\.1=rmse:0.1", *options)
    assert result.returncode == 1
    for words in ["standard input", "'blocks.1.weight'", "rmse:0.1", "save it to a file first"]:
        assert words in result.stderr
    assert list(output.iterdir()) == []


@pytest.fixture
def endless(tmp_path):
    """A model that takes long to look at, and no room: zeros."""
    return weights.write_sparse_safetensors(tmp_path / "endless.safetensors", {"w": ("F32", (1 << 22, 4096))})


def test_an_output_that_is_there_is_refused_before_the_look(headrace, endless, output):
    (output / "o.gguf").write_text("older")
    result = headrace("convert", endless, "-o", output / "o.gguf", "--rule", "w=rmse:0.1", timeout=10)
    assert result.returncode == 1
    assert "--force" in result.stderr
    assert (output / "o.gguf").read_text() == "older"


def test_the_look_can_be_interrupted(binary, endless, output):
    command = [binary, "convert", endless, "-o", output / "o.gguf", "--rule", "w=rmse:0.1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert b"nothing was written" in process.stderr.read()
    process.stderr.close()
    assert list(output.iterdir()) == []


def test_a_small_budget_and_many_threads(headrace, output, tmp_path):
    numbers = weights.random_floats(1000, 512).astype(np.float64)
    model = weights.write_safetensors(tmp_path / "m.safetensors", {"w": numbers})
    seen = set()
    for options in [["--memory", "3MiB", "-t", "16"], ["--memory", "64MiB", "-t", "1"]]:
        path = output / "o.gguf"
        result = headrace("convert", model, "-o", path, "--rule", "w=rmse:0.05", "--force", *options)
        assert result.returncode == 0, result.stderr
        seen.add(path.read_bytes())
    assert len(seen) == 1
