//! The exchange of the launch token, and what the script makes of the answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gha_slurm_simulator::github::JobStatus;

use crate::support::{App, ONE, within};
use crate::{site, start, tree};

#[tokio::test]
async fn it_tries_again_while_the_app_is_away_and_no_longer() {
    let (app, folder) = site().await;
    app.answer_next(&[503, 500]);
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted", &[]).await;
    let (status, said) = run.end(40).await;
    assert_eq!((status, app.exchanges().len()), (Some(0), 3), "{said}");

    let nowhere = [("GHA_SLURM_TOKEN_URL", "http://127.0.0.1:1/gha/runner"), ("GHA_SLURM_RETRY_SECONDS", "3")];
    let mut run = start(&app, folder.path(), 2, "x", &nowhere).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(1) && said.contains("no credential within 3 s (last status 000)"), "{status:?} {said}");
}

#[tokio::test]
async fn it_ends_at_once_when_there_is_nothing_to_do() {
    let (app, folder) = site().await;
    for (answer, status, words) in [
        (401, 0, "not valid"),
        (409, 81, "ALARM: the launch token was used before, and not by this job"),
        (410, 0, "nothing waits"),
        (403, 1, "gives no credential (status 403): as told"),
    ] {
        app.answer_next(&[answer]);
        let begun = Instant::now();
        let mut run = start(&app, folder.path(), 1, "x", &[]).await;
        let (code, said) = run.end(10).await;
        assert!(code == Some(status) && said.contains(words), "{answer}: {code:?} {said}");
        assert!(begun.elapsed().as_secs() < 5 && !said.contains("Runner successfully added"), "{said}");
    }
}

#[tokio::test]
async fn started_again_by_slurm_a_spent_token_is_neither_success_nor_an_alarm() {
    let (app, folder) = site().await;
    for answer in [401, 409, 410] {
        app.answer_next(&[answer]);
        let mut run = start(&app, folder.path(), 1, "x", &[("SLURM_RESTART_COUNT", "1")]).await;
        let (status, said) = run.end(10).await;
        assert_eq!(status, Some(85), "{answer}: {said}");
        assert!(said.contains("Slurm started this Slurm job again") && !said.contains("ALARM"), "{said}");
    }
    // Before its first run spent it, a second run is as good.
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted", &[("SLURM_RESTART_COUNT", "1")]).await;
    assert_eq!(run.end(20).await.0, Some(0));
}

#[tokio::test]
async fn a_token_used_after_a_lost_answer_is_an_alarm_that_says_so() {
    let (app, folder) = site().await;
    app.answer_next(&[503, 500, 409]);
    let mut run = start(&app, folder.path(), 1, "x", &[]).await;
    let (status, said) = run.end(30).await;
    assert_eq!(status, Some(81), "{said}");
    assert!(said.contains("ALARM") && said.contains("(status 500), so it may have been that one"), "{said}");
}

#[tokio::test]
async fn told_to_wait_for_longer_than_it_may_it_asks_once_more_at_its_end() {
    let (app, folder) = site().await;
    app.answer_next(&[503; 9]);
    app.ask_to_wait_for(10_000);
    let begun = Instant::now();
    let mut run = start(&app, folder.path(), 1, "x", &[("GHA_SLURM_RETRY_SECONDS", "4")]).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(1) && said.contains("no credential within 4 s (last status 503): as told"), "{said}");
    assert_eq!(app.exchanges().len(), 2, "{said}");
    assert!((3..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_token_stands_in_no_environment_while_it_waits() {
    let (app, folder) = site().await;
    app.answer_next(&[503; 99]);
    let mut run = start(&app, folder.path(), 1, "x", &[]).await;
    within(10, "it waits", async || run.output().contains("no credential yet")).await;
    for process in tree(run.child.id()) {
        for file in ["environ", "cmdline"] {
            let text = std::fs::read(Path::new("/proc").join(&process).join(file)).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains("eyJ"), "{file} of {process}");
        }
    }
    run.signal();
    assert_eq!(run.end(10).await.0, Some(143));
}

#[tokio::test]
async fn a_credential_of_another_repository_starts_no_runner() {
    let (app, folder) = site().await;
    app.answer_jit_of("https://github.com/mallory/miner");
    let mut run = start(&app, folder.path(), 1, "x", &[]).await;
    let (status, said) = run.end(10).await;
    assert_eq!(status, Some(82), "{said}");
    let alarm =
        "ALARM: the credential is for https://github.com/mallory/miner and not for https://github.com/octo-org/one";
    assert!(said.contains(alarm) && !said.contains("Listening"), "{said}");

    let (app, folder) = site().await;
    let registered_at = [("STAND_IN_REGISTERS_AT", "https://github.com/mallory/miner")];
    let mut run = start(&app, folder.path(), 2, "x", &registered_at).await;
    let (status, said) = run.end(10).await;
    assert!(status == Some(82) && said.contains(alarm) && !said.contains("Listening"), "{status:?} {said}");
    let (job, _) = app.github.queue_job(ONE, &["x"]).await;
    assert_eq!(app.github.job(job).unwrap().status, JobStatus::Queued, "the runner is not registered any more");
}

#[tokio::test]
async fn a_jit_configuration_needs_no_registration() {
    let (app, folder) = site().await;
    app.answer_jit();
    let mut run = start(&app, folder.path(), 1, "x", &[]).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(0) && !said.contains("Runner successfully added"), "{said}");
    assert!(said.contains("Listening for Jobs") && !said.contains("eyJ"), "{said}");
}

#[tokio::test]
async fn an_app_at_an_ipv6_address_is_reached_and_its_url_is_one_url() {
    let addresses = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    if !addresses.lines().any(|line| line.starts_with("00000000000000000000000000000001 ")) {
        println!("skipped: this machine has no ::1");
        return;
    }
    let (app, folder) = (App::start_at("[::1]:0").await, tempfile::tempdir().unwrap());
    assert!(app.url.starts_with("http://[::1]:"), "{}", app.url);
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted", &[]).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(0) && said.contains("Running job: build"), "{status:?} {said}");
    assert_eq!(app.github.job(job).unwrap().status, JobStatus::Completed("success".into()), "{said}");
    assert_eq!(app.exchanges().len(), 1);
    // What curl would take for two addresses, if it were let.
    let brackets = format!("{}/gha/runner?x=[1-2]", app.url);
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted", &[("GHA_SLURM_TOKEN_URL", &brackets)]).await;
    let (status, said) = run.end(20).await;
    assert_eq!((status, app.exchanges().len()), (Some(0), 2), "{said}");
}

#[tokio::test]
async fn an_app_with_a_certificate_of_the_sites_own_authority_is_reached() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::ServerConfig;

    let (app, folder) = site().await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/gha/runner", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let there = [("GHA_SLURM_TOKEN_URL", url.as_str()), ("GHA_SLURM_RETRY_SECONDS", "1")];
    let mut run = start(&app, folder.path(), 1, "x", &there).await;
    let (status, said) = run.end(10).await;
    assert!(status == Some(1) && said.contains("certificate"), "the true cause: {said}");
    let trusted = [there[0], there[1], ("CURL_CA_BUNDLE", authority.to_str().unwrap())];
    let mut run = start(&app, folder.path(), 1, "x", &trusted).await;
    let (status, said) = run.end(10).await;
    assert!(status == Some(0) && said.contains("nothing waits"), "{said}");
}
