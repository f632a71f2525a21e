use gha_slurm_core::testing::Memory;

use super::*;
use crate::request::Request;

fn client(address: &str) -> Client {
    let headers = vec![("spin-client-addr".to_owned(), address.as_bytes().to_vec())];
    let request = Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new() };
    Client::of(&Memory::new(), &request).unwrap()
}

fn guess(platform: &Memory, address: &str, right: bool) -> Checked {
    Guesses::of(platform, client(address)).check(Giver::Program, None, || right).unwrap()
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
fn of_many_at_once_each_is_counted() {
    let platform = Memory::new();
    let guesses = Guesses::of(&platform, client(HERE));
    // All of them looked before any was counted.
    let nested = guesses.check(Giver::Person, None, || {
        for _ in 0..20 {
            guess(&platform, HERE, false);
        }
        false
    });
    assert!(matches!(nested.unwrap(), Checked::Limited { .. }));
}
