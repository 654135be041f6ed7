//! What a verified token says: the rules for its claims, and their mapping to a [`Principal`].
//!
//! Every claim that is read must have its type; a claim of another type is refused, never converted. Nothing in
//! here looks at the signature, so nothing in here may be called before it was verified.
//!
//! Deliberately absent: `authorization_details` (RFC 9396) is carried in the claims and bounds nothing by
//! itself, and of `act` (RFC 8693) only the outermost object is looked at.

use jiff::Timestamp;

use super::jwt;
use super::refusal::Refusal;
use crate::config::{ClaimMap, Provider};
use crate::policy::json::Pointer;
use crate::policy::matcher::glob::{self, Glob};
use crate::policy::{Json, Principal, Truth};

/// The longest mapped value or token id, in bytes.
const LONGEST_VALUE: usize = 1024;

/// The most groups: as many as a decision looks up, so that no forbid on a group is ever passed over.
const MOST_GROUPS: usize = 256;

/// What a token's claims come to.
#[derive(Debug)]
pub(super) struct Verified {
    /// Who it is; `cert` is not filled in.
    pub(super) principal: Principal,
    /// The first moment at which the token counts, leeway included.
    pub(super) valid_from: Timestamp,
    /// The first moment at which it no longer counts, leeway included.
    pub(super) valid_until: Timestamp,
    /// SHA-256 of the certificate that the token is bound to (RFC 8705).
    pub(super) binding: Option<[u8; 32]>,
}

impl Verified {
    /// Checks the claims of a token whose signature was verified, and maps them.
    pub(super) fn read(
        claims: Json,
        provider: &Provider,
        agents: &[Glob],
        now: Timestamp,
    ) -> Result<Verified, Refusal> {
        audience(&claims, provider)?;
        let (valid_from, valid_until) = times(&claims, provider, now)?;
        let binding = binding(&claims)?;
        optional_text(&claims, "sub")?;
        let token_id = optional_text(&claims, "jti")?;
        let map = &provider.claims;
        let agent = agent(&claims, map)?;
        if let Some(agent) = &agent
            && glob::test(agents, agent) != Truth::True
        {
            return Err(Refusal::Agent);
        }
        let principal = Principal {
            provider: Some((*provider.name).into()),
            agent,
            user: mapped(&claims, &map.user)?,
            workload: mapped(&claims, &map.workload)?,
            session: mapped(&claims, &map.session)?,
            task: mapped(&claims, &map.task)?,
            groups: groups(&claims, &map.groups)?,
            cert: None,
            token_id,
            // With the leeway: a decision that ended it sooner would refuse a token that was just accepted.
            expires_at: Some(valid_until),
            claims,
        };
        Ok(Verified {
            principal,
            valid_from,
            valid_until,
            binding,
        })
    }
}

/// Whether a token that counts from one moment until another counts now.
pub(super) fn in_time(from: Timestamp, until: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if now >= until {
        return Err(Refusal::Expired);
    }
    if now < from {
        return Err(Refusal::NotYetValid);
    }
    Ok(())
}

/// `aud` (RFC 7519, section 4.1.3): a text, or a list of texts, that holds one of the provider's.
fn audience(claims: &Json, provider: &Provider) -> Result<(), Refusal> {
    let ours = |audience: &str| provider.audiences.iter().any(|own| **own == *audience);
    let found = match claims.member("aud").ok_or(Refusal::ClaimMissing)? {
        Json::Text(one) => ours(one),
        Json::Array(list) => {
            let mut found = false;
            for item in list {
                found |= ours(item.as_text().ok_or(Refusal::ClaimType)?);
            }
            found
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => {
            return Err(Refusal::ClaimType);
        }
    };
    if found {
        Ok(())
    } else {
        Err(Refusal::Audience)
    }
}

/// `exp`, `nbf` and `iat` (RFC 7519, sections 4.1.4 to 4.1.6), with the provider's leeway and longest lifetime.
fn times(
    claims: &Json,
    provider: &Provider,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Refusal> {
    let expires = date(claims, "exp")?.ok_or(Refusal::ClaimMissing)?;
    let issued = date(claims, "iat")?.ok_or(Refusal::ClaimMissing)?;
    let not_before = date(claims, "nbf")?;
    let later = |at: Timestamp| at.checked_add(provider.leeway).unwrap_or(Timestamp::MAX);
    let earlier = |at: Timestamp| at.checked_sub(provider.leeway).unwrap_or(Timestamp::MIN);

    if now < earlier(issued) {
        return Err(Refusal::IssuedInFuture);
    }
    let longest = issued
        .checked_add(provider.max_lifetime)
        .unwrap_or(Timestamp::MAX);
    if expires > longest || expires < issued {
        return Err(Refusal::Lifetime);
    }
    let valid_until = later(expires);
    let valid_from = earlier(not_before.map_or(issued, |at| at.max(issued)));
    in_time(valid_from, valid_until, now)?;
    Ok((valid_from, valid_until))
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, whole or with a fraction. Exponents and dates before
/// 1970 are refused; no issuer means them.
fn date(claims: &Json, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.member(name) else {
        return Ok(None);
    };
    let Json::Number(number) = value else {
        return Err(Refusal::ClaimType);
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(Refusal::ClaimType);
    }
    let second: i64 = whole.parse().map_err(|_| Refusal::ClaimType)?;
    // Nine digits are nanoseconds; what is finer is dropped.
    let nanosecond = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    Timestamp::new(second, nanosecond)
        .map(Some)
        .map_err(|_| Refusal::ClaimType)
}

/// `cnf` (RFC 7800): only `x5t#S256` (RFC 8705) can be verified here, so that anything else, alone or beside it,
/// is refused. Reading such a token as a bearer token would undo what its issuer meant.
fn binding(claims: &Json) -> Result<Option<[u8; 32]>, Refusal> {
    let Some(cnf) = claims.member("cnf") else {
        return Ok(None);
    };
    let Json::Object(members) = cnf else {
        return Err(Refusal::ClaimType);
    };
    let [(name, Json::Text(thumbprint))] = members.as_slice() else {
        return Err(Refusal::Binding);
    };
    if **name != *"x5t#S256" {
        return Err(Refusal::Binding);
    }
    jwt::decode(thumbprint)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Some)
        .ok_or(Refusal::Binding)
}

/// The agent. Where the token has an actor and the map looks for the agent in it, the agent is found there or the
/// token is refused: falling back to `sub` would take the person for the agent.
fn agent(claims: &Json, map: &ClaimMap) -> Result<Option<Box<str>>, Refusal> {
    let in_actor = |pointer: &&Pointer| pointer.tokens().first().is_some_and(|t| **t == *"act");
    match claims.member("act") {
        None => mapped(claims, &map.agent),
        Some(Json::Object(_)) if map.agent.iter().any(|p| in_actor(&p)) => {
            let pointers = map.agent.iter().filter(in_actor);
            first(claims, pointers)?.ok_or(Refusal::Actor).map(Some)
        }
        Some(Json::Object(_)) => mapped(claims, &map.agent),
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_)) => {
            Err(Refusal::ClaimType)
        }
    }
}

fn groups(claims: &Json, pointers: &[Pointer]) -> Result<Vec<Box<str>>, Refusal> {
    let Some(value) = pointers.iter().find_map(|pointer| claims.at(pointer)) else {
        return Ok(Vec::new());
    };
    match value {
        Json::Array(list) if list.len() > MOST_GROUPS => Err(Refusal::Groups),
        Json::Array(list) => list.iter().map(name).collect(),
        Json::Text(_) => Ok(vec![name(value)?]),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => Err(Refusal::ClaimType),
    }
}

fn mapped(claims: &Json, pointers: &[Pointer]) -> Result<Option<Box<str>>, Refusal> {
    first(claims, pointers.iter())
}

fn first<'p>(
    claims: &Json,
    mut pointers: impl Iterator<Item = &'p Pointer>,
) -> Result<Option<Box<str>>, Refusal> {
    pointers
        .find_map(|pointer| claims.at(pointer))
        .map(name)
        .transpose()
}

fn optional_text(claims: &Json, member: &str) -> Result<Option<Box<str>>, Refusal> {
    claims.member(member).map(name).transpose()
}

/// A value that may name somebody: text, not empty, without control characters, bounded.
fn name(value: &Json) -> Result<Box<str>, Refusal> {
    let text = value.as_text().ok_or(Refusal::ClaimType)?;
    if text.is_empty() || text.len() > LONGEST_VALUE || text.chars().any(char::is_control) {
        return Err(Refusal::ClaimType);
    }
    Ok(text.into())
}
