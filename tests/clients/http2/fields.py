"""RFC 7541: field blocks that can be read, and that can not."""

from harness import same
from http2.cases import CODE, alive, answered, both, case, connection_error, over, served
from http2.wire import END_HEADERS, END_STREAM, HEADERS, frame, literal

def with_block(tail):
    return lambda c: c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, c.block() + tail))


INVALID = connection_error("COMPRESSION_ERROR", CODE)
for section, what, tail in [
    ("2.3.3", "an index beyond the tables", b"\xff\x00"),
    ("2.3.3", "an index far beyond the tables", b"\xff\xff\xff\x01"),
    ("2.3.3", "a name's index beyond the tables, indexed", b"\x7f\x20\x01a"),
    ("2.3.3", "a name's index beyond the tables, not indexed", b"\x0f\xff\x01\x01a"),
    ("4.2", "a size update behind a field", b"\x20"),
    ("5.1", "an integer without end", b"\xff" + b"\x80" * 200),
    ("5.1", "an integer over 2^62", b"\xff" + b"\xff" * 9 + b"\x7f"),
    ("5.1", "an integer that stops", b"\xff\x80"),
    ("5.2", "Huffman padding of more than seven bits", b"\x00\x01a\x82\x1f\xff"),
    ("5.2", "Huffman padding that isn't of ones", b"\x00\x01a\x81\x18"),
    ("5.2", "Huffman's EOS within a string", b"\x00\x01a\x84\xff\xff\xff\xff"),
    ("5.2", "a string that stops", b"\x00\x01a\x7eabc"),
    ("5.2", "a string whose length stops", b"\x00\x01a\x7f"),
    ("6.1", "index 0", b"\x80"),
]:
    case(f"7541 {section}", what, INVALID)(with_block(tail))


@case("7541 4.2", "a size update over SETTINGS_HEADER_TABLE_SIZE", INVALID)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe2\x1f" + c.block()))


@case("7541 6.3", "size updates at the beginning are taken", served, forwards=1)
def _(c):
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20\x3f\xe1\x1f" + c.block()))


@case("7541 4.3", "a table of no size holds nothing", INVALID, forwards=1)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20" + plain + literal(b"x-test", b"a", b"\x40")))
    same(c.status(1), 200)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))


@case("7541 4.4", "an entry over the table's size empties it", INVALID, forwards=1)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    large = b"\x40\x06x-test" + b"\x7f\x81\x1f" + b"a" * (127 + 0x81 - 0x80 + (0x1F << 7))
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain + literal(b"x-one", b"a", b"\x40") + large))
    same(c.status(1), 200)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))


for section, what, tail in [
    ("6.1", "a field by its index", b"\x90"),
    ("6.2.1", "a literal, indexed, and by its new index", literal(b"x-test", b"a", b"\x40") + b"\xbe"),
    ("6.2.2", "a literal that isn't indexed", literal(b"x-test", b"a")),
    ("6.2.3", "a literal that is never indexed", literal(b"x-test", b"a", b"\x10")),
    ("6.2.1", "a literal with the name of an index", b"\x53\x01a"),
    ("5.2", "a string in Huffman's code", b"\x00\x01x\x81\x1f"),
    ("5.2", "an empty value", b"\x00\x01x\x00"),
]:
    case(f"7541 {section}", f"{what} is served", served, forwards=1)(with_block(tail))


@case("7541 2.2", "the table is kept from one request to the next", both(answered(200, stream=3), alive), forwards=2)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain + literal(b"x-test", b"kept", b"\x40")))
    same(c.status(1), 200)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))
    same(c.status(3), 200)
    same(c.upstream.seen[-1][2].get("x-test"), "kept")


@case("7541 2.2", "a refused request's fields stay in the table as well", both(answered(200, stream=3), alive), forwards=1)
def _(c):
    plain = b"".join(literal(*one) for one in c.head())
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain + literal(b"x-test", b"kept", b"\x40") + literal(b"x_a", b"b")))
    same(c.status(1), 400)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, plain + b"\xbe"))
    same(c.status(3), 200)
    same(c.upstream.seen[-1][2].get("x-test"), "kept")
