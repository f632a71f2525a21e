//! What is done with a delivery of GitHub's, however it came: by the webhook, or read from GitHub's list of deliveries.
//!
//! Whoever calls it vouches for the sender: the webhook checks the signature over the raw body; what is read from GitHub's
//! API comes over TLS, for the App's own JWT. All that happens here may happen twice, late and in any order.

#![warn(missing_docs)]

pub mod events;
mod flow;
pub mod removals;
mod verdict;

pub use self::flow::{Delivery, Unhandled, handle, matters};
pub use self::verdict::{Decision, Verdict};
