//! Taking runners that ended without a job out of GitHub's list.
//!
//! A runner of a JIT configuration is in that list, offline, from the moment its configuration was made. Where it ends
//! without a job, its job script has no credential to take it out, and GitHub itself does so only after a day.

use gha_slurm_core::github::client::GitHubError;
use gha_slurm_core::github::credentials::Credentials;
use gha_slurm_core::ledger::{JitRunner, Ledger, Leftover, Requested, Standing};
use gha_slurm_core::lifecycle::Fault;
use gha_slurm_core::ports::Platform;

use crate::run::Tick;

/// A runner that has no job by then gets none: it starts within a minute or two, ends after two idle ones, and a job that
/// still waits for it got another launch after five.
const UNUSED_SECONDS: u64 = 10 * 60;
/// The same after the end of its Slurm job: webhooks of a job that it ran are late by seconds.
const ENDED_SECONDS: u64 = 60;
/// How long after a failure, or while the runner runs a job that nobody told of, GitHub is asked again.
const AGAIN_SECONDS: u64 = 10 * 60;
/// GitHub removes an ephemeral runner by itself that was away for a day; the hour is for its own time to come round.
const FORGOTTEN_SECONDS: u64 = 25 * 60 * 60;
/// In one run. GitHub allows 80 calls a minute that change something, for the redemptions as well; a run comes every 30 s.
pub(crate) const MOST_REMOVALS: u32 = 20;

impl<P: Platform> Tick<'_, P> {
    /// Removes the runners that a job's launches left. Returns whether there is none left, nor may come.
    pub(crate) fn remove_runners(&mut self, launches: &[Standing], requested: &Requested) -> Result<bool, Fault> {
        let mut none_left = true;
        for launch in launches {
            none_left &= match launch.leftover() {
                None => true,
                Some(Leftover::Undecided) => false,
                Some(Leftover::Runner(runner)) => self.remove_runner(launch, runner, requested)?,
            };
        }
        Ok(none_left)
    }

    fn remove_runner(&mut self, launch: &Standing, runner: JitRunner, requested: &Requested) -> Result<bool, Fault> {
        let now = self.platform.unix_seconds();
        if runner.at.saturating_add(FORGOTTEN_SECONDS) <= now {
            return Ok(true);
        }
        let ended = launch.ended.as_ref().map(|ended| ended.at.saturating_add(ENDED_SECONDS));
        let unused = runner.at.saturating_add(UNUSED_SECONDS);
        if ended.unwrap_or(unused).min(unused) > now || self.removals == 0 {
            return Ok(false);
        }
        let facts = Ledger(self.platform).launch(launch.id);
        if facts.removing()?.is_some_and(|asked| asked.saturating_add(AGAIN_SECONDS) > now) || self.late() {
            return Ok(false);
        }
        facts.record_removing()?;
        self.removals -= 1;
        match Credentials::new(self.platform, &self.github).remove_runner(requested.into(), runner.id) {
            Ok(()) => self.report.removed += 1,
            Err(GitHubError::NotFound(_)) => {}
            // It runs a job, or GitHub does not let us: both may change.
            Err(GitHubError::Refused(_)) => return Ok(false),
            Err(error) => {
                // The next one would get the same answer.
                self.removals = 0;
                self.report.problem(error);
                return Ok(false);
            }
        }
        facts.record_removed()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use gha_slurm_core::ports::{HttpMethod, Store};
    use gha_slurm_edge::testing::authorized;
    use gha_slurm_scene::Scene;
    use serde_json::{Value, json};

    use super::*;
    use crate::run::tick;

    const UNUSED: u64 = UNUSED_SECONDS;

    /// Jobs that were cancelled after the launch of each was redeemed for the runner `500 + job`.
    fn idle(jobs: std::ops::RangeInclusive<u64>) -> Scene {
        let scene = Scene::new();
        scene.github("/app/hook/deliveries", 200, json!([]));
        for job in jobs {
            scene.queue(job);
            let made = json!({"runner": {"id": 500 + job}, "encoded_jit_config": "eyJ"});
            scene.github("/generate-jitconfig", 201, made);
            assert_eq!(scene.redeem_jit(&format!("{job}-1")).body, json!({"encoded_jit_config": "eyJ"}));
            scene.github(&format!("/runners/{}", 500 + job), 204, Value::Null);
            scene.finish(job, "cancelled");
        }
        scene
    }

    fn run(scene: &Scene) -> Value {
        tick(&scene.platform, &authorized("Bearer an-admin-token-of-32-characters!")).body
    }

    /// The paths of the calls that removed a runner, or should have.
    fn removals(scene: &Scene) -> Vec<String> {
        let sent = scene.platform.sent.borrow();
        sent.iter().filter(|sent| sent.method == HttpMethod::Delete).map(|sent| sent.url.path().to_owned()).collect()
    }

    #[test]
    fn a_runner_without_a_job_is_removed_once_after_ten_minutes() {
        let scene = idle(1..=1);
        scene.pass(UNUSED - 1);
        assert_eq!((run(&scene)["removed"].clone(), removals(&scene).len()), (json!(0), 0));
        scene.pass(1);
        let report = run(&scene);
        assert_eq!((&report["removed"], &report["problems"]), (&json!(1), &json!([])), "{report}");
        assert_eq!(removals(&scene), ["/repositories/7/actions/runners/501"]);
        scene.pass(2 * 60 * 60);
        assert_eq!((run(&scene)["removed"].clone(), removals(&scene).len()), (json!(0), 1));
        assert_eq!(run(&scene)["jobs"], 0, "the journal counts the job as settled");
    }

    #[test]
    fn a_runner_with_a_job_and_one_that_registered_by_a_token_are_left_alone() {
        let scene = idle(1..=1);
        scene.queue(2);
        scene.github("/generate-jitconfig", 201, json!({"runner": {"id": 502}, "encoded_jit_config": "eyJ"}));
        assert_eq!(scene.redeem_jit("2-1").status, 200);
        scene.start(2, "gha-slurm-2-1");
        scene.queue(3);
        assert_eq!(scene.redeem("3-1").status, 200);
        scene.finish(3, "cancelled");
        scene.pass(UNUSED);
        run(&scene);
        scene.finish(2, "success");
        scene.pass(UNUSED);
        run(&scene);
        assert_eq!(removals(&scene), ["/repositories/7/actions/runners/501"]);
    }

    #[test]
    fn what_github_refuses_or_cannot_do_is_asked_again_after_a_while() {
        let scene = idle(1..=2);
        let busy = json!({"message": "Runner \"gha-slurm-1-1\" is currently running a job and cannot be deleted."});
        scene.github("/runners/501", 422, busy);
        scene.pass(UNUSED);
        assert_eq!(run(&scene)["removed"], 1, "the other one");
        run(&scene);
        scene.pass(AGAIN_SECONDS - 1);
        run(&scene);
        assert_eq!(removals(&scene).len(), 2);
        scene.pass(1);
        scene.github("/runners/501", 502, json!({}));
        let problems = run(&scene)["problems"].to_string();
        assert!(removals(&scene).len() == 3 && problems.contains("/runners/501: 502"), "{problems}");
        // It went with its job; a 404 is asked again with a fresh token, until that is old enough to be known.
        scene.pass(AGAIN_SECONDS);
        scene.github("/runners/501", 404, json!({}));
        for _ in 0..2 {
            assert_eq!(run(&scene)["removed"], 0);
            assert_eq!(removals(&scene).len(), 7);
        }
        let removed = scene.platform.get("gha-slurm/1/launch/1-1/removed").unwrap();
        assert!(removed.is_some());
    }

    #[test]
    fn a_run_removes_a_bounded_number_and_none_when_github_is_away_or_forgot_it() {
        let many = u64::from(MOST_REMOVALS) + 1;
        let scene = idle(1..=many);
        scene.pass(UNUSED);
        assert_eq!(run(&scene)["removed"], MOST_REMOVALS);
        assert_eq!(run(&scene)["removed"], 1);

        let scene = idle(1..=many);
        (1..=many).for_each(|job| scene.github(&format!("/runners/{}", 500 + job), 503, json!({})));
        scene.pass(UNUSED);
        run(&scene);
        assert_eq!(removals(&scene).len(), 1, "the others would fail as well");
        scene.pass(FORGOTTEN_SECONDS);
        run(&scene);
        assert_eq!(removals(&scene).len(), 1);
    }
}
