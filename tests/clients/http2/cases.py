"""The checks of h2_client.py: how one is written down, and in what it may end."""

from dataclasses import dataclass

from harness import same, until

# What the proxy is configured with, and what its upstream answers at /big.
STREAMS, HEADER_BYTES, BIG = 8, 16 * 1024, 300_000

# What the library below the proxy (the crate h2) does otherwise than the RFC says, and why it harms nobody.
DIFFERS = {
    "code": "What it can't read, a field block included, is PROTOCOL_ERROR to it, where the RFC has other codes; and it "
    "ends the connection where the RFC lets it end the stream alone. The connection ends, which is all that counts.",
    "first frame": "It doesn't insist on SETTINGS first: until they come the initial values hold.",
    "trailers": "It reads pseudo-headers in trailers. The proxy drops all trailers of a request.",
    "fragment": "The fragment of a :path is dropped before the proxy sees it; it is neither judged nor forwarded.",
}
CODE = "PROTOCOL_ERROR"


@dataclass
class Case:
    section: str
    what: str
    expected: object
    act: object
    forwards: int | None
    options: dict


CASES = []


def case(section, what, expected, forwards=0, differs=None, **options):
    """One check: `act` is given a connection, and so many of its requests reach the upstream (`None`: any number)."""
    assert differs is None or differs in DIFFERS, differs

    def register(act):
        CASES.append(Case(section, what, expected, act, forwards, options))
        return act

    return register


def connection_error(*codes):
    """GOAWAY with one of the codes, or no more than a closed connection."""
    def check(c):
        c.read(lambda c: c.goaway)
        assert c.goaway in codes or c.goaway is None and c.closed, c.told()
        # What was announced is done.
        c.read(lambda c: c.closed)
        assert c.closed, f"still open: {c.told()}"

    return check


def stream_error(*codes, stream=1):
    """RST_STREAM with one of the codes; or what an error of the connection is, which a server may make of it."""
    def check(c):
        c.read(lambda c: stream in c.resets or c.goaway)
        assert c.resets.get(stream) in codes or c.goaway in codes or c.closed and c.goaway is None, c.told()

    return check


def malformed(c):
    """A malformed message (8.1.1): an error of its stream, or an answer that refuses it."""
    c.read(lambda c: 1 in c.resets or 1 in c.answers or c.goaway)
    if 1 in c.answers:
        assert c.answers[1][b":status"] in (b"400", b"431"), c.told()
    else:
        assert c.resets.get(1) == "PROTOCOL_ERROR" or c.goaway == "PROTOCOL_ERROR", c.told()


def answered(*statuses, stream=1):
    def check(c):
        status = c.status(stream)
        assert status in statuses, f"{status}: {c.told()}"

    return check


def served(c):
    """The request on stream 1 is served, and the connection lives."""
    answered(200)(c)
    assert c.alive(b"after it"), c.told()


def alive(c):
    assert c.alive(), c.told()


def both(*checks):
    def check(c):
        for one in checks:
            one(c)

    return check


def slow(c):
    """A request on stream 1 that is under way, and stays so."""
    before = len(c.upstream.seen)
    c.request(1, c.head(path=b"/slow"))
    until(lambda: len(c.upstream.seen) > before, "a request at the upstream")


def over(c):
    """A request on stream 1 that is served and over."""
    c.request(1)
    c.read(lambda c: 1 in c.ended)
    same(c.status(), 200)
    return c
