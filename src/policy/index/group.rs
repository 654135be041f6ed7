//! The candidates of one method of one leaf, filed so that a decision looks at few of them.
//!
//! Each policy is filed once, under the most selective of its conditions: equality or `in` with texts or
//! whole numbers on a principal fact, a claim or a path parameter (a hash of the value); else a glob or
//! prefix with literal text at its beginning (a radix tree), or at its end (the same, reversed); else it is a
//! candidate of every request that reaches the leaf. What a lookup yields may be too much, never too little:
//! every condition of a candidate is still evaluated.
//!
//! A forbid applies where its condition can't be evaluated, so beside each hash of forbids stands the posting
//! of those that apply when the fact is missing or of another type. Other forbids aren't filed.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::radix::Radix;
use super::{Entry, PathView};
use crate::policy::compile::Policy;
use crate::policy::facts::FactRef;
use crate::policy::json::Json;
use crate::policy::matcher::number;
use crate::policy::matcher::{Op, Operand};
use crate::policy::source::{Effect, Stage};
use crate::policy::template::Span;
use crate::policy::value::Value;

/// Where a lookup takes its value from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Probe {
    /// A fact of the principal.
    Fact(FactRef),
    /// Segments of the path.
    Path(Span),
}

/// Filed candidates.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Candidates of every request.
    rest: Vec<Entry>,
    equal: Vec<(Probe, Equal)>,
    affix: Vec<(Probe, Affix)>,
}

#[derive(Debug, Default)]
struct Equal {
    texts: HashMap<Box<str>, Vec<Entry>, FixedState>,
    numbers: HashMap<i64, Vec<Entry>, FixedState>,
    /// Forbids filed here: candidates too where the fact isn't a text, or isn't a number.
    otherwise: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Affix {
    prefixes: Radix<Entry>,
    suffixes: Radix<Entry>,
}

/// The most candidates that one lookup may yield, and the most lookups of one leaf.
pub(super) const MAX_POSTING: usize = 256;

/// Up to so many policies a leaf looks at all of them: filing would gain nothing, and a denial can name the
/// fields that failed.
const FILE_FROM: usize = 9;

/// One way in which a policy could be filed.
struct Filing {
    way: Way,
    probe: Probe,
    /// Texts, or whole numbers in decimal.
    keys: Vec<Box<str>>,
}

/// Of equally selective ways, the first is the cheapest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Way {
    Text,
    Number,
    Prefix,
    Suffix,
}

impl Group {
    /// Files the entries. The error is one entry of a posting that is too long, and why.
    pub(super) fn build(
        entries: Vec<Entry>,
        policies: &[Policy],
    ) -> Result<Group, (Entry, String)> {
        if entries.len() < FILE_FROM {
            return Ok(Group {
                rest: entries,
                ..Group::default()
            });
        }
        let options: Vec<Vec<Filing>> = entries.iter().map(|e| filings(*e, policies)).collect();
        let mut frequency: HashMap<(Way, &Probe, &str), usize, FixedState> = HashMap::default();
        for filing in options.iter().flatten() {
            for key in &filing.keys {
                *frequency
                    .entry((filing.way, &filing.probe, key))
                    .or_insert(0) += 1;
            }
        }
        let crowd = |filing: &Filing| {
            let sharing = |key: &str| frequency.get(&(filing.way, &filing.probe, key)).copied();
            filing
                .keys
                .iter()
                .filter_map(|key| sharing(key))
                .max()
                .unwrap_or(0)
        };
        let chosen: Vec<Option<usize>> = options
            .iter()
            .map(|ways| {
                ways.iter()
                    .enumerate()
                    .min_by_key(|(_, f)| (crowd(f), f.way))
                    .map(|(at, _)| at)
            })
            .collect();
        drop(frequency);
        let mut group = Group::default();
        let last = entries.last().copied();
        for ((entry, filings), chosen) in entries.into_iter().zip(options).zip(chosen) {
            let forbid = policies
                .get(entry.policy())
                .is_some_and(|p| p.effect == Effect::Forbid);
            match chosen.and_then(|at| filings.into_iter().nth(at)) {
                Some(filing) => group.file(entry, filing, forbid),
                None => group.rest.push(entry),
            }
        }
        match last {
            Some(last) => group.check(last).map(|()| group),
            None => Ok(group),
        }
    }

    /// Visits every candidate.
    pub(super) fn candidates<'v>(
        &self,
        view: &PathView<'_>,
        fact: &impl Fn(&FactRef) -> Value<'v>,
        visit: &mut impl FnMut(Entry),
    ) {
        self.rest.iter().copied().for_each(&mut *visit);
        for (probe, equal) in &self.equal {
            match probe {
                Probe::Fact(name) => equal.candidates(fact(name), visit),
                Probe::Path(span) => equal.candidates(wire(view.span(*span).as_deref()), visit),
            }
        }
        for (probe, affix) in &self.affix {
            match probe {
                Probe::Fact(name) => affix.candidates(fact(name), visit),
                Probe::Path(span) => affix.candidates(wire(view.span(*span).as_deref()), visit),
            }
        }
    }

    fn file(&mut self, entry: Entry, filing: Filing, forbid: bool) {
        let Filing { way, probe, keys } = filing;
        match way {
            Way::Text | Way::Number => {
                let equal = slot(&mut self.equal, probe);
                if forbid {
                    equal.otherwise.push(entry);
                }
                for key in keys {
                    if way == Way::Text {
                        equal.texts.entry(key).or_default().push(entry);
                    } else if let Ok(number) = key.parse() {
                        equal.numbers.entry(number).or_default().push(entry);
                    }
                }
            }
            Way::Prefix => {
                let affix = slot(&mut self.affix, probe);
                keys.iter()
                    .for_each(|key| affix.prefixes.insert(key.as_bytes(), entry));
            }
            Way::Suffix => {
                let affix = slot(&mut self.affix, probe);
                for key in &keys {
                    let reversed: Vec<u8> = key.bytes().rev().collect();
                    affix.suffixes.insert(&reversed, entry);
                }
            }
        }
    }

    fn check(&self, last: Entry) -> Result<(), (Entry, String)> {
        let long = |posting: &[Entry], what: &str| match posting.get(MAX_POSTING) {
            Some(entry) => Err((
                *entry,
                format!(
                    "more than {MAX_POSTING} policies on one route {what}, so each request would look at all of them; write one policy that compares with `$claims/…` instead"
                ),
            )),
            None => Ok(()),
        };
        long(&self.rest, "have no condition that tells them apart")?;
        for (_, equal) in &self.equal {
            long(
                &equal.otherwise,
                "are forbids on the same fact, which all apply where it is missing",
            )?;
            for posting in equal.texts.values().chain(equal.numbers.values()) {
                long(posting, "ask for the same value")?;
            }
        }
        for (_, affix) in &self.affix {
            for tree in [&affix.prefixes, &affix.suffixes] {
                long(
                    tree.over(MAX_POSTING).unwrap_or_default(),
                    "share one glob or prefix",
                )?;
            }
        }
        if self.equal.len() + self.affix.len() > MAX_POSTING {
            return Err((
                last,
                format!(
                    "the policies of one route ask for more than {MAX_POSTING} different facts"
                ),
            ));
        }
        Ok(())
    }
}

impl Equal {
    fn candidates(&self, value: Value<'_>, visit: &mut impl FnMut(Entry)) {
        let mut each = |posting: Option<&Vec<Entry>>| {
            posting.into_iter().flatten().copied().for_each(&mut *visit)
        };
        let text = match value {
            Value::Text(text) | Value::Wire(text) => Some(text),
            _ => None,
        };
        let number = match value {
            Value::Number(text) => whole_number(text),
            // Other spellings compare to no number, so every forbid on one applies.
            Value::Wire(text) => {
                whole_number(text).filter(|n| itoa::Buffer::new().format(*n) == text)
            }
            _ => None,
        };
        each(text.and_then(|text| self.texts.get(text)));
        each(number.and_then(|number| self.numbers.get(&number)));
        if (text.is_none() && !self.texts.is_empty())
            || (number.is_none() && !self.numbers.is_empty())
        {
            each(Some(&self.otherwise));
        }
    }
}

impl Affix {
    fn candidates(&self, value: Value<'_>, visit: &mut impl FnMut(Entry)) {
        if let Value::Text(text) | Value::Wire(text) = value {
            self.prefixes
                .each_prefix_of(text.bytes(), &mut |entry| visit(*entry));
            self.suffixes
                .each_prefix_of(text.bytes().rev(), &mut |entry| visit(*entry));
        }
    }
}

fn wire(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Unreadable, Value::Wire)
}

/// Every way to file a policy.
fn filings(entry: Entry, policies: &[Policy]) -> Vec<Filing> {
    let Some(policy) = policies.get(entry.policy()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for condition in policy.conditions.iter().filter(|c| c.stage == Stage::Match) {
        let Some(probe) = probe(&condition.fact, policy, entry) else {
            continue;
        };
        for op in &condition.matcher.ops {
            let affix = || {
                if policy.effect == Effect::Permit {
                    affix_keys(op)
                } else {
                    None
                }
            };
            if let Some((way, keys)) = equal_keys(op).or_else(affix) {
                found.push(Filing {
                    way,
                    probe: probe.clone(),
                    keys,
                });
            }
        }
    }
    found
}

fn probe(fact: &FactRef, policy: &Policy, entry: Entry) -> Option<Probe> {
    match fact {
        FactRef::Path(index) => policy
            .templates
            .get(entry.template())?
            .captures
            .get(usize::from(*index))
            .map(|span| Probe::Path(*span)),
        FactRef::Agent
        | FactRef::User
        | FactRef::Workload
        | FactRef::Provider
        | FactRef::Session
        | FactRef::Task
        | FactRef::Claim(_)
        | FactRef::CertSpiffeId
        | FactRef::CertFingerprint => Some(Probe::Fact(fact.clone())),
        FactRef::Groups
        | FactRef::CertDns
        | FactRef::CertEmail
        | FactRef::Query(_)
        | FactRef::Header(_)
        | FactRef::Body(_)
        | FactRef::ClientIp
        | FactRef::Host => None,
    }
}

/// The values of an equality or `in`, if all are texts or all are whole numbers.
fn equal_keys(op: &Op) -> Option<(Way, Vec<Box<str>>)> {
    let operands = match op {
        Op::Eq(operand) => std::slice::from_ref(operand),
        Op::In(members) => members,
        _ => return None,
    };
    let text = |operand: &Operand| match operand {
        Operand::Literal(Json::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let number = |operand: &Operand| match operand {
        Operand::Literal(Json::Number(text)) => whole_number(text).map(|n| n.to_string().into()),
        _ => None,
    };
    let all = |key: &dyn Fn(&Operand) -> Option<Box<str>>| {
        operands.iter().map(key).collect::<Option<Vec<_>>>()
    };
    all(&text)
        .map(|keys| (Way::Text, keys))
        .or_else(|| all(&number).map(|keys| (Way::Number, keys)))
}

/// The literal beginnings, or else ends, of a glob or affix, if each has one.
fn affix_keys(op: &Op) -> Option<(Way, Vec<Box<str>>)> {
    let all = |way: Way, texts: Vec<&str>| {
        (!texts.iter().any(|t| t.is_empty()))
            .then(|| (way, texts.into_iter().map(Box::from).collect()))
    };
    match op {
        Op::Prefix(list) => all(Way::Prefix, list.iter().map(|p| &**p).collect()),
        Op::Suffix(list) => all(Way::Suffix, list.iter().map(|s| &**s).collect()),
        Op::Glob(globs) => all(
            Way::Prefix,
            globs.iter().map(|g| g.literal_prefix()).collect(),
        )
        .or_else(|| {
            all(
                Way::Suffix,
                globs.iter().map(|g| g.literal_suffix()).collect(),
            )
        }),
        _ => None,
    }
}

fn slot<T: Default>(list: &mut Vec<(Probe, T)>, probe: Probe) -> &mut T {
    let at = list
        .iter()
        .position(|(p, _)| *p == probe)
        .unwrap_or_else(|| {
            list.push((probe, T::default()));
            list.len() - 1
        });
    #[expect(
        clippy::indexing_slicing,
        reason = "the position was just found or made"
    )]
    &mut list[at].1
}

/// The value of a number that is whole and exact in an f64. Rounds what isn't, which a lookup may: a
/// candidate's conditions are evaluated exactly. None of what is too long to be compared at all, since every
/// forbid on a number applies to that.
fn whole_number(text: &str) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    // Plain digits, as nearly always, are within the limits by their length.
    let plain = text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit());
    if !plain && number::compare(text, "0").is_none() {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within ±2^53")]
    (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
}
