//! What happens between any two operations of the store.

use std::cell::RefCell;
use std::rc::Rc;

use gha_slurm_core::lifecycle::withdraw_unneeded;
use gha_slurm_core::testing::Memory;
use serde_json::json;

use super::{
    EIGER, LEASE, SKEW, destination, facts, fetch, moves, orders_left, pass, platform, queue, report, request,
    submitted,
};
use crate::exchange::exchange;

/// Launches with whether each was handed out again.
type Handed = Vec<(String, bool)>;

type Got = Rc<RefCell<Vec<(String, bool)>>>;

/// Another gateway's exchange after so many operations; whether it came to that.
fn interrupted(platform: &Memory, operations: u32, gateway: &'static str) -> (Handed, Handed, bool) {
    let other: Got = Rc::default();
    let seen = Rc::clone(&other);
    platform.meanwhile(operations, move |platform| *seen.borrow_mut() = fetch(platform, "alps", gateway, 8));
    let own = fetch(platform, "alps", "login1", 8);
    let happened = !platform.uninterrupted();
    let other = other.borrow().clone();
    (own, other, happened)
}

#[test]
fn of_two_gateways_that_ask_at_once_one_gets_the_launch() {
    for operations in 0.. {
        let platform = platform();
        queue(&platform, 1, &["alps"]);
        let (own, other, happened) = interrupted(&platform, operations, "login2");
        assert_eq!(own.len() + other.len(), 1, "{operations}: {own:?} {other:?}");
        if !happened {
            assert!(operations > 10);
            break;
        }
    }
}

#[test]
fn of_two_that_ask_at_once_after_a_lease_ran_out_one_gets_it_again() {
    for operations in 0.. {
        let platform = platform();
        queue(&platform, 1, &["alps"]);
        fetch(&platform, "alps", "gone", 8);
        pass(&platform, LEASE + SKEW);
        let (own, other, happened) = interrupted(&platform, operations, "login2");
        let all: Vec<_> = own.into_iter().chain(other).collect();
        assert_eq!(all, [("1-1".to_owned(), true)], "{operations}");
        if !happened {
            break;
        }
    }
}

/// Wherever an exchange dies, its launch is handed out later, with the word that it may have been before.
#[test]
fn an_exchange_that_dies_loses_no_launch() {
    for operations in 0.. {
        let platform = platform();
        queue(&platform, 1, &["alps"]);
        platform.lives.set(Some(operations));
        let answer = exchange(&platform, &request("alps", super::ALPS, &json!({"gateway": "login1", "room": 8})));
        let died = platform.lives.get() == Some(0);
        platform.lives.set(None);
        if !died {
            assert_eq!(answer.status, 200);
            break;
        }
        let mut got = Vec::new();
        for _ in 0..2 {
            pass(&platform, LEASE + SKEW + 1);
            got.extend(fetch(&platform, "alps", "login2", 8));
        }
        assert!(!got.is_empty(), "{operations}");
        report(&platform, "login2", &json!([submitted("1-1")]));
        assert!(orders_left(&platform).is_empty(), "{operations}");
    }
}

/// A report that is being written down when the process dies is told again, and then all of it is there.
#[test]
fn a_report_whose_exchange_died_is_told_again() {
    for operations in 0.. {
        let platform = platform();
        queue(&platform, 1, &["alps"]);
        fetch(&platform, "alps", "login1", 8);
        super::finish(&platform, 1);
        platform.lives.set(Some(operations));
        let said = json!({"gateway": "login1", "reports": [submitted("1-1")]});
        exchange(&platform, &request("alps", super::ALPS, &said));
        let died = platform.lives.get() == Some(0);
        platform.lives.set(None);
        let answer = report(&platform, "login1", &json!([submitted("1-1")]));
        let mut cancel = answer["cancel"].as_array().unwrap().clone();
        // Where the attempt to order it died, the tick makes another one.
        for _ in 0..2 {
            let answer = report(&platform, "login1", &json!([]));
            cancel.extend(answer["cancel"].as_array().unwrap().clone());
            withdraw_unneeded(&platform, &destination(&platform), "1-1".parse().unwrap()).unwrap();
            pass(&platform, 601);
        }
        assert!(facts(&platform, "1-1").withdrawn().unwrap(), "{operations}");
        let answer = report(&platform, "login1", &json!([]));
        cancel.extend(answer["cancel"].as_array().unwrap().clone());
        assert!(!cancel.is_empty(), "{operations}");
        if !died {
            break;
        }
    }
}

/// However a move and an exchange of the silent cluster meet: what that submits is cancelled, and its token is dead.
#[test]
fn a_launch_that_is_moved_while_it_is_fetched_is_with_one_cluster() {
    let clusters = ["alps", "eiger"];
    for operations in 0.. {
        let platform = platform();
        queue(&platform, 1, &clusters);
        pass(&platform, 10 * 60);
        exchange(&platform, &request("eiger", EIGER, &json!({})));
        let moved = Rc::new(RefCell::new(false));
        let seen = Rc::clone(&moved);
        platform.meanwhile(operations, move |platform| *seen.borrow_mut() = moves(platform, 1, &["alps", "eiger"]));
        let own = fetch(&platform, "alps", "login1", 8);
        let happened = !platform.uninterrupted();
        if *moved.borrow() && !own.is_empty() {
            assert!(facts(&platform, "1-1").lost().unwrap().is_some());
            let answer = report(&platform, "login1", &json!([submitted("1-1")]));
            assert_eq!(answer["cancel"], json!(["1-1"]), "{operations}");
        }
        if !happened {
            break;
        }
    }
}
