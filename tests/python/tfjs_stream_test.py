"""A TensorFlow.js model whose last bytes are sent only when its first tensor has been seen on the device."""

import hashlib
import http.server
import json
import pathlib
import threading

import pytest

import headrace

GOLDEN = pathlib.Path(__file__).parent.parent / "data" / "golden" / "tfjs" / "face_expression"


class Halting(http.server.BaseHTTPRequestHandler):
    """No ranges; of the weights, the second half waits for `go_on`."""

    go_on: threading.Event
    in_time: list

    def do_GET(self):
        content = (GOLDEN / self.path.lstrip("/")).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2 if not self.path.endswith(".json") else len(content)
        self.wfile.write(content[:half])
        if half < len(content):
            self.in_time.append(self.go_on.wait(30))
            self.wfile.write(content[half:])

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize("device", ["cpu", "opencl:0"])
def test_the_first_tensor_is_there_before_the_last_byte(device):
    if device not in [each.name for each in headrace.devices()] and device != "cpu":
        pytest.skip(f"there is no {device} here")
    handler = type("Handler", (Halting,), {"go_on": threading.Event(), "in_time": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    manifest = next(path for path in GOLDEN.glob("*.json") if path.name != "expected.json")
    expected = json.loads((GOLDEN / "expected.json").read_text())
    try:
        url = f"http://127.0.0.1:{server.server_port}/{manifest.name}"
        with headrace.stream(url, device, framework="dlpack", host_threshold=0, memory="16MiB") as stream:
            found = {}
            for name, tensor in stream:
                handler.go_on.set()
                assert tensor.device == ("host" if device == "cpu" else device)
                found[name] = hashlib.sha256(tensor.download().tobytes()).hexdigest()
    finally:
        server.shutdown()
        server.server_close()
    assert handler.in_time == [True]
    assert found == {name: tensor["sha256"] for name, tensor in expected.items()}
