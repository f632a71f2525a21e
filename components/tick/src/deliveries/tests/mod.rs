//! Reading GitHub's list, on a platform in memory: what is lost, late, refused, limited, large, and what crashes.

mod crashes;
mod hook;
mod lost;
mod poll;
mod random;
