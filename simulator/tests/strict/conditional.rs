//! Conditional requests, and what counts towards the limit of an hour.

use std::time::Duration;

use gha_slurm_simulator::github::{APP_ID, Caller, Calls, Endpoint, Fault, INSTALLATION, RateLimit, WebhookFault};
use reqwest::Response;
use serde_json::Value;

use super::client::{Client, ONE};

const LIST: &str = "/app/hook/deliveries?per_page=2";

impl Client {
    /// A GET with a tag that was seen before.
    async fn get_unless(&self, path: &str, credential: &str, tag: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.github.url())).bearer_auth(credential);
        request.header("user-agent", "test").header("if-none-match", tag).send().await.unwrap()
    }

    async fn fail_delivery(&self) -> u64 {
        self.github.disturb_webhook(WebhookFault::Unreachable);
        self.github.queue_job(ONE, &["x"]).await.1.unwrap().id
    }
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn what_did_not_change_is_answered_304_and_does_not_count() {
    let client = Client::new().await;
    let id = client.fail_delivery().await;
    let jwt = client.jwt(APP_ID, -60, 500);
    for path in [LIST.to_owned(), format!("/app/hook/deliveries/{id}"), "/app".to_owned()] {
        let first = client.send("GET", &path, &jwt, Value::Null).await;
        let (tag, used) = (header(&first, "etag"), header(&first, "x-ratelimit-used"));
        assert!(first.status() == 200 && tag.starts_with("W/\"") && tag.ends_with('"'), "{path}: {tag}");
        for known in [tag.as_str(), tag.trim_start_matches("W/"), &format!("\"other\", {tag}"), "*"] {
            let again = client.get_unless(&path, &jwt, known).await;
            assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag.clone()), "{path}: {known}");
            assert_eq!(header(&again, "x-ratelimit-used"), used, "it does not count");
            assert!(again.headers().get("content-type").is_none() && again.bytes().await.unwrap().is_empty());
        }
        assert_eq!(client.get_unless(&path, &jwt, "W/\"other\"").await.status(), 200);
        assert_eq!(client.get_unless(&path, "x", &tag).await.status(), 401, "who may not see it learns nothing");
    }
    assert_eq!(client.github.calls(Endpoint::Deliveries), Calls { total: 7, not_modified: 4 });
    assert_eq!(client.github.calls(Endpoint::Delivery), Calls { total: 7, not_modified: 4 });
    assert_eq!(client.github.calls(Endpoint::Redelivery), Calls::default());
    assert_eq!(client.github.counted_calls(Caller::App), 6);
}

#[tokio::test]
async fn a_tag_changes_with_the_body_and_with_the_credential() {
    let client = Client::new().await;
    client.fail_delivery().await;
    let (jwt, next) = (client.jwt(APP_ID, -60, 500), client.jwt(APP_ID, -60, 501));
    let tag = header(&client.send("GET", LIST, &jwt, Value::Null).await, "etag");
    let other = client.get_unless(LIST, &next, &tag).await;
    assert_eq!(other.status(), 200, "each credential has tags of its own");
    assert_ne!(header(&other, "etag"), tag);
    client.fail_delivery().await;
    let changed = client.get_unless(LIST, &jwt, &tag).await;
    assert!(changed.status() == 200 && header(&changed, "etag") != tag);
    let post = format!("/app/installations/{INSTALLATION}/access_tokens");
    assert_eq!(header(&client.send("POST", &post, &jwt, Value::Null).await, "etag"), "", "of a GET only");
}

#[tokio::test]
async fn a_page_can_fail_once_in_the_middle() {
    let client = Client::new().await;
    let get = async || client.app("GET", LIST).await.0;
    client.github.fail_after(2, Endpoint::Deliveries, Fault::Status(502));
    client.github.fail_after(1, Endpoint::Deliveries, Fault::Status(500));
    assert_eq!(client.app("GET", "/app").await.0, 200, "another endpoint's");
    assert_eq!([get().await, get().await, get().await, get().await], [200, 500, 502, 200]);
}

#[tokio::test]
async fn a_limit_begins_after_so_many_more_calls() {
    let client = Client::new().await;
    let jwt = client.jwt(APP_ID, -60, 500);
    client.github.limit_after(2, Caller::App, RateLimit::Primary { reset_in: Duration::from_secs(50) });
    let get = async || {
        let response = client.send("GET", LIST, &jwt, Value::Null).await;
        (response.status().as_u16(), header(&response, "x-ratelimit-remaining"), header(&response, "etag"))
    };
    let (status, remaining, tag) = get().await;
    assert_eq!((status, remaining.as_str()), (200, "1"));
    let unchanged = client.get_unless(LIST, &jwt, &tag).await;
    assert_eq!((unchanged.status().as_u16(), header(&unchanged, "x-ratelimit-remaining").as_str()), (304, "1"));
    let (status, remaining, _) = get().await;
    assert_eq!((status, remaining.as_str()), (200, "0"), "the last one");
    let (status, remaining, _) = get().await;
    assert_eq!((status, remaining.as_str()), (403, "0"));
    assert_eq!(client.get_unless(LIST, &jwt, &tag).await.status(), 403);
    assert_eq!(client.github.calls_during_limits(), ["GET /app/hook/deliveries"]);
    client.github.lift_limit(Caller::App);
    let limit = RateLimit::Secondary { status: 429, lasts: Duration::from_secs(60), retry_after: Some(1) };
    client.github.limit_after(1, Caller::App, limit);
    assert_eq!((get().await.0, get().await.0), (200, 429));
}
