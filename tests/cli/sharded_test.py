"""Checkpoints in several files: shards with an index, split GGUF; on the disk and on a server."""

import http.server
import json
import pathlib
import re
import runpy
import threading

import gguf
import numpy as np
import pytest
import safetensors.numpy
import weights

BAD = pathlib.Path(__file__).parent.parent / "data" / "bad" / "index"
REASONS = json.loads((BAD / "reasons.json").read_text(encoding="utf-8"))
INDEX = "model.safetensors.index.json"


def some_tensors(count, seed=1):
    rng = np.random.default_rng(seed)
    return {f"blk.{i}.weight": rng.standard_normal((3 + i, 32), dtype=np.float32) for i in range(count)}


def write_index(folder, places, name=INDEX):
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": places})
    (folder / name).write_text(text)
    return folder / name


def write_shards(folder, tensors, shards, metadata=None):
    """As transformers does: the tensors dealt out to so many files, and the index."""
    places = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        mine = dict(list(tensors.items())[i::shards])
        safetensors.numpy.save_file(mine, folder / file, metadata=metadata or {"format": "pt"})
        places |= dict.fromkeys(mine, file)
    return write_index(folder, places)


def write_split(folder, tensors, each):
    """As llama.cpp does, by its own package: parts of so many tensors, and the same in one file."""
    for name, most in [("split.gguf", each), ("whole.gguf", 0)]:
        writer = gguf.GGUFWriter(folder / name, "llama", split_max_tensors=most)
        writer.add_name("tiny")
        writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
        for tensor, array in tensors.items():
            writer.add_tensor(tensor, array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return sorted(folder.glob("split-*.gguf"))


def arrays_in(path):
    return safetensors.numpy.load_file(path)


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name


def test_shards_become_one_file(headrace, tmp_path, output):
    tensors = some_tensors(11)
    index = write_shards(tmp_path, tensors, 3)
    result = headrace("convert", index, "-o", output / "one.safetensors", "--json")
    assert result.returncode == 0, result.stderr
    assert_same(arrays_in(output / "one.safetensors"), tensors)
    verdict = headrace("verify", index, output / "one.safetensors")
    assert verdict.returncode == 0, verdict.stderr


def test_the_same_bytes_whatever_threads_and_memory(headrace, tmp_path, output):
    index = write_shards(tmp_path, some_tensors(40), 7)
    made = []
    for options in [("-t", 1), ("-t", 8), ("--memory", "4MiB"), ("--connections", 2)]:
        path = output / f"{len(made)}.gguf"
        result = headrace("convert", index, "-o", path, "--type", "q8_0", *options)
        assert result.returncode == 0, result.stderr
        made.append(path.read_bytes())
    assert len(set(made)) == 1


def test_inspect_speaks_of_all_shards(headrace, tmp_path):
    tensors = some_tensors(10)
    report = json.loads(headrace("inspect", write_shards(tmp_path, tensors, 3, {"format": "pt", "a": "1"}), "--json").stdout)
    assert {t["name"] for t in report["tensors"]} == set(tensors)
    assert report["format"] == "safetensors"
    text = headrace("inspect", tmp_path / INDEX, "--metadata").stdout
    assert '"pt"' in text and "total_size" not in text


def test_shards_of_pytorch(headrace, tmp_path, output):
    pytest.importorskip("torch.serialization")
    import torch

    tensors = some_tensors(5)
    places = {}
    for i in range(2):
        mine = {name: torch.from_numpy(array) for name, array in list(tensors.items())[i::2]}
        file = f"pytorch_model-{i + 1:05}-of-00002.bin"
        torch.save(mine, tmp_path / file)
        places |= dict.fromkeys(mine, file)
    index = write_index(tmp_path, places, "pytorch_model.bin.index.json")
    result = headrace("convert", index, "-o", output / "one.safetensors")
    assert result.returncode == 0, result.stderr
    assert_same(arrays_in(output / "one.safetensors"), tensors)


@pytest.mark.parametrize("file", REASONS)
def test_hostile_indexes_are_refused(headrace, output, file):
    expected = REASONS[file]
    for arguments in [("inspect",), ("convert", "-o", output / "out.safetensors")]:
        result = headrace(arguments[0], BAD / file, *arguments[1:])
        assert result.returncode == 1, result
        assert result.stdout == ""
        assert result.stderr.startswith(f"headrace: error: {BAD}/{expected.get('file', file)}: ")
        assert result.stderr.count("\n") == 1 and result.stderr.removesuffix("\n").isprintable()
        assert expected["error"] in result.stderr
        if "tensor" in expected:
            assert f"tensor '{expected['tensor']}'" in result.stderr
    assert list(output.iterdir()) == []


def test_the_maker_makes_these_indexes():
    files, reasons = runpy.run_path(str(BAD / "make.py"))["make"]()
    assert reasons == REASONS
    there = {path.name: path.read_bytes() for path in BAD.iterdir() if path.name not in ("make.py", "reasons.json")}
    assert files == there


@pytest.mark.parametrize("part", [1, 2, 4])
def test_any_part_of_a_split_gguf_is_all_of_it(headrace, tmp_path, output, part):
    tensors = some_tensors(7)
    parts = write_split(tmp_path, tensors, 2)
    assert len(parts) == 4
    result = headrace("convert", parts[part - 1], "-o", output / "split.gguf")
    assert result.returncode == 0, result.stderr
    assert headrace("convert", tmp_path / "whole.gguf", "-o", output / "whole.gguf").returncode == 0
    assert (output / "split.gguf").read_bytes() == (output / "whole.gguf").read_bytes()
    found = {t.name: t.data for t in gguf.GGUFReader(output / "split.gguf").tensors}
    assert_same(found, tensors)
    assert headrace("verify", tmp_path / "whole.gguf", parts[0]).returncode == 0


def test_a_missing_part_is_named(headrace, tmp_path, output):
    parts = write_split(tmp_path, some_tensors(7), 2)
    parts[2].unlink()
    result = headrace("convert", parts[0], "-o", output / "o.gguf")
    assert result.returncode == 1
    assert f"'{parts[2].name}'" in result.stderr
    assert list(output.iterdir()) == []


def test_a_part_under_another_name_is_explained(headrace, tmp_path):
    parts = write_split(tmp_path, some_tensors(4), 2)
    parts[1].rename(tmp_path / "blob")
    result = headrace("inspect", tmp_path / "blob")
    assert result.returncode == 1
    assert "NAME-00001-of-00002.gguf" in result.stderr


def test_a_part_can_not_come_through_a_pipe(headrace, tmp_path, output):
    parts = write_split(tmp_path, some_tensors(4), 2)
    with open(parts[0], "rb") as file:
        result = headrace("convert", "-", "-o", output / "o.gguf", stdin=file)
    assert result.returncode == 1
    assert "it needs the others" in result.stderr


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves the server's `files` by ranges and counts its requests."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(self.path)
        content = server.files.get(self.path.partition("?")[0].lstrip("/"))
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(content) - 1
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A web server on loopback; what it serves is in `files`, what it was asked for in `asked`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RangeHandler) as found:
        found.daemon_threads = True
        found.files, found.asked, found.lock = {}, [], threading.Lock()
        found.url = f"http://127.0.0.1:{found.server_address[1]}"
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def remote(headrace, tmp_path, server):
    """Converts what is served under that name."""
    if "HEADRACE_CURL" in headrace("inspect", server.url + "/x").stderr:
        pytest.skip("built without libcurl")
    server.asked.clear()

    def run(name, path, *options):
        server.files.update({p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()})
        return headrace("convert", f"{server.url}/{name}", "-o", path, *options)

    return run


@pytest.mark.parametrize("connections", [1, 8])
def test_shards_on_a_server(remote, server, tmp_path, output, connections):
    tensors = some_tensors(30)
    write_shards(tmp_path, tensors, 12)
    result = remote(INDEX + "?download=true", output / "one.safetensors", "--connections", connections)
    assert result.returncode == 0, result.stderr
    assert_same(arrays_in(output / "one.safetensors"), tensors)
    assert server.asked[0] == f"/{INDEX}?download=true"  # what follows "?" is of that file alone
    assert {path for path in server.asked if "?" in path} == {f"/{INDEX}?download=true"}


def test_a_split_gguf_on_a_server(remote, headrace, tmp_path, output):
    parts = write_split(tmp_path, some_tensors(9), 2)
    result = remote(parts[3].name, output / "split.gguf")
    assert result.returncode == 0, result.stderr
    assert headrace("convert", tmp_path / "whole.gguf", "-o", output / "whole.gguf").returncode == 0
    assert (output / "split.gguf").read_bytes() == (output / "whole.gguf").read_bytes()


def test_a_shard_that_the_server_lacks_is_named(remote, tmp_path, output):
    write_shards(tmp_path, some_tensors(30), 12)
    lacking = "model-00005-of-00012.safetensors"
    (tmp_path / lacking).unlink()
    result = remote(INDEX, output / "one.safetensors")
    assert result.returncode == 1
    assert lacking in result.stderr and "404" in result.stderr
    assert list(output.iterdir()) == []


def test_many_small_shards(headrace, tmp_path, output):
    tensors = {f"t{i}": weights.random_floats(4, seed=i) for i in range(300)}
    index = write_shards(tmp_path, tensors, 300)
    result = headrace("convert", index, "-o", output / "one.safetensors")
    assert result.returncode == 0, result.stderr
    assert_same(arrays_in(output / "one.safetensors"), tensors)
