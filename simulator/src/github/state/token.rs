//! Installation tokens: what each covers, and the moment in which a fresh one is not known everywhere yet.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::permission::Permissions;

/// How long a fresh installation token is refused.
#[derive(Debug, Clone, Copy)]
pub enum TokenLag {
    /// For its first calls, so many.
    Calls(u32),
    /// For so long.
    Time(Duration),
}

pub(crate) struct InstallationToken {
    pub(crate) installation: u64,
    pub(crate) repositories: BTreeSet<u64>,
    pub(crate) permissions: Permissions,
    pub(crate) expires_at: u64,
    made: Instant,
    calls: u32,
    /// The status that refuses it while it is fresh.
    lag: Option<(u16, TokenLag)>,
}

impl InstallationToken {
    pub(crate) fn new(
        installation: u64,
        repositories: BTreeSet<u64>,
        permissions: Permissions,
        expires_at: u64,
        lag: Option<(u16, TokenLag)>,
    ) -> Self {
        Self { installation, repositories, permissions, expires_at, made: Instant::now(), calls: 0, lag }
    }

    /// Counts a call; the status that refuses it when the token is too fresh.
    pub(crate) fn too_fresh(&mut self) -> Option<u16> {
        self.calls += 1;
        let (status, lag) = self.lag?;
        let fresh = match lag {
            TokenLag::Calls(calls) => self.calls <= calls,
            TokenLag::Time(time) => self.made.elapsed() < time,
        };
        fresh.then_some(status)
    }
}
