//! Rate limits, and who disregards them.

use std::time::Duration;

use gha_slurm_simulator::github::{APP_ID, Caller, Endpoint, Fault, INSTALLATION, RateLimit};
use serde_json::Value;

use super::client::{Client, ONE, TWO};

/// Status, the header's value, and what remains.
async fn limited(client: &Client, token: &str, header: &str) -> (u16, Option<u64>, u64, String) {
    let path = format!("/repos/{ONE}/actions/runners/registration-token");
    let response = client.send("POST", &path, token, Value::Null).await;
    let number = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().parse().unwrap());
    let (status, value, remaining) = (response.status().as_u16(), number(header), number("x-ratelimit-remaining"));
    let body: Value = response.json().await.unwrap();
    (status, value, remaining.unwrap(), body["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_secondary_limit_leaves_calls_of_the_hour() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    for (status, retry_after) in [(403, None), (429, Some(7))] {
        let limit = RateLimit::Secondary { status, lasts: Duration::from_millis(300), retry_after };
        client.github.limit(Caller::Installation(INSTALLATION), limit);
        let (seen, wait, remaining, words) = limited(&client, &token, "retry-after").await;
        assert_eq!((seen, wait), (status, retry_after));
        assert!(remaining > 0 && words.starts_with("You have exceeded a secondary rate limit"), "{remaining} {words}");
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!(limited(&client, &token, "retry-after").await.0, 201, "it is over");
    }
    assert_eq!(client.github.calls_during_limits().len(), 3, "GitHub asks for a minute when it names no time");
}

#[tokio::test]
async fn a_primary_limit_leaves_none_and_says_when_it_ends() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    let caller = Caller::Installation(INSTALLATION);
    client.github.limit(caller, RateLimit::Primary { reset_in: Duration::from_secs(50) });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (status, reset, remaining, words) = limited(&client, &token, "x-ratelimit-reset").await;
    assert!(
        status == 403 && remaining == 0 && words.contains("API rate limit exceeded for installation ID"),
        "{words}"
    );
    assert!((now + 48..=now + 51).contains(&reset.unwrap()), "{reset:?} {now}");
    assert!(client.github.calls_during_limits().is_empty(), "the first call cannot know");
    client.github.lift_limit(caller);
    assert_eq!(limited(&client, &token, "x-ratelimit-reset").await.0, 201);
    let path = format!("POST /repos/{ONE}/actions/runners/registration-token");
    assert_eq!(client.github.calls_during_limits(), [path]);
}

#[tokio::test]
async fn a_limit_is_one_installations_or_the_apps() {
    let client = Client::new().await;
    client.github.move_to_installation(5, &[TWO]);
    let one = client.token(Value::Null).await;
    let (_, made) = client.app("POST", "/app/installations/5/access_tokens").await;
    let two = made["token"].as_str().unwrap().to_owned();
    let limit = RateLimit::Secondary { status: 403, lasts: Duration::from_secs(60), retry_after: Some(60) };
    client.github.limit(Caller::Installation(INSTALLATION), limit);
    assert_eq!((client.register(ONE, &one).await, client.register(TWO, &two).await), (403, 201));
    assert_eq!(client.app("GET", "/app").await.0, 200);
    client.github.lift_limit(Caller::Installation(INSTALLATION));
    client.github.limit(Caller::App, limit);
    assert_eq!(client.app("GET", "/app").await.0, 403);
    assert_eq!(client.register(TWO, &two).await, 201);
}

#[tokio::test]
async fn a_limit_can_be_met_once() {
    let client = Client::new().await;
    let token = client.token(Value::Null).await;
    client.github.fail(Endpoint::RegistrationToken, Fault::SecondaryRateLimit { retry_after: 7 });
    client.github.fail(Endpoint::RegistrationToken, Fault::PrimaryRateLimit { reset_in: 50 });
    let (status, wait, remaining, _) = limited(&client, &token, "retry-after").await;
    assert!(status == 403 && wait == Some(7) && remaining > 0);
    let (status, wait, remaining, _) = limited(&client, &token, "retry-after").await;
    assert!(status == 403 && wait.is_none() && remaining == 0);
    assert_eq!(client.register(ONE, &token).await, 201);
    assert_eq!(client.call("GET", "/app", &client.jwt(APP_ID, -60, 500), Value::Null).await.0, 200);
}
