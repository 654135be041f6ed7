//! TLS of listeners, upstreams and key fetches: PEM files become rustls configurations, checked.
//!
//! Deliberately absent: a process-wide crypto provider (each configuration names aws-lc-rs), any way to skip
//! verification, and session resumption where client certificates are asked for. A resumed session would
//! stand on a verification made earlier, perhaps under another client CA or an older revocation list.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;

use super::load::Loader;
use super::raw::{CLIENTS, LISTENER_TLS, UPSTREAM_TLS};
use super::read::Reader;
use super::secrets::warn_if_open;
use super::{FetchTls, ListenerTls, Protocol, UpstreamTls};
use crate::yaml::At;

/// A listener's TLS.
pub(super) fn listener(at: &At<'_>, cx: &mut Loader<'_>) -> Option<ListenerTls> {
    let reader = Reader::open(at, &LISTENER_TLS, cx)?;
    let clients = reader.written("clients");
    let mut lists_end = None;
    let verifier = clients
        .as_ref()
        .map(|at| client_verifier(at, &mut lists_end, cx));
    let verifies = verifier.clone().flatten();
    let certified = certified(reader.value("certificate"), reader.value("key"), cx)?;
    let builder = ServerConfig::builder_with_provider(cx.crypto.clone())
        .with_safe_default_protocol_versions()
        .ok()?;
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut server = match verifier {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(verifier) => {
            let mut server = builder
                .with_client_cert_verifier(verifier?)
                .with_cert_resolver(resolver);
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
            server
        }
    };
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(ListenerTls {
        server: Arc::new(server),
        clients: verifies,
        lists_end,
    })
}

/// TLS towards an upstream whose addresses are https.
pub(super) fn upstream(
    at: &At<'_>,
    protocol: Protocol,
    cx: &mut Loader<'_>,
) -> Option<UpstreamTls> {
    let reader = Reader::open(at, &UPSTREAM_TLS, cx)?;
    let roots = roots(&reader, cx);
    let server_name = reader.written("server_name").and_then(|at| {
        let name = ServerName::try_from(super::read::text(&at, cx)?.to_owned()).ok();
        if name.is_none() {
            cx.problem(&at, "expected a DNS name or an IP address");
        }
        name
    });
    let (certificate, key) = (reader.written("certificate"), reader.written("key"));
    let identity = match (&certificate, &key) {
        (None, None) => None,
        (Some(_), Some(_)) => Some(certified(certificate, key, cx)?),
        (Some(one), None) => {
            cx.problem(one, "a client certificate needs its `key` beside it");
            None
        }
        (None, Some(one)) => {
            cx.problem(one, "a client key needs its `certificate` beside it");
            None
        }
    };
    let mut client = client(roots?, identity, cx)?;
    client.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Some(UpstreamTls {
        client: Arc::new(client),
        server_name,
    })
}

/// TLS for fetching keys, which is done over HTTP/1.1.
pub(super) fn fetch(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Option<FetchTls> {
    let roots = roots(reader, cx)?;
    let mut client = client(roots.clone(), None, cx)?;
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(FetchTls {
        client: Arc::new(client),
        roots,
    })
}

fn client(
    roots: Arc<RootCertStore>,
    identity: Option<CertifiedKey>,
    cx: &Loader<'_>,
) -> Option<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(cx.crypto.clone())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots);
    Some(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
    })
}

/// The roots under the section's `ca`: the system's, or those of a file.
fn roots(reader: &Reader<'_>, cx: &mut Loader<'_>) -> Option<Arc<RootCertStore>> {
    let at = reader.value("ca")?;
    if !at.is_word("system") {
        return authorities(&at, cx);
    }
    if let Some(roots) = &cx.system_roots {
        return Some(roots.clone());
    }
    let mut roots = RootCertStore::empty();
    // Some systems carry certificates that webpki can't read. Leaving one out trusts less, not more.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let at = reader.written("ca").unwrap_or(*reader.at());
        cx.problem(
            &at,
            "this system has no root certificates; name a PEM file under `ca`",
        );
        return None;
    }
    let roots = Arc::new(roots);
    cx.system_roots = Some(roots.clone());
    Some(roots)
}

/// The authorities in a PEM file; at least one.
fn authorities(at: &At<'_>, cx: &mut Loader<'_>) -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(at, cx)? {
        check_certificate(at, &certificate, cx)?;
        if roots.add(certificate).is_err() {
            cx.problem(at, "a certificate in this file can't be an authority");
            return None;
        }
    }
    Some(Arc::new(roots))
}

fn client_verifier(
    at: &At<'_>,
    lists_end: &mut Option<i64>,
    cx: &mut Loader<'_>,
) -> Option<Arc<dyn rustls::server::danger::ClientCertVerifier>> {
    let reader = Reader::open(at, &CLIENTS, cx)?;
    let optional = reader.word("mode", cx) == "optional";
    let crl = reader.value("crl")?;
    let mut lists = Vec::new();
    for at in crl.one_or_many() {
        lists.extend(revocation_lists(&at, lists_end, cx).unwrap_or_default());
    }
    let ca = reader.value("ca")?;
    let roots = authorities(&ca, cx)?;
    // What a list doesn't cover counts as revoked, and so does all under a list past its time.
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, cx.crypto.clone())
        .with_crls(lists)
        .enforce_revocation_expiration();
    if optional {
        builder = builder.allow_unauthenticated();
    }
    match builder.build() {
        Ok(verifier) => Some(verifier),
        Err(_) => {
            cx.problem(&crl, "a revocation list is of a kind that isn't supported");
            None
        }
    }
}

fn revocation_lists(
    at: &At<'_>,
    end: &mut Option<i64>,
    cx: &mut Loader<'_>,
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let (_, bytes) = cx.file(at)?;
    let lists = if bytes.starts_with(b"\x30") {
        Ok(vec![CertificateRevocationListDer::from(bytes)])
    } else {
        CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>()
    };
    let lists = lists.unwrap_or_default();
    if lists.is_empty() {
        cx.problem(
            at,
            "expected certificate revocation lists, PEM or DER; found none",
        );
        return None;
    }
    for list in &lists {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(list) else {
            cx.problem(at, "the certificate revocation list can't be read");
            return None;
        };
        let Some(next) = parsed.next_update().map(|next| next.timestamp()) else {
            continue;
        };
        *end = Some(end.map_or(next, |end| end.min(next)));
        if next < cx.now {
            cx.warn(at, "the revocation list is past its time; clients are refused until a newer one is here");
        }
    }
    Some(lists)
}

/// A chain and its key, which fit.
fn certified(
    chain: Option<At<'_>>,
    key: Option<At<'_>>,
    cx: &mut Loader<'_>,
) -> Option<CertifiedKey> {
    let (chain_at, key_at) = (chain?, key?);
    let chain = certificates(&chain_at, cx);
    let key = private_key(&key_at, cx);
    let (chain, key) = (chain?, key?);
    for certificate in &chain {
        check_certificate(&chain_at, certificate, cx)?;
    }
    match CertifiedKey::from_der(chain, key, &cx.crypto) {
        Ok(certified) => Some(certified),
        Err(Error::InconsistentKeys(_)) => {
            cx.problem(&key_at, "the key doesn't belong to the certificate");
            None
        }
        Err(Error::InvalidCertificate(_)) => {
            cx.problem(&chain_at, "the first certificate can't be read");
            None
        }
        Err(_) => {
            cx.problem(&key_at, "the key is of a kind that isn't supported; use ECDSA P-256 or P-384, Ed25519, or RSA from 2048 bits");
            None
        }
    }
}

fn certificates(at: &At<'_>, cx: &mut Loader<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let (_, bytes) = cx.file(at)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let message = match found {
        Ok(found) if !found.is_empty() => return Some(found),
        Ok(_) => "the file holds no certificate (PEM)",
        Err(_) => "the file isn't PEM",
    };
    cx.problem(at, message);
    None
}

fn private_key(at: &At<'_>, cx: &mut Loader<'_>) -> Option<PrivateKeyDer<'static>> {
    let (path, bytes) = cx.file(at)?;
    warn_if_open(at, &path, cx);
    let found: Result<Vec<_>, _> = PrivateKeyDer::pem_slice_iter(&bytes).collect();
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    let message = match found {
        Ok(mut found) if found.len() == 1 => return found.pop(),
        Ok(found) if !found.is_empty() => "the file holds several private keys; expected one",
        Ok(_) if bytes.windows(encrypted.len()).any(|w| w == encrypted) => {
            "the private key is encrypted; expected a plain one"
        }
        Ok(_) => "the file holds no private key (PEM)",
        Err(_) => "the file isn't PEM",
    };
    cx.problem(at, message);
    None
}

/// Refuses a weak key, warns of a certificate out of its time.
fn check_certificate(at: &At<'_>, der: &CertificateDer<'_>, cx: &mut Loader<'_>) -> Option<()> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        cx.problem(at, "a certificate can't be read (X.509)");
        return None;
    };
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() {
        let bits = bits(key.modulus);
        if bits < MIN_RSA {
            cx.problem(
                at,
                format!("an RSA key of {bits} bits; expected at least {MIN_RSA}"),
            );
            return None;
        }
    }
    let validity = certificate.validity();
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let shown = |second| jiff::Timestamp::from_second(second).unwrap_or_default();
    if until < cx.now {
        cx.warn(at, format!("a certificate expired at {}", shown(until)));
    } else if from > cx.now {
        cx.warn(
            at,
            format!("a certificate isn't valid before {}", shown(from)),
        );
    }
    Some(())
}

/// The length of a big-endian number.
pub(super) fn bits(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|byte| **byte == 0);
    match digits.next() {
        Some(first) => {
            let top = u8::BITS - first.leading_zeros();
            digits.count() * 8 + usize::try_from(top).unwrap_or(0)
        }
        None => 0,
    }
}

/// The least RSA key, in bits.
pub(super) const MIN_RSA: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (number, expected) in [
            (&b""[..], 0),
            (b"\0\0", 0),
            (b"\x01", 1),
            (b"\0\xff", 8),
            (b"\x01\0", 9),
        ] {
            assert_eq!(bits(number), expected, "{number:?}");
        }
    }
}
