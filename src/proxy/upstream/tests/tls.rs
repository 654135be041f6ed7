//! TLS towards upstreams: whom we trust, who we are, and which HTTP was agreed on.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    fn issue(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    }
}

/// A server that asks for a client certificate and speaks what ALPN says.
async fn server(authority: &Authority, alpn: &[&str]) -> std::net::SocketAddr {
    let verifier = WebPkiClientVerifier::builder(Arc::new(authority.roots()))
        .build()
        .unwrap();
    let (chain, key) = authority.issue("api.test");
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    raw(move |socket, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(io) = acceptor.accept(socket).await else {
                return;
            };
            let h2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
            let answer = |request: Request<Incoming>| async move {
                let body = format!("{:?}", request.version());
                Response::new(http_body_util::Full::new(bytes::Bytes::from(body)))
            };
            serve(io, h2, answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn tls_verifies_the_server_shows_our_certificate_and_checks_alpn() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let name = Some("api.test");
    let (http1, http2): (&[&str], &[&str]) = (&["http/1.1"], &["h2", "http/1.1"]);
    // trusted authority, name, our certificate's authority, ALPN of client and server, protocol, outcome
    let cases = [
        (
            &ours,
            name,
            Some(&ours),
            http1,
            http2,
            Protocol::Http1,
            "HTTP/1.1",
        ),
        (
            &ours,
            name,
            Some(&ours),
            &["h2"],
            http2,
            Protocol::Http2,
            "HTTP/2.0",
        ),
        (
            &ours,
            name,
            Some(&ours),
            &[],
            http1,
            Protocol::Http1,
            "HTTP/1.1",
        ),
        (
            &theirs,
            name,
            Some(&ours),
            http1,
            http1,
            Protocol::Http1,
            "TLS failed",
        ),
        (
            &ours,
            Some("other.test"),
            Some(&ours),
            http1,
            http1,
            Protocol::Http1,
            "TLS failed",
        ),
        // the address is an IP, which the certificate doesn't bear
        (
            &ours,
            None,
            Some(&ours),
            http1,
            http1,
            Protocol::Http1,
            "TLS failed",
        ),
        (
            &ours,
            name,
            Some(&ours),
            http2,
            http1,
            Protocol::Http2,
            "the server doesn't speak",
        ),
        (
            &ours,
            name,
            Some(&ours),
            http2,
            http2,
            Protocol::Http1,
            "the server doesn't speak",
        ),
        (
            &ours,
            name,
            Some(&theirs),
            http1,
            http1,
            Protocol::Http1,
            "broke",
        ),
        (&ours, name, None, http1, http1, Protocol::Http1, "broke"),
    ];
    for (index, (trusted, name, us, client_alpn, server_alpn, protocol, outcome)) in
        cases.into_iter().enumerate()
    {
        let address = server(&ours, server_alpn).await;
        let builder = ClientConfig::builder().with_root_certificates(trusted.roots());
        let mut client = match us {
            Some(authority) => {
                let (chain, key) = authority.issue("proxy.test");
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        client.alpn_protocols = client_alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut config = config(&[&format!("https://{address}")]);
        config.protocol = protocol;
        config.tls = Some(config::UpstreamTls {
            client: Arc::new(client),
            server_name: name.map(|name| name.try_into().unwrap()),
        });
        let uri = match protocol {
            Protocol::Http1 => "/",
            Protocol::Http2 => "https://api.test/",
        };
        let upstream = Upstream::new(&config);
        assert_eq!(upstream.scheme(), &Scheme::HTTPS);
        match fetch(&upstream, uri).await {
            Ok(text) => assert_eq!(text, outcome, "{index}"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.starts_with(outcome), "{index}: {text}");
                assert_eq!(error.reason(), Reason::UpstreamFailed);
            }
        }
    }
}
