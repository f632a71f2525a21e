//! Who may do what, by the token that a request carries: `Authorization: Bearer …`.
//!
//! The admin token may do everything. Beside it there may be a token for each of reading, metrics and the tick, which
//! opens that one door and no other, so that a dashboard, a Prometheus and a CronJob need not hold the operator's.

use gha_slurm_core::audit::Door;
use gha_slurm_core::ports::{Audit, Clock, Store, StoreError, Variables};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_protocol::secret::Secret;
use thiserror::Error;

use crate::answer::Answer;
use crate::client::Client;
use crate::guesses::{Checked, Giver, Guesses};
use crate::request::Request;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read the API: `read_token`.
    Read,
    /// Read metrics: `metrics_token`.
    Metrics,
    /// Start the periodic repair: `tick_token`.
    Tick,
    /// Give orders: the admin token alone.
    Operate,
}

impl Right {
    fn door(self) -> Door {
        match self {
            Self::Read | Self::Operate => Door::Api,
            Self::Metrics => Door::Metrics,
            Self::Tick => Door::Tick,
        }
    }

    /// The variables whose tokens give it.
    fn variables(self) -> &'static str {
        match self {
            Self::Read => "the admin token or the read token",
            Self::Metrics => "the admin token or the metrics token",
            Self::Tick => "the admin token or the tick token",
            Self::Operate => "the admin token",
        }
    }

    /// The tokens that give it.
    fn tokens<V: Variables>(self, settings: &Settings<'_, V>) -> Result<Vec<Secret>, SettingError> {
        let own = match self {
            Self::Read => settings.read_token()?,
            Self::Metrics => settings.metrics_token()?,
            Self::Tick => settings.tick_token()?,
            Self::Operate => None,
        };
        Ok(settings.admin_token_variable()?.into_iter().chain(own).collect())
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token that gives the right, so nobody may.
    #[error("this is switched off: {0}")]
    Off(SettingError),
    /// A setting that the check needs is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// It does not carry such a token.
    #[error("Authorization must carry {}: Bearer TOKEN", .right.variables())]
    Unauthorized {
        /// What it wanted.
        right: Right,
        /// Where it came from.
        client: String,
    },
    /// Too many wrong ones came from there.
    #[error("too many wrong tokens came from this address; try again in {seconds} s")]
    Limited {
        /// When to come back.
        seconds: u64,
        /// Where it came from.
        client: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Off(_) => Self::error(403, message),
            Refusal::Setting(error) => error.into(),
            Refusal::Store(error) => error.into(),
            Refusal::Unauthorized { client, .. } => Self::error(401, message)
                .with_header("www-authenticate", "Bearer realm=\"gha-slurm\"")
                .with_log("client", &client),
            Refusal::Limited { seconds, client } => {
                Self::error(429, message).with_header("retry-after", seconds.to_string()).with_log("client", &client)
            }
        }
    }
}

/// Checks that a request carries a token that gives the right, in constant time; who sent it. A request without any token
/// is no guess.
pub fn authorize<P>(platform: &P, request: &Request, right: Right) -> Result<Client, Refusal>
where
    P: Store + Clock + Variables + Audit,
{
    let settings = Settings(platform);
    let tokens = right.tokens(&settings).map_err(Refusal::Off)?;
    if tokens.is_empty() {
        return Err(Refusal::Off(SettingError::new("admin_token", "is not set")));
    }
    let client = Client::of(platform, request)?;
    let unauthorized = || Refusal::Unauthorized { right, client: client.to_string() };
    let given = request.bearer().filter(|given| !given.is_empty()).ok_or_else(unauthorized)?;
    let tokens: Vec<&Secret> = tokens.iter().collect();
    match Guesses::of(platform, client, right.door()).check(Giver::Program, None, &tokens, given)? {
        Checked::Right => Ok(client),
        Checked::Wrong => Err(unauthorized()),
        Checked::Limited { seconds } => Err(Refusal::Limited { seconds, client: client.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use gha_slurm_core::testing::Memory;

    use super::*;

    const ADMIN: &str = "an-admin-token-of-32-characters!";

    fn bearer(token: &str) -> Request {
        let headers = vec![
            ("authorization".to_owned(), format!("Bearer {token}").into_bytes()),
            ("spin-client-addr".to_owned(), b"192.0.2.1:1000".to_vec()),
        ];
        Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new() }
    }

    #[test]
    fn each_token_opens_its_own_door_and_the_admin_token_all() {
        let platform = Memory::configured();
        let tokens = [("read_token", Right::Read), ("metrics_token", Right::Metrics), ("tick_token", Right::Tick)];
        for (name, _) in tokens {
            platform.set_variable(name, Some(&format!("{name}-of-some-length")));
        }
        for door in [Right::Read, Right::Metrics, Right::Tick, Right::Operate] {
            assert!(authorize(&platform, &bearer(ADMIN), door).is_ok(), "{door:?}");
            for (name, right) in tokens {
                let came = authorize(&platform, &bearer(&format!("{name}-of-some-length")), door);
                assert_eq!(came.is_ok(), right == door, "{name} at {door:?}");
                platform.seconds.set(platform.seconds.get() + 60);
            }
        }
    }

    #[test]
    fn a_door_is_open_to_its_token_without_an_admin_token_and_shut_without_either() {
        let platform = Memory::configured();
        platform.set_variable("admin_token", None);
        assert!(matches!(authorize(&platform, &bearer(ADMIN), Right::Tick), Err(Refusal::Off(_))));
        platform.set_variable("tick_token", Some("a-token-for-the-tick"));
        assert!(authorize(&platform, &bearer("a-token-for-the-tick"), Right::Tick).is_ok());
        assert!(matches!(authorize(&platform, &bearer("a-token-for-the-tick"), Right::Read), Err(Refusal::Off(_))));
        platform.set_variable("tick_token", Some("short"));
        assert!(matches!(authorize(&platform, &bearer("short"), Right::Tick), Err(Refusal::Off(_))));
    }

    #[test]
    fn wrong_tokens_are_limited_and_told_with_their_address_and_none_is_no_guess() {
        let platform = Memory::configured();
        for _ in 0..50 {
            let none = Request { headers: Vec::new(), ..bearer("") };
            assert!(matches!(authorize(&platform, &none, Right::Read), Err(Refusal::Unauthorized { .. })));
        }
        assert!(platform.audited.borrow().is_empty());
        for _ in 0..10 {
            let answer = Answer::from(authorize(&platform, &bearer("wrong"), Right::Read).unwrap_err());
            assert_eq!((answer.status, answer.log["client"].as_str()), (401, Some("192.0.2.1")));
        }
        let answer = Answer::from(authorize(&platform, &bearer("wrong"), Right::Tick).unwrap_err());
        assert_eq!(answer.status, 429, "one limiter for every door: {}", answer.body);
        assert!(authorize(&platform, &bearer(ADMIN), Right::Tick).is_ok(), "strangers keep nobody out");
        let audited = platform.audited.borrow();
        assert_eq!(audited.len(), 11);
        assert!(audited[0].contains("\"refused\"") && audited[0].contains("192.0.2.1"), "{}", audited[0]);
        assert!(audited[10].contains("\"limited\":true") && !audited[10].contains("wrong"), "{}", audited[10]);
    }

    #[test]
    fn a_forged_forwarded_address_keeps_nobody_out_and_lets_nobody_guess_on() {
        let platform = Memory::configured();
        let from = |token: &str, address: &str| {
            let mut request = bearer(token);
            request.headers.push(("x-forwarded-for".to_owned(), address.as_bytes().to_vec()));
            authorize(&platform, &request, Right::Read)
        };
        for number in 0..10 {
            assert!(matches!(from("wrong", &format!("203.0.113.{number}")), Err(Refusal::Unauthorized { .. })));
        }
        assert!(matches!(from("wrong", "203.0.113.77"), Err(Refusal::Limited { .. })), "another address helps not");
        assert!(authorize(&platform, &bearer(ADMIN), Right::Read).is_ok(), "the proxy's own machine");
    }
}
