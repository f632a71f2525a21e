//! GitHub's own example payloads, all of them, signed by GitHub's own JavaScript.
//!
//! They come from npm and are not in this repository: `GHA_SLURM_EXAMPLES` names the folder where `.ci/run` installed
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use gha_slurm_core::github::requirements::EVENTS;
use serde_json::Value;

use crate::support::{App, WEBHOOK_SECRET, json};

/// The variable that names the folder.
pub(crate) const FOLDER: &str = "GHA_SLURM_EXAMPLES";

pub(crate) async fn every_example_gets_a_2xx_and_only_queued_jobs_of_a_profile_launch() {
    let folder = std::env::var(FOLDER).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/optional/sign_examples.mjs");
    let output = Command::new("node").args([script, &folder, WEBHOOK_SECRET]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut versions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        versions.entry(example["version"].as_str().unwrap().to_owned()).or_default().push(example);
    }
    assert!(versions["api.github.com"].len() > 100, "there are many examples");

    for (labels, age) in
        [(&["self-hosted", "k8s"][..], "fresh"), (&["self-hosted", "k8s"], "recorded"), (&["ubuntu-latest"], "fresh")]
    {
        let profile = format!("[[profile]]\nname = 'examples'\nlabels = {labels:?}");
        let mut held = BTreeSet::new();
        for (version, examples) in &versions {
            let app = App::start_with(&[("profiles", &profile)]).await;
            app.gateway.hold(true);
            let (mut expected, mut over) = (BTreeSet::new(), BTreeSet::new());
            for example in examples {
                let (event, body) = (example["event"].as_str().unwrap(), example[age]["body"].as_str().unwrap());
                let signature = example[age]["signature"].as_str().unwrap();
                let answered = app.deliver_signed(event, body.as_bytes().to_vec(), signature).await;
                let (status, answer) = json(answered).await;
                assert!((200..300).contains(&status), "{version} {event}: {status} {answer}");
                let payload: Value = serde_json::from_str(body).unwrap();
                let job = payload["workflow_job"]["id"].as_u64();
                let wanted = payload["workflow_job"]["labels"].as_array().is_some_and(|wanted| {
                    !wanted.is_empty() && wanted.iter().all(|label| labels.contains(&label.as_str().unwrap()))
                });
                let Some(job) = job.filter(|_| event == "workflow_job" && wanted) else {
                    let action = payload["action"].as_str().unwrap_or_default();
                    let removed = match (event, action) {
                        ("installation", "deleted") => &payload["repositories"],
                        ("installation_repositories", "removed") => &payload["repositories_removed"],
                        _ => &Value::Null,
                    };
                    let some = removed.as_array().is_some_and(|removed| !removed.is_empty());
                    // What follows from another event that the App asks for, its own tests say.
                    if some || event == "workflow_job" || !EVENTS.contains(&event) {
                        let decision = if some { "recorded" } else { "ignored" };
                        assert_eq!(answer["decision"], decision, "{version} {event} {action}");
                    }
                    continue;
                };
                if payload["workflow_job"]["status"] == "waiting" {
                    // Its deployment waits for an approval.
                    let known = ["recorded", "duplicate", "ignored"].contains(&answer["decision"].as_str().unwrap());
                    assert!(known, "{answer}");
                    held.insert(job);
                    continue;
                }
                match payload["action"].as_str().unwrap() {
                    "queued" if !over.contains(&job) && age == "fresh" => drop(expected.insert(job)),
                    // Years old, it launches nothing before GitHub was asked.
                    "queued" if !over.contains(&job) => assert_eq!(answer["decision"], "deferred", "{answer}"),
                    "in_progress" | "completed" => drop(over.insert(job)),
                    _ => {}
                }
            }
            let launched: BTreeSet<u64> = app
                .gateway
                .starts()
                .iter()
                .map(|start| start["launch"].as_str().unwrap().split('-').next().unwrap().parse().unwrap())
                .collect();
            assert_eq!((launched.len(), &launched), (app.gateway.starts().len(), &expected), "{version}");
        }
        assert_eq!(
            !held.is_empty(),
            labels.len() == 2,
            "the examples have a self-hosted job that waits: {labels:?}, {age}"
        );
    }
}
