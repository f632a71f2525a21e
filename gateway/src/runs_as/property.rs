//! Whatever GitHub gives to which runner: no step runs under a Slurm user that this gateway's configuration does not allow for
//! the job's repository, person and event. The policy is rendered as it is for a launch, and the check that runs on the node
//! judges any other job by it; what it must say is decided here anew, from the configuration alone.

use std::io::BufRead;
use std::process::{Command, Stdio};

use gha_slurm_protocol::messages::StartRunner;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::decide;
use crate::config::Config;
use crate::launch::Launch;

const REPOSITORIES: [(&str, u64); 4] = [("octo/sim", 900), ("octo/web", 901), ("octo/wide", 902), ("lab/data", 903)];
const PEOPLE: [(&str, u64); 3] = [("ada", 7), ("grace", 8), ("mallory", 9)];
const EVENTS: [&str; 5] = ["push", "pull_request", "pull_request_target", "workflow_run", "schedule"];
const USERS: [&str; 2] = ["one", "two"];

/// A gateway's configuration.
#[derive(Debug, Clone)]
struct Site {
    /// The Slurm user of each repository; the last is `octo/*`.
    mapped: [Option<usize>; 5],
    public: bool,
    forks: bool,
    events: Option<Vec<usize>>,
    actors: Option<Vec<usize>>,
    blocked: Option<usize>,
    /// The Slurm users that each person may be.
    people: [Vec<usize>; 3],
}

/// A job that GitHub has a runner for.
#[derive(Debug, Clone)]
struct Job {
    repository: usize,
    /// It took the name of another one, and has another number.
    created_anew: bool,
    public: bool,
    event: usize,
    fork: bool,
    actor: usize,
    triggering: usize,
    /// The account that took the login over.
    taken_over: bool,
}

impl Site {
    fn yaml(&self) -> String {
        let pages = ["octo/sim", "octo/web", "octo/wide", "lab/data", "octo/*"];
        let repositories = self.mapped.iter().zip(pages).filter_map(|(user, name)| {
            Some(json!({"gitHubURL": format!("https://github.com/{name}"), "slurmUser": USERS[(*user)?]}))
        });
        let people = PEOPLE.iter().zip(&self.people).filter(|(_, users)| !users.is_empty());
        let people = people.map(|((login, id), users)| {
            let users: Vec<&str> = users.iter().map(|user| USERS[*user]).collect();
            ((*login).to_owned(), json!({"id": id, "slurmUsers": users}))
        });
        let names = |list: &[usize], of: &dyn Fn(usize) -> &'static str| -> Vec<&'static str> {
            list.iter().map(|index| of(*index)).collect()
        };
        let mut policy = json!({"public": self.public, "forks": if self.forks { "allow" } else { "never" }});
        if let Some(events) = &self.events {
            policy["events"] = json!(names(events, &|index| EVENTS[index]));
        }
        if let Some(actors) = &self.actors {
            policy["actors"] = json!(names(actors, &|index| PEOPLE[index].0));
        }
        json!({
            "ghaSharedSecret": "s", "backend": "local", "job": {"runner": "/opt/runner"}, "policy": policy,
            "repositories": repositories.collect::<Vec<_>>(),
            "people": {
                "table": people.collect::<serde_json::Map<_, _>>(),
                "block": self.blocked.map(|person| PEOPLE[person].0).into_iter().collect::<Vec<_>>(),
            },
        })
        .to_string()
    }

    /// The Slurm user of a repository.
    fn user_of(&self, repository: usize) -> Option<usize> {
        let wide = REPOSITORIES[repository].0.starts_with("octo/").then_some(self.mapped[4]).flatten();
        self.mapped[repository].or(wide)
    }

    /// Whether a job may run under a Slurm user that was named for a person, or is its repository's.
    fn allows(&self, job: &Job, user: usize, of_person: bool) -> bool {
        let whose = match of_person {
            true => self.people[job.triggering].contains(&user) && !(job.taken_over && job.actor == job.triggering),
            false => self.user_of(job.repository) == Some(user),
        };
        let people = [job.actor, job.triggering];
        whose
            && (self.public || !job.public)
            && (self.forks || !(job.fork && EVENTS[job.event] != "push" && EVENTS[job.event] != "schedule"))
            && self.events.as_ref().is_none_or(|events| events.contains(&job.event))
            && self.actors.as_ref().is_none_or(|actors| people.iter().all(|person| actors.contains(person)))
            && self.blocked.is_none_or(|blocked| !people.contains(&blocked))
    }
}

fn site() -> impl Strategy<Value = Site> {
    let some = |most: usize| proptest::option::of(proptest::collection::vec(0..most, 1..3));
    let users = || proptest::sample::subsequence(vec![0, 1], 0..=2);
    (
        proptest::array::uniform5(proptest::option::of(0..2usize)),
        (any::<bool>(), any::<bool>()),
        (some(EVENTS.len()), some(PEOPLE.len()), proptest::option::weighted(0.2, 0..3usize)),
        [users(), users(), users()],
    )
        .prop_map(|(mapped, (public, forks), (events, actors, blocked), people)| Site {
            mapped,
            public,
            forks,
            events,
            actors,
            blocked,
            people,
        })
}

fn job() -> impl Strategy<Value = Job> {
    let rarely = || proptest::bool::weighted(0.15);
    (0..4usize, rarely(), rarely(), 0..EVENTS.len(), any::<bool>(), 0..3usize, 0..3usize, rarely()).prop_map(
        |(repository, created_anew, public, event, fork, actor, triggering, taken_over)| Job {
            repository,
            created_anew,
            public,
            event,
            fork,
            actor,
            triggering,
            taken_over,
        },
    )
}

fn launch(repository: usize, person: usize, user: Option<usize>, organization: bool) -> Launch {
    let (name, id) = REPOSITORIES[repository];
    let (login, number) = PEOPLE[person];
    let asked: StartRunner = serde_json::from_value(json!({
        "gitHubURL": format!("https://github.com/{name}"), "launcherToken": "a.b.c", "runnerLabels": "x",
        "tokenURL": "https://app.example/gha/runner", "runnerName": "n", "repositoryId": id,
        "person": {"login": login, "id": number}, "slurmUser": user.map(|user| USERS[user]),
        "level": if organization { "organization" } else { "repository" },
    }))
    .unwrap();
    Launch::try_from(asked).unwrap()
}

impl Job {
    fn repository_id(&self) -> u64 {
        REPOSITORIES[self.repository].1 + if self.created_anew { 1000 } else { 0 }
    }

    fn event(&self) -> Value {
        let id = self.repository_id();
        let visibility = if self.public { "public" } else { "private" };
        let head = json!({"id": if self.fork { 666 } else { id }});
        let mut event = json!({"repository": {"id": id, "private": !self.public, "visibility": visibility}});
        match EVENTS[self.event] {
            "pull_request" | "pull_request_target" => {
                event["pull_request"] = json!({"head": {"repo": head, "ref": "main"}});
            }
            "workflow_run" => event["workflow_run"] = json!({"head_repository": head}),
            _ => {}
        }
        event
    }

    /// Whether the check on the node allows it.
    fn passes(&self, policy: &str, user: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("hook")).unwrap();
        let files = [
            ("hook/check.sh", include_str!("../script/check.sh").to_owned()),
            ("hook/policy", policy.to_owned()),
            ("hook/user", user.to_owned()),
            ("event.json", self.event().to_string()),
        ];
        for (name, text) in files {
            std::fs::write(at(name), text).unwrap();
        }
        assert!(Command::new("mkfifo").arg(at("said")).status().unwrap().success());
        let (name, _) = REPOSITORIES[self.repository];
        let (actor, id) = PEOPLE[self.actor];
        let id = if self.taken_over { id + 1000 } else { id };
        let mut check = Command::new("bash");
        check.arg("-e").arg(at("hook/check.sh")).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        for (variable, value) in [
            ("GITHUB_EVENT_PATH", at("event.json").display().to_string()),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_REPOSITORY", name.to_owned()),
            ("GITHUB_REPOSITORY_ID", self.repository_id().to_string()),
            ("GITHUB_EVENT_NAME", EVENTS[self.event].to_owned()),
            ("GITHUB_ACTOR", actor.to_owned()),
            ("GITHUB_ACTOR_ID", id.to_string()),
            ("GITHUB_TRIGGERING_ACTOR", PEOPLE[self.triggering].0.to_owned()),
            ("GITHUB_REF", "refs/heads/main".to_owned()),
            ("GITHUB_WORKFLOW_REF", format!("{name}/.github/workflows/ci.yml@refs/heads/main")),
        ] {
            check.env(variable, value);
        }
        let mut check = check.stdout(Stdio::null()).spawn().unwrap();
        let said = std::io::BufReader::new(std::fs::File::open(at("said")).unwrap());
        let mut lines = said.lines().map(Result::unwrap);
        let decision = lines.find(|line| line == "allowed" || line.starts_with("refused ")).unwrap_or_default();
        // A refused one never returns by itself.
        let _ = check.kill();
        check.wait().unwrap();
        decision == "allowed"
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_job_passes_under_a_slurm_user_that_the_configuration_does_not_allow_for_it(
        site in site(),
        launched in 0..4usize,
        person in 0..3usize,
        named in proptest::option::of(0..2usize),
        organization in any::<bool>(),
        jobs in proptest::collection::vec(job(), 1..4),
    ) {
        let Ok(config) = Config::parse(&site.yaml(), std::path::Path::new("gateway.yaml"), &|_| None) else {
            // Nothing is mapped.
            return Ok(());
        };
        let launch = launch(launched, person, named, organization);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Ok(runs_as) = runtime.block_on(decide(&config, &launch)) else { return Ok(()) };
        let user = USERS.iter().position(|user| *user == runs_as.user).unwrap();
        let Ok(policy) = runs_as.node_policy(&config, &launch, &runs_as.user) else { return Ok(()) };
        for job in &jobs {
            let passed = job.passes(&policy, &runs_as.user);
            prop_assert!(
                !passed || site.allows(job, user, named.is_some()),
                "{job:?} passed as {} by:\n{policy}", runs_as.user
            );
        }
        // And it is no check that refuses everything: the job that the launch was made for passes.
        let own = Job {
            repository: launched,
            created_anew: false,
            public: false,
            event: 0,
            fork: false,
            actor: person,
            triggering: person,
            taken_over: false,
        };
        prop_assert_eq!(own.passes(&policy, &runs_as.user), site.allows(&own, user, named.is_some()), "{}", policy);
    }
}
