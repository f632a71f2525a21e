//! The pages of the set-up. Every value is escaped by the macro; no script, no other origin.

use gha_slurm_edge::answer::Answer;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use url::Url;

use super::manifest::{Choice, Owner};

const STYLE: &str = include_str!("style.css");

/// What all pages of one answer share.
pub(super) struct Frame<'a> {
    /// Random, for the one style sheet.
    pub(super) nonce: &'a str,
    /// Where the page's forms may go besides this application.
    pub(super) github: &'a Url,
}

impl Frame<'_> {
    /// A page under a policy that lets nothing be loaded and forms be sent to this application and GitHub alone. A browser
    /// applies that to redirections as well: who has to sign in at GitHub first should do so before.
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
                    header { strong { "gha-slurm" } " set-up" }
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
            // GitHub may see from which origin a form comes, never a link with its secret.
            .with_header("referrer-policy", "strict-origin")
            .with_header("x-content-type-options", "nosniff")
    }
}

/// The first page: whose App, and its name. `secret` is the link's, where no session stands for it.
pub(super) fn choose(action: &Url, secret: Option<&str>, web: &Url, problem: Option<&str>) -> Markup {
    html! {
        p {
            "This registers a GitHub App of your own, by which GitHub tells this application about queued jobs, and by \
             which it registers runners. You see what it may do before it is made."
        }
        @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
        form method="post" action=(action) {
            @if let Some(secret) = secret { input type="hidden" name="secret" value=(secret); }
            fieldset {
                legend { "Who is to own it?" }
                label { input type="radio" name="account" value="organization" checked; " An organisation" }
                label.indented {
                    "its name, as in " code { (web) "NAME" } " "
                    input type="text" name="organization" autocomplete="off" maxlength="39" autofocus;
                }
                label { input type="radio" name="account" value="personal"; " Your personal account" }
            }
            label {
                "The App's name, which must be free at GitHub "
                input type="text" name="name" value="gha-slurm" maxlength="34" required;
            }
            p.hint { "Sign in at " a href=(web) { (web) } " first." }
            button { "Go on" }
        }
    }
}

/// The second page: what will be asked for, and the way to GitHub.
pub(super) fn review(choice: &Choice, action: &Url, manifest: &str, public: &Url, back: &Url) -> Markup {
    html! {
        p {
            "At GitHub you confirm the App " strong { (choice.name) } " for "
            @match &choice.owner {
                Owner::Personal => { "your personal account" }
                Owner::Organization(login) => { "the organisation " strong { (login) } }
            }
            ". It may:"
        }
        ul {
            li { "register self-hosted runners (" code { "administration: write" } ")" }
            li { "see jobs (" code { "actions: read" } ", " code { "metadata: read" } ")" }
            li { "hear of queued jobs (event " code { "workflow_job" } "), sent to " code { (public) "api/github/webhooks" } }
        }
        @if public.scheme() != "https" {
            p.problem { "GitHub reaches this address only if it is public, and should find HTTPS there: see public_url." }
        }
        form method="post" action=(action) {
            input type="hidden" name="manifest" value=(manifest);
            button autofocus { "Register at GitHub" }
        }
        p { a href=(back) { "Choose again" } }
    }
}

/// The last page: installing it.
pub(super) fn registered(name: &str, install: &Url) -> Markup {
    html! {
        p { "The App " strong { (name) } " is registered; its key and its webhook secret are in this application's store." }
        p { "Now say for which repositories it works:" }
        p { a.button href=(install) { "Install it on repositories" } }
        p.hint {
            "Then run " code { "gha-slurm doctor" } " where this application runs: it checks the rest, from the webhook \
             to the gateway."
        }
    }
}

/// That something did not go well, and where to begin again, if that is possible.
pub(super) fn problem(text: &str, again: Option<&Url>) -> Markup {
    html! {
        p.problem role="alert" { (text) }
        @if let Some(again) = again { p { a href=(again) { "Begin again" } } }
    }
}
