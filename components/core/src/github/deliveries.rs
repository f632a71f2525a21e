//! The App's own webhook at GitHub's API: what GitHub sent or tried to send, for three days, and having it sent once more.
//!
//! Source: GitHub Docs, "REST API endpoints for GitHub App webhooks". The payload that GitHub shows is the object and not
//! the bytes that were signed, so no signature can be checked over it: it is authentic because it comes over TLS from the
//! API, and GitHub shows it to the holder of the App's key alone.

use chrono::DateTime;
use gha_slurm_protocol::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::client::{Caller, GitHub, GitHubError, Refusal, parse};
use crate::identity::DeliveryId;
use crate::ports::{Clock, Http, HttpMethod, HttpResponse, Random, SendError, Store};
use crate::text::Text;

/// A longer `ETag` is not sent back.
const LONGEST_ETAG: usize = 200;
/// A longer cursor is not either.
const LONGEST_CURSOR: usize = 200;

/// One attempt to deliver an event, as GitHub lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct DeliveryEntry {
    /// The id of this attempt.
    pub id: u64,
    /// The same for all attempts.
    pub guid: String,
    /// `OK`, or what went wrong.
    pub status: String,
    /// The application's status; 0 where there was no answer.
    #[serde(default)]
    pub status_code: u16,
    /// When, RFC 3339.
    #[serde(default)]
    delivered_at: Text,
    /// The event.
    pub event: String,
    /// What happened, where the event knows several things.
    #[serde(default)]
    pub action: Text,
    /// Whether it repeats an earlier attempt.
    #[serde(default)]
    pub redelivery: bool,
}

impl DeliveryEntry {
    /// When it was made, in seconds of Unix time; `None` if GitHub does not say.
    pub fn at(&self) -> Option<u64> {
        u64::try_from(DateTime::parse_from_rfc3339(self.delivered_at.some()?).ok()?.timestamp()).ok()
    }
}

/// A page of deliveries, newest first.
#[derive(Debug)]
pub struct DeliveryPage {
    /// The deliveries.
    pub deliveries: Vec<DeliveryEntry>,
    /// How many more there are that have not the form of one.
    pub malformed: usize,
    /// Where older ones begin, if there are any.
    pub next: Option<String>,
    /// Names what the page says, to the credential that it was read with.
    pub etag: Option<String>,
}

/// A delivery in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeDelivery {
    /// The event.
    pub event: String,
    /// `X-GitHub-Delivery`; `None` if it is malformed.
    pub guid: Option<DeliveryId>,
    /// The payload as JSON, written anew.
    pub payload: Vec<u8>,
}

/// Why a delivery that GitHub lists cannot be read, though GitHub answers.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Unreadable {
    /// 404 or 410.
    #[error("GitHub does not show it: {0}")]
    Gone(Refusal),
    /// The answer is longer than one is read.
    #[error("it is too large")]
    TooLarge,
    /// It has not the form that GitHub gives it.
    #[error("{0}")]
    Malformed(&'static str),
    /// It was sent for the App with this id.
    #[error("it was sent for another App, {0}")]
    OtherApp(u64),
}

/// Why there is no delivery.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ReadError {
    /// This one cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The call was not answered, or not with yes.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
}

/// What is read of a delivery in full.
#[derive(Deserialize)]
struct Shown {
    guid: Value,
    event: Value,
    request: Value,
}

impl<P: Http + Clock + Store + Random> GitHub<'_, P> {
    /// `GET /app/hook/deliveries`, from `cursor` on.
    pub fn deliveries(&self, app_jwt: &Secret, cursor: Option<&str>) -> Result<DeliveryPage, GitHubError> {
        let path = list(cursor);
        page(&path, &self.exchange(HttpMethod::Get, &path, &path, Caller::Deliveries(app_jwt), None)?)
    }

    /// `GET /app/hook/deliveries`: the newest, unless they still are those of the page with this `ETag`. Such an answer
    /// does not count against GitHub's primary rate limit. GitHub's tags are of the credential too: with another App JWT
    /// the page comes once more.
    pub fn new_deliveries(&self, app_jwt: &Secret, etag: Option<&str>) -> Result<Option<DeliveryPage>, GitHubError> {
        let path = list(None);
        let changed = self.get_changed(&path, Caller::Deliveries(app_jwt), etag)?;
        changed.map(|response| page(&path, &response)).transpose()
    }

    /// `GET /app/hook/deliveries/{id}` of several at once, in their order.
    pub fn whole_deliveries(
        &self,
        app_jwt: &Secret,
        ids: &[u64],
    ) -> Result<Vec<Result<WholeDelivery, ReadError>>, GitHubError> {
        let paths: Vec<String> = ids.iter().map(|id| format!("app/hook/deliveries/{id}")).collect();
        let answers = self.get_many(&paths, Caller::Deliveries(app_jwt))?;
        Ok(paths.iter().zip(answers).map(|(path, answer)| self.whole(path, app_jwt, answer)).collect())
    }

    fn whole(
        &self,
        path: &str,
        app_jwt: &Secret,
        answer: Result<HttpResponse, SendError>,
    ) -> Result<WholeDelivery, ReadError> {
        if answer.as_ref().err() == Some(&SendError::TooLarge) {
            return Err(Unreadable::TooLarge.into());
        }
        match self.read::<Value>(path, Caller::Deliveries(app_jwt), answer) {
            Ok(shown) => Ok(self.understood(shown)?),
            Err(GitHubError::NotFound(refusal)) => Err(Unreadable::Gone(refusal).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn understood(&self, shown: Value) -> Result<WholeDelivery, Unreadable> {
        let malformed = || Unreadable::Malformed("it has not the form that GitHub gives a delivery");
        let Shown { guid, event, mut request } = serde_json::from_value(shown).map_err(|_| malformed())?;
        let (Value::String(guid), Value::String(event)) = (guid, event) else { return Err(malformed()) };
        if let Some(other) = self.other_app(&request) {
            return Err(Unreadable::OtherApp(other));
        }
        let payload = request.get_mut("payload").map(Value::take).filter(Value::is_object);
        let payload = payload.ok_or(Unreadable::Malformed("GitHub shows no payload"))?;
        Ok(WholeDelivery { event, guid: guid.try_into().ok(), payload: payload.to_string().into_bytes() })
    }

    /// The App that a delivery was sent for, where its headers name one that is not ours. Where we know the App by its
    /// client id alone they cannot be compared.
    fn other_app(&self, request: &Value) -> Option<u64> {
        let ours: u64 = self.settings.app_id.parse().ok()?;
        let headers = request.get("headers").and_then(Value::as_object)?;
        target(headers).filter(|target| *target != ours)
    }

    /// `POST /app/hook/deliveries/{id}/attempts`: GitHub sends it once more.
    pub fn redeliver(&self, app_jwt: &Secret, delivery: u64) -> Result<(), GitHubError> {
        let path = format!("app/hook/deliveries/{delivery}/attempts");
        self.exchange(HttpMethod::Post, &path, &path, Caller::Deliveries(app_jwt), None).map(|_| ())
    }
}

/// `X-GitHub-Hook-Installation-Target-ID`
fn target(headers: &Map<String, Value>) -> Option<u64> {
    let (_, value) =
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-github-hook-installation-target-id"))?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn list(cursor: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    format!("app/hook/deliveries?per_page=100{cursor}")
}

fn page(path: &str, response: &HttpResponse) -> Result<DeliveryPage, GitHubError> {
    let next = response.header("link").and_then(next_cursor);
    let plain = |etag: &&str| etag.len() <= LONGEST_ETAG && etag.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    let etag = response.header("etag").filter(plain).map(str::to_owned);
    let listed: Vec<Value> = parse(path, response)?;
    let all = listed.len();
    // One that cannot be read must not hide the others.
    let deliveries: Vec<_> = listed.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect();
    Ok(DeliveryPage { malformed: all - deliveries.len(), deliveries, next, etag })
}

/// The cursor of `<…?cursor=v1_123>; rel="next"`.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let url = url::Url::parse(url).ok()?;
    let (_, cursor) = url.query_pairs().find(|(name, _)| name == "cursor")?;
    // It goes into a URL again.
    let plain = cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (plain && cursor.len() <= LONGEST_CURSOR).then(|| cursor.into_owned())
}

#[cfg(test)]
mod tests;
