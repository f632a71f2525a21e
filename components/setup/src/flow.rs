//! Setup in the browser: `/setup`, from a one-time link to a GitHub App whose key is in the store.
//!
//! Who has the link's secret may choose who is to own the App; that uses the link up and gives his browser a session. Each
//! choice gets a `state` of its own, under which GitHub sends him back with a code; in that browser alone the code is
//! exchanged for the App's key and webhook secret, and the first App that comes so far is kept. From then on, or where
//! variables name an App, nothing is served here.
//!
//! To open the link uses nothing up, because browsers and chat programs look at links by themselves.

use std::time::Duration;

use gha_slurm_core::audit::{Door, Record, record};
use gha_slurm_core::github::app_jwt::AppKey;
use gha_slurm_core::github::client::{ConvertedApp, GitHub, GitHubError};
use gha_slurm_core::ledger::{Claim, Ledger, RegisteredApp, Registration};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::{GitHubSettings, SettingError, Settings};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::client::Client;
use gha_slurm_edge::cookies::{Cookie, SameSite};
use gha_slurm_edge::guesses::{Checked, Giver, Guesses};
use gha_slurm_edge::request::Request;
use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::secret::Secret;
use serde_json::json;
use url::Url;

use crate::manifest::Choice;
use crate::pages::{self, Frame};

/// A form of a few short fields.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// How long a link lives, from its making or from its first opening; GitHub's codes live as long.
pub const LINK_SECONDS: u64 = 60 * 60;

/// GitHub gets 8 s of it, at most.
const BUDGET: Duration = Duration::from_secs(20);
/// Well past the budget.
const LEASE: Duration = Duration::from_secs(60);
const MAX_CODE: usize = 200;
const COOKIE: &str = "gha-slurm-setup";

/// Answers one request below `/setup`.
pub fn setup<P: Platform>(platform: &P, request: &Request) -> Answer {
    match Setup::open(platform) {
        Ok(Some(setup)) => setup.route(request).unwrap_or_else(|error| error.into()),
        Ok(None) => nothing_here(),
        Err(error) => error.into(),
    }
}

/// What the host says of a path that no component serves.
fn nothing_here() -> Answer {
    Answer::error(404, "nothing is served at this path")
}

struct Setup<'a, P> {
    platform: &'a P,
    secret: Secret,
    /// The application's address, and GitHub's pages.
    public: Url,
    web: Url,
    registration: Registration<'a, P>,
}

/// By what a browser may choose.
enum Entry {
    /// The link's secret; it was not used yet.
    Link,
    /// A session, until then.
    Session(u64),
}

impl<'a, P: Platform> Setup<'a, P> {
    /// `None` where there is nothing to be set up.
    fn open(platform: &'a P) -> Result<Option<Self>, SettingError> {
        let settings = Settings(platform);
        let Some(secret) = settings.setup_secret()? else { return Ok(None) };
        let registration = Ledger(platform).registration();
        if settings.app_id_variable()?.is_some() || registration.app()?.is_some() {
            return Ok(None);
        }
        // Before GitHub makes an App whose key could then not be kept.
        settings.app_key_seal()?;
        let (public, web) = (settings.public_url()?, settings.github_web()?);
        Ok(Some(Self { platform, secret, public, web, registration }))
    }

    fn route(&self, request: &Request) -> Result<Answer, SettingError> {
        // `public_url` may have a path, which a proxy takes off or does not.
        let path = request.path().trim_end_matches('/');
        match (request.method.as_str(), path.ends_with("/callback"), path.ends_with("/setup")) {
            ("GET", true, _) => self.callback(request),
            ("GET", _, true) => self.first_page(request),
            ("POST", _, true) => self.chosen(request),
            (_, true, _) => Ok(Answer::method_not_allowed("GET")),
            (_, _, true) => Ok(Answer::method_not_allowed("GET, POST")),
            _ => Ok(nothing_here()),
        }
    }

    fn first_page(&self, request: &Request) -> Result<Answer, SettingError> {
        let given = request.query("secret").unwrap_or_default();
        let entry = match self.enter(request, &given)? {
            Ok(entry) => entry,
            Err(refusal) => return Ok(*refusal),
        };
        let log = json!({"step": "opened"});
        Ok(self.choice_page(200, &entry, &given, None, log))
    }

    /// Compares the link's secret, unless too many wrong ones came from there. Nothing given is no guess.
    fn check(&self, request: &Request, given: &str) -> Result<Result<(), Box<Answer>>, SettingError> {
        let refuse = |answer: Answer| Ok(Err(Box::new(answer)));
        let text = "Open the one-time link that gha-slurm prints when it starts.";
        if given.is_empty() {
            return refuse(self.refusal(403, text, "no secret"));
        }
        let client = Client::of(self.platform, request)?;
        let guesses = Guesses::of(self.platform, client, Door::Setup);
        let client = client.to_string();
        match guesses.check(Giver::Person, None, &[&self.secret], given)? {
            Checked::Right => Ok(Ok(())),
            Checked::Wrong => refuse(self.refusal(403, text, "wrong secret").with_log("client", &client)),
            Checked::Limited { seconds } => {
                let text = format!("Too many wrong links were tried from this address. Try again in {seconds} s.");
                let answer = self.refusal(429, &text, "too many wrong secrets").with_log("client", &client);
                refuse(answer.with_header("retry-after", seconds.to_string()))
            }
        }
    }

    /// Whether the request may choose: its session first, because a link that was used up is still in the address bar.
    fn enter(&self, request: &Request, given: &str) -> Result<Result<Entry, Box<Answer>>, SettingError> {
        if let Some(session) = session_of(request)
            && let Some(until) = self.registration.session(&session)?
        {
            return Ok(Ok(Entry::Session(until)));
        }
        let refuse = |status, text: &str, why| Ok(Err(Box::new(self.refusal(status, text, why))));
        if let Err(refusal) = self.check(request, given)? {
            return Ok(Err(refusal));
        }
        if self.registration.link_used(&self.secret)? {
            return refuse(410, USED, "the link was used");
        }
        if self.platform.unix_seconds() >= self.link_end()? {
            let text = "This link has expired. Restart gha-slurm to get a new one.";
            return refuse(410, text, "the link has expired");
        }
        Ok(Ok(Entry::Link))
    }

    fn link_end(&self) -> Result<u64, SettingError> {
        Ok(match Settings(self.platform).setup_expires()? {
            Some(end) => end,
            None => self.registration.link_opened(&self.secret)?.saturating_add(LINK_SECONDS),
        })
    }

    fn chosen(&self, request: &Request) -> Result<Answer, SettingError> {
        let form = |name| request.form(name).unwrap_or_default();
        let given = form("secret");
        let entry = match self.enter(request, &given)? {
            Ok(entry) => entry,
            Err(refusal) => return Ok(*refusal),
        };
        let parsed = Choice::parse(&form("account"), &form("organization"), &form("runners"), &form("name"));
        let choice = match parsed {
            Ok(choice) => choice,
            Err(problem) => {
                let log = json!({"step": "chosen", "error": problem});
                return Ok(self.choice_page(422, &entry, &given, Some(problem), log));
            }
        };
        let (session, until, is_new) = match (entry, session_of(request)) {
            (Entry::Session(until), Some(session)) => (session, until, false),
            _ if !self.registration.use_link(&self.secret)? => {
                return Ok(self.refusal(410, USED, "the link was used"));
            }
            _ => (self.random(), self.platform.unix_seconds().saturating_add(LINK_SECONDS), true),
        };
        let state = self.random();
        self.registration.open_state(&state, &session, until)?;
        let action = choice.action(&self.web, state.expose())?;
        let settings = Settings(self.platform);
        let webhooks = settings.webhooks()?;
        let manifest = choice.manifest(&self.public, webhooks, settings.commit_status()?)?;
        let page = pages::review(&choice, webhooks, &action, &manifest, &self.public, &self.url("setup")?);
        let answer = self.page(200, "Create the App", &page, json!({"step": "chosen"}));
        if !is_new {
            return Ok(answer);
        }
        self.registration.open_session(&session, until)?;
        let setup = self.url("setup")?;
        let cookie = Cookie {
            name: COOKIE,
            value: session.expose(),
            path: setup.path(),
            seconds: LINK_SECONDS,
            // Because GitHub leads back here.
            same_site: SameSite::Lax,
            secure: self.public.scheme() == "https",
        };
        Ok(answer.with_header("set-cookie", cookie.to_string()))
    }

    fn callback(&self, request: &Request) -> Result<Answer, SettingError> {
        let state = Secret::new(request.query("state").unwrap_or_default());
        let text = "This answer from GitHub does not belong to a setup that was started in this browser, or that setup is \
                    complete.";
        let Some(session) = session_of(request) else {
            return Ok(self.refusal(403, text, "no session"));
        };
        // The state is the session's: somebody who is led here with another's state and code registers nothing.
        if self.registration.session(&session)?.is_none() || !self.registration.state(&state, &session)? {
            return Ok(self.refusal(403, text, "unknown state"));
        }
        let code = request.query("code").unwrap_or_default();
        let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if code.is_empty() || code.len() > MAX_CODE || !plain {
            return self.again(400, "The code from GitHub is malformed.", "malformed code");
        }
        let attempts = self.registration.exchanges(&state, &session);
        let Claim::Won(attempt) = attempts.claim(LEASE)? else {
            return self.again(409, "This answer from GitHub is already being handled.", "the state is in use");
        };
        // Somebody may have come to the end of it between the look and the claim.
        if !self.registration.state(&state, &session)? {
            return Ok(self.refusal(403, "This setup is already complete.", "the state was used"));
        }
        // No app id: the code is the credential.
        let settings = GitHubSettings { app_id: String::new(), api: Settings(self.platform).github_api()? };
        match GitHub::new(self.platform, settings, BUDGET).convert_manifest(&code) {
            Ok(app) => {
                self.registration.close_state(&state, &session)?;
                self.keep(request, app)
            }
            Err(error @ GitHubError::Unavailable { .. }) => {
                attempts.record_failed(attempt, error.kind(), &error.to_string())?;
                let text = "GitHub cannot answer now. Reload this page in a moment.";
                Ok(self.again(502, text, "GitHub is unavailable")?.with_detail(error.to_string()))
            }
            Err(GitHubError::Setting(error)) => Err(error),
            Err(error) => {
                self.registration.close_state(&state, &session)?;
                let text = "GitHub does not accept the code, which may have expired. If the App is listed in its owner's \
                            settings, delete it there: its key is lost.";
                Ok(self.again(502, text, "GitHub refused the code")?.with_detail(error.to_string()))
            }
        }
    }

    fn keep(&self, request: &Request, app: ConvertedApp) -> Result<Answer, SettingError> {
        let (Some(webhook_secret), Some(_)) = (&app.webhook_secret, AppKey::from_pem(app.pem.expose())) else {
            return self.again(502, "GitHub sent no key or no webhook secret for the App.", "incomplete App");
        };
        let install = format!("{}/installations/new", app.html_url.path().trim_end_matches('/'));
        let install = self.web.join(&install).map_err(|_| SettingError::new("github_api_url", "is not a base URL"))?;
        let kept = RegisteredApp {
            app_id: app.id,
            slug: app.slug,
            name: app.name,
            html_url: app.html_url.to_string(),
            at: self.platform.unix_seconds(),
        };
        let seal = Settings(self.platform).app_key_seal()?;
        if !self.registration.keep(&kept, &app.pem, webhook_secret, seal.as_ref())? {
            let text = format!(
                "Another App was created here at the same time, and is used. Delete the App {} on GitHub.",
                kept.name
            );
            return Ok(self.refusal(409, &text, "another App is kept"));
        }
        let client = Client::of(self.platform, request)?.to_string();
        record(self.platform, &Record::Registration { app_id: kept.app_id, client: &client });
        let log = json!({"step": "registered", "app_id": kept.app_id, "slug": kept.slug});
        let of_organization = app.permissions.contains_key("organization_self_hosted_runners");
        let page = pages::registered(&kept.name, &install, of_organization);
        Ok(self.page(200, "App created", &page, log))
    }

    fn choice_page(
        &self,
        status: u16,
        entry: &Entry,
        secret: &str,
        problem: Option<&str>,
        log: serde_json::Value,
    ) -> Answer {
        let secret = matches!(entry, Entry::Link).then_some(secret);
        match self.url("setup") {
            Ok(action) => {
                let page = pages::choose(&action, secret, &self.web, problem);
                self.page(status, "Connect to GitHub", &page, log)
            }
            Err(error) => error.into(),
        }
    }

    /// What did not go well, with a way back to the first page.
    fn again(&self, status: u16, text: &str, why: &str) -> Result<Answer, SettingError> {
        let page = pages::problem(text, Some(&self.url("setup")?));
        Ok(self.page(status, "No App was created", &page, json!({"error": why})))
    }

    fn refusal(&self, status: u16, text: &str, why: &str) -> Answer {
        self.page(status, "Not possible", &pages::problem(text, None), json!({"error": why}))
    }

    fn page(&self, status: u16, title: &str, content: &maud::Markup, log: serde_json::Value) -> Answer {
        let nonce = self.random();
        Frame { nonce: nonce.expose(), github: &self.web }.page(status, title, content, log)
    }

    fn url(&self, path: &str) -> Result<Url, SettingError> {
        self.public.join(path).map_err(|error| SettingError::new("public_url", format!("is not a base URL ({error})")))
    }

    /// 160 random bits.
    fn random(&self) -> Secret {
        let mut bytes = [0; 20];
        self.platform.fill(&mut bytes);
        Secret::new(hex(bytes))
    }
}

const USED: &str = "This link has been used. Restart gha-slurm to get a new one.";

fn session_of(request: &Request) -> Option<Secret> {
    request.cookies(COOKIE).next().map(Secret::new)
}

#[cfg(test)]
mod tests;
