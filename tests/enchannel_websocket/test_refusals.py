"""Refusals, wrong servers, TLS, passwords, proxies and limits: errors explain cause and remedy."""

import asyncio
import gzip
import logging
import re
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

import enchannel as ec
from enchannel._kernel.kernel import parts_of
from enchannel.testing import Collector
from enchannel_websocket import ServerRefused
from tests.rigs import DEADLINE
from tests.rigs.proxy import Proxy
from tests.rigs.servers import HOST, JupyterServer, free_port
from tests.rigs.websocket import TOKEN

pytestmark = pytest.mark.kernel
KERNEL = "0b6f2f5e-1d4c-4b62-9d2d-6f2f8f0f2a11"


def answer(status: str, *headers: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


MODEL = f'{{"id": "{KERNEL}", "name": "python3", "execution_state": "idle"}}'
ANSWERS = {
    "401": (answer("401 Unauthorized"), "does not accept the token"),
    "403": (answer("403 Forbidden"), "does not accept the token"),
    "404": (answer("404 Not Found"), "does not exist on"),
    "500": (answer("500 Oops", body='{"message": "out of kernels"}'), "out of kernels"),
    "500 in HTML": (answer("500 Oops", body="<html>"), "answered 500: Oops"),
    "a login": (answer("302 Found", "Location: /login?next=x"), "does not accept the token"),
    "a hub": (answer("302 Found", "Location: /hub/api/oauth2"), "does not accept the token"),
    "elsewhere": (
        answer("301 Moved", "Location: https://u:p@evil.example.org/x?token=y"),
        "redirects to https://evil.example.org/x, to which no token is sent",
    ),
    "HTML": (
        answer("200 OK", body="<html>hello"),
        "is not JSON.*check that it is a Jupyter server",
    ),
    "null": (answer("200 OK", body="null"), "does not exist on"),
    "a list": (answer("200 OK", body="[]"), "sent an invalid response"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "could not connect to"),
    "nothing": (b"", "could not connect to"),
}


@pytest.fixture
def proxy(server: JupyterServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("kind", ANSWERS)
def test_refused_request_is_explained(proxy: Proxy, kind: str) -> None:
    response, expected = ANSWERS[kind]
    url = f"http://{HOST}:{proxy.port}/api/kernels/{KERNEL}"
    with proxy.answering(lambda request: response), pytest.raises(ec.ConnectionFailed) as failed:
        ec.connect(url, token=TOKEN, timeout=DEADLINE)
    assert re.search(expected, str(failed.value))
    assert TOKEN not in str(failed.value)
    assert "token=y" not in str(failed.value)


@pytest.mark.parametrize(("status", "code"), [("404 Not Found", 404), ("503 Busy", 503)])
def test_refusal_has_http_status(proxy: Proxy, status: str, code: int) -> None:
    with proxy.answering(lambda request: answer(status)), pytest.raises(ServerRefused) as failed:
        ec.list_kernels(f"http://{HOST}:{proxy.port}", token=TOKEN, timeout=DEADLINE)
    assert failed.value.status == code


HUGE = b"[" + b" " * (17 << 20) + b"]"
BOUNDED = {
    "huge": (HUGE, "", "sent an answer of more than 16 MiB"),
    "a gzip bomb": (gzip.compress(HUGE), "gzip", "sent an answer of more than 16 MiB"),
    "brackets": (b"[" * 100_000, "", "not JSON|nested too deeply"),
    "brackets, compressed": (gzip.compress(b"[" * 100_000), "gzip", "not JSON|nested too deeply"),
    "an unknown encoding": (b"[]", "br", "in an encoding that was not requested"),
    "a wrong encoding": (b"[]", "gzip", "sent a damaged answer"),
}


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "500 Oops"])
@pytest.mark.parametrize("kind", BOUNDED)
@pytest.mark.parametrize("scheme", ["http", "socketio+http"])
def test_response_is_bounded(kind: str, status: str, scheme: str) -> None:
    body, encoding, expected = BOUNDED[kind]
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    if encoding:
        lines.append(f"Content-Encoding: {encoding}")
    head = "\r\n".join(lines).encode()
    with Proxy(free_port()) as proxy, proxy.answering(lambda request: head + b"\r\n\r\n" + body):
        with pytest.raises(ec.ConnectionFailed) as failed:
            ec.list_kernels(f"{scheme}://{HOST}:{proxy.port}", token=TOKEN, timeout=DEADLINE)
        assert "accept-encoding: identity" in proxy.requests[0].lower()
    if status == "200 OK":
        assert re.search(expected, str(failed.value))
    elif scheme == "http":
        assert re.search("does not accept the token|answered 500: Oops", str(failed.value))


CHANNELS = {
    "401": (answer("401 Unauthorized"), "does not accept the token"),
    "403": (answer("403 Forbidden"), "does not accept the token"),
    "404": (answer("404 Not Found"), "does not exist on"),
    "500": (answer("500 Oops"), "refused the WebSocket of kernel .*HTTP 500"),
    "elsewhere": (answer("302 Found", "Location: wss://evil.example.org/"), "redirects to"),
    "no WebSocket": (answer("200 OK", body="hello"), "refused the WebSocket"),
    "another key": (
        answer("101 Switching", "Upgrade: websocket", "Connection: Upgrade"),
        "failed the WebSocket handshake",
    ),
}


@pytest.mark.parametrize("kind", CHANNELS)
def test_refused_websocket_is_explained(proxy: Proxy, kind: str) -> None:
    response, expected = CHANNELS[kind]
    model = answer("200 OK", body=MODEL)
    url = f"http://{HOST}:{proxy.port}/api/kernels/{KERNEL}"
    with (
        proxy.answering(lambda request: response if "/channels" in request else model),
        pytest.raises(ec.ConnectionFailed, match=expected),
    ):
        ec.connect(url, token=TOKEN, timeout=DEADLINE)


def test_token_is_sent_in_header_only(proxy: Proxy, server: JupyterServer) -> None:
    kernel_id = server.start_kernel()
    url = f"http://{HOST}:{proxy.port}/api/kernels/{kernel_id}?token={TOKEN}"
    with ec.connect(url, timeout=DEADLINE) as kernel:
        kernel.run("6 * 7", timeout=DEADLINE)
        texts = [repr(kernel), str(kernel.errors), repr(parts_of(kernel).connection.link)]
    for request in proxy.requests:
        first, *headers = request.split("\r\n")
        assert TOKEN not in first
        assert f"Authorization: token {TOKEN}" in headers
    assert not [text for text in texts if TOKEN in text]
    server.delete_kernel(kernel_id)


def test_error_redacts_token_of_url() -> None:
    with pytest.raises(ec.ConnectionFailed) as failed:
        ec.connect(f"http://me:{TOKEN}@{HOST}:{free_port()}/api/kernels/{KERNEL}?token={TOKEN}")
    assert TOKEN not in str(failed.value)


def test_invalid_at_raises() -> None:
    with pytest.raises(ValueError, match="at must be a server URL"):
        ec.launch("python3", at="localhost")
    with pytest.raises(
        ec.ConnectionFailed, match="at must be the URL of a server, not that of a kernel"
    ):
        ec.launch("python3", at=f"http://localhost/api/kernels/{KERNEL}")


def test_unopened_kernel_repr_has_no_token() -> None:
    async def shown() -> str:
        return repr(ec.connect(f"http://me:{TOKEN}@localhost/api/kernels/{KERNEL}?token={TOKEN}"))

    text = asyncio.run(shown())
    assert TOKEN not in text
    assert KERNEL in text


def test_unreachable_server_raises() -> None:
    with pytest.raises(
        ec.ConnectionFailed, match="could not connect to.*check that the server is running"
    ):
        ec.launch("python3", at=f"http://{HOST}:{free_port()}")
    with pytest.raises(ec.ConnectionFailed, match="could not connect to"):
        ec.list_kernels("https://nowhere.invalid")


def test_token_may_end_with_newline(proxy: Proxy) -> None:
    base = f"http://{HOST}:{proxy.port}"
    assert ec.list_kernels(base, token=f"{TOKEN}\n") is not None


@pytest.mark.parametrize("bad", ["a\nb", "a\r\nX: y", "a\0b", "a\u00e4"])
def test_invalid_header_is_not_shown(caplog: pytest.LogCaptureFixture, bad: str) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://{HOST}:{free_port()}"
    invalid: list[dict[str, Any]] = [
        {"token": f"{TOKEN}{bad}"},
        {"headers": {"Cookie": f"{TOKEN}{bad}"}},
    ]
    for options in invalid:
        with pytest.raises(ec.ConnectionFailed, match="not allowed in an HTTP header") as failed:
            ec.list_kernels(url, **options)
        assert TOKEN not in f"{failed.value!r} {caplog.text}"


ODD = ["[]", "{}", "1", '"x"', "null", '[{"id": 1}]', '{"kernelspecs": ["x"]}', '[1, "x"]']


@pytest.mark.parametrize("body", ODD)
def test_unexpected_json_raises_connection_failed(proxy: Proxy, body: str) -> None:
    base = f"http://{HOST}:{proxy.port}"
    with proxy.answering(lambda request: answer("200 OK", body=body)):
        for call in (
            lambda: ec.list_kernels(base),
            lambda: ec.list_kernelspecs(base),
            lambda: ec.launch("python3", at=base),
            lambda: ec.launch("python3", at=base, notebook="a.ipynb"),
            lambda: ec.connect(f"{base}/api/sessions/{KERNEL}"),
            lambda: ec.connect(f"{base}/api/kernels/{KERNEL}"),
        ):
            try:
                call()
            except ec.ConnectionFailed:
                continue


def test_own_headers_are_sent(proxy: Proxy) -> None:
    ec.list_kernels(f"http://{HOST}:{proxy.port}", token=TOKEN, headers={"X-Of-Ours": "there"})
    assert any("X-Of-Ours: there" in request for request in proxy.requests)


def test_proxy_is_used(proxy: Proxy, server: JupyterServer) -> None:
    """A proxy is sent the whole URL."""
    with proxy.answering(lambda request: answer("200 OK", body="[]")):
        kernels = ec.list_kernels(
            "http://far.example.org", allow_http=True, proxy=f"http://{HOST}:{proxy.port}"
        )
    assert kernels == ()
    assert proxy.requests[0].startswith("GET http://far.example.org/api/kernels ")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
def test_loopback_server_is_reached_directly(
    server: JupyterServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://{HOST}:{free_port()}")
    with ec.launch("python3", at=server.url, token=TOKEN) as kernel:
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_rest_and_websocket_use_one_proxy(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{HOST}:{proxy.port}")
    model = answer("200 OK", body=MODEL)
    refusal = answer("407 Proxy Authentication Required")
    with (
        proxy.answering(lambda request: refusal if request.startswith("CONNECT") else model),
        pytest.raises(ec.ConnectionFailed, match=r"proxy http://\S+ \(HTTP_PROXY\)") as failed,
    ):
        ec.connect(f"http://far.example.org/api/kernels/{KERNEL}", allow_http=True)
    assert "secret" not in str(failed.value)
    rest, websocket = (request.partition("\r\n")[0] for request in proxy.requests)
    assert rest.startswith("GET http://far.example.org/api/kernels/")
    assert websocket.startswith("CONNECT far.example.org:80 ")


@pytest.mark.parametrize("scheme", ["http", "socketio+http", "https", "socketio+https"])
def test_failed_proxy_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://me:secret@{HOST}:{free_port()}")
    with pytest.raises(
        ec.ConnectionFailed, match=r"through the proxy http://\S+ \(ALL_PROXY\).*NO_PROXY"
    ) as failed:
        ec.list_kernels(f"{scheme}://far.example.org", allow_http=True)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("scheme", ["https", "socketio+https"])
def test_socks_proxy_is_used_or_explained(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://{HOST}:{free_port()}")
    with pytest.raises(ec.ConnectionFailed, match=r"the proxy socks5://\S+ \(HTTPS_PROXY\)"):
        ec.list_kernels(f"{scheme}://far.example.org")


def test_refusing_proxy_is_named(proxy: Proxy) -> None:
    options: dict[str, Any] = {"proxy": f"http://{HOST}:{proxy.port}", "allow_http": True}
    for status in ("407 No", "502 Bad Gateway"):
        with (
            proxy.answering(lambda request: answer(status)),  # noqa: B023
            pytest.raises(ec.ConnectionFailed, match=r"through the proxy http://\S+ \(proxy=…\)"),
        ):
            ec.list_kernels("http://far.example.org", **options)


def test_invalid_proxy_or_header_raises() -> None:
    invalid: list[dict[str, Any]] = [
        {"proxy": "gopher://x"},
        {"proxy": "http://u:p@127.0.0.1:99999"},
        {"headers": {"a": "b\r\nc: d"}},
    ]
    for options in invalid:
        with pytest.raises(ec.ConnectionFailed):
            ec.list_kernels(f"http://{HOST}:{free_port()}", **options)


# Passwords.


def test_password_logs_in() -> None:
    with JupyterServer(token=TOKEN, password="open sesame") as server:
        with ec.launch("python3", at=server.url, password="open sesame") as kernel:
            assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
            ec.wait(kernel.interrupt(), timeout=DEADLINE)
        with pytest.raises(ec.AuthenticationFailed, match="does not accept the password"):
            ec.launch("python3", at=server.url, password="open barley")


def test_expired_login_is_repeated() -> None:
    with JupyterServer(token=TOKEN, password="open sesame") as server, Proxy(server.port) as proxy:
        base = f"http://{HOST}:{proxy.port}"
        refused: list[str] = []

        def refuse_once(request: str) -> bytes | None:
            if refused or not request.startswith("GET /api/kernels/"):
                return None
            refused.append(request)
            return answer("403 Forbidden")

        with ec.launch("python3", at=base, password="open sesame") as kernel:
            links = Collector(kernel.link_state)
            with proxy.answering(refuse_once):
                proxy.cut()
                proxy.restore()
                links.wait_until(lambda seen: "lost" in seen and seen[-1] == "connected")
            assert refused
            assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_server_without_authentication() -> None:
    with (
        JupyterServer(token="") as server,
        ec.launch("python3", at=server.url, timeout=DEADLINE) as kernel,
    ):
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


# TLS.


@pytest.fixture(scope="module")
def encrypted() -> Iterator[JupyterServer]:
    with JupyterServer(token=TOKEN, tls=True) as server:
        yield server


def test_certificate_trusted_by_ssl_option(encrypted: JupyterServer) -> None:
    trusting = ssl.create_default_context(cafile=encrypted.certificate)
    with ec.launch("python3", at=encrypted.url, token=TOKEN, ssl=trusting) as kernel:
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_certificate_trusted_by_system(
    encrypted: JupyterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted.certificate))
    with ec.launch("python3", at=encrypted.url, token=TOKEN) as kernel:
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_untrusted_certificate_raises(encrypted: JupyterServer) -> None:
    with pytest.raises(ec.ConnectionFailed, match=r"a certificate that is not trusted.*ssl=…"):
        ec.launch("python3", at=encrypted.url, token=TOKEN)


def test_wrong_scheme_raises(encrypted: JupyterServer, server: JupyterServer) -> None:
    with pytest.raises(
        ec.ConnectionFailed, match="and that it supports https"
    ):  # it waits for more
        ec.launch("python3", at=server.url.replace("http:", "https:"), token=TOKEN, timeout=1)
    with pytest.raises(ec.ConnectionFailed):
        ec.launch("python3", at=encrypted.url.replace("https:", "http:"), token=TOKEN)


# Framings.


def test_server_without_subprotocol_runs_code() -> None:
    options = {"ZMQChannelsWebsocketConnection": {"kernel_ws_protocol": ""}}
    with (
        JupyterServer(token=TOKEN, options=options) as server,
        ec.launch("python3", at=server.url, token=TOKEN) as kernel,
    ):
        assert kernel.run("print('woo'); 6 * 7", timeout=DEADLINE).text == "woo\n42"


def test_message_over_max_sent_raises(server: JupyterServer) -> None:
    with ec.launch("python3", at=server.url, token=TOKEN) as kernel:
        with pytest.raises(ec.InvalidMessage, match="10485760.*websocket_max_message_size"):
            kernel.run("# " + "x" * (10 << 20))
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_legacy_message_size_counts_bytes(server: JupyterServer) -> None:
    with (
        ec.launch("python3", at=server.url, token=TOKEN, legacy=True) as kernel,
        pytest.raises(ec.InvalidMessage, match="10485760"),
    ):
        kernel.run("# " + "\u00e9" * (6 << 20))


def test_max_sent_allows_larger_messages() -> None:
    options = {"ServerApp": {"tornado_settings": {"websocket_max_message_size": 40 << 20}}}
    with (
        JupyterServer(token=TOKEN, options=options) as server,
        ec.launch("python3", at=server.url, token=TOKEN, max_sent=40 << 20) as kernel,
    ):
        heavy = ec.comm_info_request().replace(metadata={"heavy": "x" * (20 << 20)})
        assert ec.wait(kernel.request(heavy, timeout=DEADLINE)).content["status"] == "ok"


def test_message_over_max_received_is_reported(server: JupyterServer) -> None:
    with ec.launch("python3", at=server.url, token=TOKEN, max_received=100_000) as kernel:
        kernel.run("1", timeout=DEADLINE)
        errors = Collector(kernel.errors)
        kernel.execute("print('x' * 200_000)").subscribe(on_error=lambda _: None)
        errors.wait_for(lambda error: "max_received=100000" in str(error))
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
