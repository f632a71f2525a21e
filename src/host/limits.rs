//! What a running application may take of this machine. Everything that comes from the network is bounded by one of
//! these; the defaults suit this project's application, `gha-slurm up --help` has a flag for each.

use std::time::Duration;

/// The bounds of one host.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests that components serve at once; one more gets 503.
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
    /// How long a client may take over its headers, or keep an idle connection.
    pub header_deadline: Duration,
    /// How long a client may take over its body's first part, and over each further one.
    pub body_deadline: Duration,
    /// Open connections; one more is refused.
    pub connections: usize,
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
            body_deadline: Duration::from_secs(10),
            connections: 1024,
        }
    }
}
