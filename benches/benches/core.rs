//! Core's pure parts: what a request costs without a host.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use gha_slurm_core::github::events::WorkflowJobEvent;
use gha_slurm_core::identity::RepositoryName;
use gha_slurm_core::labels::LabelSet;
use gha_slurm_core::profile::Profiles;
use gha_slurm_core::secret::Secret;
use gha_slurm_core::signature;
use gha_slurm_simulator::github::sign;

#[path = "../src/payload.rs"]
mod payload;

fn webhook(criterion: &mut Criterion) {
    let body = payload::payload("queued", 1, &["self-hosted", "slurm"]);
    let secret = Secret::new("a webhook secret");
    let header = sign("a webhook secret", body.as_bytes());
    let size = body.len();
    criterion.bench_function(&format!("signature over {size} bytes"), |bencher| {
        bencher.iter(|| signature::verify(&secret, black_box(body.as_bytes()), &header));
    });
    criterion.bench_function(&format!("parse {size} bytes"), |bencher| {
        bencher.iter(|| WorkflowJobEvent::parse(black_box(body.as_bytes())));
    });
}

fn profiles(criterion: &mut Criterion) {
    let text: String =
        (0..20).map(|n| format!("[[profile]]\nname = 'p{n}'\nlabels = ['self-hosted', 'l{n}']\n")).collect();
    let labels: LabelSet = ["self-hosted", "l19"].iter().collect();
    let Ok(repository) = RepositoryName::try_from("octo/repo".to_owned()) else { return };
    criterion.bench_function("parse 20 profiles", |bencher| bencher.iter(|| Profiles::parse(black_box(&text))));
    let Ok(profiles) = Profiles::parse(&text) else { return };
    criterion.bench_function("find the last of 20 profiles", |bencher| {
        bencher.iter(|| profiles.find(black_box(&labels), &repository));
    });
}

criterion_group!(benches, webhook, profiles);
criterion_main!(benches);
