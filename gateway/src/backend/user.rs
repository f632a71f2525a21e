//! Users of the machine, by the system's own directory (files, LDAP, whatever nsswitch.conf says).

use std::time::Duration;

use nix::unistd::User;

use super::BackendError;

const DEADLINE: Duration = Duration::from_secs(10);

/// The home directory of a user that exists. The directory may be a network away, so it is asked on a thread that may
/// wait.
pub(super) async fn home(name: &str) -> Result<String, BackendError> {
    let asked = name.to_owned();
    let found = tokio::task::spawn_blocking(move || User::from_name(&asked));
    let outage =
        |why: &dyn std::fmt::Display| BackendError::Outage(format!("the user directory does not answer: {why}"));
    match tokio::time::timeout(DEADLINE, found).await {
        Ok(Ok(Ok(Some(user)))) => Ok(user.dir.to_string_lossy().into_owned()),
        Ok(Ok(Ok(None))) => Err(BackendError::NoUser(name.to_owned())),
        Ok(Ok(Err(error))) => Err(outage(&error)),
        Ok(Err(error)) => Err(outage(&error)),
        Err(late) => Err(outage(&late)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_exists_or_is_refused() {
        assert_eq!(home("root").await.unwrap(), "/root");
        assert_eq!(home("nobody-of-this-name").await, Err(BackendError::NoUser("nobody-of-this-name".to_owned())));
    }
}
