//! The invariants of the state model, over all flows of the application together: a few histories that somebody wrote
//! down, and thousands that nobody would.
//!
//! It is a crate of its own, because no component may know another one's flow.

#[cfg(test)]
mod act;
#[cfg(test)]
mod bulk;
#[cfg(test)]
mod check;
#[cfg(test)]
mod clusters;
#[cfg(test)]
mod fetching;
#[cfg(test)]
mod found;
#[cfg(test)]
mod gated;
#[cfg(test)]
mod github;
#[cfg(test)]
mod history;
#[cfg(test)]
mod random;
#[cfg(test)]
mod setup;
#[cfg(test)]
mod together;
#[cfg(test)]
mod world;
