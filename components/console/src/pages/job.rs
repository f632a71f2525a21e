//! `GET /jobs/ID`: one job and everything that happened to it.

use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_edge::answer::Answer;
use gha_slurm_overview::{Event, JobDetail, LaunchDetail, Moment, State, Why};
use gha_slurm_protocol::identity::JobId;
use maud::{Markup, html};

use super::frame::Frame;
use super::list::chips;
use super::look::{Look, estimate};
use super::page;
use crate::time::{ago, clock, duration};

pub(super) fn answer<P: Platform>(platform: &P, frame: &Frame<'_>, id: &str) -> Result<Answer, StoreError> {
    let found = match id.parse().map(JobId) {
        Ok(id) => gha_slurm_overview::job(platform, id)?,
        Err(_) => None,
    };
    Ok(match found {
        Some(detail) => page(200, shown(frame, &detail)),
        None => page(404, absent(frame)),
    })
}

fn absent(frame: &Frame<'_>) -> Markup {
    let main = html! {
        (crumbs())
        div data-part="job" {
            h1 { "No such job" }
            p.quiet { "No job with this ID is known. Jobs are kept for three days." }
        }
    };
    frame.page("No such job", "No such job", &main)
}

fn crumbs() -> Markup {
    html! { nav.crumbs aria-label="Breadcrumb" { a href="/" { "Jobs" } } }
}

fn shown(frame: &Frame<'_>, detail: &JobDetail) -> Markup {
    let job = &detail.summary;
    let look = Look::of(job.state, job.conclusion.as_deref());
    let title = format!("#{} {}", job.job, look.words);
    let main = html! {
        (crumbs())
        div.part data-part="job" {
            div.parts {
                div.title { h1 { "Job #" (job.job) } (look.badge()) span.quiet { "since " (ago(job.since, frame.now)) } }
                @if let Some(why) = why(detail) {
                    p class={ "notice " (if job.state == State::GivenUp { "bad" } else { "waits" }) } { (why) }
                }
                div.parts.pair {
                    section.panel { header { h2 { "What happened" } } (timeline(detail, frame.now)) }
                    section.panel { header { h2 { "The job" } } div.body { (facts(detail, frame.now)) } }
                }
                @if !detail.launches.is_empty() { (launches(&detail.launches, frame.now)) }
            }
        }
    };
    frame.page(&title, &format!("Job {}: {}", job.job, look.words), &main)
}

fn why(detail: &JobDetail) -> Option<String> {
    let why = detail.summary.why.as_ref()?;
    Some(match (why, detail.place) {
        (Why::AtCap(_), Some(place)) => format!("{why}; it is number {place} in line"),
        _ => why.to_string(),
    })
}

fn facts(detail: &JobDetail, now: u64) -> Markup {
    let job = &detail.summary;
    html! {
        dl.facts {
            @if let Some(repository) = &job.repository { dt { "Repository" } dd { (repository) } }
            @for (word, name) in [("Name", &job.name), ("Workflow", &job.workflow), ("Branch", &job.branch)] {
                @if let Some(name) = name { dt { (word) } dd { (name) } }
            }
            @if let Some(url) = &job.url {
                dt { "On GitHub" } dd { a href=(url) rel="noopener noreferrer" { "Log and steps" } }
            }
            @if let Some(profile) = &job.profile { dt { "Profile" } dd { (profile) } }
            @if let Some(cluster) = &job.cluster { dt { "Cluster" } dd { (cluster) } }
            @if let Some(labels) = &job.labels { dt { "Labels" } dd { (chips(labels.iter())) } }
            @if let Some(slurm_job) = &job.slurm_job { dt { "Slurm job" } dd.mono { (slurm_job) } }
            @if let Some(said) = &job.slurm_said {
                dt { "In Slurm" }
                dd {
                    (said.state)
                    @if let Some(reason) = &said.reason { ": " (reason) }
                    " " span.quiet { "told " (ago(said.at, now)) }
                }
                @if let Some(estimate) = estimate(said, now) {
                    dt { "Slurm's estimate" }
                    dd {
                        (estimate)
                        @if let Some(at) = said.starts_at { " " span.quiet { "at " (clock(at)) } }
                    }
                }
            }
            @if let Some(runner) = &job.runner { dt { "Runner" } dd.mono { (runner) } }
            @if let Some(launch) = job.launch { dt { "Launch" } dd.mono { (launch) } }
            @if let Some(waited) = job.times.waited(now) { dt { "Waited" } dd { (duration(waited)) } }
            @if let Some(ran) = job.times.ran(now) { dt { "Ran" } dd { (duration(ran)) } }
        }
    }
}

fn timeline(detail: &JobDetail, now: u64) -> Markup {
    let earlier = std::iter::once(None).chain(detail.timeline.iter().map(|moment| Some(moment.at)));
    html! {
        ol.timeline {
            @for (moment, earlier) in detail.timeline.iter().zip(earlier) { (step(moment, earlier)) }
            @if let Some(step) = detail.summary.next_step() {
                li.open {
                    strong { (step.title) }
                    span.when { (duration(now.saturating_sub(detail.summary.since))) " so far" }
                    p { (step.hint) }
                }
            }
        }
    }
}

fn step(moment: &Moment, earlier: Option<u64>) -> Markup {
    let unsuccessful = moment.event == Event::Finished && moment.detail.as_deref() != Some("success");
    let class = match moment.event {
        event if event.is_failure() || unsuccessful => "bad",
        Event::Started | Event::Finished => "good",
        _ => "",
    };
    html! {
        li class=(class) {
            strong { (moment.event.label()) }
            span.when {
                (clock(moment.at))
                @if let Some(earlier) = earlier { " · +" (duration(moment.at.saturating_sub(earlier))) }
            }
            @if moment.launch.is_some() || moment.detail.is_some() {
                p {
                    @if let Some(launch) = moment.launch { "launch " (launch) }
                    @if moment.launch.is_some() && moment.detail.is_some() { ": " }
                    @if let Some(detail) = &moment.detail { (detail) }
                }
            }
        }
    }
}

fn launches(launches: &[LaunchDetail], now: u64) -> Markup {
    html! {
        section.panel {
            header { h2 { "Launches" } p { "at most three for a job" } }
            table.cards {
                thead {
                    tr {
                        th { "Launch" } th { "Slurm job" } th { "Submitted" } th { "Redeemed" } th { "Runner took" }
                        th { "Outcome" }
                    }
                }
                tbody { @for launch in launches { (launch_row(launch, now)) } }
            }
        }
    }
}

fn launch_row(launch: &LaunchDetail, now: u64) -> Markup {
    let when = |at: Option<u64>| html! { @if let Some(at) = at { (ago(at, now)) } @else { "–" } };
    html! {
        tr {
            td.mono { (launch.launch) @if let Some(cluster) = &launch.cluster { " " span.quiet { (cluster) } } }
            td.mono data-name="Slurm job" { (launch.slurm_job.as_deref().unwrap_or("–")) }
            td.fixed data-name="Submitted" { (when(launch.submitted_at)) }
            td.fixed data-name="Redeemed" { (when(launch.redeemed_at)) }
            td data-name="Took" {
                @if let Some(job) = launch.took { a href={ "/jobs/" (job) } { "#" (job) } } @else { "–" }
            }
            td.line.long { (outcome(launch, now)) }
        }
    }
}

fn outcome(launch: &LaunchDetail, now: u64) -> Markup {
    let failures = |count: u64, why: &Option<String>, what: &str| {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        (count > 0).then(|| match why {
            Some(why) => format!("{what} {times}, last: {why}"),
            None => format!("{what} {times}"),
        })
    };
    let said = [
        launch.lost.clone().filter(|_| launch.moved_at.is_none()).map(|why| format!("lost: {why}")),
        failures(launch.submit_failures, &launch.submit_failure, "not accepted by the gateway"),
        failures(launch.redeem_failures, &launch.redeem_failure, "no credential"),
    ];
    html! {
        @for text in said.into_iter().flatten() { div { (text) } }
        @if let Some(at) = launch.moved_at { div { "moved " (ago(at, now)) ": its cluster was silent or refused it" } }
        @if launch.submitted_at.is_none() && launch.lost.is_none() { (on_the_way(launch, now)) }
        @if let Some(at) = launch.replayed_at {
            div { "launch token used again " (ago(at, now)) ": it was stolen, or an answer was lost" }
        }
        @if let Some(at) = launch.withdrawn_at { div { "withdrawn " (ago(at, now)) ": no longer needed" } }
        @if let (Some(at), Some(how)) = (launch.ended_at, &launch.ended) { div { "Slurm job ended " (ago(at, now)) ": " (how) } }
        @if let Some(at) = launch.cancelled_at { div { "Slurm job cancelled " (ago(at, now)) } }
    }
}

/// A launch that its cluster fetches.
fn on_the_way(launch: &LaunchDetail, now: u64) -> Markup {
    let lease = launch.fetched_by.as_ref().zip(launch.fetched_at).filter(|(_, at)| launch.offered_at <= Some(*at));
    html! {
        @if let Some(at) = launch.offered_at { div { "left for its cluster to fetch " (ago(at, now)) } }
        @if let Some((gateway, at)) = lease.filter(|_| launch.offered_at.is_some()) {
            div { "fetched by gateway " (gateway) " " (ago(at, now)) ", not reported yet" }
        }
    }
}
