//! One exchange with the app over HTTPS: what is sent, how long it may take, how much of an answer is read, and what a
//! bad answer means and how it is fixed.

use std::time::Duration;

use gha_slurm_protocol::exchange::Exchange;
use gha_slurm_protocol::secret::Secret;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use thiserror::Error;
use tokio_rustls::rustls;

use super::answer::Answer;
use super::connector::{Way, tls};
use crate::causes::{cause, with_causes};
use crate::config::{ConfigError, Fetching, invalid};

/// For a whole exchange, whatever hangs.
const DEADLINE: Duration = Duration::from_secs(20);
/// Some 64 launches of at most 25 kB, twice.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// So much of what the app says is repeated in a message.
const MAX_WORDS: usize = 300;

/// Why there was no exchange. Each says what to do about it where that is known.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    #[error("the app cannot be reached: {0}")]
    Unreachable(String),
    #[error(
        "the app's certificate is not believed ({0}): if an authority of the site signed it, name that one's PEM file in app.caFile"
    )]
    Untrusted(String),
    #[error("the app does not answer within {} s", DEADLINE.as_secs())]
    Late,
    #[error(
        "the app does not know this cluster or its secret (401): compare app.cluster and app.secretFile with the cluster's name and secret_sha256 in the app's variable `clusters`, which needs reach = \"fetch\" there; `sha256sum` of the secret without its line end has to be that"
    )]
    Unauthorized,
    #[error(
        "nothing answers there (404): is app.url the app's public URL, and does the app serve clusters that fetch?"
    )]
    NotThere,
    #[error("the app is elsewhere ({0}, {1:?}): write where in app.url")]
    Moved(StatusCode, String),
    #[error("the app limits how often it is asked (429)")]
    Limited(Option<Duration>),
    #[error("the app does not take what is said ({0}: {1})")]
    NotTaken(StatusCode, String),
    #[error("the app fails ({0}: {1})")]
    Failed(StatusCode, String, Option<Duration>),
    #[error("the app's answer is not understood: {0}")]
    Malformed(String),
    #[error("the app's answer is longer than {} MiB", MAX_ANSWER_BYTES / 1024 / 1024)]
    TooLong,
}

impl ExchangeError {
    /// In the metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Untrusted(_) => "untrusted",
            Self::Late => "late",
            Self::Unauthorized => "unauthorized",
            Self::NotThere => "not_there",
            Self::Moved(..) => "moved",
            Self::Limited(_) => "limited",
            Self::NotTaken(..) => "not_taken",
            Self::Failed(..) => "failed",
            Self::Malformed(_) | Self::TooLong => "malformed",
        }
    }

    /// Whether it stays until somebody changes a configuration.
    pub(super) fn needs_somebody(&self) -> bool {
        use ExchangeError::{Moved, NotThere, Unauthorized, Untrusted};
        matches!(self, Unauthorized | NotThere | Moved(..) | Untrusted(_))
    }

    /// How long the app asks to be left alone (`Retry-After`).
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Limited(wait) | Self::Failed(_, _, wait) => *wait,
            _ => None,
        }
    }

    fn of_connection(error: &legacy::Error) -> Self {
        match cause::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Untrusted(format!("{why:?}")),
            _ => Self::Unreachable(with_causes(error)),
        }
    }

    fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let words = || {
            let said: Value = serde_json::from_slice(body).unwrap_or_default();
            let told = said.get("error").and_then(Value::as_str).unwrap_or("no reason given");
            told.chars().take(MAX_WORDS).collect::<String>()
        };
        let wait = || header(RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        match status.as_u16() {
            401 => Self::Unauthorized,
            404 => Self::NotThere,
            400 | 413 => Self::NotTaken(status, words()),
            429 => Self::Limited(wait()),
            300..400 => Self::Moved(status, header(LOCATION).unwrap_or_default().chars().take(MAX_WORDS).collect()),
            _ => Self::Failed(status, words(), wait()),
        }
    }
}

/// The app, as one cluster speaks to it.
pub(crate) struct Client {
    http: legacy::Client<HttpsConnector<Way>, Full<Bytes>>,
    exchange: Uri,
    proxy_authorization: Option<HeaderValue>,
}

impl Client {
    /// Nothing is sent yet. Proxies are those of the environment.
    pub(crate) fn new(fetching: &Fetching) -> Result<Self, ConfigError> {
        let base = fetching.url.as_str().trim_end_matches('/');
        let exchange = format!("{base}/clusters/{}/exchange", fetching.cluster);
        let exchange: Uri = exchange.parse().map_err(|_| invalid("app.url", "no URL that can be asked"))?;
        let (way, proxy_authorization) = Way::to("app.url", &exchange, &Matcher::from_env())?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .build(way.with_tls(tls("app.caFile", fetching.ca_file.as_deref())?));
        Ok(Self { http, exchange, proxy_authorization })
    }

    /// Says something, and hears what is to be done. A redirection is not followed: the secret is for this URL alone.
    pub(crate) async fn exchange(&self, said: &Exchange, secret: &Secret) -> Result<Answer, ExchangeError> {
        let exchanged = tokio::time::timeout(DEADLINE, self.ask(said, secret)).await;
        exchanged.unwrap_or(Err(ExchangeError::Late))
    }

    async fn ask(&self, said: &Exchange, secret: &Secret) -> Result<Answer, ExchangeError> {
        let impossible = |error: &dyn std::fmt::Display| ExchangeError::Unreachable(error.to_string());
        let body = serde_json::to_vec(said).map_err(|error| impossible(&error))?;
        let bearer = format!("Bearer {}", secret.expose());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|error| impossible(&error))?;
        bearer.set_sensitive(true);
        let mut request = Request::post(self.exchange.clone())
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.proxy_authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Full::from(body)).map_err(|error| impossible(&error))?;
        let response = self.http.request(request).await.map_err(|error| ExchangeError::of_connection(&error))?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(ExchangeError::TooLong),
            Err(error) => return Err(ExchangeError::Unreachable(with_causes(&*error))),
        };
        match head.status {
            StatusCode::OK => Answer::read(&body).map_err(ExchangeError::Malformed),
            status => Err(ExchangeError::of_answer(status, &head.headers, &body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_that_asks_for_a_pause_is_heard_whatever_it_answers() {
        let wait = |status: u16, text: Option<&'static str>| {
            let headers = text.map(|text| (RETRY_AFTER, HeaderValue::from_static(text))).into_iter().collect();
            ExchangeError::of_answer(StatusCode::from_u16(status).unwrap(), &headers, b"").wait()
        };
        for status in [429, 503, 502] {
            assert_eq!(wait(status, Some("30")), Some(Duration::from_secs(30)), "{status}");
            assert_eq!((wait(status, None), wait(status, Some("soon"))), (None, None), "{status}");
        }
    }
}
