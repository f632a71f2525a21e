//! The pages of the setup. The macro escapes every value; there is no script, and nothing from another origin.

use gha_slurm_core::github::requirements::EVENTS;
use gha_slurm_core::settings::Webhooks;
use gha_slurm_edge::answer::Answer;
use gha_slurm_protocol::messages::RunnerLevel;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use url::Url;

use super::manifest::{Choice, NOWHERE, Owner};

const STYLE: &str = include_str!("style.css");

/// What all pages of one answer share.
pub(super) struct Frame<'a> {
    /// A random value for the one style sheet.
    pub(super) nonce: &'a str,
    /// Where the page's forms may be sent besides this application.
    pub(super) github: &'a Url,
}

impl Frame<'_> {
    /// A page whose policy forbids loading anything, and sending forms to anything but this application and GitHub. Browsers
    /// apply that to redirects as well, so people should be signed in to GitHub before they send the form.
    pub(super) fn page(&self, status: u16, title: &str, content: &Markup, log: Value) -> Answer {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) " · gha-slurm" }
                    style nonce=(self.nonce) { (maud::PreEscaped(STYLE)) }
                }
                body {
                    header { strong { "gha-slurm" } " setup" }
                    main { h1 { (title) } (content) }
                }
            }
        };
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{}'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
            self.nonce,
            self.github.origin().ascii_serialization(),
        );
        Answer::page(status, page.into_string(), log)
            .with_header("content-security-policy", policy)
            // GitHub may see the origin that a form comes from, but never a link with its secret.
            .with_header("referrer-policy", "strict-origin")
            .with_header("x-content-type-options", "nosniff")
    }
}

/// The first page: the App's owner and name. `secret` is the link's, unless there is a session.
pub(super) fn choose(action: &Url, secret: Option<&str>, web: &Url, problem: Option<&str>) -> Markup {
    html! {
        p {
            "This creates a GitHub App of your own. Through it, GitHub tells this application about queued jobs, and this \
             application registers runners. You see its permissions before it is created."
        }
        @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
        form method="post" action=(action) {
            @if let Some(secret) = secret { input type="hidden" name="secret" value=(secret); }
            fieldset {
                legend { "Who should own the App?" }
                label { input type="radio" name="account" value="organization" checked; " An organization" }
                label.indented {
                    "Its name, as in " code { (web) "NAME" } " "
                    input type="text" name="organization" autocomplete="off" maxlength="39" autofocus;
                }
                label { input type="radio" name="account" value="personal"; " Your personal account" }
            }
            fieldset {
                legend { "If an organization does: where should it register runners?" }
                label { input type="radio" name="runners" value="organization" checked; " At the organization" }
                p.indented {
                    "The App may manage the organization's runners, but it can change nothing in a repository. Profiles need "
                    code { "level = \"organization\"" } "."
                }
                label { input type="radio" name="runners" value="repository"; " At each repository" }
                p.indented {
                    "No profile has to be changed, but GitHub's permission for this also lets the App's key change settings \
                     of the repositories, and delete them. For a personal account there is no other way."
                }
            }
            label {
                "The App's name, which must not be taken on GitHub "
                input type="text" name="name" value="gha-slurm" maxlength="34" required;
            }
            p.hint { "Sign in at " a href=(web) { (web) } " first." }
            button { "Continue" }
        }
    }
}

/// The second page: what the App may do, and the form that leads to GitHub.
pub(super) fn review(
    choice: &Choice,
    webhooks: Webhooks,
    action: &Url,
    manifest: &str,
    public: &Url,
    back: &Url,
) -> Markup {
    html! {
        p {
            "On GitHub, you confirm the App " strong { (choice.name) } " for "
            @match &choice.owner {
                Owner::Personal => { "your personal account" }
                Owner::Organization(login) => { "the organization " strong { (login) } }
            }
            ". It may:"
        }
        ul {
            @match choice.runners {
                RunnerLevel::Organization => {
                    li { "register the organization's self-hosted runners (" code { "organization_self_hosted_runners: write" } ")" }
                }
                RunnerLevel::Repository => {
                    li { "register self-hosted runners, and change or delete repositories (" code { "administration: write" } ")" }
                }
            }
            li { "see jobs (" code { "actions: read" } ", " code { "metadata: read" } ")" }
            li {
                "be notified of queued jobs (event"
                @for event in EVENTS { " " code { (event) } }
                ")"
                @if webhooks == Webhooks::Receive { ", at " code { (public) "api/github/webhooks" } }
            }
        }
        @if webhooks == Webhooks::Poll {
            p {
                "This application reads what GitHub tells from GitHub's list of deliveries, so GitHub need not reach it. The                  App's webhook has to be active all the same, because GitHub lists only what it tried to send; its address, "
                code { (NOWHERE) } ", belongs to nobody. GitHub shows these deliveries as failed."
            }
        }
        @if webhooks == Webhooks::Receive && public.scheme() != "https" {
            p.problem { "GitHub can reach this address only if it is public, and it should use HTTPS: see the variable public_url." }
        }
        form method="post" action=(action) {
            input type="hidden" name="manifest" value=(manifest);
            button autofocus { "Create the App on GitHub" }
        }
        p { a href=(back) { "Back" } }
    }
}

/// The last page: how to install it. `of_organization` says whether it may register runners there.
pub(super) fn registered(name: &str, install: &Url, of_organization: bool) -> Markup {
    html! {
        p { "The App " strong { (name) } " has been created. Its key and its webhook secret are in this application's store." }
        p { "Now choose the repositories that it works for:" }
        p { a.button href=(install) { "Install the App" } }
        @if of_organization {
            p {
                "It registers runners at the organization: set " code { "level = \"organization\"" } " in each profile."
            }
        }
        p.hint {
            "Then run " code { "gha-slurm doctor" } " where this application runs. It checks everything else, from the \
             webhook to the gateway."
        }
    }
}

/// What went wrong, and where to start again, if that is possible.
pub(super) fn problem(text: &str, again: Option<&Url>) -> Markup {
    html! {
        p.problem role="alert" { (text) }
        @if let Some(again) = again { p { a href=(again) { "Start again" } } }
    }
}
