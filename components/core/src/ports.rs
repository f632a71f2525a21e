//! What the domain needs of the world: a store, outbound HTTP, a clock and randomness.
//!
//! Each trait is as small as the weakest platform that we run on: the store has no listing, no expiry and no
//! compare-and-swap, because Spin's backends do not agree on them; `increment` is the one operation that is free of
//! races everywhere.

use std::time::Duration;

use thiserror::Error;

/// The key-value store that all components and all replicas share.
pub trait Store {
    /// The value of `key`, or `None` when it was never set or was deleted.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// The values of several keys, in their order, in one step where the backend has such a thing. Not of one moment.
    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
    /// Sets `key` to `value`, whatever it was before.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Removes `key`; removing an absent key is no error.
    fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Sets several keys in one transaction where the backend has such a thing; else one after the other, in order.
    fn set_many(&self, values: &[(String, Vec<u8>)]) -> Result<(), StoreError>;
    /// Removes several keys, present or not.
    fn delete_many(&self, keys: &[String]) -> Result<(), StoreError>;
    /// Adds `delta` to the counter `key` (absent counts as 0) and returns the sum, atomically over all replicas.
    ///
    /// A key is either a counter or a value for its whole life: backends encode counters differently.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError>;
}

/// The store could not do what was asked; nothing is known about whether it did.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("the key-value store failed: {0}")]
pub struct StoreError(pub String);

/// Outbound HTTP.
pub trait Http {
    /// Sends `request` and reads the whole answer, whatever its status, within `request.deadline`.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, SendError>;

    /// Sends several requests and reads all their answers, in their order; at once where the platform can.
    fn send_many(&self, requests: &[HttpRequest]) -> Vec<Result<HttpResponse, SendError>> {
        requests.iter().map(|request| self.send(request)).collect()
    }
}

/// An HTTP method that this project sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
}

/// A request to another server. Its `Debug` hides header values and the body, which may hold secrets.
#[derive(Clone)]
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// Absolute URL, `http` or `https`.
    pub url: url::Url,
    /// Headers besides `Host` and `Content-Length`, which the sender adds.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty means none.
    pub body: Vec<u8>,
    /// How long the whole exchange may take, from connecting to the last byte.
    pub deadline: Duration,
}

impl std::fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.method, self.url)
    }
}

/// Another server's answer.
#[derive(Clone)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// All headers, in order; names in any case.
    pub headers: Vec<(String, String)>,
    /// The whole body, at most [`MAX_RESPONSE_BYTES`].
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first header of that name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl HttpResponse {
    /// The `message` of an error's JSON body, as GitHub and the gateway have it; cut and without control characters,
    /// because it goes to a log.
    pub fn message(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = body.get("message").and_then(serde_json::Value::as_str).unwrap_or("(no message)");
        message.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// The longest answer that is read from another server.
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SendError {
    /// The deadline passed. The other side may or may not have acted.
    #[error("no answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The platform does not let this component reach that host.
    #[error("this host is not in allowed_outbound_hosts")]
    NotAllowed,
    /// The answer is longer than [`MAX_RESPONSE_BYTES`].
    #[error("the answer is longer than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    /// No connection, or it broke.
    #[error("{0}")]
    Broken(String),
}

/// Wall-clock time.
pub trait Clock {
    /// Time since 1970-01-01T00:00:00Z.
    fn now(&self) -> Duration;

    /// Whole seconds since 1970-01-01T00:00:00Z, as JWTs and facts hold them.
    fn unix_seconds(&self) -> u64 {
        self.now().as_secs()
    }

    /// Lets so much time pass.
    fn pause(&self, time: Duration);
}

/// Cryptographically secure randomness.
pub trait Random {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// The application's variables, as Spin resolves them for this component.
pub trait Variables {
    /// The value of the variable `name`, or `None` when it is not set.
    fn variable(&self, name: &str) -> Result<Option<String>, VariableError>;
}

/// The platform could not say what a variable's value is. The text names no value.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct VariableError(pub String);

/// Everything a flow needs, in one bound.
pub trait Platform: Store + Http + Clock + Random + Variables {}

impl<T: Store + Http + Clock + Random + Variables> Platform for T {}
