"""TensorFlow.js models from servers, with and without ranges: the same bytes as from the disk, or a clear error."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from bad_server import BadServer, Exchange
from measure import MIB, measure

GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "golden" / "tfjs"
MODELS = ["face_expression", "face_landmark_68_tiny", "tiny_face_detector"]
SHARD = 2 * MIB  # more than is taken whole where there are no ranges


def write_model(folder, rows=900, shard=SHARD):
    """Two groups: tensors of many sizes, some quantised, cut by files that hold two megabytes each."""
    random = np.random.default_rng(3)
    groups = []
    for number in range(2):
        weights, content = [], b""
        for i, (shape, stored) in enumerate(
            [((rows, 1000), None), ((7,), None), ((rows, 999), "uint8"), ((3, 5), "uint16"), ((rows, 501), "float16")]
        ):
            weight = {"name": f"g{number}.w{i}", "shape": list(shape), "dtype": "float32"}
            if stored == "float16":
                weight["quantization"] = {"dtype": "float16"}
                values = random.standard_normal(shape, dtype=np.float32).astype(np.float16)
            elif stored:
                weight["quantization"] = {"dtype": stored, "scale": 0.01, "min": -1.25}
                values = random.integers(0, 255, shape).astype(stored)
            else:
                values = random.standard_normal(shape, dtype=np.float32)
            weights.append(weight)
            content += values.tobytes()
        paths = [f"group{number}-shard{i}.bin" for i in range(-(-len(content) // shard))]
        for i, path in enumerate(paths):
            (folder / path).write_bytes(content[i * shard : (i + 1) * shard])
        groups.append({"paths": paths, "weights": weights})
    (folder / "model.json").write_text(json.dumps({"weightsManifest": groups}))
    return folder / "model.json"


@pytest.fixture(scope="module")
def model(nginx):
    folder = nginx.files / "sharded"
    folder.mkdir()
    return write_model(folder)


@pytest.fixture(scope="module")
def golden(nginx):
    return shutil.copytree(GOLDEN, nginx.files / "golden", copy_function=shutil.copyfile)


@pytest.mark.parametrize("place", ["", "/no-ranges", "/slow-no-ranges"])
@pytest.mark.parametrize("name", MODELS)
def test_published_models(nginx, golden, fetched, name, place):
    manifest = next(path for path in (golden / name).glob("*.json") if path.name != "expected.json")
    fetched(f"{nginx.url}{place}/golden/{name}/{manifest.name}", manifest)


@pytest.mark.parametrize("options", [[], ["--memory", "8MiB", "--threads", "3"]])
@pytest.mark.parametrize("suffix", [".safetensors", ".gguf"])
def test_a_server_without_ranges(nginx, model, fetched, suffix, options):
    nginx.served()
    fetched(f"{nginx.url}/no-ranges/sharded/model.json", model, *options, suffix=suffix)
    served = nginx.served()
    files = list(model.parent.iterdir())
    assert served.statuses == {200: len(files)}  # each file once
    assert served.bytes <= 1.02 * sum(path.stat().st_size for path in files)


def test_a_slow_server_without_ranges(nginx, model, fetched):
    fetched(f"{nginx.url}/slow-no-ranges/sharded/model.json", model)


def test_with_ranges(nginx, model, fetched):
    fetched(f"{nginx.url}/sharded/model.json", model)


def test_small_files_after_large_ones(nginx, tmp_path, fetched):
    """What is taken whole and what streams are files of one group, in any order."""
    folder = nginx.files / "mixed"
    folder.mkdir()
    content = np.arange(1_500_000, dtype=np.float32).tobytes()
    cuts = [0, 1000, 1000, 3_000_000, 3_000_003, len(content)]
    paths = [f"{i}.bin" for i in range(len(cuts) - 1)]
    for path, begin, end in zip(paths, cuts, cuts[1:]):
        (folder / path).write_bytes(content[begin:end])
    weights = [{"name": f"w{i}", "shape": [300_000], "dtype": "float32"} for i in range(5)]
    (folder / "model.json").write_text(json.dumps([{"paths": paths, "weights": weights}]))
    fetched(f"{nginx.url}/no-ranges/mixed/model.json", folder / "model.json")


def test_a_selection_of_tensors(nginx, model, headrace, tmp_path):
    for name, source in [("a", f"{nginx.url}/no-ranges/sharded/model.json"), ("b", model)]:
        result = headrace("convert", source, "-o", tmp_path / f"{name}.safetensors", "--select", r"w[13]$")
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("change, words", [(-5, "end before its last tensor"), (5, "goes on after the last tensor")])
def test_a_file_of_another_length(nginx, model, refused, tmp_path, change, words):
    folder = nginx.files / f"changed{change}"
    shutil.copytree(model.parent, folder)
    last = max(folder.glob("group0-*"), key=lambda path: int(path.stem.split("shard")[1]))
    content = last.read_bytes()
    last.write_bytes(content[:change] if change < 0 else content + bytes(change))
    says = refused(f"{nginx.url}/no-ranges/{folder.name}/model.json")
    assert words in says and last.name in says and f"at byte {len(content) + min(change, 0)}:" in says


def test_a_large_document_without_ranges(nginx, fetched):
    folder = nginx.files / "wordy"
    folder.mkdir()
    manifest = write_model(folder, rows=3, shard=10_000)
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(document | {"modelTopology": {"text": "x" * 3_000_000}}))
    fetched(f"{nginx.url}/no-ranges/wordy/model.json", manifest)


def test_within_the_budget(nginx, binary, environment, sanitized, tmp_path):
    if sanitized:
        pytest.skip(f"the {sanitized} sanitizer's own memory would be measured")
    folder = nginx.files / "large"
    folder.mkdir()
    manifest = write_model(folder, rows=20_000, shard=4 * MIB)
    url = f"{nginx.url}/no-ranges/large/{manifest.name}"
    command = [binary, "convert", url, "-o", tmp_path / "out.safetensors", "--memory", "16MiB", "-q"]
    result = measure(*command, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.peak <= (16 + 64) * MIB
    (tmp_path / "out.safetensors").unlink()
    shutil.rmtree(folder)


def test_a_prefix_for_the_weights(nginx, model, golden, headrace, fetched, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(model, alone)
    for prefix in (f"{nginx.url}/sharded", f"{nginx.url}/no-ranges/sharded/", f"{model.parent}"):
        fetched(alone / "model.json", model, "--weight-path-prefix", prefix)
    result = headrace("inspect", f"{nginx.url}/model.safetensors", "--weight-path-prefix", "x")
    assert result.returncode == 2
    assert "weight_path_prefix is for TensorFlow.js models alone" in result.stderr


@pytest.fixture
def shards(tmp_path):
    """A bad server with a model of TensorFlow.js, and the model on the disk."""
    folder = tmp_path / "shards"
    folder.mkdir()
    manifest = write_model(folder)
    with BadServer(b"", {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}) as server:
        yield server, manifest


@pytest.mark.parametrize("end", [Exchange.reset, Exchange.close])
def test_a_lost_connection_is_resumed_where_there_are_ranges(shards, fetched, end):
    server, manifest = shards

    def behave(exchange):
        exchange.range_head()
        exchange.send(exchange.part()[:300_000])
        if len(exchange.part()) > 300_000:
            end(exchange)

    server.behave = behave
    fetched(f"{server.url}/model.json", manifest, "--connections", 4)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("end", [Exchange.reset, Exchange.close])
def test_a_lost_connection_without_ranges(shards, refused, end, number):
    server, _ = shards
    lost = f"/group{number}-shard1.bin"

    def behave(exchange):
        if exchange.path != lost:
            return exchange.serve_whole()
        exchange.head(200, Content_Length=len(exchange.content))
        exchange.send(exchange.content[:1_500_000])
        server.wait(0.2)  # the client has read them, before a reset takes them away
        return end(exchange)

    server.behave = behave
    says = refused(f"{server.url}/model.json", code=1)
    assert f"{server.url}{lost}: " in says and "the connection is lost" in says and "no ranges" in says
    place = int(says.split("at byte ")[1].split(":")[0])
    assert place == 1_500_000 if end is Exchange.close else 0 < place <= 1_500_000
    assert [each.path for each in server.requests].count(lost) == 1
