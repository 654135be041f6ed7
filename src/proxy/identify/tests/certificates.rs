//! Client certificates: what is read, what is refused, and what they do with a token.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyUsagePurpose as Use, SanType,
};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::*;

const SPIFFE_ID: &str = "spiffe://corp/agent/7";

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.key_usages = vec![Use::DigitalSignature];
    params.is_ca = IsCa::ExplicitNoCa;
    change(&mut params);
    params.self_signed(&key).unwrap().der().clone()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn read(der: CertificateDer<'static>) -> Result<PeerCertificate, CertificateError> {
    PeerCertificate::read(&[der])
}

#[test]
fn names_are_read() {
    let der = certificate(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName("Agent.Example".try_into().unwrap()),
            uri(SPIFFE_ID),
            SanType::Rfc822Name("Ann@example.com".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    });
    let peer = read(der.clone()).unwrap();
    assert_eq!(peer.certificate.spiffe_id.as_deref(), Some(SPIFFE_ID));
    assert_eq!(peer.certificate.dns, ["agent.example".into()]);
    assert_eq!(peer.certificate.email, ["Ann@example.com".into()]);
    assert_eq!(peer.not_before.to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(peer.not_after.to_string(), "2026-02-01T00:00:00Z");
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    assert_eq!(peer.thumbprint, sha256.as_ref());
    let hex: String = sha256.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(*peer.certificate.fingerprint, *hex);
}

#[test]
fn spiffe_ids_are_strict() {
    let long = format!("spiffe://corp/{}", "a".repeat(2034));
    let longer = format!("{long}a");
    let cases = [
        (SPIFFE_ID, "spiffe"),
        ("spiffe://corp.example-1_x/A.b-c_D/0", "spiffe"),
        (&long, "spiffe"),
        (&longer, "invalid"),
        ("spiffe://corp", "invalid"),
        ("spiffe://corp/", "invalid"),
        ("spiffe://corp/a/", "invalid"),
        ("spiffe://corp//a", "invalid"),
        ("spiffe://corp/./a", "invalid"),
        ("spiffe://corp/a/..", "invalid"),
        ("spiffe://corp/%61", "invalid"),
        ("spiffe://corp/a?b", "invalid"),
        ("spiffe://corp/a#b", "invalid"),
        ("spiffe://corp/a;b", "invalid"),
        ("spiffe://corp:443/a", "invalid"),
        ("spiffe://ann@corp/a", "invalid"),
        ("spiffe://Corp/a", "invalid"),
        ("SPIFFE://corp/a", "invalid"),
        ("Spiffe://corp/a", "invalid"),
        ("spiffe:/corp/a", "invalid"),
        ("spiffe:corp", "invalid"),
        ("spiffe:///a", "invalid"),
        ("https://corp/a", "none"),
        ("xspiffe://corp/a", "none"),
    ];
    for (text, expected) in cases {
        let der = certificate(|params| params.subject_alt_names = vec![uri(text)]);
        let got = match read(der) {
            Ok(peer) if peer.certificate.spiffe_id.as_deref() == Some(text) => "spiffe",
            Ok(peer) if peer.certificate.spiffe_id.is_none() => "none",
            Ok(_) => "another",
            Err(CertificateError::ClientSpiffeId) => "invalid",
            Err(_) => "other error",
        };
        assert_eq!(got, expected, "{text}");
    }
}

#[test]
fn what_is_no_svid_or_has_two_readings_is_refused() {
    use CertificateError::*;
    type Change = fn(&mut CertificateParams);
    // subjectAltName with one name: its tag, and its bytes as they are.
    fn raw_san(params: &mut CertificateParams, tag: u8, name: &[u8]) {
        let mut der = vec![0x30, name.len() as u8 + 2, tag, name.len() as u8];
        der.extend_from_slice(name);
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], der);
        params.custom_extensions.push(extension);
    }
    const DNS: u8 = 0x82;
    const URI: u8 = 0x86;
    let cases: Vec<(&str, Change, Result<(), CertificateError>)> = vec![
        (
            "SVID",
            |p| p.subject_alt_names = vec![uri(SPIFFE_ID)],
            Ok(()),
        ),
        (
            "two SPIFFE IDs",
            |p| p.subject_alt_names = vec![uri(SPIFFE_ID), uri("spiffe://corp/b")],
            Err(ClientUris),
        ),
        (
            "the same twice",
            |p| p.subject_alt_names = vec![uri(SPIFFE_ID), uri(SPIFFE_ID)],
            Err(ClientUris),
        ),
        (
            "another URI",
            |p| p.subject_alt_names = vec![uri("https://a/"), uri(SPIFFE_ID)],
            Err(ClientUris),
        ),
        (
            "two other URIs",
            |p| p.subject_alt_names = vec![uri("https://a/"), uri("https://b/")],
            Ok(()),
        ),
        (
            "a CA",
            |p| {
                p.subject_alt_names = vec![uri(SPIFFE_ID)];
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            },
            Err(ClientUsage),
        ),
        (
            "signs certificates",
            |p| {
                p.subject_alt_names = vec![uri(SPIFFE_ID)];
                p.key_usages.push(Use::KeyCertSign);
            },
            Err(ClientUsage),
        ),
        (
            "signs CRLs",
            |p| {
                p.subject_alt_names = vec![uri(SPIFFE_ID)];
                p.key_usages.push(Use::CrlSign);
            },
            Err(ClientUsage),
        ),
        (
            "no signature",
            |p| {
                p.subject_alt_names = vec![uri(SPIFFE_ID)];
                p.key_usages = vec![Use::KeyEncipherment];
            },
            Err(ClientUsage),
        ),
        (
            "no use stated",
            |p| {
                p.subject_alt_names = vec![uri(SPIFFE_ID)];
                p.key_usages.clear();
            },
            Err(ClientUsage),
        ),
        ("no SVID, no use stated", |p| p.key_usages.clear(), Ok(())),
        (
            "no SVID, a use that isn't to sign",
            |p| p.key_usages = vec![Use::KeyAgreement],
            Err(ClientUsage),
        ),
        ("DNS name", |p| raw_san(p, DNS, b"a.example"), Ok(())),
        (
            "NUL in DNS",
            |p| raw_san(p, DNS, b"a.example\0.b"),
            Err(ClientName),
        ),
        (
            "not ASCII in DNS",
            |p| raw_san(p, DNS, "é.example".as_bytes()),
            Err(ClientName),
        ),
        (
            "not UTF-8 in DNS",
            |p| raw_san(p, DNS, b"a\xff"),
            Err(ClientName),
        ),
        ("empty DNS", |p| raw_san(p, DNS, b""), Err(ClientName)),
        (
            "line feed in URI",
            |p| raw_san(p, URI, b"spiffe://corp/a\n"),
            Err(ClientName),
        ),
        (
            "NUL in URI",
            |p| raw_san(p, URI, b"spiffe://corp/a\0"),
            Err(ClientName),
        ),
        (
            "names twice",
            |p| {
                raw_san(p, DNS, b"a");
                raw_san(p, DNS, b"b");
            },
            Err(ClientSyntax),
        ),
        (
            "names cut off",
            |p| {
                p.custom_extensions.push(CustomExtension::from_oid_content(
                    &[2, 5, 29, 17],
                    vec![0x30, 9, DNS],
                ))
            },
            Err(ClientSyntax),
        ),
        (
            "constraints that can't be read",
            |p| {
                p.subject_alt_names = vec![uri(SPIFFE_ID)];
                p.is_ca = IsCa::NoCa;
                p.custom_extensions.push(CustomExtension::from_oid_content(
                    &[2, 5, 29, 19],
                    vec![0x30, 3, 1],
                ));
            },
            Err(ClientSyntax),
        ),
    ];
    for (name, change, expected) in cases {
        assert_eq!(read(certificate(change)).map(|_| ()), expected, "{name}");
    }
    assert_eq!(PeerCertificate::read(&[]).map(|_| ()), Err(ClientAbsent));
    let mut trailing = certificate(|_| {}).to_vec();
    trailing.push(0);
    assert_eq!(read(trailing.into()).map(|_| ()), Err(ClientSyntax));
}

fn peer() -> PeerCertificate {
    read(certificate(|params| {
        params.subject_alt_names = vec![uri(SPIFFE_ID)];
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 2, 1);
    }))
    .unwrap()
}

#[tokio::test]
async fn a_certificate_alone_is_a_workload_until_it_expires() {
    let identifier = identifier(&identity(vec![]));
    let cache = TokenCache::new(4);
    let peer = peer();
    let asked = async |second: i64| {
        let at = Timestamp::from_second(second).unwrap();
        identifier
            .identify(&cache, &HeaderMap::new(), Some(&peer), at)
            .await
            .map_err(|error| error.code())
    };
    let identified = asked(NOW).await.unwrap().unwrap();
    assert!(!identified.credential);
    let principal = &identified.principal;
    assert_eq!(principal.workload.as_deref(), Some(SPIFFE_ID));
    assert_eq!(principal.cert.as_ref(), Some(&peer.certificate));
    assert_eq!((&principal.provider, &principal.agent), (&None, &None));
    assert_eq!(principal.expires_at, Some(peer.not_after));
    let end = peer.not_after.as_second();
    assert!(asked(end - 1).await.is_ok());
    assert_eq!(asked(end).await.unwrap_err(), "certificate_expired");
    let early = peer.not_before.as_second() - 1;
    assert_eq!(asked(early).await.unwrap_err(), "certificate_not_yet_valid");
}

#[tokio::test]
async fn a_token_and_a_certificate_belong_together_or_may_coexist() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let (own, other) = (peer(), peer());
    let cnf = |peer: &PeerCertificate| json!({"cnf": {"x5t#S256": b64(peer.thumbprint)}});
    let (bound, free) = (
        signer.token(&claims(cnf(&own))),
        signer.token(&claims(json!({}))),
    );
    let cases = [
        (&bound, Some(&own), "ok", "ok"),
        (&bound, Some(&other), "binding_mismatch", "binding_mismatch"),
        (&bound, None, "binding_mismatch", "binding_mismatch"),
        (&free, Some(&own), "not_bound", "ok"),
        (&free, None, "ok", "ok"),
    ];
    // With one cache for all, so that no hit passes a check by.
    for mode in [CertificateAndToken::Bound, CertificateAndToken::Coexist] {
        let mut identity = identity(vec![provider(keys(&[&signer]))]);
        identity.certificate_and_token = mode;
        let identifier = identifier(&identity);
        let cache = TokenCache::new(16);
        for round in 0..2 {
            for (n, (token, peer, if_bound, if_coexist)) in cases.iter().enumerate() {
                let asked = identifier
                    .identify(&cache, &bearing(token), *peer, now())
                    .await;
                let got = match &asked {
                    Ok(_) => "ok",
                    Err(error) => error.code(),
                };
                let expected = if mode == CertificateAndToken::Bound {
                    if_bound
                } else {
                    if_coexist
                };
                assert_eq!(got, *expected, "{mode:?} {n} round {round}");
                if let Ok(Some(identified)) = asked {
                    let cert = identified.principal.cert.as_ref();
                    assert_eq!(cert, peer.map(|peer| &peer.certificate), "{mode:?} {n}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_shorter_life_counts() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let der = certificate(|params| {
        let end = rcgen::date_time_ymd(2027, 1, 15);
        params.not_after = end;
    });
    let peer = read(der).unwrap();
    let at = Timestamp::from_second(peer.not_after.as_second() - 60).unwrap();
    let token = signer.token(&claims_at(
        at.as_second(),
        json!({"cnf": {"x5t#S256": b64(peer.thumbprint)}}),
    ));
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let principal = ask(&identifier, &token, Some(&peer), at).await.unwrap();
    assert_eq!(principal.expires_at, Some(peer.not_after));
    let late = ask(&identifier, &token, Some(&peer), peer.not_after).await;
    assert_eq!(late.unwrap_err(), "certificate_expired");
}
