"""grpcio on both sides, over HTTP/2 with and without TLS: calls, streams, trailers, deadlines and refusals.

Without a `.proto`: what goes over the wire is the same with bytes for messages.
"""

import threading
import time
from concurrent import futures

import grpc

from harness import PATIENCE, Authority, Checks, folder, gateway, same, token, until

CONFIG = """
listeners:
  - {{ name: plain, address: 127.0.0.1:0 }}
  - {{ name: tls, address: 127.0.0.1:0, tls: {{ certificate: server.pem, key: server.key }} }}
routes: [{{ upstream: echo, forward_headers: [x-echo, x-echo-bin], request_timeout: none }}]
upstreams: {{ echo: {{ addresses: "http://{upstream}", protocol: http2 }} }}
policies: policy.yaml
timeouts: {{ idle: 500ms }}
"""

# Messages of gRPC are not JSON: which method is called is judged, what it is told is not.
POLICY = """
version: 1
policies:
  - id: echo.calls
    who:  { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:   POST /test.Echo/{method}
    path: { method: { in: [Say, Repeat, Collect, Chat, Fail, Sleep] } }
    body: any
"""


class Echo(grpc.GenericRpcHandler):
    """A service of bytes."""

    def __init__(self):
        self.called, self.metadata = [], []
        self.first_arrived, self.cancelled = threading.Event(), threading.Event()
        self.methods = {
            "Say": grpc.unary_unary_rpc_method_handler(self.say),
            "Repeat": grpc.unary_stream_rpc_method_handler(self.repeat),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Delete": grpc.unary_unary_rpc_method_handler(self.say),
        }

    def service(self, details):
        service, method = details.method[1:].split("/")
        return self.methods.get(method) if service == "test.Echo" else None

    def note(self, name, context):
        self.called.append(name)
        self.metadata.append(dict(context.invocation_metadata()))

    def say(self, message, context):
        self.note("Say", context)
        context.send_initial_metadata((("x-leading", "first"),))
        context.set_trailing_metadata((("x-trailing", "last"), ("x-trailing-bin", b"\x00\xff")))
        return message

    def repeat(self, message, context):
        self.note("Repeat", context)
        context.add_callback(self.cancelled.set)
        for part in [b"one", b"two", b"three"]:
            if part == b"two" and not self.first_arrived.wait(PATIENCE):
                part = b"the first message was held back"
            yield message + part

    def collect(self, messages, context):
        self.note("Collect", context)
        return b" ".join(messages)

    def chat(self, messages, context):
        self.note("Chat", context)
        for message in messages:
            yield b"re: " + message

    def fail(self, message, context):
        self.note("Fail", context)
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today – ✗")

    def sleep(self, message, context):
        self.note("Sleep", context)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(PATIENCE)
        self.cancelled.set()
        return b""


def main():
    checks, echo = Checks("grpc"), Echo()
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[echo])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with folder() as place:
        authority = Authority("authority", place)
        authority.server()
        with gateway(place, CONFIG.format(upstream=f"127.0.0.1:{port}"), POLICY) as proxy:
            plain, tls = proxy.addresses
            run(checks, echo, proxy, "plain", grpc.insecure_channel(plain))
            roots = grpc.ssl_channel_credentials(authority.pem.read_bytes())
            named = [("grpc.ssl_target_name_override", "localhost")]
            run(checks, echo, proxy, "TLS", grpc.secure_channel(tls, roots, named))
            with checks("each call has one decision and one outcome"):
                permits = sorted(r["id"] for r in proxy.records() if r["decision"] == "permit")
                until(lambda: len(proxy.records("outcome")) >= len(permits), "an outcome for each")
                same(sorted(r["id"] for r in proxy.records("outcome")), permits)
    checks.end()


def run(checks, echo, proxy, over, channel):
    def metadata(*more, **claims):
        return (("authorization", f"Bearer {token(**claims)}"), *more)

    def options(*more, **claims):
        return {"metadata": metadata(*more, **claims), "timeout": PATIENCE}

    with checks(f"{over}: a call, with metadata both ways"):
        sent = ("x-echo", "hello"), ("x-echo-bin", b"\x01\xfe"), ("x-secret", "not on the list")
        answer, call = channel.unary_unary("/test.Echo/Say").with_call(b"hi", **options(*sent))
        same(answer, b"hi")
        same(call.code(), grpc.StatusCode.OK)
        same(dict(call.initial_metadata())["x-leading"], "first")
        trailing = dict(call.trailing_metadata())
        same((trailing["x-trailing"], trailing["x-trailing-bin"]), ("last", b"\x00\xff"))
        seen = echo.metadata[-1]
        same((seen["x-echo"], seen["x-echo-bin"]), ("hello", b"\x01\xfe"))
        assert "x-secret" not in seen and "authorization" not in seen, seen

    with checks(f"{over}: a large message, compressed"):
        large = b"portcullis " * 300_000
        answer = channel.unary_unary("/test.Echo/Say")(large, compression=grpc.Compression.Gzip, **options())
        same(answer == large, True)

    with checks(f"{over}: an empty message"):
        same(channel.unary_unary("/test.Echo/Say")(b"", **options()), b"")

    with checks(f"{over}: a stream of the server, message by message"):
        echo.first_arrived.clear()
        came = []
        for message in channel.unary_stream("/test.Echo/Repeat")(b"", **options()):
            came.append(message)
            echo.first_arrived.set()
        same(came, [b"one", b"two", b"three"])

    with checks(f"{over}: a stream of the client"):
        same(channel.stream_unary("/test.Echo/Collect")(iter([b"a", b"b", b"c"]), **options()), b"a b c")

    with checks(f"{over}: both at once, in turns"):
        turn, came = threading.Semaphore(0), []

        def speak():
            for message in [b"one", b"two", b"three"]:
                yield message
                assert turn.acquire(timeout=PATIENCE), "no answer to " + message.decode()
                if message == b"one":
                    time.sleep(1)  # longer than `idle`: once the server has answered, a quiet client is no fault

        for message in channel.stream_stream("/test.Echo/Chat")(speak(), **options()):
            came.append(message)
            turn.release()
        same(came, [b"re: one", b"re: two", b"re: three"])

    with checks(f"{over}: the server's own status, message and trailers"):
        error = failed(lambda: channel.unary_unary("/test.Echo/Fail")(b"", **options()))
        same((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not today – ✗"))
        same(dict(error.trailing_metadata())["x-why"], "because")

    with checks(f"{over}: a deadline reaches the server, and takes the call down"):
        echo.cancelled.clear()
        call = channel.unary_unary("/test.Echo/Sleep")
        error = failed(lambda: call(b"", metadata=metadata(), timeout=0.5))
        same(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        assert echo.cancelled.wait(PATIENCE), "the server goes on"

    with checks(f"{over}: a client that cancels takes the stream down"):
        echo.first_arrived.clear()
        echo.cancelled.clear()
        stream = channel.unary_stream("/test.Echo/Repeat")(b"", **options())
        same(next(stream), b"one")
        stream.cancel()
        assert echo.cancelled.wait(PATIENCE), "the server goes on"
        echo.first_arrived.set()

    with checks(f"{over}: many calls at once"):
        say = channel.unary_unary("/test.Echo/Say")
        calls = [say.future(b"%d" % n, **options()) for n in range(100)]
        same([call.result(PATIENCE) for call in calls], [b"%d" % n for n in range(100)])

    called = len(echo.called)
    for what, method, claims, code, reason in [
        ("a method that isn't permitted", "/test.Echo/Delete", {}, grpc.StatusCode.PERMISSION_DENIED, "no_policy"),
        ("another service", "/test.Other/Say", {}, grpc.StatusCode.PERMISSION_DENIED, "no_policy"),
        ("another agent", "/test.Echo/Say", {"agent": "spiffe://corp/agent/x/1"}, grpc.StatusCode.PERMISSION_DENIED, "no_policy"),
        ("a token that is over", "/test.Echo/Say", {"exp": 1_000_000_000, "iat": 999_999_000}, grpc.StatusCode.UNAUTHENTICATED, "invalid_token"),
    ]:
        with checks(f"{over}: refused for {what}"):
            error = failed(lambda: channel.unary_unary(method)(b"", **options(**claims)))
            same(error.code(), code)
            trailing = dict(error.trailing_metadata() or ())
            leading = dict(error.initial_metadata() or ())
            told = {**leading, **trailing}
            same(told.get("portcullis-reason"), reason)
            same(proxy.decision(told["portcullis-decision-id"])["reason"], reason)

    with checks(f"{over}: refused without a token, also for a stream of the client that goes on"):
        say = channel.stream_unary("/test.Echo/Collect")
        error = failed(lambda: say((b"x" * 1000 for _ in range(1000)), timeout=PATIENCE))
        same(error.code(), grpc.StatusCode.UNAUTHENTICATED)

    with checks(f"{over}: no refused call reached the server"):
        same(len(echo.called), called)
    channel.close()


def failed(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("expected an error, but it went through")


if __name__ == "__main__":
    main()
