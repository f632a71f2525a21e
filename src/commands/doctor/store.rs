//! The key-value store, opened as the host opens it.

use std::time::Duration;

use gha_slurm::host::State;
use gha_slurm::host::key_value::KeyValue;
use gha_slurm::host::private_files;
use gha_slurm_core::ledger::keys;
use gha_slurm_core::ports::{Random, Store, StoreError};

use super::report::Finding;
use crate::commands::native::Native;

const CHECK: &str = "store";
const DEADLINE: Duration = Duration::from_secs(5);

pub(super) fn check(native: &Native, state: &State) -> Vec<Finding> {
    let mut findings = vec![opens_and_counts(native, state)];
    if let State::Folder(folder) = state {
        let files = KeyValue::files(folder);
        findings.extend(files.iter().filter_map(|file| private_files::readable_by_others(file)).map(|file| {
            let mend = format!("chmod go= {}; `gha-slurm up` does that by itself at its start", file.path.display());
            Finding::wrong(CHECK, file.to_string(), mend)
        }));
    }
    findings
}

fn opens_and_counts(native: &Native, state: &State) -> Finding {
    let (place, opened) = match state {
        State::Memory => {
            empty(native);
            return Finding::ok(CHECK, "in memory: everything is lost when the process ends");
        }
        State::Folder(folder) if !KeyValue::files(folder)[0].exists() => {
            empty(native);
            // If it were created here, it might belong to another user than the application's.
            let found = format!("there is none in {} yet: the application creates it", folder.display());
            return Finding::ok(CHECK, found)
                .with_hint("if the application is running, give its folder with --state-dir");
        }
        State::Folder(folder) => (format!("SQLite in {}", folder.display()), KeyValue::open(folder)),
        State::Redis(url) => {
            let opened = native.wait(async { tokio::time::timeout(DEADLINE, KeyValue::redis(url)).await });
            let late = format!("Redis did not answer within {} s", DEADLINE.as_secs());
            match opened {
                Ok(opened) => ("Redis".to_owned(), opened),
                Err(_) => return Finding::wrong(CHECK, late, "start the Redis server, or correct its URL"),
            }
        }
    };
    match opened {
        Ok(store) => native.attach(store),
        Err(error) => {
            let fix = "give the application's user read and write permission, or correct --state-dir or --runtime-config-file";
            return Finding::wrong(CHECK, format!("{place} cannot be opened: {error}"), fix);
        }
    }
    match counts(native) {
        Ok(true) => Finding::ok(CHECK, format!("{place}; counters work")),
        Ok(false) => {
            let fix = "use another store: with this one, two runners may get the credential of one job";
            Finding::wrong(CHECK, format!("{place}: counters do not work"), fix)
        }
        Err(error) => Finding::wrong(
            CHECK,
            format!("{place}: {error}"),
            "give the application's user write permission, or free some disk space",
        ),
    }
}

/// For the other checks, nothing is stored.
fn empty(native: &Native) {
    if let Ok(store) = KeyValue::in_memory() {
        native.attach(store);
    }
}

/// Whether a counter works as claims need it to.
fn counts(native: &Native) -> Result<bool, StoreError> {
    let mut name = [0; 8];
    native.fill(&mut name);
    let key = keys::doctor(&format!("{:016x}", u64::from_be_bytes(name)));
    let counted = native
        .increment(&key, 1)
        .and_then(|first| Ok((first, native.increment(&key, 1)?, native.increment(&key, 40)?)));
    native.delete(&key)?;
    Ok(counted? == (1, 2, 42) && native.get(&key)?.is_none())
}
