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
            return Finding::ok(CHECK, "in memory: all is forgotten with the process");
        }
        State::Folder(folder) if !KeyValue::files(folder)[0].exists() => {
            empty(native);
            // To make it here could make it somebody else's than the application's.
            let found = format!("there is none in {} so far: the application makes it", folder.display());
            return Finding::ok(CHECK, found).with_hint("if the application runs, name its folder with --state-dir");
        }
        State::Folder(folder) => (format!("SQLite in {}", folder.display()), KeyValue::open(folder)),
        State::Redis(url) => {
            let opened = native.wait(async { tokio::time::timeout(DEADLINE, KeyValue::redis(url)).await });
            let late = format!("no answer within {} s", DEADLINE.as_secs());
            match opened {
                Ok(opened) => ("Redis".to_owned(), opened),
                Err(_) => return Finding::wrong(CHECK, late, "start the server, or correct its URL"),
            }
        }
    };
    match opened {
        Ok(store) => native.attach(store),
        Err(error) => {
            let mend = "let the application's user read and write it, or correct --state-dir or --runtime-config-file";
            return Finding::wrong(CHECK, format!("{place} cannot be opened: {error}"), mend);
        }
    }
    match counts(native) {
        Ok(true) => Finding::ok(CHECK, format!("{place}, and counters count")),
        Ok(false) => {
            let mend = "without that two runners may get one job's credential: use another store";
            Finding::wrong(CHECK, format!("{place} does not count as it should"), mend)
        }
        Err(error) => Finding::wrong(
            CHECK,
            format!("{place}: {error}"),
            "let the application's user write it, and free some space",
        ),
    }
}

/// The other checks find nothing kept.
fn empty(native: &Native) {
    if let Ok(store) = KeyValue::in_memory() {
        native.attach(store);
    }
}

/// Whether a counter of our own does what claims rest on.
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
