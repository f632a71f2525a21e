//! GitHub's REST API, as the App asks it.

pub mod app_jwt;
mod calls;
pub mod client;
pub mod credentials;
pub mod deliveries;
mod groups;
mod limit;
mod reach;
mod refusal;
pub mod requirements;
mod types;
mod words;
