//! What can never hold, and what may, however odd.

use super::Kind::{Address, Body, Claim, Host, Wire};
use super::*;

#[test]
fn what_can_never_hold() {
    const UNTYPED: &str =
        "but a value of path, query, headers or form is text; quote the literal to compare texts";
    let untyped = |takes: &str| format!("1:4 m: can never hold: {takes} here, {UNTYPED}");
    refused(&[
        (
            Wire,
            "{ ne: true }",
            &untyped("`ne` takes null or true or false"),
        ),
        (
            Wire,
            "{ not_in: [true, false] }",
            &untyped("`not_in` takes null or true or false"),
        ),
        (Wire, "[true, false]", &untyped("`in` takes true or false")),
    ]);
    const SEGMENTS: &str = "can never hold: no value with an empty, `.` or `..` segment, a backslash or a control character is matched by a pattern with `/`";
    let segments = |place: &str| format!("{place}: {SEGMENTS}");
    refused(&[
        (Body, "{ glob: a/../b* }", &segments("1:12 m.glob")),
        (Body, "{ glob: a/b/ }", &segments("1:12 m.glob")),
        (Body, "{ prefix: a//b }", &segments("1:14 m.prefix")),
        (
            Wire,
            "true",
            "1:4 m: can never hold: `eq` takes true or false here, but a value of path, query, headers or form is text; quote the literal to compare texts",
        ),
        (
            Wire,
            "null",
            "1:4 m: can never hold: `eq` takes null here, but a value of path, query, headers or form is text; quote the literal to compare texts",
        ),
        (
            Wire,
            "{ type: number }",
            "1:4 m: can never hold: `type` takes a number here, but a value of path, query, headers or form is text",
        ),
        (
            Wire,
            "{ every: x }",
            "1:4 m: can never hold: `every` takes an array here, but a value of path, query, headers or form is text",
        ),
        (
            Wire,
            "{ count: 1 }",
            "1:4 m: can never hold: `count` takes an array here, but a value of path, query, headers or form is text",
        ),
        (
            Wire,
            "{ contains: 1 }",
            "1:4 m: can never hold: `contains` takes an array here, but a value of path, query, headers or form is text",
        ),
        (
            Host,
            "1",
            "1:4 m: can never hold: `eq` takes a number here, but a host is text; quote the literal to compare texts",
        ),
        (
            Host,
            "{ lt: 1 }",
            "1:4 m: can never hold: `lt` takes a number here, but a host is text",
        ),
        (
            Host,
            "API.example.com",
            "1:4 m: a host is always in lower case; write `api.example.com`",
        ),
        (
            Host,
            "{ glob: \"*.Example.com\" }",
            "1:12 m.glob: a host is always in lower case; write `*.example.com`",
        ),
        (
            Host,
            "api.example.com:443",
            "1:4 m: a host stands without its port",
        ),
        (
            Host,
            "\"[2001:db8:0:0::1]\"",
            "1:4 m: a request's host is written `[2001:db8::1]`",
        ),
        (
            Host,
            "{ eq: \"::1\" }",
            "1:10 m.eq: a request's host is written `[::1]`",
        ),
        (
            Host,
            "[a.example, example.com.]",
            "1:16 m[1]: a host has no trailing dot; write `example.com`",
        ),
        (
            Host,
            "\"127.1\"",
            "1:4 m: no request has the host `127.1`; an address is written like `127.0.0.1`",
        ),
        (
            Host,
            "{ not_in: [a..b] }",
            "1:15 m.not_in[0]: no request has the host `a..b`; write one like `api.example.com`",
        ),
        (
            Host,
            "bücher.example",
            "1:4 m: no request has the host `bücher.example`; write its `xn--` form",
        ),
        (
            Host,
            "{ glob: \"*.bücher.example\" }",
            "1:12 m.glob: a host has no `ü`; write its `xn--` form",
        ),
        (
            Host,
            "{ suffix: .example.com. }",
            "1:14 m.suffix: a host has no trailing dot; write `.example.com`",
        ),
        (
            Host,
            "{ glob: \"*.example.com.\" }",
            "1:12 m.glob: a host has no trailing dot; write `*.example.com`",
        ),
        (
            Host,
            "{ contains: \"a b\" }",
            "1:16 m.contains: a host has no ` `",
        ),
        (
            Host,
            "{ suffix: .com/ }",
            "1:14 m.suffix: a host has no `/`",
        ),
        (
            Address,
            "{ glob: \"10.*\" }",
            "1:12 m.glob: `glob` doesn't fit an address; these do: eq, ne, in, not_in, cidr, present, absent, not, any_of",
        ),
        (Address, "localhost", "1:4 m: `localhost` is no IP address"),
        (
            Address,
            "::FFFF:10.0.0.1",
            "1:4 m: the address is written `10.0.0.1`",
        ),
        (
            Body,
            "{ url: { scheme: HTTPS } }",
            "1:21 m.url.scheme: a scheme is always in lower case; write `https`",
        ),
        (
            Body,
            "{ url: { host: [a.example, B.example] } }",
            "1:31 m.url.host[1]: a host is always in lower case; write `b.example`",
        ),
        (
            Body,
            "{ url: { port: true } }",
            "1:19 m.url.port: can never hold: `eq` takes true or false here, but a port is text; quote the literal to compare texts",
        ),
        (
            Body,
            "{ count: three }",
            "1:13 m.count: can never hold: `eq` takes text here, but a count is a number",
        ),
        (
            Body,
            "{ eq: x, present: false }",
            "1:4 m: can never hold: `eq` leaves text, but `absent` takes what is missing; drop one of them",
        ),
        (
            Body,
            "{ present: true, absent: true }",
            "1:4 m: can never hold: `present` leaves null or true or false or a number or text or an array or an object, but `absent` takes what is missing; drop one of them",
        ),
        (
            Body,
            "{ eq: x, type: number }",
            "1:4 m: can never hold: `eq` leaves text, but `type` takes a number; drop one of them",
        ),
        (
            Body,
            "{ glob: x, every: y }",
            "1:4 m: can never hold: `glob` leaves text, but `every` takes an array; drop one of them",
        ),
        (
            Body,
            "{ any_of: [1, 2], type: string }",
            "1:4 m: can never hold: `any_of` leaves a number, but `type` takes text; drop one of them",
        ),
        (
            Body,
            "{ eq: abc, prefix: b }",
            "1:4 m: can never hold: `prefix` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ eq: abc, glob: \"b*\" }",
            "1:4 m: can never hold: `glob` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ eq: a//b, glob: \"a/**\" }",
            "1:4 m: can never hold: `glob` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ eq: a, in: [b, c] }",
            "1:4 m: can never hold: `in` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ eq: a, ne: a }",
            "1:4 m: can never hold: `ne` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ eq: 5, lt: 5 }",
            "1:4 m: can never hold: `lt` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ eq: 1.5, type: integer }",
            "1:4 m: can never hold: `type` rejects the literal of `eq`",
        ),
        (
            Body,
            "{ in: [a, b], not_in: [a, b, c] }",
            "1:4 m: can never hold: no literal of `in` passes the others, such as `not_in`",
        ),
        (
            Body,
            "{ in: [a, b], not: { matches: \"[ab]\" } }",
            "1:4 m: can never hold: no literal of `in` passes the others, such as `not`",
        ),
        (
            Body,
            "{ lt: 3, gt: 5 }",
            "1:4 m: can never hold: no number satisfies `gt: 5` and `lt: 3`",
        ),
        (
            Body,
            "{ lt: 3, gte: 3 }",
            "1:4 m: can never hold: no number satisfies `gte: 3` and `lt: 3`",
        ),
        (
            Body,
            "{ every: { gte: 2, lte: 1 } }",
            "1:13 m.every: can never hold: no number satisfies `gte: 2` and `lte: 1`",
        ),
        (
            Body,
            "{ some: { absent: true } }",
            "1:12 m.some: can never hold: `absent` takes what is missing here, but a value is null or true or false or a number or text or an array or an object",
        ),
        (
            Body,
            "{ some: { type: string, only: [/a] } }",
            "1:12 m.some: can never hold: a value of this type has no inside; drop `only`, `exactly` or the operators beside them",
        ),
        (
            Body,
            "{ some: { exactly: { a: 1 }, /a: 2 } }",
            "1:12 m.some: can never hold: what stands beside `exactly` rejects its value",
        ),
        (
            Body,
            "{ some: { exactly: { a: 1 }, only: [/b] } }",
            "1:12 m.some: can never hold: what stands beside `exactly` rejects its value",
        ),
    ]);
}

/// What may hold is read, however odd.
#[test]
fn what_may_hold() {
    for (kind, matcher) in [
        (Wire, "{ eq: 42, type: string }"),
        (Wire, "{ eq: 42.0, matches: \"[0-9]+\" }"),
        (Wire, "{ eq: 42, in: [42, 43], lt: 100 }"),
        (Body, "{ in: [a, 1], type: integer }"),
        (Body, "{ eq: a, ne: $claims/x }"),
        (Body, "{ lt: $claims/x, gt: 5 }"),
        (Body, "{ lte: 5, gte: 5.0 }"),
        (Body, "{ any_of: [{ absent: true }, { eq: x }] }"),
        (Body, "{ not: { present: true } }"),
        (Body, "{ eq: x, any_of: [$claims/a, $claims/b] }"),
        (Claim, "{ contains: [a, b], count: 2 }"),
        (Claim, "{ type: string, in: $claims/x }"),
        (Address, "10.0.0.1"),
        (Address, "[10.0.0.1, \"::1\"]"),
        (Host, "{ not: { suffix: .internal } }"),
        (Body, "{ some: { exactly: {}, only: [] } }"),
        (Body, "{ some: { exactly: [1], count: 1 } }"),
    ] {
        if let Err(told) = read(matcher, kind) {
            panic!("{matcher}: {told:?}");
        }
    }
}
