//! Secrets in all their spellings, and a text that is searched for them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is looked for, by its first bytes.
pub struct Needles(HashMap<[u8; PREFIX], Vec<(String, Vec<u8>)>>);

const PREFIX: usize = 16;

impl Needles {
    pub fn of(secrets: &[(String, String)]) -> Needles {
        let mut needles: HashMap<_, Vec<_>> = HashMap::new();
        for (what, secret) in secrets {
            assert!(
                secret.len() >= 32,
                "{what}: too short to be told from other text"
            );
            let (half, _) = secret.as_bytes().split_at(secret.len().min(44) / 2);
            let end = &secret.as_bytes()[secret.len() - half.len()..];
            for part in [half, end] {
                for spelling in spellings(part) {
                    let prefix = spelling[..PREFIX].try_into().unwrap();
                    needles
                        .entry(prefix)
                        .or_default()
                        .push((what.clone(), spelling));
                }
            }
        }
        Needles(needles)
    }

    /// What is found, with some of the text around.
    pub fn find(&self, text: &[u8], place: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, prefix) in text.windows(PREFIX).enumerate() {
            for (what, needle) in self.0.get(prefix).into_iter().flatten() {
                if text[at..].starts_with(needle) {
                    let around = &text[at.saturating_sub(100)..(at + 100).min(text.len())];
                    found.push(format!(
                        "{what} in {place}: {}",
                        String::from_utf8_lossy(around)
                    ));
                }
            }
        }
        found
    }
}

/// The ways in which bytes may be written.
fn spellings(part: &[u8]) -> Vec<Vec<u8>> {
    let each = |write: fn(u8) -> String| part.iter().map(|byte| write(*byte)).collect::<String>();
    let list: Vec<String> = part.iter().map(u8::to_string).collect();
    let mut all = vec![
        part.to_vec(),
        part.to_ascii_lowercase(),
        part.to_ascii_uppercase(),
        each(|byte| format!("{byte:02x}")).into(),
        each(|byte| format!("{byte:02X}")).into(),
        each(|byte| format!("%{byte:02x}")).into(),
        each(|byte| format!("%{byte:02X}")).into(),
        each(|byte| format!("\\u{byte:04x}")).into(),
        each(|byte| format!("\\x{byte:02x}")).into(),
        list.join(", ").into(),
        list.join(",").into(),
    ];
    // Within a longer text, where its first byte may stand at any of three places of a group.
    for before in 0..3 {
        let text = [&vec![0; before], part].concat();
        let whole = (before * 8).div_ceil(6)..text.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            all.push(engine.encode(&text)[whole.clone()].into());
        }
    }
    all
}
