//! What loads and is yet likely a mistake: the warnings of `portcullis check`.
//!
//! Each policy is looked at by itself, and then its templates against those of the other effect through a tree
//! of segments, so that a hundred thousand policies take no longer than to load them. A tree says where two
//! templates may meet by their segments and methods; regexes, hosts and conditions are deliberately not
//! compared, so a warning may be about two policies that never meet.

mod overlap;

use super::compile::SourceFile;
use super::facts::FactRef;
use super::fault::Fault;
use super::json::Pointer;
use super::matcher::Scope;
use super::source::{self, BodyIds, BodyRule, Draft, Effect, Mode, QueryRule, Subject};
use super::value::{Truth, Value};
use crate::yaml::{self, At, Problem, Problems};

use self::overlap::Tree;

/// The warnings for policies that load; nothing for what has a problem.
pub fn lint(files: &[SourceFile]) -> Vec<Problem> {
    let mut ids = BodyIds::default();
    let mut drafts = Vec::new();
    for file in files {
        let mut problems = Problems::new(file.name.clone());
        if let Some(root) = yaml::parse(&file.text, &mut problems) {
            drafts.append(&mut source::read(&At::root(&root), &mut ids, &mut problems));
        }
    }
    let mut warnings = Vec::new();
    for draft in &drafts {
        anonymous(draft, &mut warnings);
        keys_alike(draft, &mut warnings);
        applies_where_missing(draft, &mut warnings);
    }
    shadow_lifts_nothing(&drafts, &mut warnings);
    open_bodies(&drafts, &mut warnings);
    never_hold(&drafts, &mut warnings);
    warnings
}

fn warning(draft: &Draft, key: &str, message: String) -> Problem {
    Problem {
        file: draft.file.clone(),
        mark: Some(draft.mark),
        key: format!("{}.{key}", draft.key),
        message,
    }
}

fn anonymous(draft: &Draft, warnings: &mut Vec<Problem>) {
    if draft.effect == Effect::Permit && draft.subject == Subject::Anyone {
        let message = format!("`{}` permits callers without any credential", draft.id);
        warnings.push(warning(draft, "who", message));
    }
}

/// A forbid applies where its condition can't be evaluated, and so where the caller leaves the field out: seldom
/// what `query: { action: delete }` is written for.
fn applies_where_missing(draft: &Draft, warnings: &mut Vec<Problem>) {
    if draft.effect != Effect::Forbid {
        return;
    }
    let judged = match &draft.body {
        BodyRule::Judged(judged) => judged.conditions.as_slice(),
        BodyRule::None | BodyRule::Any => &[],
    };
    for condition in draft.conditions.iter().chain(judged) {
        let may_be_missing = matches!(
            condition.fact,
            FactRef::Query(_) | FactRef::Header(_) | FactRef::Body(_)
        );
        if may_be_missing
            && condition.matcher.test(Value::Missing, &Nothing) == Truth::Indeterminate
        {
            let message = format!(
                "`{}` also applies where `{}` is missing; if that is not meant, add `present: true`",
                draft.id, condition.label
            );
            let section = condition.label.split('/').next().unwrap_or_default();
            warnings.push(warning(draft, section, message));
        }
    }
}

/// No other facts.
struct Nothing;

impl Scope for Nothing {
    fn fact(&self, _: &FactRef) -> Value<'_> {
        Value::Missing
    }

    fn note(&self, _: Fault) {}

    fn spend(&self) -> bool {
        true
    }
}

/// Each of two keys is a variant of the other, so that a request with either is ambiguous.
fn keys_alike(draft: &Draft, warnings: &mut Vec<Problem>) {
    let BodyRule::Judged(judged) = &draft.body else {
        return;
    };
    let pointers = judged
        .conditions
        .iter()
        .filter_map(|c| Pointer::parse(c.label.strip_prefix("body")?));
    let mut keys: Vec<(String, Vec<Box<str>>)> = Vec::new();
    for pointer in pointers {
        for depth in 1..=pointer.tokens().len() {
            let tokens = pointer.tokens().get(..depth).unwrap_or_default().to_vec();
            let Some((last, parents)) = tokens.split_last() else {
                continue;
            };
            let folded = format!("{}\0{}", parents.join("\0"), last.to_lowercase());
            keys.push((folded, tokens));
        }
    }
    keys.sort();
    keys.dedup();
    for pair in keys.windows(2) {
        if let [(a, first), (b, second)] = pair
            && a == b
        {
            let message = format!(
                "`/{}` and `/{}` differ only in case: a body with either is ambiguous, so one of them can't be meant",
                first.join("/"),
                second.join("/"),
            );
            warnings.push(warning(draft, "body", message));
        }
    }
}

fn shadow_lifts_nothing(drafts: &[Draft], warnings: &mut Vec<Problem>) {
    let mut shadow: Vec<&str> = drafts
        .iter()
        .filter(|d| d.effect == Effect::Permit && d.mode == Mode::Shadow)
        .map(|d| &*d.id)
        .collect();
    shadow.sort_unstable();
    for draft in drafts {
        for (id, mark) in &draft.unless {
            if shadow.binary_search(&&**id).is_ok() {
                let message =
                    format!("`{id}` is in shadow mode, and a shadow permit lifts nothing");
                warnings.push(Problem {
                    mark: Some(*mark),
                    ..warning(draft, "unless", message)
                });
            }
        }
    }
}

/// What a forbid looks for in a field may as well stand in another one that the permit lets through.
fn open_bodies(drafts: &[Draft], warnings: &mut Vec<Problem>) {
    let judges = |draft: &Draft| match &draft.body {
        BodyRule::Judged(judged) => !judged.conditions.is_empty(),
        BodyRule::None | BodyRule::Any => false,
    };
    let open = |draft: &Draft| match &draft.body {
        BodyRule::Judged(judged) => judged.only.is_none() && judged.exactly.is_none(),
        BodyRule::None => false,
        BodyRule::Any => true,
    };
    if !drafts
        .iter()
        .any(|d| d.effect == Effect::Forbid && judges(d))
    {
        return;
    }
    let mut permits = Tree::default();
    for (at, draft) in drafts.iter().enumerate() {
        if draft.effect == Effect::Permit && open(draft) {
            for operation in &draft.operations {
                permits.insert(operation, at);
            }
        }
    }
    for draft in drafts {
        if draft.effect != Effect::Forbid || !judges(draft) {
            continue;
        }
        let met = draft.operations.iter().find_map(|o| permits.meets(o));
        if let Some(permit) = met.and_then(|at| drafts.get(at)) {
            let message = format!(
                "the permit `{}` leaves its body open, so what this forbid looks for can stand elsewhere in it; close the body with `only` or `exactly`",
                permit.id
            );
            warnings.push(warning(draft, "body", message));
        }
    }
}

fn never_hold(drafts: &[Draft], warnings: &mut Vec<Problem>) {
    let mut forbids = Tree::default();
    for (at, draft) in drafts.iter().enumerate() {
        if draft.effect == Effect::Forbid && draft.mode == Mode::Enforce && is_unconditional(draft)
        {
            for operation in &draft.operations {
                forbids.insert(operation, at);
            }
        }
    }
    for draft in drafts.iter().filter(|d| d.effect == Effect::Permit) {
        let covering: Option<Vec<usize>> =
            draft.operations.iter().map(|o| forbids.covers(o)).collect();
        let forbid = covering.and_then(|all| drafts.get(*all.first()?));
        if let Some(forbid) = forbid {
            let message = format!(
                "`{}` can never permit anything: the forbid `{}` covers all its calls and has no conditions",
                draft.id, forbid.id
            );
            warnings.push(warning(draft, "do", message));
        }
    }
}

fn is_unconditional(draft: &Draft) -> bool {
    draft.subject == Subject::Anyone
        && draft.conditions.is_empty()
        && draft.query == QueryRule::Any
        && !draft.headers_closed
        && matches!(draft.body, BodyRule::Any)
        && draft.window.is_none()
        && draft.unless.is_empty()
        && !draft.websocket
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(policies: &str) -> Vec<String> {
        let file = SourceFile {
            name: "p.yaml".into(),
            text: format!("version: 1\npolicies:\n{policies}"),
        };
        super::super::PolicySet::load(std::slice::from_ref(&file)).unwrap();
        lint(&[file]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_warning_says_where_and_what() {
        let cases = [
            (
                "  - { id: a, who: anonymous, do: GET /a }",
                "p.yaml:3:11 policies[0].who: `a` permits callers without any credential",
            ),
            (
                "  - { id: a, who: any, do: POST /a, body: { only: [], /User: 1, /user: 2 } }",
                "p.yaml:3:11 policies[0].body: `/User` and `/user` differ only in case: a body with either is ambiguous, so one of them can't be meant",
            ),
            (
                "  - { id: a, who: any, do: POST /a, body: { only: [], /x/A/b: 1, /x/a/c: 2 } }",
                "p.yaml:3:11 policies[0].body: `/x/A` and `/x/a` differ only in case: a body with either is ambiguous, so one of them can't be meant",
            ),
            (
                "  - { id: a, mode: shadow, who: any, do: GET /a }\n  - { id: f, effect: forbid, do: GET /a, unless: a }",
                "p.yaml:4:50 policies[1].unless: `a` is in shadow mode, and a shadow permit lifts nothing",
            ),
            (
                "  - { id: a, who: any, do: \"* /x/{y...}\", body: any }\n  - { id: f, effect: forbid, do: \"PUT /X/{a}/{b:[0-9]}\", body: { /a: { present: true, eq: 1 } } }",
                "p.yaml:4:11 policies[1].body: the permit `a` leaves its body open, so what this forbid looks for can stand elsewhere in it; close the body with `only` or `exactly`",
            ),
            (
                "  - { id: f, effect: forbid, do: GET /a, query: { action: delete } }",
                "p.yaml:3:11 policies[0].query: `f` also applies where `query/action` is missing; if that is not meant, add `present: true`",
            ),
            (
                "  - { id: a, who: any, do: [\"GET /x/y\", \"HEAD /{x}/y\"] }\n  - { id: f, effect: forbid, do: [\"GET /{a}/{b}\"] }",
                "p.yaml:3:11 policies[0].do: `a` can never permit anything: the forbid `f` covers all its calls and has no conditions",
            ),
        ];
        for (policies, want) in cases {
            assert_eq!(warnings(policies), [want], "{policies}");
        }
    }

    #[test]
    fn what_is_fine_is_not_warned_about() {
        let cases = [
            "  - { id: a, who: any, do: GET /a, mode: shadow }",
            "  - { id: a, who: any, do: POST /a, body: { only: [], /x/A: 1, /y/a: 2 } }",
            // a closed body, another method, another path
            "  - { id: a, who: any, do: PUT /a, body: { only: [/a] } }\n  - { id: b, who: any, do: POST /a, body: any }\n  - { id: c, who: any, do: \"PUT /a/{x}\", body: any }\n  - { id: f, effect: forbid, do: PUT /a, body: { /a: { present: true, eq: 1 } } }",
            // a forbid with a condition, of fewer methods, of fewer paths, in shadow mode
            "  - { id: a, who: any, do: \"GET,PUT /{x...}\" }\n  - { id: f, effect: forbid, do: \"GET /{x...}\" }\n  - { id: g, effect: forbid, do: \"GET,PUT /{x}\" }\n  - { id: h, effect: forbid, do: \"* /{x...}\", who: any }\n  - { id: i, effect: forbid, do: \"* /{x...}\", mode: shadow }",
            "  - { id: a, who: any, do: \"GET /{x}\" }\n  - { id: f, effect: forbid, do: \"GET /{x:[a-z]}\" }",
        ];
        for policies in cases {
            assert_eq!(warnings(policies), <[&str; 0]>::default(), "{policies}");
        }
    }

    #[test]
    fn many_policies_are_compared_without_pairing_them() {
        let mut policies = String::new();
        for n in 0..5_000 {
            policies += &format!(
                "  - {{ id: p{n}, who: any, do: \"PUT /p/{n}\", body: {{ only: [/a] }} }}\n"
            );
            policies += &format!(
                "  - {{ id: f{n}, effect: forbid, do: \"PUT /{{x}}/q/{n}\", body: {{ /a: {{ present: true, eq: 1 }} }} }}\n"
            );
        }
        assert_eq!(warnings(&policies), <[&str; 0]>::default());
    }
}
