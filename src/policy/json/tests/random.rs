//! Random documents, how they may be written, and how they may break.

use proptest::prelude::*;
use serde_json::Value as Other;

use crate::policy::Json;

/// Whether both read the same.
pub(in crate::policy) fn same(ours: &Json, other: &Other) -> bool {
    match (ours, other) {
        (Json::Null, Other::Null) => true,
        (Json::Bool(a), Other::Bool(b)) => a == b,
        (Json::Number(text), Other::Number(number)) => {
            serde_json::from_str::<serde_json::Number>(text).is_ok_and(|parsed| parsed == *number)
        }
        (Json::Text(a), Other::String(b)) => **a == **b,
        (Json::Array(a), Other::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Other::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(k, v)| b.get(&**k).is_some_and(|b| same(v, b)))
        }
        _ => false,
    }
}

/// Any document; its keys come from few, so that pointers meet them.
pub(in crate::policy) fn document() -> impl Strategy<Value = Other> {
    let scalar = prop_oneof![
        Just(Other::Null),
        any::<bool>().prop_map(Other::from),
        any::<i64>().prop_map(Other::from),
        any::<u64>().prop_map(Other::from),
        (-1000..1000_i32).prop_map(|n| Other::from(f64::from(n) / 8.0)),
        any::<String>().prop_map(Other::from),
        "[a-z \"\\\\\n]{0,40}".prop_map(Other::from),
    ];
    scalar.prop_recursive(5, 60, 8, |inner| {
        let key = prop_oneof![4 => "[a-d0-2~/]", 1 => any::<String>()];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Other::from),
            proptest::collection::btree_map(key, inner, 0..20)
                .prop_map(|members| Other::Object(members.into_iter().collect())),
        ]
    })
}

/// The document as text, with whitespace and escapes where `choices` wants them.
pub(in crate::policy) fn written(document: &Other, choices: u64) -> String {
    let mut writer = Writer {
        text: String::new(),
        choices: choices | 1,
    };
    writer.space();
    writer.value(document);
    writer.space();
    writer.text
}

/// Bytes set, put in or taken out.
pub(in crate::policy) fn mutated(mut bytes: Vec<u8>, mutations: &[(usize, u8, u8)]) -> Vec<u8> {
    for (place, byte, kind) in mutations {
        let at = place % (bytes.len() + 1);
        let structural = b"\"\\{}[],: u0e-";
        let byte = structural.get(usize::from(*byte)).copied().unwrap_or(*byte);
        match kind {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => bytes[at] = byte,
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

struct Writer {
    text: String,
    choices: u64,
}

impl Writer {
    /// One of `n` (xorshift; quality doesn't matter here).
    fn choose(&mut self, n: u64) -> u64 {
        self.choices ^= self.choices << 13;
        self.choices ^= self.choices >> 7;
        self.choices ^= self.choices << 17;
        self.choices % n
    }

    fn space(&mut self) {
        let spaces = ["", "", "", " ", "\n", "\t", "\r\n", "\n            "];
        let choice = self.choose(spaces.len() as u64) as usize;
        self.text.push_str(spaces[choice]);
    }

    fn value(&mut self, value: &Other) {
        match value {
            Other::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.space();
                    self.value(item);
                    self.space();
                }
                self.space();
                self.text.push(']');
            }
            Other::Object(members) => {
                self.text.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                    }
                    self.space();
                    self.string(key);
                    self.space();
                    self.text.push(':');
                    self.space();
                    self.value(value);
                    self.space();
                }
                self.space();
                self.text.push('}');
            }
            Other::String(text) => self.string(text),
            Other::Null | Other::Bool(_) | Other::Number(_) => {
                self.text.push_str(&value.to_string());
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            if self.choose(8) == 0 {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    self.text.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                let quoted = serde_json::to_string(&c).unwrap();
                let inside = quoted.get(1..quoted.len() - 1).unwrap();
                self.text.push_str(inside);
            }
        }
        self.text.push('"');
    }
}
