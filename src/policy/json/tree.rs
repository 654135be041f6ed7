//! A JSON text as a tree.

use super::Json;
use super::scan::{Scalar, Scanner};
use crate::policy::fault::Fault;

impl Scanner<'_> {
    /// Reads the value that starts with this byte, which was taken, into a tree. No object in it has a key twice.
    pub(in crate::policy) fn tree(&mut self, first: u8) -> Result<Json, Fault> {
        let mut open = Vec::new();
        let mut byte = first;
        loop {
            let mut value = match byte {
                b'{' => {
                    self.enter()?;
                    match self.next() {
                        b'"' => {
                            let key = self.key()?.into();
                            open.push(Open::Object(Vec::new(), key));
                            byte = self.next();
                            continue;
                        }
                        b'}' => self.leave(),
                        _ => return Err(Fault::JsonSyntax),
                    }
                    Json::Object(Vec::new())
                }
                b'[' => {
                    self.enter()?;
                    byte = self.next();
                    if byte != b']' {
                        open.push(Open::Array(Vec::new()));
                        continue;
                    }
                    self.leave();
                    Json::Array(Vec::new())
                }
                _ => self.scalar(byte)?.into(),
            };
            // The value belongs to the innermost open container, which may end with it.
            loop {
                match open.pop() {
                    None => return Ok(value),
                    Some(Open::Array(mut items)) => {
                        items.push(value);
                        match self.next() {
                            b',' => {
                                open.push(Open::Array(items));
                                byte = self.next();
                                break;
                            }
                            b']' => value = Json::Array(items),
                            _ => return Err(Fault::JsonSyntax),
                        }
                    }
                    Some(Open::Object(mut members, key)) => {
                        members.push((key, value));
                        match self.next() {
                            b',' => {
                                if self.next() != b'"' {
                                    return Err(Fault::JsonSyntax);
                                }
                                let key = self.key()?.into();
                                open.push(Open::Object(members, key));
                                byte = self.next();
                                break;
                            }
                            b'}' => {
                                if any_twice(&members, |(key, _)| key) {
                                    return Err(Fault::JsonDuplicateKey);
                                }
                                value = Json::Object(members);
                            }
                            _ => return Err(Fault::JsonSyntax),
                        }
                    }
                }
                self.leave();
            }
        }
    }
}

impl From<Scalar<'_>> for Json {
    fn from(scalar: Scalar<'_>) -> Json {
        match scalar {
            Scalar::Null => Json::Null,
            Scalar::Bool(value) => Json::Bool(value),
            Scalar::Number(text) => Json::Number(text.into()),
            Scalar::Text(text) => Json::Text(text.into()),
        }
    }
}

/// Whether two of the items have the same key.
pub(in crate::policy) fn any_twice<T>(items: &[T], key: impl Fn(&T) -> &str) -> bool {
    // Comparing all pairs is quickest for few keys; sorting keeps an object of a million from costing a trillion.
    if items.len() <= 16 {
        let mut rest = items;
        while let [first, tail @ ..] = rest {
            if tail.iter().any(|other| key(other) == key(first)) {
                return true;
            }
            rest = tail;
        }
        return false;
    }
    let mut keys: Vec<&str> = items.iter().map(key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

/// A container whose end hasn't come: its items, or its members and the key whose value is due.
enum Open {
    Array(Vec<Json>),
    Object(Vec<(Box<str>, Json)>, Box<str>),
}
