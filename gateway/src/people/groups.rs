//! Names for several people at once, which stand as `@name` where logins do.

use std::collections::BTreeMap;

use gha_slurm_protocol::identity::Login;
use gha_slurm_protocol::values::is_plain;

use crate::config::{ConfigError, Pattern, invalid};

/// The groups of a configuration.
#[derive(Debug, Default)]
pub struct Groups(BTreeMap<String, Vec<Pattern>>);

impl Groups {
    pub(crate) fn new(groups: BTreeMap<String, Vec<String>>) -> Result<Self, ConfigError> {
        let one = |(name, logins): (String, Vec<String>)| {
            let key = format!("people.groups.{name}");
            if !is_plain(&name, b"-_", 64) {
                return Err(invalid(key, "name a group by letters, digits, - and _"));
            }
            let login = |text: &String| match text.parse::<Login>() {
                Ok(_) => Pattern::login(text).ok_or_else(|| invalid(&key, "not a GitHub login")),
                Err(_) => Err(invalid(&key, format!("{text:?} is no GitHub login"))),
            };
            let logins = logins.iter().map(login).collect::<Result<_, _>>()?;
            Ok((name, logins))
        };
        groups.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Logins, patterns of logins and `@group`s as patterns.
    pub(crate) fn patterns(&self, words: &[String], key: &str) -> Result<Vec<Pattern>, ConfigError> {
        let mut all = Vec::new();
        for word in words {
            match word.strip_prefix('@') {
                Some(group) => all.extend_from_slice(
                    self.0.get(group).ok_or_else(|| invalid(key, format!("{word}: people.groups has no {group}")))?,
                ),
                None => all.push(Pattern::login(word).ok_or_else(|| {
                    invalid(key, format!("{word:?} is neither a GitHub login, the beginning of one with *, nor @group"))
                })?),
            }
        }
        Ok(all)
    }
}
