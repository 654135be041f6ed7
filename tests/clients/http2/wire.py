"""HTTP/2 in raw frames: a connection that says what no library would, and reads what comes back."""

import socket
import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
CODES = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
]
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, WINDOW, FRAME_SIZE, LIST_SIZE = range(1, 7)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame, whose length may be a lie."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    names = {"table": HEADER_TABLE_SIZE, "push": ENABLE_PUSH, "streams": MAX_STREAMS, "window": WINDOW, "frame": FRAME_SIZE}
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", names[name], value) for name, value in values.items()))


def window(stream, by):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", by))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def literal(name, value, first=b"\x00"):
    """A field without indexing, nothing of it in Huffman's code. Both shorter than 127 bytes."""
    return first + bytes([len(name)]) + name + bytes([len(value)]) + value


class Connection:
    """A connection, and what was read of it: `closed`, `goaway`, `resets` and `answers` by stream, `pings`, `data`."""

    def __init__(self, address, preface=PREFACE, first=frame(SETTINGS), patience=10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer, self.closed, self.late = b"", False, False
        self.goaway, self.resets, self.answers, self.trailers = None, {}, {}, {}
        self.pings, self.data, self.ended, self.acks, self.settings = [], {}, set(), 0, {}
        self.frames = []
        self.send(preface + first)

    def send(self, *frames):
        """Sends, unless the other side has gone, which reading will tell."""
        try:
            self.socket.sendall(b"".join(frames))
        except OSError:
            pass
        return self

    def head(self, *more, method=b"GET", path=b"/open", **changes):
        """The fields of a request; `scheme=None` leaves that one out."""
        fields = {b":method": method, b":scheme": b"http", b":authority": b"a", b":path": path}
        fields.update({b":" + name.encode(): value for name, value in changes.items()})
        return [(name, value) for name, value in fields.items() if value is not None] + list(more)

    def block(self, fields=None):
        return self.encoder.encode(self.head() if fields is None else fields)

    def request(self, stream=1, fields=None, flags=END_HEADERS | END_STREAM):
        return self.send(frame(HEADERS, flags, stream, self.block(fields)))

    def post(self, stream=1, *more, path=b"/upload"):
        """The head of a request whose body is to come."""
        return self.request(stream, self.head(*more, method=b"POST", path=path), END_HEADERS)

    def read(self, enough):
        """Reads frames until there was enough, or the connection ended, or it took too long."""
        while not enough(self) and not self.closed and not self.late:
            try:
                came = self.socket.recv(65536)
            except TimeoutError:
                self.late = True
                break
            except OSError:
                came = b""
            self.closed = came == b""
            self.buffer += came
            while len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) < 9 + length:
                    break
                kind, flags = self.buffer[3], self.buffer[4]
                stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
                payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
                self.take(kind, flags, stream, payload)
        return self

    def take(self, kind, flags, stream, payload):
        self.frames.append((kind, flags, stream, len(payload)))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)
        if kind == HEADERS:
            assert flags & END_HEADERS and not flags & (PADDED | WITH_PRIORITY), "heads here are short"
            fields = {bytes(name): bytes(value) for name, value in self.decoder.decode(payload, raw=True)}
            if fields.get(b":status", b"200")[:1] != b"1":
                (self.trailers if stream in self.answers else self.answers)[stream] = fields
        elif kind == DATA:
            self.data[stream] = self.data.get(stream, b"") + payload
        elif kind == RST_STREAM:
            self.resets[stream] = CODES[int.from_bytes(payload, "big")]
        elif kind == GOAWAY:
            self.goaway = CODES[int.from_bytes(payload[4:8], "big")]
        elif kind == PING and flags & ACK:
            self.pings.append(payload)
        elif kind == SETTINGS and flags & ACK:
            self.acks += 1
        elif kind == SETTINGS:
            pairs = struct.iter_unpack(">HI", payload)
            self.settings.update(pairs)
            self.send(frame(SETTINGS, ACK))

    def status(self, stream=1):
        """The status of the answer on a stream, once it has come; `None` if none comes."""
        self.read(lambda c: stream in c.answers or stream in c.resets or c.goaway)
        answer = self.answers.get(stream)
        return answer and int(answer[b":status"])

    def alive(self, mark=b"are you?"):
        """Whether a PING is answered, and so all that was sent before it was taken."""
        self.send(frame(PING, payload=mark))
        self.read(lambda c: mark in c.pings or c.goaway)
        return mark in self.pings and self.goaway is None

    def told(self):
        return f"GOAWAY {self.goaway}, resets {self.resets}, answers {self.answers}, closed {self.closed}, late {self.late}"

    def close(self):
        self.socket.close()
