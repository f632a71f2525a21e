//! Which release: GitHub's API says where its archive is, what its digest is, and when it was published.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio_rustls::rustls::ClientConfig;
use url::{Host, Url};

use super::{Wanted, download, sum};

/// A version of the runner, such as 2.336.0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u32; 3]);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "a version is three numbers, such as 2.336.0".to_owned();
        let number = |text: &str| text.parse().ok().filter(|number: &u32| number.to_string() == text);
        let numbers: Option<Vec<u32>> = text.strip_prefix('v').unwrap_or(text).split('.').map(number).collect();
        numbers.and_then(|numbers| numbers.try_into().ok()).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// GitHub's name of this machine.
fn platform() -> Result<&'static str, String> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("linux-x64"),
        "aarch64" => Ok("linux-arm64"),
        other => Err(format!("GitHub has no runner for {other}")),
    }
}

/// The version in the name of GitHub's archive.
pub(super) fn of_file_name(path: &str) -> Option<Version> {
    let name = path.rsplit('/').next()?.strip_prefix("actions-runner-linux-")?.strip_suffix(".tar.gz")?;
    name.split_once('-')?.1.parse().ok()
}

/// What GitHub says of one release for this machine.
pub(super) struct Release {
    pub(super) version: Version,
    pub(super) archive: Url,
    pub(super) sha256: Option<String>,
    pub(super) published: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Answer {
    tag_name: String,
    published_at: Option<DateTime<Utc>>,
    assets: Vec<Asset>,
}

#[derive(Deserialize)]
struct Asset {
    name: String,
    browser_download_url: Url,
    digest: Option<String>,
}

/// Asks the API. Its word is what everything else is checked by, so it is asked with TLS, except on this machine.
pub(super) async fn ask(api: &Url, wanted: &Wanted, tls: &ClientConfig) -> Result<Release, String> {
    let here = match api.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if api.scheme() != "https" && !here {
        return Err(format!("--api {api}: only with https:// its word can be believed"));
    }
    let which = match wanted {
        Wanted::Latest => "latest".to_owned(),
        Wanted::Exactly(version) => format!("tags/v{version}"),
    };
    let url = format!("{}/repos/actions/runner/releases/{which}", api.as_str().trim_end_matches('/'));
    let url = url.parse().map_err(|error| format!("--api {api}: {error}"))?;
    let body = download::read(&url, tls).await?;
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|error| format!("{url} does not answer with a release: {error}"))?;
    let version: Version = answer.tag_name.parse().map_err(|error| format!("{url}: {error}"))?;
    if matches!(wanted, Wanted::Exactly(exactly) if *exactly != version) {
        return Err(format!("{url} answers with {version}"));
    }
    let name = format!("actions-runner-{}-{version}.tar.gz", platform()?);
    let asset = answer.assets.into_iter().find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| format!("the release {version} has no {name}"))?;
    let sha256 = asset.digest.filter(|digest| digest.starts_with("sha256:")).map(|digest| sum(&digest)).transpose()?;
    Ok(Release { version, archive: asset.browser_download_url, sha256, published: answer.published_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_and_no_path() {
        for good in ["2.336.0", "v2.336.0"] {
            assert_eq!(good.parse::<Version>().unwrap().to_string(), "2.336.0");
        }
        for bad in ["", "latest", "2.336", "2.336.0.1", "../2.3.4", "2.336.+1", "2.336.00", "2.336.4294967296"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
        let named = of_file_name("https://x/a/actions-runner-linux-x64-2.336.0.tar.gz");
        assert_eq!(named.unwrap(), "2.336.0".parse().unwrap());
        assert_eq!(of_file_name("/tmp/runner.tar.gz"), None);
    }
}
