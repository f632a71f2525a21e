//! What the check at the node goes by, as text: one `key value` a line, data of this gateway's configuration.
//!
//! GitHub may give a runner to another job than the one that it was started for. What is decided when a launch comes is
//! therefore decided once more where the job runs, by what stands here and nothing that a workflow can write. No value
//! may break a line or begin another word: such a text is not rendered at all, and nothing runs.

use crate::config::{Pattern, Policy, RepositoryUrl};
use crate::launch::Rejected;

/// Linux takes 128 KiB for one variable, and sbatch has the whole environment in one.
const MAX_BYTES: usize = 48 * 1024;

/// What is told to the node.
#[derive(Debug)]
pub(crate) struct NodePolicy<'a> {
    /// GitHub's URL, such as `https://github.com`.
    pub(crate) server: &'a str,
    /// The Slurm user, in the name that `id -un` tells.
    pub(crate) user: &'a str,
    /// Repositories and owners whose jobs may run.
    pub(crate) repositories: &'a [RepositoryUrl],
    /// The numbers that repositories of these names have.
    pub(crate) ids: &'a [(u64, &'a RepositoryUrl)],
    /// The Slurm user's policy.
    pub(crate) policy: &'a Policy,
    /// Who nothing runs for.
    pub(crate) block: &'a [Pattern],
    /// Whom alone it runs for: number (0: not known) and login. Everybody, when there is none.
    pub(crate) people: &'a [(u64, String)],
}

impl NodePolicy<'_> {
    /// The text, or the field of the launch that would make it another one than was meant.
    pub(crate) fn text(&self) -> Result<String, Rejected> {
        let mut lines = Lines::default();
        lines.add("server", &[self.server]);
        lines.add("user", &[self.user]);
        for repository in self.repositories {
            lines.add("repository", &[&repository.full_name()]);
        }
        for (id, repository) in self.ids {
            lines.add("repository-id", &[&id.to_string(), &repository.full_name()]);
        }
        let allowed = |allowed| if allowed { "allow" } else { "never" };
        lines.add("public", &[allowed(self.policy.public)]);
        lines.add("forks", &[allowed(self.policy.forks)]);
        let lists = [
            ("event", self.policy.events.as_slice()),
            ("branch", &self.policy.branches),
            ("workflow", &self.policy.workflows),
            ("actor", &self.policy.actors),
            ("block", self.block),
        ];
        for (key, patterns) in lists {
            for pattern in patterns {
                lines.add(key, &[pattern.as_str()]);
            }
        }
        for (id, login) in self.people {
            lines.add("person", &[&id.to_string(), login]);
        }
        lines.whole()
    }
}

#[derive(Default)]
struct Lines {
    text: String,
    broken: Option<&'static str>,
}

impl Lines {
    fn add(&mut self, key: &'static str, values: &[&str]) {
        let odd = |letter: char| letter.is_whitespace() || letter.is_control();
        if values.iter().any(|value| value.is_empty() || value.contains(odd)) {
            self.broken = Some(key);
        }
        self.text.push_str(key);
        for value in values {
            self.text.push(' ');
            self.text.push_str(value);
        }
        self.text.push('\n');
    }

    fn whole(self) -> Result<String, Rejected> {
        let rejected = |problem| Err(Rejected { field: "gitHubURL", problem });
        match self.broken {
            Some(key) => rejected(format!("the node's policy would have a broken line: {key}")),
            None if self.text.len() > MAX_BYTES => rejected(format!(
                "the node's policy would be longer than {} KiB: map fewer repositories or people to one Slurm user",
                MAX_BYTES / 1024
            )),
            None => Ok(self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let of = |text: &str| RepositoryUrl::parse_pattern(text).unwrap();
        let pattern = |text: &str| vec![Pattern::parse(text).unwrap()];
        let (one, all) = (of("https://github.com/Octo/Sim"), of("https://github.com/lab/*"));
        let policy = Policy {
            forks: true,
            events: pattern("pull_request*"),
            branches: pattern("main"),
            workflows: pattern(".github/workflows/ci.yml"),
            actors: pattern("ada"),
            ..Policy::default()
        };
        let whole = NodePolicy {
            server: "https://github.com",
            user: "ada",
            repositories: &[one.clone(), all],
            ids: &[(900, &one)],
            policy: &policy,
            block: &[Pattern::login("Mallory").unwrap()],
            people: &[(583_231, "ada-lovelace".to_owned())],
        };
        assert_eq!(
            whole.text().unwrap(),
            "server https://github.com\nuser ada\nrepository octo/sim\nrepository lab/*\nrepository-id 900 octo/sim\n\
             public never\nforks allow\nevent pull_request*\nbranch main\nworkflow .github/workflows/ci.yml\nactor ada\n\
             block mallory\nperson 583231 ada-lovelace\n"
        );
    }

    #[test]
    fn a_value_that_would_be_a_line_of_its_own_is_no_policy() {
        let policy = Policy::default();
        let of = |user: &str, people: &[(u64, String)]| {
            let (server, repositories, ids, block) = ("https://github.com", &[], &[], &[]);
            NodePolicy { server, user, repositories, ids, policy: &policy, block, people }.text()
        };
        assert!(of("ada", &[]).is_ok());
        for user in ["", "ada\npublic allow", "ada b", "a\tb", "a\u{2028}b"] {
            assert!(of(user, &[]).is_err(), "{user:?}");
        }
        let many: Vec<_> = (0..10_000).map(|id| (id, format!("login-{id}"))).collect();
        assert!(of("ada", &many).is_err(), "longer than an environment takes");
    }
}
