//! What a job needs, derived from facts, and what is done about it: launch, relaunch, withdraw.
//!
//! GitHub gives a runner to whichever job fits it, so a job's own launch is not always the one that serves it. Nobody
//! keeps a list of who serves whom, because such a list would have to be changed by racing replicas. It is derived:
//! a launch was made for a job, and a runner took a job, and both relations are written once and are one to one
//! ([`need`]). Every function here may be called again at any time, by any replica, and after a crash in the middle; it
//! does what is still to be done.

mod gate;
mod lease;
mod line;
mod moving;
mod need;
mod offer;
mod overdue;
mod pace;
mod progress;
mod report;
mod settle;
mod submit;

pub use self::gate::{hold, release};
pub use self::lease::{LEASE_SECONDS, Leaser, hand_out, remember_clusters, trim_orders};
pub use self::moving::move_on;
pub use self::need::Chain;
pub use self::need::Need;
pub use self::overdue::{retry_all_overdue, retry_overdue};
pub use self::pace::Pace;
pub use self::progress::{Delay, Patience, Progress, retry_at};
pub use self::report::{Reporter, Taken, take_reports};
pub use self::settle::{cancel_moved, ours, settle, withdraw_unneeded};
use self::submit::SUBMISSION_LEASE;
pub use self::submit::{
    Destination, WrittenDown, advance, advance_all, begin, place_in_line, start_line, start_waiting, trim_line,
    write_down,
};

use thiserror::Error;

use crate::launch_token::TokenError;
use crate::ports::StoreError;
use crate::settings::SettingError;

/// What keeps a step from being done.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Fault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A variable is not right.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// No launch token could be signed.
    #[error(transparent)]
    Token(#[from] TokenError),
}
