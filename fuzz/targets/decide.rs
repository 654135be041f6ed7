//! Policies and requests that the input spells, one byte a choice, through the core and through the naive reference
//! of `tests/properties`: verdict, reason, policies and shadow verdicts are equal.
//!
//! The choices reach further than those of the property test: templates, matchers and bodies are put together from
//! parts here, where that test picks them from lists.

#![no_main]

#[path = "decide/asked.rs"]
mod asked;
#[path = "decide/draw.rs"]
mod draw;
#[expect(dead_code, unused_imports, reason = "the test beside it is none here")]
#[path = "../../tests/properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use portcullis::policy::{Facts, PolicySet, SourceFile};

use self::draw::Draw;
use self::properties::core;
use self::properties::generate::PolicyText;
use self::properties::reference::Reference;

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let mut policies = draw.policies();
    let Some(set) = load(&mut policies) else {
        return;
    };
    let reference = Reference::new(&policies);
    while let Some(asked) = draw.asked(&policies) {
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
        assert_eq!(got, want, "{asked:#?}\n{}", written(&policies));
    }
});

fn written(policies: &[PolicyText]) -> String {
    let texts = policies
        .iter()
        .enumerate()
        .map(|(n, policy)| policy.yaml(n));
    format!("version: 1\npolicies:\n{}", texts.collect::<String>())
}

/// Loads the policies. Those that are refused give way to ones that aren't, so that one of them doesn't spoil all.
fn load(policies: &mut [PolicyText]) -> Option<PolicySet> {
    for _ in 0..2 {
        let file = SourceFile {
            name: "drawn.yaml".into(),
            text: written(policies),
        };
        let problems = match PolicySet::load(&[file]) {
            Ok(set) => return Some(set),
            Err(problems) => problems,
        };
        for problem in problems {
            let inside = problem.key.strip_prefix("policies[")?;
            let (n, _) = inside.split_once(']')?;
            let refused = policies.get_mut(n.parse::<usize>().ok()?)?;
            let permit = refused.permit;
            *refused = draw::plain(permit);
        }
    }
    None
}
