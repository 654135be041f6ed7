//! An issuer that is away, slow, wrong or lying about its keys, over the whole process.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::files::Authority;
use crate::program::until;
use crate::server::{Seen, Wire, serve};
use crate::world::{Setup, World, seconds};

/// A key and what it signs.
pub struct Signer {
    id: String,
    pkcs8: Vec<u8>,
    pub jwk: Value,
}

impl Signer {
    pub fn new(id: &str) -> Signer {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        Signer {
            jwk: json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }),
            id: id.to_owned(),
            pkcs8: pkcs8.as_ref().to_vec(),
        }
    }

    /// A token of this issuer for the next five minutes, of the agent `agent/{issuer}/7`.
    pub fn token(&self, issuer: &str) -> String {
        let now = seconds();
        let agent = format!("agent/{issuer}/7");
        let claims = json!({ "iss": issuer, "aud": "portcullis", "sub": agent, "iat": now - 5, "exp": now + 300 });
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let key = jsonwebtoken::EncodingKey::from_ec_der(&self.pkcs8);
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

pub fn jwks(keys: &[&Signer]) -> String {
    let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
    json!({ "keys": keys }).to_string()
}

pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A provider that fetches its keys here.
pub fn provider(name: &str, url: &str, more: &str) -> String {
    format!(
        "    {name}: {{ issuer: {name}, audience: portcullis, algorithms: [ES256], keys: {{ url: \"{url}\" {more} }}, agents: [\"agent/{name}/**\"] }}\n"
    )
}

/// A way in which an issuer answers wrongly, given a good set and the address of another server that has one.
type Wrong = fn(&mut Wire, good: &str, elsewhere: SocketAddr) -> io::Result<()>;

const WRONG: &[(&str, Wrong)] = &[
    ("html", |wire, _, _| wire.write(ok("<html>Welcome!</html>"))),
    ("error", |wire, good, _| {
        wire.write(ok(good).replace("200 OK", "500 Internal Server Error"))
    }),
    ("created", |wire, good, _| {
        wire.write(ok(good).replace("200 OK", "201 Created"))
    }),
    ("no-json", |wire, good, _| wire.write(ok(&good[1..]))),
    ("no-set", |wire, _, _| wire.write(ok(r#"{"jwks": []}"#))),
    ("no-keys", |wire, _, _| wire.write(ok(r#"{"keys": []}"#))),
    ("other-keys", |wire, _, _| {
        wire.write(ok(r#"{"keys": [{"kty":"oct","k":"c2VjcmV0","kid":"k1"},{"kty":"OKP","crv":"X25519","x":"AAAA","kid":"k1"},{"kty":"new","kid":"k1"}]}"#))
    }),
    ("private-keys", |wire, good, _| {
        wire.write(ok(&good.replace(r#""kty""#, r#""d":"AAAA","kty""#)))
    }),
    ("off-the-curve", |wire, good, _| {
        let mut set: Value = serde_json::from_str(good).unwrap();
        let x = set["keys"][0]["x"].clone();
        set["keys"][0]["y"] = x;
        wire.write(ok(&set.to_string()))
    }),
    ("twice-keys", |wire, good, _| {
        wire.write(ok(&good.replace(r#"{"keys""#, r#"{"keys":[],"keys""#)))
    }),
    ("huge", |wire, good, _| {
        let blanks = " ".repeat(1 << 20);
        wire.write(ok(&format!("{good}{blanks}")))
    }),
    ("endless", |wire, _, _| {
        wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        while wire.write("1000\r\n").is_ok() {
            wire.write([b' '; 4096])?;
            wire.write("\r\n")?;
        }
        Ok(())
    }),
    ("deep", |wire, _, _| {
        let deep = 100_000;
        wire.write(ok(&format!(
            "{{\"keys\":{}{}}}",
            "[".repeat(deep),
            "]".repeat(deep)
        )))
    }),
    ("many", |wire, good, _| {
        let key = good
            .trim_start_matches(r#"{"keys":["#)
            .trim_end_matches("]}");
        let keys = vec![key; 300].join(",");
        wire.write(ok(&format!(r#"{{"keys":[{keys}]}}"#)))
    }),
    ("short", |wire, good, _| {
        wire.write(&ok(good)[..ok(good).len() - 5])
    }),
    ("hangs", |wire, _, _| wire.hang()),
    ("hangs-within", |wire, good, _| {
        wire.write(&ok(good)[..ok(good).len() - 5])?;
        wire.hang()
    }),
    ("trickles", |wire, good, _| {
        for byte in ok(good).bytes() {
            std::thread::sleep(Duration::from_millis(50));
            wire.write([byte])?;
        }
        Ok(())
    }),
    ("closes", |_, _, _| Ok(())),
    ("resets", |wire, _, _| wire.reset()),
    ("redirects", |wire, good, elsewhere| {
        let head = format!("302 Found\r\nlocation: http://{elsewhere}/jwks");
        wire.write(ok(good).replace("200 OK", &head))
    }),
    ("redirects-for-good", |wire, _, elsewhere| {
        wire.write(format!("HTTP/1.1 308 Permanent Redirect\r\nlocation: http://{elsewhere}/jwks\r\ncontent-length: 0\r\n\r\n"))
    }),
    ("encoded", |wire, good, _| {
        wire.write(ok(good).replace("200 OK", "200 OK\r\ncontent-encoding: gzip"))
    }),
    ("interim", |wire, _, _| {
        while wire.write("HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }),
    ("babbles", |wire, _, _| {
        wire.write("220 mail.example ESMTP\r\n\r\n")
    }),
];

/// Each of them at the start: no token counts, 503 says whose fault that is, and everything else goes on. When the
/// issuer is well again, so are its tokens, without a reload.
#[test]
fn an_issuer_that_is_wrong_makes_its_tokens_unavailable_until_it_is_right() {
    let signer = Signer::new("k1");
    let good = jwks(&[&signer]);
    let elsewhere = Seen::default();
    let other = serve(&elsewhere, {
        let good = good.clone();
        move |_, wire| {
            wire.head()?;
            wire.write(ok(&good))
        }
    });
    let well = Arc::new(AtomicBool::new(false));
    let mut providers = String::new();
    for (name, wrong) in WRONG {
        let (good, well) = (good.clone(), well.clone());
        let at = serve(&Seen::default(), move |_, wire| {
            wire.head()?;
            if well.load(Ordering::Relaxed) {
                wire.write(ok(&good))
            } else {
                wrong(wire, &good, other)
            }
        });
        providers += &provider(name, &format!("http://{at}/jwks"), "");
    }
    let world = World::of(&Setup {
        providers: &providers,
        ..Setup::default()
    });
    let program = world.start();
    for (name, _) in WRONG {
        let answer = world.bearing(&program, &signer.token(name));
        assert_eq!(
            (answer.status, &*answer.reason()),
            (503, "unavailable"),
            "{name}: {answer:?}"
        );
    }
    assert_eq!(world.get(&program, "/ok").status, 200);
    well.store(true, Ordering::Relaxed);
    for (name, _) in WRONG {
        until(name, || {
            world.bearing(&program, &signer.token(name)).status == 200
        });
    }
    assert!(
        elsewhere.lock().unwrap().is_empty(),
        "a redirect was followed"
    );
    world.holds(program);
}

/// Two keys of one id: a token that names it could be either's, and is nobody's.
#[test]
fn two_keys_of_one_name_are_no_key() {
    let (one, two) = (Signer::new("k1"), Signer::new("k1"));
    let set = jwks(&[&one, &two]);
    let at = serve(&Seen::default(), move |_, wire| {
        wire.head()?;
        wire.write(ok(&set))
    });
    let world = World::of(&Setup {
        providers: &provider("twins", &format!("http://{at}/"), ""),
        ..Setup::default()
    });
    let program = world.start();
    for signer in [&one, &two] {
        let answer = world.bearing(&program, &signer.token("twins"));
        assert_eq!((answer.status, &*answer.reason()), (401, "invalid_token"));
    }
    world.holds(program);
}

/// Nobody at the start; then the issuer comes, goes, and what was had serves until it is too old.
#[test]
fn the_last_good_keys_serve_until_they_are_too_old() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let world = World::of(&Setup {
        providers: &provider(
            "coming",
            &format!("http://{at}/"),
            ", refresh: 10s, max_stale: 10s",
        ),
        ..Setup::default()
    });
    let program = world.start();
    let signer = Signer::new("k1");
    let asked = || world.bearing(&program, &signer.token("coming"));
    assert_eq!(asked().status, 503);
    // 0: it is well; 1: it is away.
    let away = Arc::new(AtomicBool::new(false));
    let listener = std::net::TcpListener::bind(at).unwrap();
    crate::server::serve_on(listener, &Seen::default(), {
        let (away, set) = (away.clone(), jwks(&[&signer]));
        move |_, wire| {
            wire.head()?;
            match away.load(Ordering::Relaxed) {
                true => wire.reset(),
                false => wire.write(ok(&set)),
            }
        }
    });
    until("keys", || asked().status == 200);
    away.store(true, Ordering::Relaxed);
    let gone = Instant::now();
    let mut served = 0;
    until("too old", || {
        let answer = asked();
        served += usize::from(answer.status == 200);
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        answer.status == 503
    });
    assert!(served > 0, "the last good ones served");
    // One refresh may have come just before it went.
    assert!(
        gone.elapsed() < Duration::from_secs(25),
        "{:?}",
        gone.elapsed()
    );
    assert_eq!(world.get(&program, "/ok").status, 200);
    away.store(false, Ordering::Relaxed);
    until("keys again", || asked().status == 200);
    world.holds(program);
}

/// Keys change under load: tokens of keys that are in both sets are never refused, those of the new one are taken, and
/// those of the old one end.
#[test]
fn a_rotation_under_load_refuses_nobody() {
    let (old, kept, new) = (Signer::new("old"), Signer::new("kept"), Signer::new("new"));
    let set = Arc::new(Mutex::new(jwks(&[&old, &kept])));
    let fetches = Seen::default();
    let at = serve(&fetches, {
        let set = set.clone();
        move |_, wire| {
            wire.head()?;
            let body = ok(&set.lock().unwrap());
            wire.write(body)
        }
    });
    let world = World::of(&Setup {
        providers: &provider("turning", &format!("http://{at}/"), ", refresh: 10s"),
        ..Setup::default()
    });
    let program = world.start();
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = crate::ends::Stop(&flag);
        let steady = scope.spawn(|| {
            let mut asked = 0;
            while !flag.load(Ordering::Relaxed) {
                // Each a new one, so that none is known already.
                let answer = world.bearing(&program, &kept.token("turning"));
                assert_eq!(answer.status, 200, "{answer:?}");
                asked += 1;
            }
            asked
        });
        assert_eq!(world.bearing(&program, &old.token("turning")).status, 200);
        *set.lock().unwrap() = jwks(&[&kept, &new]);
        // At most one fetch in ten seconds for a key that isn't known.
        until("the new key", || {
            let answer = world.bearing(&program, &new.token("turning"));
            assert!(matches!(answer.status, 200 | 401), "{answer:?}");
            answer.status == 200
        });
        let answer = world.bearing(&program, &old.token("turning"));
        assert_eq!((answer.status, &*answer.reason()), (401, "invalid_token"));
        drop(stop);
        assert!(steady.join().unwrap() > 5);
    });
    let fetched = fetches.lock().unwrap().len();
    assert!(fetched <= 5, "{fetched} fetches");
    let records = world.holds(program);
    let changes = records
        .iter()
        .filter(|r| r["event"] == "key_change")
        .count();
    assert_eq!(changes, 1);
}

/// TLS that doesn't vouch for the issuer gives no keys; TLS that does gives them.
#[test]
fn an_issuer_is_who_its_certificate_says() {
    let signer = Signer::new("k1");
    let (authority, other) = (Authority::new(), Authority::new());
    let good = jwks(&[&signer]);
    let now = seconds();
    let mut providers = String::new();
    let cases = [
        ("right", authority.issue("ip:127.0.0.1", now + 3600), 200),
        ("strange", other.issue("ip:127.0.0.1", now + 3600), 503),
        (
            "misnamed",
            authority.issue("dns:keys.example.com", now + 3600),
            503,
        ),
        ("expired", authority.issue("ip:127.0.0.1", now - 10), 503),
    ];
    for (name, issued, _) in &cases {
        let config = issued.server();
        let good = good.clone();
        let at = serve(&Seen::default(), move |_, wire| {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, wire.stream.try_clone()?);
            let mut some = [0; 4096];
            io::Read::read(&mut stream, &mut some)?;
            io::Write::write_all(&mut stream, ok(&good).as_bytes())?;
            stream.conn.send_close_notify();
            io::Write::flush(&mut stream)
        });
        providers += &provider(name, &format!("https://{at}/"), ", ca: ca.pem");
    }
    let plain = serve(&Seen::default(), move |_, wire| wire.write(ok(&good)));
    providers += &provider("plain", &format!("https://{plain}/"), ", ca: ca.pem");
    let silent = serve(&Seen::default(), |_, wire| wire.hang());
    providers += &provider("silent", &format!("https://{silent}/"), ", ca: ca.pem");
    let world = World::of(&Setup {
        providers: &providers,
        files: &[("ca.pem", authority.pem())],
        ..Setup::default()
    });
    let program = world.start();
    let expected = cases.iter().map(|(name, _, status)| (*name, *status));
    for (name, status) in expected.chain([("plain", 503), ("silent", 503)]) {
        let answer = world.bearing(&program, &signer.token(name));
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
    world.holds(program);
}
