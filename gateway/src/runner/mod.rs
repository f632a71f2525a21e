//! Keeping GitHub's runner current: `gha-slurm-gateway runner update`.
//!
//! GitHub refuses runners that are a month old, so a cluster needs a new one every few weeks, in a place that all nodes
//! read while Slurm jobs start from it at any moment. So each version has a folder of its own, which is complete before it
//! gets its name and is never changed after that, and `current` is a link that is switched in one step. Whatever is cut off
//! in between leaves the link as it was.
//!
//! What comes from outside is believed only by its SHA-256: GitHub's own of the release, or the one on the command line.
//! Nothing of it is ever run here.

mod age;
mod download;
mod folder;
mod release;
mod unpack;

use std::path::{Path, PathBuf};

use clap::Args;
use gha_slurm_protocol::hex::hex;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::ClientConfig;
use url::Url;

pub(crate) use self::age::age_of;
use self::download::Progress;
use self::folder::{Folder, Marker};
use self::release::{Version, of_file_name};

/// A runner is some 220 MB.
const MAX_ARCHIVE_BYTES: u64 = 1024 * 1024 * 1024;

/// What is to be installed where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder, as the compute nodes see it, in which each version gets a folder; FOLDER/current is a link to the one in
    /// use, and belongs into job.runner.
    #[arg(long, value_name = "FOLDER", default_value = "/opt/actions-runners")]
    to: PathBuf,
    /// Which version: `latest` is the newest, by GitHub's word.
    #[arg(long, value_name = "X|latest", default_value = "latest", value_parser = wanted)]
    version: Wanted,
    /// The archive (actions-runner-linux-…-X.tar.gz): a file, or a URL of a mirror or of GitHub Enterprise Server.
    #[arg(long, value_name = "URL|FILE", requires = "sha256")]
    from: Option<String>,
    /// The archive's SHA-256. Without it, GitHub's own of the release.
    #[arg(long, value_name = "SUM", value_parser = sum)]
    sha256: Option<String>,
    /// Authorities to trust in addition to the system's, as PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// GitHub's API, which is asked for releases.
    #[arg(long, value_name = "URL", default_value = "https://api.github.com")]
    api: Url,
}

/// The newest, or a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Latest,
    Exactly(Version),
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "latest" => Ok(Wanted::Latest),
        version => Ok(Wanted::Exactly(version.parse()?)),
    }
}

fn sum(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let good = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then_some(text).ok_or_else(|| "64 hexadecimal digits".to_owned())
}

/// Where the archive comes from, and what is known of it.
struct Source {
    place: Place,
    version: Version,
    sha256: String,
    released: Option<chrono::DateTime<chrono::Utc>>,
    /// Whether GitHub just named it as the newest.
    newest: bool,
}

enum Place {
    File(PathBuf),
    Url(Url),
}

/// Updates, and says what came of it in lines for people.
pub(crate) async fn update(arguments: &Arguments) -> Result<String, String> {
    // The nodes' users read it, whatever the gateway's own files are like.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let mut folder = Folder::open(&arguments.to).await?;
    let tls = crate::fetching::connector::tls("--ca-file", arguments.ca_file.as_deref());
    let tls = tls.map_err(|error| error.to_string())?;
    let source = source(arguments, &tls).await?;
    let marker = Marker::new(&source.version, &source.sha256, source.released, source.newest);
    let version = &source.version;
    if folder.has(version, &source.sha256)? {
        folder.mark(&marker)?;
    } else {
        let staging = folder.stage()?;
        let archive = staging.join("archive.tar.gz");
        take(&source, &archive, &tls).await?;
        let unpacked = staging.join("runner");
        unpack::unpack(&archive, &unpacked, &staging.join("tar.log")).await?;
        folder.keep(&unpacked, &marker)?;
    }
    let before = folder.switch(version)?;
    folder.tidy();
    let current = arguments.to.join("current");
    Ok(match before {
        Some(before) if before == *version => format!("{} is {version}, as before\n", current.display()),
        Some(before) => format!("{} is {version}, and was {before}\n", current.display()),
        None => format!(
            "{0} is {version}. Name it in the gateway's configuration:\n  job: {{runner: {0}}}\n",
            current.display()
        ),
    })
}

async fn source(arguments: &Arguments, tls: &ClientConfig) -> Result<Source, String> {
    let Some(from) = &arguments.from else {
        let release = release::ask(&arguments.api, &arguments.version, tls).await?;
        let sha256 = match (&arguments.sha256, &release.sha256) {
            (Some(given), Some(named)) if given != named => {
                return Err(format!(
                    "GitHub names {named} as the SHA-256 of {}, not the one of --sha256",
                    release.version
                ));
            }
            (Some(sum), _) | (None, Some(sum)) => sum.clone(),
            (None, None) => {
                return Err(format!(
                    "GitHub names no digest of {}: give the SHA-256 on the release's page as --sha256",
                    release.version
                ));
            }
        };
        let newest = arguments.version == Wanted::Latest;
        let place = Place::Url(release.archive);
        return Ok(Source { place, version: release.version, sha256, released: release.published, newest });
    };
    let named = of_file_name(from.split(['?', '#']).next().unwrap_or_default());
    let version = match (&arguments.version, named) {
        (Wanted::Exactly(version), _) => version.clone(),
        (Wanted::Latest, Some(version)) => version,
        (Wanted::Latest, None) => {
            return Err("--from does not tell the version in its name: give it as --version".to_owned());
        }
    };
    let place = match from.starts_with("https://") || from.starts_with("http://") {
        true => Place::Url(from.parse().map_err(|error| format!("--from {from}: {error}"))?),
        false => Place::File(PathBuf::from(from)),
    };
    let sha256 = arguments.sha256.clone().ok_or("--from needs --sha256")?;
    Ok(Source { place, version, sha256, released: None, newest: false })
}

/// Brings the archive to a file of ours, and checks that very file.
async fn take(source: &Source, archive: &Path, tls: &ClientConfig) -> Result<(), String> {
    let written = |error: std::io::Error| format!("{}: {error}", archive.display());
    let mut file = tokio::fs::File::create_new(archive).await.map_err(written)?;
    let mut digest = Sha256::new();
    let from = match &source.place {
        Place::File(path) => {
            copy(path, &mut file, &mut digest).await?;
            path.display().to_string()
        }
        Place::Url(url) => {
            let progress = Progress::new(format!("the runner {}", source.version));
            download::save(url, tls, &mut file, &mut digest, MAX_ARCHIVE_BYTES, progress).await?;
            url.to_string()
        }
    };
    file.flush().await.map_err(written)?;
    let sum = hex(digest.finalize());
    if sum != source.sha256 {
        return Err(format!(
            "{from} has the SHA-256 {sum}, and has to have {}: it is not what GitHub published; nothing was changed",
            source.sha256
        ));
    }
    Ok(())
}

async fn copy(path: &Path, to: &mut tokio::fs::File, digest: &mut Sha256) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let from = tokio::fs::File::open(path).await.map_err(named)?;
    if !from.metadata().await.map_err(named)?.is_file() {
        return Err(format!("{}: not a file", path.display()));
    }
    let mut from = from.take(MAX_ARCHIVE_BYTES + 1);
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        let length = from.read(&mut buffer).await.map_err(named)?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(()) };
        total += read.len() as u64;
        if total > MAX_ARCHIVE_BYTES {
            return Err(format!("{}: longer than a runner can be", path.display()));
        }
        digest.update(read);
        to.write_all(read).await.map_err(|error| error.to_string())?;
    }
}
