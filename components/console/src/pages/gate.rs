//! The login form, and the pages that stand in for another one.

use maud::{Markup, html};

use super::assets;
use super::frame::{brand, document};

/// The login form; `next` is the page to show afterwards.
pub(super) fn log_in(next: &str, problem: Option<&str>) -> Markup {
    gate(
        "Log in",
        &html! {
            h1 { "Log in" }
            @if let Some(problem) = problem { p #problem .notice.bad role="alert" { (problem) } }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                // Password managers file the token under this name.
                input type="text" name="username" value="admin" autocomplete="username" hidden;
                label {
                    "Admin token"
                    input type="password" name="token" required autofocus autocomplete="current-password"
                        maxlength="1000" aria-describedby=[problem.map(|_| "problem")];
                }
                button.main { "Log in" }
            }
            p.quiet.small { "The value of the variable " code { "admin_token" } ". The session ends after 12 hours." }
        },
    )
}

/// There is no admin token to log in with.
pub(super) fn unconfigured(problem: &str) -> Markup {
    gate(
        "Not set up",
        &html! {
            h1 { "The console is switched off" }
            p { "You log in with the admin token, and none is set yet." }
            p.notice.waits { (problem) "." }
            p { "To create one:" }
            pre { code { "echo \"SPIN_VARIABLE_ADMIN_TOKEN=$(openssl rand -hex 20)\" >> .env" } }
            p.quiet.small { "Then restart the application." }
        },
    )
}

/// A form that was not sent from one of the application's own pages.
pub(super) fn foreign() -> Markup {
    gate(
        "Refused",
        &html! {
            h1 { "Refused" }
            p { "This form was not sent from a page of this application." }
            p { a href="/" { "Go to the console" } }
        },
    )
}

/// The store does not answer.
pub(super) fn store_failed() -> Markup {
    gate(
        "No answer",
        &html! {
            h1 { "The key-value store does not answer" }
            p { "The console cannot show anything until it does. See the log for details." }
            p { a href="/" { "Try again" } }
        },
    )
}

/// A page that reloads itself, so that the next request comes from the application's own page.
pub(super) fn again() -> Markup {
    html! {
        (maud::DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content="0";
                title { "gha-slurm" }
                link rel="stylesheet" href=(assets::style());
            }
            body { p.gate { a href="" { "Continue" } } }
        }
    }
}

fn gate(title: &str, content: &Markup) -> Markup {
    document(title, false, &html! { main.gate { (brand()) div.panel { (content) } } })
}
