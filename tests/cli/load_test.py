"""headrace load: every option, on the host, on OpenCL and on a CUDA driver that isn't one.

HEADRACE_FAKE_CUDA  libheadrace_fake_cuda.so, built from tests/device
"""

import http.server
import json
import os
import signal
import statistics
import subprocess
import threading
import time

import pytest
import weights
from weights import np

NO_CUDA = {"HEADRACE_CUDA_LIBRARY": "/absent/libcuda.so.1"}
NO_OPENCL = {"HEADRACE_OPENCL_LIBRARY": "/absent/libOpenCL.so.1"}


@pytest.fixture
def load(headrace):
    """Loads with --json and gives the document."""

    def run(*arguments, **options):
        result = headrace("load", *arguments, "--json", **options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def refused(headrace):
    """Loads in vain; gives the error of the JSON document."""

    def run(code, *arguments, **options):
        result = headrace("load", *arguments, "--json", **options)
        assert result.returncode == code, result.stderr
        error = json.loads(result.stdout)["error"]
        assert error["message"] in result.stderr
        return error

    return run


@pytest.fixture(params=["host", "opencl:0", "cuda:0"])
def device(request, headrace):
    """A device's name, and the environment in which it is there."""
    if request.param == "cuda:0":
        library = os.environ.get("HEADRACE_FAKE_CUDA")
        if not library or not os.path.isfile(library):
            pytest.fail(f"set HEADRACE_FAKE_CUDA to the path of libheadrace_fake_cuda.so; it is {library!r}")
        return request.param, os.environ | NO_OPENCL | {"HEADRACE_CUDA_LIBRARY": os.path.abspath(library)}
    if request.param == "opencl:0":
        need_opencl(headrace)
    return request.param, os.environ | NO_CUDA


def need_opencl(headrace):
    if os.environ.get("HEADRACE_SANITIZER"):
        pytest.skip("drivers have their own ideas of memory and threads")
    document = json.loads(headrace("devices", "--json").stdout)
    absent = {each["kind"]: each["reason"] for each in document["absent"]}
    if "opencl" in absent:
        pytest.skip(absent["opencl"])


def bytes_of(path, smallest=0):
    tensors = weights.read_safetensors(path)
    return sum(len(data) for _, shape, data in tensors.values() if np.prod(shape, dtype=np.int64) >= smallest)


# Of `model`, three tensors have fewer than 1000 elements: 3 * 20 and 256 floats, 10 integers.
SMALL_BYTES = 4 * (60 + 256 + 10)


def test_everything_arrives(load, device, model):
    name, env = device
    document = load(model, "--device", name, "--verify", env=env)
    total = bytes_of(model)
    on_device = 0 if name == "host" else total - SMALL_BYTES
    assert document["source"] == str(model)
    assert document["device"] == name
    assert document["tensors"] == document["verified"] == 5
    assert document["source_bytes"] == total
    assert document["device_bytes"] == on_device
    assert document["host_bytes"] == total - on_device
    assert document["host_tensors"] == (5 if name == "host" else 3)
    assert document["host_copy_bytes"] == 0
    assert document["streamed"] and not document["discarded"]
    assert 0 < document["seconds_to_first"] <= document["seconds"]
    assert document["bytes_per_second"] == pytest.approx(total / document["seconds"])
    assert 0 < document["peak_budget"] <= document["memory"] == 256 << 20
    assert document["peak_memory_beyond_tensors"] == document["peak_memory"] - document["host_bytes"] > 0
    assert document["saved"] is None
    left = [] if name == "host" else [("norm.bias", 1024), ("odd.weight", 240), ("positions", 40)]
    assert [(each["name"], each["bytes"]) for each in document["left_on_host"]] == left
    (run,) = document["runs"]
    assert run["seconds"] == document["seconds"]
    assert run["cached_before"] is None


def test_for_people(headrace, device, model):
    name, env = device
    result = headrace("load", model, "--device", name, "--verify", env=env)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"loaded {model} to {name} (")
    shown = dict(line.strip().split("  ", 1) for line in lines[1:])
    shown = {label: text.strip() for label, text in shown.items()}
    labels = ["time", "rate", "on the host", "peak host memory", "peak of the budget", "verified"]
    if name != "host":
        labels.insert(2, f"on {name}")
        assert shown[f"on {name}"] == "2 tensors, 16.4 kB"
        assert shown["on the host"] == "3 tensors, 1.30 kB: norm.bias (1.02 kB), odd.weight (240 B), positions (40 B)"
    assert list(shown) == labels
    assert "the first tensor after" in shown["time"]
    assert shown["peak of the budget"].endswith(" of 268 MB")
    assert shown["verified"] == "5 tensors, every byte"


@pytest.mark.parametrize("reads", ["auto", "mapped", "cached", "direct"])
@pytest.mark.parametrize("more", [[], ["--no-huge-pages", "--threads", "1"], ["--alignment", "4096"]])
def test_ways_to_read(load, device, model, reads, more):
    name, env = device
    document = load(model, "-d", name, "--host-reads", reads, "--verify", *more, env=env)
    assert document["verified"] == 5
    if reads in ("cached", "direct") or name != "host":
        assert document["mapped_bytes"] == 0
    elif reads == "mapped":
        assert document["mapped_bytes"] == (0 if "--alignment" in more else bytes_of(model))


@pytest.mark.parametrize("threshold, left", [("0", 0), ("61", 2), ("1000000", 5)])
def test_what_stays_on_the_host(load, device, model, threshold, left):
    name, env = device
    document = load(model, "--device", name, "--host-threshold", threshold, "--verify", env=env)
    assert len(document["left_on_host"]) == (0 if name == "host" else left)
    assert document["host_tensors"] == (5 if name == "host" else left)


@pytest.mark.parametrize("more", [[], ["--no-stream"]])
def test_a_copy_on_the_host_can_be_saved(load, device, model, output, more):
    name, env = device
    saved = output / "copy.safetensors"
    document = load(model, "--device", name, "--keep-host-copy", "--save", saved, "--verify", *more, env=env)
    assert document["saved"] == str(saved)
    assert document["streamed"] == (not more)
    assert document["host_copy_bytes"] == document["device_bytes"]
    assert weights.read_safetensors(saved) == weights.read_safetensors(model)
    assert os.listdir(output) == ["copy.safetensors"]


def test_types_and_names(load, headrace, device, model, output):
    """What is saved is what convert writes."""
    name, env = device
    options = ["--type", "f16", "--rule", r"blk\.1=keep", "--drop", "^positions", "--rename", r"^blocks\.(\d)=blk.\1"]
    options += ["--prefix", "model."]
    loaded, converted = output / "loaded.safetensors", output / "converted.safetensors"
    document = load(model, "-d", name, "--keep-host-copy", "--save", loaded, "--verify", *options, env=env)
    assert document["verified"] == document["tensors"] == 4
    assert headrace("convert", model, "-o", converted, *options).returncode == 0
    assert weights.read_safetensors(loaded) == weights.read_safetensors(converted)
    assert {kind for kind, _, _ in weights.read_safetensors(loaded).values()} == {"F16", "F32"}


def test_other_words_for_types(load, model, output):
    rules = output / "rules.txt"
    rules.write_text("# all of them\nnorm=bf16\n")
    document = load(model, "--rules", rules, "--tensor-type-rules", r"blocks=q8_0", "--verify")
    assert document["verified"] == 5
    assert document["host_bytes"] == 256 * 2 + 60 * 4 + 40 + 2 * 2048 // 32 * 34


def test_joined_and_cut(load, model):
    cut = ["--split", "blocks.0.weight=a,b", "--concat", "ab=b,a", "--select", r"blocks\.0"]
    document = load(model, *cut, "--verify")
    assert document["verified"] == document["tensors"] == 1
    document = load(model, "--component", "blocks", "--verify")
    assert document["verified"] == document["tensors"] == 2


def test_a_number_that_does_not_fit(load, refused, tmp_path):
    path = weights.write_safetensors(tmp_path / "m.safetensors", {"w": np.full((40, 50), 1e30, "float32")})
    error = refused(1, path, "--type", "f16")
    assert (error["code"], error["file"], error["tensor"]) == ("value", str(path), "w")
    assert load(path, "--type", "f16", "--nonfinite", "keep", "--verify")["verified"] == 1


def test_gguf_out_of_a_load(load, headrace, model, output):
    load(model, "--type", "q8_0", "--save", output / "m", "--to", "gguf")
    assert headrace("convert", model, "-o", output / "c.gguf", "--type", "q8_0").returncode == 0
    result = headrace("verify", output / "m", output / "c.gguf", "--max-rmse", "0", "--json")
    # The vector that GGUF wants in F32 stays what loading made of it.
    assert json.loads(result.stdout)["match"], result.stdout


def test_repeated(load, headrace, device, model):
    name, env = device
    document = load(model, "-d", name, "--repeat", "4", env=env)
    assert len(document["runs"]) == 4
    for key in ["seconds", "seconds_to_first", "bytes_per_second"]:
        assert document[key] == pytest.approx(statistics.median(run[key] for run in document["runs"]))
    assert document["peak_memory"] == max(run["peak_memory"] for run in document["runs"])
    assert document["device_bytes"] + document["host_bytes"] == bytes_of(model)
    lines = headrace("load", model, "-d", name, "--repeat", "3", env=env).stdout.splitlines()
    assert lines[0].split() == ["run", "time", "first", "tensor", "rate", "peak", "host", "memory"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert lines[4] == "" and lines[5].startswith("loaded ")
    assert sum("(median)" in line for line in lines) == 2


def test_cold(load, headrace, model):
    where = subprocess.run(["stat", "-f", "-c", "%T", model], capture_output=True, text=True, check=True).stdout.strip()
    if where == "tmpfs":
        pytest.skip("the temporary folder is in memory")
    model.read_bytes()
    document = load(model, "--cold", "--repeat", "2", "--verify", "--host-reads", "cached")
    shares = [run["cached_before"] for run in document["runs"]]
    assert shares == [0, 0]
    assert "cached before" in headrace("load", model, "--cold").stdout


def test_discarded(load, headrace, device, model):
    name, env = device
    document = load(model, "--device", name, "--discard", env=env)
    assert document["discarded"] and document["tensors"] == 5
    assert document["device_bytes"] + document["host_bytes"] == document["source_bytes"] == bytes_of(model)
    assert document["peak_memory_beyond_tensors"] is None
    lines = headrace("load", model, "--device", name, "--discard", env=env).stdout.splitlines()
    assert lines[0].startswith(f"moved {model} through {name} (")


def test_a_file_larger_than_the_address_space_is_read(binary, tmp_path):
    if os.environ.get("HEADRACE_SANITIZER"):
        pytest.skip("a sanitizer wants terabytes of address space")
    model = tmp_path / "m.safetensors"
    weights.write_sparse_safetensors(model, {"a": ("F32", (64, 64)), "b": ("F32", (75, 1 << 20))})  # 300 MB

    def run(*more):
        command = f'ulimit -v 200000; exec "{binary}" load "{model}" --select "^a$" --threads 2 --json {" ".join(more)}'
        result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
        return result.returncode, json.loads(result.stdout)

    code, document = run()
    assert code == 0, document
    assert document["host_bytes"] == 4 * 64 * 64 and document["mapped_bytes"] == 0
    code, document = run("--host-reads", "mapped")  # who asks for it hears why not
    assert code == 1 and "can't map" in document["error"]["message"]


@pytest.mark.parametrize("more", [[], ["--discard"], ["--type", "q8_0"], ["--host-reads", "direct", "--no-stream"]])
def test_from_a_pipe(binary, device, model, output, more):
    name, env = device
    command = f'cat "{model}" | "{binary}" load - --device {name} --json {" ".join(more)}'
    result = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, env=env, timeout=60)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["tensors"] == 5
    assert document["source"] == "standard input"
    assert document["source_bytes"] == bytes_of(model)
    assert document["mapped_bytes"] == 0


def test_saved_from_a_pipe(headrace, model, output):
    result = headrace("load", "-", "--save", output / "m.safetensors", input=model.read_bytes(), text=False)
    assert result.returncode == 0, result.stderr
    assert weights.read_safetensors(output / "m.safetensors") == weights.read_safetensors(model)


def test_a_pipe_comes_only_once(refused, model, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for source in ["-", fifo]:
        for option in [["--repeat", "2"], ["--verify"], ["--cold"]]:
            error = refused(2, source, *option, input="")
            assert error["message"] == f"{option[0]} reads the source again, and '{source}' can be read only once"


def test_strict(load, refused, headrace, model, tmp_path):
    names = tmp_path / "names"
    names.write_bytes(b"blocks.0.weight\r\nblocks.1.weight\n\nodd.weight\nnorm.bias\npositions")
    assert load(model, "--strict", names)["tensors"] == 5
    assert load(model, "--strict", model)["tensors"] == 5
    renamed = refused(1, model, "--strict", names, "--prefix", "x.")
    assert renamed["code"] == "conflict"
    assert renamed["file"] == str(model)
    assert renamed["found"].startswith("5 missing: 'blocks.0.weight'")
    other = weights.write_safetensors(tmp_path / "other.safetensors", {"norm.bias": np.zeros(3, "float32")})
    error = refused(1, model, "--strict", other)
    assert error["expected"] == "1 names" and error["found"].startswith("4 unexpected: ")
    assert load(model, "--strict", other, "--select", "norm")["tensors"] == 1
    gguf = tmp_path / "other.gguf"
    assert headrace("convert", model, "-o", gguf).returncode == 0
    assert load(model, "--strict", gguf)["tensors"] == 5
    assert refused(1, model, "--strict", tmp_path / "absent")["code"] == "io"
    piped = load(model, "--strict", "/dev/stdin", input="\n".join(weights.read_safetensors(model)))
    assert piped["tensors"] == 5


def test_what_is_on_a_device_alone_cannot_be_saved(refused, headrace, model, output):
    need_opencl(headrace)
    error = refused(1, model, "-d", "opencl:0", "--save", output / "m.safetensors")
    assert error["code"] == "unsupported"
    assert error["file"] == str(output / "m.safetensors")
    assert error["tensor"].startswith("blocks.")
    assert error["found"] == "on opencl:0"
    assert "--keep-host-copy" in error["hint"]
    assert os.listdir(output) == []


def test_an_output_is_not_replaced_unasked(load, refused, model, output):
    there = output / "m.safetensors"
    there.write_bytes(b"mine")
    error = refused(1, model, "--save", there)
    assert (error["code"], error["file"]) == ("conflict", str(there))
    assert there.read_bytes() == b"mine"
    load(model, "--save", there, "--force")
    assert weights.read_safetensors(there) == weights.read_safetensors(model)


def test_what_is_loaded_is_never_replaced(refused, model, tmp_path):
    before = model.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(model)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(before)
    for source, place in [(model, model), (model, link), (link, model), (folder, folder / "model.safetensors")]:
        assert refused(1, source, "--save", place, "--force")["code"] == "conflict"
    assert model.read_bytes() == (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "options, says",
    [
        (["--device", "tpu:0"], "there is no device 'tpu:0'"),
        (["--device", ""], "no device"),
        (["--type", "f17"], "--type"),
        (["--host-reads", "fast"], "--host-reads: expected auto, mapped, cached or direct, found 'fast'"),
        (["--host-threshold", "-1"], "--host-threshold: expected a number"),
        (["--alignment", "48"], "--alignment: expected a power of two"),
        (["--repeat", "0"], "--repeat: expected a number from 1 to 1000, found '0'"),
        (["--threads", "-1"], "--threads: expected a number from 0 to 1024, found '-1'"),
        (["--memory", "0"], "--memory"),
        (["--discard", "--verify"], "--verify needs the tensors that --discard drops"),
        (["--discard", "--save", "x.gguf"], "--save needs the tensors that --discard drops"),
        (["--discard", "--keep-host-copy"], "--keep-host-copy needs"),
        (["--discard", "--no-stream"], "--no-stream needs"),
        (["--save", "x.bin"], "--to"),
        (["--to", "gguf"], "--save"),
        (["--force"], "--save"),
        (["--select", "nothing"], "nothing"),
        (["--cold", "--frozen"], "--frozen"),
    ],
)
def test_wrong_usage(refused, model, options, says):
    assert says in refused(2, model, *options)["message"]


def test_without_a_source(headrace):
    result = headrace("load")
    assert result.returncode == 2
    assert "no source was given" in result.stderr and "headrace load --help" in result.stderr


def test_devices_that_are_not_there(refused, model):
    error = refused(1, model, "--device", "opencl:0", env=os.environ | NO_OPENCL)
    assert "can't load /absent/libOpenCL.so.1" in error["message"]
    error = refused(1, model, "--device", "cuda", env=os.environ | NO_CUDA)
    assert "can't load /absent/libcuda.so.1" in error["message"]


def test_more_than_a_device_holds(load, refused, tmp_path):
    library = os.environ.get("HEADRACE_FAKE_CUDA", "")
    settings = {"HEADRACE_CUDA_LIBRARY": os.path.abspath(library), "HEADRACE_FAKE_CUDA_MEMORY": "8000000"}
    env = os.environ | NO_OPENCL | settings
    tensors = {f"w{i}": ("F32", (500, 500)) for i in range(20)}  # of 1 MB each
    path = weights.write_sparse_safetensors(tmp_path / "m.safetensors", tensors)
    error = refused(1, path, "--device", "cuda:0", env=env)
    assert (error["code"], error["file"], error["expected"]) == ("no_space", "cuda:0", "20.0 MB")
    # But it holds them one after the other.
    assert load(path, "--device", "cuda:0", "--discard", "--threads", "1", env=env)["device_bytes"] == 20_000_000
    path = weights.write_sparse_safetensors(tmp_path / "m.safetensors", {"w": ("F32", (5000, 500))})
    error = refused(1, path, "--device", "cuda:0", "--discard", env=env)
    assert (error["code"], error["file"], error["tensor"]) == ("unsupported", "cuda:0", "w")


def test_a_file_that_ends_too_soon(refused, model):
    os.truncate(model, model.stat().st_size - 100)
    error = refused(1, model, "--device", "host")
    assert error["file"] == str(model)
    assert error["code"] == "format"


def test_a_budget_that_is_too_small(refused, model):
    assert refused(1, model, "--memory", "4k")["code"] == "budget"


@pytest.fixture
def changing():
    """A server that gives one file until it is asked for its beginning again, and then another; its URL."""

    def serve(*contents, ranges=False):
        class Handler(http.server.BaseHTTPRequestHandler):
            begun = 0

            def do_GET(self):
                first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
                Handler.begun += first == "0" or not ranges
                content = contents[min(Handler.begun, len(contents)) - 1]
                part = content[int(first) : int(last) + 1 if last else None] if ranges else content
                self.send_response(206 if ranges else 200)
                if ranges:
                    self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(part)))
                self.end_headers()
                self.wfile.write(part)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://me:secret@127.0.0.1:{server.server_port}/model.safetensors"

    servers = []
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def without_proxies():
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def need_urls(headrace):
    if "HEADRACE_CURL" in headrace("inspect", "https://").stderr:
        pytest.skip("this build reads no URLs")


def test_a_server_without_ranges(load, headrace, changing, model):
    need_urls(headrace)
    url = changing(model.read_bytes())
    document = load(url, "--verify", env=without_proxies())
    assert document["verified"] == 5
    assert document["source"] == url.replace("me:secret@", "")
    assert load(url, "--repeat", "3", "--discard", env=without_proxies())["source_bytes"] == bytes_of(model)


@pytest.mark.parametrize("ranges", [False, True])
def test_verification_finds_one_wrong_byte(headrace, device, changing, model, ranges):
    """The source changes after it was loaded, which is the same as memory that isn't what it gave."""
    name, env = device
    need_urls(headrace)
    good = model.read_bytes()
    bad = bytearray(good)
    at = len(good) - bytes_of(model) + 4 * (8 * 256 + 1000) + 2  # of blocks.1.weight
    bad[at] ^= 0x10
    env = {key: value for key, value in env.items() if not key.lower().endswith("_proxy")}
    result = headrace("load", changing(good, bytes(bad), ranges=ranges), "-d", name, "--verify", "--json", env=env)
    assert result.returncode == 1, result.stderr
    error = json.loads(result.stdout)["error"]
    assert error["tensor"] == "blocks.1.weight"
    assert error["message"].startswith("http://127.0.0.1:")
    assert error["expected"] == f"0x{bad[at]:02x} at byte 4002 of the tensor"
    assert error["found"] == f"0x{good[at]:02x}"


def test_only_local_files_are_cold(refused, headrace, changing, model):
    need_urls(headrace)
    assert "--cold" in refused(2, changing(model.read_bytes()), "--cold", env=without_proxies())["message"]


@pytest.fixture
def slow(tmp_path):
    """A checkpoint that comes at 2 MB a second for five seconds through a pipe: a command."""
    tensors = {f"w{i}": ("F32", (500, 500)) for i in range(10)}
    path = weights.write_sparse_safetensors(tmp_path / "slow.safetensors", tensors)
    script = "import sys, time\nfor _ in range(50):\n sys.stdout.buffer.write(sys.stdin.buffer.read(204800)); "
    script += "sys.stdout.buffer.flush(); time.sleep(0.1)\n"
    return f"python3 -c '{script}' < '{path}'"


def test_progress(binary, slow):
    command = f"{slow} | '{binary}' load -"
    result = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert lines and all(line.startswith("headrace: loading ") and " of 10.0 MB" in line for line in lines), lines
    quiet = subprocess.run(["/bin/sh", "-c", command + " -q"], capture_output=True, text=True, timeout=60)
    assert quiet.returncode == 0
    assert quiet.stderr == "" and quiet.stdout.startswith("loaded ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("more", [[], ["--discard"], ["--save", "m.safetensors"]])
def test_interrupted(binary, output, number, more):
    """While it waits for a pipe that nothing comes through any more."""
    header, _ = weights.safetensors_header({"w": ("F32", (500, 500))})
    command = [binary, "load", "-", *more]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=output, **pipes) as process:
        process.stdin.write(header + bytes(1000))
        process.stdin.flush()
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == 130
        assert process.stdout.read() == b""
        assert process.stderr.read().decode().splitlines()[-1] == "headrace: interrupted"
    assert os.listdir(output) == []


def test_help(headrace):
    text = headrace("load", "--help").stdout
    for option in ["--device", "--host-threshold", "--keep-host-copy", "--no-stream", "--host-reads", "--alignment"]:
        assert option in text
    assert "headrace load" in headrace("devices", "--help").stdout
