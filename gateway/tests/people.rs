//! Who on GitHub may be which Slurm user, and what the node is told of it, over HTTP.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::slurmrestd::{Shared, rest, slurmrestd};
use support::{App, Gateway, ONE, SECRET, TWO, post_json};

/// A gateway before a fake Slurm; `daemon` and `bin` are users of every machine.
struct Site {
    gateway: Gateway,
    slurm: Shared,
    app: std::sync::Arc<App>,
    folder: tempfile::TempDir,
    launches: u64,
}

fn yaml(folder: &std::path::Path, more: &str) -> String {
    let at = folder.display();
    format!(
        "listen: 127.0.0.1:0\nghaSharedSecret: {SECRET}\nstateDirectory: {at}\njob: {{runner: {at}/runner}}\n\
         repositories:\n- {{gitHubURL: 'https://github.com/{ONE}', slurmUser: nobody, repositoryId: 900}}\n\
         - {{gitHubURL: 'https://github.com/octo-org/*', slurmUser: daemon}}\n{more}\n"
    )
}

impl Site {
    async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, slurm) = slurmrestd(true).await;
        let more = more.replace("FOLDER", &folder.path().display().to_string());
        let text = yaml(folder.path(), &format!("{more}\n{}", rest(&url, folder.path())));
        let gateway = Gateway::start(folder.path(), &text);
        Self { gateway, slurm, app: App::start().await, folder, launches: 0 }
    }

    /// A launch with these further fields: the status, the field that is named, and the message.
    async fn launch(&mut self, repository: &str, more: Value) -> (u16, String, String) {
        self.launches += 1;
        let mut request = self.app.request(self.launches, repository, "a");
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, answer) = post_json(&self.gateway.url, "/runner/start", &request).await;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        (status, text("field"), text("message"))
    }

    fn last(&self) -> Value {
        self.slurm.lock().unwrap().jobs.last().cloned().unwrap_or_default()
    }

    fn policy(&self) -> Vec<String> {
        let job = self.last();
        let all = job["environment"].as_array().unwrap();
        let one = all.iter().find_map(|each| each.as_str().unwrap().strip_prefix("GHA_SLURM_POLICY="));
        one.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

fn by(login: &str, id: u64, user: &str) -> Value {
    json!({"person": {"login": login, "id": id}, "slurmUser": user})
}

const TABLE: &str = "minUid: 1\npeople:\n  table:\n    ada: bin\n    grace: {id: 4711, slurmUsers: [bin, daemon]}\n    \
                     toor: {slurmUsers: [nobody-at-all]}\n  block: [mallory, '@left']\n  groups: {left: [dan]}";

#[tokio::test]
async fn a_person_runs_as_who_the_site_lets_it_be() {
    let mut site = Site::start(TABLE).await;
    assert_eq!(site.launch(ONE, by("Ada", 1, "bin")).await.0, 200);
    assert_eq!(site.last()["user_name"], "bin");
    assert_eq!(
        site.policy(),
        [
            "server https://github.com",
            "user bin",
            "repository octo-org/one",
            "repository-id 900 octo-org/one",
            "public never",
            "forks never",
            "block mallory",
            "block dan",
            "person 1 ada",
            "person 4711 grace",
        ]
    );
    assert_eq!(site.launch(ONE, by("grace", 4711, "daemon")).await.0, 200);
    let jobs = site.slurm.lock().unwrap().jobs.len();
    let mut no = async |more: Value, status: u16, field: &str, says: &str| {
        let answer = site.launch(ONE, more.clone()).await;
        assert!(answer.0 == status && answer.1 == field && answer.2.contains(says), "{more}: {answer:?}");
    };
    no(by("ada", 1, "daemon"), 422, "slurmUser", "do not let ada run as daemon").await;
    no(by("eve", 1, "bin"), 422, "slurmUser", "do not let eve run as bin").await;
    no(by("grace", 12, "bin"), 422, "slurmUser", "another one has the login").await;
    no(by("hopper", 4711, "bin"), 422, "slurmUser", "is called hopper now").await;
    no(by("MALLORY", 1, "bin"), 422, "person", "people.block").await;
    no(by("dan", 1, "bin"), 422, "person", "people.block").await;
    no(json!({"person": {"login": "Dan", "id": 1}}), 422, "person", "people.block").await;
    no(json!({"slurmUser": "bin"}), 422, "person", "needed").await;
    no(by("ada", 1, "root"), 403, "", "do not run as root").await;
    no(by("toor", 1, "nobody-at-all"), 422, "", "no user nobody-at-all").await;
    no(json!({"slurmUser": "--uid=0"}), 422, "slurmUser", "not the name of a Slurm user").await;
    no(json!({"person": {"login": "a b", "id": 1}}), 422, "person.login", "not a GitHub login").await;
    no(json!({"repositoryId": 901}), 422, "repositoryId", "is repository 900").await;
    no(json!({"level": "galaxy"}), 422, "level", "").await;
    assert_eq!(site.slurm.lock().unwrap().jobs.len(), jobs, "nothing of it is in Slurm");
    let (status, ..) = site.launch("stranger/x", by("ada", 1, "bin")).await;
    assert_eq!(status, 422, "a repository of an owner that nobody mapped");
}

#[tokio::test]
async fn a_repositorys_own_user_needs_no_person() {
    let mut site =
        Site::start("policy: {events: [push, 'pull_request*']}\nslurmUsers: {daemon: {policy: {public: true}}}").await;
    assert_eq!(site.launch(TWO, json!({"repositoryId": 7})).await.0, 200);
    assert_eq!(site.last()["user_name"], "daemon");
    assert_eq!(
        site.policy(),
        [
            "server https://github.com",
            "user daemon",
            // Not octo-org/*, because one of them is another user's.
            "repository octo-org/two",
            "repository-id 7 octo-org/two",
            "public allow",
            "forks never",
            "event push",
            "event pull_request*",
        ]
    );
    let (status, field, message) = site.launch(TWO, by("ada", 1, "daemon")).await;
    assert!(status == 422 && field == "slurmUser" && message.contains("people of the gateway"), "{message}");
}

#[tokio::test]
async fn an_organizations_runner_is_for_what_its_person_may() {
    let mut site = Site::start(TABLE).await;
    let mut more = by("ada", 1, "bin");
    more["level"] = "organization".into();
    assert_eq!(site.launch(TWO, more).await.0, 200);
    let page = "GHA_SLURM_OWNER_PAGE=https://github.com/octo-org";
    assert!(site.last()["environment"].as_array().unwrap().contains(&json!(page)));
    let policy = site.policy();
    assert!(policy.contains(&"repository octo-org/*".to_owned()), "{policy:?}");
    assert!(policy.contains(&"repository-id 900 octo-org/one".to_owned()), "{policy:?}");
}

#[tokio::test]
async fn a_services_user_is_not_for_a_workflow_to_name() {
    let mut site = Site::start(&TABLE.replace("minUid: 1\n", "")).await;
    let (status, _, message) = site.launch(ONE, by("ada", 1, "bin")).await;
    assert!(status == 403 && message.contains("below minUid (1000)"), "{message}");
    assert_eq!(site.launch(TWO, json!({})).await.0, 200, "for an administrator it is");
}

#[tokio::test]
async fn what_cannot_be_asked_is_for_later() {
    let command = "minUid: 1\npeople: {file: FOLDER/people.yaml, command: [/bin/sh, FOLDER/map, '{login}', '{id}']}";
    let start = async || {
        let folder = tempfile::tempdir().unwrap();
        let (url, slurm) = slurmrestd(true).await;
        let at = folder.path().display().to_string();
        std::fs::write(folder.path().join("people.yaml"), "ada: bin\n").unwrap();
        let text = format!("{}\n{}", command.replace("FOLDER", &at), rest(&url, folder.path()));
        let gateway = Gateway::start(folder.path(), &yaml(folder.path(), &text));
        Site { gateway, slurm, app: App::start().await, folder, launches: 0 }
    };
    let mut site = start().await;
    let map = site.folder.path().join("map");
    let people = site.folder.path().join("people.yaml");
    for (script, status) in [
        ("echo daemon", 200),
        ("exit 1", 503),
        ("echo daemon has no answer", 503),
        ("sleep 30", 503),
        ("", 422),
        ("echo root", 422),
    ] {
        std::fs::write(&map, script).unwrap();
        let begun = Instant::now();
        // Each time another account, so that no answer is kept.
        let (told, _, message) = site.launch(ONE, by("bob", site.launches + 10, "daemon")).await;
        assert_eq!(told, status, "{script}: {message}");
        assert!(begun.elapsed() < Duration::from_secs(7), "{script}");
    }
    std::fs::write(&map, "echo root").unwrap();
    assert_eq!(site.launch(ONE, by("bob", 1, "root")).await.0, 403, "whatever a command says");
    std::fs::write(&map, "").unwrap();
    assert_eq!(site.launch(ONE, by("ada", 1, "bin")).await.0, 200);
    std::fs::write(&people, "eve: bin\n").unwrap();
    assert_eq!(site.launch(ONE, by("ada", 1, "bin")).await.0, 422, "the file is another one now");
    assert_eq!(site.launch(ONE, by("eve", 1, "bin")).await.0, 200);
    std::fs::write(&people, "eve: [\n").unwrap();
    assert_eq!(site.launch(ONE, by("eve", 1, "bin")).await.0, 503);
    assert_eq!(site.slurm.lock().unwrap().jobs.len(), 3);
}

#[tokio::test]
async fn who_is_charged_is_for_the_gateway_to_open() {
    let open = "slurmUsers: {daemon: {account: physics, accounts: [lab], qoses: [high]}}";
    let mut site = Site::start(open).await;
    assert_eq!(site.launch(TWO, json!({"account": "lab", "qos": "high"})).await.0, 200);
    assert_eq!((&site.last()["account"], &site.last()["qos"]), (&json!("lab"), &json!("high")));
    assert_eq!(site.launch(TWO, json!({})).await.0, 200);
    assert_eq!((&site.last()["account"], &site.last()["qos"]), (&json!("physics"), &Value::Null));
    for (field, value) in [("account", "chemistry"), ("qos", "normal"), ("account", "-x")] {
        let answer = site.launch(TWO, json!({field: value})).await;
        assert_eq!((answer.0, answer.1.as_str()), (422, field), "{value}");
    }
    assert_eq!(site.launch(ONE, json!({"qos": "any"})).await.1, "qos", "nothing is open that is not named");
}

#[tokio::test]
async fn without_a_check_at_the_node_there_are_no_people_and_no_organizations() {
    let mut site = Site::start(&format!("jobTemplate: '#!/bin/bash'\n{TABLE}")).await;
    for (more, field) in [(by("ada", 1, "bin"), "slurmUser"), (json!({"level": "organization"}), "level")] {
        let answer = site.launch(ONE, more).await;
        assert!(answer.0 == 422 && answer.1 == field && answer.2.contains("jobTemplate"), "{answer:?}");
    }
    assert_eq!(site.launch(ONE, json!({})).await.0, 200);
    assert_eq!(site.policy(), [""; 0]);
    assert!(site.gateway.log().contains("no check runs at the node"), "{}", site.gateway.log());
}

#[tokio::test]
async fn slurm_and_the_audit_log_tell_who_it_was() {
    let mut site = Site::start(&format!("auditLog: FOLDER/audit.jsonl\n{TABLE}")).await;
    let mut more = by("Ada", 583_231, "bin");
    more.as_object_mut().unwrap().extend(json!({"runId": 77, "repositoryId": 900}).as_object().unwrap().clone());
    assert_eq!(site.launch(ONE, more).await.0, 200);
    assert_eq!(site.last()["comment"], format!("https://github.com/{ONE} by Ada"));
    assert_eq!(site.launch(ONE, by("Eve", 2, "bin")).await.0, 422);
    let text = std::fs::read_to_string(site.folder.path().join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (key, value) in [
        ("launch", json!("1-1")),
        ("person", json!({"login": "Ada", "id": 583_231})),
        ("slurm_user", json!("bin")),
        ("repository_id", json!(900)),
        ("run", json!(77)),
    ] {
        assert_eq!(lines[0][key], value, "{}", lines[0]);
    }
    assert_eq!((&lines[1]["person"]["login"], &lines[1]["outcome"]), (&json!("Eve"), &json!("refused")));
}

#[test]
fn check_says_who_a_person_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    let check = |people: &str, who: &str, url: &str| {
        std::fs::write(&path, yaml(folder.path(), people)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
        let output = command.arg("--config").arg(&path).args(["check", "--person", who, "--repository", url]).output();
        let output = output.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let one = format!("https://github.com/{ONE}");
    let command = format!("{TABLE}\n  command: [/bin/sh, -c, 'echo mail', x, '{{login}}']");
    assert_eq!(check(TABLE, "Grace", &one), (0, format!("Grace: bin, daemon for {one}\n")));
    assert_eq!(check(TABLE, "grace:12", &one), (1, format!("grace: no Slurm user for {one}\n")));
    assert_eq!(check(&command, "grace", &one), (0, format!("grace: bin, daemon, mail for {one}\n")));
    assert_eq!(check(&command.replace("echo mail", "exit 1"), "grace", &one).0, 1);
    assert!(check(TABLE, "mallory", &one).1.contains("people.block"));
    assert!(check("", "ada", &one).1.contains("people is not set"));
    assert_eq!(check(TABLE, "a b", &one).0, 2);
}
