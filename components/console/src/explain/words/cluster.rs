//! The sentences about a launch on its way to a cluster whose gateways fetch, or between clusters.

use gha_slurm_core::cluster::NoCluster;
use gha_slurm_overview::Silence;
use gha_slurm_protocol::identity::ClusterName;

use super::super::Cause;
use super::super::finding::Moved;
use super::{Told, sentence, told};
use crate::time::duration;

/// A cluster that asks takes a launch within seconds, unless it has no room.
const LONG_SECONDS: u64 = 60;

pub(super) fn to_be_fetched(cluster: &ClusterName, before: Option<&(String, u64)>, age: u64) -> Told {
    let lease = before.map(|(gateway, ago)| {
        format!(
            "Gateway {gateway} fetched it {} ago and did not report in time, so it is handed out again.",
            duration(*ago)
        )
    });
    let age_text = duration(age);
    if age < LONG_SECONDS {
        let details = [format!("It has waited for that for {age_text}.")].into_iter().chain(lease).collect();
        let headline = format!("The job's launch waits for cluster {cluster}, which fetches it within seconds.");
        return told(Cause::Offered, headline, details, &["Wait a moment."]);
    }
    told(
        Cause::Offered,
        format!("Cluster {cluster} asks for launches, and has not taken the job's for {age_text}."),
        lease.into_iter().collect(),
        &[
            "Its gateways may have as many launches as they may (app.atMost), or Slurm may be away: then wait.",
            &format!("See the gateway's log on {cluster}, and run `gha-slurm-gateway check` there."),
        ],
    )
}

pub(super) fn fetched(cluster: &ClusterName, gateway: &str, ago: u64) -> Told {
    let ago = duration(ago);
    told(
        Cause::Submitting,
        format!("Gateway {gateway} of cluster {cluster} has had the job's launch for {ago}, and has not reported yet."),
        vec!["It has two minutes to submit it. After that, the launch is handed out again.".to_owned()],
        &[&format!("Wait. If this happens repeatedly, see the gateway's log on {cluster}.")],
    )
}

pub(super) fn silent(
    silence: &Silence,
    others: &[ClusterName],
    silent_after: u64,
    before: Option<&(String, u64)>,
    age: u64,
) -> Told {
    let cluster = &silence.cluster;
    let mut details = vec![format!("The job's launch has waited for it for {}.", duration(age))];
    details.extend(before.map(|(gateway, ago)| {
        format!("Gateway {gateway} fetched it {} ago, and has not reported since.", duration(*ago))
    }));
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(ClusterName::as_str).collect();
        details.push(format!(
            "After {} of silence the job goes to another of its clusters, if that one is there: {}.",
            duration(silent_after),
            names.join(", ")
        ));
    }
    told(
        Cause::ClusterSilent,
        format!("{}, so nothing fetches the job's launch.", sentence(&silence.to_string()).trim_end_matches('.')),
        details,
        &[
            &format!("Check that the gateway runs on {cluster}: systemctl status gha-slurm-gateway."),
            "Run `gha-slurm-gateway check` there: it says whether it reaches the app at app.url, through proxy and \
             firewall, and whether the app accepts its secret.",
            &format!(
                "If the app refuses it (401): app.cluster must be {cluster}, and secret_sha256 in the app's variable \
                 clusters the digest of what is in app.secretFile."
            ),
        ],
    )
}

pub(super) fn not_configured(cluster: &ClusterName, age: u64) -> Told {
    told(
        Cause::NoCluster,
        format!("The job is for cluster {cluster}, which the variable clusters does not have (any more)."),
        vec![format!("It has waited for {}.", duration(age))],
        &[
            &format!("Add {cluster} to the variable clusters again: the periodic repair launches the job after that."),
            "Or cancel the run on GitHub: a re-run goes where the profile says now.",
        ],
    )
}

pub(super) fn not_placed(profile: &str, problem: &NoCluster) -> Told {
    let advice = match problem {
        NoCluster::TooMuch(_) => {
            "Ask for less in runs-on or in the profile, raise the limits of a cluster, or add one to the profile."
        }
        NoCluster::Unknown(_) | NoCluster::Store(_) => {
            "Correct the profile's clusters, or add the cluster to the variable clusters."
        }
    };
    let headline = format!("Profile {profile} serves the job, but no cluster takes it: {problem}.");
    told(Cause::NoCluster, headline, Vec::new(), &[advice])
}

pub(super) fn moved(moved: &Moved) -> String {
    let Moved { launch, from, to, ago } = moved;
    let to = to.as_ref().map(|to| format!("; the job went to cluster {to}")).unwrap_or_default();
    let ago = duration(*ago);
    format!("Launch {launch} was given up {ago} ago, because cluster {from} was silent or refused it{to}.")
}
