//! The answers are those that 22.05.8 (v0.0.36–38) and 24.11.5 (v0.0.40–42) gave.

use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::secret::Secret;

use super::*;

fn job() -> JobSpec {
    JobSpec {
        name: "gha-slurm-42-1".into(),
        user: "alice".into(),
        comment: "https://github.com/o/r".into(),
        script: Secret::new("#!/bin/bash\n"),
        environment: vec![("A".into(), Secret::new("b=c"))],
        resources: Resources {
            partition: Some("gha".parse().unwrap()),
            cpus: Some("2".parse().unwrap()),
            memory: Some("512".parse().unwrap()),
            gres: Some("gpu:2,disk:1".parse().unwrap()),
            time_limit: Some("5".parse().unwrap()),
            exclusive: true,
        },
        account: "physics".parse().ok(),
        qos: None,
        output: "/home/alice/%j".into(),
        directory: "/home/alice".into(),
    }
}

#[test]
fn numbers_and_environment_are_as_each_version_wants_them() {
    for version in [36, 37, 38] {
        let body = Version(version).submission(&job());
        assert_eq!(body["job"]["environment"], json!({"A": "b=c"}));
        assert_eq!(body["job"]["memory_per_node"], json!(512));
        assert_eq!(body["job"]["gres"], json!("gpu:2,disk:1"));
        assert_eq!(body["job"]["exclusive"], json!("exclusive"), "22.05 refuses true");
    }
    for version in 39..=44 {
        let body = Version(version).submission(&job());
        assert_eq!(body["job"]["environment"], json!(["A=b=c"]));
        assert_eq!(body["job"]["memory_per_node"], json!({"set": true, "infinite": false, "number": 512}));
        assert_eq!(body["job"]["time_limit"]["number"], json!(5));
        assert_eq!(body["job"]["tres_per_node"], json!("gres/gpu:2,gres/disk:1"));
        let exclusive = (body["job"].get("exclusive").cloned(), body["job"].get("shared").cloned());
        let expected = if version == 39 { (Some(json!(["true"])), None) } else { (None, Some(json!(["none"]))) };
        assert_eq!(exclusive, expected, "v0.0.{version}: 24.11 ignores `exclusive` with a warning");
        assert!(body["job"].get("gres").is_none() && body["job"].get("ntasks").is_none(), "unknown there");
    }
    assert!(Version(38).submission(&job())["job"].get("qos").is_none(), "what is not asked is not sent");
}

#[test]
fn the_newest_version_that_both_know_is_spoken() {
    let api = |versions: &[u32]| {
        let paths = versions.iter().map(|v| (format!("/slurm/v0.0.{v}/job/submit"), json!({}))).collect::<Map<_, _>>();
        json!({ "paths": paths })
    };
    assert_eq!(Version::newest_of(&api(&[36, 37, 38])), Some(Version(38)));
    assert_eq!(Version::newest_of(&api(&[40, 41, 42])), Some(Version(42)));
    assert_eq!(Version::newest_of(&api(&[43, 44, 45])), Some(Version(44)));
    assert_eq!(Version::newest_of(&api(&[35, 99])), None);
    assert_eq!(Version::newest_of(&json!({"paths": {"/slurmdb/v0.0.38/jobs": {}}})), None);
}

fn outcome(status: u16, body: &Value) -> BackendError {
    Failure::read(status, body).into()
}

#[test]
fn a_refusal_is_told_from_an_outage() {
    let old = |code: u64, words: &str| json!({"meta": {}, "errors": [{"error_code": code, "error": words}]});
    let new = |number: u64, words: &str| json!({"errors": [{"description": "Batch job submission failed", "error_number": number, "error": words, "source": "x"}], "warnings": []});
    for (status, body) in [
        (500, old(2000, "Invalid partition name specified")),
        (500, new(2000, "Invalid partition name specified")),
        (500, old(2014, "Requested node configuration is not available")),
        (400, old(2127, "Environment is missing in job")),
        (400, json!({})),
        (400, json!({"errors": [{"error": "Invalid exclusive specification", "error_code": -1}]})),
    ] {
        assert!(matches!(outcome(status, &body), BackendError::Refused(_)), "{body}");
    }
    assert_eq!(
        outcome(500, &old(2000, "Invalid partition name specified")),
        BackendError::Refused("Invalid partition name specified (2000)".into())
    );
    for (status, body) in [
        (500, old(1800, "Unable to contact slurm controller (connect failure)")),
        (500, old(2027, "Slurm backup controller in standby mode")),
        (500, json!({"errors": [{"description": "slurmctld config is unable to load", "error_number": -1}]})),
        (502, json!({})),
        (500, Value::Null),
        (500, json!({"errors": []})),
        (500, json!({"errors": "?"})),
    ] {
        assert!(matches!(outcome(status, &body), BackendError::Outage(_)), "{body}");
    }
    for (status, body) in [
        (500, new(1007, "Protocol authentication error")),
        (511, new(1007, "Protocol authentication error")),
        (401, json!({})),
    ] {
        assert!(matches!(Failure::read(status, &body), Failure::Unauthenticated(_)), "{body}");
    }
}

#[test]
fn a_ping_that_was_not_answered_is_seen() {
    let up =
        json!({"pings": [{"hostname": "n", "pinged": "UP", "responding": true, "mode": "primary", "primary": true}]});
    let down = json!({"pings": [{"hostname": "n", "pinged": "DOWN", "responding": false, "mode": "primary"}]});
    let old = |state: &str| json!({"pings": [{"hostname": "n", "ping": state, "mode": "primary"}], "errors": []});
    assert!(answers(&up) && answers(&old("UP")) && !answers(&old("DOWN")));
    assert!(!answers(&down), "what 24.11 says of a token that it does not accept, too");
    let with_backup = json!({"pings": [down["pings"][0], up["pings"][0]]});
    assert!(answers(&with_backup));
}

#[test]
fn a_200_is_read_to_its_end() {
    let ok = json!({"job_id": 17, "step_id": "BATCH", "job_submit_user_msg": "", "errors": []});
    assert_eq!(Submitted::read(&ok), Submitted::Runs(17));
    let new = json!({"job_id": 17, "warnings": [{"description": "x"}], "errors": [], "result": {"job_id": 17}});
    assert_eq!(Submitted::read(&new), Submitted::Runs(17));
    let pending_for_ever = json!({"job_id": 18, "errors": [{"error_code": 2015, "error": "not available now"}]});
    assert_eq!(Submitted::read(&pending_for_ever), Submitted::NeverFits(18, "not available now (2015)".into()));
    let held = json!({"job_id": 19, "errors": [{"error_code": 2042, "error": "held"}]});
    assert_eq!(Submitted::read(&held), Submitted::Runs(19));
    let refused = json!({"job_id": 0, "errors": [{"error_code": 2000, "error": "partition"}]});
    assert_eq!(Submitted::read(&refused), Submitted::Failed(Failure::Slurm(2000, "partition (2000)".into())));
    assert!(matches!(Submitted::read(&json!({"hello": 1})), Submitted::Failed(_)));
}

#[test]
fn a_job_is_found_by_name_and_user_and_its_state_read() {
    let old = json!({"jobs": [{"job_id": 5, "name": "gha-slurm-42-1", "user_name": "mallory", "job_state": "PENDING"},
        {"job_id": 3, "name": "gha-slurm-42-1", "user_name": "alice", "job_state": "RUNNING"}]});
    assert_eq!(newest_named(&old, "alice", "gha-slurm-42-1"), Some(3), "mallory's job of the same name is not ours");
    assert_eq!(newest_named(&old, "alice", "gha-slurm-42-10"), None);
    assert_eq!(state(&old), Some(State::new("PENDING", None)));
    let newer = json!({"jobs": [{"job_state": ["PENDING"], "state_reason": "Resources"}]});
    assert_eq!(state(&newer), Some(State::new("PENDING", Some("Resources"))));
    let over = json!({"jobs": [{"job_state": ["COMPLETED"], "state_reason": "None"}]});
    assert_eq!(state(&over), Some(State::new("COMPLETED", None)));
    assert_eq!(state(&json!({"jobs": []})), None);
    let unknown = json!({"status": [{"error": {"string": "Invalid job id specified", "code": 2017}}], "errors": []});
    assert!(Failure::inside(&unknown).is_some_and(|failure| failure.is_over()));
}
