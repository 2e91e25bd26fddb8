"""headrace.convert: the same bytes as the command's, for every option."""

import http.server
import inspect
import json
import pathlib
import subprocess
import sys
import threading

import headrace
import numpy as np
import pytest
from converting import command, importance, language_model, small_model, weights

# The command's words, the module's keywords, the output's suffix. Files lie in the working folder.
SMALL = [
    ([], {}, "gguf"),
    (["--type", "q8_0"], {"type": "q8_0"}, "gguf"),
    (["--type", "bf16", "--threads", "1", "--memory", "16MiB"], {"type": "bf16", "threads": 1, "memory": 16 << 20},
     "safetensors"),
    (["--to", "gguf", "--type", "f16"], {"to": "gguf", "type": np.float16, "memory": "64MiB"}, "bin"),
    (["--type", "copy"], {"type": "copy"}, "gguf"),
    (["--rule", "blocks=q4_0", "--rule", "^odd=drop"], {"rules": ["blocks=q4_0", "^odd=drop"]}, "gguf"),
    (["--rule", "blocks=q4_0", "--rule", "ndim<2=keep"], {"rules": {"blocks": "q4_0", "ndim<2": "keep"}}, "gguf"),
    (["--rules", "rules.txt", "--type", "q5_0"], {"rules_file": pathlib.Path("rules.txt"), "type": "q5_0"}, "gguf"),
    (["--rules", "rules.txt", "--rules", "more.txt"], {"rules_file": ["rules.txt", b"more.txt"]}, "gguf"),
    (["--tensor-type-rules", r"blocks\.0=q8_0,weight=f16"],
     {"tensor_type_rules": r"blocks\.0=q8_0,weight=f16"}, "gguf"),
    (["--rule", "blocks=rmse:0.02"], {"rules": "blocks=rmse:0.02"}, "gguf"),
    (["--for", "sdcpp", "--type", "q8_0"], {"profile": "sdcpp", "type": "Q8_0"}, "gguf"),
    (["--for", "own.json", "--type", "q8_0"], {"for_": pathlib.Path("own.json"), "type": "q8_0"}, "gguf"),
    (["--select", "weight", "--drop", "^odd"], {"select": ["weight"], "drop": "^odd"}, "safetensors"),
    (["--strip-prefix", "blocks.", "--prefix", "m."], {"strip_prefix": "blocks.", "prefix": "m."}, "safetensors"),
    (["--rename", r"^blocks\.(\d)=blk.\1", "--rename", "norm=n"],
     {"rename": [r"^blocks\.(\d)=blk.\1", "norm=n"]}, "gguf"),
    (["--rename", r"^blocks\.=b."], {"rename": {r"^blocks\.": "b."}}, "gguf"),
    (["--split", "blocks.0.weight=a:2,b:6"], {"split": {"blocks.0.weight": {"a": 2, "b": 6}}}, "gguf"),
    (["--split", "blocks.{}.weight=q{},k{}"], {"split": {"blocks.{}.weight": ["q{}", "k{}"]}}, "gguf"),
    (["--split", "blocks.0.weight=a,b", "--concat", "ba=b,a"], {"split": "blocks.0.weight=a,b", "concat": "ba=b,a"},
     "gguf"),
    (["--split", "blocks.0.weight=a,b", "--concat", "ba=b,a"],
     {"split": ["blocks.0.weight=a,b"], "concat": {"ba": ["b", "a"]}}, "gguf"),
    (["--override-kv", "a=str:b", "--override-kv", "n=int:3", "--override-kv", "x=float:0.5", "--override-kv",
      "y=bool:true"], {"override_kv": {"a": "b", "n": 3, "x": 0.5, "y": True}}, "gguf"),
    (["--override-kv", "a=str:b", "--override-kv", "n=int:3"], {"override_kv": ["a=str:b", "n=int:3"]}, "gguf"),
    (["--override-kv", "n=int:3", "--override-kv", "x=float:0.5"],
     {"override_kv": {"n": np.int64(3), "x": np.float32(0.5)}}, "gguf"),
    (["--imatrix", "ones", "--type", "q4_0"], {"imatrix": "ones", "type": "q4_0"}, "gguf"),
    (["--imatrix", "none", "--type", "q4_0"], {"imatrix": "none", "type": "q4_0"}, "gguf"),
    (["--architecture", "flux"], {"architecture": "flux"}, "gguf"),
    (["--measure", "--type", "q6_K"], {"measure": True, "type": "q6_k"}, "gguf"),
    (["--nonfinite", "refuse", "--connections", "3"], {"nonfinite": "refuse", "connections": 3, "torch_key": None},
     "gguf"),
]  # fmt: skip

LLAMA = [
    (["--recipe", "Q4_K_M"], {"recipe": "Q4_K_M"}),
    (["--recipe", "copy"], {"recipe": "copy"}),
    (["--recipe", "q4_k_s", "--pure"], {"recipe": "q4_k_s", "pure": True}),
    (["--recipe", "Q4_K_M", "--output-tensor-type", "q8_0", "--token-embedding-type", "q5_K"],
     {"recipe": "Q4_K_M", "output_tensor_type": "q8_0", "token_embedding_type": "q5_K"}),
    (["--recipe", "Q2_K", "--leave-output-tensor", "--allow-requantize"],
     {"recipe": "Q2_K", "leave_output_tensor": True, "allow_requantize": True}),
    (["--prune-layers", "1"], {"prune_layers": 1}),
    (["--prune-layers", "0,2"], {"prune_layers": [0, 2]}),
    (["--prune-layers", "0,2"], {"prune_layers": "0,2"}),
    (["--type", "q4_K", "--imatrix", "imatrix.gguf", "--include-weights", "attn"],
     {"type": "q4_K", "imatrix": "imatrix.gguf", "include_weights": ["attn"]}),
    (["--type", "q4_K", "--imatrix", "imatrix.gguf", "--imatrix", "second.gguf", "--exclude-weights", "output"],
     {"type": "q4_K", "imatrix": ["imatrix.gguf", pathlib.Path("second.gguf")], "exclude_weights": "output"}),
]  # fmt: skip

# Tried by the tests below, and by fetch_test.py.
ELSEWHERE = {"component", "prefer", "shard_size", "force", "variant", "headers", "progress", "cancel"}
ELSEWHERE |= {"fetch", "weight_path_prefix", "weight_url_converter"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with the files that the options name."""
    monkeypatch.chdir(tmp_path)
    small_model(tmp_path)
    language_model(tmp_path)
    importance(tmp_path)
    importance(tmp_path, "second.gguf", seed=8)
    (tmp_path / "rules.txt").write_text("# a comment\nblocks=q8_0\n")
    (tmp_path / "more.txt").write_text("odd=f16\n")
    (tmp_path / "own.json").write_text(json.dumps({"name": "own", "rules": [r"blocks\.1=f16"]}))
    return tmp_path


def same_bytes(source, words, keywords, suffix):
    command("convert", *([source] if isinstance(source, str) else []), "-o", f"theirs.{suffix}", *words)
    report = headrace.convert(source, f"ours.{suffix}", **keywords)
    ours = pathlib.Path(f"ours.{suffix}").read_bytes()
    assert ours == pathlib.Path(f"theirs.{suffix}").read_bytes()
    assert report.bytes_written == len(ours)
    return report


@pytest.mark.parametrize("words, keywords, suffix", SMALL, ids=lambda value: str(value)[:60])
def test_the_same_bytes_as_the_command(folder, words, keywords, suffix):
    same_bytes("model.safetensors", words, keywords, suffix)


@pytest.mark.parametrize("words, keywords", LLAMA, ids=lambda value: str(value)[:60])
def test_the_same_bytes_of_a_language_model(folder, words, keywords):
    same_bytes("llama.gguf", words, keywords, "gguf")


def test_every_keyword_is_tried():
    tried = set(ELSEWHERE).union(*(keywords for _, keywords, _ in SMALL), *(keywords for _, keywords in LLAMA))
    assert set(inspect.signature(headrace.convert).parameters) - {"source", "output"} == tried


def test_plan_takes_what_convert_takes():
    plans, converts = (inspect.signature(f).parameters for f in (headrace.plan, headrace.convert))
    assert list(plans) == [name for name in converts if name != "progress"]
    for name in set(plans) - {"source", "output"}:
        assert plans[name].default is converts[name].default and plans[name].annotation == converts[name].annotation


def component(path, *names):
    return weights.write_safetensors(path, {name: weights.random_floats(4, 64, seed=len(name)) for name in names})


def test_components_by_name(folder):
    for name in ("vae", "clip_l", "clip_g", "t5xxl", "unet", "extra", "base"):
        component(folder / f"{name}.safetensors", f"{name}_a.weight", "b.weight")
    words = ["--vae", "vae.safetensors", "--t5xxl", "t5xxl.safetensors", "--diffusion-model", "unet.safetensors",
             "--clip-l", "clip_l.safetensors", "--clip-g", "clip_g.safetensors", "-m", "base.safetensors",
             "--component", "more.=extra.safetensors", "--type", "q8_0"]  # fmt: skip
    source = {
        "vae": "vae.safetensors", "t5xxl": "t5xxl.safetensors", "diffusion-model": pathlib.Path("unet.safetensors"),
        "more.": "extra.safetensors", "clip_l": "clip_l.safetensors", "clip_g": "clip_g.safetensors",
        "model": ["base.safetensors"],
    }  # fmt: skip
    same_bytes(source, words, {"type": "q8_0"}, "gguf")
    listed = headrace.plan(source, "x.gguf").inputs
    assert [i.prefix for i in listed][0] == "" and listed[-1].prefix == "more."


def test_several_inputs_and_whom_to_prefer(folder):
    component(folder / "a.safetensors", "x.weight", "both")
    component(folder / "b.safetensors", "yy.weight", "both")
    sources = ["a.safetensors", headrace.Input("b.safetensors", prefix="")]
    with pytest.raises(headrace.ConflictError, match="both"):
        headrace.convert(sources, "ours.gguf")
    for prefer in ("first", "last"):
        command("convert", "a.safetensors", "b.safetensors", "-o", f"{prefer}.gguf", "--prefer", prefer)
        headrace.convert(sources, "ours.gguf", prefer=prefer, force=True)
        assert pathlib.Path("ours.gguf").read_bytes() == pathlib.Path(f"{prefer}.gguf").read_bytes()
    headrace.convert([headrace.Input("a.safetensors", "one_"), "b.safetensors"], "both.safetensors")
    assert list(weights.read_safetensors(pathlib.Path("both.safetensors"))) == ["one_x.weight", "one_both", "yy.weight",
                                                                               "both"]  # fmt: skip


def test_extract_and_split_and_merge(folder):
    headrace.convert({"vae": "model.safetensors", "clip_l": "model.safetensors"}, "all.safetensors")
    command("extract", "all.safetensors", "--component", "vae", "-o", "theirs.safetensors")
    headrace.convert("all.safetensors", "ours.safetensors", component="vae")
    assert pathlib.Path("ours.safetensors").read_bytes() == pathlib.Path("theirs.safetensors").read_bytes()

    pathlib.Path("theirs").mkdir()
    pathlib.Path("ours").mkdir()
    command("split", "model.safetensors", "-o", "theirs/m.safetensors", "--shard-size", "9KB")
    plan = headrace.plan("model.safetensors", "ours/m.safetensors", shard_size="9KB")
    headrace.convert(plan)
    names = sorted(path.name for path in pathlib.Path("theirs").iterdir())
    assert [pathlib.Path(file).name for file in plan.output_files] + [pathlib.Path(plan.output_index).name] == names
    assert len(names) == 4
    for name in names:
        assert pathlib.Path("ours", name).read_bytes() == pathlib.Path("theirs", name).read_bytes()

    headrace.convert("ours/m.safetensors.index.json", "merged.safetensors")
    assert headrace.verify("merged.safetensors", "model.safetensors").same()


def test_a_variant_of_a_folder(folder):
    pathlib.Path("pipe").mkdir()
    component(folder / "pipe/model.safetensors", "full")
    component(folder / "pipe/model.fp16.safetensors", "half")
    assert headrace.plan("pipe", "x.gguf", variant="fp16")[0].name == "half"


def test_a_pytorch_entry(folder):
    torch = pytest.importorskip("torch")
    torch.save({"ema": {"a": torch.zeros(2, 32)}, "model": {"b": torch.ones(2, 32)}}, "m.pt")
    assert headrace.plan("m.pt", "x.gguf", torch_key="ema")[0].name == "a"
    headrace.convert("m.pt", "x.gguf", torch_key="model", type=torch.bfloat16)
    assert headrace.plan("x.gguf", "y.gguf")["b"].from_ == "BF16"


def test_headers_reach_their_server(folder):
    """Of one that knows no ranges: what it sends is read as a stream."""
    content, seen = pathlib.Path("model.safetensors").read_bytes(), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.headers["Authorization"], self.headers["X-Of"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/model.safetensors"
        headrace.convert(url, "a.gguf", headers={"Authorization": "Bearer me", "X-Of": "mine"}, connections=1)
        headrace.convert(url, "b.gguf", headers=["Authorization: Bearer me", "X-Of: mine"])
        server.shutdown()
    assert set(seen) == {("Bearer me", "mine")}
    headrace.convert("model.safetensors", "c.gguf")
    assert len({pathlib.Path(name).read_bytes() for name in ("a.gguf", "b.gguf", "c.gguf")}) == 1


def test_the_standard_input(folder):
    program = "import headrace; print(headrace.convert('-', 'in.gguf', type='q8_0').bytes_read)"
    with open("model.safetensors", "rb") as file:
        done = subprocess.run([sys.executable, "-c", program], stdin=file, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("17688\n", 0), done.stderr
    headrace.convert("model.safetensors", "file.gguf", type="q8_0")
    assert pathlib.Path("in.gguf").read_bytes() == pathlib.Path("file.gguf").read_bytes()


def test_an_existing_output_needs_force(folder):
    pathlib.Path("out.gguf").write_text("something of yours")
    with pytest.raises(headrace.ConflictError) as caught:
        headrace.convert("model.safetensors", "out.gguf")
    assert isinstance(caught.value, FileExistsError) and caught.value.file == "out.gguf"
    assert pathlib.Path("out.gguf").read_text() == "something of yours"
    headrace.convert("model.safetensors", "out.gguf", force=True)
    assert pathlib.Path("out.gguf").read_bytes()[:4] == b"GGUF"


def test_numbers_that_a_type_cannot_hold(folder):
    weights.write_safetensors(folder / "nan.safetensors", {"w": np.full((2, 32), np.nan, "f4")})
    with pytest.raises(headrace.ValueConversionError) as caught:
        headrace.convert("nan.safetensors", "out.gguf", type="q8_0")
    assert caught.value.tensor == "w" and caught.value.code == "value"
    command("convert", "nan.safetensors", "-o", "theirs.gguf", "--type", "q8_0", "--nonfinite", "keep")
    headrace.convert("nan.safetensors", "out.gguf", type="q8_0", nonfinite="keep")
    assert pathlib.Path("out.gguf").read_bytes() == pathlib.Path("theirs.gguf").read_bytes()


def test_the_report(folder):
    command("convert", "model.safetensors", "-o", "m.gguf", "--type", "q4_K", "--rule", "blocks.1=rmse:0.01",
            "--measure", "--report", "report.json")  # fmt: skip
    pathlib.Path("m.gguf").unlink()
    report = headrace.convert("model.safetensors", "m.gguf", type="q4_K", rules="blocks.1=rmse:0.01", measure=True)
    theirs, ours = json.loads(pathlib.Path("report.json").read_text()), json.loads(json.dumps(report.to_dict()))
    for document in (theirs, ours):
        assert document.pop("seconds") > 0 and document.pop("peak_budget") > 0
    assert ours == theirs
    assert report.plan.unmeasured == 0 and report.plan["blocks.1.weight"].why == "measured"
    error = report.errors[0]
    assert (error.name, report.plan[error.tensor].name) == ("blocks.0.weight", "blocks.0.weight")
    assert 0 < error.relative_rmse < 0.1 and error.max_error > 0 and 0.99 < error.cosine < 1
    assert repr(report).startswith("<headrace.ConvertReport: wrote m.gguf, ") and "blocks.0.weight" in repr(error)
    assert report.peak_budget > 0 and report.seconds > 0 and report.bytes_read == 8192 * 2 + 240 + 1024 + 40


def test_names_that_are_no_utf8(folder):
    weights.write_gguf(folder / "odd.gguf", [("k", "string", b"\xff")], {b"w\xfe": np.zeros((1, 32), "f4")})
    plan = headrace.plan("odd.gguf", "x\udcff.gguf", select="^w")
    assert plan[0].name == "w\udcfe" and plan["w\udcfe"].bytes == 128 and plan.metadata["k"] == "\udcff"
    headrace.convert(plan)
    assert (folder / "x\udcff.gguf").exists()
    with pytest.raises(headrace.ConflictError) as caught:
        headrace.convert(plan)
    assert caught.value.file == "x\udcff.gguf"
