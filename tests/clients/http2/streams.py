"""RFC 9113, sections 3 to 5: the preface, frames, streams, errors, extensions."""

import socket

from harness import same, until
from http2.cases import CODE, STREAMS, alive, answered, both, case, connection_error, over, served, slow, stream_error
from http2.wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, WITH_PRIORITY, frame, literal, reset, window,
)

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


@case("3.4", "a first frame other than SETTINGS", alive, differs="first frame", first=b"")
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


@case("4.2", "HEADERS over the largest frame", connection_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    block = c.block() + literal(b"x-a", b"b" * 100) * 160
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))


@case("4.2", "a length of 2^24-1", connection_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    c.send(frame(SETTINGS, payload=b"", length=(1 << 24) - 1))


# 4.3 Field Section Compression and Decompression


@case("4.3", "a field block that is none", connection_error("COMPRESSION_ERROR", CODE))
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x00\x00\x00\x00"[:1] + b"\x7f\xff\xff\xff\xff\xff\xff"))


@case("4.3", "a field block that stops in a field", connection_error("COMPRESSION_ERROR", CODE))
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


@case("5.1", "half-closed: DATA", stream_error("STREAM_CLOSED", CODE), forwards=1)
def _(c):
    slow(c)
    c.send(frame(DATA, END_STREAM, 1, b"x"))


@case("5.1", "half-closed: HEADERS", stream_error("STREAM_CLOSED", CODE), forwards=1)
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


@case("5.1", "closed by RST_STREAM: HEADERS", stream_error("STREAM_CLOSED", CODE))
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


@case("5.4.1", "an error of the connection closes it, and nothing after it is taken", connection_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    c.send(frame(PING, payload=b"short"), frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block()))


@case("5.4.2", "an error of a stream leaves the others", both(stream_error("PROTOCOL_ERROR"), answered(200, stream=3), alive), forwards=1)
def _(c):
    c.post(1, (b"content-length", b"1")).send(frame(DATA, END_STREAM, 1, b"two")).request(3)


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
