//! The setup by its routes, as strangers, a wrong GitHub and two browsers at once use it. The whole way in a browser is
//! in `tests/browser`.

use std::time::{SystemTime, UNIX_EPOCH};

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{Endpoint, Fault, GitHub, JobStatus};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::support::{App, LABELS, REPOSITORY, json, queued};

const SECRET: &str = "an-operators-own-setup-secret";

/// What a browser does: it keeps the cookie, fills in the forms and follows no redirection unasked.
struct Visitor {
    client: Client,
    cookie: Option<String>,
}

impl Visitor {
    fn new() -> Self {
        Self { client: Client::builder().redirect(Policy::none()).no_proxy().build().unwrap(), cookie: None }
    }

    async fn get(&self, url: &str) -> (u16, String) {
        let mut request = self.client.get(url);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        read(request.send().await.unwrap()).await
    }

    /// Sends the form that chooses; the page.
    async fn choose(&mut self, app: &App, fields: &str) -> (u16, String) {
        let mut request = self.client.post(format!("{}/setup", app.url)).body(fields.to_owned());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.unwrap();
        if let Some(cookie) = response.headers().get("set-cookie") {
            self.cookie = cookie.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        read(response).await
    }

    /// Posts the page's manifest to GitHub and confirms there; where GitHub leads back to.
    async fn confirm(&self, page: &str) -> String {
        let action = attribute(page, "<form method=\"post\" action=\"");
        let manifest = attribute(page, "name=\"manifest\" value=\"");
        let (status, asks) = read(self.post_form(&action, &[("manifest", &manifest)]).await).await;
        assert_eq!(status, 200, "{asks}");
        let token = asks.split_once("name=token value=").unwrap().1.split('>').next().unwrap().to_owned();
        let name = attribute(&asks, "name=name value=\"");
        let origin = action.split("/settings").next().unwrap().split("/organizations").next().unwrap();
        let confirm = format!("{origin}/settings/apps/manifest");
        let made = self.post_form(&confirm, &[("token", &token), ("name", &name)]).await;
        assert_eq!(made.status(), 302);
        made.headers()["location"].to_str().unwrap().to_owned()
    }

    async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Response {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap()
    }
}

async fn read(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The value after `before`, up to the next quote.
fn attribute(page: &str, before: &str) -> String {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&")
}

fn form(name: &str, secret: &str) -> String {
    format!("account=organization&organization=octo-org&runners=repository&name={name}&secret={secret}")
}

fn secret_of(link: &str) -> &str {
    link.split_once("secret=").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_was_set_up_by_the_link_works_and_stays_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let app = App::start_unconfigured(state, &[]).await;
    let link = app.setup_link();
    assert!(link.starts_with(&format!("{}/setup?secret=", app.url)), "{link}");
    // Before that, a webhook and a redemption say what is missing.
    let (status, body) = json(app.deliver("workflow_job", queued(1).to_string()).await).await;
    let error = body["error"].as_str().unwrap();
    assert_eq!(status, 500, "{error}");
    assert!(error.contains("github_webhook_secret") && error.contains("setup in the browser"), "{error}");

    let mut visitor = Visitor::new();
    assert_eq!(visitor.get(&link).await.0, 200);
    let (_, page) = visitor.choose(&app, &form("cluster", secret_of(&link))).await;
    let back = visitor.confirm(&page).await;
    assert_eq!(Visitor::new().get(&link).await.0, 410, "the link was used");
    let (status, page) = visitor.get(&back).await;
    assert_eq!(status, 200, "{page}");
    let install = attribute(&page, "class=\"button\" href=\"");
    assert_eq!(install, format!("{}/apps/cluster/installations/new", app.github.url()));
    assert_eq!(visitor.post_form(&install, &[]).await.status(), 302);
    for url in [&link, &back, &format!("{}/setup", app.url), &format!("{}/setup/callback", app.url)] {
        let (status, page) = visitor.get(url).await;
        assert_eq!((status, page.as_str()), (404, r#"{"error":"nothing is served at this path"}"#), "{url}");
    }
    let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
    assert_eq!(delivery.unwrap().answer["decision"], "launched");
    let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
    app.within_seconds(15, "the job is done", done).await;

    // Another start knows the App and prints no link.
    let (github, url) = (app.github.clone(), app.url.clone());
    drop(app);
    let changes = [("public_url", url.as_str())];
    let again = App::start_unconfigured_beside(github, Events::default(), state, &changes).await;
    assert_eq!(visitor.get(&format!("{}/setup", again.url)).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_by_variables_serves_no_setup() {
    let app = App::start_with(&[("setup_secret", SECRET)]).await;
    for path in ["setup", &format!("setup?secret={SECRET}"), "setup/callback?code=c&state=s", "setup/anything"] {
        assert_eq!(Visitor::new().get(&format!("{}/{path}", app.url)).await.0, 404, "{path}");
    }
    assert_eq!(Visitor::new().choose(&app, &form("x", SECRET)).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_or_expired_link_and_a_wrong_state_reach_nothing() {
    let app = App::start_unconfigured("", &[("setup_secret", SECRET)]).await;
    let mut visitor = Visitor::new();
    let setup = format!("{}/setup", app.url);
    let link = format!("{setup}?secret={SECRET}");
    assert_eq!(visitor.get(&link).await.0, 200);
    for guess in ["", "?secret=", "?secret=an-operators-own-setup-secreT", "?secret=%00", "?x=1&secret=guess"] {
        assert_eq!(visitor.get(&format!("{setup}{guess}")).await.0, 403, "{guess}");
    }
    assert_eq!(visitor.choose(&app, &form("x", "guess")).await.0, 403);
    visitor.cookie = Some("gha-slurm-setup=guess".to_owned());
    assert_eq!(visitor.choose(&app, &form("x", "")).await.0, 403);
    for query in ["", "?code=c", "?code=c&state=", "?code=c&state=guess"] {
        assert_eq!(visitor.get(&format!("{setup}/callback{query}")).await.0, 403, "{query}");
    }
    assert_eq!(app.client.put(&setup).send().await.unwrap().status(), 405);
    assert_eq!(visitor.choose(&app, &"a".repeat(20_000)).await.0, 413);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expired = [("setup_secret", SECRET), ("setup_expires", &now.to_string())];
    let late = App::start_unconfigured("", &expired).await;
    assert_eq!(visitor.get(&format!("{}/setup?secret={SECRET}", late.url)).await.0, 410);
    assert_eq!(visitor.choose(&late, &form("x", SECRET)).await.0, 410);
    assert!(app.github.requests().is_empty(), "{:?}", app.github.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_github_does_not_take_leads_back_to_the_beginning() {
    let app = App::start_unconfigured("", &[("setup_secret", SECRET)]).await;
    let mut visitor = Visitor::new();
    let (_, page) = visitor.choose(&app, &form("first", SECRET)).await;
    let back = visitor.confirm(&page).await;
    app.github.expire_codes();
    let (status, page) = visitor.get(&back).await;
    assert_eq!(status, 502, "{page}");
    assert!(page.contains("Start again"), "{page}");
    assert_eq!(visitor.get(&back).await.0, 403, "its state is over");

    // GitHub is down for a moment: the same page, once more.
    let (_, page) = visitor.choose(&app, &form("second", "")).await;
    let back = visitor.confirm(&page).await;
    app.github.fail(Endpoint::Conversion, Fault::Status(503));
    assert_eq!(visitor.get(&back).await.0, 502);
    assert_eq!(visitor.get(&back).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_led_to_anothers_callback_registers_nothing() {
    let app = App::start_unconfigured("", &[("setup_secret", SECRET)]).await;
    let mut visitor = Visitor::new();
    let (_, page) = visitor.choose(&app, &form("cluster", SECRET)).await;
    let back = visitor.confirm(&page).await;
    assert_eq!(Visitor::new().get(&back).await.0, 403, "without the cookie of the browser that chose");
    assert_eq!(visitor.get(&back).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_callbacks_at_once_one_is_kept() {
    let app = App::start_unconfigured("", &[("setup_secret", SECRET)]).await;
    let mut visitor = Visitor::new();
    let (_, page) = visitor.choose(&app, &form("one", SECRET)).await;
    let one = visitor.confirm(&page).await;
    let (_, page) = visitor.choose(&app, &form("two", "")).await;
    let two = visitor.confirm(&page).await;
    assert_eq!(app.github.apps(), ["one", "two"]);
    let requests = [&one, &one, &one, &two, &two, &two].map(|url| {
        let (url, cookie) = (url.clone(), visitor.cookie.clone());
        tokio::spawn(async move { Visitor { cookie, ..Visitor::new() }.get(&url).await.0 })
    });
    let mut kept = 0;
    for request in requests {
        match request.await.unwrap() {
            200 => kept += 1,
            403 | 404 | 409 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(kept, 1);
    // What was kept is one App, whole: its webhooks are accepted, and its key signs.
    for name in ["one", "two"] {
        let install = format!("{}/apps/{name}/installations/new", app.github.url());
        assert_eq!(visitor.post_form(&install, &[]).await.status(), 302);
        let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
        if delivery.unwrap().status == 200 {
            let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
            app.within_seconds(15, "the job is done", done).await;
            return;
        }
    }
    panic!("neither App works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_or_an_unknown_organization_is_githubs_to_refuse() {
    let github = GitHub::start_without_app(&[REPOSITORY], Events::default()).await.unwrap();
    let app = App::start_unconfigured_beside(github, Events::default(), "", &[("setup_secret", SECRET)]).await;
    let mut visitor = Visitor::new();
    for bad in ["account=organization&organization=a/b&name=x", "account=personal&name=", "name=x"] {
        let (status, page) = visitor.choose(&app, &format!("{bad}&secret={SECRET}")).await;
        assert_eq!(status, 422, "{bad}");
        assert!(page.contains("role=\"alert\"") && page.contains(SECRET), "the form again: {page}");
    }
    let (_, page) = visitor.choose(&app, &form("x", SECRET).replace("octo-org", "nobody")).await;
    let action = attribute(&page, "<form method=\"post\" action=\"");
    let manifest = attribute(&page, "name=\"manifest\" value=\"");
    assert_eq!(visitor.post_form(&action, &[("manifest", &manifest)]).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_is_printed_where_it_would_lead_nowhere() {
    for (changes, said) in [
        (&[("github_private_key", ""), ("github_webhook_secret", "")][..], "is set, but not github_private_key"),
        (
            &[("github_app_id", ""), ("github_private_key", ""), ("github_webhook_secret", ""), ("public_url", "")],
            "public_url",
        ),
    ] {
        let mut app = App::start_with(changes).await;
        let log = app.end();
        let warning = log.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{said} is not in {log}"));
        assert!(warning.contains("WARN"), "{warning}");
        assert_eq!(app.printed(), "", "no link");
    }
}
