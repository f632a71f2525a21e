//! Core's pure parts: what a request costs without a host.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gha_slurm_core::identity::RepositoryId;
use gha_slurm_core::launch_token::{Launch, LaunchTokens};
use gha_slurm_core::ports::{Clock, Random, Store, StoreError};
use gha_slurm_core::profile::{Profiles, Wanted};
use gha_slurm_delivery::events::WorkflowJobEvent;
use gha_slurm_protocol::identity::{ClusterName, RepositoryName};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::secret::Secret;
use gha_slurm_simulator::github::sign;
use gha_slurm_webhook::signature;

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
        bencher.iter(|| profiles.find(Wanted::of(black_box(&labels), &repository)));
    });
}

/// A store, a clock and randomness that cost nothing.
#[derive(Default)]
struct Still(RefCell<HashMap<String, Vec<u8>>>);

impl Store for Still {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.borrow_mut().remove(key);
        Ok(())
    }

    fn set_many(&self, values: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        values.iter().try_for_each(|(key, value)| self.set(key, value))
    }

    fn delete_many(&self, keys: &[String]) -> Result<(), StoreError> {
        keys.iter().try_for_each(|key| self.delete(key))
    }

    fn increment(&self, _key: &str, _delta: i64) -> Result<i64, StoreError> {
        Err(StoreError("a token counts nothing".to_owned()))
    }
}

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }

    fn pause(&self, _: Duration) {}
}

impl Random for Still {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn tokens(criterion: &mut Criterion) {
    let platform = Still::default();
    let tokens = LaunchTokens::new(&platform, "https://app.example/gha/runner");
    let (Ok(repository), Ok(id)) = (RepositoryName::try_from("octo/repo".to_owned()), "42-1".parse()) else { return };
    let launch = Launch {
        repository_id: RepositoryId(7),
        repository,
        installation: None,
        labels: ["self-hosted", "slurm"].iter().collect(),
        run_attempt: 1,
        profile: "default".to_owned(),
    };
    let root = Secret::new("the-secret-that-gateway-and-app-share");
    let cluster = ClusterName::default();
    criterion.bench_function("issue a launch token", |bencher| {
        bencher.iter(|| tokens.issue((&cluster, &root), id, launch.clone()))
    });
    let Ok(token) = tokens.issue((&cluster, &root), id, launch) else { return };
    criterion.bench_function("verify a launch token", |bencher| {
        bencher.iter(|| tokens.verify(black_box(token.expose())));
    });
    criterion.bench_function("refuse a forged launch token", |bencher| {
        let forged = format!("{}x", token.expose());
        bencher.iter(|| tokens.verify(black_box(&forged)));
    });
}

criterion_group!(benches, webhook, profiles, tokens);
criterion_main!(benches);
