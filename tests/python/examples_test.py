"""The examples that run a transformer show what they say, and agree."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import headrace
from reading import run_python

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "python" / "larger_than_memory.py"
SEQUENCE = "EVQL_ESGGG_VQPGGSLRLSCAAS_"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small BERT with random weights and a head that isn't wanted: as PyTorch saves it, and as safetensors."""
    import torch

    spec = importlib.util.spec_from_file_location("larger_than_memory", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    torch.manual_seed(5)
    bert = example.Bert(layers=8, width=64, inner=256, longest=40)
    bert.cls["species"] = torch.nn.Linear(64, 6)
    folder = tmp_path_factory.mktemp("bert")
    torch.save(bert.state_dict(), folder / "bert.bin")
    headrace.torch.save_streaming(bert, folder / "bert.safetensors")
    return folder


def run_cpp(*arguments, **environment):
    """As it ended; skips where there is no such program."""
    program = pathlib.Path(os.environ.get("HEADRACE_EXAMPLES", "nowhere")) / "example_run_transformer"
    if not program.exists():
        pytest.skip("example_run_transformer wasn't built, or HEADRACE_EXAMPLES doesn't say where it is")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=os.environ | environment)


def run_on_opencl(*arguments):
    if not any(device.kind == "opencl" for device in headrace.devices()):
        pytest.skip("this machine has no OpenCL device")
    return run_cpp(*arguments)


def run_torch(*arguments):
    return run_python("import runpy, sys, torch; torch.set_num_threads(1); sys.argv = sys.argv[1:]; "
                      "runpy.run_path(sys.argv[0], run_name='__main__')", EXAMPLE, *arguments)


def figures_of(text):
    """The number of each line, and of each masked residue the likeliest and how likely it is."""
    lines = [line.split() for line in text.splitlines()]
    found = {words[0]: float(words[1].rstrip(",")) for words in lines if words[0] not in ("device", "residue")}
    return found, {int(words[1]): (words[2], float(words[4])) for words in lines if words[0] == "residue"}


def check_figures(found, weights, limit):
    assert found["weights"] == weights
    assert 0 < found["peak"] <= found["limit"] == limit
    assert found["passes"] == 3 and found["difference"] == 0


def weights_of(path):
    wanted = [tensor for name, tensor in headrace.open(path).items() if name.partition(".")[0] in ("bert", "cls")
              and "species" not in name and ".decoder." not in name]
    return sum(tensor.nbytes for tensor in wanted)


@pytest.mark.parametrize("name, limit", [("bert.bin", None), ("bert.safetensors", 300_000)])
def test_both_run_it_under_a_limit_and_agree(models, name, limit):
    given = [models / name, SEQUENCE, *(["--limit", limit] if limit else [])]
    weights = weights_of(models / name)
    figures, residues = figures_of(run_torch(*given))
    check_figures(figures, weights, limit or weights // 4)
    assert list(residues) == [5, 11, 26]

    done = run_on_opencl(*given)
    assert done.returncode == 0, done.stderr
    figures, theirs = figures_of(done.stdout)
    check_figures(figures, weights, limit or weights // 4)
    assert {at: letter for at, (letter, _) in theirs.items()} == {at: letter for at, (letter, _) in residues.items()}
    assert all(abs(theirs[at][1] - residues[at][1]) <= 0.002 for at in residues)


def test_torch_runs_random_weights_where_there_is_no_model():
    figures, residues = figures_of(run_torch())
    check_figures(figures, figures["weights"], figures["weights"] // 4)
    assert len(residues) == 2


def test_torch_says_in_a_line_what_is_wrong(models, tmp_path):
    for given, code, text in [((tmp_path / "none.bin",), 1, "none.bin: can't open"), ((models / "bert.bin", "AB"), 2, "'B'")]:
        done = subprocess.run([sys.executable, EXAMPLE, *given], capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        assert done.returncode == code and not done.stdout
        assert text in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_cpp_says_which_tensor_has_another_shape(models, tmp_path):
    import torch

    state = torch.load(models / "bert.bin")
    state["bert.encoder.layer.3.output.dense.bias"] = torch.zeros(63)
    torch.save(state, tmp_path / "other.bin")
    done = run_on_opencl(tmp_path / "other.bin", SEQUENCE)
    assert done.returncode == 1 and not done.stdout
    assert "mismatched 'bert.encoder.layer.3.output.dense.bias': [63] instead of [64]" in done.stderr


def test_cpp_says_in_a_line_that_there_is_no_device(models):
    done = run_cpp(models / "bert.bin", SEQUENCE, OCL_ICD_VENDORS="/nonexistent")
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "OpenCL" in done.stderr
