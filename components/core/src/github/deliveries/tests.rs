use std::time::Duration;

use gha_slurm_protocol::secret::Secret;
use serde_json::{Value, json};

use super::*;
use crate::github::client::{Permission, Until};
use crate::identity::{InstallationId, RepositoryId};
use crate::ports::HttpRequest;
use crate::settings::Settings;
use crate::testing::{Memory, answer};

fn github(platform: &Memory) -> GitHub<'_, Memory> {
    GitHub::new(platform, Settings(platform).github().unwrap(), Duration::from_secs(20))
}

fn jwt() -> Secret {
    Secret::new("jwt")
}

fn whole() -> Value {
    json!({
        "id": 7, "guid": "g-1", "event": "workflow_job", "action": "queued",
        "request": {
            "headers": {"X-GitHub-Hook-Installation-Target-ID": "123456", "X-GitHub-Event": "workflow_job"},
            "payload": {"action": "queued", "workflow_job": {"id": u64::MAX}},
        },
        "response": {"headers": {}, "payload": null},
    })
}

/// What is read of an answer.
fn read(status: u16, body: &Value) -> Result<WholeDelivery, ReadError> {
    let platform = Memory::configured();
    let body = body.clone();
    platform.serve(move |_, _| answer(status, &body));
    github(&platform).whole_deliveries(&jwt(), &[7]).unwrap().pop().unwrap()
}

#[test]
fn a_delivery_has_its_event_its_guid_and_its_payload_to_the_last_digit() {
    let delivery = read(200, &whole()).unwrap();
    assert_eq!((delivery.event.as_str(), delivery.guid), ("workflow_job", DeliveryId::try_from("g-1".to_owned()).ok()));
    assert_eq!(serde_json::from_slice::<Value>(&delivery.payload).unwrap(), whole()["request"]["payload"]);
}

#[test]
fn reading_stops_where_little_is_left_of_the_limit_and_tokens_are_made_all_the_same() {
    let platform = Memory::configured();
    let reset = (platform.unix_seconds() + 1200).to_string();
    platform.serve(move |_, request| {
        let mut made = match request.url.path().ends_with("access_tokens") {
            true => answer(201, &json!({"token": "ghs_x", "expires_at": "2027-01-15T09:00:00Z"}))?,
            false => answer(200, &whole())?,
        };
        for (name, value) in [("limit", "5000"), ("remaining", "999"), ("reset", &*reset)] {
            made.headers.push((format!("x-ratelimit-{name}"), value.to_owned()));
        }
        Ok(made)
    });
    let now = github(&platform);
    assert!(now.whole_deliveries(&jwt(), &[7]).unwrap().pop().unwrap().is_ok(), "what came is used");
    for refused in [
        now.whole_deliveries(&jwt(), &[8]).map(drop),
        now.new_deliveries(&jwt(), None).map(drop),
        now.redeliver(&jwt(), 7),
    ] {
        let Err(GitHubError::Unavailable { retry_after, until, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((retry_after, until), (1200, Until::LimitEnds));
    }
    let made = now.installation_token(&jwt(), InstallationId(9), RepositoryId(7), Permission::ActionsRead);
    assert!(made.is_ok(), "{made:?}");
    assert_eq!(platform.sent.borrow().len(), 2);
    platform.seconds.set(platform.seconds.get() + 1200);
    assert!(github(&platform).whole_deliveries(&jwt(), &[8]).is_ok());
}

#[test]
fn what_cannot_be_read_is_told_apart_from_a_github_that_is_away() {
    let with = |pointer: &str, value: Value| {
        let mut body = whole();
        *body.pointer_mut(pointer).unwrap() = value;
        read(200, &body)
    };
    let not_found = json!({"message": "Not Found"});
    for (status, told) in [(404, &not_found), (410, &json!({"message": "Gone"}))] {
        assert!(matches!(read(status, told), Err(ReadError::Unreadable(Unreadable::Gone(_)))), "{status}");
    }
    for bad in [json!(null), json!("{}"), json!([1]), json!(7)] {
        let error = with("/request/payload", bad.clone()).unwrap_err();
        assert!(matches!(error, ReadError::Unreadable(Unreadable::Malformed(_))), "payload {bad}: {error}");
        for pointer in ["/event", "/guid"] {
            if !bad.is_string() {
                let error = with(pointer, bad.clone()).unwrap_err();
                assert!(matches!(error, ReadError::Unreadable(Unreadable::Malformed(_))), "{pointer} {bad}: {error}");
            }
        }
    }
    assert!(matches!(read(200, &json!([])), Err(ReadError::Unreadable(Unreadable::Malformed(_)))));
    assert!(matches!(with("/request", json!(null)), Err(ReadError::Unreadable(Unreadable::Malformed(_)))));

    let platform = Memory::configured();
    platform.serve(|_, _| Err(SendError::TooLarge));
    let too_large = github(&platform).whole_deliveries(&jwt(), &[7]).unwrap().pop().unwrap();
    assert_eq!(too_large, Err(Unreadable::TooLarge.into()));

    assert!(matches!(read(502, &json!({})), Err(ReadError::GitHub(GitHubError::Unavailable { .. }))));
    assert!(matches!(read(401, &not_found), Err(ReadError::GitHub(GitHubError::Unauthorized(_)))));
    let app_unknown = json!({"message": "Integration not found"});
    assert!(matches!(read(404, &app_unknown), Err(ReadError::GitHub(GitHubError::Unauthorized(_)))));
}

#[test]
fn a_delivery_of_another_app_is_refused_by_its_header() {
    let of = |target: Value| {
        let mut body = whole();
        body["request"]["headers"] = json!({"x-github-hook-installation-target-id": target});
        read(200, &body)
    };
    for other in [json!("654321"), json!(654_321)] {
        assert_eq!(of(other), Err(Unreadable::OtherApp(654_321).into()));
    }
    for ours in [json!("123456"), json!(123_456), json!(null)] {
        assert!(of(ours).is_ok());
    }
}

#[test]
fn an_unchanged_list_is_no_page_and_a_tag_goes_back_as_it_came() {
    let platform = Memory::configured();
    platform.serve(|_, request: &HttpRequest| {
        let sent = request.headers.iter().find(|(name, _)| *name == "if-none-match").map(|(_, tag)| tag.as_str());
        match sent {
            Some("W/\"1\"") => Ok(HttpResponse { status: 304, headers: Vec::new(), body: Vec::new() }),
            _ => {
                let headers = vec![("ETag".to_owned(), "W/\"1\"".to_owned())];
                Ok(HttpResponse { status: 200, headers, body: b"[]".to_vec() })
            }
        }
    });
    let github = github(&platform);
    let first = github.new_deliveries(&jwt(), None).unwrap().unwrap();
    assert_eq!(first.etag.as_deref(), Some("W/\"1\""));
    assert!(github.new_deliveries(&jwt(), first.etag.as_deref()).unwrap().is_none());
    assert!(github.new_deliveries(&jwt(), Some("W/\"2\"")).unwrap().is_some());
}

#[test]
fn a_tag_that_could_not_be_sent_back_is_none() {
    let of = |etag: &str| {
        let headers = vec![("etag".to_owned(), etag.to_owned())];
        page("x", &HttpResponse { status: 200, headers, body: b"[]".to_vec() }).unwrap().etag
    };
    assert_eq!(of("\"a\r\nb\""), None);
    assert_eq!(of(&"a".repeat(LONGEST_ETAG + 1)), None);
}

#[test]
fn a_limit_that_one_of_several_calls_meets_is_kept_for_all() {
    let platform = Memory::configured();
    platform.serve(|_, request| match request.url.path().ends_with("/7") {
        true => answer(200, &whole()),
        false => answer(429, &json!({"message": "You have exceeded a secondary rate limit."})),
    });
    let github = github(&platform);
    let read = github.whole_deliveries(&jwt(), &[7, 8]).unwrap();
    assert!(read[0].is_ok());
    let limited = |error: &GitHubError| matches!(error, GitHubError::Unavailable { until: Until::LimitEnds, .. });
    assert!(matches!(&read[1], Err(ReadError::GitHub(error)) if limited(error)));
    assert_eq!(platform.batches.borrow().as_slice(), [2]);
    assert!(github.whole_deliveries(&jwt(), &[9]).is_err_and(|error| limited(&error)), "nobody asks during it");
    assert_eq!(platform.sent.borrow().len(), 2);
}

#[test]
fn a_cursor_is_taken_from_the_link_to_the_next_page_if_it_is_plain() {
    let link = |cursor: &str| {
        format!("<https://api.github.com/app/hook/deliveries?per_page=100&cursor={cursor}>; rel=\"next\"")
    };
    assert_eq!(next_cursor(&link("v1_12")).as_deref(), Some("v1_12"));
    assert_eq!(next_cursor(&link("a%26b=c")), None);
    assert_eq!(next_cursor(&link("x").replace("next", "prev")), None);
}

#[test]
fn an_entry_that_cannot_be_read_hides_no_other() {
    let entry = |id: Value| json!({"id": id, "guid": "g", "status": "OK", "event": "push", "delivered_at": null, "action": null});
    let body = json!([entry(json!(2)), entry(json!("x")), 7, entry(json!(1))]).to_string().into_bytes();
    let page = page("x", &HttpResponse { status: 200, headers: Vec::new(), body }).unwrap();
    assert_eq!((page.deliveries.iter().map(|entry| entry.id).collect::<Vec<_>>(), page.malformed), (vec![2, 1], 2));
    assert_eq!(page.deliveries[0].at(), None);
}
