//! The gateway's own process, by whatever way it reaches the app: TLS with a site's own authority, proxies, and signals.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::site::Site;

/// A process that is killed at the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
    for name in
        ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"]
    {
        command.env_remove(name);
    }
    command.arg("--config").arg(config);
    command
}

/// Its exit status, and what it said.
async fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

async fn check(mut command: Command) -> (Option<i32>, String) {
    command.arg("check");
    ended(command).await
}

/// Starts a gateway that listens nowhere.
fn start(mut command: Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("fetching launches from http") && line.ends_with("as cluster alps\n"), "{line:?}");
    Process(child)
}

/// The app behind TLS, by an authority of the site's own; its PEM file is `ca.pem`.
async fn tls(site: &Site) -> u16 {
    let made = rcgen::generate_simple_self_signed(vec!["app.test".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(site.folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = site.app.router();
    let serving =
        gha_slurm_gateway::http::serve(listener, move || Some(acceptor.clone()), router, std::future::pending());
    tokio::spawn(serving);
    port
}

/// A proxy that leads everything to one port of this machine, and what it was asked for.
async fn proxy(port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://ada:hunter2@{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let text = String::from_utf8(head.clone()).unwrap();
                seen.lock().unwrap().push(text.clone());
                let mut app = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                match text.starts_with("CONNECT ") {
                    true => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap(),
                    // As proxies do it: the path alone, and one request a connection here.
                    false => {
                        let direct =
                            text.replacen("http://app.test", "", 1).replacen("\r\n", "\r\nconnection: close\r\n", 1);
                        app.write_all(direct.as_bytes()).await.unwrap();
                    }
                }
                let _ = tokio::io::copy_bidirectional(&mut client, &mut app).await;
            });
        }
    });
    (url, heads)
}

#[tokio::test]
async fn a_sites_own_authority_is_believed_when_it_is_named() {
    let site = Site::new().await;
    let port = tls(&site).await;
    let app = format!("url: 'https://localhost:{port}'");
    let more = json!({"tokenURL": format!("https://localhost:{port}/gha/runner")});
    let config = site.yaml("one", &app, "");
    let (_, said) = check(command(&config)).await;
    assert!(
        said.contains("app.cluster alps: the app's certificate is not believed") && said.contains("app.caFile"),
        "{said}"
    );
    assert_eq!(site.app.with(|book| book.exchanges), 0, "the secret is not sent");
    let config = site.yaml("one", &format!("{app}, caFile: ca.pem"), "");
    site.app.offer("1-1", &more);
    let (_, said) = check(command(&config)).await;
    assert!(said.contains(&format!("app.cluster alps: ok, https://localhost:{port}/ knows it")), "{said}");
    assert_eq!(site.app.with(|book| (book.exchanges, book.rooms.clone())), (1, vec![0]), "it fetches nothing");
    let _gateway = start(command(&config));
    site.submitted("1-1").await;
    for bad in ["nowhere.pem", "app-secret"] {
        let config = site.yaml("two", &format!("{app}, caFile: {bad}"), "");
        let (code, said) = ended(command(&config)).await;
        assert!(code == Some(2) && said.contains("app.caFile: "), "{bad}: {said}");
    }
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn the_environments_proxy_is_used() {
    let site = Site::new().await;
    let (secure, plain) = (tls(&site).await, site.app.address.port());
    for (number, scheme, port, variable) in [(1, "https", secure, "HTTPS_PROXY"), (2, "http", plain, "http_proxy")] {
        let (url, heads) = proxy(port).await;
        let app = format!("url: '{scheme}://app.test', caFile: ca.pem");
        let name = format!("gateway{number}");
        let config = site.yaml(&name, &app, if scheme == "http" { "insecureHttp: true" } else { "" });
        let launch = format!("{number}-1");
        site.app.offer(&launch, &json!({"tokenURL": format!("{scheme}://app.test/gha/runner")}));
        let mut gateway = command(&config);
        gateway.env(variable, &url);
        let gateway = start(gateway);
        site.submitted(&launch).await;
        let head = heads.lock().unwrap()[0].to_lowercase();
        let asked =
            if scheme == "https" { "connect app.test:443 " } else { "post http://app.test/clusters/alps/exchange " };
        assert!(head.starts_with(asked), "{head}");
        assert!(head.contains("proxy-authorization: basic ywrhomh1bnrlcji="), "{head}");
        assert_eq!(head.contains("bearer"), scheme == "http", "{head}");
        drop(gateway);
        let mut elsewhere = command(&config);
        elsewhere.env(variable, &url).env("NO_PROXY", "app.test");
        let (_, said) = check(elsewhere).await;
        assert!(said.contains("app.cluster alps: the app cannot be reached"), "{said}");
    }
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_process_that_is_killed_submits_once_and_one_that_is_told_to_ends() {
    let site = Site::new().await;
    let config = site.yaml("one", &format!("url: '{}'", site.app.url()), "");
    site.slurm.is("slow", "0.3");
    for number in 1..=30 {
        site.app.offer(&format!("{number}-1"), &json!({}));
    }
    // At once, in the middle, and again.
    for jobs in [1, 9, 17] {
        let gateway = start(command(&config));
        site.until("some are in Slurm", || site.slurm.count() >= jobs).await;
        drop(gateway);
        // An sbatch that was under way lives on without its gateway, but not for as long as a lease.
        tokio::time::sleep(Duration::from_secs(1)).await;
        site.app.leases_end();
    }
    let mut gateway = start(command(&config));
    let launches = || (1..=30).map(|number| format!("{number}-1"));
    site.until("all are submitted", || launches().all(|launch| site.app.submitted(&launch))).await;
    for launch in launches() {
        assert_eq!(site.slurm.jobs_of(&launch).len(), 1, "{launch}");
    }
    let id = gateway.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    site.until("it ends", || gateway.0.try_wait().unwrap().is_some_and(|status| status.success())).await;
    site.app.nothing_was_wrong();
}

#[tokio::test]
async fn a_gateway_that_fetches_and_listens_counts_its_exchanges() {
    let site = Site::new().await;
    let more = "listen: 127.0.0.1:0\nghaSharedSecret: 4d1f0a2b9c8e7f60a1b2c3d4\nopenMetrics: true";
    let config = site.yaml("one", &format!("url: '{}'", site.app.url()), more);
    let mut child = command(&config).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _gateway = Process(child);
    site.app.offer("1-1", &json!({}));
    site.submitted("1-1").await;
    let address = line.trim().strip_prefix("listening on ").unwrap();
    let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    for metric in [
        "gha_slurm_gateway_exchanges_total{result=\"ok\"} ",
        "gha_slurm_gateway_last_exchange_age_seconds 0.",
        "gha_slurm_gateway_fetched_launches{is=\"living\"} 1",
        "gha_slurm_gateway_reports ",
    ] {
        assert!(text.contains(metric), "{metric}: {text}");
    }
}

#[tokio::test]
async fn check_says_what_is_wrong_with_an_exchange_and_how_to_fix_it() {
    let site = Site::new().await;
    let config = site.yaml("one", &format!("url: '{}'", site.app.url()), "");
    let run = async || {
        let (code, said) = check(command(&config)).await;
        (code, said.lines().find(|line| line.starts_with("app.cluster alps: ")).unwrap_or_default().to_owned())
    };
    // The rest of what it looks at is not as it should be here.
    site.app.with(|book| book.public_url = Some(format!("{}/", site.app.url())));
    let (_, line) = run().await;
    assert!(line.ends_with(" knows it"), "{line}");
    site.app.with(|book| book.public_url = Some("https://app.example/".to_owned()));
    let (code, line) = run().await;
    assert!(code == Some(1) && line.contains("so app.url must be https://app.example/"), "{line}");
    site.app.with(|book| book.secret = "another".to_owned());
    let (code, line) = run().await;
    assert!(code == Some(1) && line.contains("(401)") && line.contains("secret_sha256"), "{line}");
    site.app.goes();
    let (code, line) = run().await;
    assert!(code == Some(1) && line.contains("cannot be reached"), "{line}");
}
