"""The soak: every kind of traffic at once for a long time, reloads each second, and then the books are closed.

Each request has a trace id of its own and an expectation: permit, deny, or either (its client went, so that nobody knows
how far it came). At the end each id has exactly one decision (at most one where either was expected), each permit one
outcome, and the upstream saw exactly the permitted ones, each once. Memory and descriptors are sampled all the while;
the second quarter of the run is the measure, and the last may not exceed it by more than the slack.
"""

import base64
import collections
import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import socketserver
import statistics
import struct
import threading
import time

# What the last quarter's median may have more than the second's.
SLACK_BYTES, SLACK_SHARE, SLACK_DESCRIPTORS = 4e6, 0.05, 24
# Idle connections to the upstream, for each worker.
KEEP_IDLE = 8

POLICY = """version: 1
policies:
  - { id: account, who: { agent: { glob: "spiffe://bench/agent/support/*" } }, do: "GET /tenants/{tenant}/accounts/{account}", path: { tenant: $claims/tenant, account: $claims/ticket/account_id }, query: any }
  - { id: note, who: { agent: { glob: "spiffe://bench/**" } }, do: POST /notes, body: { only: [/text], /text: { prefix: "ok" } } }
  - { id: events, who: { agent: { glob: "spiffe://bench/**" } }, do: "GET /events/{n}" }
  - { id: socket, who: { agent: { glob: "spiffe://bench/**" } }, do: GET /socket, upgrade: websocket }
  - { id: large, who: { agent: { glob: "spiffe://bench/**" } }, do: "GET /large/{n}" }
  - { id: upload, who: { agent: { glob: "spiffe://bench/**" } }, do: "PUT /files/{file}", body: any }
  - { id: never, effect: forbid, do: "* /files/forbidden" }
  - { id: version.%s, who: any, do: GET /version }
"""


def check(gateway, options):
    """What does not hold."""
    seen = gateway.folder / "seen"
    ready = multiprocessing.Queue()
    upstream = multiprocessing.Process(target=serve, args=(seen, ready), daemon=True)
    upstream.start()
    config = gateway.folder / "gateway.yaml"
    text = config.read_text()
    before = text.index("    addresses: http://127.0.0.1:")
    after = text.index("\n", before)
    text = f"{text[:before]}    addresses: http://127.0.0.1:{ready.get()}\n    keep_idle: {KEEP_IDLE}{text[after:]}"
    config.write_text(text.replace("rotate_at: never", "rotate_at: never\n  refusals_per_second: 1000000"))
    put_policy(gateway, 0)
    gateway.start()
    book = Book()
    book.expected[gateway.first] = ("start", "permit")
    run = Run(gateway, book, options)
    try:
        run.go()
        run.settle()
    finally:
        run.stopping = True
    gateway.process.send_signal(signal.SIGTERM)
    code = gateway.process.wait()
    upstream.terminate()
    upstream.join()
    problems = book.problems[:10] + [f"{len(book.problems)} answers were wrong"] * bool(book.problems)
    problems += [f"exit code {code}"] * (code != 0)
    return problems + run.grown() + reconcile(gateway, book, seen)


def put_policy(gateway, number):
    beside = gateway.folder / "policy.new"
    beside.write_text(POLICY % number)
    beside.replace(gateway.folder / "policy.yaml")


class Book:
    """What was asked, and what is expected of it."""

    def __init__(self):
        self.expected, self.problems = {}, []
        self.counts = collections.Counter()

    def open(self, kind, expectation):
        trace = os.urandom(16).hex()
        self.expected[trace] = (kind, expectation)
        self.counts[kind] += 1
        return trace

    def wrong(self, kind, what):
        self.problems.append(f"{kind}: {what}")


class Run:
    """The clients, the reloads and the samples."""

    def __init__(self, gateway, book, options):
        self.gateway, self.book, self.options = gateway, book, options
        self.stopping, self.samples = False, []
        self.seed = int(os.environ.get("SOAK_SEED", time.time_ns() % 1_000_000))
        print(f"soak: SOAK_SEED={self.seed}")

    def go(self):
        threads = [threading.Thread(target=self.client, args=(number,), daemon=True)
                   for number in range(self.options.clients)]
        for thread in threads:
            thread.start()
        ends, reloads = time.monotonic() + self.options.seconds, 0
        while time.monotonic() < ends:
            reloads += 1
            put_policy(self.gateway, reloads % 2)
            self.gateway.process.send_signal(signal.SIGHUP)
            time.sleep(1)
            self.samples.append((self.gateway.resident(), self.descriptors()))
        self.stopping = True
        for thread in threads:
            thread.join()
        print(f"soak: {dict(self.book.counts)}; {reloads} reloads")

    def client(self, number):
        dice = random.Random(f"{self.seed}-{number}")
        while not self.stopping:
            kind = dice.choice(KINDS)
            try:
                kind(self.gateway, self.book, dice)
            except (OSError, EOFError) as error:
                self.book.wrong(kind.__name__, repr(error))
            time.sleep(0.01)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.gateway.process.pid}/fd"))

    def settle(self):
        """Descriptors are back, but for what waits for the upstream's next request."""
        workers = os.cpu_count() or 1
        # Runtimes, listeners, the log, watched files: far fewer than clients.
        most = 24 + 8 * workers + KEEP_IDLE * workers
        ends = time.monotonic() + 90
        while self.descriptors() > most and time.monotonic() < ends:
            time.sleep(0.5)
        now = self.descriptors()
        print(f"soak: {now} descriptors at the end, at most {most} expected")
        if now > most:
            self.book.wrong("descriptors", f"{now} are still open")

    def grown(self):
        quarter = len(self.samples) // 4
        if quarter < 5:
            return ["too short to tell whether anything grows: 20 s at least"]
        second, last = self.samples[quarter:2 * quarter], self.samples[-quarter:]
        early, late = ([statistics.median(column) for column in zip(*part)] for part in (second, last))
        print(f"soak: second quarter {early[0] / 1e6:.1f} MB and {early[1]:.0f} descriptors, "
              f"last {late[0] / 1e6:.1f} MB and {late[1]:.0f}")
        problems = []
        if late[0] > early[0] + max(SLACK_BYTES, early[0] * SLACK_SHARE):
            problems.append(f"memory grew from {early[0] / 1e6:.1f} to {late[0] / 1e6:.1f} MB")
        if late[1] > early[1] + SLACK_DESCRIPTORS:
            problems.append(f"descriptors grew from {early[1]:.0f} to {late[1]:.0f}")
        return problems


def reconcile(gateway, book, seen_file):
    decisions, outcomes, permits, problems = collections.Counter(), collections.Counter(), {}, []
    ends, last = collections.Counter(), 0
    with open(gateway.folder / "audit.jsonl", "rb") as lines:
        for line in lines:
            record = json.loads(line)
            if record["kind"] == "segment":
                continue
            if record["seq"] != last + 1:
                problems.append(f"after number {last} comes {record['seq']}")
            last = record["seq"]
            if record["kind"] == "decision":
                decisions[record["trace_id"]] += 1
                if record["decision"] == "permit":
                    permits[record["trace_id"]] = record["id"]
            elif record["kind"] == "outcome":
                outcomes[record["id"]] += 1
                ends[record["end"]] += 1
            elif record.get("event") == "reload" and not record["ok"]:
                problems.append("a reload failed")
    seen = collections.Counter(seen_file.read_text().split())
    print(f"soak: {last} records, {len(permits)} permits, {sum(seen.values())} reached the upstream, outcomes {dict(ends)}")
    wrong = collections.Counter()
    for trace, (kind, expectation) in book.expected.items():
        count, permitted = decisions.pop(trace, 0), trace in permits
        if count != 1 and not (expectation == "either" and count == 0):
            wrong[f"{kind}: {count} decisions instead of one"] += 1
        if expectation != "either" and permitted != (expectation == "permit"):
            wrong[f"{kind}: the decision was not {expectation}"] += 1
        if permitted and expectation == "permit" and seen[trace] != 1:
            wrong[f"{kind}: permitted, and reached the upstream {seen[trace]} times"] += 1
        if seen[trace] > permitted:
            wrong[f"{kind}: reached the upstream {seen[trace]} times, permitted: {permitted}"] += 1
    for trace, identity in permits.items():
        if outcomes.pop(identity, 0) != 1:
            wrong["permits without exactly one outcome"] += 1
    problems += [f"{what} ({count} times)" for what, count in wrong.items()]
    problems += [f"{len(decisions)} decisions that nobody asked for"] * bool(decisions)
    problems += [f"{len(outcomes)} outcomes of no permit"] * bool(outcomes)
    strange = seen.keys() - book.expected.keys()
    return problems + [f"the upstream saw {len(strange)} requests that nobody sent"] * bool(strange)


# The kinds of traffic. Each opens its requests in the book, and says what is wrong with an answer.

def kind_get(gateway, book, dice):
    with Connection(gateway) as connection:
        for _ in range(dice.randint(1, 5)):
            connection.expect(book, "get", "GET", "/tenants/acme/accounts/42", 200)


def kind_post(gateway, book, dice):
    with Connection(gateway) as connection:
        for _ in range(dice.randint(1, 5)):
            body = json.dumps({"text": "ok " + "x" * dice.randint(0, 5000)}).encode()
            connection.expect(book, "post", "POST", "/notes", 200, body)


def kind_deny(gateway, book, dice):
    with Connection(gateway) as connection:
        method, path, body, status = dice.choice([
            ("GET", "/tenants/other/accounts/42", b"", 403),
            ("POST", "/notes", b'{"text": "no"}', 403),
            ("POST", "/notes", b'{"text": "ok", "text": "ok"}', 400),
            ("POST", "/notes", b'{"text": "ok", "more": 1}', 403),
            ("GET", "/tenants/acme/../acme/accounts/42", b"", 400),
            ("PUT", "/files/forbidden", b"x", 403),
            ("DELETE", "/files/a", b"", 403),
        ])
        connection.expect(book, "deny", method, path, status, body, expectation="deny")


def kind_stranger(gateway, book, dice):
    with Connection(gateway) as connection:
        token = dice.choice([None, "abc", gateway.token[:-8] + "AAAAAAAA"])
        connection.token = token
        connection.expect(book, "stranger", "GET", "/tenants/acme/accounts/42", 401, expectation="deny")


def kind_events(gateway, book, dice):
    count = dice.randint(1, 40)
    with Connection(gateway) as connection:
        body = connection.expect(book, "events", "GET", f"/events/{count}", 200)
        if body is not None and body.count(b"\n\n") != count:
            book.wrong("events", f"{body.count(b'end')} of {count}")


def kind_events_left(gateway, book, dice):
    with Connection(gateway) as connection:
        connection.send(book.open("events-left", "permit"), "GET", "/events/1000")
        for _ in range(dice.randint(1, 5)):
            connection.more()


def kind_socket(gateway, book, dice):
    with Connection(gateway) as connection:
        key = base64.b64encode(dice.randbytes(16)).decode()
        fields = f"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
        connection.send(book.open("socket", "permit"), "GET", "/socket", fields=fields)
        status, _ = connection.head()
        if status != 101:
            return book.wrong("socket", f"status {status}")
        for _ in range(dice.randint(1, 20)):
            # Frames pass as they are: any bytes do.
            frame = dice.randbytes(dice.randint(1, 2000))
            connection.socket.sendall(frame)
            while len(connection.data) < len(frame):
                connection.more()
            if connection.data[:len(frame)] != frame:
                return book.wrong("socket", "another echo")
            connection.data = connection.data[len(frame):]


def kind_download(gateway, book, dice):
    size = dice.randint(100_000, 3_000_000)
    with Connection(gateway) as connection:
        body = connection.expect(book, "download", "GET", f"/large/{size}", 200)
        if body is not None and len(body) != size:
            book.wrong("download", f"{len(body)} bytes of {size}")


def kind_download_left(gateway, book, dice):
    with Connection(gateway) as connection:
        connection.send(book.open("download-left", "permit"), "GET", "/large/30000000")
        for _ in range(dice.randint(1, 10)):
            connection.more()


def kind_upload(gateway, book, dice):
    with Connection(gateway) as connection:
        connection.expect(book, "upload", "PUT", "/files/a", 200, dice.randbytes(dice.randint(1, 2_000_000)))


def kind_upload_left(gateway, book, dice):
    with Connection(gateway) as connection:
        fields = "content-length: 1000000\r\n"
        connection.send(book.open("upload-left", "either"), "PUT", "/files/a", fields=fields)
        connection.socket.sendall(b"x" * dice.randint(0, 500_000))


def kind_judged_left(gateway, book, dice):
    with Connection(gateway) as connection:
        fields = "content-length: 1000\r\ncontent-type: application/json\r\n"
        connection.send(book.open("judged-left", "either"), "POST", "/notes", fields=fields)
        connection.socket.sendall(b'{"text": "ok' + b"x" * dice.randint(0, 500))


def kind_left(gateway, book, dice):
    with Connection(gateway) as connection:
        connection.send(book.open("left", "either"), "GET", "/tenants/acme/accounts/42")
        if dice.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def kind_http2(gateway, book, dice):
    """Streams side by side on one connection, some of them reset at once or after a while."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        waiting = {}
        for turn in range(dice.randint(1, 12)):
            number = 2 * turn + 1
            fate = dice.choice(["read", "read", "reset", "later"])
            path = "/events/200" if fate == "later" else "/tenants/acme/accounts/42"
            expectation = {"read": "permit", "later": "either", "reset": "either"}[fate]
            trace = book.open(f"http2-{fate}", expectation)
            stream.sendall(frame(1, 5, number, block(gateway, trace, path)))
            if fate == "reset":
                stream.sendall(frame(3, 0, number, struct.pack(">I", 8)))
            else:
                waiting[number] = fate
        data = b""
        while waiting:
            while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
                piece = stream.recv(65536)
                if not piece:
                    raise EOFError("http2")
                data += piece
            length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
            number = int.from_bytes(data[5:9], "big")
            payload, data = data[9:9 + length], data[9 + length:]
            if kind == 4 and not flags & 1:
                stream.sendall(frame(4, 1, 0))
            elif kind == 6 and not flags & 1:
                stream.sendall(frame(6, 1, 0, payload))
            elif kind == 7:
                raise EOFError(f"GOAWAY {payload[8:]!r}")
            elif kind == 1 and waiting.get(number) == "read" and payload[:1] != b"\x88":
                book.wrong("http2", f"status by {payload[:4]!r}")
            elif kind == 0 and waiting.get(number) == "later":
                stream.sendall(frame(3, 0, number, struct.pack(">I", 8)))
                del waiting[number]
                continue
            if kind in (0, 1) and flags & 1 or kind == 3:
                if kind == 3 and waiting.get(number) == "read":
                    book.wrong("http2", "a stream was reset")
                waiting.pop(number, None)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(gateway, trace, path):
    """A header block without compression: literals that are not indexed (RFC 7541, 6.2.2)."""
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "api.example.com"), (":path", path),
              ("authorization", f"Bearer {gateway.token}"), ("traceparent", f"00-{trace}-{trace[:16]}-01")]
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def text(value):
    value, length = value.encode(), b""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest = len(value) - 127
    while rest >= 128:
        length += bytes([rest % 128 + 128])
        rest //= 128
    return b"\x7f" + length + bytes([rest]) + value


KINDS = [kind_get] * 4 + [kind_post] * 3 + [kind_deny] * 3 + [kind_http2] * 2 + [
    kind_stranger, kind_events, kind_events_left, kind_socket, kind_download, kind_download_left, kind_upload,
    kind_upload_left, kind_judged_left, kind_left]


class Connection:
    """An HTTP/1.1 connection of a client."""

    def __init__(self, gateway):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.token, self.data = gateway.token, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, trace, method, path, body=b"", fields=""):
        if self.token:
            fields += f"authorization: Bearer {self.token}\r\n"
        if body:
            fields += f"content-length: {len(body)}\r\ncontent-type: application/json\r\n"
        head = f"{method} {path} HTTP/1.1\r\nhost: api.example.com\r\ntraceparent: 00-{trace}-{trace[:16]}-01\r\n{fields}\r\n"
        self.socket.sendall(head.encode() + body)

    def expect(self, book, kind, method, path, status, body=b"", expectation="permit"):
        """One request and its whole answer; gives back the body, or None where the status is another."""
        self.send(book.open(kind, expectation), method, path, body)
        found, fields = self.head()
        body = self.body(fields)
        if found != status:
            return book.wrong(kind, f"{method} {path}: status {found} instead of {status}: {body[:200]}")
        return body

    def head(self):
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        return int(first[9:12]), {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}

    def body(self, fields):
        if "transfer-encoding" not in fields:
            return self.take(int(fields.get("content-length", 0)))
        body = b""
        while True:
            while b"\r\n" not in self.data:
                self.more()
            size, _, self.data = self.data.partition(b"\r\n")
            piece = self.take(int(size, 16) + 2)
            if len(piece) == 2:
                return body
            body += piece[:-2]

    def take(self, size):
        parts, have = [self.data], len(self.data)
        while have < size:
            self.data = b""
            self.more()
            parts.append(self.data)
            have += len(self.data)
        whole = b"".join(parts)
        self.data = whole[size:]
        return whole[:size]

    def more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise EOFError("the gateway closed")
        self.data += piece


# The upstream, in a process of its own.

def serve(seen, ready):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(seen, "a", buffering=1) as note, Upstream(note) as upstream:
        ready.put(upstream.server_address[1])
        upstream.serve_forever()


class Upstream(socketserver.ThreadingTCPServer):
    daemon_threads, request_queue_size = True, 1024

    def __init__(self, note):
        super().__init__(("127.0.0.1", 0), Handler)
        self.note, self.lock = note, threading.Lock()

    def handle_error(self, *_):
        pass  # clients that left


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while True:
            method, fields = self.rfile.readline().split(b" ")[:2] or (b"", b""), {}
            if len(method) < 2:
                return
            path = method[1].decode()
            while (line := self.rfile.readline().strip()):
                name, _, value = line.decode().partition(":")
                fields[name.lower()] = value.strip()
            with self.server.lock:
                self.server.note.write(fields["traceparent"].split("-")[1] + "\n")
            if not self.answer(path, fields):
                return

    def answer(self, path, fields):
        kind, _, rest = path[1:].partition("/")
        if kind == "socket":
            proof = hashlib.sha1((fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
            accept = base64.b64encode(proof.digest()).decode()
            self.wfile.write("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                             f"sec-websocket-accept: {accept}\r\n\r\n".encode())
            while data := self.request.recv(65536):
                self.wfile.write(data)
            return False
        if not self.drain(fields):
            return False
        if kind == "events":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(int(rest)):
                self.wfile.write(b"d\r\ndata: event\n\n\r\n")
                time.sleep(0.01)
            self.wfile.write(b"0\r\n\r\n")
            return True
        body = b"x" * int(rest) if kind == "large" else b'{"fine": true}'
        self.wfile.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        return True

    def drain(self, fields):
        """Reads the body; False where it breaks off."""
        left = int(fields.get("content-length", 0))
        while left > 0:
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                return False
            left -= len(piece)
        return True
