//! A client certificate as an identity. Read once for each connection, after rustls verified its chain, its
//! validity at that moment, and revocation.
//!
//! A certificate whose URI SAN is a SPIFFE ID must be an X.509-SVID (spiffe.io, X509-SVID, sections 2 to 5), or it is
//! refused; it is never read as an ordinary certificate instead. Names in it are ASCII without control characters,
//! or it is refused: a NUL in a name has more than one reading. The common name is never looked at.

use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
use x509_parser::prelude::FromDer;

use super::refusal::Refusal;
use crate::policy::{Certificate, Principal};

/// The verified certificate of a connection's peer.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    /// What policies see of it.
    pub certificate: Certificate,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The end of its validity; that moment itself no longer counts.
    pub not_after: Timestamp,
    /// The last second of each authority's certificate that came with it, since 1970.
    pub above_end: Box<[i64]>,
    /// SHA-256 over its DER form: what `cnf.x5t#S256` of a token names (RFC 8705).
    pub thumbprint: [u8; 32],
    // Who the peer is where no token comes.
    alone: Arc<Principal>,
}

/// Why a certificate that rustls accepted is no identity here; all of these are the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain has no certificate.
    #[error("no certificate came")]
    ClientAbsent,
    /// DER, an extension or a date that can't be read, or an extension that stands there twice.
    #[error("the certificate can't be read")]
    ClientSyntax,
    /// A name with a control character, or one that isn't ASCII.
    #[error("a name in the certificate isn't plain ASCII")]
    ClientName,
    /// More than one URI SAN, one of them a SPIFFE ID.
    #[error("the certificate has a SPIFFE ID and another URI")]
    ClientUris,
    /// A URI SAN with the scheme `spiffe` that is no SPIFFE ID of a workload.
    #[error("the certificate's SPIFFE ID isn't valid")]
    ClientSpiffeId,
    /// A key whose stated use isn't to sign; an X.509-SVID without a stated use, that is a CA, or that may sign
    /// certificates or CRLs.
    #[error("the certificate's use isn't a client's")]
    ClientUsage,
    /// A certificate further up, as the client sent it, that may not sign certificates.
    #[error("an intermediate certificate isn't a CA's")]
    ClientIntermediate,
}

impl CertificateError {
    /// The stable name for events and metrics: snake case.
    pub const fn code(self) -> &'static str {
        match self {
            CertificateError::ClientAbsent => "certificate_absent",
            CertificateError::ClientSyntax => "certificate_syntax",
            CertificateError::ClientName => "certificate_name",
            CertificateError::ClientUris => "certificate_uris",
            CertificateError::ClientSpiffeId => "certificate_spiffe_id",
            CertificateError::ClientUsage => "certificate_usage",
            CertificateError::ClientIntermediate => "certificate_intermediate",
        }
    }
}

impl PeerCertificate {
    /// Reads the chain that the peer sent and rustls verified, its leaf first.
    pub fn read(chain: &[CertificateDer<'_>]) -> Result<PeerCertificate, CertificateError> {
        let (leaf, above) = chain.split_first().ok_or(CertificateError::ClientAbsent)?;
        let parsed = parse(leaf)?;
        let mut above_end = Vec::with_capacity(above.len());
        for signer in above {
            let signer = parse(signer)?;
            // webpki looks at the CA flag of those that it needs, and not at the key's use.
            may_sign_certificates(&signer)?;
            above_end.push(signer.validity().not_after.timestamp());
        }
        let names = Names::read(&parsed)?;
        may_sign(&parsed)?;
        if names.spiffe_id.is_some() {
            is_svid_leaf(&parsed)?;
        }
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
        let certificate = Certificate {
            spiffe_id: names.spiffe_id,
            dns: names.dns,
            email: names.email,
            fingerprint: hex(&thumbprint),
        };
        let validity = parsed.validity();
        let not_after = moment(validity.not_after.timestamp());
        Ok(PeerCertificate {
            not_before: moment(validity.not_before.timestamp()),
            not_after,
            above_end: above_end.into(),
            thumbprint,
            alone: Arc::new(Principal {
                workload: certificate.spiffe_id.clone(),
                cert: Some(certificate.clone()),
                expires_at: Some(not_after),
                ..Principal::default()
            }),
            certificate,
        })
    }

    /// Who the peer is where no token comes: `cert` and, from its SPIFFE ID, `workload`.
    pub(super) fn alone(&self) -> Arc<Principal> {
        Arc::clone(&self.alone)
    }

    /// Whether it is still valid: a connection may outlive its certificate.
    pub(super) fn at(&self, now: Timestamp) -> Result<(), Refusal> {
        if now >= self.not_after {
            return Err(Refusal::CertificateExpired);
        }
        if now < self.not_before {
            return Err(Refusal::CertificateNotYetValid);
        }
        Ok(())
    }
}

/// The subject alternative names that are looked at.
#[derive(Default)]
struct Names {
    spiffe_id: Option<Box<str>>,
    dns: Vec<Box<str>>,
    email: Vec<Box<str>>,
}

impl Names {
    fn read(certificate: &X509Certificate<'_>) -> Result<Names, CertificateError> {
        let mut names = Names::default();
        let mut uris = Vec::new();
        let extension = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError::ClientSyntax)?;
        let all = extension.iter().flat_map(|san| &san.value.general_names);
        for name in all {
            match name {
                GeneralName::DNSName(dns) => {
                    names.dns.push(plain(dns)?.to_ascii_lowercase().into());
                }
                GeneralName::RFC822Name(email) => names.email.push(plain(email)?.into()),
                GeneralName::URI(uri) => uris.push(plain(uri)?),
                GeneralName::Invalid(_, _) => return Err(CertificateError::ClientName),
                GeneralName::OtherName(_, _)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        names.spiffe_id = match uris.as_slice() {
            // A URI's scheme has no case (RFC 3986, section 3.1); a SPIFFE ID's must be lower, and is checked so.
            uris if !uris.iter().any(|uri| has_spiffe_scheme(uri)) => None,
            [one] if is_spiffe_id(one) => Some((*one).into()),
            [_] => return Err(CertificateError::ClientSpiffeId),
            _ => return Err(CertificateError::ClientUris),
        };
        Ok(names)
    }
}

fn parse<'c>(der: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(CertificateError::ClientSyntax),
    }
}

/// RFC 5280, section 4.2.1.3, which webpki leaves to its caller: a key whose use is stated and isn't to sign must not
/// prove who somebody is.
fn may_sign(leaf: &X509Certificate<'_>) -> Result<(), CertificateError> {
    match key_usage(leaf)? {
        Some(usage) if !usage.digital_signature() => Err(CertificateError::ClientUsage),
        Some(_) | None => Ok(()),
    }
}

/// X509-SVID, sections 4.1, 4.3 and 5.2.
fn is_svid_leaf(leaf: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let usage = key_usage(leaf)?;
    let fits = usage.is_some_and(|u| u.digital_signature() && !u.key_cert_sign() && !u.crl_sign());
    if !fits || is_ca(leaf)? {
        return Err(CertificateError::ClientUsage);
    }
    Ok(())
}

/// RFC 5280, section 4.2.1.3: a CA, whose key may sign certificates if its use is stated.
fn may_sign_certificates(signer: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let usage = key_usage(signer)?;
    if !is_ca(signer)? || usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(CertificateError::ClientIntermediate);
    }
    Ok(())
}

fn key_usage<'c>(
    certificate: &'c X509Certificate<'_>,
) -> Result<Option<&'c KeyUsage>, CertificateError> {
    certificate
        .key_usage()
        .map(|extension| extension.map(|usage| usage.value))
        .map_err(|_| CertificateError::ClientSyntax)
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, CertificateError> {
    // Not `basic_constraints()`, to which an extension that can't be read is one that isn't there.
    let extension = certificate
        .get_extension_unique(&OID_X509_EXT_BASIC_CONSTRAINTS)
        .map_err(|_| CertificateError::ClientSyntax)?;
    let Some(extension) = extension else {
        return Ok(false);
    };
    let ParsedExtension::BasicConstraints(constraints) = extension.parsed_extension() else {
        return Err(CertificateError::ClientSyntax);
    };
    Ok(constraints.ca)
}

fn plain(name: &str) -> Result<&str, CertificateError> {
    let plain = !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b));
    plain.then_some(name).ok_or(CertificateError::ClientName)
}

fn has_spiffe_scheme(uri: &str) -> bool {
    uri.split_once(':')
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("spiffe"))
}

/// A workload's SPIFFE ID (SPIFFE-ID, section 2): lower-case trust domain, at least one path segment, and no
/// character that would need another reading.
fn is_spiffe_id(uri: &str) -> bool {
    let Some((domain, path)) = uri
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    let in_path = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    uri.len() <= 2048
        && (1..=255).contains(&domain.len())
        && domain.bytes().all(in_domain)
        && path
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(in_path))
}

fn hex(bytes: &[u8; 32]) -> Box<str> {
    let mut text = String::with_capacity(64);
    for byte in bytes {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// A date of a certificate; one past what a timestamp holds (9999-12-31, "never") is its last.
fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(if second > 0 {
        Timestamp::MAX
    } else {
        Timestamp::MIN
    })
}
