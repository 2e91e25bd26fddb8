"""A server on loopback that does as each test says: reset, lie, stall, redirect, change the file."""

import contextlib
import re
import socket
import struct
import threading

_BEGIN_AND_END = re.compile(r"bytes=(\d+)-(\d+)$")


class Hangup(Exception):
    """Ends a connection."""


class Exchange:
    """One request, and the ways to answer it."""

    def __init__(self, server, connection, number, path, headers):
        self.server, self.connection = server, connection
        self.number = number  # from 0 on
        self.path, self.headers = path, headers  # names in lower case
        found = _BEGIN_AND_END.match(headers.get("range", ""))
        self.first, self.last = (int(found[1]), int(found[2])) if found else (None, None)

    @property
    def content(self):
        """Of the file that is asked for."""
        return self.server.files.get(self.path, self.server.content)

    def part(self):
        return self.content[self.first : self.last + 1]

    def head(self, status, **fields):
        """Keywords are header fields; None leaves one out."""
        lines = [f"HTTP/1.1 {status} -"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value is not None]
        self.send("\r\n".join(lines) + "\r\n\r\n")

    def send(self, data):
        data = data.encode("latin-1") if isinstance(data, str) else data
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Hangup from error
        with self.server.lock:
            self.server.sent += len(data)

    def range_head(self, **fields):
        """The right header for the range that is asked for, but for what `fields` say."""
        size, part = len(self.content), self.part()
        end = self.first + len(part) - 1
        right = {
            "Content_Length": len(part),
            "Content_Range": f"bytes {self.first}-{end}/{size}",
            "ETag": '"one"',
        }
        self.head(206, **(right | fields))

    def serve(self, **fields):
        """A right answer."""
        self.range_head(**fields)
        self.send(self.part())

    def serve_whole(self, **fields):
        """Without ranges."""
        self.head(200, **({"Content_Length": len(self.content)} | fields))
        self.send(self.content)

    def refuse(self, status, **fields):
        self.head(status, Content_Length=0, **fields)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup

    def close(self):
        raise Hangup


class BadServer:
    """A context. `behave`, called with each Exchange, may be replaced by the test."""

    def __init__(self, content, files=None):
        self.content = content
        self.files = files or {}  # other content by path
        self.behave = Exchange.serve
        self.lock = threading.Lock()
        self.requests = []  # Exchanges
        self.sent = 0  # bytes, headers included
        self.open = self.most_open = 0  # connections at once
        self.closing = threading.Event()
        self.sockets = set()

    def __enter__(self):
        self.listener = socket.create_server(("", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.other_url = f"http://localhost:{self.port}"  # the same, but another host to everyone who asks
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        with contextlib.suppress(OSError):  # a test may have done so
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for each in self.sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self.thread.join()

    def wait(self, seconds):
        """For handlers that stall: until the time is over or the test ends."""
        self.closing.wait(seconds)

    def _accept(self):
        threads = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                break
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a header doesn't wait for its body
            with self.lock:
                self.sockets.add(connection)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
            threads.append(threading.Thread(target=self._serve, args=[connection]))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, connection):
        try:
            with connection.makefile("rb") as lines:
                while (exchange := self._read(connection, lines)) is not None:
                    self.behave(exchange)
        except (Hangup, OSError):
            pass
        finally:
            with self.lock:
                self.sockets.discard(connection)
                self.open -= 1
            connection.close()

    def _read(self, connection, lines):
        request = lines.readline().split()
        if len(request) != 3:
            return None
        headers = {}
        while (line := lines.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        with self.lock:
            exchange = Exchange(self, connection, len(self.requests), request[1].decode("latin-1"), headers)
            self.requests.append(exchange)
        return exchange
