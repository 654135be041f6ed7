//! The policy core against a naive reference: the rules of the design, written straight from its text.
//!
//! The reference keeps a list of policies and looks at all of them: no index, no filing, no compiled
//! projection. It shares with the core what is tested on its own: the canonical form, its readings, and single
//! matchers. Random policy sets of few literals, so that near misses are common, judge random requests, and
//! both must give the same verdict, reason, policies and shadow verdicts. What is permitted until a moment must be
//! permitted at each moment before it.
//!
//! `PORTCULLIS_PAIRS=1000000 cargo test --release --test properties` runs so many pairs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "properties/generate.rs"]
pub(crate) mod generate;
#[path = "properties/reference.rs"]
pub(crate) mod reference;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;

use jiff::Timestamp;
use portcullis::policy::{
    Body, BodyFields, BodyPlan, Decision, Effect, Facts, Fault, PolicySet, Reason, SourceFile,
    Verdict,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use self::generate::{Asked, PolicyText};
use self::reference::{Answer, Reference};

/// Requests that each policy set judges.
const REQUESTS: usize = 32;

/// Pairs of a policy set and a request in a normal test run.
const PAIRS: usize = 4_000;

fn load(policies: &[PolicyText]) -> PolicySet {
    let mut text = String::from("version: 1\npolicies:\n");
    for (n, policy) in policies.iter().enumerate() {
        text.push_str(&policy.yaml(n));
    }
    let file = SourceFile {
        name: "random.yaml".into(),
        text: text.clone(),
    };
    PolicySet::load(&[file]).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

/// What the core decides. `fuzz/targets/decide.rs` asks it, too.
pub(crate) fn core(set: &PolicySet, facts: &Facts<'_>, bytes: &[u8]) -> Answer {
    answer(decided(set, facts, bytes))
}

fn decided(set: &PolicySet, facts: &Facts<'_>, bytes: &[u8]) -> Decision {
    let considered = set.consider(facts);
    let read = |plan: BodyPlan<'_>| match plan {
        BodyPlan::Leave => None,
        BodyPlan::Json(projection) => Some(BodyFields::json(bytes, projection, 64)),
        BodyPlan::Form(projection) => Some(BodyFields::form(bytes, projection)),
    };
    let fields = read(considered.body_plan());
    let shadow_fields = read(considered.shadow_plan());
    considered.decide_both(seen(&fields, facts), seen(&shadow_fields, facts))
}

fn answer(decision: Decision) -> Answer {
    let shadow = decision
        .shadow
        .iter()
        .map(|s| (s.policy.to_string(), s.effect == Effect::Permit))
        .collect();
    let (verdict, policies) = match decision.verdict {
        Verdict::Permit(permit) => (Ok(permit.policy().to_string()), Vec::new()),
        Verdict::Deny(denial) => (
            Err(denial.reason),
            denial.policies.iter().map(ToString::to_string).collect(),
        ),
    };
    Answer {
        verdict,
        policies,
        shadow,
    }
}

fn seen<'f>(fields: &'f Option<Result<BodyFields<'f>, Fault>>, facts: &Facts<'_>) -> Body<'f, 'f> {
    match fields {
        None if facts.has_body => Body::Unread,
        None => Body::Absent,
        Some(Ok(fields)) => Body::Fields(fields),
        Some(Err(fault)) => Body::Fault(*fault),
    }
}

/// Every moment at which a window of `generate` or an identity begins or ends.
const SEAMS: [&str; 6] = [
    "2026-03-01T06:00:00Z",
    "2026-03-01T09:00:00Z",
    "2026-03-01T10:00:00Z",
    "2026-03-01T12:00:00Z",
    "2026-03-01T15:00:00Z",
    "2027-01-01T00:00:00Z",
];

/// No right outlives its window: until a permit's end, the same request would be permitted again, at whichever moment
/// something begins or ends. Obligations aside, which are judged once.
fn holds_until_its_end(
    set: &PolicySet,
    facts: &Facts<'_>,
    bytes: &[u8],
) -> Result<(), TestCaseError> {
    let Verdict::Permit(permit) = decided(set, facts, bytes).verdict else {
        return Ok(());
    };
    let seams = SEAMS.map(|at| at.parse::<Timestamp>().unwrap());
    prop_assert!(permit.until().is_none_or(|end| end > facts.now));
    for now in seams.into_iter().filter(|at| *at > facts.now) {
        if permit.until().is_some_and(|end| end <= now) {
            continue;
        }
        let later = answer(decided(set, &Facts { now, ..*facts }, bytes));
        prop_assert!(
            matches!(later.verdict, Ok(_) | Err(Reason::ObligationFailed)),
            "permitted until {:?}, but at {now}: {later:?}",
            permit.until()
        );
    }
    Ok(())
}

/// How often each verdict was given.
type Tally = BTreeMap<&'static str, usize>;

fn agree(
    policies: &[PolicyText],
    requests: &[Asked],
    tally: &mut Tally,
) -> Result<(), TestCaseError> {
    let set = load(policies);
    let reference = Reference::new(policies);
    for asked in requests {
        let Some(request) = asked.canonical() else {
            continue;
        };
        let (headers, principal) = (asked.headers(), asked.principal());
        let facts = Facts {
            request: &request,
            headers: &headers,
            principal: principal.as_ref(),
            client: asked.client.parse().unwrap(),
            has_body: !asked.body.is_empty(),
            websocket: asked.websocket,
            now: asked.now.parse().unwrap(),
        };
        let got = core(&set, &facts, asked.body.as_bytes());
        let want = reference.decide(&facts, asked.body.as_bytes());
        let verdict = want
            .verdict
            .as_ref()
            .map_or_else(|r| r.code(), |_| "permit");
        *tally.entry(verdict).or_default() += 1;
        let told = || -> String {
            let texts = policies.iter().enumerate().map(|(n, p)| p.yaml(n));
            format!("{asked:#?}\n{}", texts.collect::<String>())
        };
        prop_assert_eq!(got, want, "{}", told());
        holds_until_its_end(&set, &facts, asked.body.as_bytes())
            .map_err(|error| TestCaseError::fail(format!("{error}\n{}", told())))?;
    }
    Ok(())
}

#[test]
fn the_core_agrees_with_a_naive_reference() {
    let pairs = env::var("PORTCULLIS_PAIRS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(PAIRS);
    let config = Config {
        cases: u32::try_from(pairs / REQUESTS).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 4_096,
        ..Config::default()
    };
    let tally = RefCell::new(Tally::new());
    TestRunner::new(config)
        .run(&generate::scenario(REQUESTS), |(policies, requests)| {
            agree(&policies, &requests, &mut tally.borrow_mut())
        })
        .unwrap_or_else(|error| match error {
            // The reason names the one pair that differs; the value is all of the set's requests.
            TestError::Fail(reason, _) => panic!("{reason}"),
            TestError::Abort(reason) => panic!("{reason}"),
        });
    // A comparison that only ever saw denials would show little.
    let tally = tally.into_inner();
    println!("{tally:?}");
    for verdict in [
        "permit",
        "forbidden",
        "no_policy",
        "no_credentials",
        "outside_window",
        "ambiguous_request",
        "unsupported_body",
        "invalid_token",
    ] {
        let times = tally.get(verdict).copied().unwrap_or_default();
        // The rarest come four times in a thousand, and by chance less often; none in thousands is no chance.
        assert!(times > pairs / 10_000, "{verdict}: {times} of {pairs}");
    }
}
