use serde_json::json;

use super::*;
use crate::identity::{InstallationId, RepositoryId};
use crate::ports::HttpMethod;
use crate::testing::{Memory, answer};
use gha_slurm_protocol::identity::JobId;

const MOVED_TO: &str = "https://api.github.com/repositories/7/actions/jobs/1";

fn token() -> InstallationToken {
    let token = Secret::new("ghs_x");
    InstallationToken {
        token,
        expires_at: "2027-01-15T09:00:00Z".to_owned(),
        installation: InstallationId(9),
        made_at: 0,
    }
}

fn ask(platform: &Memory) -> Result<JobInfo, GitHubError> {
    let api = Url::parse("https://api.github.com/").unwrap();
    let settings = GitHubSettings { app_id: "1".to_owned(), api };
    let name = "octo/old".to_owned().try_into().unwrap();
    GitHub::new(platform, settings, Duration::from_secs(20)).job(&token(), At::Name(&name), JobId(1))
}

fn redirect(to: &str) -> HttpResponse {
    let headers = vec![("Location".to_owned(), to.to_owned())];
    HttpResponse { status: 301, headers, body: json!({"message": "Moved Permanently"}).to_string().into_bytes() }
}

#[test]
fn a_repository_is_called_by_its_id() {
    assert_eq!(At::Id(RepositoryId(7)).to_string(), "repositories/7");
}

#[test]
fn a_redirect_within_the_api_is_followed_by_the_same_call() {
    let platform = Memory::new();
    platform.serve(|_, request| match request.url.as_str() {
        MOVED_TO => answer(200, &json!({"id": 1, "status": "queued"})),
        _ => Ok(redirect(MOVED_TO)),
    });
    assert_eq!(ask(&platform).unwrap().status, JobStatus::Queued);
    let sent = platform.sent.borrow();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|request| request.method == HttpMethod::Get
        && request.headers.contains(&("authorization", "Bearer ghs_x".to_owned()))));
}

#[test]
fn a_token_goes_to_no_other_origin_and_no_redirect_goes_on_for_ever() {
    for elsewhere in [
        "https://evil.example/repositories/7/actions/jobs/1",
        "http://api.github.com/repositories/7/actions/jobs/1",
        "https://api.github.com:8443/repositories/7/actions/jobs/1",
        "https://user@api.github.com/repositories/7/actions/jobs/1",
        "//evil.example/x",
    ] {
        let platform = Memory::new();
        platform.serve(|_, _| Ok(redirect(elsewhere)));
        assert!(matches!(ask(&platform), Err(GitHubError::NotFound(_))), "{elsewhere}");
        assert_eq!(platform.sent.borrow().len(), 1, "{elsewhere}");
    }
    let platform = Memory::new();
    platform.serve(|_, _| Ok(redirect(MOVED_TO)));
    assert!(matches!(ask(&platform), Err(GitHubError::NotFound(_))));
    assert_eq!(platform.sent.borrow().len(), 1 + MOST_REDIRECTS as usize);
}

#[test]
fn what_a_proxy_refuses_is_no_refusal_of_githubs() {
    let platform = Memory::new();
    let body = b"<html>Blocked by policy</html>".to_vec();
    platform.serve(move |_, _| Ok(HttpResponse { status: 403, headers: Vec::new(), body: body.clone() }));
    let error = ask(&platform).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Away);
    assert!(error.told().contains("a proxy or a firewall"), "{}", error.told());
}

#[test]
fn an_app_that_the_server_does_not_know_has_no_valid_credential() {
    let platform = Memory::new();
    platform.serve(|_, _| answer(404, &json!({"message": "Integration not found"})));
    let error = ask(&platform).unwrap_err();
    assert_eq!((error.kind(), error.reason()), (FailureKind::Unauthorized, Some(Reason::App)));
}
