"""nginx as upstream, asked by curl: static files with all that HTTP offers for them."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess

from curl import Curl
from harness import Authority, Checks, bearer, folder, gateway, is_problem, same, until

CONFIG = """
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: files }}]
upstreams: {{ files: {{ addresses: "http://{upstream}" }} }}
policies: policy.yaml
"""

POLICY = """
version: 1
policies:
  - id: files.read
    who: { agent: { glob: "spiffe://corp/agent/assistant/*" } }
    do:  GET,HEAD /files/{file...}
  - id: files.secret
    effect: forbid
    do:  GET /files/secret/{file...}
"""

SECURE = """
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: files }}]
upstreams:
  files:
    addresses: "https://{upstream}"
    protocol: {protocol}
    tls: {{ ca: {ca}.pem, server_name: {name}, certificate: proxy.pem, key: proxy.key }}
policies: policy.yaml
"""

NGINX = """
daemon off; master_process off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
events {{}}
http {{
  access_log {place}/access.log;
  client_body_temp_path {place}/t1; proxy_temp_path {place}/t2; fastcgi_temp_path {place}/t3;
  uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5;
  types {{ text/plain txt; }} default_type application/octet-stream;
  gzip on; gzip_types text/plain; gzip_min_length 10;
  log_format connections '$connection';
  access_log {place}/connections.log connections;
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{secure} ssl http2;
    ssl_certificate {place}/server.pem; ssl_certificate_key {place}/server.key;
    ssl_client_certificate {place}/clients.pem; ssl_verify_client on;
    add_header X-Client $ssl_client_s_dn always; add_header X-Protocol $server_protocol always;
    root {place}/www;
    location = /files/redirect {{ return 302 http://$host/files/hello.txt; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(place):
    www = place / "www" / "files"
    (www / "secret").mkdir(parents=True)
    (www / "hello.txt").write_text("Hello from nginx, this is a text of some length.\n")
    (www / "secret" / "key.txt").write_text("not for you")
    (www / "large.bin").write_bytes(os.urandom(8 * 1024 * 1024))
    os.chmod(place, 0o755)
    Authority("authority", place).server()
    Authority("clients", place).workload("proxy", "spiffe://corp/proxy")
    Authority("strangers", place)
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        port, secure = one.getsockname()[1], other.getsockname()[1]
    conf = place / "nginx.conf"
    conf.write_text(NGINX.format(place=place, port=port, secure=secure))
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([binary, "-p", place, "-c", conf, "-e", place / "error.log"])
    try:
        until(lambda: process.poll() is not None or socket.socket().connect_ex(("127.0.0.1", port)) == 0, "nginx")
        assert process.poll() is None, (place / "error.log").read_text()
        yield f"127.0.0.1:{port}", f"127.0.0.1:{secure}", www
    finally:
        process.terminate()
        process.wait(10)


def main():
    checks = Checks("nginx")
    with folder() as place, nginx(place) as (upstream, secure, www):
        with gateway(place, CONFIG.format(upstream=upstream), POLICY) as proxy:
            run(checks, Curl(place), proxy, www, place)
        for protocol, spoken in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")]:
            over_tls(checks, Curl(place), place, secure, www, protocol, spoken)
    checks.end()


def run(checks, curl, proxy, www, place):
    text = (www / "hello.txt").read_bytes()
    hello, large = f"{proxy.url}/files/hello.txt", f"{proxy.url}/files/large.bin"
    auth = bearer()

    with checks("a file, with its validators"):
        got = curl(hello, headers=auth)
        same((got.status, got.body, got.headers["content-type"]), (200, text, "text/plain"))
        assert got.headers["etag"] and got.headers["last-modified"]
        same(got.headers["content-length"], str(len(text)))
        tag, modified = got.headers["etag"], got.headers["last-modified"]

    with checks("HEAD: the same head, and no body"):
        head = curl("--head", hello, headers=auth)
        same((head.status, head.headers["content-length"]), (200, str(len(text))))
        same(head.headers["etag"], tag)
        same(head.told["size_download"], 0)

    with checks("conditional requests: 304 and 412"):
        same(curl(hello, headers={**auth, "If-None-Match": tag}).status, 304)
        same(curl(hello, headers={**auth, "If-Modified-Since": modified}).status, 304)
        same(curl(hello, headers={**auth, "If-Match": '"other"'}).status, 412)

    with checks("a range, several ranges, and one that isn't there"):
        got = curl("--range", "6-9", hello, headers=auth)
        same((got.status, got.body, got.headers["content-range"]), (206, text[6:10], f"bytes 6-9/{len(text)}"))
        got = curl("--range", "0-1,4-5", hello, headers=auth)
        same(got.status, 206)
        assert got.headers["content-type"].startswith("multipart/byteranges")
        same(curl("--range", "9999-", hello, headers=auth).status, 416)

    with checks("a compressed answer stays compressed, in chunks"):
        got = curl("--compressed", hello, headers=auth)
        same((got.status, got.body, got.headers["content-encoding"]), (200, text, "gzip"))

    with checks("a large file, byte for byte"):
        got = curl(large, headers=auth)
        same(hashlib.sha256(got.body).digest() == hashlib.sha256((www / "large.bin").read_bytes()).digest(), True)

    with checks("a large file over HTTP/2, slowly read"):
        got = curl("--http2-prior-knowledge", "--limit-rate", "8M", large, headers=auth)
        same((got.version, len(got.body)), ("2", 8 * 1024 * 1024))

    with checks("nginx's own 404 and redirect are relayed"):
        got = curl(f"{proxy.url}/files/none.txt", headers=auth)
        same(got.status, 404)
        assert b"nginx" in got.body
        got = curl(f"{proxy.url}/files/redirect", headers=auth)
        same((got.status, got.headers["location"].endswith("/files/hello.txt")), (302, True))

    with checks("connections are kept on both sides"):
        before = connections(place)
        first, *rest = curl.several([hello] * 5, headers=auth)
        same([got.status for got in [first, *rest]], [200] * 5)
        same([got.connects for got in [first, *rest]], [1, 0, 0, 0, 0])
        until(lambda: len(connections(place)) == len(before) + 5, "nginx's log")
        same(len(set(connections(place)[-5:])), 1, "connections to nginx")

    asked = len(connections(place))
    for what, path, headers, status, reason in [
        ("a forbidden folder", "/files/secret/key.txt", auth, 403, "forbidden"),
        ("a forbidden folder in another case", "/files/SECRET/key.txt", auth, 403, "forbidden"),
        ("dot segments", "/files/x/../secret/key.txt", auth, 400, "ambiguous_request"),
        ("encoded dot segments", "/files/%2e%2e/secret/key.txt", auth, 400, "ambiguous_request"),
        ("an encoded slash", "/files/secret%2fkey.txt", auth, 400, "ambiguous_request"),
        ("an empty segment", "/files//secret/key.txt", auth, 400, "ambiguous_request"),
        ("a file without a token", "/files/hello.txt", {}, 401, "no_credentials"),
    ]:
        with checks(f"refused: {what}"):
            got = curl("--path-as-is", proxy.url + path, headers=headers)
            same(got.status, status)
            is_problem(got.body, reason)
    with checks("refused: to write"):
        same(curl("--request", "PUT", "--data", "x", hello, headers=auth).status, 403)
    with checks("no refused request reached nginx"):
        same(len(connections(place)), asked)


def over_tls(checks, curl, place, upstream, www, protocol, spoken):
    def asked(ca, name):
        config = SECURE.format(upstream=upstream, protocol=protocol, ca=ca, name=name)
        with gateway(place, config, POLICY) as proxy:
            return curl(f"{proxy.url}/files/large.bin", headers=bearer())

    with checks(f"over TLS, with a certificate of the proxy's own, {spoken}"):
        got = asked("authority", "localhost")
        same((got.status, got.headers["x-protocol"], got.headers["x-client"]), (200, spoken, "CN=proxy"))
        same(got.body == (www / "large.bin").read_bytes(), True)
    for what, ca, name in [("of another authority", "strangers", "localhost"), ("for another name", "authority", "other")]:
        with checks(f"no request goes to a server with a certificate {what}, {protocol}"):
            got = asked(ca, name)
            same(got.status, 502)
            is_problem(got.body, "upstream_failed")


def connections(place):
    return (place / "connections.log").read_text().splitlines()


if __name__ == "__main__":
    main()
