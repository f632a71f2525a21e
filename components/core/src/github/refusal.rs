//! What GitHub's refusals mean.
//!
//! GitHub tells most of them by its `message` alone: a status stands for a dozen causes, each with another remedy. They are
//! read here, once, into a [`Reason`]; whoever decides or advises goes by that, and the message is for people. It comes
//! from outside and is shown in a terminal, so it is cleaned and bounded.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limit::Scope;
use crate::ports::HttpResponse;
use crate::text::clean;

/// The longest text of GitHub's that is passed on, in characters.
const MAX_MESSAGE: usize = 240;
/// An App JWT begins 60 s in the past: a clock that is off by less does no harm.
const CLOCK_SECONDS: i64 = 55;

/// Why GitHub does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The App's JWT is of another time: the clocks differ by so many seconds, more than 0 where ours is ahead; `None`
    /// where GitHub did not tell its time.
    Clock {
        /// Ours less GitHub's.
        ahead: Option<i64>,
    },
    /// The App's id or key is not that of an App of this server.
    App,
    /// A token is not accepted (any more).
    Token,
    /// The App is not installed for the repository, or the repository is not there.
    NotInstalled,
    /// The account that installed the App, or GitHub, suspended the installation.
    Suspended,
    /// The App lacks a permission, or its new permissions were not accepted yet.
    Permission,
    /// The App may not manage the runners of the organization, or the account is none.
    OrganizationPermission,
    /// The organization has no runner group of the name that the profile gives.
    NoGroup,
    /// The runner group is not open to the repository.
    GroupClosed,
    /// A registration token is for no group.
    GroupNeedsJit,
    /// The repository's owner, its organization or its enterprise does not allow self-hosted runners for it.
    RunnersDisabled,
    /// The organization allows only listed addresses.
    IpAllowList,
    /// A runner of that name exists.
    NameTaken,
    /// The server does not know JIT configurations.
    NoJit,
    /// The labels cannot be a runner's.
    Labels,
    /// It is not GitHub that answers: a proxy or a firewall.
    NotGitHub,
    /// GitHub's message says.
    #[serde(other)]
    Other,
}

/// A refusal with GitHub's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub reason: Reason,
    /// What GitHub says: one line without quotation marks, at most 240 characters; empty where it says nothing.
    pub message: String,
    /// The call, the status and the message, for the log.
    pub detail: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Refusal {
    /// Reads an answer to a call of `path` in `scope`, at `now` in seconds of Unix time.
    pub(super) fn read(path: &str, scope: Scope, response: &HttpResponse, now: u64) -> Self {
        let body = serde_json::from_slice::<Value>(&response.body).ok().filter(Value::is_object);
        let message = body.as_ref().map(words).unwrap_or_default();
        let reason = match &body {
            None => Reason::NotGitHub,
            Some(_) => reason(scope, response, &message.to_ascii_lowercase(), now),
        };
        let shown = if message.is_empty() { "(no message)" } else { &message };
        let detail = format!("{path}: {} {shown}", response.status);
        Self { reason, message, detail }
    }
}

/// `message`, and what `errors` add to it.
fn words(body: &Value) -> String {
    let text = |value: &Value| value.as_str().or_else(|| value.get("message")?.as_str()).map(str::to_owned);
    let errors = body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let parts: Vec<String> = body.get("message").into_iter().chain(errors).filter_map(text).collect();
    // A script reads it out of a JSON string.
    clean(&parts.join(": "), MAX_MESSAGE).replace('"', "'").replace('\\', "/")
}

fn reason(scope: Scope, response: &HttpResponse, message: &str, now: u64) -> Reason {
    let says = |part: &str| message.contains(part);
    match response.status {
        401 if matches!(scope, Scope::App | Scope::Deliveries) => {
            let ahead = ahead(response, now);
            let off = ahead.is_some_and(|ahead| ahead.abs() > CLOCK_SECONDS);
            let told = ["'exp'", "'iat'", "expiration time", "issued at"].into_iter().any(says);
            if off || told { Reason::Clock { ahead } } else { Reason::App }
        }
        401 => Reason::Token,
        _ if says("ip allow list") => Reason::IpAllowList,
        _ if says("suspended") => Reason::Suspended,
        _ if says("runners") && (says("disabled") || says("not allowed")) => Reason::RunnersDisabled,
        403 if says("resource not accessible") || says("admin rights") => Reason::Permission,
        // GitHub's answer where a token is to have a permission that the App lacks.
        403 | 422 if says("permissions requested are not granted") => Reason::Permission,
        404 if says("integration not found") => Reason::App,
        404 => Reason::NotInstalled,
        409 => Reason::NameTaken,
        422 if says("label") => Reason::Labels,
        422 if says("not accessible to the parent installation") => Reason::NotInstalled,
        _ => Reason::Other,
    }
}

/// By how much our clock is ahead of GitHub's, by the `Date` of an answer.
fn ahead(response: &HttpResponse, now: u64) -> Option<i64> {
    Some(i64::try_from(now).ok()? - date(response)?)
}

/// When GitHub answered, by its own clock, in seconds of Unix time.
pub(super) fn date(response: &HttpResponse) -> Option<i64> {
    DateTime::parse_from_rfc2822(response.header("date")?).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::InstallationId;
    use serde_json::json;

    const REPOSITORY: Scope = Scope::Installation(InstallationId(9));
    /// Friday, 15 January 2027, 08:00:00 GMT.
    const NOW: u64 = 1_800_000_000;

    fn read(scope: Scope, status: u16, body: &[u8]) -> Refusal {
        let headers = vec![("Date".to_owned(), "Fri, 15 Jan 2027 08:00:00 GMT".to_owned())];
        Refusal::read("path", scope, &HttpResponse { status, headers, body: body.to_vec() }, NOW)
    }

    fn of(scope: Scope, status: u16, message: &str) -> Reason {
        read(scope, status, json!({"message": message}).to_string().as_bytes()).reason
    }

    #[test]
    fn each_of_githubs_messages_has_its_reason() {
        let disabled = "Repository level self-hosted runners are disabled on this repository.";
        let listed = "Although you appear to have the correct authorization credentials, the `acme` organization has an \
                      IP allow list enabled, and 192.0.2.9 is not permitted to access this resource.";
        for (scope, status, message, reason) in [
            (REPOSITORY, 403, disabled, Reason::RunnersDisabled),
            (REPOSITORY, 403, listed, Reason::IpAllowList),
            (Scope::App, 403, "This installation has been suspended", Reason::Suspended),
            (REPOSITORY, 403, "Resource not accessible by integration", Reason::Permission),
            (Scope::App, 422, "The permissions requested are not granted to this installation.", Reason::Permission),
            (REPOSITORY, 404, "Not Found", Reason::NotInstalled),
            (Scope::App, 404, "Integration not found", Reason::App),
            (REPOSITORY, 401, "Bad credentials", Reason::Token),
            (Scope::App, 401, "A JSON web token could not be decoded", Reason::App),
            (REPOSITORY, 409, "Already exists - A runner with the name x already exists.", Reason::NameTaken),
            (REPOSITORY, 403, "Something new", Reason::Other),
        ] {
            assert_eq!(of(scope, status, message), reason, "{status} {message}");
        }
        let labels = read(REPOSITORY, 422, br#"{"message": "Validation Failed", "errors": ["Labels is invalid"]}"#);
        assert_eq!((labels.reason, labels.message.as_str()), (Reason::Labels, "Validation Failed: Labels is invalid"));
        assert_eq!(read(REPOSITORY, 403, b"<html>Blocked by policy</html>").reason, Reason::NotGitHub);
    }

    #[test]
    fn a_wrong_clock_is_told_with_the_difference() {
        let answered = |date: &str, message: &str| {
            let headers = vec![("date".to_owned(), date.to_owned())];
            let body = json!({"message": message}).to_string().into_bytes();
            Refusal::read("app", Scope::App, &HttpResponse { status: 401, headers, body }, NOW).reason
        };
        let late = "Fri, 15 Jan 2027 07:50:00 GMT";
        assert_eq!(
            answered(late, "'Expiration time' claim ('exp') is too far in the future"),
            Reason::Clock { ahead: Some(600) }
        );
        assert_eq!(answered("no date", "'Issued at' claim ('iat') must be an Integer"), Reason::Clock { ahead: None });
        assert_eq!(answered("Fri, 15 Jan 2027 08:00:20 GMT", "Bad credentials"), Reason::App);
    }

    #[test]
    fn githubs_words_are_bounded_and_steer_no_terminal() {
        let body = json!({"message": format!("a \"b\"\u{1b}[31m\\n\u{202e}{}", "x".repeat(1000))}).to_string();
        let message = read(REPOSITORY, 403, body.as_bytes()).message;
        assert!(message.starts_with("a 'b'[31m/n") && message.chars().count() <= MAX_MESSAGE, "{message}");
    }

    #[test]
    fn a_reason_of_a_later_build_is_read_as_another_one() {
        assert_eq!(serde_json::from_str::<Reason>("\"sunspots\"").unwrap(), Reason::Other);
        let clock = Reason::Clock { ahead: Some(-5) };
        assert_eq!(serde_json::from_value::<Reason>(serde_json::to_value(clock).unwrap()).unwrap(), clock);
    }
}
