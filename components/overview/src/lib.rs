//! What happened to each job, for people and programs: the read model behind console, API, metrics and `explain`.
//!
//! Pure functions over the ports that derive everything from facts, found by the journal and never by listing keys. The
//! work of one call is bounded. What is settled for good is kept in digests of some hundred journal slots, so that a
//! store of many jobs costs about as much as its open ones; a digest is a cache that anybody may make again. Nothing here
//! decides anything: when it is wrong, a figure is wrong.

mod deliveries;
mod figures;
mod list;
mod rows;
mod state;
mod summary;
pub mod tally;
mod timeline;

pub use self::deliveries::{Deliveries, Delivery, deliveries};
pub use self::deliveries::{KEPT_DELIVERIES, keep_deliveries};
pub use self::figures::all_rows;
pub use self::figures::{Figures, Group, Point, Stage, StageTimes, Trouble, figures};
pub use self::list::{Filter, JobPage, MAX_LIMIT, StateFilter, jobs};
pub use self::rows::{Reader, Row, digest};
pub use self::state::State;
pub use self::summary::{JobSummary, Times};
pub use self::timeline::{Event, JobDetail, LaunchDetail, Moment, job};

#[cfg(test)]
mod tests;
