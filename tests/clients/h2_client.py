"""HTTP/2 (RFC 9113) and HPACK (RFC 7541) by their sections, on the ground of h2spec: what a peer must not send ends
in the error that the section names, and nothing of it reaches the upstream; what it may send is served.

Legal exchanges are also made by the package `h2`, which keeps the state of both sides and would notice.
"""

import http.server
import socket
import threading
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

from h2_frames import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, Connection, frame, literal, reset, settings, window,
)
from harness import PATIENCE, Checks, folder, gateway, same, until

STREAMS, HEADER_BYTES = 8, 16 * 1024

CONFIG = """
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: app, forward_headers: any }}]
upstreams: {{ app: {{ addresses: "http://{upstream}" }} }}
policies: policy.yaml
limits: {{ streams: %d, header_bytes: %d }}
""" % (STREAMS, HEADER_BYTES)

POLICY = """
version: 1
policies:
  - { id: open, who: anonymous, do: "GET,HEAD,OPTIONS /open", query: any }
  - { id: big, who: anonymous, do: "GET /big" }
  - { id: slow, who: anonymous, do: "GET /slow" }
  - { id: upload, who: anonymous, do: "POST /upload", body: any }
  - { id: judged, who: anonymous, do: "POST /judged", body: { /a: 1 } }
  - { id: role, who: anonymous, do: "GET /role", headers: { x-role: { ne: admin } } }
"""

BIG = 300_000


class Upstream(http.server.ThreadingHTTPServer):
    """Counts the requests that come whole."""

    daemon_threads = True

    def __init__(self):
        self.seen, self.release = [], threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.body()
        if body is None:
            self.close_connection = True
            return
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        if self.path == "/slow":
            self.server.release.wait(PATIENCE)
        told = b"x" * BIG if self.path == "/big" else b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told)

    do_GET = do_POST = do_HEAD = do_OPTIONS = answer

    def body(self):
        """The whole body, or `None` where it stops short."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            return body if len(body) == length else None
        body = b""
        while line := self.rfile.readline().strip():
            chunk = self.rfile.read(int(line, 16))
            if len(chunk) < int(line, 16) or self.rfile.readline() != b"\r\n":
                return None
            if not chunk:
                return body
            body += chunk
        return None

    def log_message(self, *_):
        pass


@dataclass
class Case:
    section: str
    what: str
    expected: object
    act: object
    forwards: int = 0
    options: dict = field(default_factory=dict)


CASES = []


def case(section, what, expected, forwards=0, **options):
    """One check: `act` is given a connection; `forwards` of its requests may reach the upstream."""
    def register(act):
        CASES.append(Case(section, what, expected, act, forwards, options))
        return act

    return register


def connection_error(*codes):
    """GOAWAY with one of the codes, or no more than a closed connection."""
    def check(c):
        c.read(lambda c: c.goaway)
        assert c.goaway in codes or c.goaway is None and c.closed, c.told()
        # What was announced is done.
        c.read(lambda c: c.closed)
        assert c.closed, f"still open: {c.told()}"

    return check


def stream_error(*codes, stream=1):
    """RST_STREAM with one of the codes; or what an error of the connection is, which a server may make of it."""
    def check(c):
        c.read(lambda c: stream in c.resets or c.goaway)
        assert c.resets.get(stream) in codes or c.goaway in codes or c.closed and c.goaway is None, c.told()

    return check


def malformed(c):
    """A malformed message (8.1.1): an error of its stream, or an answer that refuses it."""
    c.read(lambda c: 1 in c.resets or 1 in c.answers or c.goaway)
    if 1 in c.answers:
        assert c.answers[1][b":status"] in (b"400", b"431"), c.told()
    else:
        assert c.resets.get(1) == "PROTOCOL_ERROR" or c.goaway == "PROTOCOL_ERROR", c.told()


def answered(*statuses, stream=1):
    def check(c):
        status = c.status(stream)
        assert status in statuses, f"{status}: {c.told()}"

    return check


def served(c):
    """The request on stream 1 is served, and the connection lives."""
    answered(200)(c)
    assert c.alive(b"after it"), c.told()


def alive(c):
    assert c.alive(), c.told()


def both(*checks):
    def check(c):
        for one in checks:
            one(c)

    return check


def main():
    checks, upstream = Checks("h2"), Upstream()
    with folder() as place:
        with gateway(place, CONFIG.format(upstream=f"127.0.0.1:{upstream.server_port}"), POLICY) as proxy:
            for one in CASES:
                with checks(f"{one.section} {one.what}"):
                    run(one, proxy, upstream)
            by_library(checks, proxy, upstream)
            with checks("the proxy serves on after all of them"):
                c = Connection(proxy.addresses[0]).request()
                same(c.status(), 200)
            upstream.release.set()
    print(f"# h2: {len(CASES)} checks in raw frames", flush=True)
    checks.end()


def run(one, proxy, upstream):
    before = len(upstream.seen)
    c = Connection(proxy.addresses[0], **one.options)
    c.upstream = upstream
    try:
        one.act(c)
        one.expected(c)
        forwarded = upstream.seen[before:]
        if one.forwards is not None:
            same(len(forwarded), one.forwards, f"forwarded {forwarded}")
    finally:
        c.close()


# 3.4 HTTP/2 Connection Preface


@case("3.4", "the preface is answered by SETTINGS, and the client's are acknowledged", alive)
def _(c):
    c.read(lambda c: c.acks)
    same((c.frames[0][0], c.acks), (SETTINGS, 1))


def _http1_refusal(c):
    c.read(lambda c: c.closed)
    assert c.closed, "a connection without a preface stays"


@case("3.4", "a preface that is none ends the connection", _http1_refusal, preface=b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
def _(c):
    pass


@case("3.4", "a preface in lower case ends the connection", _http1_refusal, preface=PREFACE.lower())
def _(c):
    pass


@case("3.4", "half a preface, and an end", _http1_refusal, preface=PREFACE[:12], first=b"")
def _(c):
    c.socket.shutdown(socket.SHUT_WR)


@case("3.4", "a first frame other than SETTINGS", connection_error("PROTOCOL_ERROR"), first=b"")
def _(c):
    c.send(frame(PING, payload=b"too soon"))


@case("3.4", "a first frame that is SETTINGS with ACK", connection_error("PROTOCOL_ERROR"), first=frame(SETTINGS, ACK))
def _(c):
    pass


@case("3.4", "a request right behind the preface is served", served, forwards=1)
def _(c):
    c.request()


# 4.1 Frame Format


@case("4.1", "a frame of an unknown type is passed over", alive)
def _(c):
    c.send(frame(0x16, payload=b"nobody knows"), frame(0xFF, 0xFF, 5, b""))


@case("4.1", "flags that a type doesn't define are passed over", both(alive))
def _(c):
    c.send(frame(PING, 0x16, payload=b"flagged!"))
    c.read(lambda c: c.pings)
    same(c.pings, [b"flagged!"])


@case("4.1", "the reserved bit is passed over", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1 | 1 << 31, c.block()))


# 4.2 Frame Size


@case("4.2", "DATA of 2^14 bytes is served", served, forwards=1)
def _(c):
    c.post().send(frame(DATA, END_STREAM, 1, b"x" * 16384))


@case("4.2", "DATA over the largest frame", stream_error("FRAME_SIZE_ERROR"))
def _(c):
    c.post().send(frame(DATA, END_STREAM, 1, b"x" * 16385))


@case("4.2", "HEADERS over the largest frame", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    block = c.block() + literal(b"x-a", b"b" * 100) * 160
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))


@case("4.2", "a length of 2^24-1", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(SETTINGS, payload=b"", length=(1 << 24) - 1))


# 4.3 Field Section Compression and Decompression


@case("4.3", "a field block that is none", connection_error("COMPRESSION_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x00\x00\x00\x00"[:1] + b"\x7f\xff\xff\xff\xff\xff\xff"))


@case("4.3", "a field block that stops in a field", connection_error("COMPRESSION_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + b"\x00\x05ab"))


@case("4.3", "PRIORITY within a field block", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))


@case("4.3", "HEADERS of another stream within a field block", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(HEADERS, END_STREAM | END_HEADERS, 3, c.block()))


@case("4.3", "PING within a field block", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(PING, payload=b"between!"))


# 5.1 Stream States


@case("5.1", "idle: DATA", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(DATA, END_STREAM, 1, b"x"))


@case("5.1", "idle: RST_STREAM", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(reset(1))


@case("5.1", "idle: WINDOW_UPDATE", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(window(1, 100))


@case("5.1", "idle: CONTINUATION", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(CONTINUATION, END_HEADERS, 1, c.block()))


@case("5.1", "idle: PRIORITY is taken", alive)
def _(c):
    c.send(frame(PRIORITY, 0, 7, b"\0\0\0\0\x10"))


@case("5.1", "half-closed: DATA", stream_error("STREAM_CLOSED"), forwards=1)
def _(c):
    slow(c)
    c.send(frame(DATA, END_STREAM, 1, b"x"))


@case("5.1", "half-closed: HEADERS", stream_error("STREAM_CLOSED"), forwards=1)
def _(c):
    slow(c)
    c.request(1)


@case("5.1", "half-closed: CONTINUATION", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"), forwards=1)
def _(c):
    slow(c)
    c.send(frame(CONTINUATION, END_HEADERS, 1, c.block()))


@case("5.1", "half-closed: WINDOW_UPDATE and PRIORITY are taken", alive, forwards=1)
def _(c):
    slow(c)
    c.send(window(1, 100), frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))


@case("5.1", "closed by RST_STREAM: DATA", stream_error("STREAM_CLOSED"))
def _(c):
    c.post().send(reset(1), frame(DATA, END_STREAM, 1, b"x"))


@case("5.1", "closed by RST_STREAM: HEADERS", stream_error("STREAM_CLOSED"))
def _(c):
    c.post().send(reset(1)).request(1)


@case("5.1", "closed by RST_STREAM: CONTINUATION", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"))
def _(c):
    c.post().send(reset(1), frame(CONTINUATION, END_HEADERS, 1, c.block()))


@case("5.1", "closed by both: DATA", stream_error("STREAM_CLOSED"), forwards=1)
def _(c):
    over(c).send(frame(DATA, END_STREAM, 1, b"x"))


@case("5.1", "closed by both: HEADERS", stream_error("STREAM_CLOSED", "PROTOCOL_ERROR"), forwards=1)
def _(c):
    over(c).request(1)


@case("5.1", "closed by both: CONTINUATION", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"), forwards=1)
def _(c):
    over(c).send(frame(CONTINUATION, END_HEADERS, 1, c.block()))


@case("5.1", "closed by both: WINDOW_UPDATE, RST_STREAM and PRIORITY are taken", alive, forwards=1)
def _(c):
    over(c).send(window(1, 100), reset(1), frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))


def slow(c):
    """A request on stream 1 that is under way, and stays so."""
    before = len(c.upstream.seen)
    c.request(1, c.head(path=b"/slow"))
    until(lambda: len(c.upstream.seen) > before, "a request at the upstream")


def over(c):
    """A request on stream 1 that is served and over."""
    c.request(1)
    c.read(lambda c: 1 in c.ended)
    same(c.status(), 200)
    return c


# 5.1.1 Stream Identifiers


@case("5.1.1", "an even identifier", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.request(2)


@case("5.1.1", "an identifier below one that was used", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"), forwards=1)
def _(c):
    c.request(5)
    same(c.status(5), 200)
    c.request(3)


@case("5.1.1", "identifiers may be left out", both(answered(200, stream=9), alive), forwards=1)
def _(c):
    c.request(9)


@case("5.1.1", "the largest identifier is the last", answered(200, stream=2**31 - 1), forwards=1)
def _(c):
    c.request(2**31 - 1)


# 5.1.2 Stream Concurrency


@case("5.1.2", "more streams than the proxy allows", stream_error("REFUSED_STREAM", "PROTOCOL_ERROR", stream=2 * STREAMS + 1), forwards=STREAMS)
def _(c):
    alive(c)
    same(c.settings.get(3), STREAMS)
    for n in range(STREAMS):
        c.request(2 * n + 1, c.head(path=b"/slow"))
    before = len(c.upstream.seen)
    until(lambda: len(c.upstream.seen) >= max(before, STREAMS) and sum(s[1] == "/slow" for s in c.upstream.seen[-STREAMS:]) == STREAMS, "requests")
    c.request(2 * STREAMS + 1)


@case("5.1.2", "a stream that ended makes room", both(answered(200, stream=2 * STREAMS + 3), alive), forwards=2 * STREAMS + 1)
def _(c):
    for n in range(STREAMS + 1):
        c.request(2 * n + 1)
        c.read(lambda c: 2 * n + 1 in c.ended)
    for n in range(STREAMS + 1, 2 * STREAMS + 1):
        c.request(2 * n + 1)
        c.read(lambda c: 2 * n + 1 in c.ended)


# 5.3 Prioritization


@case("5.3", "HEADERS with a priority are served", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\x80\0\0\0\xff" + c.block()))


@case("5.3", "PRIORITY on streams that are not there is passed over", served, forwards=1)
def _(c):
    for stream in (3, 5, 101):
        c.send(frame(PRIORITY, 0, stream, b"\0\0\0\x01\x10"))
    c.request(1)


@case("5.3", "a stream that depends on itself harms nobody", alive, forwards=None)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0\0\x01\xff" + c.block()))


# 5.4 Error Handling


@case("5.4.1", "an error of the connection closes it, and nothing after it is taken", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(PING, payload=b"short"), frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block()))


@case("5.4.2", "an error of a stream leaves the others", both(stream_error("PROTOCOL_ERROR"), answered(200, stream=3), alive), forwards=1)
def _(c):
    c.post(1).send(window(1, 0)).request(3)


# 5.5 Extending HTTP/2


@case("5.5", "a frame of an unknown type within a field block", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(0xFA, 0, 0, b"x"), frame(CONTINUATION, END_HEADERS, 1, b""))


@case("5.5", "unknown frames on a stream are passed over", served, forwards=1)
def _(c):
    c.post().send(frame(0xFA, 0xFF, 1, b"x" * 100), frame(DATA, END_STREAM, 1, b"x"))


@case("5.5", "an unknown setting is passed over", alive)
def _(c):
    c.send(frame(SETTINGS, payload=b"\xab\xcd\0\0\0\x01"))


# 6.1 DATA


@case("6.1", "DATA on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.post().send(frame(DATA, END_STREAM, 0, b"x"))


@case("6.1", "DATA with padding is served without it", served, forwards=1)
def _(c):
    c.post().send(frame(DATA, END_STREAM | PADDED, 1, b"\x04body\0\0\0\0"))
    c.status()
    same(c.upstream.seen[-1][3], b"body")


@case("6.1", "padding as long as the frame", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.post().send(frame(DATA, END_STREAM | PADDED, 1, b"\x05body"))


@case("6.1", "padding that isn't there", connection_error("PROTOCOL_ERROR", "FRAME_SIZE_ERROR"))
def _(c):
    c.post().send(frame(DATA, END_STREAM | PADDED, 1, b""))


@case("6.1", "empty DATA with END_STREAM ends the body", served, forwards=1)
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b""))


# 6.2 HEADERS


@case("6.2", "HEADERS on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.request(0)


@case("6.2", "HEADERS with padding are served", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x03" + c.block() + b"\0\0\0"))


@case("6.2", "padding longer than the frame", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + c.block()))


@case("6.2", "a priority that isn't whole", connection_error("PROTOCOL_ERROR", "FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0"))


# 6.3 PRIORITY


@case("6.3", "PRIORITY on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(PRIORITY, 0, 0, b"\0\0\0\0\x10"))


@case("6.3", "PRIORITY of another length", stream_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(PRIORITY, 0, 1, b"\0\0\0\0"))


# 6.4 RST_STREAM


@case("6.4", "RST_STREAM on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(reset(0))


@case("6.4", "RST_STREAM of another length", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.post().send(frame(RST_STREAM, 0, 1, b"\0\0\0"))


@case("6.4", "a stream that was reset doesn't end the connection, nor does an unknown code", both(answered(200, stream=3), alive), forwards=1)
def _(c):
    c.post().send(reset(1, 0xABCDEF)).request(3)


# 6.5 SETTINGS


@case("6.5", "SETTINGS with ACK and a payload", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(SETTINGS, ACK, 0, b"\0\x03\0\0\0\x10"))


@case("6.5", "SETTINGS on a stream", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(SETTINGS, 0, 1, b"\0\x03\0\0\0\x10"))


@case("6.5", "SETTINGS of a length that is no multiple of six", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\x03\0\0\0"))


@case("6.5.2", "ENABLE_PUSH that is neither 0 nor 1", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(settings(push=2))


@case("6.5.2", "INITIAL_WINDOW_SIZE over 2^31-1", connection_error("FLOW_CONTROL_ERROR"))
def _(c):
    c.send(settings(window=2**31))


@case("6.5.2", "MAX_FRAME_SIZE under 2^14", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(settings(frame=2**14 - 1))


@case("6.5.2", "MAX_FRAME_SIZE over 2^24-1", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(settings(frame=2**24))


@case("6.5.2", "settings at their bounds are taken", served, forwards=1)
def _(c):
    c.send(settings(push=0, window=2**31 - 1, frame=2**24 - 1, streams=0, table=0)).request()


@case("6.5.3", "the last of two values counts, and they are acknowledged", alive, forwards=1)
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x64" + b"\0\x04\0\0\0\x01"))
    c.request(1)
    c.read(lambda c: c.acks >= 1 and c.data.get(1))
    alive(c)
    same(c.data[1], b"h")


# 6.6 PUSH_PROMISE


@case("6.6", "PUSH_PROMISE of a client", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.post().send(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02" + c.block()))


@case("6.6", "PUSH_PROMISE of a client on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(PUSH_PROMISE, END_HEADERS, 0, b"\0\0\0\x02" + c.block()))


# 6.7 PING


@case("6.7", "PING is answered with what it brought", alive)
def _(c):
    c.send(frame(PING, payload=b"12345678"))
    c.read(lambda c: c.pings)
    same(c.pings, [b"12345678"])


@case("6.7", "PING with ACK is not answered", alive)
def _(c):
    c.send(frame(PING, ACK, 0, b"unasked!"))
    alive(c)
    assert b"unasked!" not in c.pings, c.pings


@case("6.7", "PING on a stream", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(PING, 0, 1, b"12345678"))


@case("6.7", "PING of another length", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(PING, 0, 0, b"123456789"))


# 6.8 GOAWAY


@case("6.8", "GOAWAY on a stream", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(GOAWAY, 0, 1, b"\0" * 8))


@case("6.8", "GOAWAY too short", connection_error("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"))
def _(c):
    c.send(frame(GOAWAY, 0, 0, b"\0" * 7))


@case("6.8", "what is under way is served after GOAWAY", answered(200), forwards=1)
def _(c):
    c.post().send(frame(GOAWAY, 0, 0, b"\0" * 8 + b"bye"), frame(DATA, END_STREAM, 1, b"x"))


# 6.9 WINDOW_UPDATE


@case("6.9", "an increment of 0 on the connection", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(window(0, 0))


@case("6.9", "an increment of 0 on a stream", stream_error("PROTOCOL_ERROR"))
def _(c):
    c.post().send(window(1, 0))


@case("6.9", "WINDOW_UPDATE of another length", connection_error("FRAME_SIZE_ERROR"))
def _(c):
    c.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\x01"))


@case("6.9.1", "no more is sent than the stream's window", alive, forwards=1, first=settings(window=3))
def _(c):
    c.request(1)
    c.read(lambda c: len(c.data.get(1, b"")) >= 3)
    alive(c)
    same(c.data[1], b"hel")
    c.send(window(1, 2))
    c.read(lambda c: 1 in c.ended)
    same(c.data[1], b"hello")


@case("6.9.1", "no more is sent than the connection's window", alive, forwards=1, first=settings(window=2**31 - 1))
def _(c):
    c.request(1, c.head(path=b"/big"))
    c.read(lambda c: len(c.data.get(1, b"")) >= 65535)
    alive(c)
    same(len(c.data[1]), 65535)
    c.send(window(0, BIG))
    c.read(lambda c: 1 in c.ended)
    same(len(c.data[1]), BIG)


@case("6.9.1", "the connection's window over 2^31-1", connection_error("FLOW_CONTROL_ERROR"))
def _(c):
    c.send(window(0, 2**31 - 1), window(0, 2**31 - 1))


@case("6.9.1", "a stream's window over 2^31-1", stream_error("FLOW_CONTROL_ERROR"))
def _(c):
    c.post().send(window(1, 2**31 - 1), window(1, 2**31 - 1))


@case("6.9.1", "more DATA than the proxy's windows allow", stream_error("FLOW_CONTROL_ERROR"))
def _(c):
    alive(c)
    c.post(path=b"/judged")
    c.socket.settimeout(2)
    # To a judged body over its limit nobody opens a window.
    for _ in range(200):
        c.send(frame(DATA, 0, 1, b"x" * 16384))
    c.socket.settimeout(10)


@case("6.9.2", "a new initial window holds for streams that are open", alive, forwards=1, first=settings(window=0))
def _(c):
    c.request(1)
    same(c.status(), 200)
    alive(c)
    same(c.data, {})
    c.send(settings(window=1))
    c.read(lambda c: c.data)
    alive(c)
    same(c.data, {1: b"h"})


@case("6.9.2", "a window may become negative", alive, forwards=1, first=settings(window=3))
def _(c):
    c.request(1)
    c.read(lambda c: len(c.data.get(1, b"")) == 3)
    c.send(settings(window=2))
    alive(c)
    c.send(window(1, 1))
    c.alive(b"still 0!")
    same(c.data[1], b"hel")
    c.send(window(1, 1))
    c.read(lambda c: len(c.data[1]) > 3)
    same(c.data[1], b"hell")


@case("6.9.2", "a new initial window that takes a stream's over 2^31-1", connection_error("FLOW_CONTROL_ERROR"))
def _(c):
    c.post().send(window(1, 2**31 - 1 - 65535), settings(window=65536))


# 6.10 CONTINUATION


@case("6.10", "a field block in many pieces is served", served, forwards=1)
def _(c):
    block = c.block()
    c.send(frame(HEADERS, END_STREAM, 1, block[:1]))
    for n in range(1, len(block)):
        c.send(frame(CONTINUATION, 0, 1, block[n : n + 1]))
    c.send(frame(CONTINUATION, END_HEADERS, 1, b""))


@case("6.10", "DATA within a field block", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, 0, 1, c.block()), frame(CONTINUATION, 0, 1, b""), frame(DATA, END_STREAM, 1, b"x"))


@case("6.10", "CONTINUATION on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(CONTINUATION, END_HEADERS, 0, b""))


@case("6.10", "CONTINUATION on another stream", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(CONTINUATION, END_HEADERS, 3, b""))


@case("6.10", "CONTINUATION after a block that ended", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"), forwards=None)
def _(c):
    c.request().send(frame(CONTINUATION, END_HEADERS, 1, b""))


@case("6.10", "CONTINUATION after CONTINUATION that ended the block", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"), forwards=None)
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()), frame(CONTINUATION, END_HEADERS, 1, b""), frame(CONTINUATION, END_HEADERS, 1, b""))


@case("6.10", "CONTINUATION after DATA", connection_error("PROTOCOL_ERROR", "STREAM_CLOSED"))
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b""))


@case("6.10", "CONTINUATION without end (CVE-2024-27316)", connection_error("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "COMPRESSION_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()))
    for n in range(2000):
        c.send(frame(CONTINUATION, 0, 1, literal(b"x-%d" % n, b"b" * 100)))


@case("6.10", "empty CONTINUATION without end", connection_error("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR"))
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()))
    for _ in range(200):
        c.send(frame(CONTINUATION, 0, 1, b"") * 100)


# 7 Error Codes


@case("7", "unknown codes have no meaning", both(answered(200, stream=3), alive), forwards=1)
def _(c):
    c.post().send(reset(1, 0xFFFFFFFF)).request(3)


@case("7", "GOAWAY with an unknown code ends no request", answered(200), forwards=1)
def _(c):
    c.post().send(frame(GOAWAY, 0, 0, b"\0\0\0\0\xff\xff\xff\xff"), frame(DATA, END_STREAM, 1, b"x"))


# 8.1 HTTP Message Framing


@case("8.1", "HEADERS in the middle of a request, without END_STREAM", malformed)
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"))
    c.send(frame(HEADERS, END_HEADERS, 1, c.block([(b"x-trailer", b"1")])), frame(DATA, END_STREAM, 1, b"y"))


@case("8.1", "trailers are taken, and dropped", served, forwards=1)
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block([(b"x-trailer", b"1")])))
    c.status()
    assert "x-trailer" not in {name.lower() for name in c.upstream.seen[-1][2]}, c.upstream.seen[-1]


@case("8.1", "a head alone with END_STREAM has no body", served, forwards=1)
def _(c):
    c.request(1, c.head(method=b"POST", path=b"/upload"))
    c.status()
    same(c.upstream.seen[-1][3], b"")


# 8.1.1 Malformed Messages


@case("8.1.1", "content-length over what comes", malformed)
def _(c):
    c.post(1, (b"content-length", b"5")).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "content-length under what comes", malformed)
def _(c):
    c.post(1, (b"content-length", b"3")).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "content-length under what comes in several frames", malformed)
def _(c):
    c.post(1, (b"content-length", b"3")).send(frame(DATA, 0, 1, b"fo"), frame(DATA, END_STREAM, 1, b"ur"))


@case("8.1.1", "content-length over a body that isn't there", malformed)
def _(c):
    c.request(1, c.head((b"content-length", b"5"), method=b"POST", path=b"/upload"))


@case("8.1.1", "content-length under a judged body", malformed)
def _(c):
    c.post(1, (b"content-length", b"7"), (b"content-type", b"application/json"), path=b"/judged")
    c.send(frame(DATA, END_STREAM, 1, b'{"a":1} '))


@case("8.1.1", "two content-lengths", malformed)
def _(c):
    c.post(1, (b"content-length", b"4"), (b"content-length", b"4")).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "two content-lengths that differ", malformed)
def _(c):
    c.post(1, (b"content-length", b"4"), (b"content-length", b"5")).send(frame(DATA, END_STREAM, 1, b"four"))


for written in (b"+4", b"-4", b"4,4", b"0x4", b"4 ", b" 4", b"", b"four", b"18446744073709551620"):
    @case("8.1.1", f"content-length that is none: {written.decode()!r}", malformed)
    def _(c, written=written):
        c.post(1, (b"content-length", written)).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "content-length that fits is served", served, forwards=1)
def _(c):
    c.post(1, (b"content-length", b"4")).send(frame(DATA, END_STREAM, 1, b"four"))


# 8.2.1 Field Validity


def plain(name, value):
    """A request with a field as it is written, in no code that would mend it."""
    return lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + literal(name, value)))


for what, name, value in [
    ("an upper-case name", b"X-Test", b"a"),
    ("one upper-case letter in a name", b"x-tesT", b"a"),
    ("a space in a name", b"x test", b"a"),
    ("a space behind a name", b"x-test ", b"a"),
    ("NUL in a name", b"x\0test", b"a"),
    ("a line feed in a name", b"x\ntest", b"a"),
    ("a colon in a name", b"x:test", b"a"),
    ("a name beyond ASCII", b"x-t\xc3\xa9st", b"a"),
    ("DEL in a name", b"x\x7ftest", b"a"),
    ("an empty name", b"", b"a"),
    ("an underscore in a name (DESIGN 4)", b"x_test", b"a"),
    ("NUL in a value", b"x-test", b"a\0b"),
    ("a line feed in a value", b"x-test", b"a\nx-more: b"),
    ("a carriage return in a value", b"x-test", b"a\rb"),
    ("CRLF and a header in a value", b"x-test", b"a\r\ntransfer-encoding: chunked"),
    ("a space before a value", b"x-test", b" a"),
    ("a space behind a value", b"x-test", b"a "),
    ("a tab before a value", b"x-test", b"\ta"),
    ("a tab behind a value", b"x-test", b"a\t"),
]:
    case("8.2.1", what, malformed)(plain(name, value))


@case("8.2.1", "values with spaces and tabs inside, and beyond ASCII, are served", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + literal(b"x-test", b"a \t b") + literal(b"x-more", "é".encode())))


@case("8.2.1", "a judged header isn't another for a space around it", malformed)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block(c.head(path=b"/role")) + literal(b"x-role", b" admin")))


@case("8.2.1", "a judged header that is permitted is served", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block(c.head(path=b"/role")) + literal(b"x-role", b"user")))


# 8.2.2 Connection-Specific Header Fields

for name, value in [
    (b"connection", b"keep-alive"), (b"connection", b"x-test"), (b"proxy-connection", b"keep-alive"), (b"keep-alive", b"timeout=5"),
    (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"te", b"gzip"), (b"te", b"trailers, deflate"), (b"te", b"Trailers;q=1"),
]:
    case("8.2.2", f"{name.decode()}: {value.decode()}", malformed)(plain(name, value))


@case("8.2.2", "te: trailers is served", served, forwards=1)
def _(c):
    c.request(1, c.head((b"te", b"trailers")))


@case("8.2.2", "transfer-encoding and a body", malformed)
def _(c):
    c.post(1, (b"transfer-encoding", b"chunked")).send(frame(DATA, END_STREAM, 1, b"0\r\n\r\n"))


# 8.2.3 The Cookie Header Field


@case("8.2.3", "crumbs of a cookie are one cookie", served, forwards=1)
def _(c):
    c.request(1, c.head((b"cookie", b"a=b"), (b"cookie", b"c=d")))
    c.status()
    cookies = [value for name, value in c.upstream.seen[-1][2].items() if name.lower() == "cookie"]
    assert cookies in ([], ["a=b; c=d"]), cookies


# 8.3 HTTP Control Data


def asked(fields):
    return lambda c: c.request(1, fields(c))


for what, fields in [
    ("an unknown pseudo-header", lambda c: c.head(test=b"a")),
    ("a response's pseudo-header", lambda c: c.head(status=b"200")),
    ("a pseudo-header behind a header", lambda c: [(b"x-test", b"a"), *c.head()]),
    ("a pseudo-header behind a header, and twice", lambda c: [*c.head((b"x-test", b"a")), (b":path", b"/other")]),
    (":protocol without the setting for it (RFC 8441)", lambda c: c.head(protocol=b"websocket", method=b"CONNECT")),
]:
    case("8.3", what, malformed)(asked(fields))


@case("8.3", "a pseudo-header in trailers", malformed)
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block([(b":method", b"POST")])))


# 8.3.1 Request Pseudo-Header Fields

for what, fields in [
    ("an empty :path", lambda c: c.head(path=b"")),
    ("no :method", lambda c: c.head(method=None)),
    ("no :scheme", lambda c: c.head(scheme=None)),
    ("no :path", lambda c: c.head(path=None)),
    ("no :authority and no host", lambda c: c.head(authority=None)),
    ("an empty :authority", lambda c: c.head(authority=b"")),
    ("an empty :method", lambda c: c.head(method=b"")),
    (":method twice", lambda c: [(b":method", b"GET"), *c.head()]),
    (":scheme twice", lambda c: [(b":scheme", b"http"), *c.head()]),
    (":path twice", lambda c: [(b":path", b"/open"), *c.head()]),
    (":path twice, another", lambda c: [(b":path", b"/other"), *c.head()]),
    (":authority twice", lambda c: [(b":authority", b"a"), *c.head()]),
    (":authority with user information", lambda c: c.head(authority=b"u@a")),
    (":authority with a path", lambda c: c.head(authority=b"a/open")),
    (":authority and another host", lambda c: c.head((b"host", b"b"))),
    (":authority and host twice", lambda c: c.head((b"host", b"a"), (b"host", b"a"))),
    (":path without a slash", lambda c: c.head(path=b"open")),
    (":path that is a URL", lambda c: c.head(path=b"http://a/open")),
    (":path * with GET", lambda c: c.head(path=b"*")),
    (":path * with OPTIONS (DESIGN 4)", lambda c: c.head(path=b"*", method=b"OPTIONS")),
    (":path with a space", lambda c: c.head(path=b"/open HTTP/1.1")),
    (":path with CRLF", lambda c: c.head(path=b"/open HTTP/1.1\r\nx-a: b\r\n\r\n")),
    (":path with NUL", lambda c: c.head(path=b"/open\0")),
    (":path with dot segments", lambda c: c.head(path=b"/x/../open")),
    (":path with a fragment", lambda c: c.head(path=b"/open#x")),
    (":path beyond ASCII", lambda c: c.head(path="/opén".encode())),
    (":path of two slashes", lambda c: c.head(path=b"//open")),
    (":method in lower case (DESIGN 4)", lambda c: c.head(method=b"get")),
    (":method with a space", lambda c: c.head(method=b"GET /open")),
    (":method with CRLF", lambda c: c.head(method=b"GET /open HTTP/1.1\r\nx: ")),
    (":scheme that is none", lambda c: c.head(scheme=b"ht tp")),
    (":scheme with CRLF", lambda c: c.head(scheme=b"http\r\n")),
    (":scheme of another protocol", lambda c: c.head(scheme=b"ftp")),
]:
    case("8.3.1", what, malformed)(asked(fields))


@case("8.3.1", "host in the place of :authority is served", served, forwards=1)
def _(c):
    c.request(1, c.head((b"host", b"a"), authority=None))


@case("8.3.1", ":authority and the same host are served", served, forwards=1)
def _(c):
    c.request(1, c.head((b"host", b"a")))
    c.status()
    same([value for name, value in c.upstream.seen[-1][2].items() if name.lower() == "host"], ["a"])


@case("8.3.1", "fields in any order among their own are served", served, forwards=1)
def _(c):
    c.request(1, [*reversed(c.head()), (b"x-b", b"1"), (b"x-a", b"2")])


@case("8.3.1", "a query is served as it came", served, forwards=1)
def _(c):
    c.request(1, c.head(path=b"/open?a=b&c=%20"))
    c.status()
    same(c.upstream.seen[-1][1], "/open?a=b&c=%20")


# 8.5 The CONNECT Method

for what, fields in [
    ("CONNECT (DESIGN 4)", lambda c: c.head(method=b"CONNECT", authority=b"a:443", scheme=None, path=None)),
    ("CONNECT with :scheme and :path", lambda c: c.head(method=b"CONNECT", authority=b"a:443")),
    ("CONNECT without :authority", lambda c: c.head(method=b"CONNECT", authority=None, scheme=None, path=None)),
    ("TRACE (DESIGN 4)", lambda c: c.head(method=b"TRACE")),
]:
    case("8.5", what, malformed)(asked(fields))


# 10.5 Denial-of-Service Considerations


@case("10.5", "streams that are opened and reset without end (CVE-2023-44487)", connection_error("ENHANCE_YOUR_CALM"), forwards=None)
def _(c):
    for n in range(1000):
        c.request(2 * n + 1, c.head(path=b"/slow")).send(reset(2 * n + 1))


@case("10.5.1", "a field list over the limit", malformed)
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()))
    for n in range(2 * HEADER_BYTES // 160):
        c.send(frame(CONTINUATION, 0, 1, literal(b"x-%d" % n, b"b" * 120)))
    c.send(frame(CONTINUATION, END_HEADERS, 1, b""))


@case("10.5.1", "a small block that unpacks to a list over the limit", malformed)
def _(c):
    block = c.block() + literal(b"x-test", b"b" * 120, b"\x40") + b"\xbe" * 1000
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))


# RFC 7541


def with_block(tail):
    return lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + tail))


INVALID = connection_error("COMPRESSION_ERROR")
for section, what, tail in [
    ("2.3.3", "an index beyond the tables", b"\xff\x00"),
    ("2.3.3", "an index far beyond the tables", b"\xff\xff\xff\x01"),
    ("2.3.3", "a name's index beyond the tables, indexed", b"\x7f\x20\x01a"),
    ("2.3.3", "a name's index beyond the tables, not indexed", b"\x0f\xff\x01\x01a"),
    ("4.2", "a size update behind a field", b"\x20"),
    ("5.1", "an integer without end", b"\xff" + b"\x80" * 200),
    ("5.1", "an integer over 2^62", b"\xff" + b"\xff" * 9 + b"\x7f"),
    ("5.1", "an integer that stops", b"\xff\x80"),
    ("5.2", "Huffman padding of more than seven bits", b"\x00\x01a\x82\x1f\xff"),
    ("5.2", "Huffman padding that isn't of ones", b"\x00\x01a\x81\x18"),
    ("5.2", "Huffman's EOS within a string", b"\x00\x01a\x84\xff\xff\xff\xff"),
    ("5.2", "a string that stops", b"\x00\x01a\x7eabc"),
    ("5.2", "a string whose length stops", b"\x00\x01a\x7f"),
    ("6.1", "index 0", b"\x80"),
]:
    case(f"7541 {section}", what, INVALID)(with_block(tail))


@case("7541 4.2", "a size update over SETTINGS_HEADER_TABLE_SIZE", INVALID)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe2\x1f" + c.block()))


@case("7541 6.3", "size updates at the beginning are taken", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20\x3f\xe1\x1f" + c.block()))


@case("7541 4.3", "a table of no size holds nothing", INVALID, forwards=1)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20" + plain + literal(b"x-test", b"a", b"\x40")))
    same(c.status(1), 200)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))


@case("7541 4.4", "an entry over the table's size empties it", INVALID, forwards=1)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    large = b"\x40\x06x-test" + b"\x7f\x81\x1f" + b"a" * (127 + 0x81 - 0x80 + (0x1F << 7))
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain + literal(b"x-one", b"a", b"\x40") + large))
    same(c.status(1), 200)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))


for section, what, tail in [
    ("6.1", "a field by its index", b"\x90"),
    ("6.2.1", "a literal, indexed, and by its new index", literal(b"x-test", b"a", b"\x40") + b"\xbe"),
    ("6.2.2", "a literal that isn't indexed", literal(b"x-test", b"a")),
    ("6.2.3", "a literal that is never indexed", literal(b"x-test", b"a", b"\x10")),
    ("6.2.1", "a literal with the name of an index", b"\x53\x01a"),
    ("5.2", "a string in Huffman's code", b"\x00\x01x\x81\x1f"),
    ("5.2", "an empty value", b"\x00\x01x\x00"),
]:
    case(f"7541 {section}", f"{what} is served", served, forwards=1)(with_block(tail))


@case("7541 2.2", "the table is kept from one request to the next", both(answered(200, stream=3), alive), forwards=2)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain + literal(b"x-test", b"kept", b"\x40")))
    same(c.status(1), 200)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))
    same(c.status(3), 200)
    same(c.upstream.seen[-1][2].get("x-test"), "kept")


@case("7541 2.2", "a refused request's fields stay in the table as well", both(answered(200, stream=3), alive), forwards=1)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain + literal(b"x-test", b"kept", b"\x40") + literal(b"x_a", b"b")))
    same(c.status(1), 400)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))
    same(c.status(3), 200)
    same(c.upstream.seen[-1][2].get("x-test"), "kept")


def by_library(checks, proxy, upstream):
    """Legal exchanges by the package h2."""
    host, port = proxy.addresses[0].rsplit(":", 1)
    with checks("the package h2: requests and bodies of all sizes, many at once, with its flow control"):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as wire:
            state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            state.initiate_connection()
            bodies = {}
            for size in (0, 1, 16384, 16385, 200_000):
                stream = state.get_next_available_stream_id()
                head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/upload")]
                state.send_headers(stream, head, end_stream=size == 0)
                bodies[stream] = b"x" * size
            stream = state.get_next_available_stream_id()
            state.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/big")], end_stream=True)
            before, left, got, ended = len(upstream.seen), dict(bodies), {}, set()
            while len(ended) < len(bodies) + 1:
                for number, rest in left.items():
                    while rest:
                        most = min(state.local_flow_control_window(number), state.max_outbound_frame_size, len(rest))
                        if most == 0:
                            break
                        state.send_data(number, rest[:most], end_stream=most == len(rest))
                        rest = rest[most:]
                    left[number] = rest
                wire.sendall(state.data_to_send())
                came = wire.recv(65536)
                assert came, "closed"
                for event in state.receive_data(came):
                    if isinstance(event, h2.events.DataReceived):
                        got[event.stream_id] = got.get(event.stream_id, b"") + event.data
                        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.ResponseReceived):
                        same(dict(event.headers)[b":status"], b"200")
                    elif isinstance(event, h2.events.StreamEnded):
                        ended.add(event.stream_id)
                    else:
                        assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
            same(len(got[stream]), BIG)
            sent = sorted(len(body) for body in bodies.values())
            same(sorted(len(seen[3]) for seen in upstream.seen[before:] if seen[1] == "/upload"), sent)


if __name__ == "__main__":
    main()
