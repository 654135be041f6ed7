//! Values that conditions look at, and the three-valued logic in which they answer.

use super::json::Json;

/// Kleene's three values. Ordered so that a conjunction is the least of its parts and a disjunction the
/// greatest: false wins the one, true the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// The condition doesn't hold.
    False,
    /// The condition can't be evaluated: a permit doesn't apply, a forbid does.
    Indeterminate,
    /// The condition holds.
    True,
}

impl Truth {
    /// Conjunction.
    pub fn and(self, other: Truth) -> Truth {
        self.min(other)
    }

    /// Disjunction.
    pub fn or(self, other: Truth) -> Truth {
        self.max(other)
    }
}

impl std::ops::Not for Truth {
    type Output = Truth;

    /// Negation; indeterminate stays so.
    fn not(self) -> Truth {
        match self {
            Truth::False => Truth::True,
            Truth::Indeterminate => Truth::Indeterminate,
            Truth::True => Truth::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}

/// A fact's value, borrowed from where it lies.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Nothing came. Only `present` and `absent` read it.
    Missing,
    /// Something came that can't be read; every operator is indeterminate on it.
    Unreadable,
    /// JSON null, which is present.
    Null,
    /// A boolean.
    Bool(bool),
    /// A JSON number as written.
    Number(&'a str),
    /// Text that was text where it came from: a JSON string, an identity.
    Text(&'a str),
    /// Text off the wire that has no type of its own: a path parameter, query value, header or form field.
    /// It compares to a number where it is a canonical decimal.
    Wire(&'a str),
    /// A list of texts: groups, DNS names of a certificate.
    Texts(&'a [Box<str>]),
    /// A JSON array or object.
    Json(&'a Json),
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Value<'a> {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(text) => Value::Number(text),
            Json::Text(text) => Value::Text(text),
            Json::Array(_) | Json::Object(_) => Value::Json(json),
        }
    }
}
