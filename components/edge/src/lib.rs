//! What the HTTP edge of every component needs: the request as it came, the answer with what is logged about it, cookies,
//! the check of the admin token, and which answer an error of the domain becomes.
//!
//! Core knows no status codes; the components' flows are functions from a [`request::Request`] to an
//! [`answer::Answer`]. What all of them answer in the same way is decided here, once.

#![forbid(unsafe_code)]

pub mod admin;
pub mod answer;
pub mod cookies;
mod failure;
pub mod request;
#[cfg(feature = "testing")]
pub mod testing;
