//! The walls of the repository: which crate may use which, read from `cargo metadata`. Arrows point down only:
//!
//! ```text
//! components/webhook runner cluster tick setup console → adapter, delivery, overview → edge → core → protocol ← gateway
//! ```
//!
//! The simulator uses nothing of ours, so that it cannot repeat a mistake of ours. What the gateway links is what an
//! auditor of it reads. The host knows nothing of the domain; as it shares a package with the commands, which know
//! both, that wall is kept by a look at its source.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What of ours each crate may use. One component uses no other: what two of them need is below them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("cluster", COMPONENT),
    ("webhook", COMPONENT),
    ("runner", COMPONENT),
    ("tick", COMPONENT),
    ("setup", COMPONENT),
    ("console", COMPONENT),
    ("adapter", &["core", "edge", "protocol"]),
    ("delivery", &["core", "protocol"]),
    ("overview", &["core", "protocol"]),
    ("edge", &["core", "protocol"]),
    ("core", &["protocol"]),
    ("protocol", &[]),
    ("gateway", &["protocol"]),
    ("simulator", &[]),
];
const COMPONENT: &[&str] = &["adapter", "core", "delivery", "edge", "overview", "protocol"];

/// What must not be in a program, by whatever way: of the gateway, which checks no signature of GitHub's, serves no
/// pages and keeps no ledger.
const NEVER: &[(&str, &[&str])] = &[("gateway", &["gha-slurm-core", "gha-slurm-simulator", "maud", "rsa"])];

/// The only modules of the root package that the host may name.
const BELOW_HOST: &[&str] = &["host", "logging"];

/// Cargo's view of the workspace.
struct Workspace {
    /// Package names by the id that cargo gives them.
    names: BTreeMap<String, String>,
    /// What each package is linked with on this platform: its dependencies without those of its tests.
    linked: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeMap<String, Package>,
}

/// One of our packages.
struct Package {
    /// Relative to the root.
    folder: PathBuf,
    /// What its manifest names, on whatever platform, its tests' dependencies aside.
    uses: BTreeSet<String>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path"])
            // What only other platforms need was perhaps never downloaded.
            .args([format!("{ROOT}/Cargo.toml"), "--filter-platform".to_owned(), host_triple()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let members: BTreeSet<String> = metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
        let (mut names, mut ours) = (BTreeMap::new(), BTreeMap::new());
        for package in metadata["packages"].as_array().unwrap() {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            if members.contains(&id) {
                let folder = PathBuf::from(text(&package["manifest_path"])).parent().unwrap().to_owned();
                let uses = package["dependencies"].as_array().unwrap().iter();
                let uses = uses.filter(|used| used["kind"] != "dev").map(|used| text(&used["name"])).collect();
                ours.insert(name.clone(), Package { folder: folder.strip_prefix(ROOT).unwrap().to_owned(), uses });
            }
            names.insert(id, name);
        }
        let linked = metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| {
            let dependencies = node["deps"].as_array().unwrap().iter();
            let linked = dependencies.filter(|dependency| {
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev")
            });
            (text(&node["id"]), linked.map(|dependency| text(&dependency["pkg"])).collect())
        });
        let linked = linked.collect();
        Self { names, linked, ours }
    }

    fn id(&self, name: &str) -> &str {
        let found = self.names.iter().find(|(_, known)| *known == name);
        found.unwrap_or_else(|| panic!("there is no package {name}")).0
    }

    /// Every package that ends up in a program or library with it.
    fn contains(&self, name: &str) -> BTreeSet<&str> {
        let mut all = BTreeSet::new();
        let mut open = vec![self.id(name)];
        while let Some(id) = open.pop() {
            for dependency in &self.linked[id] {
                if all.insert(self.names[dependency].as_str()) {
                    open.push(dependency);
                }
            }
        }
        all
    }
}

/// The machine's own platform.
fn host_triple() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

fn package(short: &str) -> String {
    format!("gha-slurm-{short}")
}

/// The program itself, its tests and its benchmarks are on top: they may use all, and nothing may use them.
fn on_top(folder: &Path) -> bool {
    folder == Path::new("") || folder.starts_with("tests") || folder.starts_with("benches")
}

#[test]
fn each_crate_uses_only_those_below_it() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for (name, Package { folder, uses }) in &workspace.ours {
        if on_top(folder) {
            continue;
        }
        let Some((_, may)) = MAY_USE.iter().find(|(short, _)| *name == package(short)) else {
            panic!("say in tests/layout.rs what {name} may use");
        };
        let ours = uses.iter().filter(|used| workspace.ours.contains_key(*used));
        let too_much = ours.filter(|used| !may.iter().any(|short| **used == package(short)));
        wrong.extend(too_much.map(|used| format!("{name} uses {used}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_gateway_contains_neither_the_domain_nor_rsa_nor_pages() {
    let workspace = Workspace::read();
    for (short, never) in NEVER {
        let contained = workspace.contains(&package(short));
        let found: Vec<_> = never.iter().filter(|name| contained.contains(*name)).collect();
        assert!(found.is_empty(), "{short} contains {found:?}");
    }
}

#[test]
fn the_host_knows_nothing_of_the_domain() {
    let mut open = vec![Path::new(ROOT).join("src/host")];
    let mut wrong = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let ours = text.lines().filter(|line| line.contains("gha_slurm_"));
        wrong.extend(ours.map(|line| format!("{}: {line}", path.display())));
        for (_, rest) in text.match_indices("crate::").map(|(at, found)| text.split_at(at + found.len())) {
            let module = rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap();
            if !BELOW_HOST.contains(&module) {
                wrong.push(format!("{}: crate::{module}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What `cargo run` compiles of others' crates, and with which features, is among what `cargo test --workspace` compiles.
#[test]
fn dependencies_are_compiled_once_for_the_program_and_its_tests() {
    let tree = |arguments: &[&str]| -> BTreeSet<String> {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} {f}", "--edges"])
            .args(arguments)
            .current_dir(ROOT)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let others = text.lines().filter(|line| !line.contains(ROOT));
        others.map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let program = tree(&["normal,build", "--package", "gha-slurm"]);
    let tests = tree(&["normal,build,dev", "--workspace"]);
    let twice: Vec<_> = program.difference(&tests).collect();
    assert!(twice.is_empty(), "name the features that tests add in Cargo.toml, as is done for `zerocopy`: {twice:#?}");
}
