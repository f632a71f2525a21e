//! What GitHub records of webhooks that did not arrive: how soon, for how long, and what can be wrong with it.

use std::time::{Duration, Instant};

use gha_slurm_simulator::event::Event;
use gha_slurm_simulator::github::{APP_ID, DeliveryFault, WebhookFault, sign};
use serde_json::{Map, Value, json};

use super::client::{Client, ONE};

const DAY: u64 = 24 * 3600;

impl Client {
    /// The list from a cursor on, and the next cursor.
    async fn page(&self, jwt: &str, cursor: Option<&str>) -> (Vec<Value>, Option<String>) {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let response = self.send("GET", &format!("/app/hook/deliveries?per_page=100{cursor}"), jwt, Value::Null).await;
        assert_eq!(response.status(), 200);
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let next = link.map(|link| link.split("cursor=").nth(1).unwrap().split('>').next().unwrap().to_owned());
        (response.json().await.unwrap(), next)
    }

    async fn listed(&self) -> Vec<u64> {
        let (page, _) = self.page(&self.jwt(APP_ID, -60, 500), None).await;
        page.iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
    }

    async fn show(&self, id: u64) -> (u16, Value) {
        self.app("GET", &format!("/app/hook/deliveries/{id}")).await
    }

    async fn missed(&self) -> u64 {
        self.github.disturb_webhook(WebhookFault::Unreachable);
        self.github.queue_job(ONE, &["x"]).await.1.unwrap().id
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_is_not_contacted() {
    let client = Client::new().await;
    let mut happening = client.events.subscribe();
    for url in ["https://gha-slurm.invalid/api/github/webhooks", "http://invalid/", "http://a.INVALID.:8080/"] {
        client.github.set_webhook_url(url);
        let begun = Instant::now();
        let (_, delivery) = client.github.queue_job(ONE, &["x"]).await;
        assert!(begun.elapsed() < Duration::from_millis(100), "{url}");
        let (_, shown) = client.show(delivery.unwrap().id).await;
        assert_eq!((&shown["status"], &shown["status_code"]), (&json!("failed to connect to host"), &json!(0)));
        assert_eq!((&shown["url"], &shown["request"]["payload"]["action"]), (&json!(url), &json!("queued")));
    }
    let told: Vec<_> = std::iter::from_fn(|| happening.try_recv().ok()).collect();
    assert!(told.iter().all(|event| !matches!(event, Event::WebhookSent { .. })), "{told:?}");
    assert_eq!(told.iter().filter(|event| matches!(event, Event::DeliveryRead { .. })).count(), 3);
}

#[tokio::test]
async fn a_webhook_that_is_switched_off_records_nothing() {
    let client = Client::new().await;
    client.github.set_webhook_active(false);
    assert!(client.github.queue_job(ONE, &["x"]).await.1.is_none());
    assert!(client.listed().await.is_empty());
    client.github.set_webhook_active(true);
    let id = client.missed().await;
    assert_eq!(client.listed().await, [id]);
}

#[tokio::test]
async fn a_delivery_can_be_listed_after_later_ones() {
    let client = Client::new().await;
    let wait = Duration::from_millis(300);
    client.github.set_webhook_url("https://gha-slurm.invalid/");
    for (habit, fault) in [(false, WebhookFault::ListedLate(wait)), (true, WebhookFault::Late(wait))] {
        client.github.list_late(habit);
        let before = client.listed().await;
        client.github.disturb_webhook(fault);
        let github = client.github.clone();
        let first = tokio::spawn(async move { github.queue_job(ONE, &["x"]).await.1.unwrap().id });
        tokio::time::sleep(wait / 6).await;
        let second = client.github.queue_job(ONE, &["x"]).await.1.unwrap().id;
        assert_eq!(client.listed().await[..1], [second]);
        assert_eq!(client.listed().await[1..], before, "{fault:?}");
        let first = first.await.unwrap();
        assert!(first < second);
        assert_eq!(client.listed().await[..2], [second, first], "the first went in below the second");
        assert_eq!(client.show(first).await.0, 200);
    }
}

#[tokio::test]
async fn a_delivery_can_be_listed_and_not_be_readable() {
    let client = Client::new().await;
    let (gone, hidden, good) = (client.missed().await, client.missed().await, client.missed().await);
    client.github.spoil_delivery(gone, DeliveryFault::Refused(410));
    client.github.spoil_delivery(hidden, DeliveryFault::Refused(404));
    assert_eq!(client.listed().await, [good, hidden, gone]);
    assert_eq!([client.show(gone).await.0, client.show(hidden).await.0, client.show(good).await.0], [410, 404, 200]);
    assert_eq!(client.app("POST", &format!("/app/hook/deliveries/{gone}/attempts")).await.0, 202, "it can be repeated");
}

#[tokio::test]
async fn a_delivery_can_be_another_apps_or_of_another_shape() {
    let client = Client::new().await;
    let (other, edited, entry) = (client.missed().await, client.missed().await, client.missed().await);
    client.github.spoil_delivery(other, DeliveryFault::OfApp(77));
    let headers = client.show(other).await.1["request"]["headers"].clone();
    assert_eq!(headers["X-GitHub-Hook-Installation-Target-ID"], "77");
    let own = client.show(edited).await.1["request"]["headers"].clone();
    assert_eq!(own["X-GitHub-Hook-Installation-Target-ID"], APP_ID);

    let payload = json!({"action": 7, "workflow_job": "none"});
    client.github.spoil_delivery(edited, DeliveryFault::Payload(payload.clone()));
    let (_, shown) = client.show(edited).await;
    assert_eq!((&shown["request"]["payload"], &shown["action"]), (&payload, &json!("queued")));
    assert_eq!(shown["request"]["headers"]["X-Hub-Signature-256"], sign("secret", payload.to_string().as_bytes()));

    let fields = [("action", Value::Null), ("installation_id", json!("x"))];
    let fields: Map<String, Value> = fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    client.github.spoil_delivery(entry, DeliveryFault::Entry(fields));
    let (_, listed) = client.app("GET", "/app/hook/deliveries?per_page=1").await;
    assert_eq!((&listed[0]["action"], &listed[0]["installation_id"]), (&Value::Null, &json!("x")));
}

#[tokio::test]
async fn a_payload_can_be_as_large_as_github_sends_any() {
    let client = Client::new().await;
    let id = client.missed().await;
    let whole = client.show(id).await.1["request"]["payload"].clone();
    client.github.spoil_delivery(id, DeliveryFault::PaddedTo(25_000_000));
    let (_, mut shown) = client.show(id).await;
    let mut payload = shown["request"]["payload"].take();
    assert_eq!(payload.to_string().len(), 25_000_000);
    payload.as_object_mut().unwrap().remove("padding");
    assert_eq!(payload, whole);
}

#[tokio::test]
async fn ten_thousand_jobs_of_an_outage_are_listed_in_order() {
    let client = Client::new().await;
    client.github.miss_webhooks(true);
    let mut jobs = Vec::new();
    for _ in 0..10_000 {
        let (job, missed) = client.github.queue_job(ONE, &["x"]).await;
        assert_eq!(missed.unwrap().status, 0);
        jobs.push(job);
    }
    client.github.miss_webhooks(false);

    let jwt = client.jwt(APP_ID, -60, 500);
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let (page, next) = client.page(&jwt, cursor.as_deref()).await;
        seen.extend(page.iter().map(|entry| entry["id"].as_u64().unwrap()));
        pages += 1;
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    seen.reverse();
    let deliveries = client.github.deliveries();
    assert_eq!((pages, deliveries.len()), (100, 10_000));
    assert_eq!(seen, deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>());
    assert_eq!(jobs, deliveries.iter().filter_map(|delivery| delivery.job).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_delivery_is_kept_for_three_days() {
    let client = Client::new().await;
    let old = client.missed().await;
    client.github.age_deliveries(Duration::from_secs(3 * DAY - 60));
    let fresh = client.missed().await;
    assert_eq!(client.listed().await, [fresh, old]);
    client.github.age_deliveries(Duration::from_secs(60));
    assert_eq!(client.listed().await, [fresh]);
    assert_eq!(client.show(old).await.0, 404);
    assert_eq!(client.app("POST", &format!("/app/hook/deliveries/{old}/attempts")).await.0, 404);
    assert_eq!(client.github.deliveries().len(), 2);

    let ahead = i64::try_from(3 * DAY).unwrap();
    client.github.set_clock(ahead);
    let jwt = client.jwt(APP_ID, ahead - 60, ahead + 500);
    assert!(client.page(&jwt, None).await.0.is_empty(), "by the clock of GitHub");
}
