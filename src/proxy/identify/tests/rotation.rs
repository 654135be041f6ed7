//! Keys over time: rotated, unknown, gone, and too old.

use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::json;

use super::fetching::{Server, jwks, ok, plain};
use super::*;
use crate::config::FetchTls;

const STALE: Duration = Duration::from_secs(600);

/// A server whose answer the test can change, and an identifier that fetches from it.
struct Issuing {
    server: Server,
    answer: Arc<Mutex<Vec<u8>>>,
    identifier: Arc<Identifier>,
    heard: Arc<Heard>,
}

impl Issuing {
    async fn start(first: Vec<u8>) -> Issuing {
        let answer = Arc::new(Mutex::new(first));
        let current = Arc::clone(&answer);
        let server = Server::start(move |_, _| Some(current.lock().unwrap().clone())).await;
        let heard = Arc::new(Heard::default());
        let keys = Keys::Url {
            url: server.url("/jwks"),
            refresh: Duration::from_secs(300),
            max_stale: STALE,
            tls: FetchTls {
                client: plain(),
                roots: Arc::new(rustls::RootCertStore::empty()),
            },
        };
        let identifier = Identifier::new(&identity(vec![provider(keys)]), heard.clone());
        Issuing {
            server,
            answer,
            identifier,
            heard,
        }
    }

    fn serves(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
    }

    /// As if the last fetch were long ago.
    fn later(&self) {
        self.identifier.providers[0].keys.forget_pace();
    }

    async fn asked(&self, token: &str) -> &'static str {
        self.asked_at(token, Timestamp::now()).await
    }

    async fn asked_at(&self, token: &str, now: Timestamp) -> &'static str {
        match ask(&self.identifier, token, None, now).await {
            Ok(_) => "ok",
            Err(code) => code,
        }
    }
}

fn fresh(signer: &Signer) -> String {
    signer.token(&claims_at(Timestamp::now().as_second(), json!({})))
}

const BROKEN: &[u8] = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn rotated_keys_are_fetched_once_and_old_ones_end() {
    let (one, two) = (
        Signer::new("k1", Algorithm::ES256),
        Signer::new("k2", Algorithm::ES256),
    );
    let issuing = Issuing::start(ok(jwks(&[&one]))).await;
    assert!(!issuing.identifier.ready());
    assert_eq!(issuing.asked(&fresh(&one)).await, "keys_unavailable");
    issuing.identifier.start().await;
    assert!(issuing.identifier.ready());

    let cache = TokenCache::new(4);
    let old = fresh(&one);
    let cached = async || {
        let now = Timestamp::now();
        match issuing
            .identifier
            .identify(&cache, &bearing(&old), None, now)
            .await
        {
            Ok(_) => "ok",
            Err(error) => error.code(),
        }
    };
    assert_eq!(cached().await, "ok");
    assert_eq!(cached().await, "ok");
    assert_eq!(issuing.heard.hits.load(Ordering::Relaxed), 1);

    issuing.serves(ok(jwks(&[&two])));
    assert_eq!(
        issuing.asked(&fresh(&two)).await,
        "unknown_key",
        "too soon after the first"
    );
    issuing.later();
    assert_eq!(issuing.asked(&fresh(&two)).await, "ok");
    assert_eq!(issuing.server.count(), 2);
    assert_eq!(issuing.heard.changed.load(Ordering::Relaxed), 1);
    assert_eq!(issuing.heard.keys.load(Ordering::Relaxed), 1);
    // What the old key signed is no longer found among verified tokens.
    assert_eq!(cached().await, "unknown_key");
}

#[tokio::test]
async fn a_refresh_with_the_same_keys_changes_nothing() {
    let (one, two) = (
        Signer::new("k1", Algorithm::ES256),
        Signer::new("k2", Algorithm::EdDSA),
    );
    let issuing = Issuing::start(ok(jwks(&[&one, &two]))).await;
    issuing.identifier.start().await;
    let keys = &issuing.identifier.providers[0].keys;
    let before = keys.generation(Timestamp::now());
    issuing.serves(ok(jwks(&[&two, &one])));
    assert!(keys.refetch(Cause::Schedule).await);
    assert_eq!(keys.generation(Timestamp::now()), before);
    assert_eq!(issuing.heard.changed.load(Ordering::Relaxed), 0);
    assert_eq!(issuing.heard.refreshed.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_one_fetch() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let issuing = Issuing::start(ok(jwks(&[&signer]))).await;
    issuing.identifier.start().await;
    issuing.later();
    let payload = claims_at(Timestamp::now().as_second(), json!({}));
    let flood: Vec<_> = (0..50)
        .map(|n| {
            let header = format!(r#"{{"alg":"ES256","kid":"evil{n}","typ":"jwt"}}"#);
            let token = signer.sign(&header, &payload);
            let identifier = Arc::clone(&issuing.identifier);
            tokio::spawn(async move { ask(&identifier, &token, None, Timestamp::now()).await })
        })
        .collect();
    for asked in flood {
        assert_eq!(asked.await.unwrap().unwrap_err(), "unknown_key");
    }
    assert_eq!(issuing.server.count(), 2);
}

#[tokio::test]
async fn one_who_leaves_ends_nobody_elses_wait() {
    let (one, two) = (
        Signer::new("k1", Algorithm::ES256),
        Signer::new("k2", Algorithm::ES256),
    );
    let issuing = Issuing::start(ok(jwks(&[&one]))).await;
    issuing.identifier.start().await;
    issuing.later();
    issuing.serves(ok(jwks(&[&one, &two])));
    let token = fresh(&two);
    {
        let mut leaves = Box::pin(issuing.asked(&token));
        let poll = |cx: &mut Context<'_>| Poll::Ready(leaves.as_mut().poll(cx).is_pending());
        assert!(std::future::poll_fn(poll).await);
    }
    assert_eq!(issuing.asked(&token).await, "ok");
    assert_eq!(issuing.server.count(), 2);
}

#[tokio::test]
async fn the_last_good_keys_serve_until_they_are_stale() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let issuing = Issuing::start(ok(jwks(&[&signer]))).await;
    issuing.identifier.start().await;
    issuing.serves(BROKEN.to_vec());
    let keys = &issuing.identifier.providers[0].keys;
    assert!(!keys.refetch(Cause::Schedule).await);
    assert_eq!(issuing.heard.failed.load(Ordering::Relaxed), 1);
    assert_eq!(issuing.asked(&fresh(&signer)).await, "ok");

    // A token of after they became stale.
    let after = Timestamp::now().checked_add(STALE).unwrap();
    let late = signer.token(&claims_at(after.as_second(), json!({})));
    assert_eq!(issuing.asked_at(&late, after).await, "keys_unavailable");

    // And one that was verified before, with all its life before it.
    let cache = TokenCache::new(4);
    let long = json!({"exp": after.as_second() + 600});
    let long = signer.token(&claims_at(Timestamp::now().as_second(), long));
    let cached = async |now| {
        issuing
            .identifier
            .identify(&cache, &bearing(&long), None, now)
            .await
    };
    assert!(cached(Timestamp::now()).await.is_ok());
    assert_eq!(
        cached(after).await.unwrap_err().reason(),
        crate::policy::Reason::Unavailable
    );
    // It recovers with the issuer.
    issuing.serves(ok(jwks(&[&signer])));
    assert!(keys.refetch(Cause::Schedule).await);
    assert!(cached(Timestamp::now()).await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_while_the_issuer_is_down_is_our_trouble() {
    let (one, two) = (
        Signer::new("k1", Algorithm::ES256),
        Signer::new("k2", Algorithm::ES256),
    );
    let issuing = Issuing::start(ok(jwks(&[&one]))).await;
    issuing.identifier.start().await;
    issuing.serves(BROKEN.to_vec());
    issuing.later();
    assert_eq!(issuing.asked(&fresh(&two)).await, "keys_unavailable");
    assert_eq!(issuing.asked(&fresh(&two)).await, "keys_unavailable");
    assert_eq!(issuing.server.count(), 2);
    assert_eq!(issuing.asked(&fresh(&one)).await, "ok");
}

#[tokio::test]
async fn what_wasnt_there_at_the_start_is_fetched_later() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let issuing = Issuing::start(BROKEN.to_vec()).await;
    issuing.identifier.start().await;
    assert!(!issuing.identifier.ready());
    assert_eq!(issuing.asked(&fresh(&signer)).await, "keys_unavailable");
    issuing.serves(ok(jwks(&[&signer])));
    // The background does this after a second; the test doesn't wait for it.
    issuing.identifier.providers[0]
        .keys
        .refetch(Cause::Schedule)
        .await;
    assert!(issuing.identifier.ready());
    assert_eq!(issuing.asked(&fresh(&signer)).await, "ok");
}

#[test]
fn a_fetch_that_dies_with_its_worker_blocks_nobody() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (main, worker) = (runtime(), runtime());
    let one = Signer::new("k1", Algorithm::ES256);
    let two = Signer::new("k2", Algorithm::ES256);
    let issuing = main.block_on(async {
        let issuing = Issuing::start(ok(jwks(&[&one]))).await;
        issuing.identifier.start().await;
        issuing
    });
    issuing.later();
    issuing.serves(ok(jwks(&[&one, &two])));
    worker.block_on(async {
        let keys = &issuing.identifier.providers[0].keys;
        let mut refetch = Box::pin(keys.refetch(Cause::UnknownKey));
        let poll = |cx: &mut Context<'_>| Poll::Ready(refetch.as_mut().poll(cx).is_pending());
        assert!(std::future::poll_fn(poll).await);
    });
    drop(worker);
    issuing.later();
    let asked = main.block_on(async { issuing.asked(&fresh(&two)).await });
    assert_eq!(asked, "ok");
}

#[tokio::test]
async fn a_changed_configuration_keeps_the_keys_of_what_stays() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let issuing = Issuing::start(ok(jwks(&[&signer]))).await;
    issuing.identifier.start().await;
    let same = issuing.identifier.renewed(&identity(vec![
        issuing.identifier.providers[0].config.clone(),
    ]));
    assert!(Arc::ptr_eq(&same, &issuing.identifier), "nothing changed");

    // From now on the issuer is away.
    issuing.serves(BROKEN.to_vec());
    let token = fresh(&signer);
    let changed = |change: &dyn Fn(&mut Provider)| {
        let mut provider = issuing.identifier.providers[0].config.clone();
        change(&mut provider);
        issuing.identifier.renewed(&identity(vec![provider]))
    };
    type Change<'c> = &'c dyn Fn(&mut Provider);
    let cases: [(&str, Change<'_>, _); 5] = [
        ("agents", &|p| p.agents.push("other/*".into()), "ok"),
        (
            "agents",
            &|p| p.agents = vec!["other/*".into()],
            "agent_not_allowed",
        ),
        (
            "audience",
            &|p| p.audiences = vec!["other".into()],
            "wrong_audience",
        ),
        ("leeway", &|p| p.leeway = Duration::ZERO, "ok"),
        ("name", &|p| p.name = "other".into(), "keys_unavailable"),
    ];
    for (what, change, expected) in cases {
        let renewed = changed(change);
        renewed.start().await;
        let came = match ask(&renewed, &token, None, Timestamp::now()).await {
            Ok(_) => "ok",
            Err(code) => code,
        };
        assert_eq!(came, expected, "{what}");
    }
    let elsewhere = changed(&|provider| {
        let Keys::Url { url, .. } = &mut provider.keys else {
            panic!("the keys are fetched");
        };
        *url = issuing.server.url("/elsewhere");
    });
    elsewhere.start().await;
    let came = ask(&elsewhere, &token, None, Timestamp::now()).await;
    assert_eq!(
        came.unwrap_err(),
        "keys_unavailable",
        "another URL, other keys"
    );
}
