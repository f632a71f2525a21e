//! The metrics, read by what Prometheus itself brings.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{ADMIN_TOKEN, App};

/// The one that Debian's package is for.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// What an application shows that has something to show.
async fn metrics() -> String {
    let app = App::start().await;
    let (_, start) = app.held_launch().await;
    assert_eq!(app.gateway.redeem(&start).await.0, 200);
    let request = app.client.get(format!("{}/metrics", app.url)).bearer_auth(ADMIN_TOKEN);
    request.send().await.unwrap().text().await.unwrap()
}

/// What a command says to a text; it must succeed.
fn fed(command: &mut Command, text: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}\n{text}");
    said
}

pub(crate) async fn promtool_finds_nothing_wrong() {
    assert_eq!(fed(Command::new("promtool").args(["check", "metrics"]), &metrics().await), "");
}

pub(crate) async fn its_python_client_reads_every_sample() {
    let text = metrics().await;
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as read\n\
                  families = list(read(sys.stdin.read()))\n\
                  assert all(family.documentation for family in families)\n\
                  print(len(families), sum(len(family.samples) for family in families))";
    let counted = fed(Command::new(PYTHON).args(["-c", script]), &text);
    let (families, samples) = counted.trim().split_once(' ').unwrap();
    let lines = |begin: &str| text.lines().filter(|line| line.starts_with(begin)).count();
    assert_eq!(families.parse::<usize>().unwrap(), lines("# TYPE"), "{text}");
    assert_eq!(samples.parse::<usize>().unwrap(), lines("gha_slurm"), "{text}");
}
