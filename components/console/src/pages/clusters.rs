//! The Slurm clusters: whether each is there, and what waits for it.

use gha_slurm_core::cluster::How;
use gha_slurm_overview::{ClusterSummary, GatewaySummary};
use maud::{Markup, html};

use crate::time::ago;

/// A table of them; nothing where clusters have no names.
pub(super) fn panel(clusters: &[ClusterSummary], now: u64) -> Markup {
    html! {
        @if !clusters.is_empty() {
            section.panel {
                header { h2 { "Clusters" } p { "last heard of, and what waits for them" } }
                table.cards {
                    thead {
                        tr {
                            th { "State" } th { "Cluster" } th { "Last heard" } th.number { "Waiting" }
                            th.number { "In queue" } th.number { "Running" } th { "Gateways" }
                        }
                    }
                    tbody { @for cluster in clusters { (row(cluster, now)) } }
                }
            }
        }
    }
}

fn row(cluster: &ClusterSummary, now: u64) -> Markup {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("cluster", cluster.cluster.as_str())
        .append_pair("state", "waiting")
        .finish();
    let (class, words) = match (cluster.reach, cluster.silent, cluster.heard_at) {
        (How::Push, ..) => ("off", "is called"),
        (How::Fetch, true, None) => ("bad", "never asked"),
        (How::Fetch, true, Some(_)) => ("bad", "silent"),
        (How::Fetch, false, _) => ("good", "asks"),
    };
    let length = |name: &str, of: Option<u32>| {
        html! {
            td.number.blank[of.is_none()] data-name=(name) { @if let Some(of) = of { (of) } @else { "–" } }
        }
    };
    html! {
        tr {
            td { span class={ "badge " (class) } { (words) } }
            td.name { a href={ "/?" (query) "#jobs" } { (cluster.cluster) } }
            td.fixed data-name="Heard" { @if let Some(at) = cluster.heard_at { (ago(at, now)) } @else { "–" } }
            td.number data-name="Waiting" { (cluster.waiting) }
            (length("In queue", cluster.queue.map(|queue| queue.pending)))
            (length("Running", cluster.queue.map(|queue| queue.running)))
            td.line.long.blank[cluster.gateways.is_empty()] {
                @if cluster.gateways.is_empty() { "–" }
                @for (index, gateway) in cluster.gateways.iter().enumerate() {
                    @if index > 0 { ", " }
                    (of_gateway(gateway, now))
                }
            }
        }
    }
}

fn of_gateway(gateway: &GatewaySummary, now: u64) -> Markup {
    let name = if gateway.gateway.is_empty() { "without a name" } else { &gateway.gateway };
    html! {
        (name) " " span.quiet {
            (ago(gateway.heard_at, now))
            @if let Some(queue) = gateway.queue { ", " (queue.pending) " + " (queue.running) }
        }
    }
}
