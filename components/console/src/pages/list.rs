//! The table of jobs: filters, rows, and links to older jobs.

use gha_slurm_overview::{Figures, JobPage, JobSummary, State};
use maud::{Markup, html};

use super::look::{Look, estimate};
use crate::time::{ago, duration};

/// The filters of a request, as they were sent.
pub(super) struct Asked {
    pub(super) state: String,
    pub(super) repository: String,
    pub(super) profile: String,
    pub(super) cluster: String,
    pub(super) before: String,
}

impl Asked {
    /// The path and query of the same table from another place on.
    fn at(&self, before: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let before = before.unwrap_or_default();
        for (name, value) in [
            ("state", &*self.state),
            ("repository", &*self.repository),
            ("profile", &*self.profile),
            ("cluster", &*self.cluster),
            ("before", before),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/#jobs".to_owned() } else { format!("/?{query}#jobs") }
    }

    /// The form for the filters. It is not refreshed: somebody may be filling it in.
    pub(super) fn form(&self, figures: &Figures) -> Markup {
        let mut repositories: Vec<&str> = figures.groups.iter().map(|group| &*group.repository).collect();
        let mut profiles: Vec<&str> = figures.groups.iter().map(|group| &*group.profile).collect();
        let mut clusters: Vec<&str> = figures.clusters.iter().map(|one| one.cluster.as_str()).collect();
        for (names, chosen) in
            [(&mut repositories, &*self.repository), (&mut profiles, &*self.profile), (&mut clusters, &*self.cluster)]
        {
            names.push(chosen);
            names.sort_unstable();
            names.dedup();
            names.retain(|name| !name.is_empty());
        }
        let option = |value: &str, chosen: &str, words: &str| {
            html! { option value=(value) selected[value == chosen] { (words) } }
        };
        html! {
            form.filters method="get" action="/#jobs" {
                label {
                    "State"
                    select name="state" {
                        (option("", &self.state, "all"))
                        (option("waiting", &self.state, "waiting for a runner"))
                        @for state in State::ALL { (option(state.word(), &self.state, state.label())) }
                    }
                }
                label {
                    "Repository"
                    select name="repository" {
                        (option("", &self.repository, "all"))
                        @for name in repositories { (option(name, &self.repository, name)) }
                    }
                }
                label {
                    "Profile"
                    select name="profile" {
                        (option("", &self.profile, "all"))
                        @for name in profiles { (option(name, &self.profile, name)) }
                    }
                }
                @if !clusters.is_empty() {
                    label {
                        "Cluster"
                        select name="cluster" {
                            (option("", &self.cluster, "all"))
                            @for name in clusters { (option(name, &self.cluster, name)) }
                        }
                    }
                }
                button { "Show" }
            }
        }
    }
}

/// The table.
pub(super) fn table(page: &JobPage, now: u64) -> Markup {
    html! {
        @if page.jobs.is_empty() { p.nothing { "No jobs." } } @else {
            table.cards {
                thead {
                    tr {
                        th { "State" } th { "Job" } th { "Repository" } th { "Profile and labels" }
                        th.number { "Waited" } th.number { "Ran" } th { "Since" } th { "Why" }
                    }
                }
                tbody { @for job in &page.jobs { (row(job, now)) } }
            }
        }
    }
}

/// Links to other pages of the table.
pub(super) fn links(page: &JobPage, asked: &Asked) -> Markup {
    html! {
        @if page.next.is_some() || !asked.before.is_empty() {
            nav.pages aria-label="Pages of jobs" {
                @if !asked.before.is_empty() { a href=(asked.at(None)) { "Newest" } }
                @if let Some(next) = &page.next { a href=(asked.at(Some(next))) { "Older" } }
            }
        }
    }
}

fn row(job: &JobSummary, now: u64) -> Markup {
    let look = Look::of(job.state, job.conclusion.as_deref());
    let repository = job.repository.as_ref().map(ToString::to_string);
    let why = why(job, now);
    html! {
        tr {
            td { (look.badge()) }
            td.line.name title=[&job.name] { a href={ "/jobs/" (job.job) } { "#" (job.job) }
                @if let Some(name) = &job.name { " " (name) }
            }
            td.line.name title=[&repository] { (repository.as_deref().unwrap_or("–")) }
            td.line {
                @if let Some(profile) = &job.profile { (profile) " " }
                @if let Some(cluster) = &job.cluster { span.quiet { "on " (cluster) } " " }
                @if let Some(labels) = &job.labels { (chips(labels.iter())) }
            }
            (length("Waited", job.times.waited(now)))
            (length("Ran", job.times.ran(now)))
            td.fixed { (ago(job.since, now)) }
            td.line.long.why.blank[why.is_none()] { @if let Some(why) = &why { (why) } }
        }
    }
}

fn length(name: &str, seconds: Option<u64>) -> Markup {
    html! {
        td.number.blank[seconds.is_none()] data-name=(name) { (seconds.map_or("–".to_owned(), duration)) }
    }
}

/// Why a waiting job waits: what the facts say, or else the step that it waits for.
fn why(job: &JobSummary, now: u64) -> Option<String> {
    let estimate = || estimate(job.slurm_said.as_ref()?, now).map(|text| format!("Slurm's estimate: {text}"));
    let step = || job.state.waits().then(|| job.next_step()).flatten().map(|step| step.short.to_owned());
    job.why.as_ref().map(ToString::to_string).or_else(estimate).or_else(step)
}

/// Labels as chips.
pub(super) fn chips<'a>(labels: impl Iterator<Item = &'a str>) -> Markup {
    html! { @for label in labels { span.label { (label) } } }
}
