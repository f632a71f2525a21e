//! A platform in memory, for unit tests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::resources::Resources;

use crate::identity::RepositoryId;
use crate::ledger::{Requested, keys};
use crate::policy::Rules;
use crate::ports::{
    Audit, Clock, Http, HttpRequest, HttpResponse, Random, SendError, Store, StoreError, VariableError, Variables,
};
use crate::profile::RegisteredAt;
use crate::text::Text;

/// What answers outbound requests; it may call back into a flow, as a concurrent request would.
type Server = Box<dyn Fn(&Memory, &HttpRequest) -> Result<HttpResponse, SendError>>;
/// What happens between two operations of the store, as another replica's request would.
type Meanwhile = Box<dyn FnOnce(&Memory)>;

/// A store, a clock that stands until it is moved, and randomness that never repeats.
pub struct Memory {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    counters: RefCell<BTreeMap<String, i64>>,
    pub seconds: Cell<u64>,
    drawn: Cell<u8>,
    pub operations: Cell<u32>,
    /// Steps that read, whether one key or many.
    pub reads: Cell<u32>,
    /// Operations that write, each a transaction on most backends.
    pub transactions: Cell<u32>,
    /// How many more operations succeed before the process dies; `None` is for ever.
    pub lives: Cell<Option<u32>>,
    meanwhile: RefCell<Option<(u32, Meanwhile)>>,
    variables: RefCell<BTreeMap<&'static str, String>>,
    server: RefCell<Option<Rc<Server>>>,
    pub sent: RefCell<Vec<HttpRequest>>,
    /// How many requests were sent at once, each time that several could have been.
    pub batches: RefCell<Vec<usize>>,
    pub audited: RefCell<Vec<String>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    pub fn new() -> Self {
        Self {
            values: RefCell::default(),
            counters: RefCell::default(),
            seconds: Cell::new(1_800_000_000),
            drawn: Cell::new(0),
            operations: Cell::new(0),
            reads: Cell::new(0),
            transactions: Cell::new(0),
            lives: Cell::new(None),
            meanwhile: RefCell::default(),
            variables: RefCell::default(),
            server: RefCell::default(),
            sent: RefCell::default(),
            batches: RefCell::default(),
            audited: RefCell::default(),
        }
    }

    /// With every variable set, but for the private key, which is dear to make.
    pub fn configured() -> Self {
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

    pub fn set_variable(&self, name: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.variables.borrow_mut().insert(name, value.to_owned()),
            None => self.variables.borrow_mut().remove(name),
        };
    }

    /// Counts an operation, or fails it as a crash would: it and all that follow have no effect.
    fn operation(&self, writes: bool) -> Result<(), StoreError> {
        let due = self.meanwhile.borrow_mut().as_mut().is_some_and(|(operations, _)| {
            let due = *operations == 0;
            *operations = operations.saturating_sub(1);
            due
        });
        if due && let Some((_, what)) = self.meanwhile.take() {
            what(self);
        }
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

    /// Has something happen after so many more operations, before the next one.
    pub fn meanwhile(&self, operations: u32, what: impl FnOnce(&Self) + 'static) {
        *self.meanwhile.borrow_mut() = Some((operations, Box::new(what)));
    }

    /// Takes back what was to happen and did not. Returns whether there was such a thing.
    pub fn uninterrupted(&self) -> bool {
        self.meanwhile.take().is_some()
    }

    fn look(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operation(false)?;
        if self.counters.borrow().contains_key(key) {
            return Ok(Some(b"counter".to_vec()));
        }
        Ok(self.values.borrow().get(key).cloned())
    }

    /// The value of a key, looked at from outside: no step of the store.
    pub fn peek(&self, key: &str) -> Option<Vec<u8>> {
        self.values.borrow().get(key).cloned()
    }

    /// Puts a value under any key, also one that the schema does not know.
    pub fn plant(&self, key: &str, value: &[u8]) {
        self.values.borrow_mut().insert(key.to_owned(), value.to_owned());
    }

    fn put(&self, key: &str, value: &[u8]) {
        if self.values.borrow_mut().insert(key.to_owned(), value.to_owned()).is_none() {
            check_key(key);
        }
    }

    /// The keys of the store.
    pub fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().chain(self.counters.borrow().keys()).cloned().collect()
    }

    /// The values of the store with their keys, as somebody sees them who dumps it.
    pub fn values(&self) -> Vec<(String, Vec<u8>)> {
        self.values.borrow().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub fn serve(&self, server: impl Fn(&Self, &HttpRequest) -> Result<HttpResponse, SendError> + 'static) {
        *self.server.borrow_mut() = Some(Rc::new(Box::new(server)));
    }
}

/// Every key that is ever written is one of the schema.
fn check_key(key: &str) {
    assert!(keys::is_known(key), "{key} is not in the key schema");
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        self.look(key)
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        keys.iter().map(|key| self.look(key)).collect()
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operation(true)?;
        self.put(key, value);
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
            self.put(key, value);
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
        if !counters.contains_key(key) {
            check_key(key);
        }
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += delta;
        Ok(*counter)
    }
}

impl Clock for Memory {
    fn now(&self) -> Duration {
        Duration::from_secs(self.seconds.get())
    }

    fn pause(&self, time: Duration) {
        self.seconds.set(self.seconds.get() + time.as_secs());
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

impl Audit for Memory {
    fn audit(&self, line: &str) {
        self.audited.borrow_mut().push(line.to_owned());
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

    fn send_many(&self, requests: &[HttpRequest]) -> Vec<Result<HttpResponse, SendError>> {
        self.batches.borrow_mut().push(requests.len());
        requests.iter().map(|request| self.send(request)).collect()
    }
}

/// What was asked for by a job of no particular kind.
#[allow(clippy::unwrap_used, reason = "tests alone call it")]
pub fn requested() -> Requested {
    Requested {
        repository_id: RepositoryId(7),
        repository: "octo/repo".to_owned().try_into().unwrap(),
        html_url: "https://github.com/octo/repo".parse().unwrap(),
        installation: None,
        labels: LabelSet::default(),
        run_attempt: 1,
        profile: "cpu".to_owned(),
        max_running: None,
        max_running_per_repository: None,
        clusters: Vec::new(),
        person_id: None,
        run_id: None,
        rules: Rules::default(),
        slurm_user: None,
        sha: None,
        registered_at: RegisteredAt::Repository,
        resources: Resources::default(),
        name: Text::default(),
        workflow: Text::default(),
        branch: Text::default(),
        person: Text::default(),
        delivery: None,
        created_at: 1_800_000_000,
        at: 1_800_000_000,
    }
}

/// An answer with a JSON body.
pub fn answer(status: u16, body: &serde_json::Value) -> Result<HttpResponse, SendError> {
    Ok(HttpResponse { status, headers: Vec::new(), body: body.to_string().into_bytes() })
}

/// GitHub's answer to a question about a workflow run, by the path of the call: one that a push to the repository itself
/// caused.
pub fn own_run(path: &str) -> Option<serde_json::Value> {
    let mut parts = path.trim_start_matches('/').split('/');
    let (Some("repositories"), Some(repository)) = (parts.next(), parts.next()) else { return None };
    let (Some("actions"), Some("runs"), Some(id), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let (repository, id): (u64, u64) = (repository.parse().ok()?, id.parse().ok()?);
    let person = serde_json::json!({"id": 2, "login": "octocat"});
    Some(serde_json::json!({
        "id": id, "event": "push", "head_branch": "main", "path": ".github/workflows/ci.yml", "run_attempt": 1,
        "actor": person, "triggering_actor": person,
        "head_repository": {"id": repository}, "repository": {"id": repository, "private": true},
    }))
}
