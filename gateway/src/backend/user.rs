//! Users of the machine, by the system's own directory (files, LDAP, whatever nsswitch.conf says), and which of them a
//! runner never runs as.

use std::time::Duration;

use nix::unistd::{Group, User, getegid, geteuid};

use super::BackendError;

const DEADLINE: Duration = Duration::from_secs(10);
/// From here on uids are people's and services' of the site (login.defs, UID_MIN).
pub(crate) const FIRST_ORDINARY: u32 = 1000;

/// What a Slurm job runs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The number that counts, whatever names it has.
    pub uid: u32,
    /// The home directory.
    pub home: String,
}

/// A user that exists. The directory may be a network away, so it is asked on a thread that may wait.
pub(super) async fn account(name: &str) -> Result<Account, BackendError> {
    let asked = name.to_owned();
    let found = tokio::task::spawn_blocking(move || User::from_name(&asked));
    let outage =
        |why: &dyn std::fmt::Display| BackendError::Outage(format!("the user directory does not answer: {why}"));
    match tokio::time::timeout(DEADLINE, found).await {
        Ok(Ok(Ok(Some(user)))) => Ok(Account { uid: user.uid.as_raw(), home: user.dir.to_string_lossy().into_owned() }),
        Ok(Ok(Ok(None))) => Err(BackendError::NoUser(name.to_owned())),
        Ok(Ok(Err(error))) => Err(outage(&error)),
        Ok(Err(error)) => Err(outage(&error)),
        Err(late) => Err(outage(&late)),
    }
}

/// The gateway's own user, by its number where it has no name, as id(1) tells it.
pub(crate) fn own_name() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// The gateway's own group, in the same way.
pub(crate) fn own_group() -> String {
    let gid = getegid();
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

/// Who no runner runs as: a runner does what a workflow says.
#[derive(Debug, Clone, Copy)]
pub struct Forbidden {
    /// uids below are refused.
    pub min_uid: u32,
    /// SlurmUser, who may become everybody in Slurm; when it is known.
    pub slurm_user: Option<u32>,
}

impl Forbidden {
    /// Why a runner does not run under that uid.
    pub fn reason(self, uid: u32) -> Option<String> {
        if uid == 0 {
            Some("it has uid 0, root's".to_owned())
        } else if Some(uid) == self.slurm_user {
            Some(format!("it has uid {uid}, SlurmUser's, which can do all that root can in Slurm"))
        } else if uid < self.min_uid {
            Some(format!("its uid {uid} is below minUid ({})", self.min_uid))
        } else {
            None
        }
    }
}

/// Whether that uid is usually a daemon's.
pub fn is_system_user(uid: u32) -> bool {
    uid < FIRST_ORDINARY
}

/// The uid that Slurm's own user has on most sites, for where scontrol cannot be asked.
pub fn usual_slurm_user() -> Option<u32> {
    User::from_name("slurm").ok().flatten().map(|user| user.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_exists_or_is_refused() {
        assert_eq!(account("root").await, Ok(Account { uid: 0, home: "/root".to_owned() }));
        assert_eq!(account("nobody-of-this-name").await, Err(BackendError::NoUser("nobody-of-this-name".to_owned())));
    }

    #[test]
    fn root_and_slurms_own_user_are_refused_by_number() {
        let site = Forbidden { min_uid: 1, slurm_user: Some(64_030) };
        for (uid, refused) in [(0, true), (64_030, true), (1, false), (1000, false)] {
            assert_eq!(site.reason(uid).is_some(), refused, "{uid}");
        }
        let strict = Forbidden { min_uid: 1000, slurm_user: None };
        assert!(strict.reason(999).is_some() && strict.reason(1000).is_none());
        assert!(Forbidden { min_uid: 0, slurm_user: None }.reason(0).is_some(), "whatever minUid says");
    }
}
