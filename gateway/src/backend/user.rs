//! Users of the machine, by the system's own directory (files, LDAP, whatever nsswitch.conf says).

use nix::unistd::User;

use super::BackendError;

/// The home directory of a user that exists. The directory may be a network away, so it is asked on a thread that may
/// wait.
pub(super) async fn home(name: &str) -> Result<String, BackendError> {
    let asked = name.to_owned();
    let found = tokio::task::spawn_blocking(move || User::from_name(&asked)).await;
    match found.map_err(|error| error.to_string()).and_then(|found| found.map_err(|error| error.to_string())) {
        Ok(Some(user)) => Ok(user.dir.to_string_lossy().into_owned()),
        Ok(None) => Err(BackendError::NoUser(name.to_owned())),
        Err(error) => Err(BackendError::Outage(format!("the user directory does not answer: {error}"))),
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
