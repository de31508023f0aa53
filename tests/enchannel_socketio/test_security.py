"""Access control of every route and socket: without token, with a watch token, and cross-origin."""

import asyncio
import base64
import http.client
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import pytest
from socketio.exceptions import ConnectionError as SocketioRefused
from starlette.applications import Starlette
from starlette.routing import Mount

import enchannel as ec
from enchannel.errors import AuthenticationFailed, ConnectionFailed, NotSupported
from enchannel_socketio import connect, list_kernels, spawn
from enchannel_socketio.relay import Limits, Relay
from tests.enchannel_socketio.conftest import Running, running, spawned
from tests.enchannel_socketio.foreign import FULL, ForeignClient
from tests.enchannel_socketio.test_relay import serving
from tests.rigs import DEADLINE
from tests.rigs.relay import TOKEN
from tests.rigs.servers import free_port

SOCKET = "/socket.io/?EIO=4&transport=polling"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}
ROUTES = [
    ("GET", "/", 200),
    ("GET", "/page/index.html", 200),
    ("GET", "/page/frame.html", 200),
    ("GET", "/kernels", 200),
    ("GET", "/kernels/ID", 200),
    ("GET", "/kernelspecs", 403),
    ("POST", "/spawn/python3", 403),
    ("POST", "/shutdown/ID", 403),
    ("POST", "/kernels/ID/interrupt", 403),
    ("POST", "/kernels/ID/restart", 403),
    ("POST", "/kernels/ID/watch", 403),
    ("POST", "/link", 403),
    ("GET", SOCKET, 200),
]
ALL = [(method, path) for method, path, _ in ROUTES] + [
    ("GET", "/socket.io/?EIO=4&transport=websocket"),
    ("POST", "/socket.io/?EIO=4&transport=polling&sid=x"),
    ("GET", "/nothing"),
]


@dataclass(frozen=True)
class Answer:
    """The response of a relay."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send_request(
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str] = FULL,
    body: bytes | None = None,
) -> Answer:
    """Send one request with exactly these headers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        sent = {"Content-Length": str(len(body or b"")), **headers} if method == "POST" else headers
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            b"" if response.status == 101 else response.read(),
        )
    finally:
        connection.close()


@pytest.fixture(scope="module")
def kernel(relay: Running) -> Iterator[str]:
    with spawned(relay) as kernel_id:
        yield kernel_id


@pytest.fixture(scope="module")
def watch(relay: Running, kernel: str) -> str:
    token: str = send_request(relay.url, "POST", f"/kernels/{kernel}/watch").json["token"]
    return token


def upgrading(path: str) -> Mapping[str, str]:
    return UPGRADE if "websocket" in path else {}


@pytest.mark.parametrize(("method", "path"), ALL)
def test_requests_without_token_are_rejected(
    relay: Running, kernel: str, method: str, path: str
) -> None:
    path = path.replace("ID", kernel)
    answer = send_request(relay.url, method, path, upgrading(path))
    assert answer.status == 401
    assert kernel not in answer.body.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        "Bearer ",
        "Bearer x",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer watch..",
        "Bearer watch.*.x",
        "Bearer caf\xe9",
    ],
)
def test_wrong_token_is_rejected(relay: Running, wrong: str) -> None:
    assert send_request(relay.url, "GET", "/kernels", {"Authorization": wrong}).status == 401


@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
def test_watch_token_allows_reading_only(
    relay: Running, kernel: str, watch: str, method: str, path: str, status: int
) -> None:
    answer = send_request(
        relay.url, method, path.replace("ID", kernel), {"Authorization": f"Bearer {watch}"}
    )
    assert answer.status == status


def test_watch_token_is_for_one_kernel(relay: Running, kernel: str, watch: str) -> None:
    bearer = {"Authorization": f"Bearer {watch}"}
    with spawned(relay) as other:
        assert [
            model["id"]
            for model in send_request(relay.url, "GET", "/kernels", bearer).json["kernels"]
        ] == [kernel]
        assert send_request(relay.url, "GET", f"/kernels/{other}", bearer).status == 403
        forged = f"watch.{other}.{watch.rpartition('.')[2]}"
        assert (
            send_request(relay.url, "GET", "/kernels", {"Authorization": f"Bearer {forged}"}).status
            == 401
        )


@pytest.mark.parametrize(("method", "path"), ALL)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost", "https://localhost:1", "file://"]
)
def test_cross_origin_requests_are_rejected(
    relay: Running, kernel: str, method: str, path: str, origin: str
) -> None:
    path = path.replace("ID", kernel)
    assert (
        send_request(relay.url, method, path, {**FULL, **upgrading(path), "Origin": origin}).status
        == 403
    )


@pytest.mark.parametrize(("method", "path"), ALL)
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io"])
def test_unknown_host_names_are_rejected(
    relay: Running, kernel: str, method: str, path: str, host: str
) -> None:
    port = relay.url.rpartition(":")[2]
    path = path.replace("ID", kernel)
    headers = {**FULL, **upgrading(path), "Host": f"{host}:{port}"}
    assert send_request(relay.url, method, path, headers).status == 421


def test_allowed_hosts_and_origins_are_accepted() -> None:
    with running(hosts=["relay.example"], origins=["https://lab.example"]) as relay:
        headers = {**FULL, "Host": "relay.example", "Origin": "https://lab.example"}
        assert send_request(relay.url, "GET", "/kernels", headers).status == 200
        assert (
            send_request(relay.url, "GET", "/kernels", {**headers, "Host": "lab.example"}).status
            == 421
        )


def test_same_origin_requests_are_accepted(relay: Running) -> None:
    assert send_request(relay.url, "GET", "/kernels", {**FULL, "Origin": relay.url}).status == 200


@pytest.mark.parametrize(
    "path", ["/spawn/python3", "/kernels/ID/watch", "/socket.io/?EIO=4&transport=polling&sid=x"]
)
def test_large_body_is_rejected_before_reading(relay: Running, kernel: str, path: str) -> None:
    path = path.replace("ID", kernel)
    huge = {**FULL, "Content-Length": str(1 << 40)}
    assert send_request(relay.url, "POST", path, huge).status == 413
    assert send_request(relay.url, "POST", path, {**FULL, "Content-Length": "-1"}).status in (
        400,
        413,
    )
    assert (
        send_request(
            relay.url, "POST", path, {**FULL, "Transfer-Encoding": "chunked"}, b"0\r\n\r\n"
        ).status
        == 411
    )


def test_large_message_raises_or_disconnects() -> None:
    with running(limits=Limits(max_message=20_000)) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            with pytest.raises(ec.InvalidMessage, match="20000"):
                kernel.run("# " + "x" * 20_000)
            assert kernel.run("6 * 7").text == "42"

        async def oversized() -> str:
            client = ForeignClient(relay.url, f"/main/{kernel_id}")
            await client.open(FULL)
            await client.io.emit("msg", {"header": {"x": "y" * 50_000}}, namespace=client.namespace)
            ended = await client.ended()
            await client.close()
            return ended

        assert asyncio.run(oversized())
        assert [model.state for model in list_kernels(relay.url, token=TOKEN)] == ["idle"]


@pytest.mark.parametrize("kind", ["main", "iopub"])
def test_large_attachments_disconnect_client(
    relay: Running, kernel: str, watch: str, kind: str
) -> None:
    token = watch if kind == "iopub" else TOKEN

    async def announce() -> str:
        client = ForeignClient(relay.url, f"/{kind}/{kernel}")
        await client.open({"Authorization": f"Bearer {token}"})
        parts = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(50))
        await client.io.eio.send(f'550-{client.namespace},["msg",{{"buffers":[{parts}]}}]')
        for _ in range(5):
            await client.io.eio.send(bytes(4_000_000))
        ended = await client.ended()
        await client.close()
        return ended

    assert asyncio.run(announce()) == "ended"


@pytest.mark.parametrize("packet", ["2" + "x" * 10_000, '551-/iopub/ID,["msg",{}]', b"x"])
def test_watcher_sending_messages_is_disconnected(
    relay: Running, kernel: str, watch: str, packet: str | bytes
) -> None:
    async def send() -> str:
        client = ForeignClient(relay.url, f"/iopub/{kernel}")
        await client.open({"Authorization": f"Bearer {watch}"})
        await client.io.eio.send(
            packet.replace("ID", kernel) if isinstance(packet, str) else packet
        )
        ended = await client.ended()
        await client.close()
        return ended

    assert asyncio.run(send()) == "ended"


def test_relay_not_started_responds_503() -> None:
    app = Starlette(routes=[Mount("/relay", Relay(token=TOKEN))])
    port = free_port()
    with serving(app, port) as url:
        answer = send_request(url, "GET", "/relay/kernels")
    assert (answer.status, "lifespan" in answer.json["error"]) == (503, True)


@pytest.mark.parametrize(
    "packet", ['2/main/ID,["msg"', "2", "9", "", "x", "5-/main/ID,[]", b"\x00", '4/main/ID,"x"']
)
def test_invalid_packet_disconnects_its_client(
    relay: Running, kernel: str, packet: str | bytes
) -> None:
    async def send() -> str:
        client = ForeignClient(relay.url, f"/main/{kernel}")
        await client.open(FULL)
        await client.io.eio.send(
            packet.replace("ID", kernel) if isinstance(packet, str) else packet
        )
        ended = await client.ended()
        await client.close()
        return ended

    with connect(relay.url, kernel, token=TOKEN) as ours:
        assert asyncio.run(send()) == "ended"
        assert ours.run("6 * 7").text == "42"


def test_kernel_limit_is_enforced() -> None:
    with running(limits=Limits(kernels=1)) as relay:
        spawn(relay.url, token=TOKEN)
        assert send_request(relay.url, "POST", "/spawn/python3").status == 429
        with pytest.raises(ConnectionFailed, match="already serves 1 kernels"):
            spawn(relay.url, token=TOKEN)


def test_connection_limit_is_enforced() -> None:
    with running(limits=Limits(connections=2)) as relay:
        assert send_request(relay.url, "GET", SOCKET).status == 200
        assert send_request(relay.url, "GET", SOCKET).status == 200
        assert send_request(relay.url, "GET", SOCKET).status == 503
        assert (
            send_request(
                relay.url, "GET", "/socket.io/?EIO=4&transport=websocket", {**FULL, **UPGRADE}
            ).status
            == 503
        )


def test_connection_limit_ignores_other_parameters() -> None:
    """Only a ``sid`` parameter continues a connection."""
    with running(limits=Limits(connections=1)) as relay:
        assert send_request(relay.url, "GET", SOCKET).status == 200
        assert send_request(relay.url, "GET", f"{SOCKET}&xsid=1").status == 503
        assert send_request(relay.url, "GET", f"{SOCKET}&sid=").status == 503


def test_watchers_cannot_use_all_connections() -> None:
    with running(limits=Limits(connections=10)) as relay:
        kernel_id = spawn(relay.url, token=TOKEN)
        token = send_request(relay.url, "POST", f"/kernels/{kernel_id}/watch").json["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        statuses = [send_request(relay.url, "GET", SOCKET, bearer).status for _ in range(10)]
        assert statuses == [200] * 9 + [503]
        with connect(relay.url, kernel_id, token=TOKEN) as kernel:
            assert kernel.run("6 * 7").text == "42"
            with pytest.raises(ConnectionFailed, match="has reached its limit of connections"):
                connect(relay.url, kernel_id, token=TOKEN)


def test_spawn_can_be_disabled() -> None:
    with running(allow_spawn=False) as relay:
        assert send_request(relay.url, "POST", "/spawn/python3").status == 501
        assert send_request(relay.url, "GET", "/kernels").json["can_spawn"] is False


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/page/nothing", 404),
        ("GET", "/page/../_relay.py", 404),
        ("GET", "/page/%2e%2e/_relay.py", 404),
        ("GET", "/kernels/nothing", 404),
        ("POST", "/shutdown/nothing", 404),
        ("POST", "/kernels/nothing/interrupt", 404),
        ("GET", "/spawn/python3", 405),
        ("GET", "/shutdown/x", 405),
        ("POST", "/kernels", 405),
        ("POST", "/spawn/no-such-kernelspec", 502),
        ("POST", "/spawn/..%2f..%2fetc", 404),
    ],
)
def test_invalid_requests_get_error_status(
    relay: Running, method: str, path: str, status: int
) -> None:
    answer = send_request(relay.url, method, path)
    assert (answer.status, "error" in answer.json) == (status, True)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"cwd": 7}', "application/json", 400),
        (b'{"extra": 7}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"cwd": "/"}', "text/plain", 415),
    ],
)
def test_invalid_spawn_body_is_rejected(
    relay: Running, body: bytes, kind: str, status: int
) -> None:
    headers = {**FULL, "Content-Type": kind, "Content-Length": str(len(body))}
    assert send_request(relay.url, "POST", "/spawn/python3", headers, body).status == status


# -- browsers ---------------------------------------------------------------------------------------


def cookie_of(answer: Answer) -> Mapping[str, str]:
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def test_one_time_token_works_once(relay: Running) -> None:
    link = relay.link
    path = link.removeprefix(relay.url)
    first = send_request(relay.url, "GET", path, {})
    assert (first.status, first.headers["location"]) == (303, "/")
    attributes = first.headers["set-cookie"].lower()
    assert "httponly" in attributes
    assert "samesite=lax" in attributes
    assert TOKEN not in attributes
    assert send_request(relay.url, "GET", path, {}).status == 401
    assert send_request(relay.url, "GET", "/kernels", cookie_of(first)).status == 200
    assert (
        send_request(relay.url, "GET", "/?token=used", cookie_of(first)).headers["location"] == "/"
    )


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT"])
def test_one_time_token_is_redeemed_by_get_only(relay: Running, method: str) -> None:
    path = relay.link.removeprefix(relay.url)
    assert "set-cookie" not in send_request(relay.url, method, path, {}).headers
    assert "set-cookie" in send_request(relay.url, "GET", path, {}).headers


@pytest.mark.parametrize(
    "foreign",
    ["a", "a[b]=c", 'a="b', "a=b c", 'a={"b": [1, 2]}', "é=ü", "=", ";", "a=\x01", "$X=1"],
)
def test_foreign_cookies_are_ignored(relay: Running, foreign: str) -> None:
    own = cookie_of(send_request(relay.url, "GET", relay.link.removeprefix(relay.url), {}))
    name = own["Cookie"].partition("=")[0]
    foreign = foreign.encode().decode("latin-1")
    for cookies in (
        f"{foreign}; {own['Cookie']}",
        f"{own['Cookie']}; {foreign}",
        f"{name}=x.y;{own['Cookie']};{name}=",
    ):
        assert send_request(relay.url, "GET", "/kernels", {"Cookie": cookies}).status == 200


@pytest.mark.parametrize(
    "value",
    ["http://[x", "http://[::1", "http://a]b", "[", "//", "http://", "\xff", ":", "a" * 5_000, "9" * 5_000],
)  # fmt: skip
@pytest.mark.parametrize(
    "header", ["Origin", "Host", "Cookie", "Authorization", "Content-Length", "Content-Type"]
)
def test_any_header_value_gets_a_response(relay: Running, header: str, value: str) -> None:
    for path in ("/", "/page", "/kernels", SOCKET):
        for values in (value, f"localhost:{value}", f"http://localhost:{value}"):
            answer = send_request(relay.url, "GET", path, {**FULL, header: values})
            assert answer.status < 500
    assert send_request(relay.url, "GET", "/kernels").status == 200


@pytest.mark.parametrize("port", ["[x", "80@evil.example", "80/", "x"])
def test_invalid_port_in_host_is_rejected(relay: Running, port: str) -> None:
    headers = {**FULL, "Host": f"localhost:{port}"}
    assert send_request(relay.url, "GET", "/page", headers).status in (400, 421)


def test_link_route_returns_new_link(relay: Running) -> None:
    path = send_request(relay.url, "POST", "/link").json["url"]
    assert send_request(relay.url, "GET", path, {}).status == 303


def test_watch_link_keeps_full_access(relay: Running, kernel: str) -> None:
    mine = cookie_of(send_request(relay.url, "GET", relay.link.removeprefix(relay.url), {}))
    path = send_request(relay.url, "POST", f"/kernels/{kernel}/watch").json["url"]
    followed = send_request(relay.url, "GET", path, mine)
    assert (followed.status, followed.headers["location"]) == (303, "/")
    assert "set-cookie" not in followed.headers
    assert (
        send_request(relay.url, "GET", path, {}).status == 303
    )  # the link is still valid for another browser


def test_cookie_is_bound_to_relay_token(relay: Running) -> None:
    cookie = cookie_of(send_request(relay.url, "GET", relay.link.removeprefix(relay.url), {}))
    name, _, value = cookie["Cookie"].partition("=")
    with running() as again:
        port = again.url.rpartition(":")[2]
        renamed = {"Cookie": f"enchannel-relay-{port}={value}"}
        assert send_request(again.url, "GET", "/kernels", renamed).status == 200
        assert (
            send_request(again.url, "GET", "/kernels", {"Cookie": f"{name}={value}"}).status == 401
        )
    other = Relay(token="another-token-that-is-long")
    assert other._tokens.grant_of_cookies(cookie["Cookie"], name) is None


@pytest.mark.parametrize("wrong", ["", "x", "x.y", "e30.x", "é", '"', "a=b; c", "W1tdLDFd.AA"])
def test_invalid_cookie_is_rejected(relay: Running, wrong: str) -> None:
    port = relay.url.rpartition(":")[2]
    headers = {"Cookie": f"enchannel-relay-{port}={wrong}".encode().decode("latin-1")}
    assert send_request(relay.url, "GET", "/kernels", headers).status == 401


def test_cookies_and_links_expire() -> None:
    from enchannel_socketio.relay._tokens import Grant, Tokens

    now = 0.0
    keys = Tokens(ec.Secret(TOKEN), now=lambda: now)
    cookie, link, late = (
        keys.cookie(Grant()),
        keys.issue_one_time_token(Grant()),
        keys.issue_one_time_token(Grant()),
    )
    now = 3_599
    assert keys.redeem_one_time_token(link) == Grant()
    now = 3_600
    assert keys.redeem_one_time_token(late) is None
    now = 7 * 86_400 - 1
    assert keys.grant_of_cookies(f"c={cookie}", "c") == Grant()
    now = 7 * 86_400
    assert keys.grant_of_cookies(f"c={cookie}", "c") is None


def test_watch_link_grants_watching_only(relay: Running, kernel: str) -> None:
    path = send_request(relay.url, "POST", f"/kernels/{kernel}/watch").json["url"]
    cookie = cookie_of(send_request(relay.url, "GET", path, {}))
    assert send_request(relay.url, "GET", "/kernels", cookie).json["access"] == "watch"
    assert send_request(relay.url, "POST", "/spawn/python3", cookie).status == 403


@pytest.mark.parametrize("path", ["/", "/page/index.html", "/kernels", "/nothing"])
def test_responses_have_security_headers(relay: Running, path: str) -> None:
    headers = send_request(relay.url, "GET", path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in headers["content-security-policy"]


def test_output_frame_policy_is_sandboxed(relay: Running) -> None:
    policy = send_request(relay.url, "GET", "/page/frame.html").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none';")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert "script-src 'sha256-" in policy
    policies = {
        query: send_request(relay.url, "GET", f"/page/frame.html{query}").headers[
            "content-security-policy"
        ]
        for query in ("?scripts", "?", "?scripts=1", "?x&scripts")
    }
    assert [query for query, other in policies.items() if "unsafe-inline'; style" in other] == [
        "?scripts"
    ]


@pytest.mark.parametrize("wrong", ["lab.example", ["*"], ["http://lab.example"], ["a b"], [""]])
def test_invalid_hosts_and_origins_raise(wrong: Any) -> None:
    with pytest.raises(ValueError, match="host"):
        Relay(hosts=wrong)


def test_short_token_raises() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        Relay(token="short")


# -- sockets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["main", "shell", "control", "stdin"])
def test_watch_token_opens_iopub_only(relay: Running, kernel: str, watch: str, kind: str) -> None:
    async def refused() -> Any:
        client = ForeignClient(relay.url, f"/{kind}/{kernel}")
        with pytest.raises(SocketioRefused):
            await client.open({"Authorization": f"Bearer {watch}"})
        await client.close()
        return client.refusal

    assert "does not grant access" in asyncio.run(refused())["message"]


@pytest.mark.parametrize("channel", ["shell", "control", "stdin", "iopub"])
def test_watch_token_cannot_send(relay: Running, kernel: str, watch: str, channel: str) -> None:
    async def refused() -> Any:
        client = ForeignClient(relay.url, f"/iopub/{kernel}")
        await client.open({"Authorization": f"Bearer {watch}"})
        message = {
            "channel": channel,
            "header": {"msg_id": "1", "msg_type": "execute_request"},
            "content": {"code": "print('seen')"},
        }
        answer = await client.io.call("msg", message, namespace=client.namespace)
        (refusal,) = await client.next("refused")
        await client.close()
        return answer, refusal

    answer, refusal = asyncio.run(refused())
    assert "for watching" in answer["error"]
    assert refusal["msg_id"] == "1"


def test_watched_kernel_refuses_sending(relay: Running, kernel: str, watch: str) -> None:
    with (
        connect(relay.url, kernel, token=TOKEN) as ours,
        connect(relay.url, kernel, token=watch) as theirs,
    ):
        received: SimpleQueue[ec.AnyMessage] = SimpleQueue()
        theirs.iopub.pipe(ec.of_message_type("execute_result")).subscribe(received.put)
        ours.run("6 * 7")
        assert received.get(timeout=DEADLINE).content["data"]["text/plain"] == "42"
        with pytest.raises(NotSupported, match="only allows watching"):
            theirs.run("1")
        with pytest.raises(NotSupported):
            ec.wait(theirs.restart())


@pytest.mark.parametrize(
    "namespace",
    ["/", "/main", "/main/", "/nothing/x", "/main/nothing", "/heartbeat/x", "/../x", "/main/x/y"],
)
def test_invalid_namespace_is_refused(relay: Running, namespace: str) -> None:
    async def refused() -> Any:
        client = ForeignClient(relay.url, namespace)
        with pytest.raises(SocketioRefused):
            await client.open(FULL)
        await client.close()
        return client.refusal

    assert asyncio.run(refused())["message"]


@pytest.mark.parametrize(
    "auth", [{"since": -1}, {"since": "x"}, {"credit": 0}, {"credit": 10**9}, {"session": 7}]
)
def test_invalid_auth_is_refused(relay: Running, kernel: str, auth: Mapping[str, Any]) -> None:
    async def refused() -> Any:
        client = ForeignClient(relay.url, f"/main/{kernel}")
        with pytest.raises(SocketioRefused):
            await client.open(FULL, **auth)
        await client.close()
        return client.refusal

    assert asyncio.run(refused())["message"]


@pytest.mark.parametrize(
    "message",
    [
        None,
        7,
        "text",
        [],
        {},
        {"header": {}},
        {"header": {"msg_id": "1"}},
        {"header": {"msg_id": "1", "msg_type": "x"}, "content": 7},
        {"header": {"msg_id": "1", "msg_type": "x"}, "channel": "iopub"},
        {"header": {"msg_id": "1", "msg_type": "x"}, "channel": "nothing"},
        {"header": {"msg_id": "1", "msg_type": "x"}, "channel": "shell", "buffers": [7]},
        {"header": {"msg_id": "1", "msg_type": "x"}, "channel": "heartbeat"},
    ],
)
def test_invalid_message_is_refused_with_reason(relay: Running, kernel: str, message: Any) -> None:
    async def answers() -> tuple[Any, Any]:
        client = ForeignClient(relay.url, f"/main/{kernel}")
        await client.open(FULL, session="me")
        bad = await client.io.call("msg", message, namespace=client.namespace, timeout=DEADLINE)
        header = {"msg_id": "2", "msg_type": "kernel_info_request", "session": "me"}
        good = await client.io.call(
            "msg", {"channel": "shell", "header": header}, namespace=client.namespace
        )
        while (await client.next("msg"))[0]["channel"] != "shell":
            pass
        await client.close()
        return bad, good

    bad, good = asyncio.run(answers())
    assert bad["error"]
    assert good == {}


def test_token_is_in_no_text(
    relay: Running, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    link = relay.relay.one_time_token()
    send_request(relay.url, "GET", f"/?token={link}", {})
    send_request(relay.url, "GET", SOCKET)
    with pytest.raises(AuthenticationFailed) as wrong:
        list_kernels(relay.url, token=f"{TOKEN}-and-more")
    with pytest.raises(ConnectionFailed) as refused:
        connect(relay.url, "nothing", token=TOKEN)
    seen = "\n".join(
        [caplog.text, *capfd.readouterr(), str(wrong.value), str(refused.value), repr(relay.relay)]
    )
    assert TOKEN not in seen
    assert link not in seen


def test_remote_relay_needs_https() -> None:
    for url in ("http://relay.example:4000", "socketio+http://192.0.2.1"):
        with pytest.raises(ConnectionFailed, match="in the clear"):
            list_kernels(url, token=TOKEN)
