//! The list of an `in`, prepared so that a long one costs what a short one does.

use std::hash::BuildHasher;
use std::ops::Deref;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::compare;
use super::number::{self, Decimal};
use super::{Operand, Scope};
use crate::policy::json::Json;
use crate::policy::value::{Truth, Value};

/// The operands of `in` or `not_in`, in the order written.
#[derive(Clone, Debug)]
pub struct Members {
    items: Vec<Operand>,
    lookup: Option<Box<Lookup>>,
}

/// Up to here a walk over the list is as fast.
const SHORT: usize = 8;

/// Where to find a value among many. Positions are indexes into the list.
#[derive(Clone, Debug, Default)]
struct Lookup {
    texts: HashTable<u32>,
    /// By the nearest f64: decimals of other f64s are other numbers.
    numbers: Vec<(f64, u32)>,
    /// Booleans, null and references.
    others: Vec<u32>,
}

impl Members {
    /// Whether the value equals one of the operands.
    pub(super) fn test<S: Scope>(&self, value: Value<'_>, scope: &S) -> Truth {
        let Some(lookup) = &self.lookup else {
            let items = self.items.iter();
            return compare::any(items.map(|item| compare::equals_operand(value, item, scope)));
        };
        let (in_texts, in_numbers) = match value {
            Value::Text(text) => (self.has_text(lookup, text), Truth::Indeterminate),
            Value::Wire(text) if number::is_canonical(text) => {
                (self.has_text(lookup, text), self.has_number(lookup, text))
            }
            Value::Wire(text) => (self.has_text(lookup, text), Truth::Indeterminate),
            Value::Number(number) => (Truth::Indeterminate, self.has_number(lookup, number)),
            Value::Null
            | Value::Missing
            | Value::Unreadable
            | Value::Bool(_)
            | Value::Texts(_)
            | Value::Json(_) => (Truth::Indeterminate, Truth::Indeterminate),
        };
        // What a list has none of has no say.
        let said = |there: bool, truth| if there { truth } else { Truth::False };
        let found = said(!lookup.texts.is_empty(), in_texts)
            .or(said(!lookup.numbers.is_empty(), in_numbers));
        if found == Truth::True {
            return found;
        }
        let others = lookup.others.iter().filter_map(|at| self.item(*at));
        found.or(compare::any(
            others.map(|item| compare::equals_operand(value, item, scope)),
        ))
    }

    fn item(&self, at: u32) -> Option<&Operand> {
        self.items.get(usize::try_from(at).ok()?)
    }

    fn has_text(&self, lookup: &Lookup, text: &str) -> Truth {
        let same = |at: &u32| self.item(*at).and_then(literal_text) == Some(text);
        lookup.texts.find(hash(text), same).is_some().into()
    }

    fn has_number(&self, lookup: &Lookup, text: &str) -> Truth {
        let (Some(decimal), Some(nearest)) = (Decimal::parse(text), number::nearest(text)) else {
            return Truth::Indeterminate;
        };
        let from = lookup.numbers.partition_point(|(n, _)| *n < nearest);
        let alike = lookup
            .numbers
            .iter()
            .skip(from)
            .take_while(|(n, _)| *n == nearest)
            .filter_map(|(_, at)| match self.item(*at) {
                Some(Operand::Literal(Json::Number(text))) => Decimal::parse(text),
                _ => None,
            });
        compare::any(alike.map(|other| match other == decimal {
            true => Truth::True,
            false => Truth::Indeterminate,
        }))
    }
}

impl From<Vec<Operand>> for Members {
    fn from(items: Vec<Operand>) -> Members {
        if items.len() <= SHORT {
            return Members {
                items,
                lookup: None,
            };
        }
        let mut lookup = Lookup::default();
        for (item, at) in items.iter().zip(0_u32..) {
            match item {
                Operand::Literal(Json::Text(text)) => {
                    let rehash = |at: &u32| {
                        let item = usize::try_from(*at).ok().and_then(|at| items.get(at));
                        hash(item.and_then(literal_text).unwrap_or_default())
                    };
                    lookup.texts.insert_unique(hash(text), at, rehash);
                }
                Operand::Literal(Json::Number(text)) => match number::nearest(text) {
                    Some(nearest) => lookup.numbers.push((nearest, at)),
                    None => lookup.others.push(at),
                },
                Operand::Literal(_) | Operand::Fact(_) => lookup.others.push(at),
            }
        }
        lookup.numbers.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Members {
            items,
            lookup: Some(Box::new(lookup)),
        }
    }
}

impl Deref for Members {
    type Target = [Operand];

    fn deref(&self) -> &[Operand] {
        &self.items
    }
}

impl<'m> IntoIterator for &'m Members {
    type Item = &'m Operand;
    type IntoIter = std::slice::Iter<'m, Operand>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

fn literal_text(operand: &Operand) -> Option<&str> {
    match operand {
        Operand::Literal(literal) => literal.as_text(),
        Operand::Fact(_) => None,
    }
}

fn hash(text: &str) -> u64 {
    FixedState::default().hash_one(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::literals::NoFacts;
    use super::*;

    fn scalar() -> impl Strategy<Value = Json> {
        prop_oneof![
            3 => "[ab1]{0,2}".prop_map(|text| Json::Text(text.into())),
            3 => "-?[0-3](\\.[05])?(e[01])?".prop_map(|text| Json::Number(text.into())),
            2 => "900719925474099[1-5]".prop_map(|text| Json::Number(text.into())),
            1 => any::<bool>().prop_map(Json::Bool),
            1 => Just(Json::Null),
        ]
    }

    proptest! {
        /// A long list answers as a walk over it does.
        #[test]
        fn lookup_and_walk_agree(
            literals in prop::collection::vec(scalar(), SHORT + 1..30),
            keep_texts in any::<bool>(),
            keep_numbers in any::<bool>(),
            value in scalar(),
            wire in any::<bool>(),
        ) {
            let kept = |literal: &Json| match literal {
                Json::Text(_) => keep_texts,
                Json::Number(_) => keep_numbers,
                Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => true,
            };
            let mut items: Vec<Operand> =
                literals.into_iter().filter(kept).map(Operand::Literal).collect();
            while items.len() <= SHORT {
                items.push(Operand::Literal(Json::Bool(true)));
            }
            let members = Members::from(items);
            let nothing = Json::Array(Vec::new());
            let values = [
                match (&value, wire) {
                    (Json::Text(text) | Json::Number(text), true) => Value::Wire(text),
                    (other, _) => other.into(),
                },
                Value::Missing,
                Value::Unreadable,
                Value::Json(&nothing),
            ];
            for value in values {
                let walked = members
                    .iter()
                    .map(|item| compare::equals_operand(value, item, &NoFacts))
                    .fold(Truth::False, Truth::or);
                prop_assert_eq!(members.test(value, &NoFacts), walked, "{:?} in {:?}", value, &*members);
            }
        }
    }
}
