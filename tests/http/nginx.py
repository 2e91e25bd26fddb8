"""nginx on loopback, started for the tests."""

import collections
import dataclasses
import socket
import subprocess
import time

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  default_type application/octet-stream;
  client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/temp;
  uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
  log_format counted '$connection $status $bytes_sent $uri';
  access_log {folder}/access.log counted;
  sendfile on;
  server {{
    listen 127.0.0.1:{plain};
    root {folder}/files;
    location /no-ranges/ {{ alias {folder}/files/; max_ranges 0; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    location /slow-no-ranges/ {{ alias {folder}/files/; max_ranges 0; limit_rate 4m; }}
    location /crawling-no-ranges/ {{ alias {folder}/files/; max_ranges 0; limit_rate 120k; }}
    location /slow/ {{ alias {folder}/files/; limit_rate 2m; }}
    location /secret/ {{ alias {folder}/files/; auth_basic "members"; auth_basic_user_file {folder}/users; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    root {folder}/files;
    location /downgrade/ {{ return 302 http://127.0.0.1:{plain}/model.safetensors; }}
  }}
}}
"""


@dataclasses.dataclass
class Served:
    connections: int  # that were made
    requests: int
    bytes: int  # headers included
    statuses: collections.Counter


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Nginx:
    """A context; `files` is the folder that it serves."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.files = binary, folder, folder / "files"
        self.files.mkdir()
        (folder / "temp").mkdir()
        (folder / "users").write_text("me:{PLAIN}mellon\n")
        self.certificate = folder / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", "/CN=headrace-test", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", folder / "key.pem", "-out", self.certificate]
        subprocess.run(command, check=True, capture_output=True)

    def __enter__(self):
        plain, tls = free_ports(2)
        configuration = self.folder / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=self.folder, plain=plain, tls=tls))
        command = [self.binary, "-p", self.folder, "-c", configuration, "-e", self.folder / "error.log"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url, self.secure_url = f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}"
        self.netloc = f"127.0.0.1:{plain}"
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", tls)) == 0:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("nginx doesn't start: " + (self.folder / "error.log").read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def served(self):
        """What has been served since the last call."""
        time.sleep(0.2)  # the log is written when a request has ended
        log = self.folder / "access.log"
        lines = [line.split(maxsplit=3) for line in log.read_text().splitlines()]
        log.write_bytes(b"")  # nginx appends
        return Served(
            connections=len({line[0] for line in lines}),
            requests=len(lines),
            bytes=sum(int(line[2]) for line in lines),
            statuses=collections.Counter(int(line[1]) for line in lines),
        )
