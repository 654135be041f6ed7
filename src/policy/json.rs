//! JSON as the policy core keeps it: claims, and those judged values that are containers.

/// A JSON value (RFC 8259) that owns its parts. Numbers keep the text that they were written in, and an
/// object's keys are unique and in the order in which they came.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Number(Box<str>),
    /// A string, unescaped.
    Text(Box<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(Box<str>, Json)>),
}

impl Json {
    /// Reads a document.
    pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Json, super::Fault> {
        let _ = max_depth;
        serde_json::from_slice::<serde_json::Value>(bytes)
            .map(Json::of)
            .map_err(|_| super::Fault::JsonSyntax)
    }

    fn of(value: serde_json::Value) -> Json {
        match value {
            serde_json::Value::Null => Json::Null,
            serde_json::Value::Bool(value) => Json::Bool(value),
            serde_json::Value::Number(number) => Json::Number(number.to_string().into()),
            serde_json::Value::String(text) => Json::Text(text.into()),
            serde_json::Value::Array(items) => {
                Json::Array(items.into_iter().map(Json::of).collect())
            }
            serde_json::Value::Object(members) => {
                let members = members.into_iter();
                Json::Object(members.map(|(k, v)| (k.into(), Json::of(v))).collect())
            }
        }
    }

    /// The member of this object, or `None` where there is none or this is no object.
    pub fn member(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| **k == *key).map(|(_, v)| v),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_) => None,
        }
    }

    /// The text, where this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// The value at a JSON Pointer, or `None` where it leads to nothing.
    pub fn at(&self, pointer: &Pointer) -> Option<&Json> {
        pointer
            .tokens()
            .iter()
            .try_fold(self, |value, token| match value {
                Json::Object(_) => value.member(token),
                Json::Array(items) => items.get(array_index(token)?),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => None,
            })
    }
}

/// A JSON Pointer (RFC 6901), unescaped into its reference tokens. `""` is the whole document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(Box<[Box<str>]>);

impl Pointer {
    /// Parses `""` or `/a/b~1c`; `None` where it is no pointer, or where `-` names the element after the last.
    pub fn parse(text: &str) -> Option<Pointer> {
        if text.is_empty() {
            return Some(Pointer(Box::default()));
        }
        let mut tokens = Vec::new();
        for raw in text.strip_prefix('/')?.split('/') {
            let mut token = String::with_capacity(raw.len());
            let mut chars = raw.chars();
            while let Some(c) = chars.next() {
                match (c, c == '~') {
                    (_, true) => token.push(match chars.next()? {
                        '0' => '~',
                        '1' => '/',
                        _ => return None,
                    }),
                    (c, false) => token.push(c),
                }
            }
            tokens.push(token.into_boxed_str());
        }
        Some(Pointer(tokens.into()))
    }

    /// The unescaped reference tokens.
    pub fn tokens(&self) -> &[Box<str>] {
        &self.0
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|t| write!(f, "/{}", t.replace('~', "~0").replace('/', "~1")))
    }
}

/// An array index as RFC 6901 writes it: no leading zero.
pub fn array_index(token: &str) -> Option<usize> {
    if token.len() > 1 && token.starts_with('0') || !token.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    token.parse().ok()
}

/// Whether two keys differ, but only in case (Unicode simple case folding).
pub fn equal_but_for_case(a: &str, b: &str) -> bool {
    a != b && a.eq_ignore_ascii_case(b)
}
