//! A receiver behind TLS, as a configuration names it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::log::Log;
use super::receiver::{Receiver, Reply};
use super::{audit, start};

/// An authority's certificate (PEM), and TLS with a certificate of its for these names.
fn authority(names: &[&str]) -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    (authority.pem(), Arc::new(tls))
}

#[test]
fn records_go_to_a_receiver_that_the_roots_vouch_for() {
    let (pem, tls) = authority(&["localhost", "127.0.0.1"]);
    let receiver = Receiver::behind(Some(tls), |_| Reply::Take);
    for host in ["localhost", "127.0.0.1"] {
        let mut log = Log::new();
        log.denials(2);
        std::fs::write(log.path.with_file_name("ca.pem"), &pem).unwrap();
        let port = receiver.address.port();
        let endpoint = format!("https://{host}:{port}");
        let before = receiver.until("requests", |_| true).len();
        let running = start(&audit(
            &log,
            &format!("{{ endpoint: '{endpoint}', ca: ca.pem, every: 10ms }}"),
        ));
        receiver.until("a request", |taken| taken.len() > before);
        running.finish();
    }
}

#[test]
fn nothing_goes_to_one_that_they_do_not() {
    let (pem, _) = authority(&["localhost"]);
    let (other_pem, other) = authority(&["localhost"]);
    let (named_pem, named) = authority(&["other.example"]);
    for (pem, tls) in [(&pem, other), (&named_pem, named)] {
        let receiver = Receiver::behind(Some(tls), |_| Reply::Take);
        let mut log = Log::new();
        log.denials(2);
        std::fs::write(log.path.with_file_name("ca.pem"), pem).unwrap();
        let endpoint = format!("https://localhost:{}", receiver.address.port());
        let running = start(&audit(
            &log,
            &format!("{{ endpoint: '{endpoint}', ca: ca.pem, every: 10ms }}"),
        ));
        running.counts(r#"portcullis_ship_failures_total{cause="tls"} 2"#);
        running.kill();
        assert!(receiver.until("nothing", |_| true).is_empty());
    }
    assert_ne!(pem, other_pem);
}

/// A receiver that speaks no TLS is none, and the credential isn't sent to it.
#[test]
fn nothing_goes_out_in_the_clear() {
    let (pem, _) = authority(&["localhost"]);
    let receiver = Receiver::taking();
    let mut log = Log::new();
    log.denials(2);
    std::fs::write(log.path.with_file_name("ca.pem"), pem).unwrap();
    let endpoint = format!("https://localhost:{}", receiver.address.port());
    let running = start(&audit(
        &log,
        &format!("{{ endpoint: '{endpoint}', ca: ca.pem, every: 10ms }}"),
    ));
    running.counts(r#"portcullis_ship_failures_total{cause="tls"} 1"#);
    running.kill();
    assert!(receiver.until("nothing", |_| true).is_empty());
}
