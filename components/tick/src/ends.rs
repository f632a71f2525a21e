//! Seeing the ends of Slurm jobs.
//!
//! No webhook tells that a runner found no job, that a node failed, or that somebody cancelled a Slurm job. So the gateway
//! is asked about the launches that may still run and of which nothing was heard, many at once; what is over becomes a
//! fact, and what follows from it is done in the same run.

use std::time::Duration;

use std::collections::BTreeMap;

use gha_slurm_core::cluster::Reach;
use gha_slurm_core::gateway::slurm_jobs;
use gha_slurm_core::ledger::{End, Ledger, Requested, Standing, Told, View};
use gha_slurm_core::lifecycle::{Fault, start_line};
use gha_slurm_core::ports::Platform;
use gha_slurm_core::settings::GatewaySettings;
use gha_slurm_protocol::identity::{ClusterName, LaunchId};

use crate::run::Tick;

/// How often the gateway is asked about a Slurm job that may have died before it redeemed its launch.
const PENDING_SECONDS: u64 = 5 * 60;
/// An idle runner ends after two minutes; then, and as often after that.
const IDLE_SECONDS: u64 = 150;
/// The same where its job is over and others wait for its place.
const IN_THE_WAY_SECONDS: u64 = 60;
/// How often it is asked about a runner that runs a job, where others wait for its place: its *completed* may be lost.
const RUNNING_SECONDS: u64 = 10 * 60;
/// Where the gateway cannot tell: a runner whose launch was redeemed so long ago, and that took no job that anybody told
/// of, has ended.
const UNHEARD_SECONDS: u64 = 60 * 60;
const DEADLINE: Duration = Duration::from_secs(3);
/// So many are asked about at the most before what the answers say is done.
pub(crate) const MOST_AT_ONCE: usize = 64;

/// A launch whose Slurm job may be over.
pub(crate) struct Question {
    launch: LaunchId,
    requested: Requested,
    /// It counts as ended if the gateway cannot tell.
    unheard: bool,
}

impl<P: Platform> Tick<'_, P> {
    /// Notes the launches of a job that the gateway is to be asked about now. Returns whether the ends of all of them are
    /// known, as far as they matter.
    pub(crate) fn see_ends(&mut self, view: &View, requested: &Requested, launches: &[Standing]) -> bool {
        let now = self.platform.unix_seconds();
        let limited = requested.has_line();
        let mut all_known = true;
        for launch in launches.iter().filter(|launch| launch.lives()) {
            let Some(launched) = &launch.launched else { continue };
            // A job that runs is heard of by itself, unless its webhooks are lost; only a place in a line suffers by that.
            if launch.took.is_some() && !limited {
                continue;
            }
            all_known = false;
            let over = view.over_since(now);
            let distance = match (launch.took, launch.redeemed, over) {
                (Some(_), ..) => RUNNING_SECONDS,
                (None, None, _) => PENDING_SECONDS,
                (None, Some(_), Some(_)) if limited => IN_THE_WAY_SECONDS,
                (None, Some(_), _) => IDLE_SECONDS,
            };
            let begun = launch.redeemed.unwrap_or(launched.at);
            let heard = launch.asked.unwrap_or(0).max(begun);
            // The end of its job is news of a runner that took none.
            let news =
                launch.redeemed.is_some() && over.is_some_and(|over| launch.asked.is_none_or(|asked| asked < over));
            if news || heard.saturating_add(distance) <= now {
                let idle = launch.redeemed.is_some() && launch.took.is_none() && over.is_some();
                let unheard = idle && begun.saturating_add(UNHEARD_SECONDS) <= now;
                self.questions.push(Question { launch: launch.id, requested: requested.clone(), unheard });
            }
        }
        all_known
    }

    /// Asks what was collected, and does what follows from the answers.
    pub(crate) fn ask_for_ends(&mut self) -> Result<(), Fault> {
        let mut ended = Vec::new();
        let mut by_gateway: BTreeMap<ClusterName, (GatewaySettings, Vec<Question>)> = BTreeMap::new();
        for question in std::mem::take(&mut self.questions) {
            let cluster = self.destination.clusters.of_launch(self.platform, question.launch, &question.requested)?;
            match cluster.map(|cluster| (&cluster.name, &cluster.reach)) {
                Some((name, Reach::Push(gateway))) => {
                    let (_, questions) =
                        by_gateway.entry(name.clone()).or_insert_with(|| (gateway.clone(), Vec::new()));
                    questions.push(question);
                }
                // Its gateway tells of ends by itself, if there still is one.
                _ if question.unheard => {
                    Ledger(self.platform).launch(question.launch).record_ended(End::Unheard)?;
                    ended.push(question);
                }
                _ => {}
            }
        }
        for (cluster, (gateway, mut questions)) in by_gateway {
            while !questions.is_empty() && !self.failing.contains(&cluster) && !self.late() {
                let width = questions.len().min(self.pace.width(&cluster));
                let some: Vec<Question> = questions.drain(..width).collect();
                ended.extend(self.ask_some(&cluster, &gateway, some)?);
            }
        }
        for question in &ended {
            self.report.ended += 1;
            // Its job may need another launch, and its runner may be in GitHub's list.
            if let Err(error) = self.repair(question.launch.job) {
                self.report.problem(format!("job {}: {error}", question.launch.job));
            }
        }
        self.questions.clear();
        // The place that each left is free.
        ended.sort_by(|one, other| one.requested.profile.cmp(&other.requested.profile));
        ended.dedup_by(|one, other| one.requested.profile == other.requested.profile);
        for question in &ended {
            self.report.launched += start_line(self.platform, &self.destination, &question.requested, &mut self.pace)?;
        }
        Ok(())
    }

    /// Asks a gateway at once; those whose Slurm job is over.
    fn ask_some(
        &mut self,
        cluster: &ClusterName,
        gateway: &GatewaySettings,
        questions: Vec<Question>,
    ) -> Result<Vec<Question>, Fault> {
        let platform = self.platform;
        let launches: Vec<LaunchId> = questions.iter().map(|question| question.launch).collect();
        Ledger(platform).record_all_asked(&launches)?;
        let deadline = self.destination.deadline(platform, DEADLINE);
        let answers = slurm_jobs(platform, gateway, &launches, deadline);
        let away = answers.iter().filter(|answer| matches!(answer, Err(error) if error.is_away())).count();
        self.pace.learn(cluster, answers.len(), away);
        let mut ended = Vec::new();
        for (question, answer) in questions.into_iter().zip(answers) {
            let facts = Ledger(platform).launch(question.launch);
            let how = match answer {
                Ok(Some(found)) if found.is_over() => End::Slurm(found.state),
                Ok(None) if question.unheard => End::Unheard,
                Ok(Some(found)) => {
                    facts.record_told(&Told::now(&found, platform))?;
                    continue;
                }
                Ok(None) => continue,
                Err(error) => {
                    self.failing.insert(cluster.clone());
                    self.report.problem(error);
                    continue;
                }
            };
            facts.record_ended(how)?;
            ended.push(question);
        }
        Ok(ended)
    }
}
