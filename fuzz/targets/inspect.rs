//! Judged bodies against serde_json: what we accept, it accepts with the same values at the judged pointers; what
//! is ambiguous where it is judged, we refuse; and nothing else is refused. Forms against a naive splitter.
//!
//! The input is lines up to an empty one, then the body. A line is `+/pointer` (judged), `=/pointer` (of a closed
//! list), or `form`.

#![no_main]

use std::borrow::Cow;
use std::fmt;

use libfuzzer_sys::fuzz_target;
use portcullis::policy::json::{Pointer, equal_but_for_case};
use portcullis::policy::{BodyFields, Fault, Json, Projection, Value};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// As deep as the product's default for judged bodies.
const DEPTH: usize = 64;

fuzz_target!(|data: &[u8]| {
    let Some(asked) = Asked::read(data) else {
        return;
    };
    let fields: Vec<(Pointer, u32)> = asked.fields.iter().cloned().zip(0..).collect();
    let only: Vec<(u32, Vec<Pointer>)> = match asked.only.as_slice() {
        [] => Vec::new(),
        list => vec![(7, [list, &asked.fields].concat())],
    };
    let projection = Projection::new(&fields, &only);
    if asked.form {
        form(&asked, &only, BodyFields::form(asked.body, &projection));
        return;
    }
    let read = BodyFields::json(asked.body, &projection, DEPTH);
    // The same from two halves of the projection, as candidates bring them.
    let parts = [Projection::new(&fields, &[]), Projection::new(&[], &only)];
    let merged = BodyFields::json(
        asked.body,
        &Projection::merge(&[&parts[0], &parts[1]]),
        DEPTH,
    );
    assert_eq!(format!("{read:?}"), format!("{merged:?}"), "merged");
    json(&asked, &only, read);
    tree(asked.body);
});

struct Asked<'b> {
    form: bool,
    fields: Vec<Pointer>,
    only: Vec<Pointer>,
    body: &'b [u8],
}

impl<'b> Asked<'b> {
    fn read(data: &'b [u8]) -> Option<Asked<'b>> {
        let mut asked = Asked {
            form: false,
            fields: Vec::new(),
            only: Vec::new(),
            body: data,
        };
        while let Some(end) = asked.body.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = asked.body.split_at(end);
            asked.body = &rest[1..];
            let line = std::str::from_utf8(line).ok()?;
            if line.is_empty() {
                return (asked.fields.len() + asked.only.len() <= 64).then_some(asked);
            } else if line == "form" {
                asked.form = true;
            } else if let Some(pointer) = line.strip_prefix('+') {
                asked.fields.push(Pointer::parse(pointer)?);
            } else if let Some(pointer) = line.strip_prefix('=') {
                asked.only.push(Pointer::parse(pointer)?);
            } else {
                return None;
            }
        }
        None
    }

    /// Every pointer that the projection knows.
    fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.fields.iter().chain(&self.only)
    }
}

/// The other reading: each number as written, each object with all its members, also those of one key.
#[derive(Debug)]
enum Other {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Other>),
    Object(Vec<(String, Other)>),
}

impl Other {
    /// By serde_json, level by level, so that numbers keep their text.
    fn read(raw: &str) -> Option<Other> {
        Some(match raw.as_bytes().first()? {
            b'n' => Other::Null,
            b't' | b'f' => Other::Bool(serde_json::from_str(raw).ok()?),
            b'"' => Other::Text(serde_json::from_str(raw).ok()?),
            b'[' => {
                let items: Items<'_> = serde_json::from_str(raw).ok()?;
                let items = items.0.iter().map(|item| Other::read(item.get()));
                Other::Array(items.collect::<Option<_>>()?)
            }
            b'{' => {
                let members: Members<'_> = serde_json::from_str(raw).ok()?;
                let members = members.0.into_iter();
                let read = members.map(|(key, value)| Some((key, Other::read(value.get())?)));
                Other::Object(read.collect::<Option<_>>()?)
            }
            _ => Other::Number(raw.to_owned()),
        })
    }

    fn depth(&self) -> usize {
        match self {
            Other::Null | Other::Bool(_) | Other::Number(_) | Other::Text(_) => 0,
            Other::Array(items) => 1 + items.iter().map(Other::depth).max().unwrap_or(0),
            Other::Object(members) => {
                1 + members
                    .iter()
                    .map(|(_, value)| value.depth())
                    .max()
                    .unwrap_or(0)
            }
        }
    }

    /// Whether an object in it has a key twice.
    fn twice(&self) -> bool {
        match self {
            Other::Null | Other::Bool(_) | Other::Number(_) | Other::Text(_) => false,
            Other::Array(items) => items.iter().any(Other::twice),
            Other::Object(members) => {
                twice_here(members) || members.iter().any(|(_, value)| value.twice())
            }
        }
    }

    /// Every value that this pointer may be taken to lead to.
    fn at(&self, tokens: &[Box<str>]) -> Vec<&Other> {
        let Some((token, rest)) = tokens.split_first() else {
            return vec![self];
        };
        match self {
            Other::Null | Other::Bool(_) | Other::Number(_) | Other::Text(_) => Vec::new(),
            Other::Array(items) => {
                let plain = **token == *"0" || !token.starts_with('0');
                let index = token
                    .parse()
                    .ok()
                    .filter(|_| plain && !token.starts_with('+'));
                let item = index.and_then(|index: usize| items.get(index));
                item.map(|item| item.at(rest)).unwrap_or_default()
            }
            Other::Object(members) => {
                let named = members.iter().filter(|(key, _)| **key == **token);
                named.flat_map(|(_, value)| value.at(rest)).collect()
            }
        }
    }

    fn equals(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Other::Null, Value::Null) => true,
            (Other::Bool(a), Value::Bool(b)) => *a == b,
            (Other::Number(a), Value::Number(b)) | (Other::Text(a), Value::Text(b)) => a == b,
            (Other::Array(_) | Other::Object(_), Value::Json(json)) => self.is(json),
            _ => false,
        }
    }

    fn is(&self, json: &Json) -> bool {
        match (self, json) {
            (Other::Null, Json::Null) => true,
            (Other::Bool(a), Json::Bool(b)) => a == b,
            (Other::Number(a), Json::Number(b)) | (Other::Text(a), Json::Text(b)) => **a == **b,
            (Other::Array(a), Json::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b))
            }
            (Other::Object(a), Json::Object(b)) => {
                let mut pairs = a.iter().zip(b);
                a.len() == b.len() && pairs.all(|((k, a), (l, b))| **k == **l && a.is(b))
            }
            _ => false,
        }
    }
}

fn twice_here(members: &[(String, Other)]) -> bool {
    let mut keys: Vec<&String> = members.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

struct Items<'r>(Vec<&'r RawValue>);
struct Members<'r>(Vec<(String, &'r RawValue)>);

impl<'de: 'r, 'r> Deserialize<'de> for Items<'r> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(All)
    }
}

impl<'de: 'r, 'r> Deserialize<'de> for Members<'r> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Cow<'de, str>, &RawValue>()? {
                    members.push((member.0.into_owned(), member.1));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// The whole document by the other reader; `None` where it takes none of it.
fn other(body: &[u8]) -> Option<Other> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    Other::read(raw.get())
}

fn json(asked: &Asked<'_>, only: &[(u32, Vec<Pointer>)], read: Result<BodyFields<'_>, Fault>) {
    let whole = other(asked.body);
    let skipped: Result<IgnoredAny, _> = serde_json::from_slice(asked.body);
    let faulty = |document: &Other| ambiguous(document, &[], asked);
    // By such a member of the document some frameworks let a request say that it has another method.
    let overrides = |document: &Other| match document {
        Other::Object(members) if asked.pointers().next().is_some() => {
            let mut keys = members.iter().map(|(key, _)| key);
            keys.any(|key| key.eq_ignore_ascii_case("_method"))
        }
        _ => false,
    };
    match (read, whole) {
        (Ok(_), None) => {
            // Strings in what is skipped aren't unescaped by us, nor is anything compared there.
            assert!(skipped.is_ok(), "accepted, and no JSON to serde_json");
            assert!(
                !judges_all(asked),
                "accepted, and not readable to serde_json"
            );
        }
        (Ok(read), Some(document)) => {
            assert!(!faulty(&document), "ambiguous where it is judged");
            assert!(!overrides(&document), "overrides the method");
            assert!(document.depth() <= DEPTH);
            for (pointer, id) in asked.fields.iter().zip(0..) {
                let (found, value) = (document.at(pointer.tokens()), read.field(id));
                match found.as_slice() {
                    [] => assert!(matches!(value, Value::Missing), "{pointer} {value:?}"),
                    [one] => assert!(one.equals(value), "{pointer} {value:?} {one:?}"),
                    _ => panic!("{pointer} is there twice"),
                }
            }
            for (id, list) in only {
                let admitted = admits(&document, &mut Vec::new(), list);
                assert_eq!(read.unexpected(*id).is_none(), admitted, "the closed list");
            }
        }
        (Err(fault), Some(document)) => {
            let fits = match fault {
                Fault::JsonDepth => document.depth() > DEPTH,
                Fault::JsonDuplicateKey | Fault::JsonKeyCase => faulty(&document),
                Fault::MethodOverride => overrides(&document),
                _ => false,
            };
            assert!(fits, "refused for {fault:?}, and nothing is wrong");
        }
        (Err(_), None) => {}
    }
}

/// Whether the whole document is a judged value.
fn judges_all(asked: &Asked<'_>) -> bool {
    asked
        .fields
        .iter()
        .any(|pointer| pointer.tokens().is_empty())
}

/// Whether a key stands twice, or beside a judged one in another case, in a judged value or in an object above one.
fn ambiguous(value: &Other, here: &[Box<str>], asked: &Asked<'_>) -> bool {
    if asked.fields.iter().any(|pointer| pointer.tokens() == here) && value.twice() {
        return true;
    }
    // A closed list looks at the members of each object that it doesn't admit as a whole.
    let next: Vec<&Box<str>> = asked
        .pointers()
        .filter(|pointer| pointer.tokens().starts_with(here))
        .filter_map(|pointer| pointer.tokens().get(here.len()))
        .collect();
    let covered = |pointer: &Pointer| here.starts_with(pointer.tokens());
    let in_list = !asked.only.is_empty() && !asked.pointers().any(covered);
    let in_list = in_list && (here.is_empty() || !next.is_empty());
    // A field under a place that the list admits whole is looked for all the same.
    let looked_into = asked
        .fields
        .iter()
        .any(|p| p.tokens().len() > here.len() && p.tokens().starts_with(here));
    let below = |token: &str| [here, &[token.into()]].concat();
    match value {
        Other::Null | Other::Bool(_) | Other::Number(_) | Other::Text(_) => false,
        Other::Array(items) => {
            let mut items = items.iter().enumerate();
            items.any(|(index, item)| ambiguous(item, &below(&index.to_string()), asked))
        }
        Other::Object(members) => {
            let followed = in_list || looked_into;
            // At a NUL readers written in C end a key.
            if followed
                && (twice_here(members) || members.iter().any(|(key, _)| key.contains('\0')))
            {
                return true;
            }
            let known = |key: &String| {
                followed
                    && next.iter().any(|token| {
                        let alike = equal_but_for_case(token, key);
                        // Two judged keys that differ in case make either one a variant.
                        let pair = ***token == **key
                            && next.iter().any(|other| equal_but_for_case(other, key));
                        alike || pair
                    })
            };
            members
                .iter()
                .any(|(key, value)| known(key) || ambiguous(value, &below(key), asked))
        }
    }
}

/// Whether nothing stands where no pointer of the list admits it: the design's words.
fn admits(value: &Other, here: &mut Vec<Box<str>>, list: &[Pointer]) -> bool {
    if list
        .iter()
        .any(|pointer| here.starts_with(pointer.tokens()))
    {
        return true;
    }
    let leads = |pointer: &&Pointer| pointer.tokens().starts_with(here);
    if !here.is_empty() && !list.iter().any(|pointer| leads(&pointer)) {
        return false;
    }
    let index = |token: &Box<str>| {
        token.bytes().all(|b| b.is_ascii_digit()) && (**token == *"0" || !token.starts_with('0'))
    };
    match value {
        Other::Null | Other::Bool(_) | Other::Number(_) | Other::Text(_) => false,
        // An empty array is on the way where the list names one of its elements.
        Other::Array(items) if items.is_empty() => {
            let mut next = list
                .iter()
                .filter(leads)
                .filter_map(|p| p.tokens().get(here.len()));
            next.any(|token| !token.is_empty() && index(token))
        }
        Other::Array(items) => items.iter().enumerate().all(|(index, item)| {
            here.push(index.to_string().into());
            let admitted = admits(item, here, list);
            here.pop();
            admitted
        }),
        Other::Object(members) => members.iter().all(|(key, value)| {
            here.push(key.as_str().into());
            let admitted = admits(value, here, list);
            here.pop();
            admitted
        }),
    }
}

/// The reader of claims and containers: every object of it is judged.
fn tree(body: &[u8]) {
    match (Json::parse(body, DEPTH), other(body)) {
        (Ok(json), Some(document)) => {
            assert!(document.is(&json));
            assert!(!document.twice());
        }
        (Ok(_), None) => panic!("a tree of what serde_json doesn't read"),
        (Err(Fault::JsonDepth), Some(document)) => assert!(document.depth() > DEPTH),
        (Err(Fault::JsonDuplicateKey), Some(document)) => assert!(document.twice()),
        (Err(fault), Some(_)) => panic!("refused for {fault:?}, and nothing is wrong"),
        (Err(_), None) => {}
    }
}

fn form(asked: &Asked<'_>, only: &[(u32, Vec<Pointer>)], read: Result<BodyFields<'_>, Fault>) {
    let Ok(read) = read else {
        return;
    };
    let body = std::str::from_utf8(asked.body).expect("a form is ASCII");
    let pairs: Vec<(String, String)> = body
        .split('&')
        .map(|pair| pair.split_once('=').expect("a pair"))
        .map(|(name, value)| (plus(name), plus(value)))
        .collect();
    assert!(!pairs.iter().any(|(name, _)| {
        name.trim_start_matches([' ', '?'])
            .eq_ignore_ascii_case("_method")
    }));
    for (pointer, id) in asked.fields.iter().zip(0..) {
        let [name] = pointer.tokens() else {
            let value = read.field(id);
            assert!(
                matches!(value, Value::Missing | Value::Unreadable),
                "{pointer} {value:?}"
            );
            continue;
        };
        let lenient = |text: &str| {
            text.trim_start_matches([' ', '?'])
                .to_lowercase()
                .replace(['.', ' '], "_")
        };
        for (other, _) in &pairs {
            let alike = lenient(other) == lenient(name) && other != &**name;
            assert!(!alike, "{other} is a variant of {name}");
        }
        let mut found = pairs.iter().filter(|(other, _)| **other == **name);
        match (found.next(), read.field(id)) {
            (None, Value::Missing) => {}
            (Some((_, value)), Value::Wire(text)) => assert_eq!(value, text),
            (found, value) => panic!("{pointer}: {found:?} {value:?}"),
        }
        assert!(found.next().is_none(), "{pointer} is there twice");
    }
    for (id, list) in only {
        let listed = |name: &str| {
            let mut tokens = list.iter().map(Pointer::tokens);
            tokens.any(|tokens| matches!(tokens, []) || matches!(tokens, [one] if **one == *name))
        };
        let admitted = pairs.iter().all(|(name, _)| listed(name));
        assert_eq!(read.unexpected(*id).is_none(), admitted, "the closed list");
        let mut names: Vec<&String> = pairs.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(
            names.windows(2).all(|two| two[0] != two[1]),
            "twice in a closed form"
        );
    }
}

/// Decodes a part of a form.
fn plus(text: &str) -> String {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        decoded.push(match bytes[at] {
            b'+' => b' ',
            b'%' => {
                let digits = text.get(at + 1..at + 3).expect("two digits");
                assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()), "{text}");
                at += 2;
                u8::from_str_radix(digits, 16).unwrap()
            }
            byte => byte,
        });
        at += 1;
    }
    String::from_utf8(decoded).expect("UTF-8")
}
