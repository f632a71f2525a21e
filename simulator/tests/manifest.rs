//! The fake GitHub's manifest flow refuses what GitHub's refuses, with its words.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

struct Visitor {
    github: GitHub,
    client: Client,
}

impl Visitor {
    async fn new() -> Self {
        let github = GitHub::start_without_app(&["octo-org/one"], Events::default()).await.unwrap();
        Self { github, client: Client::builder().redirect(Policy::none()).no_proxy().build().unwrap() }
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(format!("{}{path}", self.github.url())).body(body);
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    }

    /// Posts a manifest; status and page.
    async fn submit(&self, path: &str, manifest: &Value) -> (u16, String) {
        let response = self.post(path, &[("manifest", &manifest.to_string())]).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Confirms a page; where it leads to.
    async fn confirm(&self, page: &str, name: &str) -> Result<String, u16> {
        let token = page.split_once("name=token value=").unwrap().1.split('>').next().unwrap();
        let made = self.post("/settings/apps/manifest", &[("token", token), ("name", name)]).await;
        match made.headers().get("location") {
            Some(location) => Ok(location.to_str().unwrap().to_owned()),
            None => Err(made.status().as_u16()),
        }
    }

    async fn convert(&self, code: &str) -> (u16, Value) {
        let url = format!("{}/app-manifests/{code}/conversions", self.github.url());
        let response = self.client.post(url).header("user-agent", "test").send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn manifest() -> Value {
    json!({
        "name": "n", "url": "https://app.example/", "hook_attributes": {"url": "https://app.example/hook"},
        "redirect_url": "https://app.example/back?x=1", "default_events": ["workflow_job"],
        "default_permissions": {"administration": "write", "actions": "read"},
    })
}

#[tokio::test]
async fn what_is_no_manifest_is_refused_with_githubs_words() {
    let visitor = Visitor::new().await;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut manifest = manifest();
        change(&mut manifest);
        manifest
    };
    let remove = |name: &'static str| changed(&|manifest| drop(manifest.as_object_mut().unwrap().remove(name)));
    let set = |name: &'static str, value: Value| changed(&|manifest| manifest[name] = value.clone());
    for (manifest, words) in [
        (json!("no object"), "invalid type"),
        (remove("url"), "\"url\" wasn't supplied"),
        (set("hook_attributes", json!({"active": false})), "\"url\" wasn't supplied"),
        (set("hook_attributes", json!({"url": "https://a.example", "secret": "s"})), "secret"),
        (remove("redirect_url"), "\"redirect_url\" wasn't supplied"),
        (set("url", json!("app")), "not a valid URL"),
        (set("name", json!("a".repeat(35))), "too long"),
        (set("default_permissions", json!({"administration": "admin"})), "not included in the list"),
        (set("default_permissions", json!({"nonsense": "read"})), "not included in the list"),
        (set("default_permissions", json!({"metadata": "read"})), "not supported by permissions: workflow_job"),
        (set("default_events", json!(["installation"])), "Default events unsupported: installation"),
    ] {
        let (status, page) = visitor.submit("/settings/apps/new", &manifest).await;
        let page = page.replace("&quot;", "\"");
        assert!(status == 422 && page.contains(words), "{manifest}: {status} {page}");
    }
    assert_eq!(visitor.submit("/organizations/nobody/settings/apps/new", &manifest()).await.0, 404);
    assert!(visitor.github.apps().is_empty());
}

#[tokio::test]
async fn a_code_is_good_once_and_for_an_hour_and_comes_with_the_state() {
    let visitor = Visitor::new().await;
    let (status, page) = visitor.submit("/organizations/octo-org/settings/apps/new?state=s%26t", &manifest()).await;
    assert_eq!(status, 200, "{page}");
    let back = visitor.confirm(&page, "n").await.unwrap();
    let query = back.strip_prefix("https://app.example/back?x=1&code=").unwrap();
    let code = query.strip_suffix("&state=s%26t").unwrap().to_owned();
    assert_eq!(visitor.convert("guess").await.0, 404);
    let (status, app) = visitor.convert(&code).await;
    assert_eq!(status, 201, "{app}");
    assert!(app["pem"].as_str().unwrap().contains("PRIVATE KEY") && app["webhook_secret"].is_string(), "{app}");
    assert_eq!(app["owner"]["login"], "octo-org");
    assert_eq!(visitor.convert(&code).await.0, 404, "once");

    let (_, page) = visitor.submit("/settings/apps/new", &manifest()).await;
    assert_eq!(visitor.confirm(&page, "N").await, Err(422), "the name is taken");
    let back = visitor.confirm(&page, "m").await.unwrap();
    assert!(!back.contains("state="), "{back}");
    visitor.github.expire_codes();
    assert_eq!(visitor.convert(back.split_once("code=").unwrap().1).await.0, 404, "after an hour");
}

#[tokio::test]
async fn an_app_may_ask_for_statuses_and_for_a_webhook_that_is_off() {
    let visitor = Visitor::new().await;
    for (name, hook, recorded) in [
        ("off", json!({"url": "https://gha-slurm.invalid/", "active": false}), false),
        ("none", Value::Null, false),
        ("on", json!({"url": "https://gha-slurm.invalid/"}), true),
    ] {
        let mut manifest = manifest();
        manifest["hook_attributes"] = hook;
        manifest["default_permissions"]["statuses"] = json!("write");
        let (status, page) = visitor.submit("/settings/apps/new", &manifest).await;
        assert_eq!(status, 200, "{page}");
        let back = visitor.confirm(&page, name).await.unwrap();
        let (_, app) = visitor.convert(back.split_once("code=").unwrap().1).await;
        assert_eq!(app["permissions"]["statuses"], "write");
        visitor.post(&format!("/apps/{name}/installations/new"), &[]).await;
        let (_, delivery) = visitor.github.queue_job("octo-org/one", &["x"]).await;
        assert_eq!(delivery.is_some(), recorded, "{name}");
    }
}
