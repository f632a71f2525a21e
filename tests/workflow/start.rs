//! Starting: from compiled code where there is some, and with a clear word where something is wrong.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{built_for_tests, program};

/// Runs a host until it listens or gives up; what it logged, and how long that took.
fn start(manifest: &Path, flags: &[&str]) -> (bool, String, Duration) {
    let begun = Instant::now();
    let mut host = program()
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

#[test]
fn a_store_is_its_owners_alone_also_where_it_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), &built_for_tests("floor"));
    let state = folder.path().join("state");
    let flags = ["--state-dir", state.to_str().unwrap(), "--compiled-dir", ""];
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let modes = || {
        let files = std::fs::read_dir(&state).unwrap().map(|file| mode(&file.unwrap().path()));
        (mode(&state), files.collect::<std::collections::BTreeSet<_>>())
    };
    assert!(start(&manifest, &flags).0);
    assert_eq!(modes(), (0o700, [0o600].into()));
    let file = state.join("sqlite_key_value.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let doctor = program().args(["doctor", "--from"]).arg(&manifest).arg("--state-dir").arg(&state).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("mode 0644") && said.contains("chmod go="), "{said}");
    assert_eq!(mode(&file), 0o644, "the doctor changes nothing");
    let (listens, log, _) = start(&manifest, &flags);
    assert!(listens && log.contains("0644") && log.contains("0777"), "{log}");
    assert_eq!(modes(), (0o755, [0o600].into()));
}

#[test]
fn a_file_with_secrets_that_others_can_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = manifest(folder.path(), &built_for_tests("floor"));
    let file = folder.path().join("runtime-config.toml");
    std::fs::write(&file, "[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://:hunter2@127.0.0.1:1\"\n")
        .unwrap();
    for (mode, told) in [(0o640, true), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let (listens, log, _) =
            start(&manifest, &["--compiled-dir", "", "--runtime-config-file", file.to_str().unwrap()]);
        assert_eq!((listens, log.contains("runtime-config.toml can be read")), (false, told), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
    let env = folder.path().join(".env");
    std::fs::write(&env, "SPIN_VARIABLE_X=hunter2\n").unwrap();
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut doctor = program();
    let said = doctor.current_dir(folder.path()).args(["doctor", "--state-dir", ""]).output().unwrap().stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains(".env can be read") && !said.contains("hunter2"), "{said}");
}
