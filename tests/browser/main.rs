//! The pages as people use them: a real Chromium against the application as shipped.
//!
//! Without Debian's packages `chromium` and `chromium-driver` (a `chromedriver` on the path) these tests are ignored;
//! `GHA_SLURM_REQUIRE_BROWSER=1` makes them fail instead.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod browser;
mod console;
mod harness;
#[path = "../support/optional.rs"]
mod optional;
mod pictures;
mod setup;
#[path = "../support/mod.rs"]
mod support;

use optional::{Need, trials};

fn main() -> std::process::ExitCode {
    let browser = Need::program("chromedriver", "--version", "GHA_SLURM_REQUIRE_BROWSER");
    let folder = Need::variable(pictures::FOLDER, None);
    optional::run(vec![
        trials![browser =>
            harness::the_browser_reaches_the_application_and_tells_what_it_requested,
            setup::from_the_printed_link_to_the_first_runner,
            setup::who_chose_wrongly_goes_back_and_who_has_a_used_link_is_told,
            console::who_has_the_admin_token_logs_in_and_out,
            console::a_forged_cookie_leads_to_the_log_in,
            console::a_job_moves_through_its_stages_before_ones_eyes,
            console::a_jobs_page_tells_what_happened_and_leads_to_github,
            console::no_request_leaves_the_pages_own_origin,
            console::the_keyboard_is_enough_and_keeps_its_place,
            console::what_others_wrote_is_text,
            console::nothing_runs_over_the_edge_of_a_phone,
        ],
        trials![folder => pictures::pictures],
    ])
}
