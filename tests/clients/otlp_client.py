"""An OpenTelemetry collector of others (rotel) as the receiver: records and spans arrive whole, also after it was away and
after the gateway was killed. What it exports is read with OpenTelemetry's own protobuf classes."""

import collections
import contextlib
import gzip
import http.client
import http.server
import json
import os
import socket
import subprocess
import threading

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import IDENTITY, Checks, asgi, bearer, folder, gateway, jwks, same, serve, token, until

CONFIG = """
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: api }}]
upstreams: {{ api: {{ addresses: "http://{upstream}" }} }}
policies: policy.yaml
{identity}
audit:
  to: audit.jsonl
  rotate_at: 1MiB
  node: node-1
  ship:
    endpoint: http://127.0.0.1:{port}
    every: 50ms
    batch: 64
admin: {{ address: 127.0.0.1:0 }}
workers: 1
log: {{ format: json, filter: info }}
"""

POLICIES = """
version: 1
policies:
  - id: read
    who: { agent: { glob: "spiffe://corp/agent/**" } }
    do: GET /accounts/{account}
"""

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def main():
    checks = Checks("otlp")
    with folder() as place, asgi(upstream) as address, Sink() as sink:
        run(checks, place, address, sink)
    checks.end()


def run(checks, place, address, sink):
    port = free()
    config = place / "portcullis.yaml"
    config.write_text("version: 1\n" + CONFIG.format(upstream=address, identity=IDENTITY, port=port))
    (place / "policy.yaml").write_text(POLICIES)
    (place / "jwks.json").write_text(json.dumps(jwks()))

    # The receiver isn't there yet.
    with serve(place, config) as proxy:
        ask(proxy, 20)
        with checks("what happens while no receiver is there is told, and waits"):
            until(lambda: metric(proxy, 'portcullis_ship_failures_total{cause="connect"}') > 0, "a failure")
            until(lambda: metric(proxy, "portcullis_ship_lag_records") >= 20, "a lag")
            same(sink.seqs(), [])
        with collector(port, sink.port):
            with checks("it goes out once the receiver is there"):
                until(lambda: metric(proxy, "portcullis_ship_lag_records") == 0, "no lag")
                until(lambda: len(sink.seqs()) >= len(lines(place)), "all records")
            ask(proxy, 20)
            with checks("and so does what comes after"):
                until(lambda: len(sink.seqs()) >= len(lines(place)), "all records")
        # Away again; and the gateway dies with what it couldn't send.
        ask(proxy, 20)
        proxy.process.kill()
        proxy.process.wait()
    with collector(port, sink.port), serve(place, config) as proxy:
        ask(proxy, 20, method="PUT")
        with checks("after a kill -9 nothing is missing"):
            until(lambda: set(sink.seqs()) == {line["seq"] for line in lines(place)}, "all records")
    with collector(port, sink.port):
        # while it ships
        for _ in range(5):
            with serve(place, config) as proxy:
                ask(proxy, 30)
                proxy.process.kill()
                proxy.process.wait()
    with collector(port, sink.port), serve(place, config) as proxy:
        ask(proxy, 5)
        until(lambda: metric(proxy, "portcullis_ship_lag_records") == 0, "no lag")
        proxy.process.terminate()
        proxy.process.wait()
        with checks("the last record before the end is there as well"):
            until(lambda: set(sink.seqs()) == {line["seq"] for line in lines(place)}, "all records")
            same(lines(place)[-1]["event"], "stop")

    written = {line["seq"]: line for line in lines(place)}
    with checks("each body is the record as it stands in the file"):
        for record, _ in sink.logs():
            same(json.loads(record.body.string_value), written[attributes(record)["portcullis.seq"]])
    with checks("the resource tells who sends"):
        for _, resource in sink.logs():
            known = attributes(resource)
            same((known["service.name"], known["service.instance.id"]), ("portcullis", "node-1"))
    with checks("severities, times and trace ids are the records'"):
        for record, _ in sink.logs():
            line = written[attributes(record)["portcullis.seq"]]
            same(record.event_name or f"portcullis.{line['kind']}", f"portcullis.{line['kind']}")
            if line["kind"] == "decision":
                same(record.severity_text, "INFO" if line["decision"] == "permit" else "WARN")
                same(record.trace_id.hex(), line["trace_id"])
                same(record.span_id.hex(), line["span_id"])
    spans = {}
    for span in sink.spans():
        spans[span.span_id.hex()] = span
    decisions = [line for line in written.values() if line["kind"] == "decision"]
    with checks("each decision has its span, and no span is of anything else"):
        same(set(spans), {line["span_id"] for line in decisions})
    with checks("a span tells its decision and its outcome"):
        outcomes = {line["id"]: line for line in written.values() if line["kind"] == "outcome"}
        for line in decisions:
            span, known = spans[line["span_id"]], attributes(spans[line["span_id"]])
            same(span.trace_id.hex(), line["trace_id"])
            same(span.parent_span_id.hex(), line.get("parent_id", ""))
            same(known["portcullis.decision"], line["decision"])
            assert span.end_time_unix_nano >= span.start_time_unix_nano, span
            if line["decision"] == "permit":
                same(span.name, "GET /accounts/{account}")
                same(known["portcullis.outcome.end"], outcomes[line["id"]]["end"])
                same(known.get("http.response.status_code"), outcomes[line["id"]].get("status"))
    with checks("a trace of the caller goes on"):
        same({line["trace_id"] for line in decisions if "parent_id" in line}, {PARENT.split("-")[1]})
    with checks("no token is anywhere in what was sent"):
        assert token().split(".")[0].encode() not in sink.raw()


def ask(proxy, count, method="GET"):
    host, port = proxy.addresses[0].rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port))
    for number in range(count):
        headers = bearer() if number % 4 else {}
        if number % 2:
            headers["traceparent"] = PARENT
        connection.request(method, f"/accounts/{number}", headers=headers)
        connection.getresponse().read()
    connection.close()


async def upstream(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"42"})


def lines(place):
    """All records of the log, over its files."""
    found = []
    for path in place.glob("audit.jsonl*"):
        if path.name.endswith((".shipped", ".tmp")):
            continue
        text = path.read_text()
        found += [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line]
    return sorted((line for line in found if line["kind"] != "segment"), key=lambda line: line["seq"])


def metric(proxy, *parts):
    connection = http.client.HTTPConnection(proxy.admin)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    values = [line.rsplit(" ", 1)[1] for line in text.split("\n") if all(part in line for part in parts) and line[:1] != "#"]
    return float(values[0]) if values else 0


def attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def collector(port, sink):
    """rotel, which takes OTLP on a port and passes it on to ours."""
    import rotel

    binary = os.path.join(os.path.dirname(rotel.__file__), "rotel-agent")
    command = [
        binary, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free()}",
        "--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", f"http://127.0.0.1:{sink}",
        "--batch-timeout", "50ms",
    ]  # fmt: skip
    shown = None if "VERBOSE" in os.environ else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=shown, stderr=shown)
    try:
        def listens():
            assert process.poll() is None, "rotel ended"
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", port)) == 0

        until(listens, "rotel")
        yield process
    finally:
        process.terminate()
        process.wait(20)


class Sink:
    """Where rotel sends what it took."""

    def __enter__(self):
        self.kept, self.lock = collections.defaultdict(list), threading.Lock()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                with sink.lock:
                    sink.kept[self.path].append(body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def logs(self):
        with self.lock:
            kept = list(self.kept["/v1/logs"])
        found = []
        for body in kept:
            for of in ExportLogsServiceRequest.FromString(body).resource_logs:
                found += [(record, of.resource) for scope in of.scope_logs for record in scope.log_records]
        return found

    def spans(self):
        with self.lock:
            kept = list(self.kept["/v1/traces"])
        found = []
        for body in kept:
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                found += [span for scope in of.scope_spans for span in scope.spans]
        return found

    def seqs(self):
        return [attributes(record)["portcullis.seq"] for record, _ in self.logs()]

    def raw(self):
        with self.lock:
            return b"".join(body for bodies in self.kept.values() for body in bodies)


if __name__ == "__main__":
    main()
