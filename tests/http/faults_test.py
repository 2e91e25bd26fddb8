"""Servers on a bad day: what can be mended is, what can't is an error that says so, and no output is left."""

import signal
import socket
import subprocess
import time

import pytest

from bad_server import Exchange


def url_of(server):
    return f"{server.url}/model.safetensors"


def serve_cut(exchange, most, end):
    """No more than `most` bytes of the right answer; then `end` if that wasn't all."""
    exchange.range_head()
    exchange.send(exchange.part()[:most])
    if len(exchange.part()) > most:
        end(exchange)


@pytest.mark.parametrize("end", [Exchange.reset, Exchange.close])
def test_broken_connections_are_resumed(server, content, fetched, end):
    server.behave = lambda exchange: serve_cut(exchange, 300_000, end)
    fetched(url_of(server), content, "--connections", 4)
    broken = [each for each in server.requests if each.last - each.first >= 300_000]
    assert broken
    begins = {each.first for each in server.requests}
    if end is Exchange.close:  # all bytes that were sent came: not one is asked for again
        assert all(each.first + 300_000 in begins for each in broken)
        assert server.sent <= 1.02 * len(server.content)


def test_no_progress_is_an_error(server, refused):
    def behave(exchange):
        serve_cut(exchange, 65536 if exchange.number == 0 else 100, Exchange.close)

    server.behave = behave
    says = refused(url_of(server), "--connections", 1, "--threads", 1)
    assert url_of(server) in says and "after 5 attempts" in says and "at byte 6" in says
    assert len(server.requests) == 1 + 5


def test_a_pause_as_long_as_the_server_asks_for(server, content, fetched):
    def behave(exchange):
        return exchange.refuse(503, Retry_After=2) if exchange.number in (0, 2) else exchange.serve()

    server.behave = behave
    start = time.monotonic()
    fetched(url_of(server), content)
    assert 4 <= time.monotonic() - start < 40


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_that_stays_busy(server, refused, status):
    server.behave = lambda exchange: exchange.refuse(status, Retry_After=0)
    says = refused(url_of(server))
    assert f"the server answers {status}" in says and "after 5 attempts" in says
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451, 204])
def test_a_clear_no(server, refused, status):
    server.behave = lambda exchange: exchange.refuse(status)
    assert f"the server answers {status}" in refused(url_of(server))
    assert len(server.requests) == 1


def test_no_server(server, refused):
    server.listener.shutdown(socket.SHUT_RDWR)
    assert "the server doesn't answer after 5 attempts" in refused(url_of(server))


def test_an_empty_file(server, refused):
    server.behave = lambda exchange: exchange.refuse(416, Content_Range="bytes */0")
    assert "the file is empty" in refused(url_of(server))


@pytest.mark.parametrize("length", ["given", "unknown", "chunked"])
def test_a_server_without_ranges(server, content, fetched, length):
    def behave(exchange):
        if length == "given":
            return exchange.serve_whole()
        if length == "unknown":
            exchange.serve_whole(Content_Length=None, Connection="close")
            exchange.close()
        exchange.head(200, Transfer_Encoding="chunked")
        for at in range(0, len(server.content), 70_000):
            chunk = server.content[at : at + 70_000]
            exchange.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        exchange.send(b"0\r\n\r\n")

    server.behave = behave
    fetched(url_of(server), content)
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", [Exchange.reset, Exchange.close])
def test_without_ranges_there_is_no_going_on(server, refused, end):
    def behave(exchange):
        exchange.head(200, Content_Length=len(server.content))
        exchange.send(server.content[:3_000_000])
        server.wait(0.5)  # a reset overtakes what is still on its way
        end(exchange)

    server.behave = behave
    says = refused(url_of(server))
    assert "no ranges" in says and "the connection is lost" in says and "at byte " in says
    assert len(server.requests) == 1


def test_without_ranges_and_shorter_than_the_header_says(server, refused):
    def behave(exchange):
        exchange.head(200, Content_Length=3_000_000)
        exchange.send(server.content[:3_000_000])

    server.behave = behave
    assert "model.safetensors" in refused(url_of(server))


def test_without_ranges_and_without_end(server, refused):
    def behave(exchange):
        exchange.head(200)
        exchange.send(server.content)
        while True:
            exchange.send(bytes(100_000))

    server.behave = behave
    refused(url_of(server), timeout=60)
    assert server.sent < 100_000_000


def later(behave):
    """The first answer is right, the others are what `behave` makes of them."""
    return lambda exchange: exchange.serve() if exchange.number == 0 else behave(exchange)


LIES = {
    "a range from elsewhere": {"Content_Range": "bytes 0-99999/{size}"},
    "a range that begins later": {"Content_Range": "bytes {first1}-{last}/{size}"},
    "a range that ends later": {"Content_Range": "bytes {first}-{last1}/{size}"},
    "a range that ends before it begins": {"Content_Range": "bytes {last}-{first}/{size}"},
    "a range past the end": {"Content_Range": "bytes {first}-{size}/{size}"},
    "no range": {"Content_Range": None},
    "words": {"Content_Range": "bytes all of them"},
    "other units": {"Content_Range": "lines {first}-{last}/{size}"},
    "numbers too large": {"Content_Range": "bytes {first}-99999999999999999999999/{size}"},
    "two ranges": {"Content_Range": "bytes {first}-{last}/{size}\r\nContent-Range: bytes 0-9/{size}"},
    "a length that isn't the range's": {"Content_Length": 17},
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("when", ["at once", "later"])
def test_lies_about_the_range(server, refused, lie, when):
    def behave(exchange):
        first, last = exchange.first, min(exchange.last, len(server.content) - 1)
        numbers = {"first": first, "last": last, "first1": first + 1, "last1": last + 1, "size": len(server.content)}
        told = {name: value and str(value).format(**numbers) for name, value in LIES[lie].items()}
        exchange.serve(**told)

    server.behave = behave if when == "at once" else later(behave)
    says = refused(url_of(server), "--connections", 1, "--threads", 1)
    assert "another range" in says or "isn't that of its range" in says
    # None is tried again; a read that waited for the only connection may have got it before it heard.
    assert len(server.requests) == 1 if when == "at once" else 2 <= len(server.requests) <= 3


def test_a_size_that_nobody_knows(server, refused):
    server.behave = lambda exchange: exchange.serve(Content_Range=f"bytes {exchange.first}-{exchange.last}/*")
    assert "how large the file is" in refused(url_of(server))


def test_more_than_was_asked_for(server, refused):
    def behave(exchange):
        exchange.range_head(Content_Length=None, Transfer_Encoding="chunked")
        while True:
            exchange.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    server.behave = later(behave)
    assert "sends more than it says" in refused(url_of(server))
    server.behave = behave
    assert "sends more than it says" in refused(url_of(server))


def test_less_than_was_asked_for(server, content, fetched):
    """That is allowed: the rest is asked for."""

    def behave(exchange):
        exchange.last = min(exchange.last, exchange.first + 200_000)
        exchange.serve()

    server.behave = behave
    fetched(url_of(server), content)


CHANGES = {
    "another ETag": {"ETag": '"two"'},
    "a weak ETag": {"ETag": 'W/"one"'},
    "no ETag": {"ETag": None},
    "another size": {"Content_Range": "bytes {first}-{last}/999999999"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes(server, refused, change):
    def behave(exchange):
        last = min(exchange.last, len(server.content) - 1)
        told = {name: value and value.format(first=exchange.first, last=last) for name, value in CHANGES[change].items()}
        exchange.serve(**told)

    server.behave = later(behave)
    says = refused(url_of(server))
    assert "has changed while it was read" in says and "start again" in says


def test_a_file_that_changes_without_an_etag(server, refused, content, fetched):
    dated = {"ETag": None, "Last_Modified": "Mon, 01 Jun 2026 10:00:00 GMT"}
    server.behave = lambda exchange: exchange.serve(**dated)
    fetched(url_of(server), content)
    server.requests.clear()
    server.behave = lambda exchange: exchange.serve(
        ETag=None, Last_Modified=f"Mon, 01 Jun 2026 10:00:0{min(exchange.number, 1)} GMT"
    )
    assert "Last-Modified" in refused(url_of(server))


def test_if_range(server, content, fetched, refused):
    fetched(url_of(server), content)
    assert [each.headers.get("if-range") for each in server.requests[1:]] == ['"one"'] * (len(server.requests) - 1)
    server.requests.clear()
    # A server that heeds it and has another file sends all of that.
    server.behave = later(lambda exchange: exchange.serve_whole(ETag='"two"'))
    assert "has changed" in refused(url_of(server))
    server.requests.clear()
    server.behave = lambda exchange: exchange.serve(ETag='W/"one"')
    fetched(url_of(server), content)
    assert not any("if-range" in each.headers for each in server.requests)


def test_a_file_that_shrinks(server, refused):
    server.behave = later(lambda exchange: exchange.refuse(416, Content_Range="bytes */100"))
    assert "has changed" in refused(url_of(server))


def test_ranges_that_end(server, refused):
    server.behave = later(lambda exchange: exchange.serve_whole(ETag='"one"'))
    assert "no longer answers with ranges" in refused(url_of(server))


def test_compressed_in_spite_of_us(server, refused):
    server.behave = lambda exchange: exchange.serve(Content_Encoding="gzip")
    assert "compresses" in refused(url_of(server))
    server.behave = lambda exchange: exchange.serve_whole(Content_Encoding="gzip")
    assert "compresses" in refused(url_of(server))
    assert all(each.headers["accept-encoding"] == "identity" for each in server.requests)


def test_a_header_that_breaks_off(server, content, fetched, refused):
    def behave(exchange):
        if exchange.number % 2 == 0:
            exchange.send("HTTP/1.1 206 Partial Content\r\nContent-Length: 65536\r\nX-Thing")
            exchange.close()
        exchange.serve()

    server.behave = behave
    fetched(url_of(server), content)
    server.behave = lambda exchange: (exchange.send("HTTP/1.1 206 Partial Content\r\nX: " + "x" * 1000), exchange.close())
    assert "after 5 attempts" in refused(url_of(server))


def test_a_header_with_bare_line_feeds(server, content, fetched):
    def behave(exchange):
        part = exchange.part()
        end = exchange.first + len(part) - 1
        lines = ["HTTP/1.1 206 -", f"Content-Length: {len(part)}"]
        lines += [f"Content-Range: bytes {exchange.first}-{end}/{len(server.content)}"]
        exchange.send("\n".join(lines) + "\n\n")
        exchange.send(part)

    server.behave = behave
    fetched(url_of(server), content)


def test_a_header_without_end(server, refused):
    def one_line(exchange):
        exchange.send("HTTP/1.1 206 -\r\nX: ")
        while True:
            exchange.send("x" * 100_000)

    def many_lines(exchange):
        exchange.send("HTTP/1.1 206 -\r\n")
        while True:
            exchange.send("X: x\r\n" * 10_000)

    server.behave = many_lines
    assert "endless header" in refused(url_of(server))
    server.behave = one_line
    refused(url_of(server))
    assert server.sent < 100_000_000


def test_no_http_at_all(server, refused):
    server.behave = lambda exchange: (exchange.send("220 mail.example ESMTP\r\n" * 100), exchange.close())
    says = refused(url_of(server))
    assert url_of(server) in says


def test_headers_that_would_steer_a_terminal(server, refused):
    server.behave = lambda exchange: exchange.serve(Content_Range="bytes \x1b[2J\x9b31m/7")
    says = refused(url_of(server))
    assert "\x1b" not in says and "\x9b" not in says and "\\x1b" in says


@pytest.mark.parametrize("connections", [1, 2, 5])
def test_never_more_connections(server, content, fetched, connections):
    def behave(exchange):
        time.sleep(0.01)
        exchange.serve()

    server.behave = behave
    fetched(url_of(server), content, "--connections", connections, "--memory", "4MiB", "--threads", 8)
    assert server.most_open == connections if connections < 3 else server.most_open <= connections


def test_interrupted(server, binary, environment, tmp_path):
    def stall(exchange):
        if exchange.number == 0:
            return exchange.serve()
        exchange.range_head()
        exchange.server.wait(60)

    def busy(exchange):
        return exchange.serve() if exchange.number == 0 else exchange.refuse(503, Retry_After=60)

    def stall_whole(exchange):
        exchange.head(200, Content_Length=len(server.content))
        exchange.send(server.content[:3_000_000])
        exchange.server.wait(60)

    for behave in [stall, busy, stall_whole]:
        server.behave = behave
        server.requests.clear()
        command = [binary, "convert", url_of(server), "-o", tmp_path / "out.safetensors"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        while len(server.requests) < (1 if behave is stall_whole else 2):
            time.sleep(0.05)
        time.sleep(0.5)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert time.monotonic() - start < 5
        assert process.returncode != 0
        assert not (tmp_path / "out.safetensors").exists()
