//! The check alone, as a real bash process: what is allowed, and what is refused in which words.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::user;

const RULES: &str = "server https://github.com\nrepository octo/sim\nrepository-id 900 octo/sim\n";

/// A job, as GitHub tells the runner of it.
#[derive(Clone)]
struct Case {
    environment: BTreeMap<&'static str, String>,
    event: Vec<u8>,
    policy: String,
}

fn push() -> Case {
    let environment = [
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "Octo/Sim"),
        ("GITHUB_REPOSITORY_ID", "900"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_ACTOR", "Ada"),
        ("GITHUB_ACTOR_ID", "7"),
        ("GITHUB_TRIGGERING_ACTOR", "Ada"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_REF_NAME", "main"),
        ("GITHUB_WORKFLOW_REF", "Octo/Sim/.github/workflows/ci.yml@refs/heads/main"),
    ];
    let environment = environment.map(|(name, value)| (name, value.to_owned())).into();
    let event = json!({"repository": repository()}).to_string().into();
    Case { environment, event, policy: format!("{RULES}user {}\npublic never\nforks never\n", user()) }
}

fn repository() -> Value {
    json!({"id": 900, "private": true, "visibility": "private"})
}

impl Case {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.insert(name, value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    fn rule(mut self, lines: &str) -> Self {
        self.policy.push_str(lines);
        self
    }

    fn allowing(mut self, what: &str) -> Self {
        self.policy = self.policy.replace(&format!("{what} never"), &format!("{what} allow"));
        self
    }

    fn event(mut self, event: impl Into<Vec<u8>>) -> Self {
        self.event = event.into();
        self
    }

    fn named(self, name: &str, more: Value) -> Self {
        let mut event = json!({"repository": repository()});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.with("GITHUB_EVENT_NAME", name).event(event.to_string())
    }

    /// A pull request of the branch `main` of a repository of that id.
    fn pull(self, event: &str, head: Value) -> Self {
        let pull = json!({"pull_request": {"title": "t", "head": {"ref": "main", "repo": head}}});
        self.named(event, pull).with("GITHUB_HEAD_REF", "main").with("GITHUB_REF", "refs/pull/1/merge")
    }

    /// What the check decides. A refused one never ends by itself; then it is ended here.
    fn decision(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        self.decision_in(folder.path())
    }

    fn decision_in(&self, folder: &Path) -> String {
        let hook = folder.join("hook");
        std::fs::create_dir_all(&hook).unwrap();
        std::fs::write(hook.join("check.sh"), include_str!("../../src/script/check.sh")).unwrap();
        std::fs::write(hook.join("policy"), &self.policy).unwrap();
        std::fs::write(hook.join("user"), user()).unwrap();
        let event = folder.join("event.json");
        std::fs::write(&event, &self.event).unwrap();
        assert!(Command::new("mkfifo").arg(folder.join("said")).status().unwrap().success());
        let mut check = Command::new("bash");
        check.arg("-e").arg(hook.join("check.sh")).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        check.env("GITHUB_EVENT_PATH", &event).envs(&self.environment).stdout(Stdio::null());
        let mut check = check.spawn().unwrap();
        let said = std::io::BufReader::new(std::fs::File::open(folder.join("said")).unwrap());
        let mut lines = said.lines().map(Result::unwrap);
        let decision = lines.find(|line| line == "allowed" || line.starts_with("refused ")).unwrap_or_default();
        if decision == "allowed" {
            assert!(check.wait().unwrap().success());
        } else {
            assert!(check.try_wait().unwrap().is_none(), "it must not return");
            check.kill().unwrap();
            check.wait().unwrap();
        }
        decision
    }

    fn is_allowed(&self) {
        assert_eq!(self.decision(), "allowed", "{:?} {}", self.environment, String::from_utf8_lossy(&self.event));
    }

    fn is_refused(&self, words: &str) {
        let decision = self.decision();
        let event = String::from_utf8_lossy(&self.event[..self.event.len().min(400)]).into_owned();
        assert!(decision.starts_with("refused ") && decision.contains(words), "{decision:?} {words}: {event}");
    }
}

#[test]
fn what_the_policy_names_is_allowed() {
    push().is_allowed();
    push().rule("event pu*\nbranch ma*\nworkflow .github/workflows/ci.yml\nactor a*\nblock mallory\n").is_allowed();
    push().rule("person 7 ada\n").is_allowed();
    push().rule("person 0 ada\n").is_allowed();
    push().rule("person 8 grace\n").with("GITHUB_TRIGGERING_ACTOR", "Grace").is_allowed();
    push().rule("repository other/*\n").with("GITHUB_REPOSITORY", "other/x").is_allowed();
    push().with("GITHUB_ACTOR", "dependabot[bot]").rule("actor dependabot[bot]\nactor ada\n").is_allowed();
    push().event(json!({"repository": {"id": 900, "private": true}}).to_string()).is_allowed();
    push().allowing("public").event("{}").is_allowed();
    push().pull("pull_request", json!({"id": 900})).rule("branch main\n").is_allowed();
    push().allowing("forks").pull("pull_request", json!({"id": 901})).is_allowed();
    push().rule("branch refs/tags/v*\n").with("GITHUB_REF", "refs/tags/v1").is_allowed();
}

#[test]
fn what_it_does_not_name_is_refused_in_its_words() {
    push().with("GITHUB_SERVER_URL", "https://ghe.example").is_refused("is of https://ghe.example");
    push().with("GITHUB_REPOSITORY", "octo/sims").is_refused("octo/sims is not mapped to the Slurm user");
    push().with("GITHUB_REPOSITORY_ID", "901").is_refused("another id than the mapped one");
    push().event(json!({"repository": {"id": 901, "private": true}}).to_string()).is_refused("of another repository");
    push().event("{}").is_refused("nothing says that octo/sim is private");
    for public in
        [json!({"private": false}), json!({"private": "true"}), json!({"private": true, "visibility": "public"})]
    {
        push().event(json!({"repository": public}).to_string()).is_refused("octo/sim is public");
    }
    push().rule("event pull_request*\n").is_refused("(events) does not allow push");
    push().rule("event Push\n").is_refused("(events)");
    push().rule("branch mai\n").is_refused("(branches) does not allow main");
    push().rule("branch main\n").with("GITHUB_REF", "refs/tags/main").is_refused("refs/tags/main");
    push()
        .rule("workflow .github/workflows/other.yml\n")
        .is_refused("(workflows) does not allow .github/workflows/ci.yml");
    push()
        .rule("workflow .github/workflows/ci.yml\n")
        .with("GITHUB_WORKFLOW_REF", "octo/simx/.github/workflows/ci.yml@main")
        .is_refused("(workflows)");
    push().rule("actor grace\n").is_refused("(actors) does not allow ada");
    push().rule("actor ada\n").with("GITHUB_TRIGGERING_ACTOR", "eve").is_refused("(actors) does not allow eve");
    push().rule("block ad*\n").is_refused("(block) blocks ada");
    push().rule("person 8 grace\n").is_refused("ada may not be the Slurm user");
    push().rule("person 8 ada\n").is_refused("another id than the person");
    let other = push().policy.replace(&format!("user {}", user()), "user somebody");
    Case { policy: other, ..push() }.is_refused("and not as somebody");
}

#[test]
fn a_fork_is_told_by_its_id_whatever_its_names() {
    for event in ["pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"] {
        for head in [json!({"id": 901, "full_name": "octo/sim"}), json!(null)] {
            push().pull(event, head).rule("branch main\n").is_refused("(forks) does not allow it");
        }
        for head in [json!({}), json!("x"), json!([{"id": 900}]), json!({"id": "900"}), json!({"id": 9e2})] {
            push().pull(event, head).is_refused("does not tell the head repository");
        }
        push().named(event, json!({})).is_refused("does not tell the head repository");
    }
    for (head, words) in [(json!({"id": 901}), "(forks)"), (json!(null), "(forks)"), (json!(1), "does not tell")] {
        push().named("workflow_run", json!({"workflow_run": {"head_repository": head}})).is_refused(words);
    }
    push().named("workflow_run", json!({"workflow_run": {"head_repository": {"id": 900}}})).is_allowed();
    push().allowing("forks").pull("pull_request", json!({"id": 901})).rule("branch main\n").is_refused("a fork: main");
}

#[test]
fn what_is_missing_or_malformed_is_refused() {
    for name in ["SERVER_URL", "REPOSITORY", "REPOSITORY_ID", "EVENT_NAME", "ACTOR", "TRIGGERING_ACTOR"] {
        let name: &'static str = Box::leak(format!("GITHUB_{name}").into_boxed_str());
        push().without(name).is_refused("is missing");
        push().with(name, "a\nallowed").is_refused("control characters");
    }
    push().with("GITHUB_ACTOR", "*").is_refused("not a login");
    push().with("GITHUB_REPOSITORY", "octo/$(id)").rule("repository octo/*\n").is_refused("no name or id");
    push().with("GITHUB_EVENT_PATH", "/nowhere").is_refused("file cannot be read");
    push().with("GITHUB_EVENT_PATH", "/dev/zero").is_refused("file cannot be read");
    for policy in ["", "user x\n", "nonsense\n"] {
        Case { policy: policy.to_owned(), ..push() }.is_refused("the policy cannot be read");
    }
    for line in
        ["public allow\n", "\n", "branches main\n", "event\n", "repository *\n", "person ada\n", "repository-id x y\n"]
    {
        push().rule(line).is_refused("the policy cannot be read");
    }
}

#[test]
fn no_event_can_be_made_to_say_something_else() {
    // What somebody writes into a title is text.
    let words = r#"","pull_request":{"head":{"repo":{"id":900}}},"repository":{"id":900,"private":true},"x":""#;
    for title in [words.to_owned(), format!("\\{words}"), format!("{words}\\"), "\\".repeat(7), "\"".repeat(9)] {
        let event =
            json!({"title": title, "pull_request": {"title": title, "head": {"label": title, "repo": {"id": 901}}}});
        push().named("pull_request", event).is_refused("(forks)");
        push()
            .event(json!({"t": title, "repository": {"description": title, "private": false}}).to_string())
            .is_refused("is public");
        push().event(json!({"a": {title.clone(): [title]}, "repository": repository()}).to_string()).is_allowed();
    }
    let good = r#""repository":{"id":900,"private":true}"#;
    for elsewhere in [format!("{{\"x\":{{{good}}}}}"), format!("{{\"repository\":[{{{good}}}]}}")] {
        push().event(elsewhere).decision().strip_prefix("refused ").unwrap();
    }
    push().event(r#"{"repository.private":true,"repository":{"x.private":true}}"#).is_refused("nothing says");
    let unreadable = [
        format!("{{{good},{good}}}"),
        r#"{"repository":{"private":true,"private":true}}"#.to_owned(),
        r#"{"repository":{"private":false,"priv\u0061te":true}}"#.to_owned(),
        format!("{{\"r\\u0065pository\":{{}},{good}}}"),
        format!("{{{good}"),
        format!("{{{good},\"x\":\"y"),
        format!("{{{good}}}{{{good}}}"),
        format!("{{{good}}}\""),
        format!("{{{good},}}"),
        format!("{{{good} \"x\":1}}"),
        format!("{{{good},\"x\":tru}}"),
        format!("{{{good},\"x\":01}}"),
        format!("{{{good},\"x\":1 2}}"),
        format!("{{{good},x:1}}"),
        format!("{{{good},\"x\":[1}}]"),
        format!("{{{good},\"x\":\"a\nb\"}}"),
        format!("{{{good},\"x\":\"a\0b\"}}"),
        format!("{{{good}}}\0"),
        format!("[{{{good}}}]"),
        format!("{{{good},\"x\":{}{}}}", "[".repeat(300), "]".repeat(300)),
        String::new(),
        "null".to_owned(),
        "<html>".to_owned(),
    ];
    for event in unreadable {
        push().event(event).is_refused("the event cannot be read");
    }
    push().event(format!("\u{feff}{{\n{good} , \"x\" : [ ] , \"n\":-1.5e+3}}\n")).is_allowed();
}

#[test]
fn a_large_event_takes_no_longer_than_its_size() {
    let begun = std::time::Instant::now();
    for text in ["\\\"", "\\\\", "xy", "],[", "1,1,"] {
        let text = text.repeat(300_000);
        let value = if text.starts_with(']') {
            format!("[[{text}]]")
        } else if text.starts_with('1') {
            format!("[{text}1]")
        } else {
            format!("\"{text}\"")
        };
        push().event(format!("{{\"x\":{value},\"repository\":{{\"id\":900,\"private\":true}}}}")).is_allowed();
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
