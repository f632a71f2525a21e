use super::*;

const ORIGINAL: &str = r"
jobTemplate: |
  #!/bin/bash
  TOKEN=%LAUNCH_TOKEN%
  ./config.sh %RUNNER_CONFIG_LINE%
logging: DEBUG
ghaSharedSecret: ChangeThisToSomethingSecret
repositories:
  - gitHubURL: https://github.com/ripley-cloud/test-project
    slurmUser: ci-runner
";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("gateway.yaml"), &|_| None)
}

fn user_of(config: &Config, url: &str) -> Option<String> {
    config.mapping.find(&RepositoryUrl::parse(url)?).map(|(user, _)| user.to_owned())
}

#[test]
fn the_originals_file_is_read_unchanged() {
    let config = parse(ORIGINAL).unwrap();
    assert!(config.secrets.admit("ChangeThisToSomethingSecret"));
    assert!(config.template.as_deref().is_some_and(|text| text.starts_with("#!/bin/bash\nTOKEN=")));
    for spelling in ["https://github.com/ripley-cloud/test-project", "https://GitHub.com/Ripley-Cloud/Test-Project/"] {
        assert_eq!(user_of(&config, spelling).as_deref(), Some("ci-runner"), "{spelling}");
    }
    assert_eq!(user_of(&config, "https://github.com/ripley-cloud/test-project2"), None);
    assert_eq!(user_of(&config, "https://github.com.evil.example/ripley-cloud/test-project"), None);
}

#[test]
fn an_exact_entry_goes_before_a_pattern() {
    let config = parse(
        "ghaSharedSecret: s\njob: {runner: /opt/runner}\nslurmUsers:\n  alice:\n    repositories: \
         ['https://github.com/octo-org/*']\n  bob:\n    repositories: ['https://github.com/octo-org/special']\n",
    )
    .unwrap();
    assert_eq!(user_of(&config, "https://github.com/octo-org/other").as_deref(), Some("alice"));
    assert_eq!(user_of(&config, "https://github.com/OCTO-ORG/Special").as_deref(), Some("bob"));
    assert_eq!(user_of(&config, "https://ghes.example/octo-org/other"), None, "another server is another place");
}

#[test]
fn a_mistake_is_told_with_line_and_column_and_without_the_secret() {
    for (text, line) in [
        ("ghaSharedSecret: hunter2\nrepositories: [\n", 2),
        ("ghaSharedSecret: {hunter2: 1}\n", 1),
        ("ghaSharedSecret: hunter2\nlisten: nowhere\n", 2),
        ("ghaSharedSecret: hunter2\nslurmUsers:\n  alice:\n    limit: {}\n", 4),
        ("ghaSharedSecret: hunter2\nslurmUsers:\n  alice:\n    limits: {memory: lots}\n", 4),
        ("- a list\n", 1),
    ] {
        let error = parse(text).unwrap_err();
        let ConfigError::Malformed { line: found, column, .. } = &error else { panic!("{error}") };
        assert!(*found == line && *column > 0, "{text:?}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let base = "ghaSharedSecret: s\nrepositories: [{gitHubURL: 'https://github.com/o/r', slurmUser: alice}]\n";
    parse(&format!("{base}job: {{runner: /opt/runner}}\n")).unwrap();
    let runs = format!("{base}job: {{runner: /opt/runner}}\n");
    let people = |keys: &str| format!("{runs}people: {{{keys}}}\n");
    let comment = |text: &str| format!("{base}job: {{runner: /opt/runner, comment: '{text}'}}\n");
    for (text, key) in [
        (comment("{runs}"), "job.comment"),
        (comment("a|b"), "job.comment"),
        (format!("{base}job: {{runner: /opt/runner, hooks: {{started: relative.sh}}}}\n"), "job.hooks.started"),
        (
            format!("{base}job: {{runner: /opt/runner, environment: {{ACTIONS_RUNNER_HOOK_JOB_STARTED: /x.sh}}}}\n"),
            "job.environment.ACTIONS_RUNNER_HOOK_JOB_STARTED: the gateway's check of each job has it: name yours in job.hooks.started",
        ),
        (format!("{runs}policy: {{events: []}}\n"), "policy.events"),
        (format!("{runs}policy: {{forks: sometimes}}\n"), "gateway.yaml:4:"),
        (format!("{runs}policy: {{branch: [main]}}\n"), "gateway.yaml:4:"),
        (
            format!("{runs}slurmUsers: {{alice: {{policy: {{branches: ['a b']}}}}}}\n"),
            "slurmUsers.alice.policy.branches",
        ),
        (runs.replace("slurmUser: alice", "slurmUser: alice, repositoryId: x"), "gateway.yaml:2:"),
        (
            runs.replace("o/r', slurmUser: alice", "o/*', slurmUser: alice, repositoryId: 7"),
            "repositories.repositoryId",
        ),
        (people("table: {ada: root}"), "people.table.ada.slurmUsers: runners do not run as root"),
        (people("table: {ada: ''}"), "people.table.ada.slurmUsers"),
        (people("table: {'-ada': ada}"), "people.table.-ada"),
        (people("table: {ada: ada, Ada: lab}"), "people.table."),
        (people("table: {ada: {slurmUsers: []}}"), "people.table.ada.slurmUsers"),
        (people("table: {ada: {id: 0, slurmUsers: [ada]}}"), "people.table.ada.id"),
        (people("table: {ada: {slurmUsers: [ada], repositories: ['octo/*']}}"), "people.table.ada.repositories"),
        (people("table: {ada: {slurmUser: ada}}"), "gateway.yaml:4:"),
        (people("table: {ada: [ada]}"), "gateway.yaml:4:"),
        (people("command: []"), "people.command"),
        (people("command: [map, '{login}']"), "people.command"),
        (people("command: [/bin/map, '{repository}']"), "people.command"),
        (people("file: /nowhere/people.yaml"), "people.file"),
        (people("groups: {'a b': [ada]}"), "people.groups.a b"),
        (people("groups: {lab: ['a*']}"), "people.groups.lab"),
        (people("block: ['@lab']"), "people.block"),
        (people("block: ['a b']"), "people.block"),
        (base.to_owned(), "job.runner"),
        (base.replace("ghaSharedSecret: s", "ghaSharedSecret: ''"), "ghaSharedSecret"),
        (format!("{base}job: {{runner: /opt/runner.tar.gz}}\n"), "job.runnerSha256"),
        (format!("{base}jobTemplate: '{}'\n", "x".repeat(70_000)), "jobTemplate"),
        (format!("{base}job: {{runner: relative}}\n"), "job.runner"),
        (format!("{base}job: {{runner: '/opt/$(id)'}}\n"), "job.runner"),
        (format!("{base}job: {{runner: /opt/runner, output: /tmp/out}}\n"), "job.output"),
        (format!("{base}job: {{runner: /opt/runner, environment: {{'A;B': x}}}}\n"), "job.environment.A;B"),
        (format!("{base}job: {{runner: /opt/runner, environment: {{GHA_SLURM_TOKEN: x}}}}\n"), "job.environment"),
        (format!("{base}job: {{runner: /opt/runner, idleSeconds: 0}}\n"), "job.idleSeconds"),
        (format!("{base}job: {{runner: /opt/runner}}\nslurmrestd: {{url: 'ftp://x'}}\n"), "slurmrestd.url"),
        (format!("{base}job: {{runner: /opt/runner}}\nsbatch: {{sbatch: []}}\n"), "sbatch.sbatch"),
        (format!("{base}job: {{runner: /opt/runner}}\nslurmUsers: {{root: {{}}}}\n"), "slurmUsers"),
        (
            format!("{base}job: {{runner: /opt/runner}}\nslurmUsers: {{alice: {{qos: --x}}}}\n"),
            "gateway.yaml:4:27: slurmUsers.alice.qos: ",
        ),
        (
            format!(
                "{base}job: {{runner: /opt/runner}}\nslurmUsers: {{bob: {{repositories: ['https://github.com/O/R']}}}}"
            ),
            "slurmUsers.bob.repositories",
        ),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(key), "{key}: {error}");
    }
}

#[test]
fn the_secret_may_come_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "from-file\n").unwrap();
    let text = format!("ghaSharedSecretFile: secret\n{}", ORIGINAL.replace("ghaSharedSecret: Change", "#"));
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, text).unwrap();
    let admits = |config: &Config, token: &str| config.secrets.admit(token);
    assert!(admits(&Config::load(&path, &|_| None).unwrap(), "from-file"));
    let environment = |name: &str| (name == SECRET_VARIABLE).then(|| "from-environment".to_owned());
    let config = Config::load(&path, &environment).unwrap();
    assert!(admits(&config, "from-environment") && !admits(&config, "from-file"));
}

#[test]
fn two_secrets_are_good_while_one_replaces_the_other() {
    let file = |secret: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), secret).unwrap();
        let text = format!("ghaSharedSecretFile: secret\n{}", ORIGINAL.replace("ghaSharedSecret: Change", "#"));
        std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
        Config::load(&folder.path().join("gateway.yaml"), &|_| None)
    };
    for both in ["new\nold\n", "new\r\nold", "\nnew\n\nold\n\n"] {
        let config = file(both).unwrap();
        assert!(config.secrets.admit("new") && config.secrets.admit("old"), "{both:?}");
        assert!(!config.secrets.admit(both) && !config.secrets.admit(""), "{both:?}");
    }
    for bad in ["", "\n \n", "one\ntwo\nthree\n"] {
        assert!(matches!(file(bad), Err(ConfigError::Invalid { .. })), "{bad:?}");
    }
}

fn keys(text: &str) -> Vec<&'static str> {
    parse(text).unwrap().weaknesses().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn weaknesses_are_told_and_are_no_errors() {
    assert_eq!(keys(ORIGINAL), ["ghaSharedSecret", "app.url", "jobTemplate"], "the original's file is read unchanged");
    let strong =
        "ghaSharedSecret: 4d1f0a2b9c8e7f60a1b2c3d4\njob: {runner: /opt/runner}\napp: {url: 'https://app.example'}\n";
    let one = format!(
        "{strong}slurmUsers: {{alice: {{repositories: ['https://github.com/a/*', 'https://github.com/A/x']}}}}\n"
    );
    assert_eq!(keys(&one), [""; 0]);
    let two = one.replace("github.com/A/x", "github.com/b/x");
    assert_eq!(keys(&two), ["slurmUsers"], "a Slurm user of two owners");
    assert_eq!(keys(&two.replace("https://app", "http://app")), ["app.url", "slurmUsers"]);
    let open = |policy: &str| keys(&format!("{one}policy: {policy}\n"));
    assert_eq!(open("{public: true, forks: allow}"), ["policy"], "strangers' code");
    for bounded in ["{public: true}", "{forks: allow}", "{public: true, forks: allow, actors: [ada]}"] {
        assert_eq!(open(bounded), [""; 0], "{bounded}");
    }
}

#[test]
fn plain_http_beyond_loopback_has_to_be_wanted() {
    let base = "ghaSharedSecret: s\njob: {runner: /opt/runner}\n\
                repositories: [{gitHubURL: 'https://github.com/o/r', slurmUser: alice}]\n";
    for listen in ["0.0.0.0:5011", "192.0.2.1:5011", "'[::]:5011'"] {
        let text = format!("{base}listen: {listen}\n");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("listen: ") && error.contains("insecureHttp"), "{error}");
        parse(&format!("{text}tls: {{certificate: /c, key: /k}}\n")).unwrap();
        let wanted = format!("{text}insecureHttp: true\n");
        assert!(keys(&wanted).contains(&"insecureHttp"));
    }
    parse(&format!("{base}listen: '[::1]:5011'\n")).unwrap();
}

#[test]
fn whole_nodes_are_for_those_without_limits_unless_it_is_said() {
    let allowed = |limits: &str| serde_json::from_str::<Limits>(limits).unwrap().allow_exclusive();
    assert!(allowed("{}") && allowed(r#"{"time": "60"}"#) && allowed(r#"{"cpus": 2, "exclusive": true}"#));
    for limits in [r#"{"cpus": 2}"#, r#"{"memory": "1G"}"#, r#"{"gpus": 1}"#, r#"{"exclusive": false}"#] {
        assert!(!allowed(limits), "{limits}");
    }
}

#[test]
fn the_page_that_is_passed_on_is_the_one_that_was_understood() {
    for typed in [
        "https://github.com/Octo/sim",
        "https:github.com/Octo/sim",
        "https://github.com/a/../Octo/sim/",
        "https://github.com/./Octo/sim.git",
        "HTTPS://GitHub.com:443/Octo/sim",
        r"https:\\github.com\Octo\sim",
    ] {
        let (_, page) = RepositoryUrl::with_page(typed).unwrap();
        assert_eq!(page, "https://github.com/Octo/sim", "{typed}");
    }
}

/// Whatever is mapped to whom: a pattern that the node gets never covers a repository of another Slurm user.
#[test]
fn the_nodes_patterns_cover_nobody_elses_repositories() {
    const ENTRIES: [&str; 5] = ["o/*", "o/a", "o/b", "p/*", "p/a"];
    const REPOSITORIES: [&str; 6] = ["o/a", "o/b", "o/c", "p/a", "p/c", "q/a"];
    let url = |name: &str| RepositoryUrl::parse_pattern(&format!("https://github.com/{name}")).unwrap();
    let mut launches = 0;
    for choice in 1..3_usize.pow(5) {
        let users = (0..5).map(|digit| ["", "u", "v"][choice / 3_usize.pow(digit) % 3]);
        let mapped = ENTRIES.iter().zip(users).filter(|(_, user)| !user.is_empty());
        let repositories = mapped.map(|(name, user)| Repository {
            github_url: url(name).to_string(),
            slurm_user: user.to_owned(),
            repository_id: None,
        });
        let mapping = Mapping::new(repositories.collect(), BTreeMap::new(), false).unwrap();
        let user_of = |name: &str| mapping.find(&url(name)).map(|(user, _)| user);
        for (launched, user) in REPOSITORIES.iter().filter_map(|name| Some((name, user_of(name)?))) {
            let patterns = mapping.patterns_of(user, &url(launched));
            let covered = |name: &str| patterns.iter().any(|pattern| pattern.covers(&url(name)));
            assert!(covered(launched), "{choice}: {launched} itself");
            for name in REPOSITORIES.iter().filter(|name| covered(name)) {
                assert_eq!(user_of(name), Some(user), "{choice}: {launched} lets {name} run");
            }
            launches += 1;
        }
    }
    assert!(launches > 500, "{launches}");
}

#[test]
fn an_id_pins_one_repository() {
    let base = "ghaSharedSecret: s\njob: {runner: /opt/runner}\nrepositories:\n\
                - {gitHubURL: 'https://github.com/o/r', slurmUser: alice, repositoryId: 7}\n";
    let config = parse(base).unwrap();
    let id = |url: &str| config.mapping.id_of(&RepositoryUrl::parse(url).unwrap());
    assert_eq!((id("https://GitHub.com/O/R"), id("https://github.com/o/s")), (Some(7), None));
    let two = format!("{base}- {{gitHubURL: 'https://github.com/O/r', slurmUser: alice, repositoryId: 8}}\n");
    assert!(parse(&two).unwrap_err().to_string().starts_with("repositories.repositoryId: "));
}

const STRONG: &str = "4d1f0a2b9c8e7f60a1b2c3d4e5f60718";

/// A file whose `app` has these keys, beside a good secret in `app-secret`.
fn fetching(app: &str, more: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app-secret"), format!("{STRONG}\n")).unwrap();
    let text = format!(
        "job: {{runner: /opt/runner}}\nslurmUsers: {{ci: {{repositories: ['https://github.com/octo/*']}}}}\n\
         app: {{{app}}}\n{more}\n"
    );
    Config::parse(&text, &folder.path().join("gateway.yaml"), &|_| None)
}

const ALPS: &str = "url: 'https://app.example', cluster: alps, secretFile: app-secret";

#[test]
fn a_file_of_somebody_elses_comes_with_what_to_do() {
    let said = |kind: std::io::ErrorKind| {
        ConfigError::Unreadable { path: "/etc/gha-slurm/app-secret".into(), error: kind.into() }.to_string()
    };
    let denied = said(std::io::ErrorKind::PermissionDenied);
    assert!(denied.contains("/etc/gha-slurm/app-secret && chmod 0640 /etc/gha-slurm/app-secret"), "{denied}");
    assert!(!said(std::io::ErrorKind::NotFound).contains("chmod"));
}

#[test]
fn a_gateway_that_fetches_listens_only_where_it_is_told_to() {
    let config = fetching(ALPS, "").unwrap();
    let how = config.fetching.as_ref().unwrap();
    assert_eq!((config.listen, how.cluster.to_string(), how.at_most), (None, "alps".to_owned(), None));
    assert_eq!((how.secret.expose(), how.poll.as_secs()), (STRONG, 1), "without the end of the line");
    assert!(!config.secrets.admit("") && !config.secrets.admit(STRONG), "nobody is let in where nothing listens");
    let limited = fetching(&format!("{ALPS}, pollSeconds: 5, atMost: 200, caFile: ca.pem"), "").unwrap();
    let limited = limited.fetching.unwrap();
    assert_eq!((limited.poll.as_secs(), limited.at_most), (5, Some(200)));
    assert!(limited.ca_file.unwrap().is_absolute(), "seen from the configuration");

    let error = fetching(ALPS, "listen: 127.0.0.1:0").unwrap_err().to_string();
    assert!(error.starts_with("ghaSharedSecret: no secret is set") && error.contains("app.cluster"), "{error}");
    let error = fetching(ALPS, "listen: 127.0.0.1:0\nghaSharedSecret: ''").unwrap_err().to_string();
    assert!(error.starts_with("ghaSharedSecret: one secret on a line"), "{error}");
    let missing = fetching(ALPS, "listen: 127.0.0.1:0\nghaSharedSecretFile: nowhere").unwrap_err().to_string();
    assert!(missing.contains("/nowhere: ") && missing.contains("; (umask 027; openssl rand -hex 32 > "), "{missing}");
    let missing = fetching(&ALPS.replace("app-secret", "nowhere"), "").unwrap_err().to_string();
    assert!(missing.contains("; gha-slurm-gateway secret ") && missing.ends_with("/nowhere makes it"), "{missing}");
    let both = fetching(ALPS, "listen: 127.0.0.1:0\nghaSharedSecret: s").unwrap();
    assert!(both.listen.is_some() && both.fetching.is_some() && both.secrets.admit("s"));
    let pushed = fetching("url: 'https://app.example'", "ghaSharedSecret: s").unwrap();
    assert_eq!(pushed.listen.unwrap().to_string(), "127.0.0.1:5011");
    assert!(pushed.fetching.is_none());
    assert!(fetching("url: 'https://app.example'", "").is_err(), "without a cluster, the shared secret is needed");
}

#[test]
fn what_a_fetching_gateway_cannot_be_is_refused_by_name() {
    let changed = |from: &str, to: &str| ALPS.replace(from, to);
    for (app, more, key) in [
        (changed(", secretFile: app-secret", ""), "", "app.secretFile: with app.cluster, name the file"),
        (changed("app-secret", "nowhere"), "", "cannot read "),
        (changed(", cluster: alps", ""), "ghaSharedSecret: s", "app.secretFile: is for a gateway that fetches"),
        (
            "url: 'https://a.example', atMost: 3".to_owned(),
            "ghaSharedSecret: s",
            "app.atMost: is for a gateway that fetches",
        ),
        (changed("alps", "Alps"), "", "gateway.yaml:3:"),
        (changed("'https://app.example'", "['https://a.example', 'https://b.example']"), "", "app.url: "),
        (changed("https:", "http:"), "", "app.url: the cluster's secret and all launch tokens would travel"),
        (format!("{ALPS}, pollSeconds: 0"), "", "app.pollSeconds: "),
        (format!("{ALPS}, pollSeconds: 61"), "", "app.pollSeconds: "),
        (format!("{ALPS}, atMost: 0"), "", "app.atMost: "),
        (format!("{ALPS}, secret: x"), "", "gateway.yaml:3:"),
        (ALPS.to_owned(), "tls: {certificate: /c, key: /k}", "tls: nothing listens"),
    ] {
        let error = fetching(&app, more).unwrap_err().to_string();
        let error = error.rsplit_once("/gateway.yaml:").map_or(error.clone(), |(_, at)| format!("gateway.yaml:{at}"));
        assert!(error.starts_with(key), "{key}: {error}");
    }
    assert!(fetching(&changed("https://app.example", "http://127.0.0.1:3000"), "").is_ok());
    let wanted = fetching(&changed("https:", "http:"), "insecureHttp: true").unwrap();
    assert!(wanted.weaknesses().iter().any(|(key, _)| *key == "app.url"));
}

#[test]
fn a_clusters_secret_is_strong_and_may_come_by_the_environment() {
    let by = |secret: &str| {
        let text = format!(
            "job: {{runner: /opt/runner}}\nslurmUsers: {{ci: {{repositories: ['https://github.com/octo/*']}}}}\n\
             app: {{{}}}\n",
            ALPS.replace(", secretFile: app-secret", "")
        );
        let secret = secret.to_owned();
        Config::parse(&text, Path::new("gateway.yaml"), &|name| (name == APP_SECRET_VARIABLE).then(|| secret.clone()))
    };
    let config = by(STRONG).unwrap();
    assert_eq!(config.fetching.unwrap().secret_file, None);
    for bad in [
        "",
        "short",
        &STRONG[1..],
        &"ab".repeat(20),
        &format!("change-me-{STRONG}"),
        &STRONG.replace('f', " "),
        &STRONG.replace('f', "ä"),
        &format!("{STRONG}\n{STRONG}"),
        &"0123456789abcdef".repeat(17),
    ] {
        let error = by(bad).unwrap_err().to_string();
        assert!(error.starts_with("GHA_SLURM_APP_SECRET: ") && !error.contains("a2b9c8e7"), "{bad:?}: {error}");
    }
}

#[test]
fn another_cluster_or_app_needs_a_restart_and_another_secret_does_not() {
    let running = fetching(ALPS, "").unwrap();
    let needs = |app: &str, more: &str| fetching(app, more).unwrap().needs_restart(&running);
    assert_eq!(needs(&format!("{ALPS}, pollSeconds: 9, atMost: 3"), ""), [""; 0]);
    assert_eq!(needs(&ALPS.replace("alps", "eiger"), ""), ["app"]);
    assert_eq!(needs(&ALPS.replace("app.example", "other.example"), ""), ["app"]);
    assert_eq!(needs(&format!("{ALPS}, caFile: ca.pem"), ""), ["app"]);
    assert_eq!(needs("url: 'https://app.example'", "ghaSharedSecret: s"), ["listen", "app"]);
}
