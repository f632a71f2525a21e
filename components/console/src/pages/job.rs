//! `GET /jobs/ID`: one job with all that happened to it.

use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_edge::answer::Answer;
use gha_slurm_overview::{Event, JobDetail, LaunchDetail, Moment, State};
use gha_slurm_protocol::identity::JobId;
use maud::{Markup, html};

use super::frame::Frame;
use super::list::chips;
use super::page;
use super::words::{Look, ago, clock, duration};

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
            p.quiet { "Nothing is known of a job of this id. Jobs are kept for three days." }
        }
    };
    frame.page("No such job", "No such job", &main)
}

fn crumbs() -> Markup {
    html! { nav.crumbs aria-label="Where this is" { a href="/" { "Jobs" } } }
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
    frame.page(&title, &format!("Job {} is {}", job.job, look.words), &main)
}

fn why(detail: &JobDetail) -> Option<String> {
    let why = detail.summary.why.clone()?;
    Some(match detail.place {
        Some(place) => format!("{why}; it is number {place} in the line"),
        None => why,
    })
}

fn facts(detail: &JobDetail, now: u64) -> Markup {
    let job = &detail.summary;
    let times = &job.times;
    let waited = times.received.map(|from| times.started.or(times.finished).unwrap_or(now).saturating_sub(from));
    let ran = times.started.map(|from| times.finished.unwrap_or(now).saturating_sub(from));
    html! {
        dl.facts {
            @if let Some(repository) = &job.repository { dt { "Repository" } dd { (repository) } }
            @for (word, name) in [("Name", &job.name), ("Workflow", &job.workflow), ("Branch", &job.branch)] {
                @if let Some(name) = name { dt { (word) } dd { (name) } }
            }
            @if let Some(url) = &job.url {
                dt { "At GitHub" } dd { a href=(url) rel="noopener noreferrer" { "Log and steps" } }
            }
            @if let Some(profile) = &job.profile { dt { "Profile" } dd { (profile) } }
            @if let Some(labels) = &job.labels { dt { "Labels" } dd { (chips(labels.iter())) } }
            @if let Some(slurm_job) = &job.slurm_job { dt { "Slurm job" } dd.mono { (slurm_job) } }
            @if let Some(runner) = &job.runner { dt { "Runner" } dd.mono { (runner) } }
            @if let Some(launch) = job.launch { dt { "Launch" } dd.mono { (launch) } }
            @if let Some(waited) = waited { dt { "Waited" } dd { (duration(waited)) } }
            @if let Some(ran) = ran { dt { "Ran" } dd { (duration(ran)) } }
        }
    }
}

fn timeline(detail: &JobDetail, now: u64) -> Markup {
    let earlier = std::iter::once(None).chain(detail.timeline.iter().map(|moment| Some(moment.at)));
    html! {
        ol.timeline {
            @for (moment, earlier) in detail.timeline.iter().zip(earlier) { (step(moment, earlier)) }
            @if let Some((words, hint)) = open_step(detail.summary.state) {
                li.open {
                    strong { (words) }
                    span.when { (duration(now.saturating_sub(detail.summary.since))) " so far" }
                    p { (hint) }
                }
            }
        }
    }
}

fn step(moment: &Moment, earlier: Option<u64>) -> Markup {
    let (words, class) = match moment.event {
        Event::Created => ("Made at GitHub", ""),
        Event::Requested => ("Webhook received", ""),
        Event::Confirmed => ("Confirmed by GitHub", ""),
        Event::SubmitFailed => ("The gateway did not take it", "bad"),
        Event::Submitted => ("Launched: Slurm has it", ""),
        Event::RedeemFailed => ("No credential", "bad"),
        Event::Redeemed => ("Launch token redeemed", ""),
        Event::Lost => ("Launch lost", "bad"),
        Event::Started => ("Started on a runner", "good"),
        Event::Finished => ("Finished", "good"),
        Event::Withdrawn => ("Launch withdrawn", ""),
        Event::Cancelled => ("Slurm job cancelled", ""),
    };
    let failed = moment.event == Event::Finished && moment.detail.as_deref() != Some("success");
    let class = if failed { "bad" } else { class };
    html! {
        li class=(class) {
            strong { (words) }
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

/// What is still to come.
fn open_step(state: State) -> Option<(&'static str, &'static str)> {
    match state {
        State::Unconfirmed => Some(("Waits for GitHub's word", "Is this old job still queued?")),
        State::Held => Some(("Waits for an approval", "GitHub queues it once its deployment is approved.")),
        State::InLine => Some(("Waits in its profile's line", "A launch begins when another one ends.")),
        State::Unsubmitted => Some(("Waits for the gateway", "The repair submits it again.")),
        State::Pending => Some(("Waits in Slurm's queue", "The Slurm job redeems its launch token when it starts.")),
        State::Starting => Some(("Waits for the runner", "It registers at GitHub and takes one job.")),
        State::Running => Some(("Runs", "The runner ends with the job.")),
        State::GivenUp | State::Finished | State::Expired => None,
    }
}

fn launches(launches: &[LaunchDetail], now: u64) -> Markup {
    html! {
        section.panel {
            header { h2 { "Launches" } p { "a job has three at most" } }
            table.cards {
                thead {
                    tr {
                        th { "Launch" } th { "Slurm job" } th { "Submitted" } th { "Redeemed" } th { "Its runner took" }
                        th { "What became of it" }
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
            td.mono { (launch.launch) }
            td.mono data-name="Slurm job" { (launch.slurm_job.as_deref().unwrap_or("–")) }
            td.fixed data-name="Submitted" { (when(launch.submitted_at)) }
            td.fixed data-name="Redeemed" { (when(launch.redeemed_at)) }
            td data-name="Took" {
                @if let Some(job) = launch.took { a href={ "/jobs/" (job) } { "#" (job) } } @else { "–" }
            }
            td.line.long { (became(launch, now)) }
        }
    }
}

fn became(launch: &LaunchDetail, now: u64) -> Markup {
    let failures = |count: u64, why: &Option<String>, what: &str| {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        (count > 0).then(|| match why {
            Some(why) => format!("{what} {times}, last: {why}"),
            None => format!("{what} {times}"),
        })
    };
    let said = [
        launch.lost.clone().map(|why| format!("lost: {why}")),
        failures(launch.submit_failures, &launch.submit_failure, "not taken by the gateway"),
        failures(launch.redeem_failures, &launch.redeem_failure, "no credential"),
    ];
    html! {
        @for text in said.into_iter().flatten() { div { (text) } }
        @if let Some(at) = launch.withdrawn_at { div { "withdrawn " (ago(at, now)) ": nothing needed it" } }
        @if let Some(at) = launch.cancelled_at { div { "Slurm job cancelled " (ago(at, now)) } }
    }
}
