//! What a permit is worth: until when, with which headers, and which of several.

use super::*;

fn permit(policies: &str, principal: &Principal) -> Result<Permit, Reason> {
    let set = set(policies);
    with_facts(principal, |facts| {
        match set.decide(facts, Body::Absent).verdict {
            Verdict::Permit(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial.reason),
        }
    })
}

#[test]
fn a_permit_ends_with_its_window_or_its_identity() {
    let window = "
  - { id: a, who: any, do: GET /a, when: { until: 2026-03-02T12:00:00Z, weekly: \"Mon 08:00-11:00 UTC\" } }
";
    let ending = |end: Option<&str>| Principal {
        expires_at: end.map(|end| end.parse().unwrap()),
        ..Principal::default()
    };
    for (end, want) in [
        (None, Ok(Some("2026-03-02T11:00:00Z"))),
        (
            Some("2026-03-02T10:00:00Z"),
            Ok(Some("2026-03-02T10:00:00Z")),
        ),
        (
            Some("2026-03-02T11:30:00Z"),
            Ok(Some("2026-03-02T11:00:00Z")),
        ),
        (Some("2026-03-02T09:00:00Z"), Err(Reason::InvalidToken)),
    ] {
        let got = permit(window, &ending(end)).map(|p| p.until().map(|t| t.to_string()));
        assert_eq!(got, want.map(|t| t.map(str::to_owned)), "{end:?}");
    }
}

#[test]
fn a_permit_ends_with_the_lift_of_a_forbid() {
    let allowed = "
  - { id: a, who: any, do: GET /a }
  - { id: no, effect: forbid, do: GET /a, unless: [x, y, s] }
  - { id: s, mode: shadow, who: any, do: GET /a }";
    let (eleven, ten) = ("2026-03-02T11:00:00Z", "2026-03-02T10:00:00Z");
    let lift = |id: &str, rest: &str| format!("\n  - {{ id: {id}, who: any, do: GET /a{rest} }}");
    let until = |end: &str| format!(", when: {{ until: {end} }}");
    let closed = ", when: { from: 2026-03-02T12:00:00Z }";
    for (x, y, no, want) in [
        (until(eleven), closed.to_owned(), "", Some(eleven)),
        (until(eleven), until(ten), "", Some(eleven)),
        (until(ten), String::new(), "", None),
        // when the lift ends, the forbid is over, or has not begun again
        (
            until(eleven),
            closed.to_owned(),
            "until: 2026-03-02T10:30:00Z",
            None,
        ),
        (
            until(eleven),
            closed.to_owned(),
            "weekly: \"Mon 08:00-10:00 UTC\"",
            Some("2026-03-09T08:00:00Z"),
        ),
        (
            until(eleven),
            closed.to_owned(),
            "from: $claims/none",
            Some(eleven),
        ),
    ] {
        let window = match no {
            "" => String::new(),
            window => format!("unless: [x, y, s], when: {{ {window} }}"),
        };
        let allowed = match no {
            "" => allowed.to_owned(),
            _ => allowed.replace("unless: [x, y, s]", &window),
        };
        let policies = format!("{allowed}{}{}", lift("x", &x), lift("y", &y));
        let permit = permit(&policies, &Principal::default()).unwrap();
        assert_eq!(&**permit.policy(), "a");
        let until = permit.until().map(|t| t.to_string());
        assert_eq!(until.as_deref(), want, "{policies}");
    }
}

/// A stream that was permitted before a forbid's hours ran on through them.
#[test]
fn a_permit_ends_where_a_forbid_may_wake() {
    let noon = Some("2026-03-02T12:00:00Z");
    for (forbid, want) in [
        ("when: { from: 2026-03-02T12:00:00Z }", noon),
        ("when: { weekly: \"Mon 12:00-13:00 UTC\" }", noon),
        (
            "when: { weekly: \"Mon 06:00-07:00 UTC\" }",
            Some("2026-03-09T06:00:00Z"),
        ),
        ("when: { until: 2026-03-02T08:00:00Z }", None),
        // what its body says was not read, so it may be what the forbid means
        (
            "when: { from: 2026-03-02T12:00:00Z }, body: { /b: 1 }",
            noon,
        ),
        ("when: { from: 2026-03-02T12:00:00Z }, body: none", noon),
        (
            "when: { from: 2026-03-02T12:00:00Z }, query: { q: { absent: true } }",
            noon,
        ),
        // what is false now stays false
        (
            "when: { from: 2026-03-02T12:00:00Z }, query: { q: { present: true } }",
            None,
        ),
        (
            "when: { from: 2026-03-02T12:00:00Z }, headers: { x: { present: true } }",
            None,
        ),
        (
            "when: { from: 2026-03-02T12:00:00Z }, who: { agent: { absent: false } }",
            None,
        ),
        ("when: { from: 2026-03-02T12:00:00Z }, mode: shadow", None),
        // lifted for good, and lifted for a while
        ("when: { from: 2026-03-02T12:00:00Z }, unless: a", None),
        (
            "when: { from: 2026-03-02T12:00:00Z }, unless: b",
            Some("2026-03-02T14:00:00Z"),
        ),
        ("when: { from: 2026-03-02T12:00:00Z }, unless: c", noon),
    ] {
        let policies = format!(
            "
  - {{ id: a, who: any, do: GET /a }}
  - {{ id: b, who: any, do: GET /a, when: {{ until: 2026-03-02T14:00:00Z }} }}
  - {{ id: c, who: any, do: GET /a, when: {{ until: 2026-03-02T10:00:00Z }} }}
  - {{ id: no, effect: forbid, do: GET /a, {forbid} }}"
        );
        let permit = permit(&policies, &Principal::default()).unwrap();
        let until = permit.until().map(|t| t.to_string());
        assert_eq!(until.as_deref(), want, "{forbid}");
    }
}

#[test]
fn obligations_of_all_holding_permits_unite_and_may_not_disagree() {
    let principal = Principal {
        user: Some("ann".into()),
        groups: vec!["g".into()],
        claims: Json::parse(br#"{"n":7,"bad":"a\nb"}"#, 4).unwrap(),
        ..Principal::default()
    };
    let with = |settings: &[&str]| {
        let policies: Vec<String> = settings
            .iter()
            .zip(["b", "a", "c"])
            .map(|(s, id)| {
                format!(
                    "\n  - {{ id: {id}, who: any, do: GET /a, then: {{ set_headers: {{ {s} }} }} }}"
                )
            })
            .collect();
        permit(&policies.concat(), &principal).map(|permit| {
            let set = permit.set_headers().iter();
            let mut set: Vec<String> = set
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                .collect();
            set.sort();
            format!("{} {}", permit.policy(), set.join(" "))
        })
    };
    let cases: &[(&[&str], Result<&str, Reason>)] = &[
        (&["x-a: one"], Ok("b x-a=one")),
        (&["x-a: one", "x-b: $user"], Ok("a x-a=one x-b=ann")),
        (&["x-a: ann", "x-a: $user"], Ok("a x-a=ann")),
        (&["x-a: one", "x-a: two"], Err(Reason::ObligationFailed)),
        (&["x-a: $claims/n"], Ok("b x-a=7")),
        (&["x-a: $$user"], Ok("b x-a=$user")),
        (&["x-a: $claims/missing"], Err(Reason::ObligationFailed)),
        (&["x-a: $claims/bad"], Err(Reason::ObligationFailed)),
        (&["x-a: $groups"], Err(Reason::ObligationFailed)),
    ];
    for (settings, want) in cases {
        assert_eq!(with(settings), want.map(str::to_owned), "{settings:?}");
    }
}

#[test]
fn an_obligation_may_take_its_value_from_the_judged_body() {
    let policies = "
  - { id: a, who: any, do: POST /a, body: { only: [/b] }, then: { set_headers: { x-a: $body/a } } }
";
    check(
        policies,
        &[
            ("ann", "method: POST, path: /a, body: { a: x }", "permit a"),
            (
                "ann",
                "method: POST, path: /a, body: { a: 1, b: 2 }",
                "permit a",
            ),
            (
                "ann",
                "method: POST, path: /a, body: { a: [] }",
                "deny obligation_failed",
            ),
            (
                "ann",
                "method: POST, path: /a, body: { b: 2 }",
                "deny obligation_failed",
            ),
            ("ann", "method: POST, path: /a", "deny obligation_failed"),
        ],
    );
}

#[test]
fn the_first_id_of_the_holding_permits_is_chosen_with_its_headers() {
    let policies = "
  - { id: z, who: any, do: GET /a, headers: { only: [x-z] } }
  - { id: m, who: any, do: GET /a, headers: { only: [x-m] } }
";
    let permit = permit(policies, &Principal::default()).unwrap();
    assert_eq!(&**permit.policy(), "m");
    assert_eq!(permit.named_headers(), ["x-m"]);
}
