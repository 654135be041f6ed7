"""Other JSON parsers as witnesses: what was permitted is what the application behind reads.

Many bodies, most of them odd, are sent through a proxy that judges them. Each that is permitted is given, as the
upstream got it, to Python's json, Node's JSON.parse, Go's encoding/json (map and struct) and PHP's json_decode
(arrays and objects). All that can read it must read in the judged fields what the decision's record says, and
what the policy permits. A parser that refuses the body does no harm.
"""

import base64
import gzip
import http.client
import http.server
import json
import math
import os
import shutil
import struct
import subprocess
import threading
from collections import Counter

from harness import ROOT, Checks, folder, gateway, same
from parsers.bodies import TRICKS, documents, wrapped
from parsers.forms import texts

CONFIG = """
listeners: [{{ address: 127.0.0.1:0 }}]
routes: [{{ upstream: app }}]
upstreams: {{ app: {{ addresses: "http://{upstream}" }} }}
policies: policy.yaml
"""

# `either` reads a field whatever it is, so that the record tells it.
EITHER = "{ any_of: [{ present: true }, { absent: true }] }"
FIELDS = ["/a", "/b/c", "/l/0", "/role", "/kiss"]
TYPES = ["null", "boolean", "number", "integer", "string", "array", "object"]
RULES = {
    "either": "{ " + ", ".join(f"{pointer}: {EITHER}" for pointer in FIELDS) + " }",
    "present": "{ /a: { present: true } }",
    "absent": "{ /a: { present: true }, /role: { absent: true }, /b/c: { absent: true } }",
    "admin": "{ /role: admin }",
    "not-admin": "{ /role: { ne: admin } }",
    "small": "{ /a: { lte: 100 } }",
    "not-one": "{ /a: { ne: 1 } }",
    "one": "{ /a: 1 }",
    "big": "{ /a: 9007199254740993 }",
    "only": "{ only: [/a, /b, /kiss] }",
    "every": "{ /list: { every: { /name: { in: [x, y] } } } }",
    "none": "{ /list: { none: { /name: z } } }",
    "count": "{ /list: { count: { lte: 2 } } }",
    "args": '{ /args: { json: { only: [/name], /name: x } } }',
    **{f"type-{kind}": f'{{ /a: {{ type: "{kind}" }} }}' for kind in TYPES},
}
POLICY = "version: 1\npolicies:\n" + "".join(
    f"  - {{ id: {name}, who: anonymous, do: POST /{name}, body: {body} }}\n" for name, body in RULES.items()
)

KIND = {"Content-Type": "application/json"}
# A name that is judged, and what every value of it must be.
FORM_RULES = {
    "form-not-admin": ("role", lambda value: value != b"admin"),
    "form-admin": ("role", lambda value: value == b"admin"),
    "form-id": ("user_id", lambda value: value != b"0"),
    "form-closed": ("role", lambda value: value == b"user"),
    "query-not-admin": ("role", lambda value: value != b"admin"),
    "query-admin": ("role", lambda value: value == b"admin"),
    "query-id": ("user_id", lambda value: value != b"0"),
}
FORM_KIND = {"Content-Type": "application/x-www-form-urlencoded"}
FORM = "content_type: [application/x-www-form-urlencoded]"
POLICY += f"""
  - {{ id: form-not-admin, who: anonymous, do: POST /form-not-admin, body: {{ {FORM}, /role: {{ ne: admin }} }} }}
  - {{ id: form-admin, who: anonymous, do: POST /form-admin, body: {{ {FORM}, /role: admin }} }}
  - {{ id: form-id, who: anonymous, do: POST /form-id, body: {{ {FORM}, /user_id: {{ ne: "0" }} }} }}
  - {{ id: form-closed, who: anonymous, do: POST /form-closed, body: {{ {FORM}, only: [/x], /role: user }} }}
  - {{ id: query-not-admin, who: anonymous, do: GET /query-not-admin, query: {{ role: {{ ne: admin }}, only: [x, user_id] }} }}
  - {{ id: query-admin, who: anonymous, do: GET /query-admin, query: {{ role: admin, only: [x, user_id] }} }}
  - {{ id: query-id, who: anonymous, do: GET /query-id, query: {{ user_id: {{ ne: "0" }}, only: [x, role] }} }}
"""
MISSING = ["missing"]
ERROR = ["error"]


class Upstream(http.server.ThreadingHTTPServer):
    """Keeps the bodies that it gets."""

    daemon_threads = True

    def __init__(self):
        self.bodies = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.keep(self.path.partition("?")[2].encode())

    def do_POST(self):
        self.keep(self.rfile.read(int(self.headers["Content-Length"])))

    def keep(self, body):
        self.server.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    checks, upstream = Checks("parsers"), Upstream()
    with folder() as place:
        with gateway(place, CONFIG.format(upstream=f"127.0.0.1:{upstream.server_port}"), POLICY) as proxy:
            sent = [(rule, body, headers) for rule, body, headers in calls()]
            statuses, forwarded = send(proxy, upstream, sent)
            records, kept = proxy.records(), len(upstream.bodies)
            forms(checks, proxy, upstream)
    # Refusals of strangers above a rate are counted, not recorded; permits always are.
    records = [record for record in records if record["decision"] == "permit"]
    with checks(f"{len(sent)} bodies: an answer for each, a record and a forwarded body for each permit"):
        assert set(statuses) == {200, 400, 401, 413, 415}, Counter(statuses)
        same([got is not None for got in forwarded], [status == 200 for status in statuses])
        same(kept, statuses.count(200), "forwarded")
        same(len(records), statuses.count(200), "records")
        same(
            [record["policies"] for record in records],
            [[rule] for (rule, _, _), status in zip(sent, statuses) if status == 200],
        )
    with checks("what is permitted goes on byte for byte"):
        for (rule, body, headers), got in zip(sent, forwarded):
            if got is not None:
                plain = gzip.decompress(body) if "Content-Encoding" in headers else body
                assert got == plain, (rule, body, got)

    passed = [(call[0], got) for call, got in zip(sent, forwarded) if got is not None]
    permitted = [(*call, record["request"].get("judged", {})) for call, record in zip(passed, records)]
    unique = list(dict.fromkeys(body for _, body, _ in permitted))
    with checks("the parsers of Python, Node, Go and PHP read them"):
        read = witnesses(unique, place_for_go())
        names = {name for one in read.values() for name in one}
        same(names, {"python", "node", "go map", "go struct", "php arrays", "php objects"})
        for name in names:
            able = sum(one[name] != ERROR for one in read.values())
            assert able > len(unique) / 2, f"{name} reads {able} of {len(unique)}"
    for name in sorted(names):
        with checks(f"{name}: reads in the judged fields what the record says"):
            wrong = [
                f"{rule}: {body[:200]!r}: {pointer} is {found}, on record {judged.get(f'body{pointer}')!r}"
                for rule, body, judged in permitted
                if read[body][name] != ERROR
                for pointer in judged_pointers(rule, name)
                if not agrees(found := at(read[body][name], pointer, name), judged.get(f"body{pointer}"))
            ]
            assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:20]])
        with checks(f"{name}: reads nothing that the policy doesn't permit"):
            wrong = [
                f"{rule}: {body[:200]!r}: {shown(read[body][name])}"
                for rule, body, _ in permitted
                if read[body][name] != ERROR and not holds(rule, read[body][name], name)
            ]
            assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:20]])
    with checks("the tricks that a permit must not pass are refused, and their controls are permitted"):
        got = {(rule, body, str(headers)): status for (rule, body, headers), status in zip(sent, statuses)}
        wrong = []
        for rule, body, headers, wanted in TRICKS:
            headers = {**KIND, **headers}
            if wanted is None:
                continue
            if (got[rule, body, str(headers)] == 200) != wanted:
                wrong.append(f"{rule}: {body[:200]!r} {headers}: {got[rule, body, str(headers)]}")
        assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:30]])
    able = {name: sum(one[name] != ERROR for one in read.values()) for name in sorted(names)}
    print(
        f"# parsers: {len(sent)} bodies sent, {len(permitted)} permitted ({len(unique)} different), "
        f"{len(sent) - len(permitted)} refused; read by {able}",
        flush=True,
    )
    checks.end()


def forms(checks, proxy, upstream):
    """The same for forms and queries: each value that a parser has for a judged name is the one that was judged."""
    sent = [(rule, text, FORM_KIND) for rule in FORM_RULES for text in texts() if rule.startswith("form") or is_target(text)]
    before = len(proxy.records())
    statuses, forwarded = send(proxy, upstream, sent)
    records = [record for record in proxy.records()[before:] if record["decision"] == "permit"]
    passed = [(rule, text, got) for (rule, text, _), got in zip(sent, forwarded) if got is not None]
    with checks(f"{len(sent)} forms and queries: an answer for each, and what is permitted goes on byte for byte"):
        assert set(statuses) <= {200, 400, 401, 403}, Counter(statuses)
        same((len(passed), len(records)), (statuses.count(200), statuses.count(200)))
        same([got for _, _, got in passed], [text for _, text, _ in passed])
    read = witnesses(list(dict.fromkeys(text for _, text, _ in passed)), place_for_go(), "form")
    names = sorted({name for one in read.values() for name in one})
    same(names, ["go", "node URLSearchParams", "node querystring", "php", "python", "python by semicolons"])
    for name in names:
        with checks(f"{name}: reads no other value of a judged name in a form or a query"):
            wrong = []
            for rule, text, _ in passed:
                judged, condition = FORM_RULES[rule]
                values = [base64.b64decode(value) for value in read[text][name].get(key(judged), [])]
                # Judged and not read would be as bad.
                found = len(set(values)) == 1 and condition(values[0])
                if not found:
                    wrong.append(f"{rule}: {text!r}: {values}")
            assert not wrong, "\n".join([f"{len(wrong)} differ", *wrong[:20]])
    with checks("forms and queries: what is plain is permitted"):
        for rule in FORM_RULES:
            assert any(rule == one for one, _, _ in passed), rule
        assert len(passed) > 100, len(passed)
    print(f"# parsers: {len(sent)} forms and queries sent, {len(passed)} permitted, {len(sent) - len(passed)} refused", flush=True)


def is_target(text):
    return all(0x21 <= byte < 0x7F and byte != 0x23 for byte in text)


def calls():
    """Every body with the rule that judges it."""
    for document, string in documents(ROOT):
        for rule, body in wrapped(document, string, TYPES):
            yield rule, body, KIND
    for rule, body, headers, _ in TRICKS:
        yield rule, body, {**KIND, **headers}
        # A body that is odd in one rule is odd in all that read the same fields.
        if not headers and rule != "either":
            yield "either", body, KIND


def send(proxy, upstream, sent):
    """Posts all of them one after the other; statuses, and what was forwarded for each."""
    host, port = proxy.addresses[0].rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    statuses, forwarded = [], []
    for rule, body, headers in sent:
        before = len(upstream.bodies)
        try:
            if rule.startswith("query"):
                connection.request("GET", f"/{rule}?{body.decode()}")
            else:
                connection.request("POST", f"/{rule}", body=body, headers=headers)
            answer = connection.getresponse()
        except (BrokenPipeError, ConnectionResetError):
            # It was answered before the whole of a long body was sent.
            answer = http.client.HTTPResponse(connection.sock, method="POST")
            answer.begin()
        answer.read()
        if answer.status == 413:
            connection.close()
        statuses.append(answer.status)
        forwarded.append(upstream.bodies[before] if len(upstream.bodies) > before else None)
    connection.close()
    return statuses, forwarded


def place_for_go():
    """The Go reader, built once for a state of its source."""
    place = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "clients"
    place.mkdir(parents=True, exist_ok=True)
    return place / "read-go"


def witnesses(bodies, built, *form):
    """What each parser reads of each body: as JSON, or with `form` as a form."""
    parsers = ROOT / "tests" / "clients" / "parsers"
    source = parsers / "read.go"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["go", "build", "-o", built, source], check=True, timeout=300, env={**os.environ, "GO111MODULE": "off"})
    python = shutil.which("python3") or "python3"
    commands = [[python, parsers / "read.py"], ["node", parsers / "read.js"], ["php", parsers / "read.php"], [built]]
    given = b"".join(base64.b64encode(body) + b"\n" for body in bodies)
    read = {body: {} for body in bodies}
    for command in commands:
        told = subprocess.run([*command, *form], input=given, stdout=subprocess.PIPE, check=True, timeout=120).stdout
        lines = told.splitlines()
        same(len(lines), len(bodies), f"lines of {command[0]}")
        for body, line in zip(bodies, lines):
            read[body].update(json.loads(line))
    return read


def judged_pointers(rule, name):
    """The scalar fields that the rule's record tells."""
    return [pointer for pointer in [*FIELDS] if f"{pointer}:" in RULES[rule]]


def key(text):
    return base64.b64encode(text.encode()).decode()


def at(value, pointer, name=""):
    """The tagged value that a pointer leads to."""
    for token in pointer.split("/")[1:]:
        if value[0] == "obj":
            value = value[1].get(key(token), MISSING)
        elif value[0] == "arr" and token.isdigit() and str(int(token)) == token and int(token) < len(value[1]):
            value = value[1][int(token)]
        else:
            return MISSING
    return value


def number(tagged):
    return struct.unpack(">d", bytes.fromhex(tagged[1]))[0]


def text(tagged):
    return base64.b64decode(tagged[1]).decode("utf-8", "surrogatepass")


def agrees(found, recorded):
    """Whether a field, as a parser reads it, is what the record says of it."""
    if found[0] in ("missing", "arr", "obj"):
        return recorded is None
    if recorded is None:
        return False
    if found[0] == "null":
        return recorded == "null"
    if found[0] == "bool":
        return recorded == ("true" if found[1] else "false")
    if found[0] == "str":
        whole = text(found).encode("utf-8", "surrogatepass")
        told = recorded.encode()
        return whole == told or len(whole) > 128 and 125 <= len(told) <= 128 and whole.startswith(told)
    return as_double(recorded) == number(found) or len(recorded) == 128


def as_double(written):
    try:
        return float(written)
    except ValueError:
        return math.nan


def holds(rule, whole, name):
    """Whether what a parser reads is what the policy permits."""
    a, role = at(whole, "/a"), at(whole, "/role")
    elements = at(whole, "/list")
    names = [at(one, "/name") for one in elements[1]] if elements[0] == "arr" else []
    kind = rule.removeprefix("type-")
    tags = {"null": "null", "boolean": "bool", "number": "num", "integer": "num", "string": "str", "array": "arr", "object": "obj"}
    if rule.startswith("type-"):
        # PHP's arrays have forgotten which of the two they were.
        if name == "php arrays" and kind in ("array", "object"):
            return a[0] in ("arr", "obj")
        return a[0] == tags[kind] and (kind != "integer" or number(a).is_integer() or math.isinf(number(a)))
    if rule == "either":
        return True
    if rule == "present":
        return a != MISSING
    if rule == "absent":
        return a != MISSING and role == MISSING and at(whole, "/b/c") == MISSING
    if rule == "admin":
        return role == ["str", key("admin")]
    if rule == "not-admin":
        return role != MISSING and role != ["str", key("admin")]
    if rule == "small":
        return a[0] == "num" and number(a) <= 100
    if rule == "not-one":
        return not (a[0] == "num" and number(a) == 1)
    if rule == "one":
        return a[0] == "num" and number(a) == 1
    if rule == "big":
        return False if a[0] != "num" else number(a) == 9007199254740993.0
    if rule == "only":
        # What a struct doesn't name it doesn't read, so nothing can be said of it; its own names come always.
        return name == "go struct" or set(whole[1]) <= {key(k) for k in ("a", "b", "kiss")}
    if rule == "every":
        return bool(names) and all(one in (["str", key("x")], ["str", key("y")]) for one in names)
    if rule == "none":
        return all(one != ["str", key("z")] for one in names)
    if rule == "count":
        return elements[0] in ("arr", "obj") and len(elements[1]) <= 2
    if rule == "args":
        if at(whole, "/args")[0] != "str":
            return False
        inner = json.loads(text(at(whole, "/args")))
        return inner == {"name": "x"}
    raise AssertionError(f"no rule {rule}")


def shown(value):
    return json.dumps(value)[:300]


if __name__ == "__main__":
    main()
