//! The flags for the host's limits.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use gha_slurm::host::limits::Limits;

#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// How many requests components serve at once; one more gets 503. A quarter is divided among the components, so that
    /// none of them takes all.
    #[arg(long, value_name = "N", default_value_t = Limits::default().instances, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_instances: u32,
    /// The memory limit of one instance.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().memory / MIB, value_parser = whole(8, 4096))]
    max_memory: usize,
    /// How long a request may take, including waiting.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    request_timeout: Duration,
    /// How much CPU time a request may use.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    cpu_timeout: Duration,
    /// The size limit of a request's headers.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().header_bytes, value_parser = whole(Limits::LEAST_HEADER_BYTES, 1 << 20))]
    max_header_bytes: usize,
    /// The size limit of a request's body.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes, value_parser = whole(1, 1 << 30))]
    max_body_bytes: usize,
    /// Memory for the bodies of all requests, besides the first 64 KiB of each; when it is used up, the longest body that is
    /// still being sent is refused.
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().bodies_bytes / MIB, value_parser = whole(1, 1 << 20))]
    max_bodies_memory: usize,
    /// How long a client may take to send its headers, or keep an idle connection open.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    header_timeout: Duration,
    /// How long a client may pause while it sends its body, or takes an answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    body_timeout: Duration,
    /// How fast a client has to send its body, or take an answer: on average, after a first --body-timeout.
    #[arg(long, value_name = "BYTES_PER_SECOND", default_value_t = Limits::default().body_rate, value_parser = clap::value_parser!(u32).range(1..))]
    min_body_rate: u32,
    /// How many connections may be open. For one more, one that is idle or still sends its request is closed; where there
    /// is none, it is refused with 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = whole(1, 1 << 20))]
    max_connections: usize,
    /// The same for one address, not counting this machine's own and trusted proxies; 0 for no bound.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections_per_address, value_parser = whole(0, 1 << 20))]
    max_connections_per_address: usize,
}

const MIB: usize = 1024 * 1024;

fn whole(least: usize, most: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least as u64..=most as u64)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(time))
        .ok_or_else(|| "must be from 0.01 to 3600".to_owned())
}

impl From<LimitArguments> for Limits {
    fn from(arguments: LimitArguments) -> Self {
        Self {
            instances: arguments.max_instances,
            memory: arguments.max_memory.saturating_mul(MIB),
            request_deadline: arguments.request_timeout,
            cpu_deadline: arguments.cpu_timeout,
            header_bytes: arguments.max_header_bytes,
            body_bytes: arguments.max_body_bytes,
            header_deadline: arguments.header_timeout,
            body_deadline: arguments.body_timeout,
            bodies_bytes: arguments.max_bodies_memory.saturating_mul(MIB),
            body_rate: arguments.min_body_rate,
            connections: arguments.max_connections,
            connections_per_address: arguments.max_connections_per_address,
        }
    }
}
