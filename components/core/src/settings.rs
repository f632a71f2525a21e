//! The application's variables as typed settings.
//!
//! Each is read when it is needed, so that a component asks only for what it was given, and a mistake in one is reported
//! by the first request that needs it: which variable, what is wrong, how to set it. A value is never part of a message.

mod app;
mod webhooks;

pub use self::app::AppSigner;
pub use self::webhooks::Webhooks;

use gha_slurm_protocol::secret::Secret;
use ipnet::IpNet;
use std::net::IpAddr;
use thiserror::Error;
use url::{Host, Url};

use crate::cluster::{Clusters, Definitions};
use crate::ports::{StoreError, Variables};
use crate::profile::Profiles;

/// A setting that is missing or malformed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SettingError {
    /// A variable is missing or malformed.
    #[error("the variable {name} {problem}; {}", how_to_set(.name))]
    Variable {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Neither this variable nor the setup in the browser provides the App.
    #[error(
        "there is no GitHub App yet: the variable {name} is not set, and the setup in the browser was not completed; \
         open the link that `gha-slurm up` prints, or {}", how_to_set(.name)
    )]
    Unconfigured {
        /// The variable.
        name: &'static str,
    },
    /// What the setup in the browser stored cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const COMMIT_STATUS: &str = "commit_status";
const GITHUB_API_URL: &str = "github_api_url";
/// The variables of the gateways that are called: the host of each must stand in `allowed_outbound_hosts`.
const GATEWAYS: [(&str, &str); MOST_GATEWAYS as usize] =
    [("gateway_url", "gateway_secret"), ("gateway_url_2", "gateway_secret_2"), ("gateway_url_3", "gateway_secret_3")];
const MOST_GATEWAYS: u8 = 3;
const REGISTRATION_TOKENS: &str = "registration_tokens";
/// A token that somebody types or a program sends is no shorter.
const MIN_TOKEN: usize = 16;
/// What others are derived from is no shorter.
const MIN_KEY: usize = 32;

/// What is wrong with a text that is no TOML of its kind.
fn no_toml(text: &str, error: &dyn std::fmt::Display) -> String {
    let text = text.trim();
    if text.ends_with(".toml") && text.lines().count() == 1 {
        return format!("is the name of a file and not its text: write @{text}");
    }
    format!("is malformed: {error}")
}

fn how_to_set(name: &str) -> String {
    let example = match name {
        "profiles" => "profiles=@profiles.toml".to_owned(),
        "clusters" => "clusters=@clusters.toml".to_owned(),
        "github_private_key" => "github_private_key=@app.pem".to_owned(),
        REGISTRATION_TOKENS => "registration_tokens=never".to_owned(),
        COMMIT_STATUS => "commit_status=off".to_owned(),
        _ => format!("{name}=VALUE"),
    };
    let upper = name.to_ascii_uppercase();
    format!("set SPIN_VARIABLE_{upper} in the environment or in .env, or start with --variable {example}")
}

impl SettingError {
    /// What is wrong, without how to fix it.
    pub fn problem(&self) -> String {
        match self {
            Self::Variable { name, problem } => format!("the variable {name} {problem}"),
            Self::Unconfigured { name } => {
                format!("the variable {name} is not set, and the setup in the browser was not completed")
            }
            Self::Store(error) => error.to_string(),
        }
    }

    /// How to fix it.
    pub fn fix(&self) -> String {
        match self {
            Self::Variable { name, .. } => how_to_set(name),
            Self::Unconfigured { .. } => "open the link that `gha-slurm up` prints".to_owned(),
            Self::Store(_) => "see the check \"store\"".to_owned(),
        }
    }

    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self::Variable { name, problem: problem.into() }
    }
}

/// Where launches are submitted.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The gateway's base URL.
    pub url: Url,
    /// The secret that both sides share, sent as `auth-token`.
    pub secret: Secret,
}

/// Which App this application is on GitHub.
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// The App's id or client id.
    pub app_id: String,
    /// Base of the REST API, ending with `/`.
    pub api: Url,
}

/// Typed access to the variables of a platform.
#[derive(Debug)]
pub struct Settings<'a, V>(pub &'a V);

impl<V: Variables> Settings<'_, V> {
    /// `admin_token`, which may do everything.
    pub fn admin_token(&self) -> Result<Secret, SettingError> {
        self.token("admin_token")?.ok_or_else(|| SettingError::new("admin_token", "is not set"))
    }

    /// `admin_token`, where it is set.
    pub fn admin_token_variable(&self) -> Result<Option<Secret>, SettingError> {
        self.token("admin_token")
    }

    /// `read_token`, where it is set: it reads the API and changes nothing.
    pub fn read_token(&self) -> Result<Option<Secret>, SettingError> {
        self.token("read_token")
    }

    /// `metrics_token`, where it is set: it reads metrics alone.
    pub fn metrics_token(&self) -> Result<Option<Secret>, SettingError> {
        self.token("metrics_token")
    }

    /// `tick_token`, where it is set: it starts the periodic repair alone.
    pub fn tick_token(&self) -> Result<Option<Secret>, SettingError> {
        self.token("tick_token")
    }

    /// `trusted_proxies`: whose forwarded addresses are believed. Addresses or networks, separated by commas or blanks.
    pub fn trusted_proxies(&self) -> Result<Vec<IpNet>, SettingError> {
        let text = self.optional("trusted_proxies")?.unwrap_or_default();
        let parts = text.split([',', ' ', '\n', '\t']).filter(|part| !part.is_empty());
        parts
            .map(|part| {
                let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
                network.map_err(|_| {
                    let problem = format!("has {part:?}, which is no address or network such as 10.0.0.0/8");
                    SettingError::new("trusted_proxies", problem)
                })
            })
            .collect()
    }

    /// `store_key`, where it is set: what seals the App's private key in the store.
    pub fn store_key(&self) -> Result<Option<Secret>, SettingError> {
        self.secret_of("store_key", MIN_KEY)
    }

    /// `open_metrics`: whether metrics need no token.
    pub fn open_metrics(&self) -> Result<bool, SettingError> {
        match self.read("open_metrics")?.unwrap_or_default().trim() {
            "true" => Ok(true),
            "" | "false" => Ok(false),
            _ => Err(SettingError::new("open_metrics", "must be true or false")),
        }
    }

    /// `commit_status`: whether authors are told beside their commits how long Slurm lets a job wait.
    pub fn commit_status(&self) -> Result<bool, SettingError> {
        match self.read(COMMIT_STATUS)?.unwrap_or_default().trim() {
            "on" => Ok(true),
            "" | "off" => Ok(false),
            _ => Err(SettingError::new(COMMIT_STATUS, "must be off or on")),
        }
    }

    /// `registration_tokens`: whether a job script that does not ask for a JIT configuration gets a registration token, by
    /// which it can register any number of runners for an hour.
    pub fn registration_tokens(&self) -> Result<bool, SettingError> {
        match self.read(REGISTRATION_TOKENS)?.unwrap_or_default().trim() {
            "allow" => Ok(true),
            "" | "never" => Ok(false),
            _ => Err(SettingError::new(REGISTRATION_TOKENS, "must be never or allow")),
        }
    }

    /// `gateway_url` and `gateway_secret`, or those of the gateway of that number.
    pub fn gateway(&self, number: u8) -> Result<GatewaySettings, SettingError> {
        let [first, ..] = GATEWAYS;
        let named = GATEWAYS.get(usize::from(number.saturating_sub(1)));
        let (url_name, secret_name) = named.copied().unwrap_or(first);
        let url = self.base_url(url_name)?;
        // Nobody's (RFC 6761), what stands in spin.toml where nothing is set: allowed_outbound_hosts takes no empty host.
        if matches!(url.host(), Some(Host::Domain(host)) if host.ends_with(".invalid")) {
            return Err(SettingError::new(url_name, "is not set"));
        }
        let secret = self.required(secret_name)?;
        if !secret.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
            return Err(SettingError::new(
                secret_name,
                "must consist of printable ASCII characters without spaces, because it is sent in a header",
            ));
        }
        Ok(GatewaySettings { url, secret: Secret::new(secret) })
    }

    /// `clusters` as it is configured; blank means one that is pushed to.
    pub fn cluster_definitions(&self) -> Result<Definitions, SettingError> {
        let text = self.read("clusters")?.unwrap_or_default();
        Definitions::parse(&text, MOST_GATEWAYS).map_err(|error| SettingError::new("clusters", no_toml(&text, &error)))
    }

    /// The clusters, for a component that calls gateways.
    pub fn clusters(&self) -> Result<Clusters, SettingError> {
        self.cluster_definitions()?.with_gateways(|number| self.gateway(number))
    }

    /// `public_url`, where the application is reached; ending with `/`.
    pub fn public_url(&self) -> Result<Url, SettingError> {
        self.base_url("public_url")
    }

    /// The URL where launch tokens are redeemed: `/gha/runner` under `public_url`. It is the tokens' audience as well.
    pub fn redeem_url(&self) -> Result<Url, SettingError> {
        join(&self.public_url()?, "gha/runner").map_err(|problem| SettingError::new("public_url", problem))
    }

    /// `profiles`; blank means the built-in default.
    pub fn profiles(&self) -> Result<Profiles, SettingError> {
        let text = self.read("profiles")?.unwrap_or_default();
        Profiles::parse(&text).map_err(|error| SettingError::new("profiles", no_toml(&text, &error)))
    }

    /// `github_api_url`: the base of the REST API, ending with `/`.
    pub fn github_api(&self) -> Result<Url, SettingError> {
        api_base(self.github_origin()?).map_err(|problem| SettingError::new(GITHUB_API_URL, problem))
    }

    /// Where GitHub's pages are: what serves the API at `api.HOST` serves them at `HOST`, an Enterprise Server at the
    /// same origin.
    pub fn github_web(&self) -> Result<Url, SettingError> {
        let mut url = self.github_origin()?;
        let host = url.host_str().and_then(|host| host.strip_prefix("api.")).map(str::to_owned);
        if let Some(host) = host {
            url.set_host(Some(&host)).map_err(|_| SettingError::new(GITHUB_API_URL, "has no host"))?;
        }
        Ok(url)
    }

    /// Whether a page is one of the GitHub whose API is at `github_api_url`: of its host, and no less protected.
    pub fn is_github_page(&self, page: &Url) -> Result<bool, SettingError> {
        let web = self.github_web()?;
        let same = page.host() == web.host() && page.port() == web.port();
        let protected = page.scheme() == "https" || web.scheme() == "http";
        // An API at an address without a name, as in tests or behind a relay, stands for public GitHub.
        let named = matches!(web.host(), Some(Host::Domain(host)) if host != "localhost");
        let public = page.scheme() == "https" && page.host_str() == Some("github.com") && page.port().is_none();
        Ok((same && protected) || (public && !named))
    }

    /// `github_app_id`, where it is set.
    pub fn app_id_variable(&self) -> Result<Option<String>, SettingError> {
        let Some(app_id) = self.optional("github_app_id")? else { return Ok(None) };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if app_id.len() > 64 || !app_id.bytes().all(plain) {
            return Err(SettingError::new("github_app_id", "must be the App's id, such as 123456, or its client id"));
        }
        Ok(Some(app_id))
    }

    /// `setup_secret`: the secret of the setup link; without it there is no setup in the browser.
    pub fn setup_secret(&self) -> Result<Option<Secret>, SettingError> {
        self.token("setup_secret")
    }

    /// `setup_expires`: when the setup link expires, as a Unix time in seconds; without it the link is valid for a
    /// while after it was first opened.
    pub fn setup_expires(&self) -> Result<Option<u64>, SettingError> {
        let Some(text) = self.optional("setup_expires")? else { return Ok(None) };
        let seconds = text.parse().map_err(|_| SettingError::new("setup_expires", "must be a Unix time in seconds"))?;
        Ok(Some(seconds))
    }

    fn github_origin(&self) -> Result<Url, SettingError> {
        let text = self.optional(GITHUB_API_URL)?.unwrap_or_else(|| "https://api.github.com".to_owned());
        parse_base_url(&text).map_err(|problem| SettingError::new(GITHUB_API_URL, problem))
    }

    fn token(&self, name: &'static str) -> Result<Option<Secret>, SettingError> {
        self.secret_of(name, MIN_TOKEN)
    }

    fn secret_of(&self, name: &'static str, at_least: usize) -> Result<Option<Secret>, SettingError> {
        match self.optional(name)? {
            Some(secret) if secret.len() < at_least => {
                Err(SettingError::new(name, format!("must have at least {at_least} characters")))
            }
            secret => Ok(secret.map(Secret::new)),
        }
    }

    fn base_url(&self, name: &'static str) -> Result<Url, SettingError> {
        parse_base_url(&self.required(name)?).map_err(|problem| SettingError::new(name, problem))
    }

    fn required(&self, name: &'static str) -> Result<String, SettingError> {
        self.optional(name)?.ok_or_else(|| SettingError::new(name, "is not set"))
    }

    /// A variable's value, blank counting as none.
    fn optional(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        let value = self.read(name)?.map(|value| value.trim().to_owned());
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn read(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        self.0.variable(name).map_err(|error| SettingError::new(name, format!("cannot be read: {error}")))
    }
}

/// A base URL, with `/` at its end so that paths can be joined to it.
fn parse_base_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text.trim()).map_err(|error| format!("is not a URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must have no user, query or fragment".to_owned());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Spin allows no path in `allowed_outbound_hosts`, where this variable stands as well. So it is an origin, and the
/// `/api/v3` of an Enterprise Server is added here; public GitHub and `*.ghe.com` serve at `api.…` without it.
fn api_base(origin: Url) -> Result<Url, String> {
    match (origin.path(), origin.host()) {
        ("/", Some(Host::Domain(host))) if host.starts_with("api.") || host == "localhost" => Ok(origin),
        ("/", Some(Host::Domain(_))) => join(&origin, "api/v3/"),
        ("/", _) => Ok(origin),
        _ => {
            Err("must be an origin without a path, such as https://api.github.com or https://ghe.example.org"
                .to_owned())
        }
    }
}

fn join(base: &Url, path: &str) -> Result<Url, String> {
    base.join(path).map_err(|error| format!("is not a base URL ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn settings(name: &'static str, value: &str) -> Memory {
        let platform = Memory::configured();
        platform.set_variable(name, Some(value));
        platform
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named_with_the_way_to_set_it() {
        type Read = fn(&Memory) -> Option<SettingError>;
        let cases: &[(&'static str, &[&str], Read)] = &[
            ("github_webhook_secret", &["", "  "], |memory| Settings(memory).webhook_secret().err()),
            ("admin_token", &["", "short"], |memory| Settings(memory).admin_token().err()),
            ("read_token", &["short"], |memory| Settings(memory).read_token().err()),
            ("metrics_token", &["short"], |memory| Settings(memory).metrics_token().err()),
            ("tick_token", &["short"], |memory| Settings(memory).tick_token().err()),
            ("store_key", &["an-admin-token-of-31-characters"], |memory| Settings(memory).store_key().err()),
            ("trusted_proxies", &["proxy", "10.0.0.0/33", "10.0.0.1, x"], |memory| {
                Settings(memory).trusted_proxies().err()
            }),
            ("gateway_url", &["", "gateway", "ftp://gateway", "http://user@gateway", "http://gateway/?q"], |memory| {
                Settings(memory).gateway(1).err()
            }),
            ("gateway_secret", &["", "two words", "line\nbreak", "ä"], |memory| Settings(memory).gateway(1).err()),
            ("public_url", &["", "app.example"], |memory| Settings(memory).redeem_url().err()),
            ("profiles", &["[[profile]]"], |memory| Settings(memory).profiles().err()),
            ("github_app_id", &["", "1 2", "a/b"], |memory| Settings(memory).github().err()),
            ("github_api_url", &["https://ghe.example/api/v3", "x"], |memory| Settings(memory).github().err()),
            ("github_private_key", &["", "hunter2", "-----BEGIN RSA PRIVATE KEY-----"], |memory| {
                Settings(memory).app_key().err()
            }),
        ];
        for (name, bad, read) in cases {
            for value in *bad {
                let error = read(&settings(name, value)).map(|error| error.to_string()).unwrap_or_default();
                assert!(error.contains(name) && error.contains("--variable"), "{name}={value:?}: {error:?}");
                assert!(!error.contains("hunter2"), "{name} shows its value");
            }
            if bad.contains(&"") {
                let platform = Memory::configured();
                platform.set_variable(name, None);
                let error = read(&platform).map(|error| error.to_string()).unwrap_or_default();
                assert!(error.contains(&format!("{name} is not set")), "{error:?}");
            }
        }
    }

    #[test]
    fn an_enterprise_servers_api_is_under_a_path() {
        for (origin, api) in [
            ("", "https://api.github.com/"),
            ("https://api.github.com", "https://api.github.com/"),
            ("https://api.octo.ghe.com/", "https://api.octo.ghe.com/"),
            ("https://ghe.example.org", "https://ghe.example.org/api/v3/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ] {
            assert_eq!(Settings(&settings("github_api_url", origin)).github().unwrap().api.as_str(), api);
        }
    }

    #[test]
    fn a_page_of_another_host_than_the_apis_is_not_githubs() {
        for (api, page, is) in [
            ("", "https://github.com/o/r", true),
            ("", "http://github.com/o/r", false),
            ("", "https://github.com:8443/o/r", false),
            ("", "https://github.com.evil.example/o/r", false),
            ("", "https://ghe.example.org/o/r", false),
            ("https://ghe.example.org", "https://ghe.example.org/o/r", true),
            ("https://ghe.example.org", "https://github.com/o/r", false),
            ("https://api.octo.ghe.com", "https://octo.ghe.com/o/r", true),
            ("https://api.octo.ghe.com", "https://other.ghe.com/o/r", false),
            ("http://127.0.0.1:8080", "https://github.com/o/r", true),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/o/r", true),
            ("http://127.0.0.1:8080", "https://evil.example/o/r", false),
        ] {
            let page = Url::parse(page).unwrap();
            assert_eq!(Settings(&settings("github_api_url", api)).is_github_page(&page), Ok(is), "{api} {page}");
        }
    }

    #[test]
    fn registration_tokens_are_never_handed_out_unless_the_operator_allows_them() {
        for (value, allowed) in [("", false), ("never", false), ("allow", true)] {
            assert_eq!(Settings(&settings("registration_tokens", value)).registration_tokens(), Ok(allowed));
        }
        let error = Settings(&settings("registration_tokens", "true")).registration_tokens().unwrap_err();
        assert!(error.to_string().contains("registration_tokens must be never or allow"), "{error}");
    }

    #[test]
    fn the_redeem_url_is_under_the_public_url_with_or_without_a_slash() {
        for (public, redeem) in [
            ("https://app.example", "https://app.example/gha/runner"),
            ("https://app.example/slurm/", "https://app.example/slurm/gha/runner"),
            (" https://app.example/slurm\n", "https://app.example/slurm/gha/runner"),
        ] {
            assert_eq!(Settings(&settings("public_url", public)).redeem_url().unwrap().as_str(), redeem);
        }
    }
}
