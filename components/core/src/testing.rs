//! A platform in memory, for unit tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ports::{
    Clock, Http, HttpRequest, HttpResponse, Random, SendError, Store, StoreError, VariableError, Variables,
};
use crate::request::Request;
use gha_slurm_protocol::hex::hex;

/// What answers outbound requests; it may call back into a flow, as a concurrent request would.
type Server = Box<dyn Fn(&Memory, &HttpRequest) -> Result<HttpResponse, SendError>>;

/// A store, a clock that stands until it is moved, and randomness that never repeats.
pub(crate) struct Memory {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    counters: RefCell<BTreeMap<String, i64>>,
    pub(crate) seconds: Cell<u64>,
    drawn: Cell<u8>,
    pub(crate) operations: Cell<u32>,
    /// Operations that write, each a transaction on most backends.
    pub(crate) transactions: Cell<u32>,
    /// How many more operations succeed before the process dies; `None` is for ever.
    pub(crate) lives: Cell<Option<u32>>,
    variables: RefCell<BTreeMap<&'static str, String>>,
    server: RefCell<Option<Rc<Server>>>,
    pub(crate) sent: RefCell<Vec<HttpRequest>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            values: RefCell::default(),
            counters: RefCell::default(),
            seconds: Cell::new(1_800_000_000),
            drawn: Cell::new(0),
            operations: Cell::new(0),
            transactions: Cell::new(0),
            lives: Cell::new(None),
            variables: RefCell::default(),
            server: RefCell::default(),
            sent: RefCell::default(),
        }
    }

    /// With every variable set, but for the private key, which is dear to make.
    pub(crate) fn configured() -> Self {
        let platform = Self::new();
        for (name, value) in [
            ("github_app_id", "123456"),
            ("github_webhook_secret", "It's a Secret to Everybody"),
            ("gateway_url", "http://gateway.example:8080"),
            ("gateway_secret", "gateway-secret"),
            ("public_url", "https://app.example"),
            ("admin_token", "an-admin-token-of-32-characters!"),
        ] {
            platform.set_variable(name, Some(value));
        }
        platform
    }

    pub(crate) fn set_variable(&self, name: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.variables.borrow_mut().insert(name, value.to_owned()),
            None => self.variables.borrow_mut().remove(name),
        };
    }

    /// Counts an operation, or fails it as a crash would: it and all that follow have no effect.
    fn operation(&self, writes: bool) -> Result<(), StoreError> {
        self.operations.set(self.operations.get() + 1);
        if writes {
            self.transactions.set(self.transactions.get() + 1);
        }
        match self.lives.get() {
            Some(0) => Err(StoreError("the process died".to_owned())),
            Some(more) => {
                self.lives.set(Some(more - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The keys of the store.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().chain(self.counters.borrow().keys()).cloned().collect()
    }

    pub(crate) fn serve(&self, server: impl Fn(&Self, &HttpRequest) -> Result<HttpResponse, SendError> + 'static) {
        *self.server.borrow_mut() = Some(Rc::new(Box::new(server)));
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operation(false)?;
        if self.counters.borrow().contains_key(key) {
            return Ok(Some(b"counter".to_vec()));
        }
        Ok(self.values.borrow().get(key).cloned())
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operation(true)?;
        self.values.borrow_mut().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.operation(true)?;
        self.values.borrow_mut().remove(key);
        self.counters.borrow_mut().remove(key);
        Ok(())
    }

    fn set_many(&self, values: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        self.operation(true)?;
        for (key, value) in values {
            self.values.borrow_mut().insert(key.clone(), value.clone());
        }
        Ok(())
    }

    fn delete_many(&self, keys: &[String]) -> Result<(), StoreError> {
        self.operation(true)?;
        for key in keys {
            self.values.borrow_mut().remove(key);
            self.counters.borrow_mut().remove(key);
        }
        Ok(())
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.operation(true)?;
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += delta;
        Ok(*counter)
    }
}

impl Clock for Memory {
    fn now(&self) -> Duration {
        Duration::from_secs(self.seconds.get())
    }
}

impl Random for Memory {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            self.drawn.set(self.drawn.get().wrapping_add(1));
            *byte = self.drawn.get();
        }
    }
}

impl Variables for Memory {
    fn variable(&self, name: &str) -> Result<Option<String>, VariableError> {
        Ok(self.variables.borrow().get(name).cloned())
    }
}

impl Http for Memory {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, SendError> {
        self.sent.borrow_mut().push(request.clone());
        let server = self.server.borrow().clone();
        match server {
            Some(server) => server(self, request),
            None => Err(SendError::Broken("nothing listens".to_owned())),
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn answer(status: u16, body: &serde_json::Value) -> Result<HttpResponse, SendError> {
    Ok(HttpResponse { status, headers: Vec::new(), body: body.to_string().into_bytes() })
}

/// The id of every delivery.
pub(crate) const DELIVERY: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

/// A *workflow_job* delivery, signed with the secret of [`Memory::configured`].
pub(crate) fn delivery(event: &serde_json::Value) -> Request {
    let body = event.to_string().into_bytes();
    let mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").unwrap().chain_update(&body);
    let digest = hex(mac.finalize().into_bytes());
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = vec![
        header("X-GitHub-Event", "workflow_job"),
        header("X-GitHub-Delivery", DELIVERY),
        header("X-Hub-Signature-256", &format!("sha256={digest}")),
    ];
    Request { method: "POST".to_owned(), target: "/api/github/webhooks".to_owned(), headers, body }
}

/// A POST without a body that carries a credential.
pub(crate) fn authorized(credential: &str) -> Request {
    let headers = vec![("authorization".to_owned(), credential.as_bytes().to_vec())];
    Request { method: "POST".to_owned(), target: "/".to_owned(), headers, body: Vec::new() }
}

/// A GET with the admin token of [`Memory::configured`].
pub(crate) fn get(target: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        target: target.to_owned(),
        ..authorized("Bearer an-admin-token-of-32-characters!")
    }
}
