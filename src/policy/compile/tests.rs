//! What a policy file may not say, each problem with its place and text; digests and limits.

use std::fmt::Write as _;

use super::*;

fn load_files(files: &[&str]) -> Result<PolicySet, Vec<String>> {
    let files: Vec<SourceFile> = files
        .iter()
        .zip(["p.yaml", "q.yaml"])
        .map(|(text, name)| SourceFile {
            name: name.into(),
            text: (*text).to_owned(),
        })
        .collect();
    PolicySet::load(&files).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn load(policies: &str) -> Result<PolicySet, Vec<String>> {
    load_files(&[&format!("version: 1\npolicies:\n{policies}\n")])
}

/// The problems of one policy, whose keys are these, without its file.
fn problems(keys: &str) -> Vec<String> {
    let found = load(&format!("  - {{ {keys} }}")).err().unwrap_or_default();
    let bare = |problem: String| problem.trim_start_matches("p.yaml:").to_owned();
    found.into_iter().map(bare).collect()
}

#[test]
fn problems_of_a_file() {
    let cases: &[(&str, &[&str])] = &[
        (
            "policies: []",
            &["p.yaml:1:1: the key `version` is missing"],
        ),
        ("version: 1", &["p.yaml:1:1: the key `policies` is missing"]),
        (
            "version: 2\npolicies: []",
            &["p.yaml:1:10 version: expected 1"],
        ),
        (
            "version: 1\npolicies: []\npolices: []",
            &["p.yaml:3:1 polices: unknown key `polices`; did you mean `policies`?"],
        ),
    ];
    for (text, want) in cases {
        let got = load_files(&[text]).expect_err(text);
        assert_eq!(got, *want, "{text}");
    }
}

#[test]
fn problems_of_a_policy() {
    let ok = "who: any, do: GET /a";
    let mut wrong = Vec::new();
    for (keys, want) in [
        (ok.to_owned(), "3:5 policies[0]: the key `id` is missing"),
        (
            format!("id: \"a b\", {ok}"),
            "3:11 policies[0].id: an id is 1 to 128 letters, digits and `. _ - / :`",
        ),
        (
            format!("id: a, {ok}, needs: {{ approval: {{}} }}"),
            "3:43 policies[0].needs: `needs` (approvals) comes in a later version; this one refuses a file that relies on it",
        ),
        (
            format!("id: a, {ok}, limits: []"),
            "3:44 policies[0].limits: `limits` (budgets and counts) comes in a later version; this one refuses a file that relies on it",
        ),
        (
            format!("id: a, {ok}, effect: allow"),
            "3:44 policies[0].effect: `allow` is not known here; write permit or forbid",
        ),
        (
            format!("id: a, {ok}, mode: dry"),
            "3:42 policies[0].mode: `dry` is not known here; write enforce or shadow",
        ),
        (
            format!("id: a, {ok}, upgrade: h2c"),
            "3:45 policies[0].upgrade: `h2c` is not known here; write websocket",
        ),
        (
            "id: a, who: any".to_owned(),
            "3:5 policies[0]: the key `do` is missing",
        ),
        (
            "id: a, who: any, do: GET".to_owned(),
            "3:28 policies[0].do: `GET` is no operation; write `METHOD /path`, such as `GET /tenants/{tenant}`",
        ),
        (
            "id: a, do: GET /a".to_owned(),
            "3:5 policies[0]: a permit says `who`: conditions on the principal, `any` for whoever is authenticated, or `anonymous`",
        ),
        (
            "id: a, who: {}, do: GET /a".to_owned(),
            "3:19 policies[0].who: an empty `who` says nothing; write `any` for whoever is authenticated",
        ),
        (
            "id: a, who: { agnet: x }, do: GET /a".to_owned(),
            "3:21 policies[0].who.agnet: unknown key `agnet`; did you mean `agent`?",
        ),
        (
            "id: a, who: any, do: \"GET /{x}\", path: { y: 1 }".to_owned(),
            "3:48 policies[0].path.y: the template has no parameter \"y\" (it has: x)",
        ),
        (
            "id: a, who: any, do: [\"GET /{x}\", GET /b], path: { x: 1 }".to_owned(),
            "3:58 policies[0].path.x: no parameter `x` stands in every template of this policy (none does)",
        ),
        (
            format!("id: a, {ok}, client: {{ ip: {{ cidr: \"10.0.0.0/8\" }}, port: 1 }}"),
            "3:74 policies[0].client.port: unknown key `port`; known here: ip",
        ),
        (
            format!("id: a, {ok}, headers: {{ X-A: b }}"),
            "3:52 policies[0].headers.X-A: write the header's name in lower case: `x-a`",
        ),
        (
            format!("id: a, {ok}, headers: {{ x_a: b }}"),
            "3:52 policies[0].headers.x_a: `x_a`: a header name with `_` is refused in every request",
        ),
        (
            format!("id: a, {ok}, headers: {{ \"x a\": b }}"),
            "3:54 policies[0].headers.x a: `x a` is no header name",
        ),
        (
            format!("id: a, {ok}, headers: {{ authorization: b }}"),
            "3:62 policies[0].headers.authorization: the credential is judged by `who`",
        ),
        (
            format!("id: a, {ok}, headers: {{ host: b }}"),
            "3:53 policies[0].headers.host: the host is judged by `host`",
        ),
        (
            format!("id: a, {ok}, headers: {{ only: [te] }}"),
            "3:54 policies[0].headers.only[0]: `te` frames the message and is the proxy's own",
        ),
        (
            format!("id: a, {ok}, host: API.example.com"),
            "3:42 policies[0].host: a host is always in lower case; write `api.example.com`",
        ),
        (
            format!("id: a, {ok}, body: {{}}"),
            "3:42 policies[0].body: an empty `body` judges nothing; write `none` or `any`, or name fields",
        ),
        (
            format!("id: a, {ok}, body: {{ a: 1 }}"),
            "3:44 policies[0].body.a: unknown key `a`; known here: content_type, only, exactly, and JSON Pointers such as `/a`",
        ),
        (
            format!("id: a, {ok}, body: {{ /a~2: 1 }}"),
            "3:44 policies[0].body./a~2: `/a~2` is no JSON Pointer (RFC 6901): `~` wants 0 or 1 after it",
        ),
        (
            format!("id: a, {ok}, body: {{ only: [a] }}"),
            "3:51 policies[0].body.only[0]: `a` is no JSON Pointer (RFC 6901); it begins with `/`",
        ),
        (
            format!("id: a, {ok}, body: {{ content_type: text }}"),
            "3:58 policies[0].body.content_type: write a content type as `type/subtype`, lower-case and without parameters",
        ),
        (
            format!("id: a, {ok}, body: {{ content_type: text/plain, /a: 1 }}"),
            "3:42 policies[0].body: fields of `text/plain` can't be judged; JSON (`application/json`, `…+json`) and `application/x-www-form-urlencoded` can",
        ),
        (
            format!("id: a, {ok}, body: {{ exactly: {{ a: $user }} }}"),
            "3:58 policies[0].body.exactly.a: `$` works only in eq, ne, in, not_in, lt, lte, gt and gte; write `$$` for a dollar",
        ),
        (
            format!("id: a, {ok}, upgrade: websocket, body: any"),
            "3:5 policies[0]: `upgrade` excludes `body`: the frames of a WebSocket are not judged",
        ),
        (
            format!("id: a, {ok}, when: {{}}"),
            "3:42 policies[0].when: a window says `from`, `until` or `weekly`",
        ),
        (
            format!("id: a, {ok}, when: {{ until: 2026-01-01 }}"),
            "3:51 policies[0].when.until: write RFC 3339 with an offset (`2026-11-21T09:00:00Z`), seconds since 1970, or `$claims/…`",
        ),
        (
            format!("id: a, {ok}, when: {{ until: $user }}"),
            "3:51 policies[0].when.until: a window follows a claim: `$claims/…`; nothing else that a caller sends may move it",
        ),
        (
            format!("id: a, {ok}, when: {{ until: $nobody }}"),
            "3:51 policies[0].when.until: `$nobody` names no fact; write `$claims/…`, `$path/…`, `$query/…`, `$headers/…`, `$body/…`, `$agent`, `$user` or alike",
        ),
        (
            format!("id: a, {ok}, when: {{ from: 2026-01-01T00:00:00Z, max: 1h }}"),
            "3:42 policies[0].when: `max` bounds the time up to `until`, which is missing",
        ),
        (
            format!("id: a, {ok}, when: {{ until: $claims/e, max: soon }}"),
            "3:67 policies[0].when.max: write a duration such as `30m`, `2h` or `45s`",
        ),
        (
            format!("id: a, {ok}, when: {{ from: 2, until: 1 }}"),
            "3:42 policies[0].when: the window is empty: `until` is not after `from`",
        ),
        (
            format!("id: a, {ok}, when: {{ weekly: Mon }}"),
            "3:52 policies[0].when.weekly: `Mon`: write days, hours and a zone, such as `Mon-Fri 08:00-18:00 Europe/Berlin`",
        ),
        (
            format!("id: a, {ok}, when: {{ weekly: \"Mon 08:00-08:00 UTC\" }}"),
            "3:52 policies[0].when.weekly: `Mon 08:00-08:00 UTC`: the hours are empty; the end is exclusive",
        ),
        (
            format!("id: a, {ok}, when: {{ weekly: \"Mon 08:00-09:00 Mars\" }}"),
            "3:52 policies[0].when.weekly: `Mars` is no IANA time zone, such as `Europe/Berlin`",
        ),
        (
            format!("id: a, {ok}, unless: a"),
            "3:44 policies[0].unless: `unless` stands on a forbid: it names the permits that lift it",
        ),
        (
            format!("id: a, {ok}, then: {{ redact: [/a] }}"),
            "3:52 policies[0].then.redact: `redact` comes in a later version; this one refuses a file that relies on it",
        ),
        (
            format!("id: a, {ok}, then: {{ set_headers: {{ x-a: \"a\\nb\" }} }}"),
            "3:64 policies[0].then.set_headers.x-a: a header's value is printable text on one line",
        ),
        (
            format!("id: a, {ok}, then: {{ set_headers: {{ x-a: $body/a }} }}"),
            "3:5 policies[0]: `$body/…` refers to a body that this policy does not judge; write `body: { … }` with that field",
        ),
        (
            "id: f, effect: forbid, do: GET /a, then: { set_headers: {} }".to_owned(),
            "3:48 policies[0].then: `then` stands on a permit: a forbid forwards nothing",
        ),
    ] {
        if problems(&keys) != [want] {
            wrong.push(format!(
                "{keys}\n  got  {:?}\n  want {want:?}",
                problems(&keys)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn problems_between_policies_and_all_at_once() {
    let got = load(
        "  - { id: a, who: any, do: GET /a }
  - { id: a, who: any, do: GET /b }
  - { id: f, effect: forbid, do: GET /b, unless: [f, reed] }
  - { id: read, who: any, do: GET /c, query: all }",
    );
    assert_eq!(
        got.expect_err("three problems"),
        [
            "p.yaml:6:46 policies[3].query: expected a mapping, found text",
            "p.yaml:4:11 policies[1].id: the id `a` is taken at p.yaml:3:11",
            "p.yaml:5:51 policies[2].unless: `f` is a forbid; only permits lift a forbid",
            "p.yaml:5:54 policies[2].unless: no policy has the id `reed`; did you mean `read`?",
        ]
    );
    let got = load("  - { id: f, effect: forbid, do: GET /b, unless: other }");
    assert_eq!(
        got.expect_err("one problem"),
        ["p.yaml:3:50 policies[0].unless: no policy has the id `other`"]
    );
    let one = "version: 1\npolicies: [{ id: a, who: any, do: GET /a }]";
    assert_eq!(
        load_files(&[one, one]).expect_err("one problem"),
        ["q.yaml:2:18 policies[0].id: the id `a` is taken at p.yaml:2:18"]
    );
}

fn many(count: usize, keys: impl Fn(usize) -> String) -> Result<PolicySet, Vec<String>> {
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, "  - {{ id: p{n}, {} }}", keys(n)).unwrap();
    }
    load(&text)
}

#[test]
fn a_crowd_on_one_route_is_refused_with_advice() {
    let advice = "so each request would look at all of them; write one policy that compares with `$claims/…` instead";
    type Keys = fn(usize) -> String;
    let cases: [(Keys, &str); 5] = [
        (
            |_| "who: any, do: GET /a".to_owned(),
            "have no condition that tells them apart",
        ),
        (
            |_| "who: { agent: x }, do: GET /a".to_owned(),
            "ask for the same value",
        ),
        (
            |_| "who: { agent: { glob: \"x/*\" } }, do: GET /a".to_owned(),
            "share one glob or prefix",
        ),
        (
            |_| "who: { agent: { suffix: x } }, do: GET /a".to_owned(),
            "share one glob or prefix",
        ),
        (
            |n| format!("effect: forbid, who: {{ agent: x{n} }}, do: GET /a"),
            "are forbids on the same fact, which all apply where it is missing",
        ),
    ];
    for (keys, what) in cases {
        assert!(many(256, keys).is_ok(), "{what}");
        let got = many(257, keys).expect_err(what);
        let want = format!(
            "p.yaml:259:11 policies[256]: more than 256 policies on one route {what}, {advice}"
        );
        assert_eq!(got, [want]);
    }
    assert!(many(2_000, |n| format!("who: {{ agent: x{n} }}, do: GET /a")).is_ok());
    assert!(many(2_000, |n| format!("who: any, do: GET /a/{n}")).is_ok());
}

#[test]
fn other_limits() {
    for affix in ["", "prefix: "] {
        let keys = |n| {
            format!("who: {{ claims/c{n}: {{ {affix} }} }}, do: GET /a")
                .replace("{  }", "x")
                .replace("prefix:  ", "prefix: x")
        };
        assert!(many(256, keys).is_ok());
        assert_eq!(
            many(257, keys).expect_err("too many facts"),
            [
                "p.yaml:259:11 policies[256]: the policies of one route ask for more than 256 different facts"
            ]
        );
    }
    let regexes = |n| format!("who: any, do: \"GET /{{x:a{n}}}\"");
    assert!(many(32, regexes).is_ok());
    assert_eq!(
        many(33, regexes).expect_err("too many regexes"),
        [
            "p.yaml:35:11 policies[32]: more than 32 regexes at the same place of a path; judge the parameter under `path` instead"
        ]
    );
    let operations = |n: usize| {
        let list: Vec<String> = (0..n).map(|n| format!("GET /{n}")).collect();
        load(&format!(
            "  - {{ id: a, who: any, do: [{}] }}",
            list.join(", ")
        ))
    };
    assert!(operations(256).is_ok());
    assert_eq!(
        operations(257).expect_err("too many operations"),
        ["p.yaml:3:28 policies[0].do: a policy speaks of at most 256 operations"]
    );
}

#[test]
fn the_digest_is_of_the_content() {
    let digest = |files: &[&str]| load_files(files).unwrap().digest().to_owned();
    let one = digest(&[
        "version: 1\npolicies:\n  - { id: a, who: any, do: GET /a }\n  - { id: b, who: any, do: GET /b }",
    ]);
    assert_eq!(one.len(), 64);
    for same in [
        &[
            "version: 1\npolicies:\n  - do: \"GET /b\" # b\n    who: 'any'\n    id: b\n\n  - { do: GET /a, id: a, who: any }",
        ][..],
        &[
            "version: 1\npolicies: [{ id: a, who: any, do: GET /a }]",
            "version: 1\npolicies: [{ id: b, who: any, do: GET /b }]",
        ],
    ] {
        assert_eq!(digest(same), one);
    }
    for other in [
        "version: 1\npolicies: [{ id: a, who: any, do: GET /a }]",
        "version: 1\npolicies: [{ id: a, who: any, do: GET /a }, { id: b, who: any, do: GET /b, query: any }]",
        "version: 1\npolicies: [{ id: a, who: any, do: GET /a }, { id: b, who: any, do: GET /c }]",
        "version: 1\npolicies: [{ id: a, who: any, do: GET /b }, { id: b, who: any, do: GET /a }]",
        "version: 1\npolicies: [{ id: a, who: any, do: [GET /a] }, { id: b, who: any, do: GET /b, path: {} }]",
    ] {
        assert_ne!(digest(&[other]), one, "{other}");
    }
    let typed = |value: &str| {
        digest(&[&format!(
            "version: 1\npolicies: [{{ id: a, who: {{ claims/n: {value} }}, do: GET /a }}]"
        )])
    };
    assert_ne!(typed("1"), typed("\"1\""));
    assert_ne!(typed("[a, b]"), typed("[\"a, b\"]"));
    assert_ne!(digest(&["version: 1\npolicies: []"]), one);
}
