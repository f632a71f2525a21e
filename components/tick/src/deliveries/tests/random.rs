//! Random histories of a list: bursts, late records, limits, faults and crashes, with a clock that goes on.

use serde_json::json;

use super::hook::{Attempt, FIRST, Hook, Shows};

/// Xorshift: the same histories each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn history(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let hook = Hook::new("poll");
    // Ids have gaps, into which late ones go.
    let (mut last, mut job) = (0, 0);
    for _ in 0..30 {
        match dice.roll(9) {
            0..3 => {
                let many = if dice.roll(8) == 0 { 250 } else { dice.roll(20) };
                for _ in 0..many {
                    (last, job) = (last + 10, job + 1);
                    hook.add(hook.job(FIRST + last, job, "queued"));
                }
            }
            3 if last > 400 => {
                let id = FIRST + last - 10 * dice.roll(40) - 1 - dice.roll(8);
                if hook.world.borrow().attempts.iter().all(|attempt| attempt.id != id) {
                    job += 1;
                    let late = hook.job(id, job, "queued");
                    hook.add(Attempt { at: late.at - dice.roll(11), ..late });
                }
            }
            4 => {
                let most = if dice.roll(10) == 0 { 4000 } else { 15 };
                hook.pass(dice.roll(most));
            }
            5 => hook.world.borrow_mut().calls_left = Some(u32::try_from(dice.roll(60)).unwrap()),
            6 => hook.world.borrow_mut().seconds_a_call = dice.roll(3),
            7 => {
                if let Some(attempt) = hook.world.borrow_mut().attempts.last_mut() {
                    attempt.shows = if dice.roll(2) == 0 { Shows::Status(404) } else { Shows::Status(502) };
                }
            }
            _ => {}
        }
        hook.platform.lives.set((dice.roll(4) == 0).then(|| u32::try_from(dice.roll(400)).unwrap()));
        hook.poll();
        hook.platform.lives.set(None);
        hook.pass(dice.roll(5));
        if dice.roll(3) == 0 {
            hook.world.borrow_mut().calls_left = None;
            hook.world.borrow_mut().attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Whole);
        }
    }
    let mut world = hook.world.borrow_mut();
    (world.calls_left, world.seconds_a_call) = (None, 0);
    world.attempts.iter_mut().for_each(|attempt| attempt.shows = Shows::Whole);
    drop(world);
    // Limits, turns and what was put aside come to their end.
    for seconds in [700, 4000, 4000] {
        hook.pass(seconds);
        hook.poll_until_done();
    }
    let missing: Vec<u64> = (1..=job).filter(|job| !hook.is_known(*job)).collect();
    assert!(missing.is_empty(), "history {seed}: {missing:?} of {job}");
    let answer = hook.poll();
    assert_eq!((&answer.body["read"], &answer.body["behind"]), (&json!(0), &json!(0)), "history {seed}");
}

#[test]
fn nothing_is_missed_whatever_happens_to_the_list() {
    for seed in 0..40 {
        history(seed);
    }
}
