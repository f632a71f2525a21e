//! The domain's ports for a command: variables, key-value store and outbound HTTP as the host provides them, so that a
//! command sees what the application sees.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chrono::DateTime;
use gha_slurm::host::key_value::{KeyValue, KeyValueError};
use gha_slurm::host::manifest::Manifest;
use gha_slurm::host::outbound::tls::ClientTls;
use gha_slurm::host::outbound::{Client, Deadlines};
use gha_slurm::host::variables::Provider;
use gha_slurm_core::ports::{
    Clock, Http, HttpMethod, HttpRequest, HttpResponse, MAX_RESPONSE_BYTES, Random, SendError, Store, StoreError,
    VariableError, Variables,
};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Handle;

const STORE: &str = "default";
/// A command asks one thing after the other.
const IDLE_CONNECTIONS: usize = 1;

/// Its calls block: use it on a thread that may wait.
pub(crate) struct Native {
    runtime: Handle,
    manifest: Manifest,
    variables: Provider,
    client: Client,
    store: RefCell<Option<KeyValue>>,
    skew: Cell<Option<i64>>,
}

impl Native {
    /// The ports of an application, without a store yet.
    pub(crate) fn new(
        runtime: Handle,
        manifest: Manifest,
        variables: Provider,
        client_tls: Vec<ClientTls>,
    ) -> Result<Self, String> {
        let client = Client::new(IDLE_CONNECTIONS, client_tls).map_err(|error| error.to_string())?;
        Ok(Self { runtime, manifest, variables, client, store: RefCell::default(), skew: Cell::default() })
    }

    /// Uses this store from now on.
    pub(crate) fn attach(&self, store: KeyValue) {
        *self.store.borrow_mut() = Some(store);
    }

    /// Waits for a future of the host.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// By how many seconds this machine's clock is ahead of the last server that answered with its time.
    pub(crate) fn clock_ahead(&self) -> Option<i64> {
        self.skew.get()
    }

    fn store(&self) -> Result<KeyValue, StoreError> {
        self.store.borrow().clone().ok_or_else(|| StoreError("it is not open".to_owned()))
    }
}

fn failed(error: KeyValueError) -> StoreError {
    StoreError(error.to_string())
}

impl Store for Native {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.wait(self.store()?.get(STORE, key)).map_err(failed)
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let found = self.wait(self.store()?.get_many(STORE, keys.to_vec())).map_err(failed)?;
        Ok(found.into_iter().map(|(_, value)| value).collect())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.wait(self.store()?.set(STORE, key.to_owned(), value.to_vec())).map_err(failed)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.wait(self.store()?.delete(STORE, key.to_owned())).map_err(failed)
    }

    fn set_many(&self, values: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        self.wait(self.store()?.set_many(STORE, values.to_vec())).map_err(failed)
    }

    fn delete_many(&self, keys: &[String]) -> Result<(), StoreError> {
        self.wait(self.store()?.delete_many(STORE, keys.to_vec())).map_err(failed)
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.wait(self.store()?.increment(STORE, key.to_owned(), delta)).map_err(failed)
    }
}

impl Variables for Native {
    fn variable(&self, name: &str) -> Result<Option<String>, VariableError> {
        // A variable without a value is not set, as for a component.
        Ok(self.manifest.variable(name, &self.variables).ok())
    }
}

impl Clock for Native {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Random for Native {
    fn fill(&self, buffer: &mut [u8]) {
        if getrandom::getrandom(buffer).is_err() {
            std::process::abort();
        }
    }
}

impl Http for Native {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        let deadline = request.deadline;
        let exchange = async { tokio::time::timeout(deadline, exchange(&self.client, request)).await };
        let response = self.wait(exchange).map_err(|_| SendError::Deadline(deadline))??;
        if let Some(theirs) = response.header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            let ours = i64::try_from(self.unix_seconds()).unwrap_or(i64::MAX);
            self.skew.set(Some(ours.saturating_sub(theirs.timestamp())));
        }
        Ok(response)
    }
}

/// Sends a request and reads its answer; the caller limits the time.
pub(crate) async fn exchange(client: &Client, request: &HttpRequest) -> Result<HttpResponse, SendError> {
    let broken = |error: &dyn std::fmt::Display| SendError::Broken(error.to_string());
    let method = match request.method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Delete => "DELETE",
    };
    let mut builder = hyper::Request::builder().method(method).uri(request.url.as_str());
    builder = builder.header("host", request.url.authority());
    if request.method != HttpMethod::Get {
        builder = builder.header("content-length", request.body.len());
    }
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    let outgoing = builder.body(Bytes::from(request.body.clone())).map_err(|error| broken(&error))?;
    let deadlines = Deadlines { first_byte: request.deadline, pause: request.deadline };
    let response = client.send_bytes(outgoing, deadlines).await.map_err(|failure| match failure.is_late() {
        true => SendError::Deadline(request.deadline),
        false => SendError::Broken(failure.to_string()),
    })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(|error| broken(&error))?;
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(HttpResponse { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
}
