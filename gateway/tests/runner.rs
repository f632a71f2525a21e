//! `gha-slurm-gateway runner update`, really run, against a stand-in for GitHub's releases that misbehaves as told.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use gha_slurm_protocol::hex::hex;
use serde_json::json;
use sha2::{Digest, Sha256};

#[derive(Clone)]
enum Reply {
    Whole(Vec<u8>),
    /// Closed after so many bytes.
    Cut(Vec<u8>, usize),
    /// Silent after so many bytes.
    Stalls(Vec<u8>, usize),
    Leads(String),
    Status(u16),
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    asked: Vec<String>,
}

/// Where releases come from.
struct Hub {
    url: String,
    state: Arc<Mutex<State>>,
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap()?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        state.replies.get(&path).cloned().unwrap_or(Reply::Status(404))
    };
    let mut stream = stream;
    let (head, body, sent) = match reply {
        Reply::Whole(body) => ("200 OK".to_owned(), body.clone(), body.len()),
        Reply::Cut(body, sent) => ("200 OK".to_owned(), body, sent),
        Reply::Stalls(body, sent) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body[..sent])?;
            std::thread::sleep(Duration::from_secs(30));
            return Ok(());
        }
        Reply::Leads(to) => (format!("302 Found\r\nlocation: {to}"), Vec::new(), 0),
        Reply::Status(status) => (format!("{status} X"), Vec::new(), 0),
    };
    write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body[..sent])
}

impl Hub {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { url, state }
    }

    fn reply(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }

    /// Publishes a release as the newest; its archive is led to, as by GitHub.
    fn publish(&self, version: &str, archive: &[u8]) {
        self.describe(version, &format!("sha256:{}", hex(Sha256::digest(archive))));
        self.reply(&format!("/download/{}", file(version)), Reply::Leads(format!("/files/{version}")));
        self.reply(&format!("/files/{version}"), Reply::Whole(archive.to_owned()));
    }

    fn describe(&self, version: &str, digest: &str) {
        let name = file(version);
        let release = json!({
            "tag_name": format!("v{version}"), "published_at": "2026-08-17T13:15:44Z",
            "assets": [
                {"name": "actions-runner-osx-x64.tar.gz", "browser_download_url": "https://nowhere.test/x", "digest": null},
                {"name": name, "browser_download_url": format!("{}/download/{name}", self.url), "digest": digest},
            ],
        });
        let release = serde_json::to_vec(&release).unwrap();
        for which in ["latest".to_owned(), format!("tags/v{version}")] {
            self.reply(&format!("/repos/actions/runner/releases/{which}"), Reply::Whole(release.clone()));
        }
    }

    fn update(&self, to: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
        command.args(["runner", "update", "--api", &self.url, "--to"]).arg(to).args(more);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
    }
}

fn file(version: &str) -> String {
    let platform = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };
    format!("actions-runner-{platform}-{version}.tar.gz")
}

fn run(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// An archive of the runner's stand-in, with what a script does in addition: in its folder, with `$TAR` to append to.
fn archive_with(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (runner, tar) = (folder.path().join("runner"), folder.path().join("runner.tar"));
    gha_slurm_simulator::runner::install(&runner).unwrap();
    // As of GitHub's: links within, a version in a file.
    std::fs::write(runner.join("externals/node"), "node").unwrap();
    symlink("../externals/node", runner.join("bin/node")).unwrap();
    let script = format!("set -e; tar -cf $TAR .; {script}\ngzip $TAR");
    let made = Command::new("bash").args(["-c", &script]).env("TAR", &tar).current_dir(&runner).status().unwrap();
    assert!(made.success(), "{script}");
    std::fs::read(folder.path().join("runner.tar.gz")).unwrap()
}

fn archive(version: &str) -> Vec<u8> {
    archive_with(&format!("echo {version} >release; tar -rf $TAR release"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn current(folder: &Path) -> PathBuf {
    std::fs::read_link(folder.join("current")).unwrap()
}

#[test]
fn the_newest_release_is_installed_and_then_as_before() {
    let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
    let to = folder.path().join("a/runners");
    hub.publish("2.301.0", &archive("2.301.0"));
    let mut strict = Command::new("bash");
    strict.args(["-c", "umask 077; exec \"$@\"", "x", env!("CARGO_BIN_EXE_gha-slurm-gateway")]);
    strict.args(["runner", "update", "--api", &hub.url, "--to"]).arg(&to);
    let (good, said) = run(strict);
    assert!(good && said.contains(&format!("runner: {}/current", to.display())), "{said}");
    assert_eq!(current(&to), Path::new("2.301.0"));
    assert_eq!(names(&to), [".lock", "2.301.0", "current"]);
    assert_eq!(std::fs::read_to_string(to.join("current/release")).unwrap(), "2.301.0\n");
    assert_eq!(std::fs::read_to_string(to.join("current/bin/node")).unwrap(), "node");
    for (name, mode) in [("", 0o755), ("bin", 0o755), ("bin/Runner.Listener", 0o755), ("release", 0o644)] {
        let found = std::fs::metadata(to.join("current").join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "everybody reads {name}, whatever the umask: {found:o}");
    }
    let (good, said) = run(hub.update(&to, &[]));
    assert!(good && said.contains("2.301.0, as before"), "{said}");
    assert_eq!(hub.asked("/files/2.301.0"), 1, "once");

    let config = folder.path().join("gateway.yaml");
    let text = format!(
        "listen: 127.0.0.1:0\nghaSharedSecret: {}\nstateDirectory: {1}\njob: {{runner: {2}/current}}\nbackend: sbatch\n\
         repositories: [{{gitHubURL: 'https://github.com/o/r', slurmUser: nobody}}]\n",
        "0123456789abcdef",
        folder.path().display(),
        to.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
    check.arg("check").arg("--config").arg(&config);
    let (_, said) = run(check);
    assert!(said.contains("/current: ok, 2.301.0, GitHub's newest"), "{said}");
}

#[test]
fn a_newer_one_takes_over_and_what_was_long_not_in_use_goes() {
    let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
    let to = folder.path();
    let age = |version: &str| {
        let marker = std::fs::File::options().append(true).open(to.join(version).join(".gha-slurm.json")).unwrap();
        marker.set_modified(SystemTime::now() - Duration::from_secs(31 * 24 * 3600)).unwrap();
    };
    for version in ["2.301.0", "2.302.0", "2.303.0"] {
        hub.publish(version, &archive(version));
        let (good, said) = run(hub.update(to, &[]));
        assert!(good && current(to) == Path::new(version), "{said}");
        // What is not this command's is never removed.
        std::fs::create_dir_all(to.join("2.1.0")).unwrap();
        if version == "2.301.0" {
            // It was in use up to now, however long ago it came.
            age(version);
        }
    }
    assert_eq!(names(to), [".lock", "2.1.0", "2.301.0", "2.302.0", "2.303.0", "current"]);
    age("2.301.0");
    age("2.302.0");
    age("2.303.0");
    let (good, said) = run(hub.update(to, &[]));
    assert!(good && said.contains("2.303.0, as before") && said.contains("removed"), "{said}");
    assert_eq!(names(to).len(), 5, "the last one before stays: {:?}", names(to));
    // Back to what is there, without a download.
    let left = if to.join("2.302.0").exists() { "2.302.0" } else { "2.301.0" };
    let (good, said) = run(hub.update(to, &["--version", left]));
    assert!(good && said.contains("and was 2.303.0") && current(to) == Path::new(left), "{said}");
    assert_eq!(hub.asked(&format!("/files/{left}")), 1);
}

#[test]
fn what_is_not_as_published_changes_nothing() {
    let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
    let to = folder.path().join("runners");
    hub.publish("2.301.0", &archive("2.301.0"));
    assert!(run(hub.update(&to, &[])).0);
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let good = archive("2.302.0");
    let unchanged = |words: &str| {
        let (success, said) = run(hub.update(&to, &[]));
        assert!(!success && said.contains(words), "{words}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(current(&to), Path::new("2.301.0"));
        assert!(!to.join("2.302.0").exists(), "{words}");
        assert_eq!(names(&outside), [""; 0], "{words}");
    };
    hub.publish("2.302.0", &good);
    hub.describe("2.302.0", &format!("sha256:{}", "0".repeat(64)));
    unchanged("it is not what GitHub published");
    hub.describe("2.302.0", "md5:00");
    unchanged("--sha256");
    hub.publish("2.302.0", &good);
    hub.reply("/files/2.302.0", Reply::Cut(good.clone(), good.len() / 2));
    unchanged("was cut off");
    hub.reply("/files/2.302.0", Reply::Status(404));
    unchanged("no such release");
    hub.reply("/files/2.302.0", Reply::Leads("/files/2.302.0".to_owned()));
    unchanged("from one URL to the next");
    hub.reply("/files/2.302.0", Reply::Leads("file:///etc/passwd".to_owned()));
    unchanged("no TLS");
    hub.reply("/repos/actions/runner/releases/latest", Reply::Whole(b"<html>".to_vec()));
    unchanged("does not answer with a release");

    // As published, and still nothing that is used.
    hub.publish("2.302.0", b"no archive");
    unchanged("cannot be unpacked");
    hub.publish("2.302.0", &good[..good.len() / 2]);
    unchanged("cannot be unpacked");
    let at = outside.display();
    for (words, script) in [
        ("cannot be unpacked", "echo x >../evil; tar -P -rf $TAR ../evil; rm ../evil".to_owned()),
        (
            "leads elsewhere",
            format!("ln -s {at} out; tar -rf $TAR out; rm out; mkdir out; echo x >out/evil; tar -rf $TAR out/evil"),
        ),
        ("leads elsewhere", "ln -s ../../current up; tar -rf $TAR up".to_owned()),
        ("leads elsewhere", "ln -s /etc/passwd bin/passwd; tar -rf $TAR bin/passwd".to_owned()),
        ("leads elsewhere", "mkfifo pipe; tar -rf $TAR pipe".to_owned()),
        ("not of a runner", "tar --delete -f $TAR ./run.sh".to_owned()),
    ] {
        hub.publish("2.302.0", &archive_with(&script));
        let (success, said) = run(hub.update(&to, &[]));
        // However tar treats it, nothing leaves the folder.
        assert!(!success && (said.contains(words) || said.contains("cannot be unpacked")), "{script}: {said}");
        assert_eq!((current(&to).as_path(), names(&outside)), (Path::new("2.301.0"), vec![]), "{script}");
        assert!(!to.join("2.302.0").exists() && !to.join("evil").exists(), "{script}");
    }
    // An absolute name stays within, and no bit of another's rights is kept.
    let absolute =
        format!("echo x >{at}/evil; tar -P -rf $TAR {at}/evil; rm {at}/evil; chmod 6777 run.sh; tar -rf $TAR run.sh");
    hub.publish("2.302.0", &archive_with(&absolute));
    let (success, said) = run(hub.update(&to, &[]));
    assert!(success && names(&outside).is_empty(), "{said}");
    let mode = std::fs::metadata(to.join("current/run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert_eq!(names(&to), [".lock", "2.301.0", "2.302.0", "current"], "nothing is left of all that");
}

#[test]
fn one_that_is_killed_leaves_the_link_and_two_at_once_download_once() {
    let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
    let to = folder.path();
    hub.publish("2.301.0", &archive("2.301.0"));
    assert!(run(hub.update(to, &[])).0);
    let newer = archive("2.302.0");
    hub.publish("2.302.0", &newer);
    hub.reply("/files/2.302.0", Reply::Stalls(newer.clone(), newer.len() / 2));
    let mut cut = hub.update(to, &[]).stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while hub.asked("/files/2.302.0") == 0 || !to.join(".new/archive.tar.gz").exists() {
        assert!(Instant::now() < patience, "it downloads");
        std::thread::sleep(Duration::from_millis(50));
    }
    cut.kill().unwrap();
    cut.wait().unwrap();
    assert_eq!((current(to).as_path(), to.join("2.302.0").exists()), (Path::new("2.301.0"), false));

    hub.reply("/files/2.302.0", Reply::Whole(newer));
    let two = [0, 1].map(|_| hub.update(to, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    for one in two {
        let output = one.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(hub.asked("/files/2.302.0"), 2, "the one that was killed, and one of both");
    assert_eq!((current(to).as_path(), names(to).len()), (Path::new("2.302.0"), 4));

    // Killed between the last two steps.
    std::fs::remove_file(to.join("current")).unwrap();
    symlink("2.301.0", to.join("current")).unwrap();
    symlink("nowhere", to.join(".current")).unwrap();
    std::fs::create_dir(to.join(".old-2.300.0")).unwrap();
    assert!(run(hub.update(to, &[])).0);
    assert_eq!(names(to), [".lock", "2.301.0", "2.302.0", "current"]);
    assert_eq!(current(to), Path::new("2.302.0"));
}

#[test]
fn a_site_without_a_way_to_github_brings_a_file_or_a_mirror_and_the_sum() {
    let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
    let to = folder.path().join("runners");
    let bytes = archive("2.301.0");
    let sum = hex(Sha256::digest(&bytes));
    let place = folder.path().join(file("2.301.0"));
    std::fs::write(&place, &bytes).unwrap();
    let from = place.to_str().unwrap();
    let (good, said) = run(hub.update(&to, &["--from", from]));
    assert!(!good && said.contains("--sha256"), "{said}");
    let (good, said) = run(hub.update(&to, &["--from", from, "--sha256", &"1".repeat(64)]));
    assert!(!good && said.contains("has the SHA-256") && names(&to) == [".lock"], "{said}");
    let (good, said) = run(hub.update(&to, &["--from", from, "--sha256", &sum]));
    assert!(good && current(&to) == Path::new("2.301.0"), "{said}");

    // By a proxy, to a host that is nowhere else.
    let url = "http://mirror.test/runner?a=b";
    hub.reply(url, Reply::Whole(archive("2.302.0")));
    let sum = hex(Sha256::digest(archive_of(&hub, url)));
    let mirrored = |more: &[&str]| {
        let mut command = hub.update(&to, &["--from", url, "--sha256", &sum]);
        command.args(more).env("http_proxy", &hub.url);
        run(command)
    };
    let (good, said) = mirrored(&[]);
    assert!(!good && said.contains("give it as --version"), "{said}");
    let (good, said) = mirrored(&["--version", "2.302.0"]);
    assert!(good && current(&to) == Path::new("2.302.0"), "{said}");
    let (good, said) = run(hub.update(&to, &["--from", from, "--sha256", &sum, "--version", "2.302.0"]));
    assert!(good && said.contains("as before"), "its sum is there already: {said}");
    let (good, said) = run(hub.update(&to, &["--from", from, "--sha256", &"1".repeat(64), "--version", "2.302.0"]));
    assert!(!good && said.contains("is of another archive"), "{said}");
}

fn archive_of(hub: &Hub, path: &str) -> Vec<u8> {
    match &hub.state.lock().unwrap().replies[path] {
        Reply::Whole(bytes) => bytes.clone(),
        _ => panic!("{path}"),
    }
}

#[test]
fn mistakes_are_told_with_the_way_out() {
    let (hub, folder) = (Hub::start(), tempfile::tempdir().unwrap());
    let runner = folder.path().join("runner");
    gha_slurm_simulator::runner::install(&runner).unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let taken = folder.path().join("taken");
    std::fs::create_dir_all(taken.join("current")).unwrap();
    let to = folder.path().join("to");
    let bad_ca = ["--ca-file", "/dev/null"];
    for (to, more, words) in [
        (&runner, &[][..], "it is a runner itself"),
        (&open, &[], "everybody can write there"),
        (&taken, &[], "is not a link"),
        (&to, &["--version", "../../x"], "three numbers"),
        (&to, &["--version", "2.301.0"], "no such release"),
        (&to, &["--sha256", "abc"], "64 hexadecimal digits"),
        (&to, &bad_ca, "no certificate is in it"),
    ] {
        let (good, said) = run(hub.update(to, more));
        assert!(!good && said.contains(words), "{more:?}: {said}");
    }
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_gha-slurm-gateway"));
    elsewhere.args(["runner", "update", "--api", "http://github.test", "--to"]).arg(&to);
    let (good, said) = run(elsewhere);
    assert!(!good && said.contains("only with https"), "{said}");
}
