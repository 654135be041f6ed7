//! A token as it came: split, decoded and read, but not yet believed (RFC 7515, compact serialisation).
//!
//! Nothing of a [`Token`] may be used before its signature was verified, but for what chooses the key: `iss`,
//! `alg` and `kid`. `jku`, `x5u`, `jwk`, `x5c` and `x5t` of the header are not read at all: keys come from the
//! configuration. (Some issuers send a harmless `jku` with each token, so its presence is no reason to refuse.)
//!
//! Deliberately absent: JSON serialisation, detached payloads (RFC 7797), encryption (five parts), compression.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::refusal::Refusal;
use crate::policy::Json;

/// The longest token that is looked at, in bytes.
pub(super) const LONGEST: usize = 16 * 1024;

/// The longest `kid`, in bytes.
const LONGEST_KID: usize = 256;

/// The deepest nesting of header and payload.
const DEPTH: usize = 16;

/// A token that was read and not verified.
pub(super) struct Token<'t> {
    /// What is signed: both first parts as they came, with their dot.
    pub(super) signed: &'t str,
    /// The signature, canonical base64url.
    pub(super) signature: &'t str,
    /// The header's parameters that are looked at.
    pub(super) header: Header,
    /// The claims: an object.
    pub(super) claims: Json,
}

/// What is read of a token's header.
pub(super) struct Header {
    /// `alg`.
    pub(super) algorithm: Box<str>,
    /// `kid`: hostile input, only ever compared.
    pub(super) key_id: Option<Box<str>>,
    /// `typ`, lower-cased and without `application/` (RFC 7515, section 4.1.9).
    pub(super) kind: Option<Box<str>>,
}

impl<'t> Token<'t> {
    /// Reads a token; nothing is verified.
    pub(super) fn read(text: &'t str) -> Result<Token<'t>, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        // A fourth dot lands in `payload`, where the decoder refuses it. An empty signature is `none`'s.
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Refusal::Malformed);
        }
        decode(signature)?;
        let header = Header::read(&decode(header)?)?;
        let claims = object(&decode(payload)?).ok_or(Refusal::PayloadSyntax)?;
        Ok(Token {
            signed,
            signature,
            header,
            claims,
        })
    }

    /// Whether the signature is this key's under this algorithm, which the caller found to fit the key.
    pub(super) fn verify(
        &self,
        key: &jsonwebtoken::DecodingKey,
        algorithm: Algorithm,
    ) -> Result<(), Refusal> {
        match jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Refusal::Signature),
        }
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, Refusal> {
        let header = object(bytes).ok_or(Refusal::HeaderSyntax)?;
        // RFC 7515, section 4.1.11: an extension that isn't understood is refused, and none is understood here.
        if header.member("crit").is_some() || header.member("b64").is_some() {
            return Err(Refusal::Critical);
        }
        let key_id = text(&header, "kid")?;
        if key_id.as_ref().is_some_and(|kid| kid.len() > LONGEST_KID) {
            return Err(Refusal::HeaderSyntax);
        }
        Ok(Header {
            algorithm: text(&header, "alg")?.ok_or(Refusal::HeaderSyntax)?,
            key_id,
            kind: text(&header, "typ")?.map(|typ| media_type(&typ)),
        })
    }
}

/// The name of an algorithm in a token's header (RFC 7518, section 3.1), where it is one that is known here.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "EdDSA" => Algorithm::EdDSA,
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        _ => return None,
    })
}

/// Strict base64url: no padding, no other alphabet, no bits left over.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Malformed)
}

fn object(bytes: &[u8]) -> Option<Json> {
    match Json::parse(bytes, DEPTH) {
        Ok(object @ Json::Object(_)) => Some(object),
        Ok(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_))
        | Err(_) => None,
    }
}

fn text(header: &Json, name: &str) -> Result<Option<Box<str>>, Refusal> {
    match header.member(name) {
        None => Ok(None),
        Some(value) => match value.as_text() {
            Some(text) => Ok(Some(text.into())),
            None => Err(Refusal::HeaderSyntax),
        },
    }
}

fn media_type(typ: &str) -> Box<str> {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").unwrap_or(&lower).into()
}
