//! What happened to each job, for people and programs: the read model behind console, API, metrics and `explain`.
//!
//! These are functions over the ports that derive everything from facts; jobs are found through the journal, never by
//! listing keys. The work of one call is bounded. Jobs that can no longer change are kept in digests of a few hundred journal slots, so
//! that a store with many jobs costs about as much as its open ones; a digest is a cache that can be rebuilt at any time.
//! Nothing here makes a decision: if it is wrong, a figure is wrong.

mod clusters;
mod deliveries;
mod figures;
mod list;
mod rows;
mod seen;
mod state;
mod summary;
pub mod tally;
mod timeline;
pub mod words;

pub use self::clusters::{ClusterSummary, GatewaySummary, Silence, named, silence, summaries as cluster_summaries};
pub use self::deliveries::{Arrival, Deliveries, Delivery, deliveries, reading};
pub use self::deliveries::{KEPT_DELIVERIES, encode_reading, keep_deliveries};
pub use self::figures::all_rows;
pub use self::figures::{ClusterList, cluster_list};
pub use self::figures::{Figures, Group, Point, Stage, StageTimes, Trouble, figures};
pub use self::list::{Filter, JobPage, MAX_LIMIT, StateFilter, jobs};
pub use self::rows::{Reader, Row, digest};
pub use self::state::State;
pub use self::summary::{JobSummary, SlurmSaid, Times};
pub use self::timeline::{Event, JobDetail, LaunchDetail, Moment, job};
pub use self::words::{Cap, Why};

#[cfg(test)]
mod tests;
