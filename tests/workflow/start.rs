//! Starting: from compiled code where there is some, and with a clear word where something is wrong.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::built_for_tests;

/// Runs a host until it listens or gives up; what it logged, and how long that took.
fn start(manifest: &Path, flags: &[&str]) -> (bool, String, Duration) {
    let begun = Instant::now();
    let mut host = Command::new(env!("CARGO_BIN_EXE_gha-slurm"))
        .args(["up", "--listen", "127.0.0.1:0", "--from"])
        .arg(manifest)
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(host.stdout.take().unwrap()), &mut line).unwrap();
    let took = begun.elapsed();
    let _ = host.kill();
    let Output { stderr, .. } = host.wait_with_output().unwrap();
    (line.starts_with("listening"), String::from_utf8_lossy(&stderr).into_owned(), took)
}

fn manifest(folder: &Path, source: &Path) -> std::path::PathBuf {
    let path = folder.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"a\"\n[[trigger.http]]\nroute = \"/\"\ncomponent = \"c\"\n\
         [component.c]\nsource = {source:?}\nkey_value_stores = [\"default\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_second_start_takes_compiled_code_and_one_after_a_change_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), &built_for_tests("floor"));
    let compiled = folder.path().join("compiled");
    let flags = ["--state-dir", "", "--compiled-dir", compiled.to_str().unwrap()];
    let (first, log, cold) = start(&manifest, &flags);
    assert!(first && log.contains("compiled"), "{log}");
    let (second, log, warm) = start(&manifest, &flags);
    assert!(second && !log.contains("compiled"), "{log}");
    assert!(warm < cold, "{warm:?} after {cold:?}");

    let file = std::fs::read_dir(&compiled).unwrap().next().unwrap().unwrap().path();
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"more").unwrap();
    let (third, log, _) = start(&manifest, &flags);
    assert!(third && log.contains("compiled anew") && log.contains("not what was written"), "{log}");
    let (fourth, log, _) = start(&manifest, &flags);
    assert!(fourth && !log.contains("compiled"), "it was written anew: {log}");

    std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (fifth, log, _) = start(&manifest, &flags);
    assert!(fifth && log.contains("not kept") && log.contains("others"), "{log}");
}

#[test]
fn a_component_that_cannot_be_loaded_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("c.wasm");
    let manifest = manifest(folder.path(), &source);
    let refused = |flags: &[&str]| {
        let (listens, log, _) = start(&manifest, flags);
        assert!(!listens, "{log}");
        log
    };
    let flags = ["--state-dir", "", "--compiled-dir", ""];
    let log = refused(&flags);
    assert!(log.contains("c.wasm") && log.contains("--build"), "{log}");
    let good = std::fs::read(built_for_tests("floor")).unwrap();
    for bad in [&b"#!/bin/sh"[..], &good[..good.len() / 2], b""] {
        std::fs::write(&source, bad).unwrap();
        let log = refused(&flags);
        assert!(log.contains("component c cannot be loaded") && log.contains("c.wasm"), "{log}");
    }
    // One name of an import, of the same length, that no host has.
    let asked = b"wasi:http/types@0.2.0";
    let foreign = b"wasi:httq/types@0.2.0";
    let mut other = good.clone();
    let mut at = 0;
    while let Some(found) = other[at..].windows(asked.len()).position(|window| window == asked) {
        other[at + found..at + found + asked.len()].copy_from_slice(foreign);
        at += found + 1;
    }
    std::fs::write(&source, other).unwrap();
    let log = refused(&flags);
    assert!(log.contains("wasi:httq/types"), "the import is named: {log}");
}

#[test]
fn a_store_that_cannot_be_used_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), &built_for_tests("floor"));
    let state = folder.path().join("state");
    let flags = ["--state-dir", state.to_str().unwrap(), "--compiled-dir", ""];
    assert!(start(&manifest, &flags).0);
    std::fs::write(state.join("sqlite_key_value.db"), "no database ".repeat(100)).unwrap();
    for rest in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(state.join(format!("sqlite_key_value.db{rest}")));
    }
    let (listens, log, _) = start(&manifest, &flags);
    assert!(!listens && log.contains("sqlite_key_value.db") && log.contains("no SQLite database"), "{log}");
}
