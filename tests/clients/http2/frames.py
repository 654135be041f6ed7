"""RFC 9113, sections 6 and 7: the rules of each type of frame, and of error codes."""

from harness import same
from http2.cases import CODE, BIG, alive, answered, both, case, connection_error, over, served, stream_error
from http2.wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, frame, literal, reset, settings, window,
)

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


@case("6.3", "PRIORITY of another length", stream_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    c.send(frame(PRIORITY, 0, 1, b"\0\0\0\0"))


# 6.4 RST_STREAM


@case("6.4", "RST_STREAM on stream 0", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(reset(0))


@case("6.4", "RST_STREAM of another length", connection_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    c.post().send(frame(RST_STREAM, 0, 1, b"\0\0\0"))


@case("6.4", "a stream that was reset doesn't end the connection, nor does an unknown code", both(answered(200, stream=3), alive), forwards=1)
def _(c):
    c.post().send(reset(1, 0xABCDEF)).request(3)


# 6.5 SETTINGS


@case("6.5", "SETTINGS with ACK and a payload", connection_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    c.send(frame(SETTINGS, ACK, 0, b"\0\x03\0\0\0\x10"))


@case("6.5", "SETTINGS on a stream", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(frame(SETTINGS, 0, 1, b"\0\x03\0\0\0\x10"))


@case("6.5", "SETTINGS of a length that is no multiple of six", connection_error("FRAME_SIZE_ERROR", CODE))
def _(c):
    c.send(frame(SETTINGS, 0, 0, b"\0\x03\0\0\0"))


@case("6.5.2", "ENABLE_PUSH that is neither 0 nor 1", connection_error("PROTOCOL_ERROR"))
def _(c):
    c.send(settings(push=2))


@case("6.5.2", "INITIAL_WINDOW_SIZE over 2^31-1", connection_error("FLOW_CONTROL_ERROR", CODE))
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


@case("6.7", "PING of another length", connection_error("FRAME_SIZE_ERROR", CODE))
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


@case("6.9", "WINDOW_UPDATE of another length", connection_error("FRAME_SIZE_ERROR", CODE))
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
    # One that is waited for, since an early refusal ends the stream as well.
    c.post(1, (b"content-type", b"application/json"), path=b"/judged")
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
    for n in range(1, 4):
        c.send(frame(CONTINUATION, 0, 1, block[n : n + 1]))
    c.send(frame(CONTINUATION, 0, 1, block[4:]))
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
