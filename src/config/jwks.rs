//! JWK sets (RFC 7517) from the configuration or a file: which keys are used, and which never are.
//!
//! A key that this provider's algorithms can't use is left out, as RFC 7517, section 5 has it, with a
//! warning. A key that is broken, weak, or private is a problem: someone meant it to work, or has put a
//! secret where it doesn't belong. No message quotes a key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::tls::{MIN_RSA, bits};
use crate::yaml::{Node, Yaml};

/// What came of a JWK set.
pub(super) struct Read {
    /// The keys that can verify.
    pub(super) set: JwkSet,
    /// Why the set is refused.
    pub(super) problems: Vec<String>,
    /// What was left out.
    pub(super) warnings: Vec<String>,
}

/// The keys of a set that fit these algorithms; at least one.
pub(super) fn read(set: &Value, algorithms: &[Algorithm]) -> Read {
    let mut read = Read {
        set: JwkSet { keys: Vec::new() },
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        let wanted = "expected a JWK set (RFC 7517): a mapping with the list `keys`";
        read.problems.push(wanted.to_owned());
        return read;
    };
    for (i, key) in keys.iter().enumerate() {
        match check(key, algorithms).and_then(|()| parse(key)) {
            Ok(jwk) => {
                let kid = jwk.common.key_id.as_deref();
                let twin = |other: &Jwk| kid.is_some() && other.common.key_id.as_deref() == kid;
                if read.set.keys.iter().any(twin) {
                    read.problems
                        .push(format!("keys[{i}] has the `kid` of another key"));
                }
                read.set.keys.push(jwk);
            }
            Err(Unfit::LeftOut(why)) => {
                read.warnings.push(format!("keys[{i}] is left out: {why}"));
            }
            Err(Unfit::Refused(why)) => read.problems.push(format!("keys[{i}]: {why}")),
        }
    }
    if read.set.keys.is_empty() && read.problems.is_empty() {
        let none = "no key in the set fits the provider's `algorithms`";
        read.problems.push(none.to_owned());
    }
    read
}

/// Reads JSON in which no key stands twice; the error tells the place, not the text.
pub(super) fn from_json(bytes: &[u8]) -> Result<Value, String> {
    match serde_json::from_slice(bytes) {
        Ok(Unique(value)) => Ok(value),
        Err(error) => {
            let what = match error.classify() {
                serde_json::error::Category::Data => "a key stands twice in an object",
                serde_json::error::Category::Io
                | serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof => "not JSON",
            };
            let (line, column) = (error.line(), error.column());
            Err(format!("{what} (line {line}, column {column} of the file)"))
        }
    }
}

/// The JSON that YAML stands for. Its keys are unique, which the reader of YAML saw to.
pub(super) fn from_yaml(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(*value),
        Yaml::Number(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        Yaml::Text(text) => Value::String(text.clone()),
        Yaml::List(items) => Value::Array(items.iter().map(from_yaml).collect()),
        Yaml::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, node)| (key.text.clone(), from_yaml(node)))
                .collect(),
        ),
    }
}

enum Unfit {
    /// Right, but not for us.
    LeftOut(String),
    /// Wrong.
    Refused(String),
}

fn check(key: &Value, algorithms: &[Algorithm]) -> Result<(), Unfit> {
    let refused = |why: &str| Err(Unfit::Refused(why.to_owned()));
    let left_out = |why: &str| Err(Unfit::LeftOut(why.to_owned()));
    let Some(members) = key.as_object() else {
        return refused("expected a mapping");
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let kty = match text("kty") {
        Some("oct") => return refused("a shared secret; put it under `secret`"),
        Some(kty) => kty,
        None => return refused("the member `kty` is missing"),
    };
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        if members.contains_key(private) {
            return refused("a private key; only its public part belongs here");
        }
    }
    if text("use").is_some_and(|usage| usage != "sig") {
        return left_out("its `use` isn't `sig`");
    }
    if let Some(Value::Array(ops)) = members.get("key_ops")
        && !ops.iter().any(|op| op == "verify")
    {
        return left_out("its `key_ops` have no `verify`");
    }
    let (wanted, fits): (&str, &[Algorithm]) = match (kty, text("crv")) {
        ("RSA", _) => {
            let modulus = decoded(members, "n")?;
            decoded(members, "e")?;
            let bits = bits(&modulus);
            if !(MIN_RSA..=MAX_RSA).contains(&bits) {
                let wanted = format!("expected {MIN_RSA} to {MAX_RSA}");
                return refused(&format!("an RSA key of {bits} bits; {wanted}"));
            }
            ("RS* or PS*", RSA)
        }
        ("EC", Some("P-256")) => point(members, &["x", "y"], 32, &[Algorithm::ES256], "ES256")?,
        ("EC", Some("P-384")) => point(members, &["x", "y"], 48, &[Algorithm::ES384], "ES384")?,
        ("OKP", Some("Ed25519")) => point(members, &["x"], 32, &[Algorithm::EdDSA], "EdDSA")?,
        _ => return left_out("its kind isn't supported"),
    };
    if !algorithms.iter().any(|algorithm| fits.contains(algorithm)) {
        let why = format!("it is for {wanted}, which isn't among `algorithms`");
        return Err(Unfit::LeftOut(why));
    }
    match members.get("alg") {
        None => Ok(()),
        Some(Value::String(alg)) => match alg.parse::<Algorithm>() {
            Ok(alg) if !fits.contains(&alg) => refused("its `alg` doesn't fit its kind"),
            Ok(alg) if algorithms.contains(&alg) => Ok(()),
            Ok(_) | Err(_) => left_out("its `alg` isn't among `algorithms`"),
        },
        Some(_) => refused("expected `alg` to be text"),
    }
}

fn point<'a>(
    members: &Map<String, Value>,
    coordinates: &[&str],
    length: usize,
    fits: &'a [Algorithm],
    wanted: &'a str,
) -> Result<(&'a str, &'a [Algorithm]), Unfit> {
    for name in coordinates {
        if decoded(members, name)?.len() != length {
            let why = format!("expected `{name}` to be {length} bytes");
            return Err(Unfit::Refused(why));
        }
    }
    Ok((wanted, fits))
}

fn decoded(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unfit> {
    members
        .get(name)
        .and_then(Value::as_str)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or_else(|| Unfit::Refused(format!("expected `{name}` in base64url without padding")))
}

fn parse(key: &Value) -> Result<Jwk, Unfit> {
    let jwk: Option<Jwk> = serde_json::from_value(key.clone()).ok();
    jwk.filter(|jwk| jsonwebtoken::DecodingKey::from_jwk(jwk).is_ok())
        .ok_or_else(|| Unfit::Refused("the key can't be read (RFC 7517)".to_owned()))
}

/// JSON in which no key stands twice: two readers would take different ones.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Unique(value) = entries.next_value()?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The longest RSA key that the crypto backend verifies with.
const MAX_RSA: usize = 8192;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // RFC 8037, appendix A.2, and RFC 7517, appendix A.1.
    const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const P256: (&str, &str) = (
        "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    );

    fn read_one(key: Value, algorithm: Algorithm) -> (usize, String) {
        let read = read(&json!({ "keys": [key] }), &[algorithm]);
        let messages: Vec<String> = read.warnings.into_iter().chain(read.problems).collect();
        (read.set.keys.len(), messages.join("; "))
    }

    #[test]
    fn keys() {
        let ed = |more: Value| {
            let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X });
            for (name, value) in more.as_object().unwrap() {
                key[name] = value.clone();
            }
            key
        };
        let ec = json!({ "kty": "EC", "crv": "P-256", "x": P256.0, "y": P256.1 });
        let rsa = |bytes| json!({ "kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(vec![0xC5; bytes]) });
        use Algorithm::{ES256, EdDSA, RS256};
        for (key, algorithm, count, why) in [
            (ed(json!({})), EdDSA, 1, ""),
            (
                ed(json!({ "use": "sig", "alg": "EdDSA", "key_ops": ["verify"] })),
                EdDSA,
                1,
                "",
            ),
            (ec.clone(), ES256, 1, ""),
            (rsa(256), RS256, 1, ""),
            (
                rsa(128),
                RS256,
                0,
                "an RSA key of 1024 bits; expected 2048 to 8192",
            ),
            (rsa(1025), RS256, 0, "an RSA key of 8200 bits"),
            (ec, EdDSA, 0, "for ES256, which isn't among"),
            (ed(json!({ "use": "enc" })), EdDSA, 0, "`use` isn't `sig`"),
            (ed(json!({ "key_ops": ["sign"] })), EdDSA, 0, "no `verify`"),
            (
                ed(json!({ "alg": "ES256" })),
                EdDSA,
                0,
                "doesn't fit its kind",
            ),
            (ed(json!({ "alg": "XX" })), EdDSA, 0, "isn't among"),
            (ed(json!({ "alg": 1 })), EdDSA, 0, "to be text"),
            (ed(json!({ "x": "AAAA" })), EdDSA, 0, "`x` to be 32 bytes"),
            (ed(json!({ "x": "====" })), EdDSA, 0, "base64url"),
            (ed(json!({ "x": 1 })), EdDSA, 0, "base64url"),
            (ed(json!({ "d": "s3cr3t" })), EdDSA, 0, "a private key"),
            (ed(json!({ "crv": "X25519" })), EdDSA, 0, "isn't supported"),
            (
                json!({ "kty": "oct", "k": "s3cr3t" }),
                EdDSA,
                0,
                "a shared secret",
            ),
            (json!({ "kty": "new" }), EdDSA, 0, "isn't supported"),
            (json!({}), EdDSA, 0, "`kty` is missing"),
            (json!("s3cr3t"), EdDSA, 0, "expected a mapping"),
        ] {
            let shown = key.to_string();
            let (found, messages) = read_one(key, algorithm);
            assert_eq!(found, count, "{shown}: {messages}");
            assert!(messages.contains(why), "{shown}: {messages}");
            assert!(!messages.contains("s3cr3t"), "{messages}");
        }
    }

    #[test]
    fn sets() {
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "kid": "a" });
        for (set, why) in [
            (json!({}), "the list `keys`"),
            (json!([]), "the list `keys`"),
            (json!({ "keys": [] }), "no key in the set"),
            (json!({ "keys": [key, key] }), "keys[1] has the `kid`"),
        ] {
            let read = read(&set, &[Algorithm::EdDSA]);
            assert!(read.problems.join("").contains(why), "{:?}", read.problems);
        }
    }

    #[test]
    fn json_with_one_reading() {
        assert!(from_json(br#"{"a":[{"b":1},{"b":2.5,"c":null}],"d":true}"#).is_ok());
        for (text, why) in [
            (
                r#"{"a":{"b":"s3cr3t","b":2}}"#,
                "twice in an object (line 1, column",
            ),
            (r#"{"a":1,"\u0061":2}"#, "twice"),
            (r#"{"a":s3cr3t}"#, "not JSON (line 1, column 6"),
            ("", "not JSON"),
            ("{} {}", "not JSON"),
        ] {
            let error = from_json(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
