//! A strict fake GitHub: the App's REST API, webhooks, jobs, and runners that get whatever job fits them.
//!
//! Each layer knows those above it in this list and none below:
//! - `state`: what this GitHub knows;
//! - `context`: what a run knows of itself, as its jobs see it;
//! - `webhook`: what it tells the app;
//! - `dispatch`: how jobs get runners;
//! - `api`: its HTTP;
//! - `handle`, `habits`, `organization`, `story`: what a test holds in its hand. `habits` makes this GitHub behave as the real one does
//!   on a bad day, `story` makes things happen in its repositories.

mod api;
mod context;
mod dispatch;
mod habits;
mod handle;
mod organization;
pub(crate) mod state;
mod story;
mod webhook;

pub use self::handle::GitHub;
pub use self::state::account::Person;
pub use self::state::app::{APP_ID, INSTALLATION};
pub use self::state::delivery::Delivery;
pub use self::state::endpoint::{Calls, Endpoint};
pub use self::state::fault::{DeliveryFault, Fault, WebhookFault};
pub use self::state::job::{Job, JobStatus, run_of};
pub use self::state::limit::{Caller, RateLimit};
pub use self::state::run::JobSpec;
pub use self::state::status::CommitStatus;
pub use self::state::token::TokenLag;
pub use self::webhook::sign;
