//! Who may run as which Slurm user, as far as the app says so: the table `[people]` beside the profiles.
//!
//! The gateway decides; its own table is the one that counts. With one here as well, a person who may not is told so by the
//! answer to the webhook, before anything is launched. GitHub's runners know labels and no persons, so a workflow names the
//! Slurm user; that it is the person's own is checked here, in the gateway and on the node.

use std::collections::BTreeMap;

use gha_slurm_protocol::identity::SlurmUser;
use serde::Deserialize;

use crate::identity::PersonId;

/// Reads the value of the label `slurm-user=`. Labels have no case, so such a user has no capital letters.
pub(super) fn user_of_label(value: &str) -> Result<SlurmUser, String> {
    if value == "me" {
        let why = "GitHub matches a job to a runner by its labels alone, and \"me\" is the same label for everybody, so it \
                   would give your runner to somebody else's job: name your Slurm user, as in slurm-user=ada";
        return Err(why.to_owned());
    }
    let user: SlurmUser = value.parse().map_err(|_| "it must be the name of a Slurm user".to_owned())?;
    if value.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("a label has no case, so it cannot name a Slurm user with capital letters".to_owned());
    }
    Ok(user)
}

/// Logins to Slurm users; `None` where the app leaves that to the gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct People(Option<BTreeMap<String, Entry>>);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Entry {
    One(String),
    Several(Vec<String>),
    #[serde(rename_all = "snake_case")]
    Full {
        id: Option<PersonId>,
        slurm_users: Vec<String>,
    },
}

impl Entry {
    fn users(&self) -> &[String] {
        match self {
            Self::One(user) => std::slice::from_ref(user),
            Self::Several(users) | Self::Full { slurm_users: users, .. } => users,
        }
    }

    fn id(&self) -> Option<PersonId> {
        match self {
            Self::Full { id, .. } => *id,
            Self::One(_) | Self::Several(_) => None,
        }
    }
}

impl People {
    /// The first thing that makes no sense.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen: Vec<String> = Vec::new();
        for (login, entry) in self.0.iter().flatten() {
            if seen.iter().any(|other| other.eq_ignore_ascii_case(login)) {
                return Err(format!("people: {login:?} stands there twice; logins have no case"));
            }
            if let Some(user) = entry.users().iter().find(|user| user_of_label(user).is_err()) {
                return Err(format!("people: {user:?} of {login:?} is no Slurm user that a label can name"));
            }
            seen.push(login.clone());
        }
        Ok(())
    }

    /// Whether this person may be that Slurm user; if not, why.
    pub(super) fn check_person(&self, person: Option<(PersonId, &str)>, user: &SlurmUser) -> Result<(), String> {
        let Some((id, login)) = person else {
            return Err("the webhook does not say who started the job".to_owned());
        };
        let Some(table) = &self.0 else { return Ok(()) };
        let entry = table.iter().find(|(known, _)| known.eq_ignore_ascii_case(login)).map(|(_, entry)| entry);
        match entry {
            Some(entry) if entry.id().is_some_and(|known| known != id) => {
                Err(format!("{login} at GitHub is another person by now than the one in people"))
            }
            Some(entry) if entry.users().iter().any(|known| known == user.as_str()) => Ok(()),
            _ => Err(format!("{login} at GitHub may not run jobs as this Slurm user")),
        }
    }
}

#[cfg(test)]
mod tests {
    use gha_slurm_protocol::identity::RepositoryName;

    use crate::identity::PersonId;
    use crate::profile::{Match, NotOurs, Profiles, Starter, Wanted};

    const PROFILE: &str = "[[profile]]\nname = 'p'\nlabels = ['slurm']\n[profile.dynamic]\nslurm_users = ['ada', 'lab-*']\n\
                           accounts = ['Physics']\nqoses = ['high']\n";

    fn find(people: &str, person: Option<(u64, &str)>, labels: &[&str]) -> Result<Match, NotOurs> {
        let repository = RepositoryName::try_from("o/r".to_owned()).unwrap();
        let profiles = Profiles::parse(&format!("{people}\n{PROFILE}")).unwrap();
        let person = person.map(|(id, login)| (PersonId(id), login));
        let labels = labels.iter().collect();
        profiles.find(Wanted { starter: Starter::Told(person), ..Wanted::of(&labels, &repository) })
    }

    fn problem(found: Result<Match, NotOurs>) -> String {
        match found {
            Err(NotOurs::Dynamic { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_workflow_names_whom_it_runs_as_and_the_rules_bind_it_to_the_person() {
        let found = find("", Some((7, "Ada")), &["slurm", "slurm-user=ada", "slurm-account=physics", "slurm-qos=high"]);
        let found = found.unwrap();
        assert_eq!(found.slurm_user.unwrap().as_str(), "ada");
        assert_eq!(found.rules.person, Some(PersonId(7)));
        assert_eq!(found.resources.account, "Physics".parse().ok());
        let plain = find("", Some((7, "Ada")), &["slurm"]).unwrap();
        assert_eq!((plain.slurm_user, plain.rules.person), (None, None));
    }

    #[test]
    fn what_names_nobody_that_the_profile_allows_is_refused_with_the_way_out() {
        for (label, says) in [
            ("slurm-user=me", "slurm-user=ada"),
            ("slurm-user=bob", "does not let workflows name"),
            ("slurm-user=", "the name of a Slurm user"),
            ("slurm-user=-x", "the name of a Slurm user"),
            ("slurm-account=other", "one of Physics"),
        ] {
            let told = problem(find("", Some((7, "ada")), &["slurm", label]));
            assert!(told.contains(says), "{label}: {told}");
        }
        assert!(
            problem(find("", Some((7, "ada")), &["slurm", "slurm-user=ada", "slurm-user=lab-1"])).contains("at most")
        );
        assert!(problem(find("", None, &["slurm", "slurm-user=ada"])).contains("who started"));
    }

    #[test]
    fn a_table_of_people_goes_by_ids_where_it_has_them_and_by_logins_without_case() {
        let table = "[people]\nAda = 'ada'\ngrace = ['lab-1', 'lab-2']\nalan = {id = 5, slurm_users = ['lab-1']}\n";
        for (person, user, may) in [
            ((1, "ada"), "ada", true),
            ((1, "ADA"), "ada", true),
            ((1, "ada"), "lab-1", false),
            ((2, "grace"), "lab-2", true),
            ((5, "alan"), "lab-1", true),
            ((6, "alan"), "lab-1", false),
            ((7, "mallory"), "ada", false),
        ] {
            let found = find(table, Some(person), &["slurm", &format!("slurm-user={user}")]);
            assert_eq!(found.is_ok(), may, "{person:?} {user}: {found:?}");
        }
        for bad in ["ada = 'ada'\nADA = 'ada'", "ada = 'Ada'", "ada = '-x'", "ada = {id = 1}", "ada = 1"] {
            assert!(Profiles::parse(&format!("[people]\n{bad}\n{PROFILE}")).is_err(), "{bad}");
        }
    }
}
