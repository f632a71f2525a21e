//! JWTs and installation tokens.

use std::time::Duration;

use gha_slurm_simulator::github::{APP_ID, Endpoint, Fault, INSTALLATION, TokenLag};
use jwt_simple::prelude::{Claims, RS256KeyPair, RSAKeyPairLike};
use serde_json::{Value, json};

use super::client::{Client, ONE, TWO};

#[tokio::test]
async fn an_app_jwt_must_be_the_apps_and_within_githubs_times() {
    let client = Client::new().await;
    let path = format!("/repos/{ONE}/installation");
    let other = RS256KeyPair::generate(2048)
        .unwrap()
        .sign(Claims::create(jwt_simple::prelude::Duration::from_mins(5)))
        .unwrap();
    for (jwt, expected) in [
        (client.jwt(APP_ID, -60, 600), 200),
        (client.jwt(APP_ID, -60, 660), 401),
        (client.jwt(APP_ID, -600, -1), 401),
        (client.jwt(APP_ID, 60, 500), 401),
        (client.jwt("1", -60, 500), 401),
        (other, 401),
        ("garbage".to_owned(), 401),
    ] {
        assert_eq!(client.call("GET", &path, &jwt, Value::Null).await.0, expected, "{jwt}");
    }
}

#[tokio::test]
async fn a_request_needs_a_user_agent_and_a_known_api_version() {
    let client = Client::new().await;
    let url = format!("{}/repos/{ONE}/installation", client.github.url());
    let jwt = client.jwt(APP_ID, -60, 500);
    let bare = client.http.get(&url).bearer_auth(&jwt).send().await.unwrap();
    assert_eq!(bare.status(), 403);
    let old = client.http.get(&url).bearer_auth(&jwt).header("user-agent", "t").header("x-github-api-version", "1");
    assert_eq!(old.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_narrowed_token_reaches_no_further() {
    let client = Client::new().await;
    assert_eq!(client.installation_token(json!({"repositories": ["three"]})).await.0, 422);
    assert_eq!(client.installation_token(json!({"permissions": {"secrets": "write"}})).await.0, 422);
    let token = |answer: (u16, Value)| answer.1["token"].as_str().unwrap().to_owned();
    let one = json!({"repositories": ["one"], "permissions": {"administration": "write"}});
    let narrowed = token(client.installation_token(one).await);
    let reads = token(client.installation_token(json!({"permissions": {"actions": "read"}})).await);
    for (credential, repository, expected) in [(&narrowed, ONE, 201), (&narrowed, TWO, 404), (&reads, ONE, 403)] {
        let path = format!("/repos/{repository}/actions/runners/registration-token");
        assert_eq!(client.call("POST", &path, credential, Value::Null).await.0, expected, "{repository}");
    }
    client.github.suspend();
    assert_eq!(client.installation_token(Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_token_is_narrowed_by_ids_as_by_names() {
    let client = Client::new().await;
    let one = client.github.repository_id(ONE).unwrap();
    let (_, made) = client.installation_token(json!({"repository_ids": [one]})).await;
    assert_eq!(made["repositories"][0]["full_name"], ONE, "{made}");
    let token = made["token"].as_str().unwrap();
    assert_eq!((client.register(ONE, token).await, client.register(TWO, token).await), (201, 404));
    let missing =
        "There is at least one repository that does not exist or is not accessible to the parent installation.";
    for narrowing in [
        json!({"repository_ids": [one, 1]}),
        json!({"repositories": ["one", "three"]}),
        json!({"repositories": [ONE]}),
        json!({"repository_ids": [one], "repositories": ["three"]}),
    ] {
        let (status, refused) = client.installation_token(narrowing.clone()).await;
        assert_eq!((status, refused["message"].as_str()), (422, Some(missing)), "{narrowing}");
    }
    for narrowing in [
        json!({"repository_ids": ["1"]}),
        json!({"repository": "one"}),
        json!({"permissions": {"actions": "admin"}}),
        json!({"permissions": {"actions": "write"}}),
    ] {
        assert_eq!(client.installation_token(narrowing.clone()).await.0, 422, "{narrowing}");
    }
    client.github.move_to_installation(5, &[ONE]);
    assert_eq!(client.installation_token(json!({"repository_ids": [one]})).await.0, 422, "another installation's");
    assert_eq!(client.register(ONE, token).await, 404);
    let path = "/app/installations/5/access_tokens";
    assert_eq!(client.app("POST", path).await.0, 201);
    assert_eq!(client.app("GET", &format!("/repos/{ONE}/installation")).await.1["id"], 5);
}

#[tokio::test]
async fn a_permission_is_checked_at_each_call() {
    let client = Client::new().await;
    let (reads, writes) = (json!({"administration": "read"}), json!({"administration": "write"}));
    let reads = client.token(json!({ "permissions": reads })).await;
    let writes = client.token(json!({ "permissions": writes })).await;
    let actions = client.token(json!({"permissions": {"actions": "read"}})).await;
    let list = format!("/repos/{ONE}/actions/runners");
    let words = "Resource not accessible by integration".to_owned();
    assert_eq!(client.refused("GET", &list, &actions, Value::Null).await, (403, words.clone()));
    assert_eq!(client.call("GET", &list, &reads, Value::Null).await.0, 200);
    assert_eq!(client.call("GET", &list, &writes, Value::Null).await.0, 200);
    assert_eq!((client.register(ONE, &reads).await, client.register(ONE, &writes).await), (403, 201));
    let job = format!("/repos/{ONE}/actions/jobs/1");
    assert_eq!(client.refused("GET", &job, &writes, Value::Null).await, (403, words));
    assert_eq!(client.call("GET", &job, &actions, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_fresh_token_is_refused_for_so_many_calls_or_so_long() {
    let client = Client::new().await;
    client.github.delay_tokens(403, TokenLag::Calls(2));
    let token = client.token(Value::Null).await;
    for expected in [403, 403, 201] {
        assert_eq!(client.register(ONE, &token).await, expected);
    }
    client.github.delay_tokens(404, TokenLag::Time(Duration::from_millis(300)));
    let token = client.token(Value::Null).await;
    assert_eq!(client.register(ONE, &token).await, 404);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(client.register(ONE, &token).await, 201);
}

#[tokio::test]
async fn a_refusal_has_githubs_words() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let tokens = format!("/app/installations/{INSTALLATION}/access_tokens");
    let register = format!("/repos/{ONE}/actions/runners/registration-token");
    for (ahead, words) in [
        (-400, "'Expiration time' claim ('exp') is too far in the future"),
        (-100, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"),
        (
            700,
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ),
    ] {
        client.github.set_clock(ahead);
        let expires = if ahead == -100 { 400 } else { 500 };
        let refused = client.refused("POST", &tokens, &client.jwt(APP_ID, -60, expires), Value::Null).await;
        assert_eq!(refused, (401, words.to_owned()), "{ahead}");
    }
    client.github.set_clock(0);

    client.github.block_address(true);
    let (status, words) = client.refused("POST", &register, &token, Value::Null).await;
    assert!(status == 403 && words.contains("the `octo` organization has an IP allow list enabled"), "{words}");
    client.github.block_address(false);
    client.github.disable_runners(ONE, true);
    let words = "Repository level self-hosted runners are disabled on this repository.".to_owned();
    assert_eq!(client.refused("POST", &register, &token, Value::Null).await, (403, words.clone()));
    assert_eq!(client.jit(ONE, &token, "a").await.1["message"], words);
    assert_eq!(client.register(TWO, &token).await, 201);
    client.github.disable_runners(ONE, false);
    client.github.fail(Endpoint::RegistrationToken, Fault::Refused(403, "Repository access blocked"));
    let blocked = client.refused("POST", &register, &token, Value::Null).await;
    assert_eq!(blocked, (403, "Repository access blocked".to_owned()));

    client.github.suspend();
    let suspended = (403, "This installation has been suspended".to_owned());
    assert_eq!(client.refused("POST", &register, &token, Value::Null).await, suspended);
    let jwt = client.jwt(APP_ID, -60, 500);
    assert_eq!(client.refused("POST", &tokens, &jwt, Value::Null).await, suspended);
}
