//! The leaves of a matcher in YAML: scalars, references, lists and patterns.

use std::net::{IpAddr, Ipv6Addr};

use super::domain::Domain;
use super::number;
use super::read::Reader;
use super::{Operand, Scope};
use crate::policy::facts::FactRef;
use crate::policy::fault::Fault;
use crate::policy::json::Json;
use crate::policy::normalise;
use crate::policy::value::Value;
use crate::yaml::{At, Problems, Yaml};

/// Most items in any list.
pub(super) const MAX_LIST: usize = 10_000;

/// What `in` and `not_in` take.
pub(super) enum List {
    Items(Vec<Operand>),
    Fact(FactRef),
}

/// A literal of any depth, as `exactly` takes it. Numbers keep their text; `$$` at a text's start is a dollar.
pub fn literal(at: &At<'_>, problems: &mut Problems) -> Option<Json> {
    match &at.node.value {
        Yaml::Null => Some(Json::Null),
        Yaml::Bool(value) => Some(Json::Bool(*value)),
        Yaml::Number(text) => number(at, text, problems),
        Yaml::Text(text) => plain(at, text, problems).map(|text| Json::Text(text.into())),
        Yaml::List(_) => {
            let items = at.items(problems);
            let items: Vec<_> = items.iter().map(|item| literal(item, problems)).collect();
            items.into_iter().collect::<Option<_>>().map(Json::Array)
        }
        Yaml::Map(_) => {
            let members: Vec<_> = at
                .entries(problems)?
                .map(|(key, inner)| Some((key.text.as_str().into(), literal(&inner, problems)?)))
                .collect();
            members.into_iter().collect::<Option<_>>().map(Json::Object)
        }
    }
}

impl Reader<'_> {
    /// A scalar or a reference, to compare with.
    pub(super) fn operand(&mut self, at: &At<'_>, domain: &Domain) -> Option<Operand> {
        match &at.node.value {
            Yaml::Text(text) if is_reference(text) => self.reference(at, text).map(Operand::Fact),
            Yaml::Text(text) => {
                let text = plain(at, text, self.problems)?;
                fits(text, domain, true)
                    .map_err(|wrong| at.problem(self.problems, wrong))
                    .ok()?;
                Some(Operand::Literal(Json::Text(text.into())))
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) => {
                literal(at, self.problems).map(Operand::Literal)
            }
            Yaml::List(_) | Yaml::Map(_) => {
                let found = at.node.value.kind();
                at.problem(
                    self.problems,
                    format!("expected a scalar, found {found}; say `in` for one of a list, `exactly` for a container"),
                );
                None
            }
        }
    }

    /// A bare scalar stands for equality, unless it looks like a glob.
    pub(super) fn bare(&mut self, at: &At<'_>, domain: &Domain) -> Option<Operand> {
        if let Yaml::Text(text) = &at.node.value
            && text.contains('*')
            && !is_reference(text)
        {
            at.problem(
                self.problems,
                format!("a bare text with `*`; say `eq: \"{text}\"` or `glob: \"{text}\"`"),
            );
            return None;
        }
        self.operand(at, domain)
    }

    /// A number or a reference to one.
    pub(super) fn bound(&mut self, at: &At<'_>, domain: &Domain) -> Option<Operand> {
        if let Yaml::Text(text) = &at.node.value
            && !is_reference(text)
        {
            at.problem(
                self.problems,
                format!("expected a number or `$…`, found the text `{text}`; texts have no order"),
            );
            return None;
        }
        let operand = self.operand(at, domain)?;
        if matches!(operand, Operand::Literal(Json::Null | Json::Bool(_))) {
            let found = at.node.value.kind();
            at.problem(
                self.problems,
                format!("expected a number or `$…`, found {found}"),
            );
            return None;
        }
        Some(operand)
    }

    /// A list of operands, or a reference to a list.
    pub(super) fn list(&mut self, at: &At<'_>, domain: &Domain, bare: bool) -> Option<List> {
        match &at.node.value {
            Yaml::Text(text) if is_reference(text) => self.reference(at, text).map(List::Fact),
            Yaml::List(_) => {
                let items = self.items(at)?;
                let operands: Vec<_> = items
                    .iter()
                    .map(|item| match bare {
                        true => self.bare(item, domain),
                        false => self.operand(item, domain),
                    })
                    .collect();
                operands.into_iter().collect::<Option<_>>().map(List::Items)
            }
            Yaml::Text(_) | Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::Map(_) => {
                let found = at.node.value.kind();
                at.problem(
                    self.problems,
                    format!("expected a list or `$…`, found {found}"),
                );
                None
            }
        }
    }

    /// One text or a list of them, each put through `parse`.
    pub(super) fn texts<T>(
        &mut self,
        at: &At<'_>,
        mut parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.each(at, |reader, item| {
            let Yaml::Text(text) = &item.node.value else {
                let found = item.node.value.kind();
                let quote = match &item.node.value {
                    Yaml::Bool(_) | Yaml::Number(_) => "; quote it",
                    Yaml::Null | Yaml::Text(_) | Yaml::List(_) | Yaml::Map(_) => "",
                };
                item.problem(
                    reader.problems,
                    format!("expected text, found {found}{quote}"),
                );
                return None;
            };
            let text = plain(item, text, reader.problems)?;
            parse(text)
                .map_err(|wrong| item.problem(reader.problems, wrong))
                .ok()
        })
    }

    /// One value or a list of them, each read by `read`; all problems are told.
    pub(super) fn each<T>(
        &mut self,
        at: &At<'_>,
        mut read: impl FnMut(&mut Self, &At<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = if matches!(at.node.value, Yaml::List(_)) {
            self.items(at)?
        } else {
            vec![*at]
        };
        let read: Vec<_> = items.iter().map(|item| read(self, item)).collect();
        read.into_iter().collect()
    }

    /// A list's items: some, and not too many.
    pub(super) fn items<'a>(&mut self, at: &'a At<'a>) -> Option<Vec<At<'a>>> {
        if !matches!(at.node.value, Yaml::List(_)) {
            at.items(self.problems);
            return None;
        }
        let items = at.items(self.problems);
        if items.is_empty() {
            at.problem(self.problems, "the list is empty; name at least one");
            return None;
        }
        if items.len() > MAX_LIST {
            at.problem(
                self.problems,
                format!(
                    "{} items; at most {MAX_LIST}. Compare with `$claims/…` instead",
                    items.len()
                ),
            );
            return None;
        }
        Some(items)
    }

    fn reference(&mut self, at: &At<'_>, text: &str) -> Option<FactRef> {
        let name = text.strip_prefix('$').unwrap_or(text);
        self.names
            .resolve(name)
            .map_err(|wrong| at.problem(self.problems, wrong))
            .ok()
    }
}

/// Whether a literal can be what a place holds; `whole` where it stands for all of it. The error says what would be right.
pub(super) fn fits(text: &str, domain: &Domain, whole: bool) -> Result<(), String> {
    if domain.requested && whole {
        return normalise::check_host(text);
    }
    if domain.lower_case && text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "{} is always in lower case; write `{}`",
            domain.name,
            text.to_ascii_lowercase()
        ));
    }
    if domain.requested {
        return normalise::check_host_part(text);
    }
    // Only hosts have labels.
    if domain.separator == b'.' {
        if text.contains('/') {
            return Err("a host has no `/`".to_owned());
        }
        if whole
            && text.contains(':')
            && !text.starts_with('[')
            && text.parse::<Ipv6Addr>().is_err()
        {
            return Err("a host stands without its port".to_owned());
        }
    }
    if domain.address && whole {
        let address: IpAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is no IP address"))?;
        let canonical = address.to_canonical().to_string();
        if canonical != text {
            return Err(format!("the address is written `{canonical}`"));
        }
    }
    Ok(())
}

fn is_reference(text: &str) -> bool {
    text.starts_with('$') && !text.starts_with("$$")
}

/// The text that a scalar stands for, where a reference is none.
fn plain<'t>(at: &At<'_>, text: &'t str, problems: &mut Problems) -> Option<&'t str> {
    if is_reference(text) {
        at.problem(
            problems,
            "`$` works only in eq, ne, in, not_in, lt, lte, gt and gte; write `$$` for a dollar",
        );
        return None;
    }
    Some(if text.starts_with("$$") {
        text.strip_prefix('$').unwrap_or(text)
    } else {
        text
    })
}

fn number(at: &At<'_>, text: &str, problems: &mut Problems) -> Option<Json> {
    if number::Decimal::parse(text).is_none() {
        at.problem(
            problems,
            format!(
                "numbers of more than {} digits or an exponent beyond ±{} are not compared",
                number::MAX_DIGITS,
                number::MAX_EXPONENT
            ),
        );
        return None;
    }
    Some(Json::Number(text.into()))
}

/// A scope in which no fact is known, for what can be said of literals alone.
pub(super) struct NoFacts;

impl Scope for NoFacts {
    fn fact(&self, _: &FactRef) -> Value<'_> {
        Value::Unreadable
    }

    fn note(&self, _: Fault) {}

    fn spend(&self) -> bool {
        true
    }
}
