"""Redirects, and who is told what: headers, passwords and tokens go to the host they are for, and to no other."""

import base64
import pathlib

import pytest

from bad_server import BadServer

SECRETS = ["--header", "X-Secret: hush", "--header", "Authorization: Bearer mine"]


def url_of(server, base=None):
    return f"{base or server.url}/model.safetensors"


def redirect(to, status=302):
    return lambda exchange: exchange.refuse(status, Location=to)


def by_path(routes):
    """Serves each path as the table says, all others well."""
    return lambda exchange: routes.get(exchange.path, lambda each: each.serve())(exchange)


def told(exchange):
    """The secrets that a request has."""
    return {name: exchange.headers[name] for name in ("x-secret", "authorization", "cookie") if name in exchange.headers}


def test_headers_are_sent(server, content, fetched):
    fetched(url_of(server), content, *SECRETS, "--header", "Empty:", "--header", "User-Agent: me")
    for each in server.requests:
        assert told(each) == {"x-secret": "hush", "authorization": "Bearer mine"}
        assert each.headers["empty"] == "" and each.headers["user-agent"] == "me"
    fetched(url_of(server), content)
    assert server.requests[-1].headers["user-agent"].startswith("headrace/")
    assert told(server.requests[-1]) == {}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_host_is_told_nothing(server, content, fetched, status):
    server.behave = by_path({"/model.safetensors": redirect(f"{server.other_url}/there", status)})
    url = url_of(server).replace("//", "//me:mellon@")
    fetched(url, content, "--header", "X-Secret: hush", "--header", "Cookie: a=b")
    basic = "Basic " + base64.b64encode(b"me:mellon").decode()
    first, *others = server.requests
    assert told(first) == {"x-secret": "hush", "authorization": basic, "cookie": "a=b"}
    assert len(others) > 1  # it is remembered where the file was
    for each in others:
        assert each.path == "/there" and each.headers["host"].startswith("localhost:")
        assert told(each) == {}


def test_another_port_is_another_host(server, content, fetched):
    with BadServer(server.content) as other:
        server.behave = redirect(f"{other.url}/there")
        fetched(url_of(server), content, *SECRETS)
        assert told(server.requests[0]) and other.requests
        assert all(told(each) == {} for each in other.requests)


def test_the_same_host_is_told(server, content, fetched):
    server.behave = by_path({"/model.safetensors": redirect("sub/../elsewhere?x=1")})
    fetched(url_of(server), content, *SECRETS)
    assert [each.path for each in server.requests[:2]] == ["/model.safetensors", "/elsewhere?x=1"]
    assert all(told(each) for each in server.requests)


def test_no_way_back_to_trust(server, content, fetched):
    """Whoever is redirected to doesn't get to choose what the first host is asked for in our name."""
    routes = {
        "/model.safetensors": redirect(f"{server.other_url}/there"),
        "/there": redirect(f"{server.url}/back"),
    }
    server.behave = by_path(routes)
    fetched(url_of(server), content, *SECRETS)
    assert all(told(each) == {} for each in server.requests[1:])


def test_credentials_in_a_redirect_are_not_used(server, content, fetched):
    there = server.other_url.replace("//", "//evil:word@") + "/there"
    server.behave = by_path({"/model.safetensors": redirect(there)})
    fetched(url_of(server), content)
    assert all(told(each) == {} for each in server.requests)


def test_redirects_end(server, refused):
    server.behave = lambda exchange: exchange.refuse(302, Location=f"/{exchange.number}?key=hush")
    says = refused(url_of(server))
    assert "more than 10 redirects" in says and "hush" not in says
    assert len(server.requests) == 11


@pytest.mark.parametrize("to", ["ftp://host/x", "file:///etc/passwd", "gopher://host/x", "http://", None])
def test_redirects_to_nowhere(server, refused, to):
    server.behave = redirect(to)
    says = refused(url_of(server))
    assert "redirects to where" in says or "where to go" in says
    assert len(server.requests) == 1


def test_signed_addresses_expire(server, content, fetched, refused):
    """What a redirect led to refuses after a while: the way is looked up again."""
    signed, served = [], []

    def behave(exchange):
        if exchange.path == "/model.safetensors":
            signed.append(f"/signed?key={len(signed)}")
            return exchange.refuse(302, Location=server.other_url + signed[-1])
        served.append(exchange)
        if exchange.path != signed[-1] or len(served) % 3 == 0 and served[-2].path == exchange.path:
            return exchange.refuse(403)
        return exchange.serve()

    server.behave = behave
    fetched(url_of(server), content, "--connections", 1, "--memory", "4MiB")
    assert len(signed) > 1

    server.requests.clear()
    server.behave = by_path({"/model.safetensors": redirect("/signed?key=hush"), "/signed?key=hush": lambda x: x.refuse(403)})
    says = refused(url_of(server))
    assert "403" in says and "hush" not in says
    assert len(server.requests) == 2  # at open, nothing has expired


def hub(server, **more):
    return {"HF_ENDPOINT": server.url + "/", **more}


@pytest.mark.parametrize(
    "location, path",
    [
        ("hf://owner/repo/model.safetensors", "/owner/repo/resolve/main/model.safetensors"),
        ("hf://owner/repo/sub/model.safetensors@v1.0", "/owner/repo/resolve/v1.0/sub/model.safetensors"),
        ("hf://owner/repo/model.safetensors@refs/pr/7", "/owner/repo/resolve/refs%2Fpr%2F7/model.safetensors"),
        ("hf://owner/repo@v2/a b#c?.safetensors", "/owner/repo/resolve/v2/a%20b%23c%3F.safetensors"),
    ],
)
def test_hub_locations(server, content, fetched, location, path):
    fetched(location, content, variables=hub(server))
    assert {each.path for each in server.requests} == {path}
    assert told(server.requests[0]) == {}


def test_the_token_goes_to_the_hub_alone(server, content, fetched):
    server.behave = by_path({"/owner/repo/resolve/main/model.safetensors": redirect(f"{server.other_url}/cdn")})
    fetched("hf://owner/repo/model.safetensors", content, variables=hub(server, HF_TOKEN="hf_secret"))
    first, *others = server.requests
    assert told(first) == {"authorization": "Bearer hf_secret"}
    assert others and all(told(each) == {} for each in others)

    server.requests.clear()  # by its URL, it is still the hub
    fetched(f"{server.url}/owner/file", content, variables=hub(server, HF_TOKEN="hf_secret"))
    assert all(told(each) == {"authorization": "Bearer hf_secret"} for each in server.requests)

    server.requests.clear()  # and others aren't, nor is the same host where the hub is elsewhere
    fetched(url_of(server, server.other_url), content, variables=hub(server, HF_TOKEN="hf_secret"))
    fetched(url_of(server), content, variables={"HF_TOKEN": "hf_secret"})
    assert all(told(each) == {} for each in server.requests)


def test_a_header_of_ones_own_takes_the_place_of_the_token(server, content, fetched):
    variables = hub(server, HF_TOKEN="hf_secret")
    fetched("hf://owner/repo/model.safetensors", content, *SECRETS, variables=variables)
    assert told(server.requests[0])["authorization"] == "Bearer mine"


def test_a_token_in_a_file(server, content, fetched, environment, tmp_path):
    kept = pathlib.Path(environment["HOME"]) / ".cache" / "huggingface"
    kept.mkdir(parents=True)
    (kept / "token").write_text("hf_kept\n")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_other")

    def asked(**variables):
        server.requests.clear()
        fetched("hf://owner/repo/model.safetensors", content, variables=hub(server, **variables))
        return told(server.requests[0]).get("authorization")

    assert asked() == "Bearer hf_kept"
    assert asked(HF_HOME=str(tmp_path / "hf")) == "Bearer hf_other"
    assert asked(HF_TOKEN="hf_first") == "Bearer hf_first"
    assert asked(HF_HUB_DISABLE_IMPLICIT_TOKEN="1") is None
    assert asked(HF_HUB_DISABLE_IMPLICIT_TOKEN="1", HF_TOKEN="hf_first") == "Bearer hf_first"


def test_hints_about_the_token(server, refused):
    server.behave = lambda exchange: exchange.refuse(401)
    location = "hf://owner/repo/model.safetensors"
    assert "set HF_TOKEN" in refused(location, variables=hub(server))
    says = refused(location, variables=hub(server, HF_TOKEN="hf_secret"))
    assert "terms" in says and "hf_secret" not in says
    assert "HF_TOKEN" not in refused(url_of(server))
    assert "doesn't hold a token" in refused(
        location, code=2, variables=hub(server, HF_TOKEN="hf_\x1b[2J a")
    )


@pytest.mark.parametrize(
    "header",
    ["no colon", ": no name", "Bad Name: x", "X: a\r\nInjected: b", "X: a\nb", "Range: bytes=0-9", "accept-encoding: gzip",
     "X\u00e9: a", "Connection: close", "X: \x1b[2J"],
)  # fmt: skip
def test_headers_that_break_the_rules(server, refused, header):
    says = refused(url_of(server), "--header", header, code=2)
    assert "header" in says
    assert server.requests == []


def test_addresses_that_break_the_rules(refused):
    for url in ["http://", "https://:80/x", "http://host:99999/x", "http://ho st/x", "ftp://host/x", "hf://owner/file",
                "hf://owner/repo/../file", "hf://owner//file", "hf://owner/repo/file@", "hf://owner/repo/"]:  # fmt: skip
        refused(url, code=2)
    assert "HF_ENDPOINT" in refused("hf://owner/repo/file", code=2, variables={"HF_ENDPOINT": "hub.example"})


def test_errors_keep_secrets(server, refused):
    server.behave = lambda exchange: exchange.refuse(404)
    says = refused(url_of(server).replace("//", "//me:mellon@") + "?key=hush", *SECRETS)
    assert "404" in says and url_of(server) in says
    assert not any(secret in says for secret in ("mellon", "hush", "mine"))


def test_a_proxy(server, content, fetched):
    """A proxy is asked for the whole address."""

    def behave(exchange):
        assert exchange.path == "http://models.example/model.safetensors"
        exchange.serve()

    server.behave = behave
    fetched("http://models.example/model.safetensors", content, variables={"http_proxy": server.url})
    assert server.requests
    server.requests.clear()
    server.behave = lambda exchange: exchange.serve()
    fetched(url_of(server), content, variables={"http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"})
    assert server.requests
