//! The webhook events that tell that the App lost repositories: `installation` and `installation_repositories`. GitHub
//! sends them to every App.
//!
//! A token that is kept for such a repository would be handed out until it expires, to a job that the App has no business
//! with any more. What these events are not about, such as a new installation, is none of ours.

use gha_slurm_core::identity::RepositoryId;
use serde_json::Value;

use crate::events::{MalformedPayload, json};

/// The action of an event that takes repositories away, and the field that lists them.
fn lists(event: &str) -> Option<(&'static str, &'static str)> {
    match event {
        "installation" => Some(("deleted", "repositories")),
        "installation_repositories" => Some(("removed", "repositories_removed")),
        _ => None,
    }
}

/// Whether an event with this action may take repositories away.
pub(crate) fn may_remove(event: &str, action: Option<&str>) -> bool {
    lists(event).is_some_and(|(removes, _)| action.is_none_or(|action| action == removes))
}

/// The repositories that the App cannot reach any more, by a delivery of `event`; `None` when `event` is another one.
pub fn removed(event: &str, body: &[u8]) -> Option<Result<Vec<RepositoryId>, MalformedPayload>> {
    let (action, list) = lists(event)?;
    // Types of its own would make the component larger than this rare event is worth.
    Some(json(body).map(|event: Value| {
        let due = event.get("action").is_some_and(|told| told == action);
        let gone = event.get(list).and_then(Value::as_array).filter(|_| due).map(Vec::as_slice).unwrap_or_default();
        let id = |repository: &Value| repository.get("id").and_then(Value::as_u64).map(RepositoryId);
        gone.iter().filter_map(id).collect()
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(event: &str, body: &Value) -> Vec<u64> {
        removed(event, body.to_string().as_bytes()).unwrap().unwrap().iter().map(|id| id.0).collect()
    }

    #[test]
    fn an_uninstalled_app_loses_all_repositories_and_a_smaller_installation_some() {
        let all = json!({"action": "deleted", "repositories": [{"id": 1, "name": "x"}, {"id": 2}]});
        assert_eq!(of("installation", &all), [1, 2]);
        let some = json!({"action": "removed", "repositories_added": [], "repositories_removed": [{"id": 3}]});
        assert_eq!(of("installation_repositories", &some), [3]);
    }

    #[test]
    fn what_takes_nothing_away_removes_nothing() {
        for (event, body) in [
            ("installation", json!({"action": "created", "repositories": [{"id": 1}]})),
            ("installation", json!({"action": "suspend"})),
            ("installation", json!({"action": "deleted", "repositories": null})),
            ("installation_repositories", json!({"action": "added", "repositories_removed": []})),
        ] {
            assert!(of(event, &body).is_empty(), "{body}");
        }
        assert!(removed("push", b"no JSON").is_none());
    }

    #[test]
    fn what_is_no_json_is_malformed_and_what_is_no_such_payload_removes_nothing() {
        for body in ["", "{"] {
            assert!(removed("installation", body.as_bytes()).unwrap().is_err(), "{body}");
        }
        for body in [json!([1]), json!({"action": "deleted", "repositories": [{"id": "1"}, 2]}), json!({"action": 1})] {
            assert!(of("installation", &body).is_empty(), "{body}");
        }
    }
}
