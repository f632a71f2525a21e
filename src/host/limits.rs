//! What a running application may take of this machine. Everything that comes from the network is bounded by one of
//! these; `gha-slurm up --help` has a flag for each.

use std::time::Duration;

/// The bounds of one host.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests that components serve at once; one more gets 503. A quarter of them is kept for single components.
    pub instances: u32,
    /// The most memory of one instance, in bytes.
    pub memory: usize,
    /// From the start of an instance to its end.
    pub request_deadline: Duration,
    /// How long an instance may compute in all, waiting not counted.
    pub cpu_deadline: Duration,
    /// A request's line and headers together, in bytes; at least [`Limits::LEAST_HEADER_BYTES`].
    pub header_bytes: usize,
    /// A request's body, in bytes.
    pub body_bytes: usize,
    /// Memory for the bodies of all requests, in bytes, beside the first 64 KiB of each. Never less than one of the
    /// longest bodies takes.
    pub bodies_bytes: usize,
    /// How long a client may take over its headers, or keep an idle connection.
    pub header_deadline: Duration,
    /// How long a client may pause while it sends its body, or takes an answer.
    pub body_deadline: Duration,
    /// How many bytes a client has to send of its body, or to take of an answer, in a second: on the average and after its
    /// first pause.
    pub body_rate: u32,
    /// Open connections; for one more, one that is idle or sends slowly is closed, and where there is none it is refused.
    pub connections: usize,
    /// Those of one address, where it is no proxy and not this machine; 0 for no bound.
    pub connections_per_address: usize,
}

impl Limits {
    /// The HTTP library's own buffer.
    pub const LEAST_HEADER_BYTES: usize = 8192;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 128,
            memory: 128 * 1024 * 1024,
            request_deadline: Duration::from_secs(30),
            // A periodic repair may compute all the time that it has.
            cpu_deadline: Duration::from_secs(20),
            header_bytes: 64 * 1024,
            body_bytes: 25_000_000,
            header_deadline: Duration::from_secs(10),
            bodies_bytes: 128 * 1024 * 1024,
            body_deadline: Duration::from_secs(10),
            body_rate: 64 * 1024,
            connections: 1024,
            connections_per_address: 256,
        }
    }
}
