//! A token that was verified before is only as good as its times, its keys and its certificate.

use serde_json::json;

use super::*;

async fn asked(
    identifier: &Identifier,
    cache: &TokenCache,
    token: &str,
    second: i64,
) -> &'static str {
    let at = Timestamp::from_second(second).unwrap();
    match identifier.identify(cache, &bearing(token), None, at).await {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn a_hit_still_looks_at_the_clock() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let heard = Arc::new(Heard::default());
    let identity = identity(vec![provider(keys(&[&signer]))]);
    let identifier = Identifier::new(&identity, heard.clone());
    let cache = TokenCache::new(4);
    let token = signer.token(&claims(json!({"nbf": NOW})));
    let cases = [
        (NOW, "ok", 0),
        (NOW + 1, "ok", 1),
        (NOW + 329, "ok", 2),
        (NOW + 330, "token_expired", 2),
        (NOW - 30, "ok", 3),
        (NOW - 31, "token_not_yet_valid", 3),
    ];
    for (second, expected, hits) in cases {
        assert_eq!(
            asked(&identifier, &cache, &token, second).await,
            expected,
            "{second}"
        );
        assert_eq!(heard.hits.load(Ordering::Relaxed), hits, "{second}");
    }
    assert_eq!(heard.misses.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn only_verified_tokens_enter_and_the_whole_text_counts() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let identifier = identifier(&identity(vec![provider(keys(&[&signer]))]));
    let cache = TokenCache::new(4);
    let token = signer.token(&claims(json!({})));
    assert_eq!(asked(&identifier, &cache, &token, NOW).await, "ok");
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (cut, _) = token.split_at(token.len() - 2);
    let forged = format!("{signed}.{}", b64([1; 64]));
    assert_eq!(
        asked(&identifier, &cache, &forged, NOW).await,
        "bad_signature"
    );
    assert_eq!(asked(&identifier, &cache, cut, NOW).await, "bad_signature");
    assert_eq!(cache.len(), 1);
}

#[tokio::test]
async fn the_cache_is_bounded_and_keeps_what_is_used() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let heard = Arc::new(Heard::default());
    let identity = identity(vec![provider(keys(&[&signer]))]);
    let identifier = Identifier::new(&identity, heard.clone());
    let cache = TokenCache::new(4);
    let token = |n: i64| signer.token(&claims(json!({"jti": format!("t{n}")})));
    let favourite = token(0);
    assert_eq!(asked(&identifier, &cache, &favourite, NOW).await, "ok");
    for n in 1..40 {
        assert_eq!(asked(&identifier, &cache, &token(n), NOW).await, "ok");
        assert_eq!(asked(&identifier, &cache, &favourite, NOW).await, "ok");
        assert!(cache.len() <= 4);
    }
    assert_eq!(heard.hits.load(Ordering::Relaxed), 39);

    let none = TokenCache::new(0);
    assert_eq!(asked(&identifier, &none, &favourite, NOW).await, "ok");
    assert!(none.is_empty());
}
