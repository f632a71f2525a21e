//! Users of the machine, by the system's own directory (files, LDAP, whatever nsswitch.conf says).

use nix::unistd::User;

use super::BackendError;

/// The home directory of a user that exists.
pub(super) fn home(name: &str) -> Result<String, BackendError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.dir.to_string_lossy().into_owned()),
        Ok(None) => Err(BackendError::Refused(format!("there is no user {name} on the gateway's machine"))),
        Err(error) => Err(BackendError::Outage(format!("the user directory does not answer: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_exists_or_is_refused() {
        assert_eq!(home("root").unwrap(), "/root");
        assert!(matches!(home("nobody-of-this-name"), Err(BackendError::Refused(_))));
    }
}
