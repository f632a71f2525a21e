//! How old the runner is that Slurm jobs get, as far as it can be told from here without running it.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use super::folder::{Marker, time};
use super::release::of_file_name;

/// From then on it is time for a newer one.
const WARNED_FROM_DAYS: i64 = 20;
/// What GitHub takes.
const REFUSED_FROM_DAYS: i64 = 30;
/// So long it is believed that there is no newer one: a timer asks daily.
const NEWEST_FOR_DAYS: i64 = 3;
/// A file that is older has no date of its own.
const FIRST_YEARS: i64 = 1_577_836_800;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// Whether it is time for a newer one.
    pub(crate) due: bool,
    /// A line for people.
    pub(crate) line: String,
}

/// Of `job.runner`: a folder, a link to one, or an archive. It may be on the compute nodes only.
pub(crate) fn age_of(runner: &Path, now: SystemTime) -> Age {
    let fine = |line: &str| Age { due: false, line: line.to_owned() };
    let Some(now) = time(now) else { return fine("") };
    let Ok(place) = runner.canonicalize() else {
        return fine("not on this machine, so its age is not known here");
    };
    if !place.is_dir() {
        let version = place.to_str().and_then(of_file_name).map(|version| format!("{version}, ")).unwrap_or_default();
        return fine(&format!("{version}its age is not known"));
    }
    if let Some(marker) = Marker::read(&place) {
        let newest = marker.newest.filter(|newest| (now - *newest).num_days() <= NEWEST_FOR_DAYS).is_some();
        return match marker.released.or_else(|| built(&place)) {
            Some(_) if newest => fine(&format!("{}, GitHub's newest", marker.version)),
            Some(date) => told(&marker.version, "released", date, now),
            None => fine(&format!("{}, its age is not known", marker.version)),
        };
    }
    match (version(&place), built(&place)) {
        (Some(version), Some(date)) => told(&version, "built", date, now),
        (Some(version), None) => fine(&format!("{version}, its age is not known")),
        (None, _) => fine("its version is not known"),
    }
}

fn told(version: &str, what: &str, date: DateTime<Utc>, now: DateTime<Utc>) -> Age {
    let days = (now - date).num_days();
    let line = format!("{version}, {what} {} days ago", days.max(0));
    match days {
        REFUSED_FROM_DAYS.. => Age {
            due: true,
            line: format!(
                "{line}: GitHub refuses what is {REFUSED_FROM_DAYS} days old; `gha-slurm-gateway runner update`"
            ),
        },
        WARNED_FROM_DAYS.. => Age {
            due: true,
            line: format!(
                "{line}: GitHub will refuse it at {REFUSED_FROM_DAYS} days; `gha-slurm-gateway runner update`, by its timer"
            ),
        },
        _ => Age { due: false, line },
    }
}

/// .NET's list of what a program consists of begins with the program itself.
fn version(runner: &Path) -> Option<String> {
    let text = fs::read_to_string(runner.join("bin/Runner.Listener.deps.json")).ok()?;
    let (_, rest) = text.split_once("\"Runner.Listener/")?;
    let version = rest.split('"').next()?;
    let plain =
        version.len() <= 30 && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    plain.then(|| version.to_owned())
}

/// An archive keeps the date of its files.
fn built(runner: &Path) -> Option<DateTime<Utc>> {
    let date = time(fs::metadata(runner.join("bin/Runner.Listener")).ok()?.modified().ok()?)?;
    (date.timestamp() > FIRST_YEARS).then_some(date)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_days(days: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(days * 24 * 3600 + 60)
    }

    #[test]
    fn an_unpacked_runner_is_as_old_as_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let runner = folder.path().join("runner");
        gha_slurm_simulator::runner::install(&runner).unwrap();
        std::os::unix::fs::symlink("runner", folder.path().join("current")).unwrap();
        let look = |days| age_of(&folder.path().join("current"), in_days(days));
        assert_eq!(look(2), Age { due: false, line: "2.300.0, built 2 days ago".to_owned() });
        assert!(!look(19).due);
        for (days, words) in [(20, "will refuse"), (29, "will refuse"), (30, "GitHub refuses"), (300, "300 days ago")] {
            let age = look(days);
            assert!(age.due && age.line.contains(words) && age.line.contains("runner update"), "{}", age.line);
        }
        let file = fs::File::options().write(true).open(runner.join("bin/Runner.Listener")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(
            look(300),
            Age { due: false, line: "2.300.0, its age is not known".to_owned() },
            "a date of no time"
        );
        fs::remove_file(runner.join("bin/Runner.Listener.deps.json")).unwrap();
        assert_eq!(look(300).line, "its version is not known");
        assert!(!age_of(&folder.path().join("none"), in_days(300)).due);
        let archive = folder.path().join("actions-runner-linux-x64-2.336.0.tar.gz");
        fs::write(&archive, "").unwrap();
        assert_eq!(age_of(&archive, in_days(300)).line, "2.336.0, its age is not known");
    }

    #[test]
    fn the_newest_is_never_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let now = time(SystemTime::now()).unwrap();
        let marker = |newest| Marker {
            version: "2.336.0".to_owned(),
            sha256: String::new(),
            released: Some(now - chrono::TimeDelta::days(25)),
            newest,
        };
        let look = |marker: &Marker, days| {
            fs::write(folder.path().join(Marker::NAME), serde_json::to_vec(marker).unwrap()).unwrap();
            age_of(folder.path(), in_days(days))
        };
        assert_eq!(look(&marker(Some(now)), 0), Age { due: false, line: "2.336.0, GitHub's newest".to_owned() });
        assert!(look(&marker(Some(now)), 5).line.contains("GitHub refuses"), "nobody asked for five days");
        assert!(look(&marker(None), 0).line.starts_with("2.336.0, released 25 days ago: GitHub will refuse it"));
    }
}
