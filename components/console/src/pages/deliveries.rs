//! The last deliveries of the App's webhook: they show whether GitHub reaches the app at all, or how far its list was read.

use gha_slurm_core::settings::Webhooks;
use gha_slurm_overview::{Arrival, Deliveries, Delivery};
use maud::{Markup, html};

use crate::time::ago;

/// How many are on the page; the API has all that are kept.
const SHOWN: usize = 15;

pub(super) fn panel(kept: &Deliveries, arrival: Option<&Arrival>, now: u64) -> Markup {
    let polled = arrival.filter(|arrival| arrival.mode == Webhooks::Poll);
    html! {
        section.panel {
            header {
                h2 { "Deliveries" }
                p {
                    @if let Some(arrival) = polled { (reading(arrival, now)) }
                    @else if kept.read_at == 0 { "the tick has not asked GitHub for them yet" }
                    @else { (received(kept, now)) }
                }
            }
            @if kept.deliveries.is_empty() { p.nothing { "No deliveries." } } @else {
                table.cards {
                    thead {
                        tr {
                            // Where a webhook leads nowhere, the response to it says nothing.
                            @if polled.is_none() { th { "Response" } }
                            th { "Event" } th { "Job" } th { "When" } th { "Delivery" }
                        }
                    }
                    tbody {
                        @for delivery in kept.deliveries.iter().take(SHOWN) { (row(delivery, polled.is_none(), now)) }
                    }
                }
            }
        }
    }
}

fn received(kept: &Deliveries, now: u64) -> Markup {
    let failed = kept.deliveries.iter().filter(|delivery| !delivery.succeeded()).count();
    html! {
        "received by webhook; " (failed) " of the last " (kept.deliveries.len()) " failed; read from GitHub "
        (ago(kept.read_at, now))
    }
}

fn reading(arrival: &Arrival, now: u64) -> Markup {
    html! {
        "read from GitHub's list, last " (ago(arrival.read_at, now))
        @if let Some(newest) = arrival.newest_at { "; the newest was made " (ago(newest, now)) }
        @if arrival.behind > 0 { "; about " (arrival.behind) " wait to be read" }
    }
}

fn row(delivery: &Delivery, with_response: bool, now: u64) -> Markup {
    html! {
        tr {
            @if with_response { (response(delivery)) }
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

fn response(delivery: &Delivery) -> Markup {
    let class = if delivery.succeeded() { "good" } else { "bad" };
    let status = delivery.status.some().unwrap_or("unknown");
    html! {
        td.line.name title=(status) {
            span class={ "badge " (class) } {
                @if delivery.status_code == 0 { (status) } @else { (delivery.status_code) " " (status) }
            }
        }
    }
}
