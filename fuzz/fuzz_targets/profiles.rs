//! The administrator's profiles, asked for two jobs: what they give these passes through a launch request unchanged.

#![no_main]

use gha_slurm_core::profile::{Profiles, Wanted};
use gha_slurm_protocol::labels::LabelSet;
use gha_slurm_protocol::resources::{ResourceFields, Resources};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(profiles) = Profiles::parse(text) else { return };
    let _ = profiles.overlaps();
    let repository = "octo/repo".to_owned().try_into().unwrap();
    let dynamic = ["slurm-cpus=8", "slurm-memory=1G", "slurm-time=1-0", "slurm-gpus=1", "slurm-partition=long"];
    for asked in [&dynamic[..0], &dynamic[..1], &dynamic] {
        let labels: LabelSet = ["self-hosted", "slurm"].iter().chain(asked).map(|label| (*label).to_owned()).collect();
        let _ = profiles.nearest(&labels);
        if let Ok(found) = profiles.find(Wanted::of(&labels, &repository)) {
            assert_eq!(Resources::try_from(&ResourceFields::from(&found.resources)), Ok(found.resources));
        }
    }
});
