//! Where launch tokens may be exchanged.
//!
//! A launch request names that place. Without this setting the gateway believes it, and whoever holds the shared secret
//! has job scripts fetch credentials wherever they like.

use url::Url;

use super::file::{App, OneOrMany};
use super::{ConfigError, invalid};

/// The app's public URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppUrls(Vec<Url>);

impl AppUrls {
    pub(super) fn new(app: App) -> Result<Self, ConfigError> {
        let texts = match app.url {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        if texts.is_empty() {
            return Err(invalid("app.url", "names no URL"));
        }
        let one = |text: String| {
            let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let bare = |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            url.filter(|url| bare(url) && url.password().is_none())
                .ok_or_else(|| invalid("app.url", format!("{text:?} is no URL such as https://gha-slurm.example.org")))
        };
        texts.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `url` is below one of these: the same scheme, host and port, and the path begins with whole segments.
    pub fn contain(&self, url: &Url) -> bool {
        self.0.iter().any(|own| {
            let prefix = own.path().trim_end_matches('/');
            let rest = url.path().strip_prefix(prefix);
            own.origin() == url.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Those that carry launch tokens in clear over a network.
    pub(super) fn in_clear(&self) -> impl Iterator<Item = &Url> {
        let local = |url: &Url| match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        self.0.iter().filter(move |url| url.scheme() == "http" && !local(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Result<AppUrls, ConfigError> {
        AppUrls::new(App { url: OneOrMany::Many(texts.iter().map(|text| (*text).to_owned()).collect()) })
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
    }

    #[test]
    fn a_url_that_is_none_is_refused() {
        for bad in [&["app.example"][..], &["ftp://app.example"], &["https://u:p@app.example"], &["https://x/?a"], &[]]
        {
            assert!(urls(bad).is_err(), "{bad:?}");
        }
    }
}
