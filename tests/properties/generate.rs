//! Random policies and requests, of few literals.

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis::policy::normalise::Canonical;
use portcullis::policy::{Certificate, Json, Principal};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// One policy: the parts of its text.
#[derive(Clone, Debug)]
pub(crate) struct PolicyText {
    pub(crate) permit: bool,
    pub(crate) shadow: bool,
    pub(crate) operations: Vec<(&'static str, &'static str)>,
    pub(crate) host: Option<&'static str>,
    pub(crate) who: Who,
    pub(crate) path: Vec<(&'static str, &'static str)>,
    pub(crate) query: Named,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) headers_only: Option<Vec<&'static str>>,
    pub(crate) client: Option<&'static str>,
    pub(crate) body: BodyText,
    pub(crate) when: Option<(Option<&'static str>, Option<&'static str>)>,
    pub(crate) unless: Vec<usize>,
    pub(crate) websocket: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Who {
    Absent,
    Any,
    Anonymous,
    Conditions(Vec<(&'static str, &'static str)>),
}

#[derive(Clone, Debug)]
pub(crate) enum Named {
    Absent,
    None,
    Any,
    Judged(Vec<(&'static str, &'static str)>, Option<Vec<&'static str>>),
}

#[derive(Clone, Debug)]
pub(crate) enum BodyText {
    Absent,
    None,
    Any,
    Judged {
        types: Option<&'static str>,
        only: Option<Vec<&'static str>>,
        exactly: Option<&'static str>,
        fields: Vec<(&'static str, &'static str)>,
    },
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) segments: Vec<&'static str>,
    pub(crate) slash: bool,
    pub(crate) query: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, &'static [u8])>,
    pub(crate) who: Option<Caller>,
    pub(crate) client: &'static str,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: &'static str,
    pub(crate) websocket: bool,
    pub(crate) now: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) agent: Option<&'static str>,
    pub(crate) user: Option<&'static str>,
    pub(crate) groups: Vec<&'static str>,
    pub(crate) claims: Vec<(&'static str, &'static str)>,
    pub(crate) dns: Option<Vec<&'static str>>,
    pub(crate) ends: Option<&'static str>,
}

impl PolicyText {
    pub(crate) fn id(&self, n: usize) -> String {
        format!("p{n:02}")
    }

    pub(crate) fn yaml(&self, n: usize) -> String {
        let mut keys = vec![format!("id: {}", self.id(n))];
        if !self.permit {
            keys.push("effect: forbid".to_owned());
        }
        if self.shadow {
            keys.push("mode: shadow".to_owned());
        }
        let operations: Vec<String> = self
            .operations
            .iter()
            .map(|(methods, template)| format!("\"{methods} {template}\""))
            .collect();
        keys.push(format!("do: [{}]", operations.join(", ")));
        match &self.who {
            Who::Absent => {}
            Who::Any => keys.push("who: any".to_owned()),
            Who::Anonymous => keys.push("who: anonymous".to_owned()),
            Who::Conditions(list) => keys.push(format!("who: {}", mapping(list, None))),
        }
        if let Some(host) = self.host {
            keys.push(format!("host: {host}"));
        }
        if !self.path.is_empty() {
            keys.push(format!("path: {}", mapping(&self.path, None)));
        }
        match &self.query {
            Named::Absent => {}
            Named::None => keys.push("query: none".to_owned()),
            Named::Any => keys.push("query: any".to_owned()),
            Named::Judged(list, only) => {
                keys.push(format!("query: {}", mapping(list, only.as_deref())));
            }
        }
        if !self.headers.is_empty() || self.headers_only.is_some() {
            keys.push(format!(
                "headers: {}",
                mapping(&self.headers, self.headers_only.as_deref())
            ));
        }
        if let Some(cidr) = self.client {
            keys.push(format!("client: {{ ip: {{ cidr: \"{cidr}\" }} }}"));
        }
        match &self.body {
            BodyText::Absent => {}
            BodyText::None => keys.push("body: none".to_owned()),
            BodyText::Any => keys.push("body: any".to_owned()),
            BodyText::Judged {
                types,
                only,
                exactly,
                fields,
            } => {
                let mut inner: Vec<String> = Vec::new();
                inner.extend(types.map(|types| format!("content_type: {types}")));
                inner.extend(
                    only.as_ref()
                        .map(|list| format!("only: [{}]", list.join(", "))),
                );
                inner.extend(exactly.map(|value| format!("exactly: {value}")));
                inner.extend(fields.iter().map(|(p, matcher)| format!("{p}: {matcher}")));
                keys.push(format!("body: {{ {} }}", inner.join(", ")));
            }
        }
        if let Some((from, until)) = self.when {
            let from = from.map(|from| format!("from: {from}"));
            let until = until.map(|until| format!("until: {until}"));
            let parts: Vec<String> = from.into_iter().chain(until).collect();
            keys.push(format!("when: {{ {} }}", parts.join(", ")));
        }
        if !self.unless.is_empty() {
            let ids: Vec<String> = self.unless.iter().map(|n| format!("p{n:02}")).collect();
            keys.push(format!("unless: [{}]", ids.join(", ")));
        }
        if self.websocket {
            keys.push("upgrade: websocket".to_owned());
        }
        format!("  - {}\n", keys.join("\n    "))
    }
}

fn mapping(list: &[(&str, &str)], only: Option<&[&str]>) -> String {
    let mut parts: Vec<String> = list
        .iter()
        .map(|(key, matcher)| format!("{key}: {matcher}"))
        .collect();
    parts.extend(only.map(|names| format!("only: [{}]", names.join(", "))));
    format!("{{ {} }}", parts.join(", "))
}

impl Asked {
    pub(crate) fn path(&self) -> String {
        let slash = if self.slash && !self.segments.is_empty() {
            "/"
        } else {
            ""
        };
        format!("/{}{slash}", self.segments.join("/"))
    }

    /// `None` where no policy is asked: the request itself is refused.
    pub(crate) fn canonical(&self) -> Option<Canonical> {
        Canonical::new(self.method, self.host, &self.path(), self.query).ok()
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        if let Some(value) = self.content_type {
            map.append("content-type", HeaderValue::from_static(value));
        }
        map
    }

    pub(crate) fn principal(&self) -> Option<Principal> {
        let caller = self.who.as_ref()?;
        let claims: Vec<String> = caller
            .claims
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        let boxed = |list: &[&str]| list.iter().map(|text| Box::from(*text)).collect();
        Some(Principal {
            agent: caller.agent.map(Box::from),
            user: caller.user.map(Box::from),
            groups: boxed(&caller.groups),
            claims: Json::parse(format!("{{{}}}", claims.join(",")).as_bytes(), 8).unwrap(),
            cert: caller.dns.as_ref().map(|dns| Certificate {
                dns: boxed(dns),
                fingerprint: "ab".into(),
                ..Certificate::default()
            }),
            expires_at: caller.ends.map(|end| end.parse().unwrap()),
            ..Principal::default()
        })
    }
}

const TEMPLATES: &[&str] = &[
    "/a/{x}",
    "/a/{x}/{y}",
    "/{x}",
    "/{x}/{y}",
    "/a/b",
    "/A/{x}",
    "/a/{z...}",
    "/{z...}",
    "/{x*2}",
    "/{x*2}/{z...}",
    "/a/{x}/",
    "/a",
    "/a/",
    "/",
    "/{x:[ab]+}",
    "/a/{x:[a-z]+}",
    "/a%2Fb",
    "/a%2Fb/{x}",
    "/{x:.*}/b",
    "/{x}/b",
    "/a/{z...}/",
    "/{y}/{x}",
];

const METHODS: &[&str] = &[
    "GET", "GET", "GET,POST", "POST", "*", "*", "*", "HEAD", "PUT,GET",
];

/// Matchers of texts, for every place.
const OF_TEXT: &[&str] = &[
    "\"ag/a\"",
    "a",
    "b",
    "[\"ag/a\", \"ag/b\"]",
    "{ eq: a }",
    "{ in: [a, b] }",
    "{ in: [a, a, ab] }",
    "{ glob: \"ag/*\" }",
    "{ glob: [\"a*\", \"*b\"] }",
    "{ glob: \"*b\" }",
    "{ glob: \"*/b\" }",
    "{ glob: \"a*b\" }",
    "{ glob: \"**\" }",
    "{ prefix: a }",
    "{ prefix: \"ag/\" }",
    "{ prefix: [a, b] }",
    "{ suffix: b }",
    "{ suffix: [\"/a\", b] }",
    "{ matches: \"a.*\" }",
    "{ matches: [\"[ab]\", \"ag/[ab]\"] }",
    "{ ne: a }",
    "{ not_in: [a, b] }",
    "{ present: true }",
    "{ absent: true }",
    "{ not: { eq: a } }",
    "{ any_of: [{ eq: a }, { glob: \"b*\" }] }",
    "$claims/t",
    "{ in: $claims/l }",
    "{ ne: $claims/t }",
    "{ eq: a, glob: \"a*\" }",
    "{ glob: \"ag/*\", not: { eq: \"ag/b\" } }",
    "{ in: [a, $claims/t] }",
    "{ contains: a }",
];

/// Matchers of numbers, for what can be one.
const OF_NUMBER: &[&str] = &[
    "1",
    "42",
    "[1, 42]",
    "{ eq: 1.0 }",
    "{ eq: 1e0 }",
    "{ in: [1, a] }",
    "{ in: [7, 42, 1] }",
    "{ gte: 7 }",
    "{ lt: 2 }",
    "{ eq: 0.5 }",
    "{ eq: 9007199254740993 }",
    "{ eq: 0 }",
    "{ ne: 1 }",
    "{ not_in: [1, 7] }",
    "$claims/n",
    "{ lte: $claims/n }",
];

/// Matchers of JSON, for claims and body fields.
const OF_JSON: &[&str] = &[
    "true",
    "{ type: number }",
    "{ type: [string, \"null\"] }",
    "{ eq: null }",
    "{ count: { gte: 1 } }",
    "{ some: a }",
    "{ every: { in: [a, b] } }",
    "{ none: a }",
];

fn of_text() -> impl Strategy<Value = &'static str> {
    select(OF_TEXT)
}

fn of_wire() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => select(OF_TEXT), 2 => select(OF_NUMBER)]
}

fn of_json() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => select(OF_TEXT), 2 => select(OF_NUMBER), 1 => select(OF_JSON)]
}

/// Each key at most once.
fn some_of<M: Strategy<Value = &'static str>>(
    keys: &'static [&'static str],
    most: usize,
    matcher: impl Fn() -> M,
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let matchers: Vec<M> = (0..most).map(|_| matcher()).collect();
    (subsequence(keys, 0..=most), matchers)
        .prop_map(|(keys, matchers)| keys.into_iter().zip(matchers).collect())
}

fn rarely<T: Clone + std::fmt::Debug>(
    some: u32,
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(f64::from(some) / 10.0, strategy)
}

fn who() -> impl Strategy<Value = Who> {
    let list = (
        some_of(&["agent", "user", "claims/t"], 2, of_text),
        some_of(
            &["claims/n", "claims/t/u", "groups", "cert/dns"],
            1,
            of_json,
        ),
    );
    prop_oneof![
        1 => Just(Who::Absent),
        4 => Just(Who::Any),
        1 => Just(Who::Anonymous),
        5 => list.prop_map(|(mut texts, others)| {
            texts.extend(others);
            match texts.is_empty() {
                true => Who::Any,
                false => Who::Conditions(texts),
            }
        }),
    ]
}

fn query() -> impl Strategy<Value = Named> {
    let only = rarely(3, subsequence(&["q", "r"][..], 0..=2));
    prop_oneof![
        3 => Just(Named::Absent),
        1 => Just(Named::None),
        8 => Just(Named::Any),
        3 => (some_of(&["q", "r"], 2, of_wire), only).prop_map(|(list, only)| Named::Judged(list, only)),
    ]
}

fn body() -> impl Strategy<Value = BodyText> {
    const POINTERS: &[&str] = &["/a", "/b", "/c", "/c/d"];
    let judged = (
        rarely(
            1,
            select(&["[application/json, application/merge-patch+json]"][..]),
        ),
        rarely(5, subsequence(POINTERS, 0..=4)),
        rarely(1, select(&["{ a: 1 }", "{}", "[]", "{ b: \"$$x\" }"][..])),
        some_of(POINTERS, 2, of_json),
    );
    prop_oneof![
        3 => Just(BodyText::Absent),
        1 => Just(BodyText::None),
        8 => Just(BodyText::Any),
        1 => Just(BodyText::Judged { types: Some("text/plain"), only: None, exactly: None, fields: Vec::new() }),
        4 => judged.prop_map(|(types, only, exactly, fields)| {
            if only.is_none() && exactly.is_none() && fields.is_empty() && types.is_none() {
                return BodyText::Any;
            }
            BodyText::Judged { types, only, exactly, fields }
        }),
    ]
}

const MORNING: &str = "2026-03-01T06:00:00Z";
const NOON: &str = "2026-03-01T12:00:00Z";

fn when() -> impl Strategy<Value = (Option<&'static str>, Option<&'static str>)> {
    select(
        &[
            (Some(MORNING), None),
            (None, Some(NOON)),
            (Some(MORNING), Some(NOON)),
            (None, Some("$claims/end")),
            (Some("$claims/end"), None),
        ][..],
    )
}

fn policy(focus: &'static str) -> impl Strategy<Value = PolicyText> {
    let template = prop_oneof![3 => Just(focus), 2 => select(TEMPLATES)];
    let operations = prop::collection::vec((select(METHODS), template), 1..=2);
    let one = prop_oneof![4 => Just(1_usize), 1 => Just(2)];
    let kind = (
        prop::bool::weighted(0.75),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.05),
    );
    let place = (
        operations,
        one,
        some_of(&["x", "y", "z"], 1, of_wire),
        rarely(
            2,
            select(
                &[
                    "h.test",
                    "[h.test, i.test]",
                    "{ glob: \"*.test\" }",
                    "{ ne: h.test }",
                    "{ in: [i.test] }",
                ][..],
            ),
        ),
    );
    let wire = (
        query(),
        some_of(&["x-a", "x-b"], 1, of_wire),
        rarely(1, subsequence(&["x-a", "x-b"][..], 0..=2)),
        rarely(1, select(&["10.0.0.0/8", "::/0"][..])),
        body(),
        rarely(2, when()),
        prop::collection::vec(0..40_usize, 0..3),
    );
    (kind, place, who(), wire).prop_map(
        |((permit, shadow, websocket), (mut operations, count, path, host), who, wire)| {
            let (query, headers, headers_only, client, body, when, unless) = wire;
            operations.truncate(count);
            let captured = |name: &str| {
                operations.iter().all(|(_, template)| {
                    ["}", ":", "*", "..."]
                        .iter()
                        .any(|end| template.contains(&format!("{{{name}{end}")))
                })
            };
            let path = path
                .into_iter()
                .filter(|(name, _)| captured(name))
                .collect();
            let who = match who {
                Who::Absent if permit => Who::Any,
                who => who,
            };
            PolicyText {
                permit,
                shadow,
                who,
                path,
                operations,
                host,
                query,
                headers,
                headers_only,
                client,
                body: if websocket { BodyText::Absent } else { body },
                when,
                unless,
                websocket,
            }
        },
    )
}

/// Policies and requests of which most are about one template.
pub(crate) fn scenario(requests: usize) -> impl Strategy<Value = (Vec<PolicyText>, Vec<Asked>)> {
    select(TEMPLATES).prop_flat_map(move |focus| {
        (
            policies(focus),
            prop::collection::vec(asked(focus), requests),
        )
    })
}

fn policies(focus: &'static str) -> impl Strategy<Value = Vec<PolicyText>> {
    prop_oneof![
        3 => prop::collection::vec(policy(focus), 1..=6),
        2 => prop::collection::vec(policy(focus), 7..=40),
    ]
    .prop_map(|mut policies| {
        let permits: Vec<bool> = policies.iter().map(|p| p.permit).collect();
        for policy in &mut policies {
            let forbid = !policy.permit;
            policy
                .unless
                .retain(|n| forbid && permits.get(*n).copied().unwrap_or(false));
        }
        policies
    })
}

fn caller() -> impl Strategy<Value = Caller> {
    const TEXTS: &[&str] = &["a", "b", "ab", "ag/a", "ag/b", "ag/../a", "42"];
    const VALUES: &[&str] = &[
        "\"a\"",
        "\"b\"",
        "\"ag/a\"",
        "\"ab\"",
        "1",
        "null",
        "true",
        "[\"a\"]",
        "{\"u\":\"a\"}",
        "{\"u\":1}",
        "\"42\"",
    ];
    const NUMBERS: &[&str] = &[
        "1",
        "1.0",
        "42",
        "7",
        "0.5",
        "0",
        "1e-500",
        "0e500",
        "1.00000000000000000000000000",
        "1.000000000000000000000000000000000000000000000",
        "9007199254740993",
        "9007199254740992",
        "\"1\"",
        "null",
        "[1]",
        "1e2",
        "-0",
    ];
    const LISTS: &[&str] = &["[]", "[\"a\"]", "[\"a\",\"ag/b\"]", "[null,\"b\"]", "\"a\""];
    let claim = |name: &'static str, values: &'static [&'static str]| {
        rarely(8, select(values)).prop_map(move |value| value.map(|value| (name, value)))
    };
    let ends = [
        "\"2026-03-01T09:00:00Z\"",
        "\"2026-03-01T15:00:00Z\"",
        "1772355600",
        "\"soon\"",
    ];
    let claims = (
        claim("t", VALUES),
        claim("n", NUMBERS),
        claim("l", LISTS),
        rarely(5, select(ends.to_vec())).prop_map(|end| end.map(|end| ("end", end))),
    );
    (
        rarely(9, select(TEXTS)),
        rarely(6, select(TEXTS)),
        subsequence(&["a", "b", "ag/a"][..], 0..=2),
        claims,
        rarely(3, subsequence(&["a", "b"][..], 0..=2)),
        rarely(
            1,
            select(&["2026-03-01T10:00:00Z", "2027-01-01T00:00:00Z"][..]),
        ),
    )
        .prop_map(|(agent, user, groups, (t, n, l, end), dns, ends)| Caller {
            agent,
            user,
            groups,
            claims: [t, n, l, end].into_iter().flatten().collect(),
            dns,
            ends,
        })
}

fn asked(focus: &'static str) -> impl Strategy<Value = Asked> {
    const HEADERS: &[&[(&str, &[u8])]] = &[
        &[("x-a", b"a")],
        &[("x-a", b"42"), ("x-b", b"b")],
        &[("x-a", b"a"), ("x-a", b"a")],
        &[("x-a", b"\xff")],
        &[("x-c", b"1")],
        &[("accept", b"*/*")],
    ];
    const PLAIN: &[&str] = &["a", "b", "A", "ab", "42", "7"];
    const ODD: &[&str] = &[
        "B", "042", "c", "a%2Fb", "a%2fB", "%2Fa", "b;x", ";", "%2561", "", "%C3%A9", "a%252Fb",
    ];
    let segment = prop_oneof![8 => select(PLAIN), 1 => select(ODD)];
    let query = prop_oneof![
        7 => Just(None),
        3 => select(&[
            "", "&", "q=a", "q=a&r=1", "q=a&q=b", "Q=a", "q[]=a", "q=%zz", "q=a;r=b", "r=42", "q",
            "s=1", "q=ag%2Fa&r=b",
        ][..]).prop_map(Some),
    ];
    let headers = prop_oneof![
        5 => Just(<&[(&str, &[u8])]>::default()),
        5 => select(HEADERS),
    ];
    let content = prop_oneof![
        8 => Just((None, "")),
        6 => (
            select(&["application/json", "application/json", "application/json; charset=utf-8", "application/merge-patch+json"][..]).prop_map(Some),
            select(&[
                "{\"a\":1,\"b\":\"a\"}", "{\"a\":\"a\"}", "{\"a\":1}", "{}", "[]", "{\"b\":null,\"c\":{\"d\":1}}",
                "{\"b\":\"$x\"}",
                "{\"c\":{\"d\":\"b\",\"e\":1}}", "{\"c\":{}}", "{\"c\":5}", "{\"c\":[]}", "{\"a\":[\"a\",\"b\"]}", "{\"z\":1}",
                "{\"a\":", "{\"a\":1,\"a\":1}", "{\"A\":1}", "{\"A\":1,\"b\":\"a\"}", "\u{feff}{}", "{\"a\":1e-500}", "7",
            ][..]),
        ),
        1 => (select(&[None, Some("text/plain"), Some("application/x-www-form-urlencoded")][..]), Just("a=1")),
    ];
    (
        select(&["GET", "GET", "POST", "HEAD", "PUT"][..]),
        select(&["h.test", "i.test", "h.test:8443"][..]),
        prop::collection::vec(segment, 0..=4),
        (prop::bool::weighted(0.15), prop::bool::weighted(0.75)),
        (query, headers),
        rarely(9, caller()),
        select(&["10.1.2.3", "192.0.2.1", "::ffff:10.0.0.1"][..]),
        content,
        prop::bool::weighted(0.05),
        select(
            &[
                "2026-03-01T09:00:00Z",
                "2026-03-01T12:00:00Z",
                "2026-03-01T05:59:59Z",
            ][..],
        ),
    )
        .prop_map(
            move |(
                method,
                host,
                segments,
                (slash, focused),
                (query, headers),
                who,
                client,
                content,
                websocket,
                now,
            )| {
                let (segments, slash) = match focused {
                    true => (instance(focus, &segments), slash ^ focus.ends_with("}/")),
                    false => (segments, slash),
                };
                Asked {
                    method,
                    host,
                    segments,
                    slash,
                    query,
                    headers: headers.to_vec(),
                    who,
                    client,
                    content_type: content.0,
                    body: content.1,
                    websocket,
                    now,
                }
            },
        )
}

/// The template's literals, with the segments for its parameters.
fn instance(template: &'static str, segments: &[&'static str]) -> Vec<&'static str> {
    let mut segments = segments.iter().copied();
    let mut path = Vec::new();
    for part in template.split('/').filter(|part| !part.is_empty()) {
        let count = match part {
            "{x*2}" => 2,
            "{z...}" => segments.len().max(1),
            _ if part.starts_with('{') => 1,
            literal => {
                path.push(literal);
                continue;
            }
        };
        path.extend((0..count).map(|_| segments.next().unwrap_or("a")));
    }
    path
}
