//! Authorities of several kinds, and client certificates made to a case's wishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose as Use, NameConstraints, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::crypto::aws_lc_rs as crypto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, NamedGroup, RootCertStore, SupportedProtocolVersion};

use super::data::Leaf;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// Every authority by name, and every certificate that cases name.
pub struct Authorities {
    all: BTreeMap<&'static str, Ca>,
    pub named: BTreeMap<&'static str, Client>,
    /// The gateway's own certificate and key, PEM.
    pub server: (String, String),
}

/// A client's certificate, its chain, and the key that it signs with.
#[derive(Clone, Debug)]
pub struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Client {
    /// What `x5t#S256` says of it.
    pub fn thumbprint(&self) -> String {
        B64.encode(digest(&SHA256, &self.chain[0]))
    }
}

impl Authorities {
    pub fn new() -> Authorities {
        let mut all = BTreeMap::new();
        all.insert("server", root("server"));
        all.insert("clients", root("clients"));
        // The same name, another key.
        all.insert("stranger", root("clients"));
        let mut below = |name, above: &str, change: fn(&mut CertificateParams)| {
            let mut params = authority(name);
            change(&mut params);
            let key = KeyPair::generate().unwrap();
            let ca = CertifiedIssuer::signed_by(params, key, &all[above]).unwrap();
            all.insert(name, ca);
        };
        below("between", "clients", |_| {});
        below("below", "between", |_| {});
        below("last", "clients", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
        below("too_deep", "last", |_| {});
        below("no_authority", "clients", |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![Use::DigitalSignature];
        });
        below("unstated", "clients", |params| params.is_ca = IsCa::NoCa);
        below("may_not_sign", "clients", |params| {
            params.key_usages = vec![Use::CrlSign];
        });
        below("past", "clients", |params| {
            params.not_after = date_time_ymd(2021, 1, 1);
        });
        below("servers_only", "clients", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        below("dns_only", "clients", |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("corp.example".into())],
                excluded_subtrees: Vec::new(),
            });
        });
        below("uri_only", "clients", |params| {
            // permittedSubtrees with one uniformResourceIdentifier, `corp`.
            let content = b"\x30\x0a\xa0\x08\x30\x06\x86\x04corp".to_vec();
            let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        });
        let mut made = Authorities {
            all,
            named: BTreeMap::new(),
            server: (String::new(), String::new()),
        };
        let server = made.leaf(&Leaf {
            names: vec!["dns:api.example.com".into(), "dns:other.example.com".into()],
            by: "server".into(),
            extended: vec!["server".into()],
            ..Leaf::default()
        });
        made.server = (pem("CERTIFICATE", &server.chain[0]), {
            let PrivateKeyDer::Pkcs8(key) = &*server.key else {
                panic!("not PKCS #8");
            };
            pem("PRIVATE KEY", key.secret_pkcs8_der())
        });
        let agent = |name: &str, serial| Leaf {
            names: vec![format!("uri:spiffe://corp/agent/{name}")],
            serial,
            ..Leaf::default()
        };
        for (name, leaf) in [
            ("own", agent("7", 7)),
            ("other", agent("8", 8)),
            // Of the same agent, with another key.
            ("renewed", agent("7", 9)),
        ] {
            let client = made.leaf(&leaf);
            made.named.insert(name, client);
        }
        made
    }

    pub fn pem(&self, name: &str) -> String {
        self.all[name].pem()
    }

    /// A revocation list of this authority.
    pub fn crl(&self, name: &str, revoked: &[u64]) -> String {
        self.crl_until(name, revoked, FAR)
    }

    /// One that is past its time at this second.
    pub fn crl_until(&self, name: &str, revoked: &[u64], end: u64) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(end),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.all[name]).unwrap().pem().unwrap()
    }

    /// A certificate as the case wants it.
    pub fn leaf(&self, leaf: &Leaf) -> Client {
        let params = params(leaf);
        let key = KeyPair::generate().unwrap();
        let certificate = match &*leaf.by {
            "itself" => params.self_signed(&key),
            by => params.signed_by(&key, &self.all[by]),
        };
        let mut chain = vec![certificate.unwrap().der().clone()];
        chain.extend(
            leaf.above
                .iter()
                .map(|name| self.all[&**name].der().clone()),
        );
        let key = match leaf.stolen {
            true => KeyPair::generate().unwrap(),
            false => key,
        };
        Client {
            chain,
            key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
        }
    }

    /// A client of an authority between, each of which ends at its second.
    pub fn short_lived(&self, authority_end: u64, end: u64) -> Client {
        let at = |second| date_time_ymd(1970, 1, 1) + Duration::from_secs(second);
        let mut above = authority("short-lived");
        above.not_after = at(authority_end);
        let key = KeyPair::generate().unwrap();
        let above = CertifiedIssuer::signed_by(above, key, &self.all["clients"]).unwrap();
        let mut own = params(&Leaf::default());
        own.not_after = at(end);
        let key = KeyPair::generate().unwrap();
        let own = own.signed_by(&key, &above).unwrap();
        Client {
            chain: vec![own.der().clone(), above.der().clone()],
            key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
        }
    }

    /// A client that trusts the gateway, and remembers sessions whatever the name it asked for.
    pub fn client(&self, own: Option<&Client>, tls: &str) -> Arc<ClientConfig> {
        let versions: &[&SupportedProtocolVersion] = match tls {
            "1.2" => &[&rustls::version::TLS12],
            "1.3" => &[&rustls::version::TLS13],
            unknown => panic!("no TLS {unknown}"),
        };
        let mut roots = RootCertStore::empty();
        roots.add(self.all["server"].der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                // Nothing is checked on this side.
                let key = crypto::sign::any_supported_type(&own.key).unwrap();
                let certified = CertifiedKey::new(own.chain.clone(), key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        let sessions = Arc::new(OneName(ClientSessionMemoryCache::new(8)));
        config.resumption = Resumption::store(sessions);
        Arc::new(config)
    }
}

/// The year 2090.
pub const FAR: u64 = 3_786_912_000;

fn root(name: &str) -> Ca {
    CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![Use::KeyCertSign, Use::CrlSign];
    params
}

fn params(leaf: &Leaf) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "a client");
    let name = |name: &String| {
        let (kind, value) = name.split_once(':').unwrap();
        let value = match value.split_once("{long:") {
            Some((before, rest)) => {
                let (count, after) = rest.split_once('}').unwrap();
                format!("{before}{}{after}", "a".repeat(count.parse().unwrap()))
            }
            None => value.to_owned(),
        };
        let value = Ia5String::try_from(value).unwrap();
        match kind {
            "dns" => SanType::DnsName(value),
            "uri" => SanType::URI(value),
            "email" => SanType::Rfc822Name(value),
            unknown => panic!("no kind {unknown}"),
        }
    };
    params.subject_alt_names = leaf.names.iter().map(name).collect();
    let usage = |usage: &String| match &**usage {
        "digital_signature" => Use::DigitalSignature,
        "key_agreement" => Use::KeyAgreement,
        "cert_sign" => Use::KeyCertSign,
        "crl_sign" => Use::CrlSign,
        unknown => panic!("no usage {unknown}"),
    };
    params.key_usages = leaf.usage.iter().map(usage).collect();
    let extended = |usage: &String| match &**usage {
        "client" => ExtendedKeyUsagePurpose::ClientAuth,
        "server" => ExtendedKeyUsagePurpose::ServerAuth,
        "any" => ExtendedKeyUsagePurpose::Any,
        unknown => panic!("no usage {unknown}"),
    };
    params.extended_key_usages = leaf.extended.iter().map(extended).collect();
    params.not_before = date_time_ymd(leaf.from, 1, 1);
    params.not_after = date_time_ymd(leaf.until, 1, 1);
    params.serial_number = Some(SerialNumber::from(leaf.serial));
    if leaf.ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    for raw in &leaf.raw {
        let (id, content) = raw.split_once(' ').unwrap();
        let (critical, id) = match id.strip_prefix('!') {
            Some(id) => (true, id),
            None => (false, id),
        };
        let id: Vec<u64> = id.split('.').map(|n| n.parse().unwrap()).collect();
        let byte = |at: usize| u8::from_str_radix(&content[at..at + 2], 16).unwrap();
        let content = (0..content.len()).step_by(2).map(byte).collect();
        let mut extension = CustomExtension::from_oid_content(&id, content);
        extension.set_criticality(critical);
        params.custom_extensions.push(extension);
    }
    params
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

/// Sessions that are offered to every server, as only an attacker's client does.
#[derive(Debug)]
struct OneName(ClientSessionMemoryCache);

fn one() -> ServerName<'static> {
    ServerName::try_from("one.example").unwrap()
}

impl ClientSessionStore for OneName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one())
    }
    fn set_tls12_session(
        &self,
        _: ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(one(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&one())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one());
    }
    fn insert_tls13_ticket(
        &self,
        _: ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(one(), value);
    }
    fn take_tls13_ticket(
        &self,
        _: &ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one())
    }
}
