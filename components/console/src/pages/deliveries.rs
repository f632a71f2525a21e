//! The last deliveries of the App's webhook: they show whether GitHub reaches the app at all.

use gha_slurm_overview::{Deliveries, Delivery};
use maud::{Markup, html};

use crate::time::ago;

/// How many are on the page; the API has all that are kept.
const SHOWN: usize = 15;

pub(super) fn panel(kept: &Deliveries, now: u64) -> Markup {
    let failed = kept.deliveries.iter().filter(|delivery| !delivery.succeeded()).count();
    html! {
        section.panel {
            header {
                h2 { "Deliveries" }
                p {
                    @if kept.read_at == 0 { "the tick has not asked GitHub for them yet" }
                    @else {
                        (failed) " of the last " (kept.deliveries.len()) " failed; read from GitHub "
                        (ago(kept.read_at, now))
                    }
                }
            }
            @if kept.deliveries.is_empty() { p.nothing { "No deliveries." } } @else {
                table.cards {
                    thead { tr { th { "Response" } th { "Event" } th { "Job" } th { "When" } th { "Delivery" } } }
                    tbody { @for delivery in kept.deliveries.iter().take(SHOWN) { (row(delivery, now)) } }
                }
            }
        }
    }
}

fn row(delivery: &Delivery, now: u64) -> Markup {
    let class = if delivery.succeeded() { "good" } else { "bad" };
    let status = delivery.status.some().unwrap_or("unknown");
    html! {
        tr {
            td.line.name title=(status) {
                span class={ "badge " (class) } {
                    @if delivery.status_code == 0 { (status) } @else { (delivery.status_code) " " (status) }
                }
            }
            td.line {
                (delivery.event.some().unwrap_or("–"))
                @if let Some(action) = delivery.action.some() { " " (action) }
                @if delivery.redelivery { " " span.quiet { "redelivery" } }
            }
            td.blank[delivery.job.is_none()] {
                @if let Some(job) = delivery.job { a href={ "/jobs/" (job) } { "#" (job) } } @else { "–" }
            }
            td.fixed { @if delivery.at > 0 { (ago(delivery.at, now)) } @else { "–" } }
            td.line.mono.blank[delivery.guid.is_none()] {
                @if let Some(guid) = &delivery.guid { (guid) } @else { "–" }
            }
        }
    }
}
