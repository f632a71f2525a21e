use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::config::Config;

const SIM: &str = "https://github.com/octo/sim";

/// A configuration in which repositories of octo and of one other owner are mapped.
fn config(people: &str) -> Config {
    let text = format!(
        "ghaSharedSecret: s\njob: {{runner: /opt/runner}}\npeople: {{{people}}}\n\
         repositories:\n- {{gitHubURL: '{SIM}', slurmUser: ci}}\n- {{gitHubURL: 'https://github.com/lab/*', slurmUser: lab}}\n"
    );
    Config::parse(&text, Path::new("gateway.yaml"), &|_| None).unwrap()
}

async fn ask(config: &Config, (login, id): (&str, u64), user: &str, url: &str) -> Result<Granted, NotAllowed> {
    let person = Person { login: login.parse().unwrap(), id };
    let (repository, user) = (RepositoryUrl::parse(url).unwrap(), user.parse().unwrap());
    let wish = Wish { person: &person, user: &user, repository: &repository, url };
    config.people.as_ref().unwrap().ask(wish, &config.mapping).await
}

fn words(answer: Result<Granted, NotAllowed>) -> String {
    match answer {
        Ok(granted) => granted.repositories.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(NotAllowed::Denied(rejected)) => format!("no, {rejected}"),
        Err(NotAllowed::Unavailable(problem)) => format!("?, {problem}"),
    }
}

#[tokio::test]
async fn a_table_says_who_is_whom_and_where() {
    let config = config(
        "table: {Ada: ada, grace: {id: 4711, slurmUsers: [grace, lab], \
         repositories: ['https://github.com/octo/*', 'https://github.com/free/one']}}, block: ['mallory*', '@left'], \
         groups: {left: [bob]}",
    );
    for (who, user, url, expected) in [
        (("ada", 1), "ada", SIM, "https://github.com/octo/*"),
        (("ADA", 1), "ada", "https://github.com/lab/any", "https://github.com/lab/*"),
        (
            ("ada", 1),
            "ada",
            "https://github.com/stranger/x",
            "no, slurmUser: people of the gateway do not let ada run as ada for",
        ),
        (("ada", 1), "ada", "https://ghes.example/octo/sim", "no, slurmUser: "),
        (("ada", 1), "lab", SIM, "no, slurmUser: people of the gateway do not let ada run as lab"),
        (("eve", 1), "ada", SIM, "no, slurmUser: people of the gateway do not let eve run as ada"),
        (("grace", 4711), "lab", SIM, "https://github.com/octo/*"),
        (("grace", 4711), "lab", "https://github.com/free/one", "https://github.com/free/one"),
        (
            ("grace", 4711),
            "lab",
            "https://github.com/free/two",
            "no, slurmUser: people of the gateway do not let grace run as lab for",
        ),
        (("grace", 4711), "lab", "https://github.com/lab/any", "no, slurmUser: "),
        (
            ("grace", 12),
            "lab",
            SIM,
            "no, slurmUser: people of the gateway list grace as account 4711, and this is account 12",
        ),
        (
            ("hopper", 4711),
            "lab",
            SIM,
            "no, slurmUser: people of the gateway list account 4711 as grace, and it is called hopper now",
        ),
        (("Mallory-2", 1), "ada", SIM, "no, person: Mallory-2 is blocked by people.block"),
        (("BOB", 1), "ada", SIM, "no, person: BOB is blocked"),
    ] {
        let answer = words(ask(&config, who, user, url).await);
        assert!(answer.starts_with(expected), "{who:?} {user} {url}: {answer}");
    }
}

#[tokio::test]
async fn a_file_counts_as_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.yaml");
    std::fs::write(&path, "ada: ada\n").unwrap();
    let config = config(&format!("table: {{bob: bob}}, file: {}", path.display()));
    let may = async |login: &str, user: &str| words(ask(&config, (login, 1), user, SIM).await);
    assert!(may("ada", "ada").await.starts_with("https:"));
    std::fs::write(&path, "ada: lab\n").unwrap();
    assert!(may("ada", "ada").await.starts_with("no, ") && may("ada", "lab").await.starts_with("https:"));
    std::fs::write(&path, "# nobody\n").unwrap();
    assert!(may("ada", "lab").await.starts_with("no, "));
    for bad in ["ada: [", "ada: root\n", "ada: {slurmUser: x}\n", "ada: a\nADA: b\n", "- a\n"] {
        std::fs::write(&path, bad).unwrap();
        let answer = may("ada", "ada").await;
        assert!(answer.starts_with("?, people.file of the gateway: "), "{bad:?}: {answer}");
        assert!(may("bob", "bob").await.starts_with("https:"), "the table is there all the same");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(may("ada", "ada").await.starts_with("?, "));
    std::fs::write(&path, "ada: ada\n").unwrap();
    assert!(may("ada", "ada").await.starts_with("https:"));
}

fn by_command(script: &str) -> Config {
    config(&format!("command: [/bin/sh, -c, '{script}', map, '{{login}}', '{{id}}', '{{repository}}']"))
}

#[tokio::test]
async fn a_command_gets_the_person_and_prints_users() {
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    let config = by_command(&format!("echo \"$@\" >> {}; echo; echo $1; echo lab", calls.display()));
    for _ in 0..3 {
        assert_eq!(words(ask(&config, ("ada", 7), "ada", SIM).await), SIM);
    }
    assert!(words(ask(&config, ("ada", 7), "bob", SIM).await).starts_with("no, "));
    assert!(words(ask(&config, ("ada", 7), "ada", "https://github.com/stranger/x").await).starts_with("no, "));
    assert_eq!(std::fs::read_to_string(&calls).unwrap(), format!("ada 7 {SIM}\n"), "an answer is kept for a while");
    assert_eq!(words(ask(&config, ("ada", 8), "ada", SIM).await), SIM);
    assert_eq!(std::fs::read_to_string(&calls).unwrap().lines().count(), 2, "another account is asked for anew");
    let everywhere = super::tests::config("command: [/bin/echo, '{login}']");
    assert_eq!(words(ask(&everywhere, ("ada", 7), "ada", SIM).await), "https://github.com/octo/*");
    assert!(words(ask(&by_command("exit 0"), ("ada", 7), "ada", SIM).await).starts_with("no, "), "nobody");
}

#[tokio::test]
async fn a_command_that_does_not_answer_is_neither_yes_nor_no() {
    for (script, problem) in [
        ("echo ada; exit 3", "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
        ("echo ada lovelace", "something else"),
        ("echo --uid=0", "something else"),
        ("echo ada; echo error: no", "something else"),
        ("printf \"ada\\\\377\"", "something else"),
        ("yes ada | head -n 100", "something else"),
        ("yes ada", "more than 16 KiB"),
        ("yes ada >&2", "more than 16 KiB"),
    ] {
        let answer = words(ask(&by_command(script), ("ada", 7), "ada", SIM).await);
        assert!(
            answer.starts_with("?, people.command of the gateway: ") && answer.contains(problem),
            "{script}: {answer}"
        );
    }
    let missing = config("command: [/nowhere/map, '{login}']");
    assert!(words(ask(&missing, ("ada", 7), "ada", SIM).await).starts_with("?, "));
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late");
    let config = by_command(&format!("(sleep 7; touch {}) & echo ada; sleep 60", late.display()));
    let begun = Instant::now();
    let answer = words(ask(&config, ("ada", 7), "ada", SIM).await);
    assert!(answer.starts_with("?, ") && answer.contains("within 5 s"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(6));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!late.exists());
}

#[tokio::test]
async fn the_table_is_asked_before_the_command() {
    let config = config("table: {ada: ada}, command: [/bin/false, '{login}']");
    assert!(words(ask(&config, ("ada", 1), "ada", SIM).await).starts_with("https:"));
    assert!(words(ask(&config, ("bob", 1), "ada", SIM).await).starts_with("?, "));
}

#[tokio::test]
async fn nothing_overrules_an_id() {
    let config = config("table: {ada: {id: 4711, slurmUsers: [ada]}}, command: [/bin/echo, '{login}']");
    assert_eq!(words(ask(&config, ("ada", 4711), "ada", SIM).await), "https://github.com/octo/*");
    let taken_over = words(ask(&config, ("ada", 12), "ada", SIM).await);
    assert!(taken_over.contains("another one has the login by now"), "{taken_over}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.yaml");
    std::fs::write(&file, "ada: ada\n").unwrap();
    let config =
        self::config(&format!("table: {{ada: {{id: 4711, slurmUsers: [ada, lab]}}}}, file: {}", file.display()));
    let taken_over = words(ask(&config, ("ada", 12), "ada", SIM).await);
    assert!(taken_over.contains("another one has the login by now"), "{taken_over}");
    let people = config.people.as_ref().unwrap();
    let all = people.all_of(&"ada".parse().unwrap(), &[RepositoryUrl::parse(SIM).unwrap()], &config.mapping).await;
    assert_eq!(all, [(4711, "ada".to_owned())]);
}

#[tokio::test]
async fn only_who_may_everywhere_is_named_beside_the_launchs_person() {
    let config = config(
        "table: {ada: lab, bob: {id: 5, slurmUsers: [lab], repositories: ['https://github.com/octo/sim']}, \
         eve: {slurmUsers: [lab], repositories: ['https://github.com/OCTO/*']}, dan: dan}",
    );
    let all = async |url: &str| {
        let repository = RepositoryUrl::parse_pattern(url).unwrap();
        let user = "lab".parse().unwrap();
        config.people.as_ref().unwrap().all_of(&user, &[repository], &config.mapping).await
    };
    let of = |people: &[(u64, &str)]| people.iter().map(|(id, login)| (*id, (*login).to_owned())).collect::<Vec<_>>();
    assert_eq!(all(SIM).await, of(&[(0, "ada"), (0, "eve"), (5, "bob")]));
    assert_eq!(
        all("https://github.com/octo/*").await,
        of(&[(0, "ada"), (0, "eve")]),
        "not bob, who is for one of them"
    );
    assert_eq!(all("https://github.com/lab/*").await, of(&[(0, "ada")]));
}
