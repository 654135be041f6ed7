//! Tokens against the verification, with a key of each kind: nothing that wasn't signed here, as it stands and under
//! the algorithm that it names, is accepted, and what is accepted says what serde_json reads in it.
//!
//! The input is lines. A line that begins with `h` or `p` and a name gives that member of the header or of the
//! payload the value after `=` (as it stands, so that it may be no JSON, and stand twice); with nothing after the
//! `=` it is taken out. `H=` and `P=` give the whole text of a part. `k` chooses the key that signs, `a` an algorithm
//! that the header doesn't name, `c` a certificate, and `m` is what is done to the signed token. Input that begins
//! with a dot or has no such line is a token as it comes.

#![no_main]

#[path = "token/signers.rs"]
mod signers;

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use libfuzzer_sys::fuzz_target;
use portcullis::config::{CertificateAndToken, ClaimMap, Identity, Keys, Provider, Secret};
use portcullis::policy::json::Pointer;
use portcullis::policy::{Json, Principal};
use portcullis::proxy::identify::{Identifier, KeyObserver, TokenCache};
use serde_json::Value as Other;

use self::signers::{SECRET, SIGNERS, Signer};

/// The moment at which all is judged.
const NOW: i64 = 1_800_000_000;
const LEEWAY: i64 = 30;
const LIFETIME: i64 = 3_600;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(drawn) = Drawn::read(text) else {
        assert!(ask(text).is_none(), "nobody signed this: {text:?}");
        return;
    };
    let (header, payload) = (drawn.header(), drawn.payload());
    let signer = drawn.signer();
    let algorithm = drawn.algorithm(&header, signer);
    let Some(token) = signer.sign(&header, &payload, algorithm) else {
        return;
    };
    let sent = drawn.mutated(&token);
    let Some(principal) = ask(&sent) else {
        return;
    };
    assert_eq!(sent, token, "not as it was signed");
    assert!(signer.trusted, "signed by a stranger: {header} {payload}");
    header_says(&header, signer, algorithm);
    claims_say(&payload, &principal);
});

/// Who it is, if anybody.
fn ask(token: &str) -> Option<Arc<Principal>> {
    static IDENTIFIER: LazyLock<Arc<Identifier>> =
        LazyLock::new(|| Identifier::new(&identity(), Arc::new(Deaf)));
    let value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let now = Timestamp::from_second(NOW).unwrap();
    let cache = TokenCache::new(4);
    let ask = || {
        let asked = pin!(IDENTIFIER.identify(&cache, &headers, None, now));
        // With keys at hand there is nothing to wait for.
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("waits for what?"),
        }
    };
    let (first, second) = (ask(), ask());
    match (&first, &second) {
        (Ok(first), Ok(second)) => {
            let same = |one: &Option<portcullis::proxy::identify::Identified>| {
                one.as_ref().map(|i| Arc::clone(&i.principal))
            };
            assert_eq!(same(first), same(second), "the cache says something else");
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.code(), second.code());
            let told = format!("{first} {first:?}");
            // The fixed texts are found by fuzzing as well; no word of theirs is as long.
            let encoded = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            let parts = token.split('.');
            let parts = parts.filter(|part| part.len() >= 24 && part.bytes().all(encoded));
            parts.for_each(|part| assert!(!told.contains(part), "{told} tells of {token}"));
        }
        _ => panic!("the cache says something else"),
    }
    first.ok()?.map(|identified| identified.principal)
}

struct Deaf;

impl KeyObserver for Deaf {
    fn key_refresh(&self, _: &str, _: bool) {}
    fn key_change(&self, _: &str, _: usize) {}
    fn token_cache(&self, _: bool) {}
}

fn identity() -> Identity {
    let trusted = SIGNERS.iter().filter(|s| s.trusted);
    let jwks: Vec<Other> = trusted.filter_map(|s| s.jwk.clone()).collect();
    let set = serde_json::from_value(serde_json::json!({ "keys": jwks })).expect("a set");
    let public = vec![
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
        Algorithm::RS256,
        Algorithm::PS256,
    ];
    let secret = Keys::Secret(Secret(SECRET.into()));
    Identity {
        providers: vec![
            provider("corp", public, Keys::Set(Arc::new(set))),
            provider("shared", vec![Algorithm::HS256, Algorithm::HS512], secret),
        ],
        certificate_and_token: CertificateAndToken::Bound,
        token_cache: 4,
    }
}

fn provider(name: &str, algorithms: Vec<Algorithm>, keys: Keys) -> Provider {
    let pointers = |texts: &[&str]| {
        let pointers = texts
            .iter()
            .map(|text| Pointer::parse(text).expect("a pointer"));
        pointers.collect()
    };
    Provider {
        name: name.into(),
        issuer: format!("https://{name}.example").into(),
        audiences: vec!["api".into()],
        algorithms,
        types: vec!["at+jwt".into(), "jwt".into()],
        keys,
        leeway: Duration::from_secs(LEEWAY as u64),
        max_lifetime: Duration::from_secs(LIFETIME as u64),
        claims: ClaimMap {
            agent: pointers(&["/act/sub", "/sub"]),
            user: pointers(&["/on_behalf_of"]),
            workload: pointers(&["/workload"]),
            session: pointers(&["/sid"]),
            task: pointers(&["/task/id"]),
            groups: pointers(&["/groups"]),
        },
        agents: vec![format!("{name}/*").into()],
    }
}

/// What the input says.
#[derive(Default)]
struct Drawn<'t> {
    signer: usize,
    algorithm: Option<&'t str>,
    header: Vec<(&'t str, &'t str)>,
    payload: Vec<(&'t str, &'t str)>,
    whole_header: Option<&'t str>,
    whole_payload: Option<&'t str>,
    mutations: Vec<&'t str>,
}

impl<'t> Drawn<'t> {
    fn read(text: &'t str) -> Option<Drawn<'t>> {
        let mut drawn = Drawn::default();
        let mut any = false;
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let Some(kind) = name.chars().next() else {
                continue;
            };
            let name = &name[kind.len_utf8()..];
            match kind {
                'h' => drawn.header.push((name, value)),
                'p' => drawn.payload.push((name, value)),
                'H' => drawn.whole_header = Some(value),
                'P' => drawn.whole_payload = Some(value),
                'k' => drawn.signer = value.parse().unwrap_or(0),
                'a' => drawn.algorithm = Some(value),
                'm' => drawn.mutations.push(value),
                _ => continue,
            }
            any = true;
        }
        any.then_some(drawn)
    }

    fn signer(&self) -> &'static Signer {
        &SIGNERS[self.signer % SIGNERS.len()]
    }

    fn header(&self) -> String {
        if let Some(whole) = self.whole_header {
            return whole.to_owned();
        }
        let signer = self.signer();
        let (algorithm, id) = (
            format!("\"{:?}\"", signer.algorithm),
            format!("\"{}\"", signer.id),
        );
        let good = [("alg", &*algorithm), ("kid", &*id), ("typ", "\"at+jwt\"")];
        object(&good, &self.header)
    }

    fn payload(&self) -> String {
        if let Some(whole) = self.whole_payload {
            return whole.to_owned();
        }
        let name = if self.signer().jwk.is_some() {
            "corp"
        } else {
            "shared"
        };
        let (issuer, agent) = (
            format!("\"https://{name}.example\""),
            format!("\"{name}/7\""),
        );
        let (issued, expires) = (NOW.to_string(), (NOW + 300).to_string());
        let good = [
            ("iss", &*issuer),
            ("aud", "\"api\""),
            ("sub", &*agent),
            ("iat", &*issued),
            ("exp", &*expires),
        ];
        object(&good, &self.payload)
    }

    /// What signs: by the key's own algorithm, or another that the input names.
    fn algorithm(&self, header: &str, signer: &Signer) -> Algorithm {
        let named = match self.algorithm {
            Some(name) => name.to_owned(),
            None => {
                let header: Option<Other> = serde_json::from_str(header).ok();
                let named = header
                    .as_ref()
                    .and_then(|h| h["alg"].as_str().map(str::to_owned));
                named.unwrap_or_default()
            }
        };
        named.parse().unwrap_or(signer.algorithm)
    }

    fn mutated(&self, token: &str) -> String {
        let mut sent = token.to_owned();
        for mutation in &self.mutations {
            let (kind, rest) = mutation.split_at(mutation.chars().next().map_or(0, char::len_utf8));
            let at: usize = rest
                .chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .unwrap_or(0);
            let text = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let at = at.min(sent.len());
            if !sent.is_char_boundary(at) {
                continue;
            }
            match kind {
                // in, over, cut, before, after, part's end
                "i" => sent.insert_str(at, text),
                "o" => {
                    let end = (at + text.len()).min(sent.len());
                    if sent.is_char_boundary(end) {
                        sent.replace_range(at..end, text);
                    }
                }
                "c" => sent.truncate(at),
                "b" => sent.insert_str(0, text),
                "a" => sent.push_str(text),
                "p" => sent = sent.replacen('.', &format!("{text}."), 1 + at % 2),
                "d" => {
                    sent.drain(..at);
                }
                _ => {}
            }
        }
        sent
    }
}

/// The good members with those of the input in their place, or taken out, or added.
fn object(good: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let kept = good
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(other, _)| other == name));
    let added = changes.iter().filter(|(_, value)| !value.is_empty());
    let members: Vec<String> = kept
        .chain(added)
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn header_says(header: &str, signer: &Signer, algorithm: Algorithm) {
    let Some(read) = other(header) else {
        return;
    };
    assert_eq!(
        read["alg"].as_str(),
        Some(&*format!("{algorithm:?}")),
        "another algorithm"
    );
    let fits = match signer.algorithm {
        Algorithm::RS256 => matches!(algorithm, Algorithm::RS256 | Algorithm::PS256),
        Algorithm::HS512 => matches!(algorithm, Algorithm::HS256 | Algorithm::HS512),
        own => own == algorithm,
    };
    assert!(fits, "{algorithm:?} with a key for {:?}", signer.algorithm);
    if signer.jwk.is_some() {
        let id = read["kid"].as_str();
        assert!(id.is_none_or(|id| id == signer.id), "another key: {header}");
    }
    assert!(
        read.get("crit").is_none() && read.get("b64").is_none(),
        "{header}"
    );
    let kind = read["typ"]
        .as_str()
        .map(str::to_ascii_lowercase)
        .expect("a type");
    assert!(["at+jwt", "jwt", "application/at+jwt", "application/jwt"].contains(&&*kind));
}

/// What serde_json reads; nothing where a number is one that no f64 holds, which is a number all the same.
fn other(text: &str) -> Option<Other> {
    match serde_json::from_str(text) {
        Ok(read) => Some(read),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// The rules for claims, read by the other reader.
fn claims_say(payload: &str, principal: &Principal) {
    let Some(claims) = other(payload) else {
        return;
    };
    assert!(
        same(&principal.claims, &claims),
        "{payload} {:?}",
        principal.claims
    );
    let name = principal.provider.as_deref().expect("a provider");
    assert_eq!(claims["iss"], format!("https://{name}.example"));
    let audience = match &claims["aud"] {
        Other::Array(list) => list.iter().any(|one| one == "api"),
        one => one == "api",
    };
    assert!(audience, "{payload}");
    let second = |name: &str| claims[name].as_f64();
    let (issued, expires) = (second("iat").expect("iat"), second("exp").expect("exp"));
    let (now, leeway) = (NOW as f64, LEEWAY as f64);
    assert!(
        expires + leeway > now && issued - leeway <= now,
        "{payload}"
    );
    assert!(
        (0.0..=LIFETIME as f64).contains(&(expires - issued)),
        "{payload}"
    );
    assert!(
        second("nbf").is_none_or(|from| from - leeway <= now),
        "{payload}"
    );
    assert!(
        claims.get("cnf").is_none(),
        "bound, and no certificate came"
    );
    let agent = match claims.get("act") {
        Some(actor) => actor["sub"].as_str(),
        None => claims["sub"].as_str(),
    };
    assert_eq!(principal.agent.as_deref(), agent, "{payload}");
    if let Some(agent) = agent {
        let own = agent
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('/'));
        assert!(own.is_some_and(|rest| !rest.contains('/')), "{payload}");
    }
    for (mapped, pointer) in [
        (&principal.user, "/on_behalf_of"),
        (&principal.workload, "/workload"),
        (&principal.session, "/sid"),
        (&principal.task, "/task/id"),
        (&principal.token_id, "/jti"),
    ] {
        assert_eq!(
            mapped.as_deref(),
            claims.pointer(pointer).map(|c| c.as_str().expect("text"))
        );
    }
    let groups: Vec<&str> = match claims.get("groups") {
        None => Vec::new(),
        Some(Other::Array(list)) => list.iter().map(|one| one.as_str().expect("text")).collect(),
        Some(one) => vec![one.as_str().expect("text")],
    };
    let mapped: Vec<&str> = principal.groups.iter().map(|group| &**group).collect();
    assert_eq!(mapped, groups);
    let until = principal.expires_at.expect("an end").as_second() as f64;
    assert!((until - expires - leeway).abs() <= 1.0, "{payload}");
}

/// Whether both read the same values. Numbers may differ in their last bits: serde_json rounds as it goes.
fn same(json: &Json, other: &Other) -> bool {
    match (json, other) {
        (Json::Null, Other::Null) => true,
        (Json::Bool(a), Other::Bool(b)) => a == b,
        (Json::Number(a), Other::Number(b)) => match (a.parse::<f64>(), b.as_f64()) {
            (Ok(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-12,
            _ => false,
        },
        (Json::Text(a), Other::String(b)) => **a == **b,
        (Json::Array(a), Other::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Other::Object(b)) => {
            let mut members = a.iter();
            a.len() == b.len() && members.all(|(k, v)| b.get(&**k).is_some_and(|o| same(v, o)))
        }
        _ => false,
    }
}

/// Base64url, for the signers.
fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
