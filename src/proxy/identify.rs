//! Who is calling: a verified token, a verified client certificate, or both (DESIGN 5).
//!
//! An [`Identifier`] holds the providers and their keys and is shared by all workers; each worker has its own
//! [`TokenCache`]. The order of checks is fixed: certificate in time → `Bearer` and nothing else → token known
//! already, or: strict reading → issuer → type → algorithm → key → signature → claims → mapping → binding to the
//! certificate. Before the signature, only `iss`, `typ`, `alg` and `kid` are looked at, each only compared.
//!
//! A certificate alone gives a principal without provider, whose `workload` is its SPIFFE ID. With a token, `cert`
//! is set, and `workload` is the token's if it has one.
//!
//! Deliberately absent: tokens in the query or a form (RFC 6750, sections 2.2 and 2.3), other schemes (`Basic`,
//! `DPoP`), opaque tokens and introspection.

mod cache;
mod claims;
mod fetch;
mod jwks;
mod jwt;
mod mtls;
mod refusal;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::task::AbortHandle;

pub use cache::TokenCache;
pub use mtls::{CertificateError, PeerCertificate};
pub use refusal::{IdentityError, Refusal};

use crate::config::{CertificateAndToken, Identity, Keys, Provider};
use crate::policy::Principal;
use crate::policy::matcher::glob::Glob;
use cache::Entry;
use claims::Verified;
use fetch::Endpoint;
use jwks::KeySet;
use jwt::Token;
use store::{Cause, KeyStore, Remote};

/// Turns credentials into a [`Principal`].
pub struct Identifier {
    providers: Vec<Issuer>,
    certificate_and_token: CertificateAndToken,
    observer: Arc<dyn KeyObserver>,
    // What keeps fetched keys fresh; ends with this value.
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Who is calling.
#[derive(Clone, Debug)]
pub struct Identified {
    /// The identity.
    pub principal: Arc<Principal>,
    /// Whether an Authorization header was verified, which then isn't forwarded unless the route says so.
    pub credential: bool,
}

/// Hears what happens to keys and tokens, for metrics and the audit record.
pub trait KeyObserver: Send + Sync {
    /// Keys were fetched, or couldn't be.
    fn key_refresh(&self, provider: &str, ok: bool);
    /// A provider's keys are others than before; so many there are now.
    fn key_change(&self, provider: &str, keys: usize);
    /// A token was looked up among those verified before.
    fn token_cache(&self, hit: bool);
}

struct Issuer {
    config: Provider,
    agents: Vec<Glob>,
    keys: Arc<KeyStore>,
}

impl Identifier {
    /// Takes over the configuration. Keys that are fetched are fetched by [`Identifier::start`].
    ///
    /// Issuers are expected to be unique and globs to be valid, as the configuration's loading makes sure. A glob
    /// that doesn't compile matches nothing.
    pub fn new(identity: &Identity, observer: Arc<dyn KeyObserver>) -> Arc<Identifier> {
        let providers = identity
            .providers
            .iter()
            .map(|provider| Issuer::new(provider, key_store(provider, &observer)))
            .collect();
        Arc::new(Identifier {
            providers,
            certificate_and_token: identity.certificate_and_token,
            observer,
            tasks: Mutex::default(),
        })
    }

    /// Takes over a configuration that comes after this one. The same providers under the same rules are this very
    /// value, so that what it verified stays verified. Otherwise a provider that keeps its name, issuer and source
    /// of keys keeps its keys, too: a reload must not lose the last good ones while the issuer is away.
    pub fn renewed(self: &Arc<Self>, identity: &Identity) -> Arc<Identifier> {
        let before = self.providers.iter().map(|issuer| &issuer.config);
        if before.eq(&identity.providers)
            && self.certificate_and_token == identity.certificate_and_token
        {
            return Arc::clone(self);
        }
        let keys = |wanted: &Provider| {
            let same = |issuer: &&Issuer| {
                let known = &issuer.config;
                known.name == wanted.name
                    && known.issuer == wanted.issuer
                    && known.keys == wanted.keys
            };
            let kept = self.providers.iter().find(same);
            kept.map_or_else(
                || key_store(wanted, &self.observer),
                |issuer| Arc::clone(&issuer.keys),
            )
        };
        let providers = identity.providers.iter();
        Arc::new(Identifier {
            providers: providers.map(|p| Issuer::new(p, keys(p))).collect(),
            certificate_and_token: identity.certificate_and_token,
            observer: Arc::clone(&self.observer),
            tasks: Mutex::default(),
        })
    }

    /// Fetches keys, all providers at once, and keeps them fresh from then on, on the runtime that this runs on.
    /// Waits for the providers that have none yet. Never fails: what fails is tried again in the background, and
    /// refused as unavailable until then. Does nothing where it was called before.
    pub async fn start(&self) {
        if !self.tasks().is_empty() {
            return;
        }
        let remote = || {
            let all = self.providers.iter().map(|provider| &provider.keys);
            all.filter(|keys| keys.is_remote()).map(Arc::clone)
        };
        let first: Vec<_> = remote()
            .map(|keys| {
                let ready = keys.ready();
                let fetch = tokio::spawn(async move { keys.refetch(Cause::Schedule).await });
                (ready, fetch)
            })
            .collect();
        for (ready, fetch) in first {
            if !ready {
                // An error is a task that was cancelled with its runtime, and then so is this one.
                let _ended = fetch.await;
            }
        }
        let mut tasks = self.tasks();
        if tasks.is_empty() {
            tasks.extend(remote().map(|keys| tokio::spawn(keys.keep_fresh()).abort_handle()));
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every provider has keys.
    pub fn ready(&self) -> bool {
        self.providers.iter().all(|provider| provider.keys.ready())
    }

    /// Who is calling; `None` where neither a token nor a certificate came.
    pub async fn identify(
        &self,
        cache: &TokenCache,
        headers: &HeaderMap,
        certificate: Option<&PeerCertificate>,
        now: Timestamp,
    ) -> Result<Option<Identified>, IdentityError> {
        if let Some(certificate) = certificate {
            certificate.at(now)?;
        }
        let Some(token) = bearer(headers)? else {
            return Ok(certificate.map(|certificate| Identified {
                principal: certificate.alone(),
                credential: false,
            }));
        };
        let peer = certificate.map(|certificate| &certificate.thumbprint);
        let known = self.known(cache.find(token, peer), now)?;
        self.observer.token_cache(known.is_some());
        let principal = match known {
            Some(principal) => principal,
            None => {
                let entry = self.verify(token, certificate, now).await?;
                let principal = Arc::clone(&entry.principal);
                cache.insert(token, peer, entry);
                principal
            }
        };
        Ok(Some(Identified {
            principal,
            credential: true,
        }))
    }

    /// Who is calling, by the keys that are held at this moment: for streams that are open already, whose key was
    /// among them when they began. Fetches nothing, and neither looks among the tokens verified before nor adds to them.
    ///
    /// # Errors
    /// As [`identify`](Identifier::identify); keys that aren't there are an error as well.
    pub fn identify_held(
        &self,
        headers: &HeaderMap,
        certificate: Option<&PeerCertificate>,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, IdentityError> {
        if let Some(certificate) = certificate {
            certificate.at(now)?;
        }
        let Some(token) = bearer(headers)? else {
            return Ok(certificate.map(PeerCertificate::alone));
        };
        let token = Token::read(token)?;
        let (index, provider) = self.provider_of(&token)?;
        let generation = provider.check_signature(&token, now)?;
        let entry = self.entry(token, index, generation, certificate, now)?;
        Ok(Some(entry.principal))
    }

    /// The principal of a token that was verified before, if its provider's keys are still those.
    fn known(
        &self,
        entry: Option<Entry>,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, IdentityError> {
        let Some(entry) = entry else {
            return Ok(None);
        };
        // A cache that outlived a change of the configuration may name a provider that is gone: verify again.
        let Some(provider) = self.providers.get(entry.provider) else {
            return Ok(None);
        };
        let generation = provider
            .keys
            .generation(now)
            .ok_or_else(|| provider.keys_away())?;
        if generation != entry.generation {
            return Ok(None);
        }
        claims::in_time(entry.valid_from, entry.valid_until, now)?;
        Ok(Some(entry.principal))
    }

    async fn verify(
        &self,
        text: &str,
        certificate: Option<&PeerCertificate>,
        now: Timestamp,
    ) -> Result<Entry, IdentityError> {
        let token = Token::read(text)?;
        let (index, provider) = self.provider_of(&token)?;
        let generation = provider.verify_signature(&token, now).await?;
        self.entry(token, index, generation, certificate, now)
    }

    /// What is known of a token whose signature was verified.
    fn entry(
        &self,
        token: Token<'_>,
        index: usize,
        generation: u64,
        certificate: Option<&PeerCertificate>,
        now: Timestamp,
    ) -> Result<Entry, IdentityError> {
        let provider = self.providers.get(index).ok_or(Refusal::Issuer)?;
        let verified = Verified::read(token.claims, &provider.config, &provider.agents, now)?;
        self.bound(verified.binding, certificate)?;
        let mut principal = verified.principal;
        if let Some(certificate) = certificate {
            with_certificate(&mut principal, certificate);
        }
        Ok(Entry {
            provider: index,
            generation,
            valid_from: verified.valid_from,
            valid_until: verified.valid_until,
            principal: Arc::new(principal),
        })
    }

    /// The provider whose token this says it is, if it is of a type that it issues.
    fn provider_of(&self, token: &Token<'_>) -> Result<(usize, &Issuer), Refusal> {
        let issuer = token.claims.member("iss").ok_or(Refusal::ClaimMissing)?;
        let issuer = issuer.as_text().ok_or(Refusal::ClaimType)?;
        let (index, provider) = self
            .providers
            .iter()
            .enumerate()
            .find(|(_, provider)| *provider.config.issuer == *issuer)
            .ok_or(Refusal::Issuer)?;
        let kinds = &provider.config.types;
        let kind = token.header.kind.as_deref();
        if !kinds.is_empty() && !kinds.iter().any(|own| Some(&**own) == kind) {
            return Err(Refusal::Type);
        }
        Ok((index, provider))
    }

    /// RFC 8705, section 3: a bound token counts only with its certificate. A certificate counts only with a token
    /// that is bound to it, unless they may be of different parties.
    fn bound(
        &self,
        binding: Option<[u8; 32]>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<(), Refusal> {
        match (binding, certificate, self.certificate_and_token) {
            (None, None, _) | (None, Some(_), CertificateAndToken::Coexist) => Ok(()),
            (None, Some(_), CertificateAndToken::Bound) => Err(Refusal::Unbound),
            (Some(bound), Some(certificate), _) if bound == certificate.thumbprint => Ok(()),
            (Some(_), _, _) => Err(Refusal::BindingMismatch),
        }
    }
}

impl Drop for Identifier {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Issuer {
    fn new(config: &Provider, keys: Arc<KeyStore>) -> Issuer {
        let agents = config.agents.iter();
        Issuer {
            agents: agents
                .filter_map(|glob| Glob::new(glob, b'/').ok())
                .collect(),
            keys,
            config: config.clone(),
        }
    }

    /// Verifies with the one key that fits, and says of which generation it was.
    async fn verify_signature(
        &self,
        token: &Token<'_>,
        now: Timestamp,
    ) -> Result<u64, IdentityError> {
        let unknown = |checked: &Result<u64, IdentityError>| {
            matches!(checked, Err(IdentityError::Client(Refusal::UnknownKey)))
        };
        let checked = self.check_signature(token, now);
        if !unknown(&checked) || !self.keys.is_remote() {
            return checked;
        }
        let fetched = self.keys.refetch(Cause::UnknownKey).await;
        let checked = self.check_signature(token, now);
        if unknown(&checked) && !fetched {
            // The key may be one that the issuer has by now: say that it's us who don't know.
            return Err(self.keys_away());
        }
        checked
    }

    /// The same with the keys that are held.
    fn check_signature(&self, token: &Token<'_>, now: Timestamp) -> Result<u64, IdentityError> {
        let algorithm = jwt::algorithm(&token.header.algorithm)
            .filter(|algorithm| self.config.algorithms.contains(algorithm))
            .ok_or(Refusal::Algorithm)?;
        let held = self.keys.held(now).ok_or_else(|| self.keys_away())?;
        let key = held.keys.find(token.header.key_id.as_deref(), algorithm)?;
        token.verify(key, algorithm)?;
        Ok(held.generation)
    }

    fn keys_away(&self) -> IdentityError {
        IdentityError::OursKeysAway {
            provider: Arc::clone(&self.config.name),
        }
    }
}

fn key_store(provider: &Provider, observer: &Arc<dyn KeyObserver>) -> Arc<KeyStore> {
    let name = Arc::clone(&provider.name);
    let observer = Arc::clone(observer);
    let (url, issuer, tls, refresh, max_stale) = match &provider.keys {
        Keys::Set(set) => return KeyStore::fixed(name, KeySet::from_set(set), observer),
        Keys::Secret(secret) => {
            return KeyStore::fixed(name, KeySet::from_secret(secret), observer);
        }
        Keys::Url {
            url,
            refresh,
            max_stale,
            tls,
        } => (url, None, tls, refresh, max_stale),
        Keys::Discovery {
            url,
            refresh,
            max_stale,
            tls,
        } => (url, Some(provider.issuer.clone()), tls, refresh, max_stale),
    };
    let remote = Remote {
        endpoint: Endpoint::new(url.clone(), issuer, &tls.client),
        refresh: *refresh,
        max_stale: *max_stale,
    };
    KeyStore::remote(name, remote, observer)
}

/// The token of the one Authorization header: `Bearer`, in any case (RFC 9110, section 11.1), one space, and the
/// token.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = all.next() else {
        return Ok(None);
    };
    if all.next().is_some() {
        return Err(Refusal::CredentialTwice);
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or(Refusal::Scheme)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Refusal::Scheme);
    }
    Ok(Some(token))
}

fn with_certificate(principal: &mut Principal, certificate: &PeerCertificate) {
    principal.cert = Some(certificate.certificate.clone());
    if principal.workload.is_none() {
        principal.workload = certificate.certificate.spiffe_id.clone();
    }
    principal.expires_at = principal
        .expires_at
        .map(|expires| expires.min(certificate.not_after));
}
