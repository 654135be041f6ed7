//! What a matcher may not say, and what is told of it.

use super::Kind::Body;
use super::*;

#[test]
fn places_and_all_at_once() {
    refused(&[
        (
            Body,
            "{ eqq: x }",
            "1:6 m.eqq: unknown key `eqq`; did you mean `eq`?",
        ),
        (
            Body,
            "{ zzzzzz: x }",
            "1:6 m.zzzzzz: unknown operator `zzzzzz`; known: eq, ne, in, not_in, lt, lte, gt, gte, glob, matches, prefix, suffix, contains, cidr, url, type, present, absent, count, every, some, none, not, any_of, json",
        ),
        (
            Body,
            "{ /a: x }",
            "1:6 m./a: a pointer stands directly in `body`, or inside `every`, `some`, `none` and `json`",
        ),
        (
            Body,
            "{ any_of: [{ every: { /a: $zzz } }, { lt: x }], eqq: 1 }",
            "1:30 m.any_of[0].every./a: no fact `zzz` | 1:46 m.any_of[1].lt: expected a number or `$…`, found the text `x`; texts have no order | 1:52 m.eqq: unknown key `eqq`; did you mean `eq`?",
        ),
        (
            Body,
            "{ every: { oly: [/a] } }",
            "1:15 m.every.oly: unknown key `oly`; did you mean `only`?",
        ),
        (
            Body,
            "{ every: { banana: 1 } }",
            "1:15 m.every.banana: unknown key `banana`; known here: pointers such as `/banana`, eq, ne, in, not_in, lt, lte, gt, gte, glob, matches, prefix, suffix, contains, cidr, url, type, present, absent, count, every, some, none, not, any_of, json, only, exactly",
        ),
        (
            Body,
            "{ every: { /a~2: 1 } }",
            "1:15 m.every./a~2: `/a~2` is no JSON Pointer; write one like `/a/b`",
        ),
        (
            Body,
            "{ every: { only: [a, ''] } }",
            "1:22 m.every.only[0]: `a` is no JSON Pointer; write one like `/a/b` | 1:25 m.every.only[1]: the empty pointer admits everything; drop `only`",
        ),
        (
            Body,
            "{ url: { hots: x } }",
            "1:13 m.url.hots: unknown key `hots`; did you mean `host`?",
        ),
        (
            Body,
            "{}",
            "1:4 m: an empty mapping says nothing; write an operator, such as `eq` or `present`",
        ),
        (
            Body,
            "{ url: {} }",
            "1:11 m.url: an empty mapping says nothing; write scheme, host, port or path",
        ),
        (
            Body,
            "{ not: {} }",
            "1:11 m.not: an empty mapping says nothing; write an operator, such as `eq` or `present`",
        ),
    ]);
}

#[test]
fn operands() {
    refused(&[
        (
            Body,
            "agent/*",
            "1:4 m: a bare text with `*`; say `eq: \"agent/*\"` or `glob: \"agent/*\"`",
        ),
        (
            Body,
            "[a, \"b*\"]",
            "1:8 m[1]: a bare text with `*`; say `eq: \"b*\"` or `glob: \"b*\"`",
        ),
        (Body, "$nope", "1:4 m: no fact `nope`"),
        (
            Body,
            "{ eq: [a] }",
            "1:10 m.eq: expected a scalar, found a list; say `in` for one of a list, `exactly` for a container",
        ),
        (
            Body,
            "{ in: a }",
            "1:10 m.in: expected a list or `$…`, found text",
        ),
        (
            Body,
            "{ in: $$a }",
            "1:10 m.in: expected a list or `$…`, found text",
        ),
        (
            Body,
            "{ in: [] }",
            "1:10 m.in: the list is empty; name at least one",
        ),
        (Body, "[]", "1:4 m: the list is empty; name at least one"),
        (
            Body,
            "{ any_of: [] }",
            "1:14 m.any_of: the list is empty; name at least one",
        ),
        (
            Body,
            "{ any_of: x }",
            "1:14 m.any_of: expected a list, found text",
        ),
        (
            Body,
            "{ lt: true }",
            "1:10 m.lt: expected a number or `$…`, found true or false",
        ),
        (
            Body,
            "{ glob: $claims/x }",
            "1:12 m.glob: `$` works only in eq, ne, in, not_in, lt, lte, gt and gte; write `$$` for a dollar",
        ),
        (
            Body,
            "{ some: { exactly: { a: $claims/x } } }",
            "1:28 m.some.exactly.a: `$` works only in eq, ne, in, not_in, lt, lte, gt and gte; write `$$` for a dollar",
        ),
        (
            Body,
            "{ glob: 1 }",
            "1:12 m.glob: expected text, found a number; quote it",
        ),
        (
            Body,
            "{ prefix: '' }",
            "1:14 m.prefix: an empty text is part of every text; write at least one character",
        ),
        (
            Body,
            "{ contains: [[a]] }",
            "1:17 m.contains[0]: expected a scalar, found a list; say `some` for what is more",
        ),
        (
            Body,
            "{ type: int }",
            "1:12 m.type: unknown type `int`; known: null, boolean, object, array, number, integer, string",
        ),
        (
            Body,
            "{ present: yes }",
            "1:15 m.present: expected true or false, found text",
        ),
        (
            Body,
            "11111111111111111111111111111111111111111",
            "1:4 m: numbers of more than 40 digits or an exponent beyond ±400 are not compared",
        ),
        (
            Body,
            "{ lt: 1e401 }",
            "1:10 m.lt: numbers of more than 40 digits or an exponent beyond ±400 are not compared",
        ),
        (
            Body,
            "{ cidr: [10.0.0.1/8, x] }",
            "1:13 m.cidr[0]: `10.0.0.1/8` has bits set outside its range; write `10.0.0.0/8` | 1:25 m.cidr[1]: `x` is no address range; write one like `10.0.0.0/8`",
        ),
        (
            Body,
            "{ matches: '(' }",
            "1:15 m.matches: not a regex: unclosed group",
        ),
        (
            Body,
            "{ matches: '\\w{300}' }",
            "1:15 m.matches: the automaton would be larger than 1 MiB; write shorter repetitions, or `[a-z]` and `[0-9]` for `\\w` and `\\d`",
        ),
        (
            Body,
            "{ glob: 'a***' }",
            "1:12 m.glob: `***` has no meaning; `*` stops at a separator, `**` doesn't",
        ),
        (
            Body,
            "{ glob: '{a,b}' }",
            "1:12 m.glob: `{` has no meaning in a glob; write a list of globs, or use `matches`",
        ),
    ]);
}

#[test]
fn limits() {
    let glob = format!("{{ glob: {} }}", "g".repeat(1025));
    let regex = format!("{{ matches: {} }}", "r".repeat(4097));
    let list = format!("[{}]", vec!["x"; 10_001].join(", "));
    let most = format!("[{}]", vec!["x"; 10_000].join(", "));
    let nested = |depth: usize| format!("{}x{}", "{ not: ".repeat(depth), " }".repeat(depth));
    refused(&[
        (Body, &glob, "1:12 m.glob: longer than 1024 bytes"),
        (Body, &regex, "1:15 m.matches: longer than 4096 bytes"),
        (
            Body,
            &list,
            "1:4 m: 10001 items; at most 10000. Compare with `$claims/…` instead",
        ),
        (
            Body,
            &nested(16),
            "1:116 m.not.not.not.not.not.not.not.not.not.not.not.not.not.not.not.not: more than 16 matchers inside each other",
        ),
    ]);
    assert!(read(&most, Body).is_ok());
    assert!(read(&nested(15), Body).is_ok());
}

#[test]
fn patterns_that_could_mean_another_authority() {
    const GLOB: &str = "could match another authority than `{}`; say `url: { host: { glob: … } }`";
    let glob = |text: &str, authority: &str| {
        let told = read(&format!("{{ glob: \"{text}\" }}"), Body)
            .unwrap_err()
            .join("");
        assert_eq!(
            told,
            format!("1:12 m.glob: {}", GLOB.replace("{}", authority)),
            "{text}"
        );
    };
    glob("https://api.example.com*", "api.example.com*");
    glob("https://api.example.com**", "api.example.com**");
    glob("https://*.example.com/**", "*.example.com");
    glob("https://api.*/x", "api.*");
    glob("*://api.example.com/x", "api.example.com");
    glob("https://a*?x", "a*");
    for text in [
        "https://api.example.com/**",
        "https://api.example.com",
        "spiffe://corp/*",
        "spiffe://*/agent/*",
        "https://**",
        "https://*",
        "file:///data/*",
    ] {
        assert!(
            read(&format!("{{ glob: \"{text}\" }}"), Body).is_ok(),
            "{text}"
        );
    }
    refused(&[
        (
            Body,
            "{ prefix: \"https://api.example.com\" }",
            "1:14 m.prefix: ends inside a URL's authority, so that `https://api.example.com.other` would match; write `https://api.example.com/`, or use `url: { host: … }`",
        ),
        (
            Body,
            "{ prefix: \"https://api.example.com:8\" }",
            "1:14 m.prefix: ends inside a URL's authority, so that `https://api.example.com:8.other` would match; write `https://api.example.com:8/`, or use `url: { host: … }`",
        ),
    ]);
    for text in [
        "https://api.example.com/",
        "https://",
        "https",
        "spiffe://corp/agent",
        "/x",
    ] {
        assert!(
            read(&format!("{{ prefix: \"{text}\" }}"), Body).is_ok(),
            "{text}"
        );
    }
}
