//! What the documentation says can be followed: its links lead somewhere, its commands are shell, and the files that it
//! shows are accepted by the programs that read them.
//!
//! `.ci/run` reads its own commands from `README.md`; that they are there is checked here as well, where it costs nothing.

// clippy.toml lets tests panic; what they share is part of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gha_slurm_core::profile::Profiles;
use gha_slurm_gateway::config::Config;

/// A Markdown file.
struct Page {
    path: PathBuf,
    /// Without its code blocks.
    prose: String,
    /// The code blocks by language, without their indentation.
    code: Vec<(String, String)>,
}

impl Page {
    fn read(path: &str) -> Self {
        let path = root().join(path);
        let (mut prose, mut code) = (String::new(), Vec::new());
        let mut block: Option<(usize, String, String)> = None;
        for line in fs::read_to_string(&path).unwrap().lines() {
            let text = line.trim_start();
            match (&mut block, text.strip_prefix("```")) {
                (None, Some(language)) => block = Some((line.len() - text.len(), language.to_owned(), String::new())),
                (Some(_), Some("")) => code.extend(block.take().map(|(_, language, text)| (language, text))),
                (Some((indent, _, text)), _) => *text += &format!("{}\n", line.get(*indent..).unwrap_or_default()),
                (None, None) => prose += &format!("{line}\n"),
            }
        }
        assert!(block.is_none(), "{}: a code block does not end", path.display());
        Self { path, prose, code }
    }

    fn code(&self, language: &str) -> impl Iterator<Item = &str> {
        self.code.iter().filter(move |(of, _)| of == language).map(|(_, text)| text.as_str())
    }

    /// The targets of `[text](target)`.
    fn links(&self) -> impl Iterator<Item = &str> {
        self.prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
    }

    /// The names of its headings in a URL, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let text = line.trim_start_matches('#').trim().to_lowercase();
                let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }
}

fn root() -> &'static Path {
    // Links are followed from the root, not from a folder below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn pages() -> Vec<Page> {
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| format!("{folder}{}", entry.unwrap().file_name().to_string_lossy()));
        names.filter(|name| name.ends_with(".md")).collect()
    };
    let pages: Vec<Page> = names("").iter().chain(&names("docs/")).map(|name| Page::read(name)).collect();
    assert!(pages.len() > 10, "the pages are where they are looked for");
    pages
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> =
        pages.iter().map(|page| (page.path.canonicalize().unwrap(), page.anchors())).collect();
    for page in &pages {
        for link in page.links().filter(|link| !link.contains("://")) {
            let told = format!("{}: {link}", page.path.display());
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.path.clone(),
                _ => page.path.parent().unwrap().join(file),
            };
            let target = target.canonicalize().unwrap_or_else(|error| panic!("{told}: {error}"));
            let known = anchors.get(&target).is_some_and(|anchors| anchors.contains(anchor));
            assert!(anchor.is_empty() || known, "{told}: there is no such heading");
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = Page::read("docs/README.md");
    let listed: BTreeSet<&str> = index.links().collect();
    for page in pages().iter().filter(|page| page.path.parent() == Some(&root().join("docs"))) {
        let name = page.path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || listed.contains(name), "docs/README.md does not list {name}");
    }
}

#[test]
fn every_command_is_shell() {
    for page in pages() {
        for text in page.code("sh") {
            let mut shell = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            assert!(shell.wait().unwrap().success(), "{}:\n{text}", page.path.display());
        }
    }
}

#[test]
fn the_readme_has_the_commands_that_ci_runs() {
    let readme = Page::read("README.md");
    for begin in ["cargo test", "cargo run --release -- demo"] {
        let found = readme.code("sh").flat_map(str::lines).filter(|line| line.starts_with(begin)).count();
        assert_eq!(found, 1, "README.md: a line that begins with {begin:?}");
    }
}

#[test]
fn the_gateway_accepts_the_configuration_of_the_quickstart_and_the_example() {
    let quickstart = Page::read("docs/quickstart.md");
    let shown = quickstart.code("yaml").find(|text| text.contains("slurmUsers")).unwrap().to_owned();
    let example = fs::read_to_string(root().join("deploy/gateway.example.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00010203\n").unwrap();
    for text in [shown, example] {
        let file = folder.path().join("gateway.yaml");
        fs::write(&file, &text).unwrap();
        let loaded = Config::load(&file, &|_| None);
        assert!(loaded.is_ok(), "{}\n{text}", loaded.err().unwrap());
    }
}

#[test]
fn the_app_accepts_the_profiles_that_are_shown() {
    let page = Page::read("docs/configuration.md");
    let shown = page.code("toml").find(|text| text.contains("[[profile]]")).unwrap();
    let profiles = Profiles::parse(shown).unwrap();
    assert_eq!(profiles.names().collect::<Vec<_>>(), ["cpu", "whole-node"]);
}
