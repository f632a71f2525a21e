use gha_slurm_core::testing::Memory;

use super::*;
use crate::request::Request;

fn client(address: &str) -> Client {
    let headers = vec![("spin-client-addr".to_owned(), address.as_bytes().to_vec())];
    let request = Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new() };
    Client::of(&Memory::new(), &request).unwrap()
}

const SHORT: &str = "sixteen-letters!";
const LONG: &str = "an-admin-token-of-32-characters!";

fn give(platform: &Memory, address: &str, secret: &str, given: &str) -> Checked {
    Guesses::of(platform, client(address), Door::Api)
        .check(Giver::Program, None, &[&Secret::new(secret)], given)
        .unwrap()
}

fn guess(platform: &Memory, address: &str, right: bool) -> Checked {
    give(platform, address, SHORT, if right { SHORT } else { "wrong" })
}

const HERE: &str = "192.0.2.1:1000";
const ELSEWHERE: &str = "198.51.100.1:1000";

#[test]
fn after_ten_wrong_ones_a_minute_not_even_the_right_one_is_looked_at() {
    let platform = Memory::new();
    for number in 0..10 {
        assert_eq!(guess(&platform, HERE, false), Checked::Wrong, "{number}");
    }
    let Checked::Limited { seconds } = guess(&platform, HERE, true) else { panic!("the right one") };
    assert!((1..=60).contains(&seconds), "{seconds}");
    platform.seconds.set(platform.seconds.get() + seconds);
    assert_eq!(guess(&platform, HERE, true), Checked::Right, "a minute later");
}

#[test]
fn wrong_ones_from_elsewhere_keep_nobody_out() {
    let platform = Memory::new();
    for port in 0..50 {
        guess(&platform, &format!("192.0.2.1:{port}"), false);
    }
    assert_eq!(guess(&platform, ELSEWHERE, true), Checked::Right);
}

#[test]
fn whoever_was_right_before_stays_in_though_strangers_use_up_every_place() {
    let platform = Memory::new();
    assert_eq!(guess(&platform, HERE, true), Checked::Right);
    for address in 0..20_000_u32 {
        let [_, a, b, c] = address.to_be_bytes();
        guess(&platform, &format!("10.{a}.{b}.{c}:1"), false);
    }
    assert!(matches!(guess(&platform, ELSEWHERE, true), Checked::Limited { .. }), "a stranger");
    assert_eq!(guess(&platform, HERE, true), Checked::Right);
    // Its own wrong ones count all the same.
    for _ in 0..10 {
        guess(&platform, HERE, false);
    }
    assert!(matches!(guess(&platform, HERE, true), Checked::Limited { .. }));
    assert!(platform.keys().len() <= 256 * 3 + 4, "{} keys", platform.keys().len());
}

#[test]
fn a_right_one_writes_nothing_but_once_a_day() {
    let platform = Memory::new();
    guess(&platform, HERE, true);
    let (writes, all) = (platform.transactions.get(), platform.operations.get());
    for _ in 0..100 {
        guess(&platform, HERE, true);
    }
    assert_eq!(platform.transactions.get(), writes);
    assert_eq!(platform.operations.get() - all, 300, "one read of three keys each");
}

#[test]
fn of_many_at_once_no_more_than_the_limit_are_told_whether_they_are_right() {
    let platform = Memory::new();
    for _ in 0..10 {
        guess(&platform, HERE, false);
    }
    // The next one looked before that was written.
    platform.delete(&Lane { who: "stranger", number: client(HERE).digest()[0] }.closed()).unwrap();
    assert!(matches!(guess(&platform, HERE, true), Checked::Limited { .. }));
}

#[test]
fn a_long_secret_is_let_in_whatever_others_did() {
    let platform = Memory::new();
    for _ in 0..20 {
        give(&platform, HERE, LONG, "wrong");
    }
    assert!(matches!(give(&platform, HERE, LONG, "wrong"), Checked::Limited { .. }));
    assert_eq!(give(&platform, HERE, LONG, LONG), Checked::Right);
    // Beside a short one as well, which is limited as before.
    let both = [&Secret::new(SHORT), &Secret::new(LONG)];
    let check = |given: &str| {
        Guesses::of(&platform, client(ELSEWHERE), Door::Api).check(Giver::Program, None, &both, given).unwrap()
    };
    for _ in 0..10 {
        assert_eq!(check("wrong"), Checked::Wrong);
    }
    assert!(matches!(check(SHORT), Checked::Limited { .. }));
    assert_eq!(check(LONG), Checked::Right);
}

#[test]
fn what_a_clock_that_was_ahead_wrote_closes_nothing() {
    let platform = Memory::new();
    platform.seconds.set(platform.seconds.get() + 1_000_000);
    for _ in 0..11 {
        guess(&platform, HERE, false);
    }
    platform.seconds.set(platform.seconds.get() - 1_000_000);
    assert_eq!(guess(&platform, HERE, false), Checked::Wrong);
    assert_eq!(guess(&platform, HERE, true), Checked::Right);
}

#[test]
fn a_store_that_cannot_be_written_keeps_nobody_out() {
    let platform = Memory::new();
    // Three reads, and then no more.
    platform.lives.set(Some(3));
    assert_eq!(give(&platform, HERE, LONG, LONG), Checked::Right);
}
