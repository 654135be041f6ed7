//! `identity`: token issuers, none of which can be taken for another.

use http::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};

use super::load::Loader;
use super::overlap::overlap;
use super::raw::{CLAIMS, KEYS, PROVIDER};
use super::read::{NOWHERE, Reader, text, word};
use super::{
    CertificateAndToken, ClaimMap, Identity, Keys, Provider, jwks, listeners, secrets, tls,
    upstreams,
};
use crate::policy::json::Pointer;
use crate::yaml::{At, Yaml};

/// Reads who may be who.
pub(super) fn read(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Identity {
    let mut providers: Vec<Provider> = Vec::new();
    if let Some(map) = reader.value("providers")
        && let Some(entries) = map.entries(&mut cx.problems)
    {
        for (key, at) in entries {
            if !listeners::is_name(&key.text) {
                cx.problems.add(Some(key.mark), at.key(), listeners::NAME);
            }
            if let Some(provider) = provider(&key.text, &at, &providers, cx) {
                providers.push(provider);
            }
        }
    }
    let token_cache = reader.count("token_cache", cx).unwrap_or_default();
    Identity {
        providers,
        certificate_and_token: match reader.word("certificate_and_token", cx) {
            "coexist" => CertificateAndToken::Coexist,
            _ => CertificateAndToken::Bound,
        },
        token_cache: usize::try_from(token_cache).unwrap_or(usize::MAX),
    }
}

fn provider(name: &str, at: &At<'_>, others: &[Provider], cx: &mut Loader<'_>) -> Option<Provider> {
    let reader = Reader::open(at, &PROVIDER, cx)?;
    let issuer = reader.text("issuer", cx).unwrap_or_default();
    if let Some(other) = others.iter().find(|o| *o.issuer == *issuer)
        && !issuer.is_empty()
    {
        let message = format!("provider `{}` has this issuer", other.name);
        cx.problem(&reader.value("issuer")?, message);
    }
    let algorithms = algorithms(&reader, cx);
    let keys_at = reader.value("keys");
    let keys = keys_at.map(|at| keys(&at, issuer, &algorithms, cx));
    let claims_at = reader.value("claims").unwrap_or(At::root(&NOWHERE));
    Some(Provider {
        name: name.into(),
        issuer: issuer.into(),
        audiences: texts(&reader, "audience", cx),
        types: types(&reader, cx),
        leeway: reader.duration("leeway", cx)?,
        max_lifetime: reader.duration("max_lifetime", cx)?,
        claims: claims(&claims_at, cx),
        agents: agents(&reader, others, cx),
        keys: keys.flatten().unwrap_or(Keys::Set(Default::default())),
        algorithms,
    })
}

fn algorithms(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    let Some(at) = reader.value("algorithms") else {
        return algorithms;
    };
    let items = at.one_or_many();
    if items.is_empty() {
        cx.problem(&at, "expected at least one algorithm");
    }
    for item in &items {
        let Some(word) = word(item, reader.words("algorithms"), cx) else {
            continue;
        };
        match word.parse::<Algorithm>() {
            Ok(algorithm) if algorithms.contains(&algorithm) => {
                cx.problem(item, "this algorithm stands here twice");
            }
            Ok(algorithm) => algorithms.push(algorithm),
            Err(_) => cx.problem(item, "this algorithm isn't supported"),
        }
    }
    algorithms
}

/// Whether the algorithm is one of a shared secret.
fn is_symmetric(algorithm: &Algorithm) -> bool {
    AlgorithmFamily::Hmac.algorithms().contains(algorithm)
}

fn keys(at: &At<'_>, issuer: &str, algorithms: &[Algorithm], cx: &mut Loader<'_>) -> Option<Keys> {
    let reader = Reader::open(at, &KEYS, cx)?;
    let (source, value) = reader.the_one(cx)?;
    if !matches!(source, "url" | "discovery") {
        for key in ["refresh", "max_stale", "ca"] {
            if let Some(at) = reader.written(key) {
                cx.problem(&at, format!("`{key}` goes with `url` or `discovery`"));
            }
        }
    }
    let symmetric = algorithms.iter().filter(|a| is_symmetric(a)).count();
    if source == "secret" && symmetric < algorithms.len() {
        let message = "a shared secret goes with HS256, HS384 and HS512 only";
        cx.problem(&value, message);
    }
    if source != "secret" && symmetric > 0 {
        let message = "HS* goes with `keys: { secret: … }` only: a public key must never become a shared secret";
        cx.problem(&value, message);
        return None;
    }
    if algorithms.is_empty() {
        // A problem already; that no key fits would be a second one for the same mistake.
        return None;
    }
    match source {
        "file" => {
            let (_, bytes) = cx.file(&value)?;
            let set = jwks::from_json(&bytes)
                .map_err(|message| cx.problem(&value, message))
                .ok()?;
            jwk_set(&value, &set, algorithms, cx)
        }
        "set" => {
            let set = jwks::from_yaml(value.node);
            jwk_set(&value, &set, algorithms, cx)
        }
        "secret" => {
            let secret = secrets::secret(&value, cx)?;
            let least = algorithms
                .iter()
                .map(least_secret)
                .max()
                .unwrap_or_default();
            if secret.0.len() < least {
                let found = secret.0.len();
                cx.problem(
                    &value,
                    format!("the secret is of {found} bytes; its algorithms need at least {least} (RFC 7518, section 3.2)"),
                );
            }
            Some(Keys::Secret(secret))
        }
        _ => remote(&reader, source, &value, issuer, cx),
    }
}

/// A JWK set, of which every problem is told and every key left out is warned of.
fn jwk_set(
    at: &At<'_>,
    set: &serde_json::Value,
    algorithms: &[Algorithm],
    cx: &mut Loader<'_>,
) -> Option<Keys> {
    let read = jwks::read(set, algorithms);
    for message in read.warnings {
        cx.warn(at, message);
    }
    let good = read.problems.is_empty();
    for message in read.problems {
        cx.problem(at, message);
    }
    good.then(|| Keys::Set(read.set.into()))
}

fn remote(
    reader: &Reader<'_>,
    source: &str,
    value: &At<'_>,
    issuer: &str,
    cx: &mut Loader<'_>,
) -> Option<Keys> {
    let (refresh, max_stale) = (
        reader.duration("refresh", cx)?,
        reader.duration("max_stale", cx)?,
    );
    if max_stale < refresh {
        let at = reader.written("max_stale").or(reader.written("refresh"));
        cx.problem(
            &at.unwrap_or(*value),
            "expected `max_stale` to be at least `refresh`, or keys are gone before they are fetched again",
        );
    }
    let tls = tls::fetch(reader, cx);
    let url = match &value.node.value {
        Yaml::Bool(true) if source == "discovery" => {
            // OpenID Connect Discovery 1.0, section 4: a slash at the issuer's end goes.
            let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
            url(&format!("{issuer}/.well-known/openid-configuration")).map_err(|why| {
                format!("the issuer has no metadata URL of its own ({why}); write the URL here")
            })
        }
        Yaml::Text(text) => url(text).map_err(str::to_owned),
        Yaml::Bool(_) | Yaml::Null | Yaml::Number(_) | Yaml::List(_) | Yaml::Map(_) => {
            Err(match source {
                "url" => "expected a URL".to_owned(),
                _ => "expected true or a URL".to_owned(),
            })
        }
    };
    let url = url.map_err(|message| cx.problem(value, message)).ok()?;
    let tls = tls?;
    Some(match source {
        "url" => Keys::Url {
            url,
            refresh,
            max_stale,
            tls,
        },
        _ => Keys::Discovery {
            url,
            refresh,
            max_stale,
            tls,
        },
    })
}

/// Whoever answers at this URL can make any agent up, so it is https, or this machine.
fn url(text: &str) -> Result<Uri, &'static str> {
    let url = upstreams::url(text)?;
    if url.scheme_str() == Some("http") && !upstreams::is_loopback(&url) {
        return Err("expected https; http only to loopback");
    }
    Ok(url)
}

/// RFC 7518, section 3.2: at least as long as the hash.
fn least_secret(algorithm: &Algorithm) -> usize {
    let lengths = [
        (Algorithm::HS256, 32),
        (Algorithm::HS384, 48),
        (Algorithm::HS512, 64),
    ];
    let found = lengths.iter().find(|(other, _)| other == algorithm);
    found.map_or(0, |(_, least)| *least)
}

fn types(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Vec<Box<str>> {
    let at = reader.value("types");
    if at.is_some_and(|at| at.is_word("any")) {
        return Vec::new();
    }
    let types = texts(reader, "types", cx);
    types
        .iter()
        .map(|text| text.to_ascii_lowercase())
        .map(|text| text.strip_prefix("application/").unwrap_or(&text).into())
        .collect()
}

fn claims(at: &At<'_>, cx: &mut Loader<'_>) -> ClaimMap {
    let Some(reader) = Reader::open(at, &CLAIMS, cx) else {
        return ClaimMap::default();
    };
    let mut pointers = |key| {
        let Some(at) = reader.value(key) else {
            return Vec::new();
        };
        let mut pointers = Vec::new();
        for item in at.one_or_many() {
            let Some(text) = text(&item, cx) else {
                continue;
            };
            match Pointer::parse(text) {
                Some(pointer) => pointers.push(pointer),
                None => cx.problem(
                    &item,
                    "expected a JSON Pointer (RFC 6901) such as /sub or /act/sub",
                ),
            }
        }
        pointers
    };
    ClaimMap {
        agent: pointers("agent"),
        user: pointers("user"),
        workload: pointers("workload"),
        session: pointers("session"),
        task: pointers("task"),
        groups: pointers("groups"),
    }
}

fn agents(reader: &Reader<'_>, others: &[Provider], cx: &mut Loader<'_>) -> Vec<Box<str>> {
    let agents = texts(reader, "agents", cx);
    let Some(at) = reader.value("agents") else {
        return agents;
    };
    for item in at.one_or_many() {
        let Yaml::Text(text) = &item.node.value else {
            continue;
        };
        if text.len() > MAX_GLOB {
            cx.problem(&item, format!("expected at most {MAX_GLOB} bytes"));
            continue;
        }
        let all = others
            .iter()
            .flat_map(|provider| provider.agents.iter().map(move |glob| (provider, glob)));
        for (other, glob) in all {
            if glob.len() <= MAX_GLOB && overlap(text, glob) {
                let name = &other.name;
                cx.problem(
                    &item,
                    format!("overlaps with `{glob}` of provider `{name}`: each agent name must have one issuer"),
                );
            }
        }
    }
    agents
}

/// A list of texts, or one; at least one, none twice.
fn texts(reader: &Reader<'_>, key: &str, cx: &mut Loader<'_>) -> Vec<Box<str>> {
    let mut texts: Vec<Box<str>> = Vec::new();
    let Some(at) = reader.value(key) else {
        return texts;
    };
    let items = at.one_or_many();
    if items.is_empty() {
        cx.problem(&at, "expected at least one");
    }
    for item in &items {
        match text(item, cx) {
            Some(text) if texts.iter().any(|t| **t == *text) => {
                cx.problem(item, "this stands here twice");
            }
            Some(text) => texts.push(text.into()),
            None => {}
        }
    }
    texts
}

/// Longer than any agent name; keeps the test for overlaps small.
const MAX_GLOB: usize = 512;
