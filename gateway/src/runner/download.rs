//! Getting what a URL has, through the environment's proxy and by the same authorities as everything else.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use url::Url;

use crate::causes::with_causes;
use crate::fetching::connector::Way;

/// For an answer's beginning, and between two pieces of it.
const SILENCE: Duration = Duration::from_secs(60);
/// For all of it, however slowly it comes.
const DEADLINE: Duration = Duration::from_secs(3600);
/// GitHub leads from a release's page to where its files are.
const MOST_REDIRECTIONS: usize = 5;
/// Of an answer that is no archive.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Says how far it is, once that takes longer than a moment.
pub(super) struct Progress {
    what: String,
    said: Instant,
}

impl Progress {
    const PAUSE: Duration = Duration::from_secs(2);

    pub(super) fn new(what: String) -> Self {
        Self { what, said: Instant::now() }
    }

    fn tell(&mut self, got: u64, of: Option<u64>) {
        if self.said.elapsed() < Self::PAUSE {
            return;
        }
        self.said = Instant::now();
        let megabytes = |bytes: u64| bytes / 1_000_000;
        match of {
            Some(of) => eprintln!("{}: {} of {} MB", self.what, megabytes(got), megabytes(of)),
            None => eprintln!("{}: {} MB", self.what, megabytes(got)),
        }
    }
}

/// A short answer.
pub(super) async fn read(url: &Url, tls: &ClientConfig) -> Result<Vec<u8>, String> {
    let mut body = get(url, tls).await?.into_body();
    let mut all = Vec::new();
    while let Some(piece) = piece(url, &mut body).await? {
        all.extend_from_slice(&piece);
        if all.len() > MAX_ANSWER_BYTES {
            return Err(format!("{url}: the answer is too long"));
        }
    }
    Ok(all)
}

/// Into a file, with its digest.
pub(super) async fn save(
    url: &Url,
    tls: &ClientConfig,
    file: &mut File,
    digest: &mut Sha256,
    most: u64,
    mut progress: Progress,
) -> Result<(), String> {
    let saving = async {
        let response = get(url, tls).await?;
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let (mut body, mut got) = (response.into_body(), 0);
        while let Some(piece) = piece(url, &mut body).await? {
            got += piece.len() as u64;
            if got > most {
                return Err(format!("{url}: longer than a runner can be"));
            }
            digest.update(&piece);
            file.write_all(&piece).await.map_err(|error| error.to_string())?;
            progress.tell(got, length);
        }
        Ok(())
    };
    timeout(DEADLINE, saving).await.unwrap_or_else(|_| Err(format!("{url}: not within an hour")))
}

async fn piece(url: &Url, body: &mut Incoming) -> Result<Option<Bytes>, String> {
    loop {
        let frame = timeout(SILENCE, body.frame()).await.map_err(|_| format!("{url}: nothing more comes"))?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(format!("{url} was cut off: {}", with_causes(&error))),
        }
    }
}

/// Follows redirections, and from TLS to TLS only.
async fn get(url: &Url, tls: &ClientConfig) -> Result<Response<Incoming>, String> {
    let mut at = url.clone();
    for _ in 0..=MOST_REDIRECTIONS {
        let response = timeout(SILENCE, ask(&at, tls)).await.map_err(|_| format!("{at}: no answer"))??;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        if !status.is_redirection() {
            return Err(refusal(&at, status));
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let next = at.join(location).map_err(|error| format!("{at} leads to {location:?}: {error}"))?;
        if next.scheme() != "https" && (next.scheme() != "http" || at.scheme() == "https") {
            return Err(format!("{at} leads to {next}, which is not asked: it has no TLS"));
        }
        at = next;
    }
    Err(format!("{url} leads from one URL to the next"))
}

fn refusal(url: &Url, status: StatusCode) -> String {
    let what = match status.as_u16() {
        404 => "there is no such release or file: look at https://github.com/actions/runner/releases",
        403 | 429 => "perhaps too many ask from this address: try again in an hour, or name the archive with --from",
        407 => "the proxy wants a name and a password: write them into its URL in HTTPS_PROXY",
        _ => "try again later, or name the archive with --from",
    };
    format!("{url} answers {status}: {what}")
}

async fn ask(url: &Url, tls: &ClientConfig) -> Result<Response<Incoming>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{url}: {error}");
    let uri: Uri = url.as_str().parse().map_err(|error| named(&error))?;
    let (way, proxy_authorization) =
        Way::to(url.host_str().unwrap_or_default(), &uri, &Matcher::from_env()).map_err(|error| error.to_string())?;
    let client = legacy::Client::builder(TokioExecutor::new()).build(way.with_tls(tls.clone()));
    let mut request = Request::get(uri)
        .header(USER_AGENT, concat!("gha-slurm-gateway/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json, application/octet-stream");
    if let Some(authorization) = proxy_authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| named(&error))?;
    client.request(request).await.map_err(|error| {
        format!(
            "{url} cannot be reached: {}. A proxy is named by HTTPS_PROXY, a site's own authority by --ca-file; without a \
             network, --from takes a file",
            with_causes(&error)
        )
    })
}
