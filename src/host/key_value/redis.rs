//! The key-value store in Redis or Valkey, as Spin has it: keys stand in the server's database as they are, without the
//! store's name, and counters are changed by `INCRBY`. So several hosts, Spin's among them, share one store.
//!
//! A server that is away makes each call fail within seconds; the connection comes back by itself. A server, or what is
//! between, also ends connections that are idle, and after a failover the server behind the same name is another one. An
//! operation that meets the end of its connection is repeated once, on a new one, if that cannot change its outcome:
//! reading, setting and deleting can be done twice. An increment that was done twice would be a claim that nobody holds. So
//! it is repeated only when the server said that it did not do it; and because the usual end is that of an idle connection,
//! one that was idle is tried with `PING` before it carries an increment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};

use super::{KeyValueError, Values};

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// After this long without an answer a connection may have been ended by the other side.
const IDLE: Duration = Duration::from_secs(1);
/// How long a server that is taking over or loading is given before it is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// A connection to the server. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    client: redis::Client,
    connection: Arc<Mutex<ConnectionManager>>,
    begun: Instant,
    /// When the last answer came, in milliseconds since `begun`.
    answered: Arc<AtomicU64>,
}

impl From<RedisError> for KeyValueError {
    fn from(error: RedisError) -> Self {
        Self(format!("Redis: {error}"))
    }
}

/// Whether the server says that it did not do what it was asked, and may soon.
fn was_not_done(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    matches!(error.kind(), ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain))
}

async fn new_connection(client: &redis::Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        .set_response_timeout(Some(ANSWER_DEADLINE))
        .set_number_of_retries(1);
    ConnectionManager::new_with_config(client.clone(), config).await
}

impl Redis {
    /// Connects, or says why not. The URL may hold a password and is not part of a message. `rediss://` means TLS, with
    /// the system's root certificates or those of `SSL_CERT_FILE`.
    pub async fn connect(url: &str) -> Result<Self, KeyValueError> {
        // What the library takes for TLS; another call may have chosen the same before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = redis::Client::open(url)?;
        let connection = Arc::new(Mutex::new(new_connection(&client).await?));
        Ok(Self { client, connection, begun: Instant::now(), answered: Arc::default() })
    }

    fn connection(&self) -> MutexGuard<'_, ConnectionManager> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection().clone();
        let answer = command.query_async(&mut connection).await;
        if answer.is_ok() {
            self.answered.store(self.now(), Ordering::Relaxed);
        }
        answer
    }

    /// Waits for a server that did not do what it was asked. The one that takes over may be another one.
    async fn recover(&self, error: &RedisError) -> Result<(), RedisError> {
        tokio::time::sleep(PAUSE).await;
        if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly)) {
            let anew = new_connection(&self.client).await?;
            *self.connection() = anew;
        }
        Ok(())
    }

    /// For what may be done twice.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KeyValueError> {
        match self.once(command).await {
            Err(error) if was_not_done(&error) => self.recover(&error).await?,
            // The connection has been replaced by then. One that gives no answer at all has used up the time.
            Err(error) if error.is_connection_dropped() => {}
            done => return Ok(done?),
        }
        Ok(self.once(command).await?)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KeyValueError> {
        self.run(Cmd::new().arg("GET").arg(key)).await
    }

    pub(super) async fn get_many(&self, keys: Vec<String>) -> Result<Values, KeyValueError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values: Vec<Option<Vec<u8>>> = self.run(Cmd::new().arg("MGET").arg(&keys)).await?;
        Ok(keys.into_iter().zip(values).collect())
    }

    pub(super) async fn set_many(&self, values: Vec<(String, Vec<u8>)>) -> Result<(), KeyValueError> {
        if values.is_empty() {
            return Ok(());
        }
        self.run(&Cmd::mset(&values)).await
    }

    pub(super) async fn delete_many(&self, keys: Vec<String>) -> Result<(), KeyValueError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.run(Cmd::new().arg("DEL").arg(keys)).await
    }

    pub(super) async fn keys(&self) -> Result<Vec<String>, KeyValueError> {
        self.run(Cmd::new().arg("KEYS").arg("*")).await
    }

    pub(super) async fn increment(&self, key: String, delta: i64) -> Result<i64, KeyValueError> {
        let idle = self.now().saturating_sub(self.answered.load(Ordering::Relaxed));
        if u128::from(idle) >= IDLE.as_millis() {
            self.run::<()>(Cmd::new().arg("PING")).await?;
        }
        let mut command = Cmd::new();
        command.arg("INCRBY").arg(key).arg(delta);
        match self.once(&command).await {
            Err(error) if was_not_done(&error) => {
                self.recover(&error).await?;
                Ok(self.once(&command).await?)
            }
            done => Ok(done?),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
