//! Who on GitHub may be which Slurm user.
//!
//! A workflow names the Slurm user that it wants to run as; whether the person behind it may be that user, the site says:
//! by a table in the configuration, a file, or a command. Each is asked in that order until one of them says yes. What
//! cannot be asked is no "yes" and no "no": nothing runs, and the launch is for later.
//!
//! A login is no identity. Where both the site and the launch know GitHub's number for an account, login and number have
//! to agree: a login that somebody else took over is nobody's, and so is an account that was renamed, until the entry is
//! changed, because the node's check compares logins.

mod command;
mod file;
mod groups;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use gha_slurm_protocol::identity::{Login, Person, SlurmUser};
use serde::Deserialize;
use thiserror::Error;

use self::command::Command;
use self::file::TableFile;
pub use self::groups::Groups;
use self::table::{Allowance, Refusal, Table};
use crate::config::{ConfigError, Mapping, Pattern, RepositoryUrl};
use crate::launch::Rejected;

/// `people` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PeopleKeys {
    table: BTreeMap<String, table::EntryKeys>,
    file: Option<PathBuf>,
    command: Option<Vec<String>>,
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    block: Vec<String>,
}

/// The site's answer to who may be whom.
#[derive(Debug)]
pub struct People {
    table: Table,
    file: Option<TableFile>,
    command: Option<Command>,
    block: Vec<Pattern>,
}

/// Why a person is not let be a Slurm user.
#[derive(Debug, Error)]
pub(crate) enum NotAllowed {
    /// The site says no.
    #[error(transparent)]
    Denied(#[from] Rejected),
    /// The site does not say anything.
    #[error("who is whom cannot be asked: {0}")]
    Unavailable(String),
}

fn denied(field: &'static str, problem: impl Into<String>) -> Rejected {
    Rejected { field, problem: problem.into() }
}

/// Who wants to be whom, for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The person of the launch.
    pub(crate) person: &'a Person,
    /// The Slurm user that the workflow names.
    pub(crate) user: &'a SlurmUser,
    /// The launch's repository.
    pub(crate) repository: &'a RepositoryUrl,
    /// Its page.
    pub(crate) url: &'a str,
}

/// Where a person may be a Slurm user: a part of what the site says, on the launch's server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Repositories and patterns of the launch's owner.
    pub(crate) repositories: Vec<RepositoryUrl>,
}

impl People {
    pub(crate) fn new(
        keys: PeopleKeys,
        groups: &Groups,
        folder: Option<&std::path::Path>,
    ) -> Result<Self, ConfigError> {
        let path = keys.file.map(|name| folder.map_or_else(|| name.clone(), |folder| folder.join(&name)));
        Ok(Self {
            table: Table::new(keys.table, "people.table")?,
            file: path.map(TableFile::open).transpose()?,
            command: keys.command.map(Command::new).transpose()?,
            block: groups.patterns(&keys.block, "people.block")?,
        })
    }

    /// Logins that nothing runs for, whatever else is said.
    pub(crate) fn block(&self) -> &[Pattern] {
        &self.block
    }

    /// The file of the table, when there is one.
    pub(crate) fn file(&self) -> Option<&std::path::Path> {
        self.file.as_ref().map(TableFile::path)
    }

    /// The Slurm users that the table and the file name.
    pub(crate) async fn users(&self) -> Result<Vec<SlurmUser>, String> {
        let file = self.table_of_file().await?;
        let mut users: Vec<_> =
            [Some(&self.table), file.as_deref()].into_iter().flatten().flat_map(Table::users).cloned().collect();
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }

    async fn table_of_file(&self) -> Result<Option<std::sync::Arc<Table>>, String> {
        match &self.file {
            Some(file) => file.current().await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether nothing may run for that person.
    pub(crate) fn refuse_blocked(&self, person: &Person) -> Result<(), Rejected> {
        match self.block.iter().any(|pattern| pattern.matches(person.login.as_str())) {
            true => Err(denied("person", format!("{} is blocked by people.block of the gateway", person.login))),
            false => Ok(()),
        }
    }

    /// Where that person may be that user, or why not.
    pub(crate) async fn ask(&self, wish: Wish<'_>, mapping: &Mapping) -> Result<Granted, NotAllowed> {
        self.refuse_blocked(wish.person)?;
        let mut refusal = match self.table.ask(wish, mapping) {
            Ok(granted) => return Ok(granted),
            // Nothing overrules an id: another account has the login by now.
            Err(refusal @ (Refusal::OtherId(..) | Refusal::OtherLogin(..))) => {
                return Err(denied("slurmUser", refusal.words(wish)).into());
            }
            Err(refusal) => refusal,
        };
        if let Some(table) = self.table_of_file().await.map_err(NotAllowed::Unavailable)? {
            match table.ask(wish, mapping) {
                Ok(granted) => return Ok(granted),
                Err(of_file @ (Refusal::OtherId(..) | Refusal::OtherLogin(..))) => {
                    return Err(denied("slurmUser", of_file.words(wish)).into());
                }
                // The one that says more.
                Err(of_file) => refusal = refusal.max(of_file),
            }
        }
        if let Some(command) = &self.command
            && mapping.knows_owner_of(wish.repository)
            && command.users(wish.person, wish.url).await.map_err(NotAllowed::Unavailable)?.contains(wish.user)
        {
            let asked_per_repository = command.knows_repository();
            let whole = if asked_per_repository { wish.repository.clone() } else { wish.repository.owners() };
            return Ok(Granted { repositories: vec![whole] });
        }
        Err(denied("slurmUser", refusal.words(wish)).into())
    }

    /// The Slurm users that a person may be in a repository, by each of the three; for `check`. Without an id it is
    /// the account that is listed.
    pub(crate) async fn users_of(
        &self,
        login: &Login,
        id: Option<u64>,
        repository: (&RepositoryUrl, &str),
        mapping: &Mapping,
    ) -> Result<Vec<SlurmUser>, String> {
        let file = self.table_of_file().await?;
        let listed = [Some(&self.table), file.as_deref()].into_iter().flatten().find_map(|table| table.id_of(login));
        let person = &Person { login: login.clone(), id: id.or(listed).unwrap_or(0) };
        self.refuse_blocked(person).map_err(|rejected| rejected.problem)?;
        let tables = [Some(&self.table), file.as_deref()].into_iter().flatten();
        let mut users = Vec::new();
        for user in tables.flat_map(Table::users) {
            let wish = Wish { person, user, repository: repository.0, url: repository.1 };
            let of = |table: &Table| table.ask(wish, mapping).is_ok();
            if of(&self.table) || file.as_deref().is_some_and(of) {
                users.push(user.clone());
            }
        }
        if let Some(command) = &self.command
            && mapping.knows_owner_of(repository.0)
        {
            users.extend(command.users(person, repository.1).await?);
        }
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }

    /// Everybody, by table and file, whom the site lets be that user in all of those repositories; 0 where the account's
    /// number is not known. A file that cannot be read names nobody.
    pub(crate) async fn all_of(
        &self,
        user: &SlurmUser,
        repositories: &[RepositoryUrl],
        mapping: &Mapping,
    ) -> Vec<(u64, String)> {
        let file = self.table_of_file().await.unwrap_or_default();
        let tables = [Some(&self.table), file.as_deref()].into_iter().flatten();
        let everywhere =
            |allowance: &Allowance| repositories.iter().all(|repository| allowance.holds_for(repository, mapping));
        let all = tables.flat_map(Table::iter).filter(|(_, allowance)| allowance.names(user) && everywhere(allowance));
        let mut all: Vec<_> =
            all.map(|(login, allowance)| (allowance.id(), login.as_str().to_ascii_lowercase())).collect();
        all.sort_unstable();
        all.dedup();
        let known: Vec<String> = all.iter().filter(|(id, _)| *id != 0).map(|(_, login)| login.clone()).collect();
        // What has an id in one place goes by it.
        all.retain(|(id, login)| *id != 0 || !known.contains(login));
        all
    }
}

#[cfg(test)]
mod tests;
