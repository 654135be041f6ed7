"""The bodies of parsers_client.py: JSONTestSuite's documents, where they are there, and tricks of our own."""

import gzip
import json
import os


def documents(root):
    """Each document of the suite, and the string that it is or that its one array holds, if it does."""
    place = os.environ.get("PORTCULLIS_VECTORS")
    place = (root / ".." / "shared" / "vectors" if place is None else root / place) / "json"
    if not place.is_dir():
        print(f"# parsers: no vectors at {place}, passed over", flush=True)
        return
    for path in sorted(place.glob("*.json")):
        document = path.read_bytes()
        inner = document.strip()
        if inner[:1] == b"[" and inner[-1:] == b"]":
            inner = inner[1:-1].strip()
        # The longest are a hundred thousand brackets, which say no more than a thousand do.
        document = document if len(document) < 5000 else document[:2000]
        yield document, inner if "_string_" in path.name and inner[:1] == b'"' else None


def wrapped(document, string, types):
    """A document as the whole body, as a value at several places, and as a key."""
    for rule in ("either", "present", "only"):
        yield rule, document
    value = b'{"a":' + document + b"}"
    yield from ((rule, value) for rule in ("either", "present", "absent", "small", "not-one", "one", "big", "only"))
    yield from ((f"type-{kind}", value) for kind in types)
    yield "either", b'{"b":{"c":' + document + b"}}"
    yield "either", b'{"l":[' + document + b"]}"
    yield "either", b'{"role":' + document + b',"a":1}'
    # Beside what is judged, where it is only passed over.
    yield "present", b'{"a":1,"other":' + document + b"}"
    yield "present", b'{"other":[' + document + b'],"a":1}'
    yield "count", b'{"list":[' + document + b"]}"
    yield "none", b'{"list":[{"name":' + document + b"}]}"
    escaped = json.dumps(document.decode("latin-1")).encode()
    yield "args", b'{"args":' + escaped + b"}"
    if string is not None:
        yield "either", b"{" + string + b':1,"a":2}'
        yield "present", b'{"a":2,' + string + b":1}"
        yield "only", b"{" + string + b":1}"
        yield "not-admin", b'{"role":"user",' + string + b':"admin"}'


def _tricks():
    """(rule, body, headers, whether it must be permitted; None: either, if all parsers agree)."""
    plain = {}
    # Controls: a gateway that refuses all passes nothing here.
    yield from (
        ("admin", b'{"role":"admin"}', plain, True),
        ("admin", b'{"r\\u006fle":"adm\\u0069n"}', plain, True),
        ("not-admin", b'{"role":"user"}', plain, True),
        ("not-admin", b'{"role":"admin\\u0000"}', plain, True),
        ("small", b'{"a":100}', plain, True),
        ("small", b'{"a":-1e9}', plain, True),
        ("one", b'{"a":1.0}', plain, True),
        ("one", b'{"a":10e-1}', plain, True),
        ("only", b'{"a":1,"b":{"x":1}}', plain, True),
        ("every", b'{"list":[{"name":"x"},{"name":"y","z":1}]}', plain, True),
        ("none", b'{"list":[]}', plain, True),
        ("count", b'{"list":[1,2]}', plain, True),
        ("args", b'{"args":"{\\"name\\":\\"x\\"}"}', plain, True),
        ("admin", b' \t\r\n{ "role" : "admin" } \n', plain, True),
        ("admin", gzip.compress(b'{"role":"admin"}'), {"Content-Encoding": "gzip"}, True),
        ("admin", b'{"role":"admin"}', {"Content-Type": "application/json; charset=utf-8"}, True),
        ("admin", b'{"role":"admin"}', {"Content-Type": 'application/json;charset="UTF-8"'}, None),
    )
    # A judged key twice, in every spelling of it.
    twins = [
        b'"role"', b'"r\\u006fle"', b'"\\u0072ole"', b'"\\u0072\\u006F\\u006c\\u0065"', b'"ROLE"', b'"Role"', b'"rolE"',
        b'"r\\u004fle"', b'"\\u0052ole"',
    ]
    for twin in twins:
        for rule, first, second in [("not-admin", b"user", b"admin"), ("admin", b"admin", b"user")]:
            yield rule, b'{"role":"' + first + b'",' + twin + b':"' + second + b'"}', plain, False
            yield rule, b"{" + twin + b':"' + second + b'","role":"' + first + b'"}', plain, False
    # Names that are none of the judged one, whatever they look like.
    others = [
        b'"role "', b'" role"', b'"role\\u0000"', b'"\\u0000role"', b'"role\\u200b"', b'"\\ufeffrole"', b'"r\xc3\xb6le"',
        b'"role[]"', b'"role.x"', b'"r\\u200dole"', b'"rol\xd0\xb5"', b'"\xef\xbd\x92ole"', b'"__proto__"', b'"constructor"',
        b'"$ref"', b'"role/x"', b'"ro~0le"', b'""', b'"0"', b'"-0"', b'"00"', b'"1.0"', b'"toString"', b'"hasOwnProperty"',
    ]
    for other in others:
        yield "not-admin", b'{"role":"user",' + other + b':"admin"}', plain, None
        yield "not-admin", b"{" + other + b':{"role":"admin"},"role":"user"}', plain, None
        yield "absent", b'{"a":1,' + other + b':"admin"}', plain, None
        yield "only", b'{"a":1,' + other + b":1}", plain, False
    # Letters that fold to ASCII ones: the Kelvin sign, the long s, and dotted and dotless i, which fold to none.
    for name, twin in [
        ("kiss", "\u212aiss"), ("kiss", "ki\u017fs"), ("kiss", "ki\u017f\u017f"), ("kiss", "KISS"), ("kiss", "Ki\u017fS"),
    ]:
        yield "only", f'{{"{name}":1,"{twin}":2}}'.encode(), plain, False
        yield "either", f'{{"{name}":1,"{twin}":2}}'.encode(), plain, False
        yield "either", f'{{"{twin}":2}}'.encode(), plain, False
    for twin in ("k\u0131ss", "k\u0130ss", "ki\u00df", "ki\ufb06", "kis\u0455"):
        yield "either", f'{{"kiss":1,"{twin}":2}}'.encode(), plain, None
    # Above, beside and inside what is judged.
    yield from (
        ("either", b'{"b":{"c":1},"b":{"c":2}}', plain, False),
        ("either", b'{"b":{"c":1},"B":{"c":2}}', plain, False),
        ("either", b'{"b":{"c":1,"C":2}}', plain, False),
        ("either", b'{"b":{"c":1},"b":1}', plain, False),
        ("either", b'{"b":1,"b":{"c":1}}', plain, False),
        ("either", b'{"l":[1],"l":[2]}', plain, False),
        ("either", b'{"l":[1],"L":[2]}', plain, False),
        ("either", b'{"l":{"0":1}}', plain, None),
        ("either", b'{"l":{"00":1}}', plain, None),
        ("either", b'{"l":{"0":1,"00":2,"0.0":3,"-0":4}}', plain, None),
        ("either", b'{"l":"text"}', plain, None),
        ("either", b'{"l":["x","y"]}', plain, True),
        ("either", b'{"b":[{"c":1}]}', plain, None),
        ("either", b'{"b":"c"}', plain, None),
        ("either", b'{"b":null}', plain, None),
        ("either", b'{"b":{"c":null}}', plain, True),
        ("either", b'[{"a":1}]', plain, None),
        ("present", b'{"a":{"x":1,"x":2}}', plain, False),
        ("present", b'{"a":[{"x":1,"\\u0078":2}]}', plain, False),
        ("present", b'{"a":{"x":1,"X":2}}', plain, None),
        ("present", b'{"a":1,"other":{"x":1,"x":2}}', plain, None),
        ("every", b'{"list":[{"name":"x","name":"z"}]}', plain, False),
        ("every", b'{"list":[{"name":"x","Name":"z"}]}', plain, False),
        ("every", b'{"list":[{"name":"x","NAME":"z"},{"name":"x"}]}', plain, False),
        ("every", b'{"list":[{"name":"x"}],"List":[{"name":"z"}]}', plain, False),
        ("every", b'{"list":{"0":{"name":"z"}}}', plain, False),
        ("every", b'{"list":[]}', plain, False),
        ("every", b'{"list":[{"name":"x"},{}]}', plain, False),
        ("every", b'{"list":[{"name":"x"},null]}', plain, False),
        ("none", b'{"list":[{"name":"x","Name":"z"}]}', plain, False),
        ("none", b'{"list":[{"Name":"z"}]}', plain, False),
        ("none", b'{"list":[{"n\\u0061me":"z"}]}', plain, False),
        ("none", b'{"list":{"0":{"name":"z"}}}', plain, False),
        ("args", b'{"args":"{\\"name\\":\\"x\\",\\"name\\":\\"z\\"}"}', plain, False),
        ("args", b'{"args":"{\\"name\\":\\"x\\",\\"Name\\":\\"z\\"}"}', plain, False),
        ("args", b'{"args":"{\\"name\\":\\"x\\"} {\\"name\\":\\"z\\"}"}', plain, False),
        ("args", b'{"args":"\\ufeff{\\"name\\":\\"x\\"}"}', plain, False),
        ("args", b'{"args":{"name":"x"}}', plain, False),
        ("args", b'{"args":"{\\"name\\":\\"\\\\u0078\\"}"}', plain, True),
        ("args", b'{"args":"{\\"n\\\\u0061me\\":\\"x\\"}"}', plain, True),
        ("absent", b'{"a":1,"Role":"admin"}', plain, False),
        ("absent", b'{"a":1,"role":null}', plain, False),
        ("absent", b'{"a":1,"b":{"C":1}}', plain, False),
        ("absent", b'{"a":1,"B":{"c":1}}', plain, False),
        ("only", b'{"a":1,"role":1}', plain, False),
        ("only", b'{"a":1,"A":1}', plain, False),
    )
    # Numbers at the edges of doubles and integers.
    for number in (
        "1", "1.0", "1e0", "0.1e1", "10e-1", "1.00000000000000000000001", "0.99999999999999999999999", "-0", "0", "-0.0",
        "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740994", "9223372036854775807",
        "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809", "1e308", "1e309",
        "-1e309", "1e-400", "1e400", "1E400", "1e-1000000", "1e1000000", "0e1000000", "100.00000000000000001",
        "100.0000000000001", "99.99999999999999999999", "1e2", "1e+2", "1e02", "1e+00002", "0.1", "1" + "0" * 60, "0." + "0" * 60 + "1",
        "1" * 400, "1" * 39, "1" * 40, "1" * 41, "0.30000000000000004", "5e-324", "2e-324", "2.5e-324", "4294967296", "2147483648",
    ):
        for rule in ("either", "small", "one", "not-one", "big", "type-integer", "type-number"):
            yield rule, b'{"a":' + number.encode() + b"}", plain, None
    for number in ("01", "+1", ".5", "1.", "0x10", "1e", "1e+", "-", "--1", "1_000", "NaN", "Infinity", "-Infinity", "nan", "1n", "\u0661"):
        yield "either", b'{"a":' + number.encode() + b"}", plain, False
        yield "present", b'{"a":1,"x":' + number.encode() + b"}", plain, False
    # Text: what is cut in a record, what isn't Unicode, what isn't printed.
    for value in (
        "x" * 127, "x" * 128, "x" * 129, "x" * 126 + "é", "x" * 127 + "é", "x" * 126 + "€", "x" * 125 + "😀", "\u2028\u2029", "\x7f",
        "\u0085", "\ufeff", "\ufffe", "\uffff", "😀", "e\u0301", "é", "\u202e", "\U0010ffff", "\u0000", "a\u0000b", "</script>", "true", "null", "1",
    ):
        for ascii_only in (True, False):
            written = json.dumps(value, ensure_ascii=ascii_only).encode()
            yield "either", b'{"a":' + written + b',"role":' + written + b"}", plain, True
            yield "type-string", b'{"a":' + written + b"}", plain, True
            yield "either", b'{"a":1,' + written + b":2}", plain, None
    for escape in (
        rb"\ud800", rb"\udc00", rb"\ud800\ud800", rb"\udc00\ud800", rb"\ud83d\u0041", rb"\uD83D\uDE0", rb"\x41", rb"\'", rb"\0", rb"\a", rb"\u{41}",
        rb"\U0041", rb"\u00g1", rb"\ud83dx", "\ud800".encode("utf-8", "surrogatepass"), b"\xff", b"\xc0\x80", b"\xe0\x80\x80",
        b"\xf4\x90\x80\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\x80", b"\xc3", b"\n", b"\t", b"\0", b"\x1f", b"\r",
    ):
        yield "either", b'{"a":"' + escape + b'"}', plain, False
        yield "present", b'{"a":1,"x":"' + escape + b'"}', plain, False
        yield "present", b'{"a":1,"' + escape + b'":1}', plain, False
        yield "not-admin", b'{"role":"user","role' + escape + b'":"admin"}', plain, False
    # What only lenient parsers read.
    for body in (
        b'{"role":"user"}{"role":"admin"}', b'{"role":"user"}\n{"role":"admin"}', b'{"role":"user"},', b'{"role":"user",}', b'{"role":"user"}\0',
        b'{"role":"user"}]', b'{"role":"user"}//x', b'/**/{"role":"user"}', b'{/*"role":"admin",*/"role":"user"}', b"{'role':'user'}",
        b'{role:"user"}', b'{"role":"user" "x":1}', b'{"role":"user",,"x":1}', b'{,"role":"user"}', b'{"role":="user"}', b'{"role":"user";"x":1}',
        b'\xef\xbb\xbf{"role":"user"}', b'\xc2\xa0{"role":"user"}', b'{"role"\xc2\xa0:"user"}', b'\x0c{"role":"user"}', b'\x0b{"role":"user"}',
        b'{"role":"user"}\x1a', b'{"role":"user"}\xe2\x80\xa8', b'{"role":\xe2\x80\xa8"user"}', b")]}',\n" + b'{"role":"user"}', b'\x1e{"role":"user"}\n',
        '{"role":"user"}'.encode("utf-16"), '{"role":"user"}'.encode("utf-16-le"), '{"role":"user"}'.encode("utf-32-be"),
        '+AHs-"role":"user"+AH0-'.encode(), b'{"role":tRUE}', b'{"role":True}', b'{"role":undefined}', b'{"role":"user"', b'"role"', b"", b" ", b"null",
        b'{"role":user}', b'{"role":"us"+"er"}', b'{"role":`user`}', b'{"role":"""user"""}', b'{"role":"us\\\ner"}', b'{"role":"user"}}', b'{{"role":"user"}}',
    ):
        yield "not-admin", body, plain, False
    # Depth.
    for depth in (60, 62, 63, 64, 65, 100, 511, 512, 513, 1000, 5000):
        for opened, closed in ((b"[", b"]"), (b'{"x":', b"}")):
            inner = opened * depth + b"1" + closed * depth
            yield "present", b'{"a":' + inner + b"}", plain, depth <= 63
            yield "present", b'{"a":1,"x":' + inner + b"}", plain, depth <= 63
    # Size and encodings.
    yield "admin", b'{"role":"admin"' + b" " * 1_100_000 + b"}", plain, False
    yield "admin", gzip.compress(b'{"role":"admin"}') + gzip.compress(b'{"role":"user"}'), {"Content-Encoding": "gzip"}, False
    yield "admin", gzip.compress(b'{"role":"admin"}') + b"{}", {"Content-Encoding": "gzip"}, False
    yield "admin", gzip.compress(b'{"role":"admin"}')[:-1], {"Content-Encoding": "gzip"}, False
    for kind in ("application/json; charset=utf-16", "application/json; charset=utf-7", "application/json; charset=latin1", "text/json", "application/xml",
                 "application/json, text/plain", "application/json; charset=utf-8; charset=utf-16", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        yield "admin", b'{"role":"admin"}', {"Content-Type": kind}, False
    # Many members, so that whatever compares them takes its other way.
    many = ",".join(f'"k{n}":{n}' for n in range(40)).encode()
    yield "not-admin", b'{"role":"user",' + many + b"}", plain, True
    yield "not-admin", b'{"role":"user",' + many + b',"role":"admin"}', plain, False
    yield "not-admin", b"{" + many + b',"role":"user","k7":1}', plain, False
    yield "not-admin", b'{"Role":"admin",' + many + b',"role":"user"}', plain, False
    yield "every", b'{"list":[' + b",".join([b'{"name":"x"}'] * 50) + b',{"name":"z"}]}', plain, False


TRICKS = list(_tricks())
