//! What is no launch token of this app gets 401, costs no call to GitHub, and learns nothing.

use jwt_simple::prelude::*;

use crate::support::{App, json};

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
