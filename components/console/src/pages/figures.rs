//! Totals, and figures by repository and profile and by stage.

use gha_slurm_overview::{Figures, Group, State};
use maud::{Markup, html};

use super::look::Look;
use crate::time::{ago, duration};

/// More groups than this are of no use on a page.
const MAX_GROUPS: usize = 20;

/// The numbers at the top of the page.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) waiting: u64,
    in_slurm: u64,
    running: u64,
    succeeded: u64,
    otherwise: u64,
    given_up: u64,
    oldest: u64,
}

impl Totals {
    pub(super) fn of(figures: &Figures) -> Self {
        figures.groups.iter().fold(Self::default(), |sum, group| {
            let own = Self::of_group(group);
            Self {
                waiting: sum.waiting + own.waiting,
                in_slurm: sum.in_slurm + own.in_slurm,
                running: sum.running + own.running,
                succeeded: sum.succeeded + own.succeeded,
                otherwise: sum.otherwise + own.otherwise,
                given_up: sum.given_up + own.given_up,
                oldest: sum.oldest.max(own.oldest),
            }
        })
    }

    fn of_group(group: &Group) -> Self {
        let count = |states: &[State]| states.iter().filter_map(|state| group.states.get(state)).sum::<u64>();
        let succeeded = group.conclusions.get("success").copied().unwrap_or(0);
        Self {
            waiting: count(&[
                State::Unconfirmed,
                State::Held,
                State::InLine,
                State::Unsubmitted,
                State::Offered,
                State::Refused,
                State::GivenUp,
            ]),
            in_slurm: count(&[State::Pending, State::Starting]),
            running: count(&[State::Running]),
            succeeded,
            otherwise: count(&[State::Finished, State::Expired, State::Denied]).saturating_sub(succeeded),
            given_up: count(&[State::GivenUp]),
            oldest: group.oldest_seconds,
        }
    }

    /// All of it in a sentence.
    pub(super) fn headline(&self) -> String {
        let Self { waiting, in_slurm, running, succeeded, otherwise, .. } = self;
        format!(
            "{waiting} waiting, {in_slurm} in Slurm, {running} running, {succeeded} succeeded, {otherwise} not successful"
        )
    }

    pub(super) fn tiles(&self) -> Markup {
        let waits = match (self.given_up, self.waiting) {
            (0, 0) => "for the gateway".to_owned(),
            (0, _) => "for their turn or the gateway".to_owned(),
            (given_up, _) => format!("{given_up} given up"),
        };
        let oldest = match self.waiting + self.in_slurm {
            0 => "no job waits for a runner".to_owned(),
            _ => format!("longest wait {}", duration(self.oldest)),
        };
        html! {
            dl.figures {
                (tile("waits", "Waiting", self.waiting, &waits))
                (tile("holds", "In Slurm", self.in_slurm, &oldest))
                (tile("runs", "Running", self.running, "each on its own runner"))
                (tile("good", "Succeeded", self.succeeded, "in the last three days"))
                (tile("bad", "Not successful", self.otherwise, "failed, cancelled, expired"))
            }
        }
    }
}

fn tile(class: &str, name: &str, number: u64, words: &str) -> Markup {
    let zero = if number == 0 { " zero" } else { "" };
    html! { div class={ (class) (zero) } { dt { (name) } dd { (number) } dd { (words) } } }
}

/// What goes wrong.
pub(super) fn troubles(figures: &Figures, now: u64) -> Markup {
    let nothing = figures.troubles.is_empty() && figures.problems.is_empty();
    html! {
        @if figures.stopped {
            p.notice.waits {
                "The operator stopped the launches of all repositories. To let them go on: gha-slurm resume"
            }
        }
        @if !figures.complete {
            p.notice.waits { "Some jobs are not counted yet. The next tick counts them." }
        }
        @if !nothing {
            section.panel {
                header { h2 { "Problems" } p { "of jobs that are still waiting" } }
                table.cards {
                    thead { tr { th { "State" } th { "Job" } th { "Repository" } th { "Since" } th { "What happened" } } }
                    tbody {
                        @for trouble in &figures.troubles {
                            tr {
                                td { (Look::of(trouble.state, None).badge()) }
                                td { a href={ "/jobs/" (trouble.job) } { "#" (trouble.job) } }
                                td.line.name title=(trouble.repository) { (trouble.repository) }
                                td.fixed { (ago(trouble.since, now)) }
                                td.line.long { (trouble.why) }
                            }
                        }
                        @for problem in &figures.problems {
                            tr {
                                td { span.badge.bad { "unreadable" } }
                                td.blank {} td.blank {} td.blank {}
                                td.line.long { (problem) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// By repository and profile.
pub(super) fn groups(figures: &Figures) -> Markup {
    let left_out = figures.groups.len().saturating_sub(MAX_GROUPS);
    html! {
        section.panel {
            header { h2 { "Repositories and profiles" } p { "last three days" } }
            @if figures.groups.is_empty() { p.nothing { "No jobs yet." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Repositories and profiles" {
                    table {
                        thead {
                            tr {
                                th { "Repository" } th { "Profile" } th.number { "Waiting" } th.number { "In Slurm" }
                                th.number { "Running" } th.number { "Succeeded" } th.number { "Not successful" }
                                th.number { "Longest wait" }
                            }
                        }
                        tbody { @for group in figures.groups.iter().take(MAX_GROUPS) { (group_row(group)) } }
                    }
                }
                @if left_out > 0 { p.nothing { "and " (left_out) " more" } }
            }
        }
    }
}

fn group_row(group: &Group) -> Markup {
    let totals = Totals::of_group(group);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("repository", &group.repository)
        .append_pair("profile", &group.profile)
        .finish();
    let number = |number: u64| html! { td.number.quiet[number == 0] { (number) } };
    html! {
        tr {
            th scope="row" {
                @if group.repository.is_empty() { span.quiet { "without a queued webhook" } }
                @else { a href={ "/?" (query) "#jobs" } { (group.repository) } }
            }
            td { (group.profile) }
            (number(totals.waiting)) (number(totals.in_slurm)) (number(totals.running))
            (number(totals.succeeded)) (number(totals.otherwise))
            td.number { @if group.waiting > 0 { (duration(group.oldest_seconds)) } @else { span.quiet { "–" } } }
        }
    }
}

/// How long each stage took.
pub(super) fn stages(figures: &Figures) -> Markup {
    let scale = figures.stages.iter().map(|stage| stage.p95).max().unwrap_or(0).max(1);
    let share = |seconds: u64| seconds.saturating_mul(1000) / scale;
    html! {
        section.panel {
            header { h2 { "Time per stage" } p { "last 24 h" } }
            div.scroll tabindex="0" role="region" aria-label="Time per stage" {
                table.stages {
                    thead {
                        tr {
                            th { "Stage" } th.number { "Jobs" } th.number { "Median" } th.number { "95%" }
                            th.number { "Longest" } th.bar-cell { span.unseen { "Chart" } }
                        }
                    }
                    tbody {
                        @for stage in &figures.stages {
                            tr {
                                th scope="row" { (stage.stage.label()) }
                                td.number.quiet[stage.jobs == 0] { (stage.jobs) }
                                @if stage.jobs == 0 { td.number.quiet { "–" } td.number.quiet { "–" } td.number.quiet { "–" } td {} }
                                @else {
                                    td.number { (duration(stage.median)) }
                                    td.number { (duration(stage.p95)) }
                                    td.number { (duration(stage.max)) }
                                    td.stage {
                                        svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
                                            rect.most x="0" y="0" height="10" width=(share(stage.p95)) {}
                                            rect x="0" y="0" height="10" width=(share(stage.median).max(4)) {}
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
