//! The browser itself: it reaches the application, and what the tests ask of it is true.

use serde_json::json;

use crate::browser::Browser;
use crate::support::App;

pub(crate) async fn the_browser_reaches_the_application_and_tells_what_it_requested() {
    let browser = Browser::start().await;
    let app = App::start().await;
    let health = format!("{}/.well-known/spin/health", app.url);
    browser.open(&health).await;
    assert_eq!(browser.text("body").await, "OK");
    assert_eq!(browser.requested().await.first(), Some(&health));
    browser.open("data:text/html,<meta name=viewport content=width=device-width>").await;
    for width in [390, 1280] {
        browser.size(width, 800).await;
        assert_eq!(browser.script("return innerWidth", json!([])).await, json!(width));
    }
    for dark in [true, false] {
        browser.dark(dark).await;
        let script = "return matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(browser.script(script, json!([])).await, json!(dark));
    }
}
