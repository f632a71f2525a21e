//! The Slurm job's comment, by which `sacct` answers who and what a Slurm job was for.

use crate::config::{ConfigError, Job, invalid};
use crate::launch::Launch;

const WORDS: [&str; 7] = ["repository", "run", "job", "launch", "person", "profile", "url"];
const MAX_BYTES: usize = 200;

/// No character that separates fields in the output of Slurm's commands, or that a shell reads.
fn plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || " -_./:@#,=()[]+".contains(letter)
}

/// Whether a template is one.
pub(crate) fn check(template: &str) -> Result<(), ConfigError> {
    let wrong = |problem: String| Err(invalid("job.comment", problem));
    if template.len() > MAX_BYTES {
        return wrong(format!("longer than {MAX_BYTES} bytes"));
    }
    for (fixed, word) in pieces(template) {
        if let Some(letter) = fixed.chars().find(|letter| !plain(*letter)) {
            return wrong(format!("{letter:?} cannot stand in it: letters, digits, blanks and -_./:@#,=()[]+"));
        }
        if word.is_some_and(|word| !WORDS.contains(&word)) {
            let known = WORDS.map(|word| format!("{{{word}}}")).join(" ");
            return wrong(format!("{{{}}} is not known: use {known}", word.unwrap_or_default()));
        }
    }
    Ok(())
}

/// The comment of a launch; what is not known of it is `-`.
pub(crate) fn comment(job: &Job, launch: &Launch) -> String {
    let Some(template) = &job.comment else {
        let by = launch.person.as_ref().map(|person| format!(" by {}", person.login));
        return format!("{}{}", launch.url, by.unwrap_or_default());
    };
    let mut filled = String::new();
    for (fixed, word) in pieces(template) {
        filled.push_str(fixed);
        filled.extend(word.map(|word| value(word, launch).unwrap_or_else(|| "-".to_owned())));
    }
    filled.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}

fn value(word: &str, launch: &Launch) -> Option<String> {
    match word {
        "repository" => {
            let mut parts = launch.url.rsplitn(3, '/');
            let name = parts.next()?;
            Some(format!("{}/{name}", parts.next()?))
        }
        "run" => launch.run.map(|run| run.to_string()),
        "job" => launch.job.map(|job| job.to_string()),
        "launch" => Some(launch.key.to_string()),
        "person" => launch.person.as_ref().map(|person| person.login.to_string()),
        "profile" => launch.profile.clone(),
        "url" => Some(launch.url.clone()),
        _ => None,
    }
}

/// A template as fixed texts, each with the word in braces that comes after it. A brace without its other half is fixed.
fn pieces(template: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut rest = Some(template);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let found = text.split_once('{').and_then(|(fixed, after)| Some((fixed, after.split_once('}')?)));
        let Some((fixed, (word, after))) = found else { return Some((text, None)) };
        rest = Some(after);
        Some((fixed, Some(word)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn launch(more: Value) -> Launch {
        let mut body = json!({
            "gitHubURL": "https://github.com/Octo/sim", "launcherToken": "a.b.c", "runnerLabels": "x",
            "tokenURL": "https://app.example/gha/runner",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Launch::try_from(serde_json::from_value::<gha_slurm_protocol::messages::StartRunner>(body).unwrap()).unwrap()
    }

    fn of(template: &str, launch: &Launch) -> String {
        check(template).unwrap();
        comment(&Job { comment: Some(template.to_owned()), ..Job::default() }, launch)
    }

    #[test]
    fn a_comment_tells_what_is_known() {
        let whole = launch(json!({
            "launch": "42-1", "runId": 7, "profile": "gpu", "person": {"login": "ada[bot]", "id": 1}
        }));
        let template = "{repository} run {run} job {job} launch {launch} by {person} ({profile}) {url}";
        assert_eq!(
            of(template, &whole),
            "Octo/sim run 7 job 42 launch 42-1 by ada[bot] (gpu) https://github.com/Octo/sim"
        );
        let bare = launch(json!({}));
        assert_eq!(of("run {run} job {job} by {person}", &bare), "run - job - by -");
        assert_eq!(comment(&Job::default(), &bare), "https://github.com/Octo/sim");
        assert_eq!(comment(&Job::default(), &whole), "https://github.com/Octo/sim by ada[bot]");
    }

    #[test]
    fn a_template_has_known_words_and_plain_characters() {
        for bad in ["{runs}", "{}", "a|b", "a\nb", "a'b", "$x", "a{b", "}", &"x".repeat(201)] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.starts_with("job.comment: "), "{bad:?}: {error}");
        }
    }
}
