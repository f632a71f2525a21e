//! The component `console`: everything that shows something to people and programs: the pages, `GET /api/v1/…`,
//! `GET /metrics` and `GET /gha/installations`.
//!
//! It changes no job; it writes only sessions and digests of facts. It holds the App's key and the gateway's secret to ask
//! both about a job, and answers only the holder of the admin token.

pub mod api;
#[cfg(all(target_family = "wasm", feature = "entry"))]
mod entry;
pub mod explain;
mod installations;
mod metrics;
mod pages;
pub mod routes;
mod session;
mod time;

/// What a reader sees of a scene.
#[cfg(test)]
trait Look {
    /// A GET with the admin token.
    fn get(&self, target: &str) -> gha_slurm_edge::answer::Answer;
}

#[cfg(test)]
impl Look for gha_slurm_scene::Scene {
    fn get(&self, target: &str) -> gha_slurm_edge::answer::Answer {
        routes::answer(&self.platform, &gha_slurm_edge::testing::get(target))
    }
}
