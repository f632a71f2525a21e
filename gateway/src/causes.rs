//! Errors with what caused them; a library's own text often stops before the cause that says something.

use std::error::Error;

/// The error and its causes, from the outermost on. An I/O error that wraps another is passed through to that one.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => Some(io.get_ref()?),
        None => error.source(),
    }
}

/// All of them in a line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for each in chain(error).map(ToString::to_string) {
        // An I/O error has the text of the one that it wraps.
        if !text.ends_with(&each) {
            text += if text.is_empty() { "" } else { ": " };
            text += &each;
        }
    }
    text
}

/// The first of a kind among them.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_cause_is_found_behind_those_that_wrap_it() {
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::TimedOut, "nobody is there"));
        assert_eq!(with_causes(&wrapped), "nobody is there");
        let config = crate::service::OpenError::from(crate::config::invalid("tls", "x"));
        assert_eq!(with_causes(&config), "tls: x");
        assert!(cause::<crate::config::ConfigError>(&wrapped).is_none() && cause::<io::Error>(&wrapped).is_some());
    }
}
