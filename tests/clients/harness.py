"""What every client script needs: checks, credentials, backends of others, and a Portcullis in front of them.

A script starts its backend on a free port, then `gateway(...)` with a configuration and policies, and runs its
checks. Each check prints one line, `ok …` or `not ok …`; the script exits 1 if one failed. Nothing sleeps:
readiness is a log line, and order within a stream is an event that both ends share.
"""

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import jwt
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = Path(__file__).resolve().parents[2]
ISSUER = "https://issuer.local"
AUDIENCE = "portcullis"
AGENT = "spiffe://corp/agent/assistant/1"
# Long enough for a loaded machine; nothing waits for it when all is well.
PATIENCE = 20


class Checks:
    """Counts and prints checks: `with checks("what holds"): assert …`."""

    def __init__(self, client):
        self.client, self.failed = client, 0
        if "VERBOSE" not in os.environ:
            # Servers tell of each connection that a client drops, which is what some checks are about.
            logging.disable()

    @contextlib.contextmanager
    def __call__(self, what):
        try:
            yield
        except Exception as error:
            self.failed += 1
            # What failed here is of interest, not how a package got there.
            shown = traceback.TracebackException.from_exception(error, limit=None if "VERBOSE" in os.environ else -2)
            print("".join(shown.format(chain="VERBOSE" in os.environ)), file=sys.stderr, flush=True)
            print(f"not ok {self.client}: {what}", flush=True)
        else:
            print(f"ok {self.client}: {what}", flush=True)

    def end(self):
        sys.stdout.flush()
        # Threads of servers may still be there; they end with the process.
        os._exit(1 if self.failed else 0)


def same(got, expected, what="value"):
    assert got == expected, f"{what}: expected {expected!r}, got {got!r}"


KEY = ec.generate_private_key(ec.SECP256R1())


def jwks():
    key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    return {"keys": [{**key, "kid": "one", "use": "sig", "alg": "ES256"}]}


def token(agent=AGENT, **claims):
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": agent, "iat": now, "exp": now + 300, **claims}
    return jwt.encode(claims, KEY, algorithm="ES256", headers={"kid": "one"})


def bearer(**claims):
    return {"Authorization": f"Bearer {token(**claims)}"}


class Authority:
    """A certificate authority of its own, for TLS listeners and client certificates."""

    def __init__(self, name, folder):
        self.folder, self.name = Path(folder), name
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = _usage(key_cert_sign=True, crl_sign=True)
        self.certificate = (
            _certificate(subject, subject, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self._write(f"{name}.pem", self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name, *names, client=False):
        """Writes `{name}.pem` and `{name}.key`, with these subject alternative names; both paths come back."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate = (
            _certificate(subject, self.certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return (
            self._write(f"{name}.pem", certificate.public_bytes(pem)),
            self._write(f"{name}.key", key.private_bytes(pem, *plain)),
        )

    def server(self):
        return self.issue("server", x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))

    def workload(self, name, spiffe_id):
        return self.issue(name, x509.UniformResourceIdentifier(spiffe_id), client=True)

    def _write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


def _certificate(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)


def _usage(**on):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
        " crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in on for name in names.split()})


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="portcullis-clients-") as path:
        yield Path(path)


class Gateway:
    """A running proxy: `addresses` of its listeners in order, `url`, and what it recorded in its folder, `place`."""

    def __init__(self, place, process, addresses, admin):
        self.place, self.process, self.addresses, self.admin = place, process, addresses, admin
        self.url = f"http://{addresses[0]}"

    def records(self, kind="decision"):
        # Not splitlines(), which takes more than a line feed for an end.
        lines = (self.place / "audit.jsonl").read_text().split("\n")
        return [record for record in map(json.loads, filter(None, lines)) if record["kind"] == kind]

    def decision(self, decision_id):
        """The one record of a decision."""
        found = [record for record in self.records() if record["id"] == decision_id]
        same(len(found), 1, f"decisions {decision_id}")
        return found[0]


IDENTITY = f"""
identity:
  providers:
    local:
      issuer: {ISSUER}
      audience: {AUDIENCE}
      algorithms: [ES256]
      keys: {{ file: jwks.json }}
      agents: ["spiffe://corp/agent/**"]
"""

TAIL = """
audit: { to: audit.jsonl, fields: [{ fields: "body/**", as: shown }] }
admin: { address: 127.0.0.1:0 }
workers: 1
log: { format: json, filter: "info" }
"""


@contextlib.contextmanager
def gateway(place, config, policies=None):
    """Runs `portcullis serve` in `place`, on ports of its choice, and stops it in the end.

    `config` is the text of listeners, routes and upstreams; the rest is the same for all.
    """
    (place / "jwks.json").write_text(json.dumps(jwks()))
    if policies is not None:
        (place / "policy.yaml").write_text(policies)
    path = place / "portcullis.yaml"
    path.write_text("version: 1\n" + config + IDENTITY + TAIL)
    with serve(place, path) as running:
        yield running


@contextlib.contextmanager
def example(place, name, upstream):
    """Runs `examples/{name}` as it is shipped, but for its ports and its upstream's address.

    What comes with the gateway makes credentials, by the examples' own issuer: `credential("spiffe://…")`.
    """
    for part in ("policies", "examples"):
        shutil.copytree(ROOT / part, place / part)
    place = place / "examples" / name
    path = place / "portcullis.yaml"
    text = path.read_text()
    for pattern, by in [
        (r"(?m)^(\s*- address: )\S+", r"\g<1>127.0.0.1:0"),
        (r"(?m)^(\s*addresses: )\S+", rf"\g<1>http://{upstream}"),
        (r"(?m)^audit:\n.*\n", TAIL),
    ]:
        text, count = re.subn(pattern, by, text)
        same(count, 1, f"places for {pattern} in {path}")
    path.write_text(text)

    def credential(agent=AGENT):
        issued = subprocess.run(["../token", agent], cwd=place, stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        return issued.stdout.decode().strip()

    credential()  # the issuer's key has to be there before the gateway
    with serve(place, path) as running:
        yield running, credential


@contextlib.contextmanager
def serve(place, config):
    binary = os.environ["PORTCULLIS"]
    command = [binary, "serve", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    served, log = threading.Event(), []

    def read():
        for line in process.stderr:
            log.append(line)
            if '"serving"' in line:
                served.set()
        served.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        assert served.wait(PATIENCE), "portcullis didn't start in time"
        line = next((line for line in log if '"serving"' in line), None)
        assert line, f"portcullis didn't start:\n{''.join(log)}"
        fields = json.loads(line)["fields"]
        yield Gateway(place, process, fields["listening"].split(", "), fields["admin"])
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            log.append("portcullis didn't end when it was told to; killed\n")
        if os.environ.get("VERBOSE"):
            sys.stderr.writelines(log)
        elif any(word in line for line in log for word in ("panicked", "killed")):
            sys.stderr.writelines(log)


@contextlib.contextmanager
def asgi(app):
    """Serves an ASGI application by uvicorn on a free port; its address comes back."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not (server.started and server.servers) and time.monotonic() < end:
        thread.join(0.01)
    assert server.started, "uvicorn didn't start in time"
    try:
        yield "127.0.0.1:%d" % server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True  # streams may be open
        thread.join(PATIENCE)


def until(condition, what):
    """Waits for a condition that another process brings about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"in vain: {what}"
        threading.Event().wait(0.01)


def within(coroutine, seconds=PATIENCE):
    """Runs a coroutine, and no longer than this."""
    async def bounded():
        return await asyncio.wait_for(coroutine, seconds)

    return asyncio.run(bounded())


def is_problem(body, reason):
    """Whether a body is the problem document of this reason; it comes back."""
    body = json.loads(body) if isinstance(body, (bytes, bytearray, str)) else body
    same(body["reason"], reason, "reason")
    same(body["type"], f"urn:portcullis:{reason}", "type")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", body["decision_id"]), body
    return body
