"""Peak memory where rules want the data looked at: at most the budget and 48 MiB, and the answer is still right."""

import json

import numpy as np
import pytest

import bigfiles
import weights
from bounded_test import BUDGETS, islands_of, run_within
from measure import MIB

RULE = "rmse:0.05"
RULES = {"one tensor of 2 GiB": "rmse:0.05,q4_0,q5_0,q8_0"}  # types that are made faster
MODELS = {
    "1 GB in 400 tensors": {f"blocks.{i}.weight": (305, 4096) for i in range(400)},
    "one tensor of 2 GiB": {"weight": (262144, 4096)},
    "100,000 tensors": {f"layers.{i // 20}.mlp.experts.{i % 20}.down_proj.weight": (2, 32) for i in range(100_000)},
}


@pytest.fixture(autouse=True)
def unsanitized(sanitized):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")


@pytest.fixture(scope="module", params=MODELS)
def model(request, roomy_folder):
    """One of MODELS: zeros, with numbers in every tenth tensor."""
    shapes = MODELS[request.param]
    islands = {name: islands_of(rows * row, i) for i, (name, (rows, row)) in enumerate(shapes.items()) if i % 10 == 0}
    path = bigfiles.write_islands(roomy_folder / "model.safetensors", shapes, islands)
    yield request.param, path
    path.unlink()


@pytest.mark.parametrize("budget", BUDGETS)
def test_measured_within_the_budget(figure, binary, roomy_folder, model, budget):
    name, source = model
    output, report = roomy_folder / "out.gguf", roomy_folder / "report.json"
    rule = RULES.get(name, RULE)
    try:
        options = ["--rule", f".={rule}", "--measure", "--report", report]
        run_within(figure, binary, source, output, budget, f"F16 -> {rule}, {name}", *options)
        errors = json.loads(report.read_text())["errors"]
        assert len(errors) == len(MODELS[name])
        assert max(error["relative_rmse"] for error in errors) <= 0.05
        if len(errors) > 1:
            assert len({error["to"] for error in errors}) > 1  # zeros need less than numbers
    finally:
        output.unlink(missing_ok=True)
        report.unlink(missing_ok=True)


@pytest.mark.parametrize("budget", BUDGETS)
def test_wide_rows_with_weights(figure, binary, roomy_folder, budget):
    """float64, ladders of types that want the mean squares of rows that no piece holds whole."""
    source = roomy_folder / "wide.safetensors"
    numbers = np.random.default_rng(1).standard_normal((3, 10_000_032))
    weights.write_safetensors(source, {"weight": numbers})
    output = roomy_folder / "out.gguf"
    try:
        options = ["--rule", "weight=rmse:0.03,q4_0,q4_1,q5_0,q5_1,q8_0", "--imatrix", "ones"]
        run_within(figure, binary, source, output, budget, "F64 -> rmse:0.03, [3, 10000032]", *options)
        assert output.stat().st_size == pytest.approx(numbers.size * 8.5 / 8, rel=0.01)  # Q8_0
    finally:
        source.unlink()
        output.unlink(missing_ok=True)


def test_scaled_8_bit_floats_within_the_budget(figure, binary, roomy_folder):
    source, output = roomy_folder / "scaled.safetensors", roomy_folder / "out.gguf"
    specs = {}
    for i in range(20_000):
        specs |= {f"{i}.weight_scale": ("F32", (256, 1)), f"{i}.weight": ("F8_E4M3", (256, 256))}
    weights.ITEM_BYTES["F8_E4M3"] = 1
    weights.write_sparse_safetensors(source, specs)
    try:
        for budget in BUDGETS:
            what = "scaled F8_E4M3 -> Q4_0, 20,000 tensors"
            run_within(figure, binary, source, output, budget, what, "--type", "q4_0", "--force")
            assert output.stat().st_size > 20_000 * 256 * 256 // 2
    finally:
        source.unlink()
        output.unlink(missing_ok=True)
