//! The host's limits, each met by a component or a client that does not keep to it, while others are served.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::{built_for_tests, program};

/// A host with one component that misbehaves and one that does not.
pub(crate) struct Host {
    process: Child,
    pub(crate) address: String,
    pub(crate) client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn manifest(routes: &[(&str, &str, &Path)]) -> String {
    let head = "spin_manifest_version = 2\n[application]\nname = \"limits\"\n";
    routes.iter().fold(head.to_owned(), |text, (route, name, source)| {
        format!(
            "{text}[[trigger.http]]\nroute = {route:?}\ncomponent = {name:?}\n[component.{name}]\nsource = {source:?}\n"
        )
    })
}

impl Host {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with("", flags)
    }

    /// With more in its manifest.
    pub(crate) fn start_with(more: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spin.toml");
        let (rogue, floor) = (built_for_tests("rogue"), built_for_tests("floor"));
        let text = manifest(&[("/rogue/...", "rogue", &rogue), ("/floor", "floor", &floor)]);
        std::fs::write(&path, format!("{text}{more}")).unwrap();
        let mut process = program()
            .args(["up", "--state-dir", "", "--listen", "127.0.0.1:0", "--from"])
            .arg(path)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { process, address, client: reqwest::Client::new(), _folder: folder }
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        self.client.post(format!("http://{}{path}", self.address)).send().await.unwrap().status().as_u16()
    }

    /// Its resident memory in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

pub(crate) fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_a_bomb_and_a_trap_end_alone_while_others_are_served() {
    let host = Host::start(&["--cpu-timeout", "0.5", "--max-memory", "16"]);
    for (path, expected) in [("loop", 504), ("bomb", 500), ("trap", 500), ("silent", 500), ("well", 200)] {
        assert_eq!(host.status(&format!("/rogue/{path}")).await, expected, "{path}");
    }
    // Many at once, more than there are cores, and the other component all the while.
    let mut bad = JoinSet::new();
    for number in 0..24 {
        let (client, address) = (host.client.clone(), host.address.clone());
        let path = ["loop", "bomb", "trap"][number % 3];
        bad.spawn(async move { client.post(format!("http://{address}/rogue/{path}")).send().await.unwrap().status() });
    }
    let begun = Instant::now();
    let mut served = 0;
    while !bad.is_empty() {
        assert_eq!(host.status("/floor").await, 200);
        served += 1;
        while bad.try_join_next().is_some_and(|status| status.unwrap().is_server_error()) {}
        assert!(begun.elapsed() < Duration::from_secs(60), "the bad ones do not end");
    }
    assert!(served > 1, "{served}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_bounded_by_its_own_deadline_and_is_no_computing() {
    let host = Host::start(&["--request-timeout", "0.3"]);
    let begun = Instant::now();
    assert_eq!(host.status("/rogue/slow").await, 504);
    assert!(begun.elapsed() < Duration::from_millis(900), "it waited for the component's whole second");
    let host = Host::start(&["--cpu-timeout", "0.3"]);
    assert_eq!(host.status("/rogue/slow").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_too_many_is_503_with_the_time_to_come_back() {
    let host = Host::start(&["--max-instances", "2"]);
    let mut requests = JoinSet::new();
    for _ in 0..6 {
        let request = host.client.post(format!("http://{}/rogue/slow", host.address));
        requests.spawn(async move { request.send().await.unwrap() });
    }
    let answers = requests.join_all().await;
    let (busy, served): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == 503);
    assert_eq!((busy.len(), served.len()), (4, 2));
    assert!(busy.iter().all(|answer| answer.headers()["retry-after"] == "1"));
    assert!(served.iter().all(|answer| answer.status() == 200));
    assert_eq!(host.status("/floor").await, 200, "places are free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bodies_have_a_size() {
    let host = Host::start(&["--max-header-bytes", "8192", "--max-body-bytes", "100000"]);
    let url = format!("http://{}/floor", host.address);
    let long = host.client.post(&url).header("x-long", "x".repeat(9000)).send().await.unwrap();
    assert_eq!(long.status(), 431);
    // The buffer below may hold more than the flag says.
    let two = [("x-one", "x".repeat(5000)), ("x-two", "x".repeat(5000))];
    let request = two.iter().fold(host.client.post(&url), |request, (name, value)| request.header(*name, value));
    assert_eq!(request.send().await.unwrap().status(), 431);
    assert_eq!(host.client.post(&url).header("x-long", "x".repeat(7000)).send().await.unwrap().status(), 200);
    for (size, expected) in [(100_000, 200), (100_001, 413)] {
        assert_eq!(host.client.post(&url).body(vec![b'x'; size]).send().await.unwrap().status(), expected, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_slowly_is_dropped_and_holds_no_instance() {
    let host = Host::start(&["--header-timeout", "0.5", "--body-timeout", "0.5", "--max-instances", "1"]);
    let mut header = host.connect();
    header.write_all(b"POST /floor HTTP/1.1\r\nhost: x\r\nx-a").unwrap();
    let mut body = host.connect();
    body.write_all(b"POST /floor HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1234").unwrap();
    let mut idle = host.connect();
    for _ in 0..5 {
        assert_eq!(host.status("/floor").await, 200, "the one instance is free");
    }
    assert!(answer(&mut body).starts_with("HTTP/1.1 408"));
    let begun = Instant::now();
    // With 408 or without a word, but closed.
    answer(&mut header);
    assert_eq!(answer(&mut idle), "");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_takes_the_place_of_one_that_idles() {
    let host = Host::start(&["--max-connections", "3", "--header-timeout", "60"]);
    let mut kept: Vec<TcpStream> = (0..3).map(|_| host.connect()).collect();
    let request = b"POST /floor HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for _ in 0..2 {
        let mut next = host.connect();
        next.write_all(request).unwrap();
        assert!(answer(&mut next).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(answer(&mut kept[0]), "", "the one that waited the longest is closed");
    kept[2].write_all(request).unwrap();
    assert!(answer(&mut kept[2]).starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_refused_where_all_are_at_work() {
    let host = Host::start(&["--max-connections", "2"]);
    let slow = b"POST /rogue/slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut working: Vec<TcpStream> = (0..2).map(|_| host.connect()).collect();
    working.iter_mut().for_each(|stream| stream.write_all(slow).unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(answer(&mut host.connect()).starts_with("HTTP/1.1 503"));
    assert!(working.iter_mut().all(|stream| answer(stream).starts_with("HTTP/1.1 200")));
}

#[test]
fn a_limit_that_makes_no_sense_is_wrong_usage() {
    for (flag, value) in [
        ("--max-instances", "0"),
        ("--max-memory", "1"),
        ("--request-timeout", "0"),
        ("--cpu-timeout", "soon"),
        ("--max-header-bytes", "10"),
        ("--max-connections", "0"),
        ("--max-bodies-memory", "0"),
        ("--min-body-rate", "0"),
        ("--max-connections-per-address", "-1"),
        ("--trusted-proxy", "proxy.example"),
    ] {
        let output = program().arg("up").arg(format!("{flag}={value}")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(flag), "{flag} {value}");
    }
}
