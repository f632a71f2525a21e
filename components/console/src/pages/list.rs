//! Jobs as a table: the filters, the rows, the way to older ones.

use gha_slurm_overview::{Figures, JobPage, JobSummary, State};
use maud::{Markup, html};

use super::words::{Look, ago, duration};

/// What a request asks the table for, as it came.
pub(super) struct Asked {
    pub(super) state: String,
    pub(super) repository: String,
    pub(super) profile: String,
    pub(super) before: String,
}

impl Asked {
    /// The path and query of the same table, beginning elsewhere.
    fn at(&self, before: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let before = before.unwrap_or_default();
        for (name, value) in [
            ("state", &*self.state),
            ("repository", &*self.repository),
            ("profile", &*self.profile),
            ("before", before),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() { "/#jobs".to_owned() } else { format!("/?{query}#jobs") }
    }

    /// The form by which somebody asks for something else. It is not kept fresh: somebody may be filling it in.
    pub(super) fn form(&self, figures: &Figures) -> Markup {
        let mut repositories: Vec<&str> = figures.groups.iter().map(|group| &*group.repository).collect();
        let mut profiles: Vec<&str> = figures.groups.iter().map(|group| &*group.profile).collect();
        for (names, chosen) in [(&mut repositories, &*self.repository), (&mut profiles, &*self.profile)] {
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
                        @for state in State::ALL {
                            @let words = if state == State::Finished { "ended".to_owned() } else { Look::of(state, None).words };
                            (option(state.word(), &self.state, &words))
                        }
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
                button { "Show" }
            }
        }
    }
}

/// The table.
pub(super) fn table(page: &JobPage, now: u64) -> Markup {
    html! {
        @if page.jobs.is_empty() { p.nothing { "No job here." } } @else {
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

/// The ways to other pages of the table.
pub(super) fn ways(page: &JobPage, asked: &Asked) -> Markup {
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
    let why = why(job);
    let times = &job.times;
    let waited = times.received.map(|from| times.started.or(times.finished).unwrap_or(now).saturating_sub(from));
    let ran = times.started.map(|from| times.finished.unwrap_or(now).saturating_sub(from));
    html! {
        tr {
            td { (look.badge()) }
            td.line.name title=[&job.name] { a href={ "/jobs/" (job.job) } { "#" (job.job) }
                @if let Some(name) = &job.name { " " (name) }
            }
            td.line.name title=[&repository] { (repository.as_deref().unwrap_or("–")) }
            td.line {
                @if let Some(profile) = &job.profile { (profile) " " }
                @if let Some(labels) = &job.labels { (chips(labels.iter())) }
            }
            (length("Waited", waited))
            (length("Ran", ran))
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

/// Why a job that waits does: what the facts say, or where it is.
fn why(job: &JobSummary) -> Option<String> {
    let place = || match (job.state, &job.slurm_job) {
        (State::Pending, Some(id)) => Some(format!("Slurm job {id} is pending or starts")),
        (State::Pending, None) => Some("its Slurm job is pending or starts".to_owned()),
        (State::Starting, _) => Some("its runner registers at GitHub".to_owned()),
        (State::Unsubmitted, _) => Some("the gateway is being asked".to_owned()),
        (State::InLine, _) => Some("it waits for its turn in the profile's line".to_owned()),
        _ => None,
    };
    job.why.clone().or_else(place)
}

/// Labels, each for itself.
pub(super) fn chips<'a>(labels: impl Iterator<Item = &'a str>) -> Markup {
    html! { @for label in labels { span.label { (label) } } }
}
