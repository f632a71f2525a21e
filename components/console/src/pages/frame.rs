//! What all pages share: the head, the top bar, and the live region for screen readers.

use maud::{DOCTYPE, Markup, html};

use super::assets;

/// What all pages of one answer share.
pub(super) struct Frame<'a> {
    /// Seconds of Unix time.
    pub(super) now: u64,
    /// The application's public host.
    pub(super) host: Option<&'a str>,
}

impl Frame<'_> {
    /// A page for a logged-in user. Screen readers announce `headline` when it changes.
    pub(super) fn page(&self, title: &str, headline: &str, main: &Markup) -> Markup {
        document(
            title,
            true,
            &html! {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    div {
                        (brand())
                        @if let Some(host) = self.host { span.quiet.small.host { (host) } }
                        p #state .state data-live="no" { span.word { "as of loading" } }
                        form method="post" action="/logout" { button { "Log out" } }
                    }
                }
                p #news .unseen role="status" {}
                main #main tabindex="-1" {
                    p #headline .unseen data-part="headline" { (headline) }
                    (main)
                }
            },
        )
    }
}

/// A document; with the script that refreshes it if it is `live`.
pub(super) fn document(title: &str, live: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) " · gha-slurm" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                link rel="icon" href=(assets::icon()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::style());
                @if live { script src=(assets::script()) defer {} }
            }
            body { (body) }
        }
    }
}

/// The application's name, linked to the first page.
pub(super) fn brand() -> Markup {
    html! {
        a.brand href="/" {
            svg viewBox="0 0 24 24" aria-hidden="true" {
                rect.mark x="1" y="1" width="22" height="22" rx="5" {}
                path.cut d="M6 7.500h7M6 12h12M6 16.500h9" {}
            }
            "gha-slurm"
        }
    }
}
