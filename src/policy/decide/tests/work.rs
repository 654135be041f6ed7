//! What one body may cost, by sizes that would take minutes if each element were looked for among all others.

use super::told::{JSON, consider};
use super::*;
use crate::policy::body::BodyFields;

/// Many elements, as JSON.
const MANY: usize = 150_000;

fn list(of: &str) -> String {
    format!("[{}]", vec![of; MANY].join(","))
}

fn verdict(policies: &str, target: &str, body: &str) -> String {
    consider(&set(policies), target, JSON, body, |considered| {
        let BodyPlan::Json(projection) = considered.body_plan() else {
            panic!("it judges JSON");
        };
        let fields = BodyFields::json(body.as_bytes(), projection, 9).unwrap();
        match considered.decide(Body::Fields(&fields)).verdict {
            Verdict::Permit(permit) => permit.policy().to_string(),
            Verdict::Deny(denial) => format!("{} {:?}", denial.reason, denial.policies),
        }
    })
}

/// Two lists of a body, each element of one looked for in the other: seconds of a worker for 100 KiB.
#[test]
fn what_needs_more_comparisons_than_are_made_is_indeterminate() {
    let permit = "
  - { id: a, who: any, do: POST /a, body: { /a: { every: { in: $body/b } } } }";
    let forbid = "
  - { id: all, who: any, do: POST /a, body: any }
  - { id: no, effect: forbid, do: POST /a, body: { /a: { some: { in: $body/b } } } }
  - { id: nor, effect: forbid, do: POST /a, body: { /a: { some: { eq: 1 } } } }";
    let few = r#"{"a":["x","y"],"b":["y","x"]}"#;
    let many = format!(r#"{{"a":{},"b":{}}}"#, list("2"), list("3"));
    assert_eq!(verdict(permit, "/a", few), "a");
    assert_eq!(verdict(permit, "/a", &many), "no_policy []");
    // A forbid applies, and one beside it, which is cheap, is judged as ever.
    assert_eq!(verdict(forbid, "/a", r#"{"a":[2],"b":[3]}"#), "all");
    assert_eq!(verdict(forbid, "/a", &many), r#"forbidden ["no"]"#);
}

/// What a condition refers to is looked up once, not at each element.
#[test]
fn a_reference_inside_every_is_looked_up_once() {
    let policy = "
  - { id: a, who: any, do: POST /a, query: { x: { present: true }, only: [y] }, body: { /a: { every: { eq: $query/x } } } }
  - { id: b, who: any, do: POST /a, query: any, body: { /a: { every: { eq: $query/x } } } }";
    let names: String = (0..999).map(|n| format!("name{n}=1&")).collect();
    let body = format!(r#"{{"a":{}}}"#, list(r#""v""#));
    assert_eq!(verdict(policy, &format!("/a?{names}x=v"), &body), "b");
    assert_eq!(
        verdict(policy, &format!("/a?{names}x=w"), &body),
        "no_policy []"
    );
}

/// A number of half a megabyte is beyond the limits, which its length tells.
#[test]
fn a_number_without_end_is_not_read_at_each_element() {
    let policy = "
  - { id: a, who: any, do: POST /a, body: { /a: { every: { ne: $body/n } } } }";
    let body = format!(r#"{{"a":{},"n":{}}}"#, list("1"), "7".repeat(1 << 19));
    assert_eq!(verdict(policy, "/a", &body), "no_policy []");
}
