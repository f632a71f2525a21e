//! The answers are those that 22.05.8 (v0.0.36–38) and 24.11.5 (v0.0.40–42) gave.

use super::*;
use crate::backend::Whose;
use crate::backend::asked::tests::job;

#[test]
fn numbers_and_environment_are_as_each_version_wants_them() {
    for version in [36, 37, 38] {
        let body = Version(version).submission(&job());
        assert_eq!(body["job"]["environment"], json!({"A": "b=c"}));
        assert_eq!(body["job"]["memory_per_node"], json!(512));
        assert_eq!(body["job"]["gres"], json!("gpu:2,disk:1"));
        assert_eq!(body["job"]["exclusive"], json!("exclusive"), "22.05 refuses true");
        assert_eq!((&body["job"]["nodes"], &body["job"]["constraints"]), (&json!("2"), &json!("a100&ib")));
        assert_eq!((&body["job"]["tmp"], &body["job"]["nice"]), (&Value::Null, &json!(100)));
        assert_eq!((&body["job"]["nodelist"], &body["job"]["exclude_nodes"]), (&json!("n[1-2]"), &json!("n3")));
        assert!(body["job"].get("required_nodes").is_none(), "22.05 refuses it");
        assert_eq!(body["job"].get("prefer").is_some(), version == 38, "older ones refuse it");
        let requeue = (body["job"].get("no_requeue"), body["job"].get("requeue"));
        assert_eq!(requeue, (Some(&json!(true)), None), "22.05 ignores requeue");
    }
    for version in 39..=46 {
        let body = Version(version).submission(&job());
        assert_eq!(body["job"]["environment"], json!(["A=b=c"]));
        assert_eq!((body["job"].get("requeue"), body["job"].get("no_requeue")), (Some(&json!(false)), None));
        assert_eq!(body["job"]["memory_per_node"], json!({"set": true, "infinite": false, "number": 512}));
        assert_eq!((&body["job"]["nodes"], &body["job"]["prefer"]), (&json!("2"), &json!("nvme|ssd")));
        assert_eq!(
            (&body["job"]["required_nodes"], &body["job"]["excluded_nodes"]),
            (&json!(["n[1-2]"]), &json!(["n3"]))
        );
        assert_eq!(body["job"]["temporary_disk_per_node"], json!(10_240), "no object");
        assert_eq!(body["job"]["time_limit"]["number"], json!(90));
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
    assert_eq!(Version::newest_of(&api(&[43, 44, 45, 46, 47])), Some(Version(46)));
    assert_eq!(Version::newest_of(&api(&[45])), Some(Version(45)));
    assert_eq!(Version::newest_of(&api(&[34, 35])), None);
    let newer = Version::newest_of(&api(&[35, 99, 98])).unwrap();
    assert_eq!((newer, newer.to_string().as_str()), (Version(98), "v0.0.98"), "by its own path");
    assert!(newer.doubt().unwrap().contains("newer than v0.0.46") && Version(46).doubt().is_none());
    assert_eq!(newer.submission(&job()), Version::NEWEST.submission(&job()), "in the newest known shapes");
    assert_eq!(Version::newest_of(&json!({"paths": {"/slurmdb/v0.0.38/jobs": {}}})), None);
}

fn outcome(status: u16, body: &Value) -> BackendError {
    Failure::read(status, body, None).into()
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
        assert!(matches!(Failure::read(status, &body, None), Failure::Unauthenticated(_)), "{body}");
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

const OWN: OwnJob<'_> = OwnJob { id: 3, user: "alice", name: "gha-slurm-42-1", begun: 1_795_830_560 };

fn state(body: &Value, own: OwnJob<'_>) -> Option<State> {
    found(body, own).and_then(Found::into_state)
}

/// Slurm tells a state and flags, in any order.
fn read(states: Value) -> Option<State> {
    let job =
        json!({"job_id": 3, "name": OWN.name, "user_name": OWN.user, "job_state": states, "state_reason": "None"});
    state(&json!({"jobs": [job]}), OWN)
}

#[test]
fn a_job_is_found_by_name_and_user_and_its_state_read() {
    let old = json!({"jobs": [{"job_id": 5, "name": "gha-slurm-42-1", "user_name": "mallory", "job_state": "RUNNING"},
        {"job_id": 3, "name": "gha-slurm-42-1", "user_name": "alice", "job_state": "PENDING"}]});
    let found = |name| newest_by_name(&old, "alice").get(name).copied();
    assert_eq!(found("gha-slurm-42-1"), Some(3), "mallory's job of the same name is not ours");
    assert_eq!(found("gha-slurm-42-10"), None);
    assert_eq!(state(&old, OWN), Some(State::new("PENDING", None)));
    let newer = json!({"jobs": [{"name": "gha-slurm-42-1", "user_name": "alice", "job_state": ["PENDING"],
        "state_reason": "Resources"}]});
    assert_eq!(state(&newer, OWN), Some(State::new("PENDING", Some("Resources"))));
    assert_eq!(read(json!(["COMPLETED"])), Some(State::new("COMPLETED", None)));
    assert_eq!(read(json!(["NODE_FAIL", "REQUEUED"])), Some(State::new("REQUEUED", None)), "about to run again");
    assert_eq!(read(json!("cancelled,completing")), Some(State::new("COMPLETING", None)));
    assert_eq!(state(&json!({"jobs": []}), OWN), None);
    let unknown = json!({"status": [{"error": {"string": "Invalid job id specified", "code": 2017}}], "errors": []});
    assert!(Failure::inside(&unknown).is_some_and(|failure| failure.is_over()));
}

#[test]
fn a_job_that_was_renamed_is_told_from_one_that_came_later() {
    let whose = |user: &str, submitted: Value, restarts: Value| {
        let job = json!({"job_id": 3, "name": "x", "user_name": user, "job_state": ["RUNNING"],
            "submit_time": submitted, "restart_cnt": restarts});
        found(&json!({"jobs": [job]}), OWN).map(|found| found.whose)
    };
    let object = |number: u64| json!({"set": true, "infinite": false, "number": number});
    assert_eq!(whose("alice", json!(1_795_830_561), json!(0)), Some(Whose::Own), "v0.0.38");
    assert_eq!(whose("alice", object(1_795_830_561), json!(0)), Some(Whose::Own), "v0.0.42");
    assert_eq!(whose("alice", object(1_795_917_000), json!(0)), Some(Whose::Anothers));
    assert_eq!(whose("alice", object(1_795_917_000), json!(1)), Some(Whose::Unclear), "requeued");
    assert_eq!(whose("alice", json!(null), json!(null)), Some(Whose::Unclear));
    assert_eq!(whose("mallory", json!(1_795_830_561), json!(0)), None, "another user's");
}

#[test]
fn what_passes_by_itself_is_for_later() {
    for number in [2050, 2070] {
        for status in [422, 500] {
            let body = json!({"errors": [{"error_number": number, "error": "x"}]});
            assert!(matches!(outcome(status, &body), BackendError::Later(_)), "{number}");
        }
    }
    let full = json!({"errors": [{"error_code": 11, "error": "Resource temporarily unavailable"}]});
    assert!(matches!(outcome(500, &full), BackendError::Later(words) if words.contains("MaxJobCount")), "22.05");
}

#[test]
fn a_slurmctld_that_is_down_is_told_from_a_token_that_is_not_accepted() {
    let body = json!({"errors": [{"description": "Unable to query JobId=81", "error_number": -1, "error": "Unspecified error"}]});
    let read = |version| Failure::read(500, &body, Some(Version(version)));
    assert!(matches!(read(38), Failure::Unclear(_)), "22.05 says the same of both");
    assert!(matches!(read(42), Failure::Unnumbered(_)), "so it is not asked twice");
    let denied = json!({"errors": [{"error_number": 1, "error": "Operation not permitted"}]});
    let failure = Failure::read(403, &denied, Some(Version(45)));
    assert!(matches!(BackendError::from(failure), BackendError::Outage(_)), "26.05's answer to a cancel");
    let ping = json!({"pings": [{"responding": false, "status": "Unable to contact slurm controller"}]});
    assert!(!answers(&ping) && ping_status(&ping) == Some("Unable to contact slurm controller"));
}

#[test]
fn what_can_never_run_is_seen_among_the_warnings() {
    let answer = |words: &str| json!({"job_id": 13, "errors": [], "warnings": [{"description": words, "source": "x"}]});
    let refused = Submitted::NeverFits(13, NEVER_FITS_WORDS.into());
    assert_eq!(Submitted::read(&answer("Requested partition configuration not available now")), refused);
    let passing = answer("Required node not available (down, drained or reserved)");
    assert_eq!(Submitted::read(&passing), Submitted::Runs(13));
}

#[test]
fn the_expected_start_of_a_pending_job_is_read_in_every_shape() {
    let start = |states: Value, time: Value| {
        let job = json!({"job_id": 3, "name": OWN.name, "user_name": OWN.user, "job_state": states,
            "state_reason": "Priority", "start_time": time});
        state(&json!({"jobs": [job]}), OWN).unwrap().start
    };
    let object = |set: bool, infinite: bool, number: u64| json!({"set": set, "infinite": infinite, "number": number});
    let pending = || json!(["PENDING"]);
    assert_eq!(start(json!("PENDING"), json!(1_795_765_238)), Some(1_795_765_238), "v0.0.38");
    assert_eq!(start(pending(), object(true, false, 1_795_765_245)), Some(1_795_765_245), "v0.0.42");
    for none in [json!(0), object(true, false, 0), object(false, false, 7), object(true, true, 7), json!({"set": true})]
    {
        assert_eq!(start(pending(), none.clone()), None, "{none}");
    }
    for none in [json!(null), json!("N/A"), json!(-1), json!([1]), json!({}), json!(1.5)] {
        assert_eq!(start(pending(), none.clone()), None, "{none}");
    }
    assert_eq!(start(json!(["RUNNING"]), object(true, false, 1_795_765_245)), None, "it has started");
    assert_eq!(start(json!(["PENDING", "REQUEUED"]), json!(1_795_765_245)), Some(1_795_765_245));
}
