//! What a decision asks of the body before it is made, and what it tells of itself afterwards.

use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::*;

const POLICIES: &str = "
  - { id: b, who: any, do: \"POST /a/{x}\", path: { x: { ne: no } }, body: { /n: { lt: 5 }, /s: { present: true }, /t: [1, true, null] } }
  - { id: c, who: any, do: \"POST /{y...}\", body: { only: [/n, /s, /t], /n: { gt: 0 } } }
  - { id: f, who: any, do: \"POST /a/{x}\", body: { content_type: [application/x-www-form-urlencoded], /n: \"1\" } }
  - { id: z, who: any, do: \"POST /a/{x}\", mode: shadow, body: { /n: { lt: 2 } } }
  - { id: y, effect: forbid, do: \"POST /a/{x}\", mode: shadow, body: { /u: { present: true } } }
  - { id: late, who: any, do: \"POST /late\", when: { until: 2026-03-02T08:00:00Z }, body: { /n: 1 } }
  - { id: other, who: { agent: nobody }, do: \"POST /other\", body: { /n: 1 } }
  - { id: shy, who: any, do: \"POST /shy\", mode: shadow, body: { /n: 1 } }
";

pub(super) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// What becomes of a POST with this body, when it is read as it is asked for.
fn told(policies: &str, path: &str, content_type: &str, body: &str) -> String {
    let set = set(policies);
    consider(&set, path, content_type, body, |considered| {
        tell(considered, body)
    })
}

/// Looks at a POST to a path, and the query behind it, if any.
pub(super) fn consider<T>(
    set: &PolicySet,
    target: &str,
    content_type: &str,
    body: &str,
    then: impl FnOnce(Considered<'_>) -> T,
) -> T {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let request = Canonical::new("POST", "api.example.com", path, query).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    let principal = Principal::default();
    then(set.consider(&Facts {
        request: &request,
        headers: &headers,
        principal: Some(&principal),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: !body.is_empty(),
        websocket: false,
        now: "2026-03-02T09:00:00Z".parse().unwrap(),
    }))
}

fn tell(considered: Considered<'_>, body: &str) -> String {
    let read = |plan: BodyPlan<'_>| {
        let (kind, fields) = match plan {
            BodyPlan::Leave => ("leave", None),
            BodyPlan::Json(projection) => (
                "json",
                Some(BodyFields::json(body.as_bytes(), projection, 9).unwrap()),
            ),
            BodyPlan::Form(projection) => (
                "form",
                Some(BodyFields::form(body.as_bytes(), projection).unwrap()),
            ),
        };
        assert_eq!(plan.wants(), fields.is_some());
        (kind, fields)
    };
    let (kind, fields) = read(considered.body_plan());
    let (shadow_kind, shadow_fields) = read(considered.shadow_plan());
    let sight = |fields| match fields {
        Some(fields) => Body::Fields(fields),
        None => Body::Unread,
    };
    let (body, shadow_body) = (sight(fields.as_ref()), sight(shadow_fields.as_ref()));
    let mut judged = Vec::new();
    considered.judged(body, |field| {
        let JudgedField {
            policy,
            name,
            value,
        } = field;
        judged.push(format!("{policy} {name}={value}"));
    });
    let decision = considered.decide_both(body, shadow_body);
    let verdict = match &decision.verdict {
        Verdict::Permit(permit) => format!("permit {}", permit.policy()),
        Verdict::Deny(denial) => format!("{} {:?}", denial.reason, denial.fields),
    };
    let shadow = decision.shadow.iter();
    let shadow: Vec<String> = shadow
        .map(|shadow| format!("{}:{:?}", shadow.policy, shadow.effect))
        .collect();
    let template = decision.template.as_deref().unwrap_or("-");
    format!("{kind} {shadow_kind} | {verdict} | {judged:?} | {shadow:?} | {template}")
}

#[test]
fn a_decision_tells_what_it_judged_and_what_shadows_say() {
    let long = "é".repeat(70);
    let long_body = format!(r#"{{"n":1,"s":"{long}"}}"#);
    let long_told = format!(
        r#"json json | permit c | {:?} | ["z:Permit"] | /{{y...}}"#,
        ["c body/n=1", "b body/n=1", &format!("b body/s={long}")]
    );
    let cases = [
        (
            "/a/1",
            JSON,
            r#"{"n":1,"s":"x","t":true}"#,
            r#"json json | permit b | ["c body/n=1", "b body/n=1", "b body/s=x", "b body/t=true"] | ["z:Permit"] | /a/{x}"#,
        ),
        (
            "/a/1",
            JSON,
            r#"{"n":3,"s":{},"t":null,"u":1}"#,
            r#"json json | permit b | ["c body/n=3", "b body/n=3", "b body/t=null"] | ["y:Forbid"] | /a/{x}"#,
        ),
        // A candidate whose path fails judges no body, and what it would have judged is not told.
        (
            "/a/no",
            JSON,
            r#"{"n":7,"s":"x"}"#,
            r#"json json | permit c | ["c body/n=7"] | [] | /{y...}"#,
        ),
        // One of the candidates judges forms only, which is then the reason.
        (
            "/a/1",
            JSON,
            r#"{"n":-1,"s":"x"}"#,
            r#"json json | unsupported_body [] | ["c body/n=-1", "b body/n=-1", "b body/s=x"] | ["z:Permit"] | /{y...}"#,
        ),
        ("/a/1", JSON, &long_body, &long_told),
        // The type decides who reads, and how.
        (
            "/a/1",
            FORM,
            "n=1",
            r#"form leave | permit f | ["f body/n=1"] | ["y:Forbid"] | /a/{x}"#,
        ),
        (
            "/a/1",
            "text/plain",
            "n=1",
            r#"leave leave | unsupported_body [] | [] | ["y:Forbid"] | /{y...}"#,
        ),
        // A window alone doesn't keep a body from being read; another subject does.
        (
            "/late",
            JSON,
            r#"{"n":1}"#,
            r#"json leave | permit c | ["c body/n=1", "late body/n=1"] | [] | /{y...}"#,
        ),
        (
            "/shy",
            JSON,
            r#"{"n":1}"#,
            r#"json json | permit c | ["c body/n=1"] | ["shy:Permit"] | /{y...}"#,
        ),
        // Nothing is asked for where nothing came.
        (
            "/a/1",
            JSON,
            "",
            r#"leave leave | no_policy [] | [] | [] | /{y...}"#,
        ),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .map(|(path, content_type, body, want)| (told(POLICIES, path, content_type, body), want))
        .filter(|(got, want)| got != *want)
        .map(|(got, want)| format!("{got}\n not {want}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_body_of_which_only_the_type_counts_is_left() {
    let policies = "
  - { id: a, who: any, do: POST /a, body: { content_type: [text/plain] } }
";
    for (content_type, want) in [
        ("text/plain", "leave leave | permit a | [] | [] | /a"),
        (JSON, "leave leave | unsupported_body [] | [] | [] | /a"),
    ] {
        assert_eq!(told(policies, "/a", content_type, "x"), want);
    }
}

#[test]
fn the_permit_that_came_nearest_says_what_failed() {
    let policies = "
  - { id: far, who: any, do: \"GET /a/{x}\", path: { x: one }, query: any }
  - { id: near, who: any, do: \"GET /a/{x}\", path: { x: { ne: one } }, query: { p: one, r: three } }
";
    check(
        policies,
        &[
            (
                "ann",
                "method: GET, path: /a/two, query: \"p=one&r=two\"",
                "deny no_policy, fields that failed: query/r",
            ),
            (
                "ann",
                "method: GET, path: /a/two, query: \"p=two&r=two\"",
                "deny no_policy, fields that failed: path/x",
            ),
        ],
    );
}
