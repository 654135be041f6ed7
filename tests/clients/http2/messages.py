"""RFC 9113, sections 8 and 10.5: what a request is, and what is too much."""

from harness import same
from http2.cases import HEADER_BYTES, alive, case, connection_error, malformed, over, served, slow
from http2.wire import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, frame, literal, reset

# 8.1 HTTP Message Framing


@case("8.1", "HEADERS in the middle of a request, without END_STREAM", malformed)
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"))
    c.send(frame(HEADERS, END_HEADERS, 1, c.block([(b"x-trailer", b"1")])), frame(DATA, END_STREAM, 1, b"y"))


@case("8.1", "trailers are taken, and dropped", served, forwards=1)
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block([(b"x-trailer", b"1")])))
    c.status()
    same(c.upstream.seen[-1][2].get_all("x-trailer"), None)


@case("8.1", "a head alone with END_STREAM has no body", served, forwards=1)
def _(c):
    c.request(1, c.head(method=b"POST", path=b"/upload"))
    c.status()
    same(c.upstream.seen[-1][3], b"")


# 8.1.1 Malformed Messages


@case("8.1.1", "content-length over what comes", malformed)
def _(c):
    c.post(1, (b"content-length", b"5")).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "content-length under what comes", malformed)
def _(c):
    c.post(1, (b"content-length", b"3")).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "content-length under what comes in several frames", malformed)
def _(c):
    c.post(1, (b"content-length", b"3")).send(frame(DATA, 0, 1, b"fo"), frame(DATA, END_STREAM, 1, b"ur"))


@case("8.1.1", "content-length over a body that isn't there", malformed)
def _(c):
    c.request(1, c.head((b"content-length", b"5"), method=b"POST", path=b"/upload"))


@case("8.1.1", "content-length under a judged body", malformed)
def _(c):
    c.post(1, (b"content-length", b"7"), (b"content-type", b"application/json"), path=b"/judged")
    c.send(frame(DATA, END_STREAM, 1, b'{"a":1} '))


@case("8.1.1", "two content-lengths", malformed)
def _(c):
    c.post(1, (b"content-length", b"4"), (b"content-length", b"4")).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "two content-lengths that differ", malformed)
def _(c):
    c.post(1, (b"content-length", b"4"), (b"content-length", b"5")).send(frame(DATA, END_STREAM, 1, b"four"))


for written in (b"+4", b"-4", b"4,4", b"0x4", b"4 ", b" 4", b"", b"four", b"18446744073709551620"):
    @case("8.1.1", f"content-length that is none: {written.decode()!r}", malformed)
    def _(c, written=written):
        c.post(1, (b"content-length", written)).send(frame(DATA, END_STREAM, 1, b"four"))


@case("8.1.1", "content-length that fits is served", served, forwards=1)
def _(c):
    c.post(1, (b"content-length", b"4")).send(frame(DATA, END_STREAM, 1, b"four"))


# 8.2.1 Field Validity


def plain(name, value):
    """A request with a field as it is written, in no code that would mend it."""
    return lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + literal(name, value)))


for what, name, value in [
    ("an upper-case name", b"X-Test", b"a"),
    ("one upper-case letter in a name", b"x-tesT", b"a"),
    ("a space in a name", b"x test", b"a"),
    ("a space behind a name", b"x-test ", b"a"),
    ("NUL in a name", b"x\0test", b"a"),
    ("a line feed in a name", b"x\ntest", b"a"),
    ("a colon in a name", b"x:test", b"a"),
    ("a name beyond ASCII", b"x-t\xc3\xa9st", b"a"),
    ("DEL in a name", b"x\x7ftest", b"a"),
    ("an empty name", b"", b"a"),
    ("an underscore in a name (DESIGN 4)", b"x_test", b"a"),
    ("NUL in a value", b"x-test", b"a\0b"),
    ("a line feed in a value", b"x-test", b"a\nx-more: b"),
    ("a carriage return in a value", b"x-test", b"a\rb"),
    ("CRLF and a header in a value", b"x-test", b"a\r\ntransfer-encoding: chunked"),
    ("a space before a value", b"x-test", b" a"),
    ("a space behind a value", b"x-test", b"a "),
    ("a tab before a value", b"x-test", b"\ta"),
    ("a tab behind a value", b"x-test", b"a\t"),
]:
    case("8.2.1", what, malformed)(plain(name, value))


@case("8.2.1", "values with spaces and tabs inside, and beyond ASCII, are served", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + literal(b"x-test", b"a \t b") + literal(b"x-more", "é".encode())))


@case("8.2.1", "a judged header isn't another for a space around it", malformed)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block(c.head(path=b"/role")) + literal(b"x-role", b" admin")))


@case("8.2.1", "a judged header that is permitted is served", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block(c.head(path=b"/role")) + literal(b"x-role", b"user")))


# 8.2.2 Connection-Specific Header Fields

for name, value in [
    (b"connection", b"keep-alive"), (b"connection", b"x-test"), (b"proxy-connection", b"keep-alive"), (b"keep-alive", b"timeout=5"),
    (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"), (b"te", b"gzip"), (b"te", b"trailers, deflate"), (b"te", b"Trailers;q=1"),
]:
    case("8.2.2", f"{name.decode()}: {value.decode()}", malformed)(plain(name, value))


@case("8.2.2", "te: trailers is served", served, forwards=1)
def _(c):
    c.request(1, c.head((b"te", b"trailers")))


@case("8.2.2", "transfer-encoding and a body", malformed)
def _(c):
    c.post(1, (b"transfer-encoding", b"chunked")).send(frame(DATA, END_STREAM, 1, b"0\r\n\r\n"))


# 8.2.3 The Cookie Header Field


@case("8.2.3", "crumbs of a cookie are one cookie", served, forwards=1)
def _(c):
    c.request(1, c.head((b"cookie", b"a=b"), (b"cookie", b"c=d")))
    c.status()
    same(c.upstream.seen[-1][2].get_all("cookie"), ["a=b; c=d"])


# 8.3 HTTP Control Data


def asked(fields):
    return lambda c: c.request(1, fields(c))


for what, fields in [
    ("an unknown pseudo-header", lambda c: c.head(test=b"a")),
    ("a response's pseudo-header", lambda c: c.head(status=b"200")),
    ("a pseudo-header behind a header", lambda c: [(b"x-test", b"a"), *c.head()]),
    ("a pseudo-header behind a header, and twice", lambda c: [*c.head((b"x-test", b"a")), (b":path", b"/other")]),
    (":protocol without the setting for it (RFC 8441)", lambda c: c.head(protocol=b"websocket", method=b"CONNECT")),
]:
    case("8.3", what, malformed)(asked(fields))


@case("8.3", "a pseudo-header in trailers", served, forwards=1, differs="trailers")
def _(c):
    c.post().send(frame(DATA, 0, 1, b"x"), frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block([(b":method", b"POST")])))


# 8.3.1 Request Pseudo-Header Fields

for what, fields in [
    ("an empty :path", lambda c: c.head(path=b"")),
    ("no :method", lambda c: c.head(method=None)),
    ("no :scheme", lambda c: c.head(scheme=None)),
    ("no :path", lambda c: c.head(path=None)),
    ("no :authority and no host", lambda c: c.head(authority=None)),
    ("an empty :authority", lambda c: c.head(authority=b"")),
    ("an empty :method", lambda c: c.head(method=b"")),
    (":method twice", lambda c: [(b":method", b"GET"), *c.head()]),
    (":scheme twice", lambda c: [(b":scheme", b"http"), *c.head()]),
    (":path twice", lambda c: [(b":path", b"/open"), *c.head()]),
    (":path twice, another", lambda c: [(b":path", b"/other"), *c.head()]),
    (":authority twice", lambda c: [(b":authority", b"a"), *c.head()]),
    (":authority with user information", lambda c: c.head(authority=b"u@a")),
    (":authority with a path", lambda c: c.head(authority=b"a/open")),
    (":authority and another host", lambda c: c.head((b"host", b"b"))),
    (":authority and host twice", lambda c: c.head((b"host", b"a"), (b"host", b"a"))),
    (":path without a slash", lambda c: c.head(path=b"open")),
    (":path that is a URL", lambda c: c.head(path=b"http://a/open")),
    (":path * with GET", lambda c: c.head(path=b"*")),
    (":path * with OPTIONS (DESIGN 4)", lambda c: c.head(path=b"*", method=b"OPTIONS")),
    (":path with a space", lambda c: c.head(path=b"/open HTTP/1.1")),
    (":path with CRLF", lambda c: c.head(path=b"/open HTTP/1.1\r\nx-a: b\r\n\r\n")),
    (":path with NUL", lambda c: c.head(path=b"/open\0")),
    (":path with dot segments", lambda c: c.head(path=b"/x/../open")),
    (":path beyond ASCII", lambda c: c.head(path="/opén".encode())),
    (":path of two slashes", lambda c: c.head(path=b"//open")),
    (":method in lower case (DESIGN 4)", lambda c: c.head(method=b"get")),
    (":method with a space", lambda c: c.head(method=b"GET /open")),
    (":method with CRLF", lambda c: c.head(method=b"GET /open HTTP/1.1\r\nx: ")),
    (":scheme that is none", lambda c: c.head(scheme=b"ht tp")),
    (":scheme with CRLF", lambda c: c.head(scheme=b"http\r\n")),
    (":scheme of another protocol", lambda c: c.head(scheme=b"ftp")),
]:
    case("8.3.1", what, malformed)(asked(fields))


@case("8.3.1", "host in the place of :authority is served", served, forwards=1)
def _(c):
    c.request(1, c.head((b"host", b"a"), authority=None))


@case("8.3.1", ":authority and the same host are served", served, forwards=1)
def _(c):
    c.request(1, c.head((b"host", b"a")))
    c.status()
    same(c.upstream.seen[-1][2].get_all("host"), ["a"])


@case("8.3.1", "fields in any order among their own are served", served, forwards=1)
def _(c):
    c.request(1, [*reversed(c.head()), (b"x-b", b"1"), (b"x-a", b"2")])


@case("8.3.1", ":path with a fragment", served, forwards=1, differs="fragment")
def _(c):
    c.request(1, c.head(path=b"/open#/../secret"))
    c.status()
    same(c.upstream.seen[-1][1], "/open")


@case("8.3.1", "a query is served as it came", served, forwards=1)
def _(c):
    c.request(1, c.head(path=b"/open?a=b&c=%20"))
    c.status()
    same(c.upstream.seen[-1][1], "/open?a=b&c=%20")


# 8.5 The CONNECT Method

for what, fields in [
    ("CONNECT (DESIGN 4)", lambda c: c.head(method=b"CONNECT", authority=b"a:443", scheme=None, path=None)),
    ("CONNECT with :scheme and :path", lambda c: c.head(method=b"CONNECT", authority=b"a:443")),
    ("CONNECT without :authority", lambda c: c.head(method=b"CONNECT", authority=None, scheme=None, path=None)),
    ("TRACE (DESIGN 4)", lambda c: c.head(method=b"TRACE")),
]:
    case("8.5", what, malformed)(asked(fields))


# 10.5 Denial-of-Service Considerations


def too_large(c):
    """431, or that and the end of the connection."""
    c.read(lambda c: 1 in c.answers or c.goaway)
    assert c.goaway == "ENHANCE_YOUR_CALM" or 1 in c.answers and c.answers[1][b":status"] == b"431", c.told()


@case("10.5", "streams that are opened and reset without end (CVE-2023-44487)", connection_error("ENHANCE_YOUR_CALM"), forwards=None)
def _(c):
    for n in range(1000):
        c.request(2 * n + 1, c.head(path=b"/slow")).send(reset(2 * n + 1))


@case("10.5.1", "a field list over the limit", too_large)
def _(c):
    c.send(frame(HEADERS, END_STREAM, 1, c.block()))
    for n in range(2 * HEADER_BYTES // 160):
        c.send(frame(CONTINUATION, 0, 1, literal(b"x-%d" % n, b"b" * 120)))
    c.send(frame(CONTINUATION, END_HEADERS, 1, b""))


@case("10.5.1", "a small block that unpacks to a list over the limit", too_large)
def _(c):
    block = c.block() + literal(b"x-test", b"b" * 120, b"\x40") + b"\xbe" * 1000
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
