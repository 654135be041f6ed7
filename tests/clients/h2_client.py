"""HTTP/2 (RFC 9113) and HPACK (RFC 7541) by their sections, on the ground of h2spec: what a peer must not send ends
in the error that the section names, and nothing of it reaches the upstream; what it may send is served.

Legal exchanges are also made by the package `h2`, which keeps the state of both sides and would notice.
"""

import http.server
import socket
import threading

import h2.config
import h2.connection
import h2.events

import http2.fields
import http2.frames
import http2.messages
import http2.streams
from harness import PATIENCE, Checks, folder, gateway, same
from http2.cases import BIG, CASES, HEADER_BYTES, STREAMS
from http2.wire import Connection

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
        self.server.seen.append((self.command, self.path, self.headers, body))
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
                c.close()
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
