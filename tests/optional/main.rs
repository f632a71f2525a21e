//! The application as shipped, with what may not be installed: a Redis server, Prometheus' own programs, Spin, GitHub's
//! own examples. What is not there is named, and its tests are ignored.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod examples;
#[path = "../support/optional.rs"]
mod optional;
mod prometheus;
mod replicas;
mod spin;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use optional::{Need, trials};

const PROMETHEUS: &str = "GHA_SLURM_REQUIRE_PROMETHEUS";

fn main() -> std::process::ExitCode {
    let redis = Need::program("redis-server", "--version", "GHA_SLURM_REQUIRE_REDIS");
    let promtool = Need::program("promtool", "--version", PROMETHEUS);
    let mut python = Command::new(prometheus::PYTHON);
    python.args(["-c", "import prometheus_client.parser"]);
    let python = Need::command("python3-prometheus-client", &mut python, PROMETHEUS);
    let examples = Need::variable(examples::FOLDER, Some("GHA_SLURM_REQUIRE_EXAMPLES"));
    let spin = Need::program("spin", "--version", "GHA_SLURM_REQUIRE_SPIN");
    optional::run(vec![
        trials![redis =>
            replicas::of_64_redemptions_at_once_on_three_hosts_one_gets_the_credential,
            replicas::of_64_deliveries_at_once_on_three_hosts_one_launches,
            replicas::a_server_that_was_away_has_lost_nothing_and_hung_nobody,
            replicas::an_idle_connection_that_the_server_ends_costs_nobody_an_answer,
            replicas::redis_with_tls_a_private_ca_and_a_user_of_its_own,
        ],
        trials![promtool => prometheus::promtool_finds_nothing_wrong],
        trials![python => prometheus::its_python_client_reads_every_sample],
        trials![examples => examples::every_example_gets_a_2xx_and_only_queued_jobs_of_a_profile_launch],
        trials![spin => spin::the_application_behaves_alike_on_spin],
    ])
}
