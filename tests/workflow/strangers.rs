//! What a stranger may send to a host without stopping it for others: slow bodies, long ones, many connections, floods.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::limits::{Host, answer};

/// Sends the beginning of a request with a body of that length.
fn begun(host: &Host, length: usize, sent: usize) -> TcpStream {
    let mut stream = host.connect();
    let head = format!("POST /floor HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // What is not read any more is not of interest.
    let _ = stream.write_all(&vec![b'x'; sent]);
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stall_after_their_first_part_hold_no_instance() {
    let host = Host::start(&["--max-instances", "2", "--body-timeout", "2"]);
    let mut slow: Vec<TcpStream> = (0..8).map(|_| begun(&host, 200_000, 100_000)).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..10 {
        assert_eq!(host.status("/floor").await, 200);
    }
    assert!(slow.iter_mut().all(|stream| answer(stream).starts_with("HTTP/1.1 408")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_is_too_slow_though_it_never_pauses() {
    let host = Host::start(&["--body-timeout", "0.5", "--min-body-rate", "10000"]);
    let mut stream = begun(&host, 100_000, 0);
    let begun = Instant::now();
    while stream.write_all(b"x").is_ok() && begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_share_a_budget_and_give_way_to_short_ones() {
    const LENGTH: usize = 25_000_000;
    let host = Host::start(&["--max-bodies-memory", "64", "--body-timeout", "5"]);
    let before = host.memory();
    let mut floods = JoinSet::new();
    let full = bytes::Bytes::from(vec![b'x'; LENGTH]);
    for _ in 0..24 {
        let request = host.client.post(format!("http://{}/floor", host.address)).body(full.clone());
        // Some are cut off while they send.
        floods.spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) });
    }
    drop(full);
    // They hold all but the last byte, so that nothing of it is given back.
    let address = host.address.clone();
    let held = tokio::task::spawn_blocking(move || {
        let mut streams: Vec<TcpStream> = (0..6).map(|_| TcpStream::connect(&address).unwrap()).collect();
        let head = format!("POST /floor HTTP/1.1\r\nhost: x\r\ncontent-length: {LENGTH}\r\n\r\n");
        for stream in &mut streams {
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&vec![b'x'; LENGTH - 1]);
        }
        streams
    });
    let mut most = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let request = host.client.post(format!("http://{}/floor", host.address)).body(vec![b'x'; 200_000]);
        assert_eq!(request.send().await.unwrap().status(), 200, "a webhook is shorter than what fills the memory");
        most = most.max(host.memory());
    }
    assert!(most < before + 64 + 100, "{before} MiB before, {most} MiB under the flood");
    let statuses = floods.join_all().await;
    assert!(statuses.iter().flatten().all(|status| [200, 408, 503].contains(status)), "{statuses:?}");
    drop(held.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_room_for_requests() {
    let host = Host::start(&["--max-connections", "200", "--header-timeout", "60"]);
    let mut idle: Vec<TcpStream> = Vec::new();
    for round in 0..4 {
        idle.extend((0..200).map(|_| host.connect()));
        let begun = Instant::now();
        let client = reqwest::Client::new();
        let status = client.post(format!("http://{}/floor", host.address)).send().await.unwrap().status();
        assert_eq!(status, 200, "round {round}");
        assert!(begun.elapsed() < Duration::from_secs(2), "round {round}: {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_component_leaves_the_other_its_instances() {
    let host = Host::start(&["--max-instances", "16"]);
    let mut flood = JoinSet::new();
    for _ in 0..60 {
        let request = host.client.post(format!("http://{}/rogue/slow", host.address));
        flood.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    for _ in 0..20 {
        assert_eq!(host.status("/floor").await, 200);
    }
    let statuses = flood.join_all().await;
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_last_instance_is_503_and_never_500() {
    let host = Host::start(&["--max-instances", "4"]);
    let mut all = JoinSet::new();
    for _ in 0..48 {
        let (client, url) = (host.client.clone(), format!("http://{}/floor", host.address));
        all.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..100 {
                statuses.push(client.post(&url).send().await.unwrap().status().as_u16());
            }
            statuses
        });
    }
    let statuses: Vec<u16> = all.join_all().await.into_iter().flatten().collect();
    let others: Vec<_> = statuses.iter().filter(|status| ![200, 503].contains(status)).collect();
    assert!(others.is_empty(), "{} of {}: {others:?}", others.len(), statuses.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_does_not_take_is_refused_before_its_body_is_read() {
    let settings = "[component.floor.tool.gha-slurm]\nrequired_headers = [\"x-given\"]\nmax_body_bytes = 1000\n";
    let host = Host::start_with(settings, &[]);
    let url = format!("http://{}/floor", host.address);
    let post = |length: usize| host.client.post(&url).body(vec![b'x'; length]);
    let refused = post(10).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("x-given"));
    for (length, expected) in [(1000, 200), (1001, 413), (20_000_000, 413)] {
        assert_eq!(post(length).header("x-given", "").send().await.unwrap().status(), expected, "{length}");
    }
    assert_eq!(host.status("/floor").await, 200, "there is no body to spare");
    // Nothing of the body is sent, and the answer comes all the same.
    let mut stream = begun(&host, 1001, 0);
    let begun = Instant::now();
    assert!(answer(&mut stream).starts_with("HTTP/1.1 400"));
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_or_none_are_400() {
    let host = Host::start(&[]);
    for (headers, expected) in
        [("host: a\r\n", "200"), ("host: a\r\nhost: b\r\n", "400"), ("host: a\r\nHost: a\r\n", "400"), ("", "400")]
    {
        let mut stream = host.connect();
        let request = format!("POST /floor HTTP/1.1\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let said = answer(&mut stream);
        assert!(said.starts_with(&format!("HTTP/1.1 {expected}")), "{headers:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_his_answer_keeps_neither_instance_nor_connection() {
    let host = Host::start(&["--max-instances", "2", "--body-timeout", "1", "--request-timeout", "60"]);
    let large = b"POST /rogue/large HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut deaf: Vec<TcpStream> = (0..2).map(|_| host.connect()).collect();
    deaf.iter_mut().for_each(|stream| stream.write_all(large).unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(host.status("/floor").await, 503, "both instances are taken");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(host.status("/floor").await, 200);
    assert!(deaf.iter_mut().all(|stream| answer(stream).len() < 32 << 20));
}
