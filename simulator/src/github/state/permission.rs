//! What an App or a token may do.

use std::collections::BTreeMap;

/// Permissions by name, each with `read` or `write`.
pub(crate) type Permissions = BTreeMap<String, String>;

/// How much of a permission a call takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Read,
    Write,
}

/// Whether they hold a permission at that level; `write` includes `read`.
pub(crate) fn allows(permissions: &Permissions, name: &str, level: Level) -> bool {
    match permissions.get(name).map(String::as_str) {
        Some("write") => true,
        Some("read") => level == Level::Read,
        _ => false,
    }
}
