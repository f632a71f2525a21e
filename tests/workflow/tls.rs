//! Private CAs and proxies: what is reached through them, and what is said where it is not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::ca::Ca;
use crate::support::{ADMIN_TOKEN, App, LABELS, MANIFEST, REPOSITORY, json, program, queued};

/// Answers the first request of a connection as a gateway would.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let _ = stream.read_exact(&mut vec![0; length]).await;
    let body = "{\"status\":\"OK!\",\"job_id\":\"7\"}";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A server that speaks TLS with this certificate.
async fn serve((certificate, key): (PathBuf, PathBuf)) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<_, _>>().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream).await;
                }
            });
        }
    });
    address
}

/// A proxy that leads everything to one place, and keeps what it was asked.
#[derive(Clone)]
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `to` none: it refuses.
    async fn start(to: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let kept = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(kept.clone().pass(stream, to));
            }
        });
        proxy
    }

    async fn pass(self, stream: TcpStream, to: Option<SocketAddr>) {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while stream.read_line(&mut head).await.is_ok_and(|read| read > 2) {}
        self.asked.lock().unwrap().push(head.clone());
        match to {
            None => drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await),
            Some(_) if !head.starts_with("CONNECT ") => {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer).await;
            }
            Some(to) => {
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            }
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// What `explain` says of an app at that URL.
async fn explain(url: &str, environment: &[(&str, &str)]) -> String {
    let mut command = program();
    command.args(["explain", "octo/x", "1", "--url", url]).env("SPIN_VARIABLE_ADMIN_TOKEN", ADMIN_TOKEN);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_true_cause_is_told() {
    let (ca, other) = (Ca::new(), Ca::new());
    let (root, foreign) = (ca.root(), other.root());
    let trusted = [("SSL_CERT_FILE", root.as_str())];
    let good = serve(ca.issue("localhost", 30)).await.port();
    let expired = serve(ca.issue("localhost", -1)).await.port();
    let misnamed = serve(ca.issue("gateway.example", 30)).await.port();
    let plain = Proxy::start(None).await.address.port();
    for (port, environment, expected) in [
        (good, &trusted[..], "not an explanation"),
        (good, &[("SSL_CERT_FILE", foreign.as_str())], "issuer that is not trusted"),
        (good, &[("SSL_CERT_FILE", "/no/such/file")], "SSL_CERT_FILE"),
        (expired, &trusted, "has expired"),
        (misnamed, &trusted, "is for another name than localhost"),
        (plain, &trusted, "does not speak it"),
        (1, &trusted, "refused"),
    ] {
        let said = explain(&format!("https://localhost:{port}"), environment).await;
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let said = explain("https://no-such-host.invalid", &trusted).await;
    assert!(said.contains("cannot be resolved"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_for_what_it_is_named_for() {
    let ca = Ca::new();
    let root = ca.root();
    let proxy = Proxy::start(Some(serve(ca.issue("app.example", 30)).await)).await;
    let url = format!("http://someone:secret@{}", proxy.address);
    let through = [("SSL_CERT_FILE", root.as_str()), ("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)];
    assert!(explain("https://app.example", &through).await.contains("not an explanation"));
    let asked = proxy.asked();
    assert!(asked[0].starts_with("CONNECT app.example:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].to_lowercase().contains("proxy-authorization: basic"), "{asked:?}");
    // Without TLS it is given the whole request.
    explain("http://app.example", &through).await;
    let asked = proxy.asked();
    assert!(asked[1].starts_with("GET http://app.example/api/v1/explain?"), "{asked:?}");
    assert!(asked[1].to_lowercase().contains("proxy-authorization: basic"), "{asked:?}");
    let mut without = through.to_vec();
    without.push(("NO_PROXY", ".example"));
    assert!(explain("https://app.example", &without).await.contains("cannot be resolved"));
    let said = explain("http://localhost:1", &through).await;
    assert!(said.contains("refused") && proxy.asked().len() == 2, "never for this machine: {said}");

    let refusing = format!("http://{}", Proxy::start(None).await.address);
    let said = explain("https://app.example", &[("HTTPS_PROXY", &refusing)]).await;
    assert!(said.contains("the proxy") && said.contains("403"), "{said}");
    let said = explain("https://app.example", &[("HTTPS_PROXY", "http://someone:secret@127.0.0.1:1")]).await;
    assert!(said.contains("the proxy 127.0.0.1:1 cannot be reached") && !said.contains("secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_reaches_a_gateway_with_a_private_ca_and_its_log_tells_why_not() {
    let ca = Ca::new();
    let gateway = serve(ca.issue("localhost", 30)).await.port();
    let url = format!("https://localhost:{gateway}");
    let root = ca.root();
    let app = App::start_with(&[("gateway_url", &url), ("SSL_CERT_FILE", &root)]).await;
    let (_, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");

    let mut app = App::start_with(&[("gateway_url", &url)]).await;
    let (status, answer) = json(app.deliver("workflow_job", queued(3).to_string()).await).await;
    assert_eq!((status, &answer["decision"]), (202, &"deferred".into()), "{answer}");
    assert!(answer.to_string().contains("TlsCertificateError"), "{answer}");
    assert!(!answer.to_string().contains("refused"), "{answer}");
    let log = app.end();
    assert!(log.contains("issuer that is not trusted here"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_configuration_names_a_ca_for_a_component_and_a_host() {
    let ca = Ca::new();
    let gateway = serve(ca.issue("localhost", 30)).await.port();
    let file = Path::new(&ca.root()).with_file_name("runtime-config.toml");
    let text = "[[client_tls]]\ncomponent_ids = ['webhook']\nhosts = ['localhost']\nca_roots_file = 'ca.pem'\n";
    for (text, trusted) in [(text, true), ("", false)] {
        std::fs::write(&file, text).unwrap();
        let mut doctor = program();
        doctor.args(["doctor", "--from", MANIFEST, "--state-dir", "", "--runtime-config-file"]).arg(&file);
        doctor.env("SPIN_VARIABLE_GATEWAY_URL", format!("https://localhost:{gateway}"));
        doctor.env("SPIN_VARIABLE_GATEWAY_SECRET", "a-secret-of-the-lab-of-enough-length");
        let output = tokio::task::spawn_blocking(move || doctor.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.contains("not trusted here"), !trusted, "{said}");
    }
}
