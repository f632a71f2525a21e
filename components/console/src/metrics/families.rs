//! The metrics.

/// A metric with all of its series.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

/// In the order of the output.
pub(super) const FAMILIES: &[Family] = &[
    gauge("gha_slurm_jobs_waiting", "Jobs of a repository that wait for a runner."),
    gauge("gha_slurm_oldest_job_age_seconds", "How long the oldest waiting job of a repository has been waiting."),
    gauge("gha_slurm_jobs", "Jobs that wait or run, by profile and state."),
    gauge(
        "gha_slurm_cluster_silent",
        "1 if the gateways of a cluster should ask and have not done so for two minutes.",
    ),
    gauge(
        "gha_slurm_cluster_last_heard_seconds",
        "How long ago a gateway of a cluster last asked, or the one that is called last took a launch.",
    ),
    gauge("gha_slurm_cluster_waiting_launches", "Jobs that wait for a cluster to take their launch."),
    gauge(
        "gha_slurm_cluster_queue",
        "Slurm jobs of ours in a cluster, pending and running, as its gateways last said.",
    ),
    gauge(
        "gha_slurm_deliveries_last_read_seconds",
        "How long ago GitHub's list of deliveries was last read; noted at most once a minute while nothing is new.",
    ),
    gauge("gha_slurm_deliveries_behind", "Deliveries in GitHub's list that wait to be read, about."),
    gauge(
        "gha_slurm_metrics_complete",
        "1 if all jobs are counted; while it is 0, counters that are derived from facts are left out.",
    ),
    gauge("gha_slurm_unreadable_facts", "Jobs with a fact in the store that cannot be read."),
    counter("gha_slurm_jobs_queued_total", "Jobs of a profile that were queued."),
    counter("gha_slurm_jobs_started_total", "Jobs that a runner took."),
    counter("gha_slurm_jobs_finished_total", "Jobs that ended, by conclusion."),
    counter("gha_slurm_launches_total", "Launches that the gateway accepted."),
    counter("gha_slurm_relaunches_total", "Launches after a job's first."),
    counter(
        "gha_slurm_submit_failures_total",
        "Attempts to submit a launch that the gateway did not accept; each is retried.",
    ),
    counter(
        "gha_slurm_redemptions_total",
        "Launch tokens that were redeemed (granted), and attempts for which GitHub gave no credential (failed).",
    ),
    Family {
        name: "gha_slurm_stage_seconds",
        kind: Kind::Histogram,
        help: "How long jobs took for each stage: submit, pending, start; wait is from queued to started, run from there to the end.",
    },
    counter(
        "gha_slurm_webhooks_ignored_total",
        "Webhooks that left no fact, by outcome. An estimate: one in 64 is counted, as 64.",
    ),
    counter(
        "gha_slurm_redemptions_refused_total",
        "Redemptions that were refused, by outcome. An estimate: one in 64 is counted, as 64.",
    ),
    counter(
        "gha_slurm_jobs_refused_at_the_node_total",
        "Jobs that the gateway's check on a compute node ended before their first step.",
    ),
    counter(
        "gha_slurm_suspicions_total",
        "What looks like an attack: launches whose token came again after its credential was handed out.",
    ),
    counter(
        "gha_slurm_github_calls_total",
        "Calls to GitHub's API by result. Failures are counted exactly; of result=\"ok\", one in 64 is counted, as 64.",
    ),
];
