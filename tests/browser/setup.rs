//! The setup, as a person goes through it.

use gha_slurm_simulator::github::JobStatus;

use crate::browser::{Browser, ENTER, TAB};
use crate::support::{App, LABELS, REPOSITORY};

pub(crate) async fn from_the_printed_link_to_the_first_runner() {
    let browser = Browser::start().await;
    let app = App::start_unconfigured("", &[]).await;
    let link = app.setup_link();
    browser.open(&link).await;
    browser.until_shown("Connect to GitHub").await;
    pictures(&browser, "setup-choose").await;
    // The default profile's runners are registered at repositories.
    browser.click("input[value=repository]").await;
    browser.enter("input[name=organization]", "octo-org").await;
    // From there by keyboard alone.
    browser.press(ENTER).await;
    browser.until_shown("Create the App").await;
    browser.until_shown("octo-org").await;
    pictures(&browser, "setup-review").await;
    assert!(!browser.url().await.contains("secret="));
    let cookie = browser.cookie("gha-slurm-setup").await.unwrap();
    assert_eq!((&cookie["httpOnly"], cookie["sameSite"].as_str()), (&true.into(), Some("Lax")));
    browser.press(ENTER).await;

    browser.until_shown("Create GitHub App for octo-org").await;
    browser.click("#create").await;
    browser.until_shown("has been created").await;
    pictures(&browser, "setup-registered").await;
    for url in browser.requested().await {
        let own = url.starts_with(&app.url) || url.starts_with(&app.github.url());
        assert!(own && (!url.contains("secret=") || url == link), "{url}");
    }
    browser.press(TAB).await;
    browser.press(ENTER).await;
    browser.until_shown(REPOSITORY).await;
    browser.click("#install").await;
    browser.until("GitHub leads back", "return location.search.includes('setup_action=install')").await;
    assert!(browser.url().await.starts_with(&app.url));

    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
    app.within_seconds(15, "the first job is done", done).await;
    browser.open(&link).await;
    assert!(browser.text("body").await.contains("nothing is served at this path"));
}

pub(crate) async fn who_chose_wrongly_goes_back_and_who_has_a_used_link_is_told() {
    let browser = Browser::start().await;
    let app = App::start_unconfigured("", &[]).await;
    let link = app.setup_link();
    browser.open(&link).await;
    browser.click("button").await;
    browser.until_shown("Enter the organization's name").await;
    browser.click("input[value=personal]").await;
    browser.click("button").await;
    browser.until_shown("your personal account").await;
    browser.click("main a").await;
    browser.until_shown("Connect to GitHub").await;
    browser.enter("input[name=organization]", "octo-org").await;
    browser.click("button").await;
    browser.until_shown("octo-org").await;
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().all(|complaint| complaint.contains("favicon") || complaint.contains("422")),
        "{complaints:?}"
    );

    let other = Browser::start().await;
    other.open(&link).await;
    other.until_shown("This link has been used").await;
}

/// Pictures to be looked at, in the folder that `GHA_SLURM_PICTURES` names.
async fn pictures(browser: &Browser, name: &str) {
    let Some(folder) = std::env::var_os(crate::pictures::FOLDER) else { return };
    for (device, width) in [("phone", 390), ("desktop", 1280)] {
        browser.size(width, 900).await;
        for (colours, dark) in [("dark", true), ("light", false)] {
            browser.dark(dark).await;
            let file = format!("{name}-{device}-{colours}.png");
            browser.picture(&std::path::Path::new(&folder).join(file)).await;
        }
    }
}
