"""Files to read and a server that notes what it was asked for."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np

# Bytes of 24 elements: every type packs them into whole bytes.
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "F8_E4M3": 8,
        "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64,
        "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}  # fmt: skip


def write_safetensors(path, tensors):
    """`tensors`: {name: (dtype, shape, bytes)}."""
    at, header, parts = 0, {}, []
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))
    return path


def random_bytes(dtype, elements, seed=1):
    data = np.random.default_rng(seed).integers(0, 256, elements * BITS[dtype] // 8, np.uint8)
    return (data & 1 if dtype == "BOOL" else data).tobytes()


def as_bytes(array):
    """A numpy array's or a torch tensor's bytes, whatever its type."""
    if hasattr(array, "data_ptr"):
        import torch

        return array.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return np.ascontiguousarray(array).tobytes()


class RangeServer:
    """Serves one file by ranges, `delay` seconds before each 64 KiB; `ranges` are those that it was asked for."""

    def __init__(self, path, delay=0.0):
        self.ranges = []
        self.delay = delay
        outer, data = self, path.read_bytes()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(200, 0, len(data), False)

            def do_GET(self):
                words = self.headers.get("Range")
                if not words:
                    return self.answer(200, 0, len(data), True)
                first, last = words.removeprefix("bytes=").split("-")
                end = min(int(last) + 1 if last else len(data), len(data))
                outer.ranges.append((int(first), end))
                self.answer(206, int(first), end, True)

            def answer(self, status, first, end, body):
                self.send_response(status)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("ETag", '"one"')
                if status == 206:
                    self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(data)}")
                self.send_header("Content-Length", str(end - first))
                self.end_headers()
                with contextlib.suppress(OSError):
                    for at in range(first, end, 64 << 10) if body else ():
                        if outer.delay:
                            time.sleep(outer.delay)
                        self.wfile.write(data[at:min(at + (64 << 10), end)])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/model.safetensors"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def run_python(text, *arguments, without=()):
    """Runs a program in a process of its own, where the modules `without` can't be imported."""
    block = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(without)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""
    done = subprocess.run([sys.executable, "-c", (block if without else "") + text, *map(str, arguments)],
                          capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, done.stderr
    return done.stdout
