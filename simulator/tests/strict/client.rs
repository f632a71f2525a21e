//! A client that can be wrong in any way.

use std::time::{SystemTime, UNIX_EPOCH};

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{APP_ID, GitHub, INSTALLATION};
use jwt_simple::prelude::*;
use reqwest::Response;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

pub(crate) const ONE: &str = "octo/one";
pub(crate) const TWO: &str = "octo/two";

pub(crate) struct Client {
    pub(crate) github: GitHub,
    pub(crate) events: Events,
    key: RS256KeyPair,
    pub(crate) http: reqwest::Client,
}

impl Client {
    pub(crate) async fn new() -> Self {
        let key = RS256KeyPair::generate(2048).unwrap();
        let events = Events::default();
        let github = GitHub::start_with_key(key.clone(), &[ONE, TWO], "secret", events.clone()).await.unwrap();
        Self {
            github,
            events,
            key,
            http: reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap(),
        }
    }

    /// An App JWT from `issued` to `expires`, in seconds from now.
    pub(crate) fn jwt(&self, app: &str, issued: i64, expires: i64) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let at = |offset| Some(Duration::from_secs(u64::try_from(now + offset).unwrap()));
        let mut claims = Claims::create(Duration::from_mins(1)).with_issuer(app);
        (claims.issued_at, claims.expires_at, claims.invalid_before) = (at(issued), at(expires), None);
        self.key.sign(claims).unwrap()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, credential: &str, body: Value) -> Response {
        let url = format!("{}{path}", self.github.url());
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(credential);
        request = request.header("user-agent", "test").header("x-github-api-version", "2022-11-28");
        if !body.is_null() {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn call(&self, method: &str, path: &str, credential: &str, body: Value) -> (u16, Value) {
        let response = self.send(method, path, credential, body).await;
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// A call that has to be refused: status and GitHub's message.
    pub(crate) async fn refused(&self, method: &str, path: &str, credential: &str, body: Value) -> (u16, String) {
        let (status, body) = self.call(method, path, credential, body).await;
        (status, body["message"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn app(&self, method: &str, path: &str) -> (u16, Value) {
        self.call(method, path, &self.jwt(APP_ID, -60, 500), Value::Null).await
    }

    pub(crate) async fn installation_token(&self, narrowing: Value) -> (u16, Value) {
        let path = format!("/app/installations/{INSTALLATION}/access_tokens");
        self.call("POST", &path, &self.jwt(APP_ID, -60, 500), narrowing).await
    }

    /// An installation token that has to be given.
    pub(crate) async fn token(&self, narrowing: Value) -> String {
        let (status, made) = self.installation_token(narrowing).await;
        assert_eq!(status, 201, "{made}");
        made["token"].as_str().unwrap().to_owned()
    }

    /// The status of asking for a registration token.
    pub(crate) async fn register(&self, repository: &str, token: &str) -> u16 {
        let path = format!("/repos/{repository}/actions/runners/registration-token");
        self.call("POST", &path, token, Value::Null).await.0
    }

    pub(crate) async fn jit(&self, repository: &str, token: &str, name: &str) -> (u16, Value) {
        let path = format!("/repos/{repository}/actions/runners/generate-jitconfig");
        self.call("POST", &path, token, json!({"name": name, "runner_group_id": 1, "labels": ["x"]})).await
    }

    /// Brings a runner online by its JIT configuration; its status.
    pub(crate) async fn connect(&self, config: &Value) -> u16 {
        let url = format!("{}/_runner/start", self.github.url());
        let start = json!({"encoded_jit_config": config});
        self.http.post(url).json(&start).send().await.unwrap().status().as_u16()
    }
}
