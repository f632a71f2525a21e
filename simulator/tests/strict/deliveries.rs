//! Deliveries of webhooks, as GitHub's API tells of them.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use gha_slurm_simulator::github::{APP_ID, WebhookFault, sign};
use serde_json::{Map, Value, json};

use super::client::{Client, ONE};

/// Answers every webhook.
async fn listen(client: &Client) {
    let hook = Router::new().route("/", post(async || (StatusCode::ACCEPTED, "{}")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    client.github.set_webhook_url(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, hook).await });
}

#[tokio::test]
async fn failed_deliveries_are_listed_page_by_page_and_repeated_under_their_guid() {
    let client = Client::new().await;
    listen(&client).await;
    client.github.disturb_webhook(WebhookFault::Unreachable);
    let (_, failed) = client.github.queue_job(ONE, &["x"]).await;
    client.github.disturb_webhook(WebhookFault::Lost);
    assert!(client.github.queue_job(ONE, &["x"]).await.1.is_none());
    client.github.queue_job(ONE, &["x"]).await;

    assert_eq!(client.call("GET", "/app/hook/deliveries", "x", Value::Null).await.0, 401);
    let (_, page) = client.app("GET", "/app/hook/deliveries?per_page=1").await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["status"]), (1, &json!("OK")), "newest first: {page}");
    assert_eq!(client.app("GET", &format!("/app/hook/deliveries?cursor={}", page[0]["id"])).await.0, 422);
    let older = format!("/app/hook/deliveries?cursor=v1_{}", page[0]["id"]);
    let (_, page) = client.app("GET", &older).await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["status_code"]), (1, &json!(0)), "{page}");
    assert_eq!(page[0]["guid"], failed.unwrap().guid);

    let again = format!("/app/hook/deliveries/{}/attempts", page[0]["id"]);
    assert_eq!(client.app("POST", &again).await.0, 202);
    assert_eq!(client.app("POST", "/app/hook/deliveries/1/attempts").await.0, 404);
    for _ in 0..100 {
        let last = client.github.deliveries().pop().unwrap();
        if last.redelivery {
            assert!(last.succeeded() && page[0]["guid"] == last.guid.as_str(), "{last:?}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it was not repeated");
}

#[tokio::test]
async fn the_next_page_is_where_the_link_leads() {
    let client = Client::new().await;
    for _ in 0..3 {
        client.github.disturb_webhook(WebhookFault::Unreachable);
        client.github.queue_job(ONE, &["x"]).await;
    }
    let mut path = "/app/hook/deliveries?per_page=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let response = client.send("GET", &path, &client.jwt(APP_ID, -60, 500), Value::Null).await;
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        seen.extend(page.as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()));
        let Some(link) = link else { break };
        let url = link.strip_prefix(&format!("<{}", client.github.url())).unwrap();
        path = url.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    let mut expected: Vec<u64> = client.github.deliveries().iter().map(|delivery| delivery.id).collect();
    expected.reverse();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_delivery_is_shown_with_what_was_sent() {
    let client = Client::new().await;
    client.github.disturb_webhook(WebhookFault::Unreachable);
    let (job, failed) = client.github.queue_job(ONE, &["x"]).await;
    let failed = failed.unwrap();
    let path = format!("/app/hook/deliveries/{}", failed.id);
    assert_eq!(client.call("GET", &path, "x", Value::Null).await.0, 401);
    let (status, shown) = client.app("GET", &path).await;
    let (sent, headers) = (&shown["request"]["payload"], &shown["request"]["headers"]);
    assert_eq!((status, &sent["workflow_job"]["id"], &sent["action"]), (200, &json!(job), &json!("queued")));
    assert_eq!(
        (&headers["X-GitHub-Delivery"], &headers["X-GitHub-Event"]),
        (&json!(failed.guid), &json!("workflow_job"))
    );
    client.github.tell("repository", "archived", ONE, Map::new()).await;
    let (_, listed) = client.app("GET", "/app/hook/deliveries?per_page=1").await;
    assert_eq!((&listed[0]["event"], &listed[0]["action"]), (&json!("repository"), &json!("archived")));
    // serde_json writes an object as it was written before.
    assert_eq!(headers["X-Hub-Signature-256"], sign("secret", sent.to_string().as_bytes()));
    assert_eq!((&shown["status_code"], &shown["response"]["payload"]), (&json!(0), &Value::Null));
    assert_eq!(client.app("GET", "/app/hook/deliveries/1").await.0, 404);
}
