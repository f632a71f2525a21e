//! The app that the gateway belongs to: where launch tokens may be exchanged, and, for a gateway that fetches its
//! launches, as which cluster.
//!
//! A launch request names where its token is exchanged. Without this setting the gateway believes it, and whoever holds
//! the shared secret has job scripts fetch credentials wherever they like.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::values::is_plain;
use serde::Deserialize;
use url::Url;

use super::file::{App, OneOrMany};
use super::weakness::weak;
use super::{ConfigError, invalid, read_secret};

/// The environment variable that may hold the cluster's secret.
pub const APP_SECRET_VARIABLE: &str = "GHA_SLURM_APP_SECRET";
/// The shortest secret of a cluster. `gha-slurm-gateway secret` makes 64 characters.
const SHORTEST_SECRET: usize = 32;
const LONGEST_SECRET: usize = 256;

/// The app's public URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppUrls(Vec<Url>);

impl AppUrls {
    pub(super) fn new(urls: &OneOrMany) -> Result<Self, ConfigError> {
        let texts = match urls {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) => texts,
        };
        if texts.is_empty() {
            return Err(invalid("app.url", "names no URL"));
        }
        let one = |text: &String| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let bare = |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            url.filter(|url| bare(url) && url.password().is_none())
                .ok_or_else(|| invalid("app.url", format!("{text:?} is no URL such as https://gha-slurm.example.org")))
        };
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `url` is below one of these: the same scheme, host and port, and the path begins with whole segments.
    pub fn contain(&self, url: &Url) -> bool {
        self.0.iter().any(|own| {
            let prefix = own.path().trim_end_matches('/');
            let rest = url.path().strip_prefix(prefix);
            own.origin() == url.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// What is wrong with these if the app's `public_url` is that one.
    pub(crate) fn differ_from(&self, public_url: &Url) -> Option<String> {
        let line = format!(
            "the app's public_url is {public_url}, so app.url must be {public_url}: every launch is refused otherwise"
        );
        (!self.contain(public_url)).then_some(line)
    }

    /// Those that carry launch tokens in clear over a network.
    pub(super) fn in_clear(&self) -> impl Iterator<Item = &Url> {
        self.0.iter().filter(|url| url.scheme() == "http" && !is_local(url))
    }
}

/// Whether it is on this machine.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The name of a cluster: up to 40 lower-case letters, digits and `-`, beginning with a letter. It is part of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ClusterName(String);

impl TryFrom<String> for ClusterName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match is_plain(&text, b"-", 40) && lower && text.starts_with(|first: char| first.is_ascii_lowercase()) {
            true => Ok(Self(text)),
            false => Err("up to 40 lower-case letters, digits and -, beginning with a letter"),
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How launches are fetched from the app.
#[derive(Debug, Clone)]
pub struct Fetching {
    /// The app.
    pub url: Url,
    /// The cluster's name at the app.
    pub cluster: ClusterName,
    /// What the gateway proves itself with.
    pub secret: Secret,
    /// The file that the secret stands in; `None` when it came by the environment.
    pub secret_file: Option<PathBuf>,
    /// How long after an exchange the next one comes when there is nothing to do.
    pub poll: Duration,
    /// So many of its launches are in Slurm at once.
    pub at_most: Option<u32>,
    /// A PEM file of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Fetching {
    /// `None` when the file names no cluster. `path` is the configuration's.
    pub(super) fn new(
        app: &App,
        urls: &AppUrls,
        (path, insecure_http): (&Path, bool),
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(cluster) = app.cluster.clone() else {
            let others = [
                ("app.secretFile", app.secret_file.is_some()),
                ("app.pollSeconds", app.poll_seconds.is_some()),
                ("app.atMost", app.at_most.is_some()),
                ("app.caFile", app.ca_file.is_some()),
            ];
            return match others.iter().find(|(_, set)| *set) {
                Some((key, _)) => Err(invalid(*key, "is for a gateway that fetches its launches: set app.cluster too")),
                None => Ok(None),
            };
        };
        let [url] = urls.0.as_slice() else {
            return Err(invalid(
                "app.url",
                "a gateway that fetches its launches has one app: with app.cluster, one URL",
            ));
        };
        if url.scheme() == "http" && !is_local(url) && !insecure_http {
            return Err(invalid(
                "app.url",
                format!(
                    "the cluster's secret and all launch tokens would travel to {url} in clear: use https, or write \
                     insecureHttp: true"
                ),
            ));
        }
        let poll = app.poll_seconds.unwrap_or(1);
        if !(1..=60).contains(&poll) {
            return Err(invalid("app.pollSeconds", "from 1 to 60"));
        }
        if app.at_most == Some(0) {
            return Err(invalid("app.atMost", "at least 1; without it there is no limit"));
        }
        // As files beside the configuration are named.
        let beside = |name: &PathBuf| path.parent().map_or_else(|| name.clone(), |folder| folder.join(name));
        let (secret, secret_file) = secret(app.secret_file.as_ref().map(beside), environment)?;
        Ok(Some(Self {
            url: url.clone(),
            cluster,
            secret,
            secret_file,
            poll: Duration::from_secs(poll),
            at_most: app.at_most,
            ca_file: app.ca_file.as_ref().map(beside),
        }))
    }

    /// Whether going on as this one means another exchange than as `other`. Where it does not, the secret is read again
    /// by a reload, and how often and how much it asks as well.
    pub(super) fn is_elsewhere(&self, other: &Self) -> bool {
        self.url != other.url || self.cluster != other.cluster || self.ca_file != other.ca_file
    }
}

fn secret(
    file: Option<PathBuf>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Secret, Option<PathBuf>), ConfigError> {
    let (text, key, file) = match (environment(APP_SECRET_VARIABLE), file) {
        (Some(text), _) => (text, APP_SECRET_VARIABLE, None),
        (None, Some(path)) => {
            let maker = format!("gha-slurm-gateway secret {} makes it", path.display());
            (read_secret(&path, &maker)?, "app.secretFile", Some(path))
        }
        (None, None) => {
            return Err(invalid(
                "app.secretFile",
                format!(
                    "with app.cluster, name the file with the cluster's secret, or set {APP_SECRET_VARIABLE}; \
                     gha-slurm-gateway secret FILE makes one"
                ),
            ));
        }
    };
    let advice = "gha-slurm-gateway secret FILE makes a good one";
    let secret = cluster_secret(&text).map_err(|problem| invalid(key, format!("{problem}: {advice}")))?;
    Ok((secret, file))
}

/// The secret in the text of its file, or what is wrong with it.
pub(crate) fn cluster_secret(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("the secret is one line of ASCII characters without blanks".to_owned());
    }
    if !(SHORTEST_SECRET..=LONGEST_SECRET).contains(&text.len()) {
        return Err(format!("the secret has {SHORTEST_SECRET} to {LONGEST_SECRET} characters"));
    }
    if let Some(why) = weak(text) {
        return Err(format!("the secret is {why}"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Result<AppUrls, ConfigError> {
        AppUrls::new(&OneOrMany::Many(texts.iter().map(|text| (*text).to_owned()).collect()))
    }

    #[test]
    fn only_what_is_below_the_apps_url_is_the_apps() {
        let app = urls(&["https://app.example/slurm/", "http://127.0.0.1:3000"]).unwrap();
        for good in [
            "https://app.example/slurm/gha/runner",
            "https://app.example:443/slurm",
            "https://APP.example/slurm/../slurm/gha/runner",
            "http://127.0.0.1:3000/gha/runner",
        ] {
            assert!(app.contain(&Url::parse(good).unwrap()), "{good}");
        }
        for bad in [
            "http://app.example/slurm/gha/runner",
            "https://app.example:8443/slurm/gha/runner",
            "https://app.example/slurm-of-others/gha/runner",
            "https://app.example/slurm/../gha/runner",
            "https://app.example.evil.example/slurm/gha/runner",
            "https://app.example@evil.example/slurm/gha/runner",
            "http://127.0.0.1:3001/gha/runner",
        ] {
            assert!(!app.contain(&Url::parse(bad).unwrap()), "{bad}");
        }
        let differ = |url: &str| app.differ_from(&Url::parse(url).unwrap());
        assert_eq!(differ("https://app.example/slurm/"), None);
        assert!(differ("https://app.example/").unwrap().contains("app.url must be https://app.example/"));
    }

    #[test]
    fn a_url_that_is_none_is_refused() {
        for bad in [&["app.example"][..], &["ftp://app.example"], &["https://u:p@app.example"], &["https://x/?a"], &[]]
        {
            assert!(urls(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_clusters_name_stands_in_a_url_as_it_is() {
        for good in ["alps", "a", "eiger-2", &"x".repeat(40)] {
            assert!(ClusterName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "Alps", "2alps", "-alps", "a_b", "a b", "a/b", "ä", "a.b", &"x".repeat(41)] {
            assert!(ClusterName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
