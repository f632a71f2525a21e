//! The webhook events that tell that the App lost repositories: `installation` and `installation_repositories`. GitHub
//! sends them to every App.
//!
//! A token that is kept for such a repository would be handed out until it expires, to a job that the App has no business
//! with any more. What these events are not about, such as a new installation, is none of ours.

use serde::Deserialize;

use super::events::MalformedPayload;
use crate::identity::RepositoryId;

#[derive(Deserialize)]
struct Event {
    action: String,
    /// Those of an `installation`; of a suspended one GitHub does not name them.
    #[serde(default)]
    repositories: Option<Vec<Repository>>,
    #[serde(default)]
    repositories_removed: Option<Vec<Repository>>,
}

#[derive(Deserialize)]
struct Repository {
    id: RepositoryId,
}

/// The repositories that the App cannot reach any more, by a delivery of `event`; `None` when `event` is another one.
pub fn removed(event: &str, body: &[u8]) -> Option<Result<Vec<RepositoryId>, MalformedPayload>> {
    let action = match event {
        "installation" => "deleted",
        "installation_repositories" => "removed",
        _ => return None,
    };
    Some(MalformedPayload::read::<Event>(body).map(|event| {
        let listed = if action == "deleted" { event.repositories } else { event.repositories_removed };
        let gone = listed.filter(|_| event.action == action).unwrap_or_default();
        gone.into_iter().map(|repository| repository.id).collect()
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
    fn what_is_not_such_a_payload_is_malformed() {
        for body in ["", "[1]", r#"{"action": "deleted", "repositories": [{"id": "1"}]}"#, r#"{"repositories": []}"#] {
            assert!(removed("installation", body.as_bytes()).unwrap().is_err(), "{body}");
        }
    }
}
