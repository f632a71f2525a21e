//! What a profile accepts, the gateway accepts: whichever text stands in a profile, the resources that come of it pass
//! through the launch request unchanged.

use gha_slurm_protocol::labels::check_list;
use gha_slurm_protocol::resources::{ResourceFields, Resources};
use proptest::prelude::*;
use serde_json::json;

use super::{Profiles, Wanted};

/// The keys of a profile that become resources.
fn keys() -> Vec<String> {
    let resources = json!(Resources::default());
    resources.as_object().unwrap().keys().cloned().chain(["gpus".to_owned()]).collect()
}

/// Texts near the border of what is valid: valid words, options, wrong separators, numbers past a limit.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9_.-]{1,70}",
        "-[a-z]{1,5}",
        "gpu[:=][a-z0-9]{1,6}",
        "(gres:|none|)(gpu|shard)(:[a-z]{1,4})?(:[0-9]{1,11})?(,[a-z:=/-]{1,8})?",
        "[0-9]{1,9}[KMGTkb]{0,2}",
        "[0-9]{0,2}-?[0-9]{1,3}(:[0-9]{1,2}){0,3}",
        "[ab&|*()2-]{1,9}|\\[[ab&|*()2]{1,9}\\]",
        "[ -~]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_profile_accepts_the_gateways_parser_accepts(
        key in prop::sample::select(keys()),
        text in value(),
        number in prop_oneof![0..=9_u32, 65_530..=70_000_u32, any::<u32>()],
        label in prop_oneof![value(), "[a-z]{250,260}"],
        dynamic in value(),
    ) {
        let (text, label) = (text.replace('\'', ""), label.replace('\'', ""));
        let limits = "nodes = 9\nntasks = 9\nntasks_per_node = 9\ncpus = 65535\nmemory = '1T'\nmem_per_cpu = '1T'\nnice = 9\ntmp = '1T'\nlicenses = 'a:9,b'\ngpus = 8\ntime_limit = '7-0'\npartitions = ['long', 'short']\nconstraints = ['a', 'b']";
        let limits = if key == "gres" { limits.replace("gpus = 8\n", "") } else { limits.to_owned() };
        let repository = "octo/repo".to_owned().try_into().unwrap();
        // A key takes one of them at most.
        for value in [format!("'{text}'"), number.to_string()] {
            let profile =
                format!("[[profile]]\nname = 'p'\nlabels = ['{label}']\n{key} = {value}\n[profile.dynamic]\n{limits}");
            let Ok(profiles) = Profiles::parse(&profile) else { continue };
            for asked in ["nodes", "ntasks", "ntasks-per-node", "cpus", "memory", "mem-per-cpu", "nice", "tmp", "licenses", "gpus", "time", "partition", "constraint"] {
                let labels = [label.clone(), format!("slurm-{asked}={dynamic}")].into_iter().collect();
                for labels in [labels, [label.clone()].into_iter().collect()] {
                    let Ok(found) = profiles.find(Wanted::of(&labels, &repository)) else { continue };
                    let sent = ResourceFields::from(&found.resources);
                    prop_assert_eq!(Resources::try_from(&sent), Ok(found.resources));
                    prop_assert!(check_list(&labels.to_string()).is_ok());
                }
            }
        }
    }
}
