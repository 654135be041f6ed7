"""The `websockets` package on both sides: what a browser sends, to an echo server, under a policy that opens it."""

import asyncio
import socket
import threading
import time

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from harness import PATIENCE, Checks, bearer, folder, gateway, is_problem, same, token, until, within

CONFIG = """
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: live, forward_headers: [origin], request_timeout: none }}]
upstreams: {{ live: {{ addresses: http://{upstream} }} }}
policies: policy.yaml
timeouts: {{ header: 500ms }}
"""

POLICY = """
version: 1
policies:
  - id: live.room
    who: { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:  GET /rooms/{room}
    path: { room: { in: [lobby, secret] } }
    query: { lang: { in: [en, de] } }
    upgrade: websocket
  - id: live.visit
    who: { agent: { glob: "spiffe://corp/agent/visitor/*" } }
    do:  GET /rooms/lobby
    when: { until: $claims/until }
    upgrade: websocket
  - id: live.info
    who: { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:  GET /info
"""

BROWSER = {
    "Accept-Language": "en-GB,en;q=0.5",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Sec-Fetch-Dest": "websocket",
    "Sec-Fetch-Mode": "websocket",
    "Sec-Fetch-Site": "same-origin",
}


class Echo:
    """Echoes, and closes with the code that it is told."""

    def __init__(self):
        self.handshakes, self.closes, self.ready = [], [], threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True).start()
        assert self.ready.wait(PATIENCE)

    async def run(self):
        async with serve(self.handle, "127.0.0.1", 0, subprotocols=["chat.v2"], max_size=None) as server:
            self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
            self.ready.set()
            await asyncio.Future()

    async def handle(self, connection):
        self.handshakes.append(connection.request)
        try:
            async for message in connection:
                if message == "ping me":
                    await (await connection.ping(b"hello"))
                    await connection.send("you are there")
                elif isinstance(message, str) and message.startswith("close "):
                    await connection.close(int(message.split()[1]), "as you say")
                else:
                    await connection.send(message)
        finally:
            self.closes.append((connection.close_code, connection.close_reason))


def main():
    checks, echo = Checks("websocket"), Echo()
    with folder() as place, gateway(place, CONFIG.format(upstream=echo.address), POLICY) as proxy:
        within(frames(checks, echo, proxy), 2 * PATIENCE)
        raw(checks, echo, proxy)
        within(ends(checks, echo, proxy, place), 3 * PATIENCE)
        outcomes(checks, proxy)
    checks.end()


async def frames(checks, echo, proxy):
    room = f"ws://{proxy.addresses[0]}/rooms/lobby?lang=en"

    def browser(url=room, **more):
        options = {"origin": "https://app.example", "additional_headers": {**BROWSER, **bearer()}, **more}
        return connect(url, subprotocols=["chat.v1", "chat.v2"], open_timeout=PATIENCE, **options)

    with checks("opens with a browser's headers, its subprotocol and permessage-deflate"):
        async with browser() as connection:
            same(connection.subprotocol, "chat.v2")
            assert any(e.name == "permessage-deflate" for e in connection.protocol.extensions)
            until(lambda: echo.handshakes, "the handshake at the server")
            seen = echo.handshakes[-1].headers
            same(seen["Origin"], "https://app.example")
            assert "Authorization" not in seen, "the token went on"
            same(echo.handshakes[-1].path, "/rooms/lobby?lang=en")

    with checks("text and bytes go both ways, large and small"):
        async with browser(max_size=None) as connection:
            for message in ["hello", "", "ünïcödé " * 1000, b"\x00\xff" * 500_000]:
                await connection.send(message)
                same(await connection.recv(), message)

    with checks("pings and pongs go both ways"):
        async with browser() as connection:
            await (await connection.ping())
            await connection.send("ping me")
            same(await connection.recv(), "you are there")

    with checks("a message in fragments arrives whole"):
        async with browser() as connection:
            await connection.send(part for part in ["one ", "two ", "three"])
            same(await connection.recv(), "one two three")

    with checks("the server's close code and reason reach the client"):
        async with browser() as connection:
            await connection.send("close 4321")
            try:
                await connection.recv()
                raise AssertionError("expected a close")
            except websockets.ConnectionClosed as closed:
                same((closed.rcvd.code, closed.rcvd.reason), (4321, "as you say"))

    with checks("the client's close code and reason reach the server"):
        async with browser() as connection:
            await connection.send("x")
            await connection.recv()
            await connection.close(4567, "enough")
        until(lambda: (4567, "enough") in echo.closes, "the close at the server")

    with checks("a client that vanishes takes the server's side down"):
        before = len(echo.closes)
        connection = await browser()
        await connection.send("x")
        await connection.recv()
        connection.transport.abort()
        while len(echo.closes) == before:
            await asyncio.sleep(0)

    with checks("silence is no slow head: a quiet connection stays open"):
        async with browser(ping_interval=None) as connection:
            await connection.send("x")
            await connection.recv()
            try:
                # Three times what the head of a request may take.
                await asyncio.wait_for(connection.recv(), 1.5)
            except asyncio.TimeoutError:
                pass
            await connection.send("still here")
            same(await connection.recv(), "still here")

    opened = len(echo.handshakes)
    for what, url, headers, status, reason in [
        ("without a token", room, {}, 401, "no_credentials"),
        ("for another agent", room, bearer(agent="spiffe://corp/agent/other/1"), 403, "no_policy"),
        ("to another room", room.replace("lobby", "vault"), bearer(), 403, "no_policy"),
        ("with a query that isn't permitted", room.replace("=en", "=xx"), bearer(), 403, "no_policy"),
        ("where only requests are permitted", f"ws://{proxy.addresses[0]}/info", bearer(), 403, "no_policy"),
    ]:
        with checks(f"refused: {what}"):
            try:
                async with browser(url, additional_headers=headers):
                    raise AssertionError("it opened")
            except websockets.InvalidStatus as refusal:
                same(refusal.response.status_code, status)
                is_problem(refusal.response.body, reason)

    with checks("no refused handshake reached the server"):
        same(len(echo.handshakes), opened)


def raw(checks, echo, proxy):
    """What no WebSocket client sends."""
    opened = len(echo.handshakes)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    version = "Sec-WebSocket-Version: 13\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    for what, path, fields, status, reason in [
        ("an upgrade to h2c", "/info", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", 400, "ambiguous_request"),
        ("an upgrade to something else", "/rooms/lobby?lang=en", "Connection: Upgrade\r\nUpgrade: spdy/3.1\r\n" + key + version, 400, "ambiguous_request"),
        ("two upgrades to choose from", "/rooms/lobby?lang=en", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" + key + version, 400, "ambiguous_request"),
        ("a handshake without a key", "/rooms/lobby?lang=en", upgrade + version, 400, "ambiguous_request"),
        ("a handshake of an older version", "/rooms/lobby?lang=en", upgrade + key + "Sec-WebSocket-Version: 8\r\n", 400, "ambiguous_request"),
        ("a request without upgrade, where only that is permitted", "/rooms/lobby?lang=en", "", 403, "no_policy"),
    ]:
        with checks(f"refused: {what}"):
            got, body = exchange(proxy, f"GET {path} HTTP/1.1\r\nHost: live\r\nAuthorization: Bearer {token()}\r\n{fields}\r\n")
            same(got, status)
            is_problem(body, reason)
    with checks("no refused upgrade reached the server"):
        same(len(echo.handshakes), opened)


def exchange(proxy, request):
    host, port = proxy.addresses[0].split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(request.encode())
        head, length = b"", None
        while b"\r\n\r\n" not in head or len(head.split(b"\r\n\r\n", 1)[1]) < length:
            data = connection.recv(65536)
            if not data:
                break
            head += data
            if b"\r\n\r\n" in head and length is None:
                fields = head.split(b"\r\n\r\n", 1)[0].lower().split(b"\r\n")
                length = next(int(f.split(b":")[1]) for f in fields if f.startswith(b"content-length:"))
    return int(head.split()[1]), head.split(b"\r\n\r\n", 1)[1]


async def ends(checks, echo, proxy, place):
    """Rights that end while a connection is open."""
    room = f"ws://{proxy.addresses[0]}/rooms/lobby"

    async def cut(connection):
        try:
            return await connection.recv()
        except websockets.ConnectionClosedError as closed:
            same(closed.rcvd, None, "close frame")

    with checks("a connection is cut when its window ends"):
        until_then = int(time.time()) + 2
        visitor = bearer(agent="spiffe://corp/agent/visitor/1", until=until_then)
        async with connect(room, additional_headers=visitor, subprotocols=["chat.v2"]) as connection:
            await connection.send("still here")
            same(await connection.recv(), "still here")
            same(await cut(connection), None, "message after the end")
            assert time.time() >= until_then, "cut too early"
        until(lambda: any(o["end"] == "cut" for o in proxy.records("outcome")), "an outcome `cut`")

    def reloaded(policies):
        before = len(reloads(proxy))
        (place / "policy.yaml").write_text(policies)
        until(lambda: len(reloads(proxy)) > before, "a reload")
        return reloads(proxy)[-1]

    options = {"additional_headers": bearer(), "subprotocols": ["chat.v2"]}
    async with connect(f"{room}?lang=en", **options) as lobby, connect(f"{room[:-5]}secret?lang=en", **options) as secret:
        with checks("a reload leaves the connections that still hold"):
            same(reloaded(POLICY.replace("lang: { in: [en, de] }", "lang: { in: [en, nb] }"))["ok"], True)
            await lobby.send("still here")
            same(await lobby.recv(), "still here")

        with checks("policies that don't load change nothing"):
            same(reloaded(POLICY.replace("GET /info", "GET info"))["ok"], False)
            await secret.send("still here")
            same(await secret.recv(), "still here")

        with checks("a reload cuts the connections that no longer hold, and only those"):
            same(reloaded(POLICY.replace("in: [lobby, secret]", "in: [lobby]"))["ok"], True)
            same(await cut(secret), None, "message after the end")
            await lobby.send("still here")
            same(await lobby.recv(), "still here")


def reloads(proxy):
    return [event for event in proxy.records("event") if event["event"] == "reload"]


def outcomes(checks, proxy):
    with checks("each opened connection has one decision and one outcome"):
        permits = sorted(r["id"] for r in proxy.records() if r["decision"] == "permit")
        assert permits
        until(lambda: len(proxy.records("outcome")) >= len(permits), "an outcome for each")
        same(sorted(r["id"] for r in proxy.records("outcome")), permits)
        same({r["status"] for r in proxy.records("outcome")}, {101})


if __name__ == "__main__":
    main()
