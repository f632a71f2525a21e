//! What is no launch token of this app gets 401, costs no call to GitHub, and learns nothing.

use jwt_simple::prelude::*;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::support::{App, GATEWAY_SECRET, REPOSITORY, WEBHOOK_SECRET, json};

#[tokio::test(flavor = "multi_thread")]
async fn none_and_garbage_get_401_with_a_challenge() {
    let app = App::start().await;
    for authorization in
        [None, Some(""), Some("Bearer"), Some("Bearer "), Some("garbage"), Some("a.b.c"), Some("Basic eDp5")]
    {
        let response = app.redeem(authorization).await;
        assert!(response.headers().contains_key("www-authenticate"), "{authorization:?}");
        assert_eq!(json(response).await.0, 401, "{authorization:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_get_401_and_cost_no_call() {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    let token = start["launcherToken"].as_str().unwrap();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let kid = Token::decode_metadata(token).unwrap().key_id().unwrap().to_owned();
    let base64 = |text: &str| Base64UrlSafeNoPadding::encode_to_string(text).unwrap();
    let none = base64(r#"{"alg":"none","typ":"JWT"}"#);
    let none_with_kid = base64(&format!(r#"{{"alg":"none","typ":"JWT","kid":"{kid}"}}"#));
    let other_key = HS256Key::generate().with_key_id(&kid);
    let forged = other_key.authenticate(Claims::create(Duration::from_hours(1)).with_issuer("gha-slurm")).unwrap();
    let rs256 = RS256KeyPair::generate(2048).unwrap().with_key_id(&kid);
    let switched = rs256.sign(Claims::create(Duration::from_hours(1)).with_issuer("gha-slurm")).unwrap();
    for bad in [
        format!("{none}.{claims}."),
        format!("{none_with_kid}.{claims}."),
        format!("{none_with_kid}.{claims}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{}", signature.chars().rev().collect::<String>()),
        forged,
        switched,
    ] {
        assert_eq!(json(app.redeem(Some(&bad)).await).await.0, 401, "{bad}");
    }
    assert!(app.github.requests().is_empty(), "GitHub was not asked");
    assert_eq!(app.gateway.redeem(&start).await.0, 200, "the real one is as good as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_app_gets_401() {
    let (app, other) = (App::start().await, App::start().await);
    let (_, start) = other.held_launch().await;
    assert_eq!(json(app.redeem(start["launcherToken"].as_str()).await).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_redemption_gets_409() {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    assert_eq!(app.gateway.redeem(&start).await.0, 200);
    let (status, body) = app.gateway.redeem(&start).await;
    assert_eq!(status, 409, "{body}");
    assert!(body["token"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_early_and_foreign_tokens_get_401_though_the_apps_own_key_signed_them() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let app = App::start_beside(github, events, folder.path().to_str().unwrap(), &[]).await;
    let (_, start) = app.held_launch().await;
    let token = start["launcherToken"].as_str().unwrap();
    let kid = Token::decode_metadata(token).unwrap().key_id().unwrap().to_owned();
    // The very key, derived as the app derives it: by the gateway's secret and what stands in the store.
    let store = rusqlite::Connection::open(folder.path().join("sqlite_key_value.db")).unwrap();
    let query = "SELECT value FROM spin_key_value WHERE store = 'default' AND key LIKE '%/key/current/%'";
    let current: Vec<u8> = store.query_row(query, [], |row| row.get(0)).unwrap();
    let current: Value = serde_json::from_slice(&current).unwrap();
    let numbers = |name: &str| serde_json::from_value::<[u8; 32]>(current[name].clone()).unwrap();
    let pair = [seed(GATEWAY_SECRET, &numbers("salt"), &kid).as_slice(), &numbers("public")].concat();
    let key = Ed25519KeyPair::from_bytes(&pair).unwrap().with_key_id(&kid);
    let now = Clock::now_since_epoch();
    let own = key.public_key().verify_token::<Value>(token, None).unwrap();
    let signed_with = |change: &dyn Fn(&mut JWTClaims<Value>)| {
        let mut claims = own.clone();
        change(&mut claims);
        key.sign(claims).unwrap()
    };
    type Change<'a> = &'a dyn Fn(&mut JWTClaims<Value>);
    let (hour, long_ago) = (Duration::from_hours(1), now - Duration::from_days(400));
    let cases: [(&str, Change<'_>); 7] = [
        ("expired", &|claims| claims.expires_at = Some(now - hour)),
        ("not yet valid", &|claims| claims.invalid_before = Some(now + hour)),
        ("without an end", &|claims| claims.expires_at = None),
        ("issued in the future", &|claims| claims.issued_at = Some(now + hour)),
        ("for another audience", &|claims| {
            claims.audiences = Some(Audiences::AsString("https://other.example".into()))
        }),
        ("of another issuer", &|claims| claims.issuer = Some("somebody".to_owned())),
        ("without a launch", &|claims| claims.jwt_id = None),
    ];
    for (what, change) in cases {
        assert_eq!(json(app.redeem(Some(&signed_with(change))).await).await.0, 401, "{what}");
    }
    assert!(app.github.requests().is_empty(), "GitHub was not asked");
    let old = signed_with(&|claims| claims.issued_at = Some(long_ago));
    assert_eq!(json(app.redeem(Some(&old)).await).await.0, 200, "what decides is its end");
}

/// HKDF-SHA256 (RFC 5869) of one block.
fn seed(secret: &str, salt: &[u8], kid: &str) -> [u8; 32] {
    let mac = |key: &[u8], text: &[u8]| -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().into()
    };
    let info = format!("launch token {kid}\u{1}");
    mac(&mac(salt, secret.as_bytes()), info.as_bytes())
}
