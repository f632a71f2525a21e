//! The key-value store in Redis or Valkey, as Spin has it: keys stand in the server's database as they are, without the
//! store's name, and counters are changed by `INCRBY`. So several hosts, Spin's among them, share one store.
//!
//! A server that is away makes each call fail within seconds; the connection comes back by itself.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Cmd, FromRedisValue};

use super::{KeyValueError, Values};

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// A connection to the server. Cheap to clone.
#[derive(Clone)]
pub struct Redis(ConnectionManager);

impl From<redis::RedisError> for KeyValueError {
    fn from(error: redis::RedisError) -> Self {
        Self(format!("Redis: {error}"))
    }
}

impl Redis {
    /// Connects, or says why not. The URL may hold a password and is not part of a message.
    pub async fn connect(url: &str) -> Result<Self, KeyValueError> {
        let client = redis::Client::open(url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(ANSWER_DEADLINE))
            .set_number_of_retries(1);
        Ok(Self(ConnectionManager::new_with_config(client, config).await?))
    }

    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KeyValueError> {
        let mut connection = self.0.clone();
        Ok(command.query_async(&mut connection).await?)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KeyValueError> {
        Ok(self.0.clone().get(key).await?)
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
        Ok(self.0.clone().mset(&values).await?)
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
        Ok(self.0.clone().incr(key, delta).await?)
    }
}
