//! The link, the `state` and the races, on a platform in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::OnceLock;

use gha_slurm_core::ports::{Clock, SendError, Store};
use gha_slurm_core::testing::{Memory, answer};
use gha_slurm_edge::testing::delivery;
use jwt_simple::prelude::RS256KeyPair;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECRET: &str = "a-setup-secret-of-32-characters!";
const APP: &str = "account=organization&organization=octo-org&name=gha-slurm";

fn pem() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| RS256KeyPair::generate(2048).unwrap().to_pem().unwrap())
}

/// An application without an App, and a GitHub that takes each code once; the App's id grows.
fn unconfigured() -> Memory {
    let platform = Memory::configured();
    for name in ["github_app_id", "github_private_key", "github_webhook_secret"] {
        platform.set_variable(name, Some(""));
    }
    platform.set_variable("setup_secret", Some(SECRET));
    let made = Rc::new(Cell::new(0));
    platform.serve(move |_, request| {
        assert!(request.headers.iter().all(|(name, _)| *name != "authorization"), "the code is the credential");
        match request.url.path() {
            "/app-manifests/refused/conversions" => answer(404, &json!({"message": "Not Found"})),
            "/app-manifests/down/conversions" => Err(SendError::Broken("no route".to_owned())),
            path => {
                assert!(path.starts_with("/app-manifests/"), "{path}");
                made.set(made.get() + 1);
                answer(201, &json!({
                    "id": made.get(), "slug": "gha-slurm", "name": "gha-slurm", "pem": pem(),
                    "webhook_secret": format!("secret-{}", made.get()), "html_url": "https://github.com/apps/gha-slurm",
                    "permissions": {"organization_self_hosted_runners": "write", "actions": "read", "metadata": "read"},
                }))
            }
        }
    });
    platform
}

fn send(platform: &Memory, method: &str, path: &str, query: &str, body: &str, cookie: Option<&str>) -> Answer {
    let mut headers = vec![("spin-client-addr".to_owned(), b"192.0.2.1:1000".to_vec())];
    headers.extend(cookie.map(|cookie| ("Cookie".to_owned(), cookie.as_bytes().to_vec())));
    let (method, target) = (method.to_owned(), format!("{path}?{query}"));
    setup(platform, &Request { method, target, headers, body: body.as_bytes().to_vec() })
}

fn open(platform: &Memory, secret: &str, cookie: Option<&str>) -> Answer {
    send(platform, "GET", "/setup", &format!("secret={secret}"), "", cookie)
}

fn choose(platform: &Memory, secret: &str, cookie: Option<&str>) -> Answer {
    send(platform, "POST", "/setup", "", &format!("{APP}&secret={secret}"), cookie)
}

/// GitHub's answer, in the browser that has this cookie.
fn callback_in(platform: &Memory, cookie: Option<&str>, code: &str, state: &str) -> Answer {
    send(platform, "GET", "/setup/callback", &format!("code={code}&state={state}"), "", cookie)
}

/// The same, in the browser that made a choice.
fn callback(platform: &Memory, code: &str, chosen: &Answer) -> Answer {
    callback_in(platform, Some(&cookie(chosen)), code, &state(chosen))
}

/// The records of registrations.
fn registrations(platform: &Memory) -> Vec<serde_json::Value> {
    let lines = platform.audited.borrow();
    let lines = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["audit"] == "registration").collect()
}

fn page_of(answer: &Answer) -> String {
    answer.text.clone().unwrap().1
}

fn cookie(answer: &Answer) -> String {
    let (_, cookie) = answer.headers.iter().find(|(name, _)| *name == "set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Lax; Secure") && cookie.contains("Path=/setup;"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

fn state(answer: &Answer) -> String {
    let page = page_of(answer);
    page.split_once("apps/new?state=").unwrap().1.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn from_the_link_to_an_app_that_signs_and_checks() {
    let platform = unconfigured();
    let error = Settings(&platform).webhook_secret().unwrap_err().to_string();
    assert!(error.contains("github_webhook_secret") && error.contains("setup in the browser"), "{error}");
    assert_eq!(open(&platform, SECRET, None).status, 200);
    assert_eq!(open(&platform, SECRET, None).status, 200, "looking uses nothing up");
    let chosen = choose(&platform, SECRET, None);
    assert_eq!(chosen.status, 200, "{:?}", chosen.log);
    let registered = callback(&platform, "c0de", &chosen);
    assert_eq!(registered.status, 200, "{:?} {:?}", registered.log, registered.detail);
    let page = page_of(&registered);
    assert!(page.contains("https://github.com/apps/gha-slurm/installations/new"));
    assert!(page.contains("level = &quot;organization&quot;"), "{page}");

    assert_eq!(Settings(&platform).github().unwrap().app_id, "1");
    assert!(Settings(&platform).app_key().is_ok());
    assert!(Settings(&platform).webhook_secret().unwrap().matches("secret-1"));
    // Whatever is asked now, nothing is here any more.
    let session = cookie(&chosen);
    for answer in [
        open(&platform, SECRET, Some(&session)),
        choose(&platform, SECRET, Some(&session)),
        callback(&platform, "c0de", &chosen),
        send(&platform, "DELETE", "/setup", "", "", None),
    ] {
        assert_eq!((answer.status, answer.text.is_none()), (404, true));
    }
    let at = platform.unix_seconds();
    let record = json!({"audit": "registration", "app_id": 1, "client": "192.0.2.1", "time": at, "level": "info"});
    assert_eq!(registrations(&platform), [record]);
}

#[test]
fn what_an_app_may_do_is_shown_before_it_is_made() {
    let shown = |fields: &str| {
        page_of(&send(&unconfigured(), "POST", "/setup", "", &format!("{fields}&name=n&secret={SECRET}"), None))
    };
    let least = shown("account=organization&organization=octo-org&runners=organization");
    assert!(least.contains("organization_self_hosted_runners") && !least.contains("administration"), "{least}");
    for more in ["account=organization&organization=octo-org&runners=repository", "account=personal"] {
        let page = shown(more);
        assert!(page.contains("delete repositories") && !page.contains("organization_self_hosted_runners"), "{page}");
    }
}

#[test]
fn variables_win_over_what_was_registered() {
    let platform = unconfigured();
    let chosen = choose(&platform, SECRET, None);
    callback(&platform, "c0de", &chosen);
    platform.set_variable("github_app_id", Some("4711"));
    platform.set_variable("github_webhook_secret", Some("by variable"));
    assert_eq!(Settings(&platform).github().unwrap().app_id, "4711");
    assert!(Settings(&platform).webhook_secret().unwrap().matches("by variable"));
}

#[test]
fn an_app_by_variables_is_read_without_the_store_and_needs_no_setup() {
    let platform = Memory::configured();
    platform.set_variable("setup_secret", Some(SECRET));
    platform.set_variable("github_private_key", Some(pem()));
    let settings = Settings(&platform);
    assert!(settings.github().is_ok() && settings.app_key().is_ok() && settings.webhook_secret().is_ok());
    assert_eq!(open(&platform, SECRET, None).status, 404);
    assert_eq!(platform.operations.get(), 0);
    gha_slurm_webhook::receive::receive(&platform, &delivery(&json!({"action": "x"})));
    assert_eq!(platform.operations.get(), 0);
}

#[test]
fn without_a_link_there_is_no_setup_and_a_wrong_setting_is_named() {
    let platform = unconfigured();
    for (name, value, status) in [
        ("setup_secret", "", 404),
        ("setup_secret", "short", 500),
        ("public_url", "", 500),
        ("github_api_url", "x", 500),
    ] {
        let platform = unconfigured();
        platform.set_variable(name, Some(value));
        let answer = open(&platform, SECRET, None);
        assert_eq!(answer.status, status, "{name}");
        assert!(status == 404 || answer.body["error"].as_str().unwrap().contains(name), "{}", answer.body);
    }
    platform.set_variable("setup_expires", Some("tomorrow"));
    assert!(open(&platform, SECRET, None).body["error"].as_str().unwrap().contains("setup_expires"));
}

#[test]
fn a_link_is_used_once_and_its_browser_goes_on() {
    let platform = unconfigured();
    let session = cookie(&choose(&platform, SECRET, None));
    assert_eq!(open(&platform, SECRET, None).status, 410, "somebody else");
    assert_eq!(choose(&platform, SECRET, None).status, 410);
    assert_eq!(open(&platform, "", Some(&session)).status, 200, "the same browser");
    assert_eq!(choose(&platform, "", Some(&format!("other=1; {session}"))).status, 200);
    assert_eq!(open(&platform, "", Some("gha-slurm-setup=guess")).status, 403);
    // Another start prints another link.
    platform.set_variable("setup_secret", Some("another-setup-secret-of-32-chars"));
    assert_eq!(open(&platform, "another-setup-secret-of-32-chars", None).status, 200);
}

#[test]
fn a_link_its_session_and_its_states_end_after_an_hour() {
    let start = Memory::new().seconds.get();
    for (expires, end) in [(Some(start + 60), start + 60), (None, start + LINK_SECONDS)] {
        let platform = unconfigured();
        if let Some(expires) = expires {
            platform.set_variable("setup_expires", Some(&expires.to_string()));
        }
        assert_eq!(open(&platform, SECRET, None).status, 200);
        platform.seconds.set(end - 1);
        assert_eq!(open(&platform, SECRET, None).status, 200);
        platform.seconds.set(end);
        assert_eq!(open(&platform, SECRET, None).status, 410);
        assert_eq!(choose(&platform, SECRET, None).status, 410);
    }
    let platform = unconfigured();
    let chosen = choose(&platform, SECRET, None);
    platform.seconds.set(start + LINK_SECONDS);
    assert_eq!(open(&platform, "", Some(&cookie(&chosen))).status, 403);
    assert_eq!(callback(&platform, "c0de", &chosen).status, 403);
    assert!(platform.sent.borrow().is_empty(), "GitHub was not asked");
}

#[test]
fn a_state_that_is_not_ours_costs_no_call_and_one_that_succeeded_is_over() {
    let platform = unconfigured();
    let chosen = choose(&platform, SECRET, None);
    let (state, session) = (state(&chosen), cookie(&chosen));
    for wrong in ["", "guess", &state.to_uppercase(), &state[1..]] {
        assert_eq!(callback_in(&platform, Some(&session), "c0de", wrong).status, 403, "{wrong}");
    }
    for code in ["", "a/../b", "a%3Fb", &"a".repeat(201)] {
        assert_eq!(callback(&platform, code, &chosen).status, 400, "{code}");
    }
    assert!(platform.sent.borrow().is_empty());
    assert_eq!(callback(&platform, "refused", &chosen).status, 502);
    assert_eq!(callback(&platform, "c0de", &chosen).status, 403, "a refusal ends it");
}

#[test]
fn a_state_is_good_in_the_browser_that_it_was_made_for_and_in_no_other() {
    let platform = unconfigured();
    let chosen = choose(&platform, SECRET, None);
    // Somebody else's session: of an earlier link, still valid.
    let another = "another-setup-secret-of-32-chars";
    platform.set_variable("setup_secret", Some(another));
    let others = cookie(&choose(&platform, another, None));
    for cookie in [None, Some("gha-slurm-setup="), Some("gha-slurm-setup=guess"), Some(others.as_str())] {
        assert_eq!(callback_in(&platform, cookie, "c0de", &state(&chosen)).status, 403, "{cookie:?}");
    }
    assert!(platform.sent.borrow().is_empty(), "GitHub was not asked");
    assert_eq!(callback(&platform, "c0de", &chosen).status, 200);
}

#[test]
fn guesses_at_the_link_are_limited() {
    let platform = unconfigured();
    for _ in 0..5 {
        assert_eq!(open(&platform, "guess", None).status, 403);
    }
    let limited = open(&platform, "guess", None);
    assert_eq!(limited.status, 429);
    assert!(limited.headers.iter().any(|(name, _)| *name == "retry-after"));
    assert_eq!(open(&platform, SECRET, None).status, 200, "strangers keep nobody out");
}

#[test]
fn a_store_key_that_cannot_seal_is_told_before_github_makes_an_app() {
    let platform = unconfigured();
    platform.set_variable("store_key", Some("short"));
    let refused = open(&platform, SECRET, None);
    assert_eq!(refused.status, 500);
    assert!(refused.body.to_string().contains("store_key"), "{}", refused.body);
    assert!(platform.sent.borrow().is_empty());
}

#[test]
fn with_a_store_key_the_apps_key_is_sealed_and_without_it_no_longer_read() {
    let platform = unconfigured();
    platform.set_variable("store_key", Some("a-store-key-that-has-32-characters"));
    callback(&platform, "c0de", &choose(&platform, SECRET, None));
    assert!(Settings(&platform).app_key().is_ok());
    for (key, value) in platform.values() {
        assert!(!String::from_utf8_lossy(&value).contains("PRIVATE KEY"), "{key}");
    }
    for changed in [None, Some("another-store-key-of-32-characters")] {
        platform.set_variable("store_key", changed);
        let error = Settings(&platform).app_key().unwrap_err().to_string();
        assert!(error.contains("store_key"), "{error}");
    }
}

#[test]
fn while_github_is_down_the_same_page_may_be_loaded_again() {
    let platform = unconfigured();
    let chosen = choose(&platform, SECRET, None);
    assert_eq!(callback(&platform, "down", &chosen).status, 502);
    assert_eq!(callback(&platform, "c0de", &chosen).status, 200);
}

#[test]
fn an_app_without_a_key_or_a_webhook_secret_is_not_kept() {
    for (missing, value) in [("webhook_secret", json!(null)), ("pem", json!("hunter2")), ("html_url", json!("no URL"))]
    {
        let platform = unconfigured();
        let chosen = choose(&platform, SECRET, None);
        platform.serve(move |_, _| {
            let mut app = json!({
                "id": 1, "slug": "s", "name": "n", "pem": pem(), "webhook_secret": "w", "html_url": "https://github.com/apps/s",
            });
            app[missing] = value.clone();
            answer(201, &app)
        });
        let refused = callback(&platform, "c0de", &chosen);
        assert_eq!(refused.status, 502, "{missing}");
        assert!(!format!("{:?}{:?}", refused.text, refused.detail).contains("hunter2"));
        assert!(registrations(&platform).is_empty(), "{missing}");
        assert_eq!(open(&platform, "", None).status, 403, "still to be set up");
    }
}

#[test]
fn of_two_callbacks_at_once_one_app_is_kept_whole() {
    // The second callback, of the same or of another state, comes while the first waits for GitHub.
    for same in [true, false] {
        let platform = unconfigured();
        let first = choose(&platform, SECRET, None);
        let second = choose(&platform, "", Some(&cookie(&first)));
        let session = cookie(&first);
        let (first, second) = (state(&first), if same { state(&first) } else { state(&second) });
        let inner_session = session.clone();
        let inner = Rc::new(Cell::new(0));
        let (seen, nested) = (Rc::clone(&inner), Cell::new(false));
        platform.serve(move |platform, request| {
            if request.url.path().contains("first") && !nested.replace(true) {
                seen.set(callback_in(platform, Some(&inner_session), "second", &second).status);
            }
            let name = if request.url.path().contains("first") { "first" } else { "second" };
            answer(
                201,
                &json!({
                    "id": 7, "slug": name, "name": name, "pem": pem(), "webhook_secret": name,
                    "html_url": format!("https://github.com/apps/{name}"),
                }),
            )
        });
        let outer = callback_in(&platform, Some(&session), "first", &first).status;
        let app = Ledger(&platform).registration().app().unwrap().unwrap();
        let secret = Settings(&platform).webhook_secret().unwrap();
        let (inner, kept) = (inner.get(), if same { "first" } else { "second" });
        assert_eq!((outer, inner), if same { (200, 409) } else { (409, 200) });
        assert!(app.slug == kept && secret.matches(kept), "{app:?}");
        assert_eq!(registrations(&platform).len(), 1, "of the one that is kept");
    }
}

#[test]
fn a_process_that_dies_anywhere_keeps_no_half_app_and_can_be_begun_again() {
    for lives in 0..40 {
        let platform = unconfigured();
        platform.lives.set(Some(lives));
        let chosen = choose(&platform, SECRET, None);
        let died = chosen.text.is_none() || callback(&platform, "c0de", &chosen).text.is_none();
        platform.lives.set(None);
        if Ledger(&platform).registration().app().unwrap().is_none() {
            assert!(Settings(&platform).webhook_secret().is_err() && Settings(&platform).app_key().is_err());
            // gha-slurm is started again, and the lease of the dead one is over.
            let another = "another-setup-secret-of-32-chars";
            platform.set_variable("setup_secret", Some(another));
            platform.seconds.set(platform.seconds.get() + 1);
            let mut status = callback(&platform, "c0de", &choose(&platform, another, None)).status;
            if status != 200 {
                platform.seconds.set(platform.seconds.get() + 61);
                let third = "a-third-setup-secret-of-32-chars";
                platform.set_variable("setup_secret", Some(third));
                status = callback(&platform, "c0de", &choose(&platform, third, None)).status;
            }
            assert_eq!(status, 200, "died after {lives} operations");
        }
        assert!(Settings(&platform).webhook_secret().is_ok() && Settings(&platform).app_key().is_ok());
        if !died {
            return;
        }
    }
    panic!("it needs more operations than that");
}

#[test]
fn what_is_kept_shows_no_secret_by_its_key() {
    let platform = unconfigured();
    let chosen = choose(&platform, SECRET, None);
    let (state, session) = (state(&chosen), cookie(&chosen));
    let session = session.split_once('=').unwrap().1;
    for key in platform.keys() {
        assert!(![SECRET, &state, session].iter().any(|secret| key.contains(secret)), "{key}");
    }
    assert!(!format!("{:?}", chosen.log).contains(&state));
    assert!(platform.get("gha-slurm/1/github/app").unwrap().is_none());
}

proptest! {
    #[test]
    fn nothing_that_a_stranger_sends_opens_it_or_breaks_it(
        method in "(GET|POST|PUT)",
        path in "/setup(/callback|/|/x)?",
        query in "(secret|state|code)=[ -~]{0,60}",
        body in "[ -~]{0,200}",
        cookie in "(gha-slurm-setup=)?[ -~]{0,60}",
    ) {
        let platform = unconfigured();
        let answer = send(&platform, &method, &path, &query, &body, Some(&cookie));
        prop_assert!((400..500).contains(&answer.status), "{}", answer.status);
        prop_assert!(platform.sent.borrow().is_empty());
        prop_assert!(Ledger(&platform).registration().app().unwrap().is_none());
    }

    #[test]
    fn what_a_person_types_is_shown_as_text(name in "[!-~]{1,34}") {
        let page = |name: &str| {
            let fields = [("account", "personal"), ("name", name), ("secret", SECRET)];
            let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            page_of(&send(&unconfigured(), "POST", "/setup", "", &form, None))
        };
        prop_assert_eq!(page(&name).matches(['<', '>', '"']).count(), page("n").matches(['<', '>', '"']).count());
    }
}

#[test]
fn the_page_says_where_deliveries_go_that_are_read() {
    let platform = unconfigured();
    let received = page_of(&choose(&platform, SECRET, None));
    assert!(received.contains("api/github/webhooks") && !received.contains("gha-slurm.invalid"), "{received}");
    let platform = unconfigured();
    platform.set_variable("webhooks", Some("poll"));
    let read = page_of(&choose(&platform, SECRET, None));
    assert!(read.contains("https://gha-slurm.invalid/") && !read.contains("api/github/webhooks"), "{read}");
    assert!(read.contains("GitHub shows these deliveries as failed"), "{read}");
}
