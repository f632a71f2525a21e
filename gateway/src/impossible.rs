//! Slurm jobs that Slurm took and will never start.
//!
//! Slurm takes a Slurm job that is longer than its partition allows, or that no node can hold, and lets it wait for ever
//! with a reason that says so. So the Slurm jobs that wait are looked at now and then; one that waits for what cannot pass
//! by itself is ended after a while, in which an administrator may change the partition or the Slurm job.
//!
//! Its job gets another launch from the app, which would end the same way. So what asks the same as one that was ended is
//! refused here for a time, and the app treats it as it treats what Slurm refuses.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::slurm_job::{PENDING, SlurmJob};

/// How often those are looked at that are due.
pub(crate) const ROUND: Duration = Duration::from_secs(20);
/// A Slurm job is looked at so soon after it was submitted, and then the more seldom the longer it waits.
const FIRST_LOOK: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// What asks the same is refused for so long: then the administrators may have changed something.
const REMEMBERED: Duration = Duration::from_secs(3600);
const MOST_REMEMBERED: usize = 256;
/// What is beyond is not looked at; where the app asks for its state, it is seen all the same.
const MOST_WATCHED: usize = 10_000;

/// What is known of the Slurm jobs that wait, and of those that were ended. Lost by a restart: then they are seen anew.
#[derive(Default)]
pub(crate) struct Impossible(Mutex<Known>);

#[derive(Default)]
struct Known {
    waiting: HashMap<String, Waiting>,
    ended: VecDeque<Ended>,
}

struct Waiting {
    since: Instant,
    next_look: Instant,
    /// Since when, and why it will never start.
    hopeless: Option<(Instant, String)>,
    /// Absent for one that an earlier run of this gateway submitted.
    asked: Option<Asked>,
}

/// Who asked for what.
type Asked = (String, Resources);

struct Ended {
    asked: Asked,
    why: String,
    at: Instant,
}

/// Slurm's word and what it means.
fn words(job: &SlurmJob) -> Option<String> {
    let meaning = job.never_starts()?;
    Some(format!("{}: {meaning}", job.reason.as_deref().unwrap_or_default()))
}

impl Impossible {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A launch was submitted, and is looked at from now on.
    pub(crate) fn submitted(&self, launch: &str, user: &str, resources: &Resources, now: Instant) {
        let mut known = self.known();
        if known.waiting.len() < MOST_WATCHED {
            let asked = Some((user.to_owned(), resources.clone()));
            let waiting = Waiting { since: now, next_look: now + FIRST_LOOK, hopeless: None, asked };
            known.waiting.insert(launch.to_owned(), waiting);
        }
    }

    /// What Slurm says of a launch, whoever asked.
    pub(crate) fn saw(&self, launch: &str, job: &SlurmJob, now: Instant) {
        let mut known = self.known();
        if job.state != PENDING {
            known.waiting.remove(launch);
            return;
        }
        let why = words(job);
        if why.is_some() && known.waiting.len() < MOST_WATCHED {
            let new = || Waiting { since: now, next_look: now, hopeless: None, asked: None };
            known.waiting.entry(launch.to_owned()).or_insert_with(new);
        }
        if let Some(waiting) = known.waiting.get_mut(launch) {
            let age = now.saturating_duration_since(waiting.since);
            waiting.next_look = now + (age / 8).clamp(FIRST_LOOK, LONGEST_PAUSE);
            waiting.hopeless = why.map(|why| {
                let since = waiting.hopeless.as_ref().map_or(now, |(since, _)| *since);
                (since, why)
            });
            if waiting.hopeless.is_some() {
                waiting.next_look = now + FIRST_LOOK;
            }
        }
    }

    /// The launches that are to be looked at now. One that Slurm does not tell of is not due again at once.
    pub(crate) fn due(&self, now: Instant) -> Vec<String> {
        let mut known = self.known();
        let due = known.waiting.iter_mut().filter(|(_, waiting)| waiting.next_look <= now);
        due.map(|(launch, waiting)| {
            waiting.next_look = now + FIRST_LOOK;
            launch.clone()
        })
        .collect()
    }

    /// Those that have been hopeless for so long, with why.
    pub(crate) fn hopeless(&self, patience: Duration, now: Instant) -> HashMap<String, String> {
        let known = self.known();
        let over = known.waiting.iter().filter_map(|(launch, waiting)| {
            let (since, why) = waiting.hopeless.as_ref()?;
            (now.saturating_duration_since(*since) >= patience).then(|| (launch.clone(), why.clone()))
        });
        over.collect()
    }

    /// One was ended for it, or is no launch any more.
    pub(crate) fn ended(&self, launch: &str, why: &str, now: Instant) {
        let mut known = self.known();
        let Some(asked) = known.waiting.remove(launch).and_then(|waiting| waiting.asked) else { return };
        known.ended.retain(|ended| ended.asked != asked);
        known.ended.push_back(Ended { asked, why: why.to_owned(), at: now });
        if known.ended.len() > MOST_REMEMBERED {
            known.ended.pop_front();
        }
    }

    /// It is not watched any more.
    pub(crate) fn forget(&self, launch: &str) {
        self.known().waiting.remove(launch);
    }

    /// Nothing that was ended counts any more: the configuration is another one.
    pub(crate) fn forget_ended(&self) {
        self.known().ended.clear();
    }

    /// Why what a user asks for now would never start, if the same was ended for it a short while ago.
    pub(crate) fn refusal(&self, user: &str, resources: &Resources, now: Instant) -> Option<String> {
        let mut known = self.known();
        known.ended.retain(|ended| now.saturating_duration_since(ended.at) < REMEMBERED);
        let same = known.ended.iter().find(|ended| ended.asked.0 == user && ended.asked.1 == *resources);
        same.map(|ended| {
            format!("it would never start, as an earlier Slurm job that asked for the same: {}", ended.why)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: fn(u64) -> Duration = |minutes| Duration::from_secs(60 * minutes);

    fn job(state: &str, reason: &str) -> SlurmJob {
        let (job_id, reason) = (Some("17".to_owned()), Some(reason.to_owned()));
        SlurmJob { job_id, state: state.to_owned(), reason, starts_in: None, position: None }
    }

    #[test]
    fn what_waits_in_vain_is_due_for_its_end_after_a_while_and_what_asks_the_same_is_refused() {
        let (known, begun) = (Impossible::default(), Instant::now());
        let at = |minutes| begun + MINUTES(minutes);
        let resources = Resources { time_limit: "90".parse().ok(), ..Resources::default() };
        known.submitted("1-1", "alice", &resources, begun);
        assert!(known.due(begun).is_empty());
        assert_eq!(known.due(at(1)), ["1-1"], "within a minute");
        assert!(known.due(at(1)).is_empty(), "not again at once, whether Slurm answers or not");
        known.saw("1-1", &job("PENDING", "PartitionTimeLimit"), at(1));
        known.saw("1-1", &job("PENDING", "PartitionTimeLimit"), at(9));
        assert!(known.hopeless(MINUTES(10), at(10)).is_empty());
        let over: Vec<_> = known.hopeless(MINUTES(10), at(11)).into_iter().collect();
        let why = "PartitionTimeLimit: its time limit is longer than the partition's";
        assert_eq!(over, [("1-1".to_owned(), why.to_owned())]);
        known.ended("1-1", why, at(11));
        assert!(known.hopeless(MINUTES(10), at(99)).is_empty() && known.due(at(99)).is_empty());
        let refused = |user: &str, resources: &Resources, minutes| known.refusal(user, resources, at(minutes));
        assert!(refused("alice", &resources, 12).unwrap().ends_with(why));
        assert_eq!(refused("bob", &resources, 12), None);
        assert_eq!(refused("alice", &Resources::default(), 12), None);
        assert_eq!(refused("alice", &resources, 72), None, "for a time");
    }

    #[test]
    fn a_reason_that_passes_begins_anew_and_what_runs_is_watched_no_longer() {
        let (known, begun) = (Impossible::default(), Instant::now());
        let at = |minutes| begun + MINUTES(minutes);
        // Of an earlier run of the gateway.
        known.saw("1-1", &job("PENDING", "PartitionConfig"), begun);
        known.saw("1-1", &job("PENDING", "Resources"), at(5));
        known.saw("1-1", &job("PENDING", "PartitionConfig"), at(6));
        assert!(known.hopeless(MINUTES(10), at(15)).is_empty());
        assert_eq!(known.hopeless(MINUTES(10), at(16)).len(), 1);
        known.saw("1-1", &job("RUNNING", "None"), at(17));
        assert!(known.hopeless(MINUTES(10), at(99)).is_empty());
        known.saw("2-1", &job("PENDING", "Resources"), begun);
        assert!(known.due(at(99)).is_empty(), "one that may start and was not submitted here is not looked at");
        known.submitted("3-1", "alice", &Resources::default(), begun);
        known.saw("3-1", &job("PENDING", "Priority"), at(240));
        assert!(known.due(at(249)).is_empty());
        assert_eq!(known.due(at(250)), ["3-1"], "a long queue is looked at seldom");
    }
}
