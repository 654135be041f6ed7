"""curl to an application on Starlette and uvicorn: versions of HTTP, TLS and client certificates, uploads, encodings."""

import gzip
import hashlib
import json
import os
import subprocess
import threading

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from curl import Curl
from harness import PATIENCE, Authority, Checks, asgi, bearer, folder, gateway, is_problem, same, token, until

RUNNER = "spiffe://corp/ns/agents/sa/runner"

CONFIG = """
listeners:
  - {{ name: plain, address: 127.0.0.1:0 }}
  - {{ name: tls, address: 127.0.0.1:0, tls: {{ certificate: server.pem, key: server.key }} }}
  - name: mutual
    address: 127.0.0.1:0
    tls: {{ certificate: server.pem, key: server.key, clients: {{ ca: clients.pem, mode: required }} }}
routes: [{{ upstream: app }}]
upstreams: {{ app: {{ addresses: "http://{upstream}" }} }}
policies: policy.yaml
"""

POLICY = """
version: 1
policies:
  - id: agent.notes
    who:  { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:   POST /notes
    body: { only: [/text], /tag: { in: [a, b] } }
  - id: agent.form
    who:  { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:   POST /form
    body: { content_type: [application/x-www-form-urlencoded], only: [/note], /tag: { in: [a, b] } }
  - id: agent.upload
    who:  { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:   PUT,POST /files/{name}
    body: any
  - id: agent.read
    who:   { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:    GET,HEAD,DELETE /files/{name}
    query: { page: { matches: "[0-9]+" } }
  - id: workload.read
    who:  { workload: "spiffe://corp/ns/agents/sa/runner" }
    do:   GET /workload
"""


class App:
    """Tells what it got."""

    def __init__(self):
        self.asked, self.first_arrived = 0, threading.Event()
        methods = ["GET", "PUT", "POST", "DELETE"]
        self.app = Starlette(routes=[Route("/{path:path}", self.tell, methods=methods)])

    async def tell(self, request):
        self.asked += 1
        digest, length = hashlib.sha256(), 0
        async for part in request.stream():
            digest.update(part)
            length += len(part)
            if length:
                self.first_arrived.set()
        got = {
            "method": request.method,
            "target": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "headers": dict(request.headers),
            "length": length,
            "sha256": digest.hexdigest(),
        }
        return JSONResponse(got)


def main():
    checks, app = Checks("curl"), App()
    with folder() as place, asgi(app.app) as upstream:
        authority, clients = Authority("authority", place), Authority("clients", place)
        authority.server()
        clients.workload("runner", RUNNER)
        clients.workload("other", "spiffe://corp/ns/agents/sa/other")
        Authority("strangers", place).workload("stranger", RUNNER)
        with gateway(place, CONFIG.format(upstream=upstream), POLICY) as proxy:
            curl = Curl(place)
            versions(checks, curl, proxy, place)
            bodies(checks, curl, proxy, app)
            uploads(checks, curl, proxy, app)
            certificates(checks, curl, proxy, place, app)
            with checks("each permitted request has one outcome"):
                permits = sorted(r["id"] for r in proxy.records() if r["decision"] == "permit")
                until(lambda: len(proxy.records("outcome")) >= len(permits), "an outcome for each")
                same(sorted(r["id"] for r in proxy.records("outcome")), permits)
    checks.end()


def versions(checks, curl, proxy, place):
    plain = f"{proxy.url}/files/a?page=2"
    secure = f"https://localhost:{proxy.addresses[1].rsplit(':', 1)[1]}/files/a?page=2"
    trust = "--cacert", place / "authority.pem"

    with checks("HTTP/2 by prior knowledge: answered, and refused"):
        # One request each: curl 7.88 itself can't use such a connection again (exit 16, with nginx as well).
        for value, status in [("2", 200), ("x", 403)]:
            got = curl("--http2-prior-knowledge", plain.replace("=2", f"={value}"), headers=bearer())
            same((got.status, got.version), (status, "2"))

    for what, options, url, version in [
        ("HTTP/1.1", ["--http1.1"], plain, "1.1"),
        ("HTTP/2 by ALPN on TLS", [*trust, "--http2"], secure, "2"),
        ("HTTP/1.1 on TLS", [*trust, "--http1.1"], secure, "1.1"),
        ("TLS 1.2", [*trust, "--tls-max", "1.2"], secure, "2"),
    ]:
        with checks(f"{what}: answered, and kept open for the next requests"):
            all = curl.several([url] * 3, *options, headers=bearer())
            same([got.status for got in all], [200] * 3)
            same([got.version for got in all], [version] * 3)
            same([got.connects for got in all], [1, 0, 0])
        with checks(f"{what}: refused, and kept open all the same"):
            all = curl.several([url.replace("=2", "=x")] * 2 + [url], *options, headers=bearer())
            same([(got.status, got.connects) for got in all], [(403, 1), (403, 0), (200, 0)])

    with checks("HTTP/1.0 is answered or refused, but not left waiting"):
        assert curl("--http1.0", plain, headers=bearer()).status in (200, 400, 505)

    with checks("an upgrade to HTTP/2 on plain TCP is refused"):
        got = curl("--http2", plain, headers=bearer())
        same(got.status, 400)
        is_problem(got.body, "ambiguous_request")

    with checks("the application sees the forwarded request, and not the token"):
        sent = {**bearer(), "X-Forwarded-For": "6.6.6.6", "X-Own": "kept back", "Cookie": "a=b"}
        seen = json.loads(curl(plain, headers=sent).body)
        same((seen["method"], seen["target"]), ("GET", "/files/a?page=2"))
        assert "6.6.6.6" not in json.dumps(seen), seen
        assert not {"authorization", "x-own", "cookie"} & set(seen["headers"]), seen
        same(seen["headers"]["x-forwarded-proto"], "http")

    with checks("a name that TLS was opened for, and another in the request: 421"):
        got = curl(*trust, secure, headers={**bearer(), "Host": "other.example"})
        same(got.status, 421)

    with checks("DELETE without a body, and HEAD"):
        same(curl("--request", "DELETE", plain, headers=bearer()).status, 200)


def bodies(checks, curl, proxy, app):
    url = f"{proxy.url}/notes"
    good = json.dumps({"tag": "a", "text": "x" * 5000}).encode()
    send = "--data-binary", "@-", url

    def typed(kind="application/json", **more):
        return {**bearer(), "Content-Type": kind, **more}

    for version in ("--http1.1", "--http2-prior-knowledge"):
        with checks(f"a judged body goes on byte for byte ({version[2:]})"):
            seen = json.loads(curl(version, *send, headers=typed(), data=good).body)
            same((seen["length"], seen["sha256"]), (len(good), hashlib.sha256(good).hexdigest()))

    with checks("a judged body in chunks"):
        seen = json.loads(curl(*send, headers=typed(**{"Transfer-Encoding": "chunked"}), data=good).body)
        same((seen["sha256"], seen["headers"].get("transfer-encoding")), (hashlib.sha256(good).hexdigest(), None))

    with checks("a gzip body is judged, and goes on decoded"):
        packed = typed(**{"Content-Encoding": "gzip"})
        seen = json.loads(curl(*send, headers=packed, data=gzip.compress(good)).body)
        same((seen["length"], seen["sha256"]), (len(good), hashlib.sha256(good).hexdigest()))
        assert "content-encoding" not in seen["headers"], seen

    with checks("a form is judged"):
        form = f"{proxy.url}/form"
        same(curl("--data", "tag=a&note=hello", form, headers=bearer()).status, 200)
        same(curl("--data", "tag=c", form, headers=bearer()).status, 403)
        is_problem(curl("--data", "tag=a&tag=b", form, headers=bearer()).body, "ambiguous_request")

    asked = app.asked
    bomb = gzip.compress(b'{"tag":"a","text":"' + b"x" * 50_000_000 + b'"}')
    for what, data, headers, status, reason in [
        ("a value that isn't permitted", b'{"tag":"c"}', typed(), 403, "no_policy"),
        ("the same, gzipped", gzip.compress(b'{"tag":"c"}'), packed, 403, "no_policy"),
        ("a key twice", b'{"tag":"c","tag":"a"}', typed(), 400, "ambiguous_request"),
        ("JSON that ends early", b'{"tag":"a"', typed(), 400, "ambiguous_request"),
        ("another content type", good, typed("text/plain"), 415, "unsupported_body"),
        ("an encoding that isn't known", good, typed(**{"Content-Encoding": "br"}), 415, "unsupported_body"),
        ("gzip that is none", good, packed, 400, "ambiguous_request"),
        ("a body over the limit", b'{"tag":"a","text":"' + b"x" * 2_000_000 + b'"}', typed(), 413, "body_too_large"),
        ("a small body that unpacks over the limit", bomb, packed, 413, "body_too_large"),
        ("no body where one is judged", b"", typed(), 403, "no_policy"),
    ]:
        for version in ("--http1.1", "--http2-prior-knowledge"):
            with checks(f"refused: {what} ({version[2:]})"):
                got = curl(version, *send, headers=headers, data=data)
                same(got.status, status)
                is_problem(got.body, reason)
    with checks("no refused body reached the application"):
        same(app.asked, asked)


def uploads(checks, curl, proxy, app):
    url = f"{proxy.url}/files/a"
    with checks("an upload is streamed: its first bytes arrive before the last are sent"):
        for version in ("--http1.1", "--http2-prior-knowledge"):
            app.first_arrived.clear()
            command = curl.command(version, "--no-buffer", "--upload-file", "-", url, headers=bearer())
            pipe = subprocess.PIPE
            with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
                process.stdin.write(b"first ")
                process.stdin.flush()
                assert app.first_arrived.wait(PATIENCE), f"the first bytes were held back ({version})"
                out, err = process.communicate(b"last", timeout=PATIENCE)
            got = curl.read(process.returncode, out, err)[0]
            same(json.loads(got.body)["sha256"], hashlib.sha256(b"first last").hexdigest())

    large = os.urandom(32 * 1024 * 1024)
    for version in ("--http1.1", "--http2-prior-knowledge"):
        with checks(f"a large upload arrives byte for byte ({version[2:]})"):
            got = curl(version, "--request", "PUT", "--data-binary", "@-", url, headers=bearer(), data=large)
            seen = json.loads(got.body)
            same((seen["length"], seen["sha256"]), (len(large), hashlib.sha256(large).hexdigest()))

    expect = {"Expect": "100-continue", "Content-Type": "application/octet-stream"}
    with checks("Expect: 100-continue gets its go-ahead where the body is wanted"):
        got = curl("--http1.1", "--data-binary", "@-", url, headers={**bearer(), **expect}, data=large[:100_000])
        same(got.status, 200)
        assert "< HTTP/1.1 100 Continue" in got.trace, got.trace
        assert "expect" not in json.loads(got.body)["headers"]
    with checks("Expect: 100-continue gets a refusal instead, and the body is never sent"):
        got = curl("--http1.1", "--data-binary", "@-", url.replace("files", "other"), headers={**bearer(), **expect}, data=large)
        same(got.status, 403)
        assert "100 Continue" not in got.trace, got.trace
        same(got.told["size_upload"], 0)
    for version in ("--http1.1", "--http2-prior-knowledge"):
        with checks(f"a large body that is refused at its head: the client sees the answer ({version[2:]})"):
            got = curl(version, "--request", "PUT", "--data-binary", "@-", url.replace("files", "other"), headers={**bearer(), "Expect": ""}, data=large[:200_000])
            same(got.status, 403)
            is_problem(got.body, "no_policy")


def certificates(checks, curl, proxy, place, app):
    url = f"https://localhost:{proxy.addresses[2].rsplit(':', 1)[1]}"
    trust = "--cacert", place / "authority.pem"

    def with_certificate(name, path, headers=None):
        mine = "--cert", place / f"{name}.pem", "--key", place / f"{name}.key"
        return curl(*trust, *mine, url + path, headers=headers)

    with checks("a client certificate alone is an identity: its SPIFFE ID"):
        got = with_certificate("runner", "/workload")
        same(got.status, 200)
        record = proxy.records()[-1]
        same((record["principal"]["spiffe_id"], record["policies"]), (RUNNER, ["workload.read"]))

    with checks("another workload's certificate is refused by policy"):
        got = with_certificate("other", "/workload")
        same(got.status, 403)
        is_problem(got.body, "no_policy")

    with checks("no certificate, or one of another authority: no connection"):
        asked = app.asked
        for options in [(), ("--cert", place / "stranger.pem", "--key", place / "stranger.key")]:
            got = curl(*trust, *options, f"{url}/workload")
            assert got.code != 0, got
            same(got.status, 0)
        same(app.asked, asked)

    with checks("a token beside a certificate must be bound to it (RFC 8705)"):
        got = with_certificate("runner", "/files/a?page=1", bearer())
        same(got.status, 401)
        is_problem(got.body, "invalid_token")
        same(with_certificate("runner", "/files/a?page=1", bearer(cnf=thumbprint(place / "runner.pem"))).status, 200)
        same(with_certificate("other", "/files/a?page=1", bearer(cnf=thumbprint(place / "runner.pem"))).status, 401)

    with checks("a bound token without its certificate is refused"):
        same(curl(f"{proxy.url}/files/a?page=1", headers=bearer(cnf=thumbprint(place / "runner.pem"))).status, 401)


def thumbprint(path):
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    digest = x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256())
    return {"x5t#S256": base64.urlsafe_b64encode(digest).decode().rstrip("=")}


if __name__ == "__main__":
    main()
