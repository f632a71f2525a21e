//! GitHub: what it sends (events) and what is asked of it (the REST API as an App).

pub mod app_jwt;
pub mod client;
pub mod credentials;
pub mod requirements;
