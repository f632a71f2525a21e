//! The clusters: whether a gateway that is called can be reached from here and accepts the secret, whether one that fetches
//! asks, and whether the profiles fit.

use gha_slurm_core::cluster::{Definition, Definitions, How, SILENT_SECONDS};
use gha_slurm_core::gateway::{GatewayError, check_gateway};
use gha_slurm_core::ledger::{Heard, Ledger};
use gha_slurm_core::ports::Clock;
use gha_slurm_core::profile::Profiles;
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::identity::ClusterName;

use super::DEADLINE;
use super::report::Finding;
use crate::commands::native::Native;

const CHECK: &str = "gateway";
const CLUSTERS: &str = "clusters";

pub(super) fn check(native: &Native) -> Vec<Finding> {
    let definitions = match Settings(native).cluster_definitions() {
        Ok(definitions) => definitions,
        Err(error) => return vec![Finding::wrong(CLUSTERS, error.problem(), error.fix())],
    };
    let names: Vec<ClusterName> = definitions.iter().map(|one| one.name.clone()).collect();
    // Where the store does not answer, its own check says so.
    let heard = Ledger(native).heard_of(&names).unwrap_or_default();
    let heard = heard.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let one = |(definition, heard): (&Definition, Option<&Heard>)| match definition.reach {
        How::Push => called(native, definition, definitions.have_names()),
        How::Fetch => asks(definition, heard, native.unix_seconds()),
    };
    let mut findings: Vec<Finding> = definitions.iter().zip(heard).map(one).collect();
    // Profiles that cannot be read have a finding of their own.
    if let Ok(profiles) = Settings(native).profiles() {
        findings.extend(of_profiles(&profiles, &definitions));
    }
    findings
}

/// The variables of a gateway that is called, by its number.
pub(super) fn variables(number: u8) -> (String, String) {
    let end = if number == 1 { String::new() } else { format!("_{number}") };
    (format!("gateway_url{end}"), format!("gateway_secret{end}"))
}

fn called(native: &Native, definition: &Definition, named: bool) -> Finding {
    let number = definition.gateway();
    let (url_name, secret_name) = variables(number);
    let of = if named { format!("{}: ", definition.name) } else { String::new() };
    let Ok(gateway) = Settings(native).gateway(number) else {
        return Finding::skipped(CHECK, format!("{of}set {url_name} and {secret_name} first"));
    };
    let url = format!("{of}{}", gateway.url.origin().ascii_serialization());
    let behind = "to check what is behind it, run `gha-slurm-gateway check` on its machine";
    match check_gateway(native, &gateway, DEADLINE) {
        Ok(()) => Finding::ok(CHECK, format!("{url} answers and accepts the secret")).with_hint(behind),
        Err(error @ GatewayError::Unauthorized) => {
            let fix = format!("set {secret_name} to the value of the gateway's ghaSharedSecret");
            Finding::wrong(CHECK, format!("{url}: {error}"), fix)
        }
        Err(GatewayError::Unreachable(error)) => {
            let fix = format!("start the gateway, open its firewall for this machine, or correct {url_name}");
            Finding::wrong(CHECK, format!("{url} cannot be reached: {error}"), fix)
        }
        Err(error) => {
            let fix = format!("correct {url_name}, or see the gateway's log");
            Finding::wrong(CHECK, format!("{url}: {error}"), fix)
        }
    }
}

/// Nothing reaches its gateways from here; they are known by what they ask.
fn asks(definition: &Definition, heard: Option<&Heard>, now: u64) -> Finding {
    let name = &definition.name;
    let fix = format!(
        "on {name}, start gha-slurm-gateway and run `gha-slurm-gateway check`: app.url must lead to this application, \
         app.cluster be {name}, and secret_sha256 in clusters the digest of the secret in app.secretFile"
    );
    let Some(heard) = heard else {
        return Finding::wrong(CHECK, format!("{name}: no gateway ever asked for launches"), fix);
    };
    let seconds = now.saturating_sub(heard.at);
    if seconds >= SILENT_SECONDS {
        return Finding::wrong(CHECK, format!("{name}: no gateway has asked for {} min", seconds / 60), fix);
    }
    let lately = |at: u64| now.saturating_sub(at) < SILENT_SECONDS;
    let those = heard.gateways.iter().filter(|one| lately(one.at) && !one.name.is_empty());
    let gateways: Vec<&str> = those.map(|one| one.name.as_str()).collect();
    let of = if gateways.is_empty() { String::new() } else { format!(" ({})", gateways.join(", ")) };
    Finding::ok(CHECK, format!("{name}: asks for launches{of}"))
        .with_hint(format!("to check what is behind it, run `gha-slurm-gateway check` on {name}"))
}

/// Whether the profiles name clusters that there are and that allow what they ask for, and each cluster may get a job.
fn of_profiles(profiles: &Profiles, definitions: &Definitions) -> Vec<Finding> {
    let (mut used, mut findings) = (Vec::new(), Vec::new());
    for profile in profiles.iter() {
        let named: Vec<&ClusterName> = profile.cluster.iter().chain(&profile.clusters).collect();
        for name in named.iter().filter(|name| definitions.get(name.as_str()).is_none()) {
            let found = format!("{} names the cluster {name}, which is not in the variable clusters", profile.name);
            let fix = "correct the profile, or add the cluster: until then its webhooks are refused";
            findings.push(Finding::wrong(CLUSTERS, found, fix));
        }
        // Without a cluster of its own, a profile's jobs go to the first.
        let first = definitions.iter().next().filter(|_| named.is_empty());
        let its: Vec<&Definition> =
            named.iter().filter_map(|name| definitions.get(name.as_str())).chain(first).collect();
        let resources = profile.resources();
        if !its.is_empty() && its.iter().all(|cluster| !cluster.limits.allow(&resources)) {
            let names: Vec<&str> = its.iter().map(|cluster| cluster.name.as_str()).collect();
            let found = format!("{} asks for more than a launch may have on {}", profile.name, names.join(" and "));
            let fix = "lower the profile's resources, or raise the cluster's limits: none of its jobs is launched";
            findings.push(Finding::wrong(CLUSTERS, found, fix));
        }
        used.extend(its.iter().map(|cluster| &cluster.name));
    }
    for unused in definitions.iter().filter(|one| !used.contains(&&one.name)) {
        let found = format!("{} gets no job: no profile names it", unused.name);
        findings
            .push(Finding::ok(CLUSTERS, found).with_hint("name it in a profile: cluster = \"NAME\", or in clusters"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;

    fn clusters(text: &str) -> Definitions {
        Definitions::parse(text, 3).unwrap()
    }

    fn two() -> Definitions {
        let fetch = |name: &str, digit: &str| {
            let digest = digit.repeat(64);
            format!("[[cluster]]\nname = '{name}'\nreach = 'fetch'\nsecret_sha256 = '{digest}'\n")
        };
        clusters(&format!("{}{}", fetch("alps", "a"), fetch("eiger", "b")))
    }

    fn said(findings: Vec<Finding>) -> String {
        Report::new(findings).text(false)
    }

    #[test]
    fn a_cluster_that_fetches_is_known_by_what_it_asks() {
        let all = two();
        let heard = Heard::default().with("login2", None, 900).with("login1", None, 1000);
        let at = |heard: Option<&Heard>, now| said(vec![asks(all.get("alps").unwrap(), heard, now)]);
        assert!(at(Some(&heard), 1019).contains("✓ gateway    alps: asks for launches (login1, login2)\n"));
        assert!(at(Some(&heard), 1100).contains("alps: asks for launches (login1)\n"));
        let silent = at(Some(&heard), 1000 + 12 * 60);
        assert!(silent.contains("✗ gateway    alps: no gateway has asked for 12 min\n"), "{silent}");
        let never = at(None, 1000);
        assert!(never.contains("✗ gateway    alps: no gateway ever asked for launches\n"), "{never}");
        assert!(never.contains("app.cluster be alps") && never.contains("secret_sha256"), "{never}");
    }

    #[test]
    fn profiles_and_clusters_fit() {
        let found =
            |profiles: &str, clusters: &Definitions| said(of_profiles(&Profiles::parse(profiles).unwrap(), clusters));
        let profile = |more: &str| format!("[[profile]]\nname = 'gpu'\nlabels = ['slurm']\n{more}\n");
        let nothing = "No problems found.\n";
        assert_eq!(found("", &clusters("")), nothing);
        assert_eq!(found(&profile("clusters = ['eiger', 'alps']"), &two()), nothing);
        let first = found(&profile(""), &two());
        assert!(first.contains("✓ clusters   eiger gets no job") && !first.contains("alps gets"), "{first}");
        let limited = clusters("[[cluster]]\nname = 'alps'\nreach = 'push'\n[cluster.limits]\ncpus = 4");
        assert_eq!(found(&profile("cpus = 4"), &limited), nothing);
        let large = found(&profile("cpus = 5"), &limited);
        assert!(large.contains("✗ clusters   gpu asks for more than a launch may have on alps\n"), "{large}");
        for all in [two(), clusters("")] {
            let unknown = found(&profile("cluster = 'daint'"), &all);
            assert!(unknown.contains("✗ clusters   gpu names the cluster daint, which is not in"), "{unknown}");
        }
    }
}
