//! `GET /`: which jobs wait, are in Slurm, run, and ended, and how.

use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::request::Request;
use gha_slurm_overview::Filter;
use maud::html;

use super::frame::Frame;
use super::list::Asked;
use super::{chart, clusters, deliveries, figures, list, page};

/// Jobs per page.
const LIMIT: usize = 50;

pub(super) fn answer<P: Platform>(platform: &P, frame: &Frame<'_>, request: &Request) -> Result<Answer, StoreError> {
    let text = |name: &str| request.query(name).unwrap_or_default();
    let mut asked = Asked {
        state: text("state"),
        repository: text("repository"),
        profile: text("profile"),
        cluster: text("cluster"),
        before: text("before"),
    };
    // A malformed state or place filters nothing, and the form shows that.
    let state = asked.state.parse().ok();
    let before = asked.before.parse().ok();
    if state.is_none() {
        asked.state.clear();
    }
    if before.is_none() {
        asked.before.clear();
    }
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let filter = Filter {
        state,
        repository: some(&asked.repository),
        profile: some(&asked.profile),
        cluster: some(&asked.cluster),
    };
    let all = gha_slurm_overview::figures(platform)?;
    let jobs = gha_slurm_overview::jobs(platform, &filter, before, LIMIT)?;
    let totals = figures::Totals::of(&all);
    let (kept, arrival) = (gha_slurm_overview::deliveries(platform)?, gha_slurm_overview::reading(platform)?);
    let title = match totals.waiting {
        0 => "Jobs".to_owned(),
        waiting => format!("{waiting} waiting"),
    };
    let main = html! {
        h1.unseen { "Jobs" }
        div.part data-part="figures" { (totals.tiles()) (figures::troubles(&all, frame.now)) }
        div.part data-part="clusters" { (clusters::panel(&all.clusters, frame.now)) }
        section #jobs .panel {
            header { h2 { "Jobs" } p { "newest first" } }
            (asked.form(&all))
            div data-part="jobs" { (list::table(&jobs, frame.now)) (list::links(&jobs, &asked)) }
        }
        div.part data-part="day" {
            (chart::day(&all.day))
            (figures::groups(&all))
            (figures::stages(&all))
        }
        div.part data-part="deliveries" { (deliveries::panel(&kept, arrival.as_ref(), frame.now)) }
    };
    Ok(page(200, frame.page(&title, &totals.headline(), &main)))
}
