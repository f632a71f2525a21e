//! Who is let in, and what is taken for an exchange.

use gha_slurm_core::cluster::digest;
use gha_slurm_core::testing::Memory;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use serde_json::{Value, json};

use super::{ALPS, ALPS_NEXT, EIGER, platform, queue, request};
use crate::exchange::exchange;

fn send(platform: &Memory, cluster: &str, secret: &str) -> Answer {
    exchange(platform, &request(cluster, secret, &json!({})))
}

fn body(platform: &Memory, body: &Value) -> u16 {
    exchange(platform, &request("alps", ALPS, body)).status
}

#[test]
fn whoever_lacks_the_secret_learns_nothing() {
    let gateway_secret = "gateway-secret";
    let mut bodies = Vec::new();
    for (cluster, secret) in [
        ("alps", "a-wrong-secret-0123456789abcdef0123"),
        ("alps", EIGER),
        ("eiger", ALPS),
        ("tave", gateway_secret),
        ("tave", ALPS),
        ("nowhere", ALPS),
        ("", ALPS),
        ("alps", ""),
        ("alps", &digest(ALPS)),
        ("../alps", ALPS),
    ] {
        let platform = platform();
        queue(&platform, 1, &["alps"]);
        let before = platform.keys();
        let refused = send(&platform, cluster, secret);
        assert_eq!(refused.status, 401, "{cluster} {secret}");
        assert!(refused.headers.iter().any(|(name, _)| *name == "www-authenticate"));
        bodies.push(refused.body.to_string());
        let left: Vec<String> = platform.keys().into_iter().filter(|key| !before.contains(key)).collect();
        assert!(left.iter().all(|key| key.contains("/login/")), "{left:?}");
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[test]
fn while_a_secret_is_changed_the_old_one_and_the_new_one_are_right() {
    let platform = platform();
    assert_eq!((send(&platform, "alps", ALPS).status, send(&platform, "alps", ALPS_NEXT).status), (200, 200));
    let only_next = format!("[[cluster]]\nname = 'alps'\nreach = 'fetch'\nsecret_sha256 = '{}'", digest(ALPS_NEXT));
    platform.set_variable("clusters", Some(&only_next));
    assert_eq!((send(&platform, "alps", ALPS).status, send(&platform, "alps", ALPS_NEXT).status), (401, 200));
}

#[test]
fn guesses_are_limited_and_the_right_secret_is_let_in_all_the_same() {
    let platform = platform();
    let answers: Vec<u16> = (0..30).map(|guess| send(&platform, "alps", &format!("guess-{guess}")).status).collect();
    assert_eq!((answers[0], answers[29]), (401, 429), "{answers:?}");
    let limited = send(&platform, "alps", "guess");
    let wait = limited.headers.iter().find(|(name, _)| *name == "retry-after").map(|(_, value)| value.clone());
    assert!(wait.is_some_and(|wait| (1..=60).contains(&wait.parse::<u32>().unwrap())));
    assert_eq!(send(&platform, "alps", ALPS).status, 200);
    let before = platform.operations.get();
    let mut bare = request("alps", ALPS, &json!({}));
    bare.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(exchange(&platform, &bare).status, 401, "nothing was given");
    assert_eq!(platform.operations.get(), before);
}

#[test]
fn what_is_no_exchange_is_refused_as_what_it_is() {
    let platform = platform();
    let plain = |change: fn(&mut Request)| {
        let mut request = request("alps", ALPS, &json!({}));
        change(&mut request);
        exchange(&platform, &request).status
    };
    assert_eq!(plain(|request| "GET".clone_into(&mut request.method)), 405);
    assert_eq!(plain(|request| "/clusters/alps".clone_into(&mut request.target)), 404);
    assert_eq!(plain(|request| "/clusters/alps/exchange/".clone_into(&mut request.target)), 404);
    assert_eq!(plain(|request| request.headers.retain(|(name, _)| name != "content-type")), 415);
    assert_eq!(plain(|request| request.headers[1].1 = b"text/plain".to_vec()), 415);
    assert_eq!(plain(|request| request.headers[1].1 = b"Application/JSON; charset=utf-8".to_vec()), 200);
    assert_eq!(plain(|request| request.body = b"{".to_vec()), 400);
    assert_eq!(plain(|request| request.body = vec![0xff, 0xfe]), 400);
    assert_eq!(plain(|request| request.body.clear()), 400);
    for malformed in [
        json!(null),
        json!("x"),
        json!({"room": -1}),
        json!({"room": "8"}),
        json!({"gateway": "two words"}),
        json!({"gateway": "g".repeat(65)}),
        json!({"gateway": "line\nbreak"}),
        json!({"reports": [{"launch": "x", "news": "submitted", "job_id": "1"}]}),
        json!({"reports": [{"launch": "1-1", "news": "exploded"}]}),
        json!({"reports": vec![json!({"launch": "1-1", "news": "cancelled"}); 257]}),
        json!({"queue": {"pending": -1, "running": 0}}),
    ] {
        assert_eq!(body(&platform, &malformed), 400, "{malformed}");
    }
    assert_eq!(body(&platform, &json!({"later": true, "room": u32::MAX})), 200);
    assert_eq!(body(&platform, &json!({"reports": vec![json!({"launch": "1-1", "news": "cancelled"}); 256]})), 200);
}

#[test]
fn a_variable_that_is_wrong_is_named_and_the_store_that_fails_is_told() {
    let platform = platform();
    queue(&platform, 1, &["alps"]);
    platform.lives.set(Some(0));
    assert_eq!(send(&platform, "alps", ALPS).status, 503);
    platform.lives.set(None);
    platform.set_variable("clusters", Some("[[cluster]]\nname = 'alps'"));
    let refused = send(&platform, "alps", ALPS);
    assert!(refused.status >= 500, "{}", refused.status);
}
