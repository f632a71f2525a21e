//! The variable `clusters`: TOML, a list of `[[cluster]]`.
//!
//! Spin allows no list from a variable in `allowed_outbound_hosts`, so the addresses of the few clusters that are pushed to
//! stand in variables of their own; those that fetch need none.

use gha_slurm_protocol::amounts::{Memory, TimeLimit};
use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::identity::ClusterName;
use gha_slurm_protocol::resources::Resources;
use gha_slurm_protocol::secret::Secret;
use gha_slurm_protocol::values::Cpus;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Cluster, Clusters, Reach};
use crate::settings::GatewaySettings;

const SILENT_MINUTES: u64 = 10;
/// While a secret is changed there are two.
const MOST_SECRETS: usize = 2;

/// A cluster as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: ClusterName,
    /// How it is reached.
    pub reach: How,
    /// Which of the gateways in variables: 1 is `gateway_url`, 2 is `gateway_url_2`.
    gateway: Option<u8>,
    /// One digest, or two with a blank between them.
    #[serde(default)]
    secret_sha256: String,
    silent_after_minutes: Option<u64>,
    /// What one launch may ask for there.
    #[serde(default)]
    pub limits: ClusterLimits,
}

/// How a cluster is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum How {
    /// The application calls its gateway.
    Push,
    /// Its gateway calls the application.
    Fetch,
}

/// What one launch may ask for at a cluster. What is null has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterLimits {
    cpus: Option<Cpus>,
    memory: Option<Memory>,
    gpus: Option<u32>,
    time_limit: Option<TimeLimit>,
}

impl ClusterLimits {
    /// Whether a launch that asks for this may go there. What it does not ask for, the cluster's own defaults give.
    pub fn allow(&self, asked: &Resources) -> bool {
        let within = |asked: u64, limit: Option<u64>| limit.is_none_or(|limit| asked <= limit);
        within(asked.total_cpus(), self.cpus.map(|cpus| cpus.get().into()))
            && within(asked.total_memory().unwrap_or(0), self.memory.map(Memory::mebibytes))
            && within(asked.time_limit.map_or(0, TimeLimit::minutes), self.time_limit.map(TimeLimit::minutes))
            && within(asked.total_gres(&["gpu"]), self.gpus.map(u64::from))
    }
}

impl Definition {
    /// The gateway that is called, by the number of its variables.
    pub fn gateway(&self) -> u8 {
        self.gateway.unwrap_or(1)
    }

    /// Whether this is the secret of its gateways: compared by digests, so that the configuration holds nothing that opens the
    /// door, and in constant time.
    pub fn admits(&self, secret: &str) -> bool {
        let digest = digest(secret);
        self.digests().iter().fold(false, |found, own| found | own.matches(&digest))
    }

    /// The digests of the secrets of its gateways.
    pub fn digests(&self) -> Vec<Secret> {
        self.written().map(|digest| Secret::new(digest.to_ascii_lowercase())).collect()
    }

    fn written(&self) -> impl Iterator<Item = &str> {
        self.secret_sha256.split_ascii_whitespace()
    }

    /// The cluster, reached so.
    pub(crate) fn reached(&self, reach: Reach) -> Cluster {
        let silent_after = self.silent_after_minutes.unwrap_or(SILENT_MINUTES) * 60;
        Cluster { name: self.name.clone(), reach, silent_after, limits: self.limits.clone() }
    }

    fn check(&self, most_gateways: u8) -> Result<(), String> {
        let wrong = |problem: &str| Err(format!("cluster {}: {problem}", self.name));
        if self.silent_after_minutes.is_some_and(|minutes| !(2..=24 * 60).contains(&minutes)) {
            return wrong("silent_after_minutes must be from 2 to 1440");
        }
        match self.reach {
            How::Push if !self.secret_sha256.is_empty() => wrong(
                "secret_sha256 is for reach = \"fetch\"; a gateway that is pushed to has its secret in a variable",
            ),
            How::Push if !(1..=most_gateways).contains(&self.gateway()) => {
                wrong(&format!("gateway must be from 1 to {most_gateways}"))
            }
            How::Push => Ok(()),
            How::Fetch if self.gateway.is_some() => wrong("gateway is for reach = \"push\""),
            How::Fetch if self.written().next().is_none() => wrong(
                "it needs secret_sha256, the digest of its gateways' secret, which `gha-slurm-gateway secret FILE` prints",
            ),
            How::Fetch if self.written().count() > MOST_SECRETS => wrong("secret_sha256 has two digests at most"),
            How::Fetch => match self.written().all(is_digest) {
                true => Ok(()),
                false => wrong("secret_sha256 must be 64 hexadecimal digits, and not the secret itself"),
            },
        }
    }
}

/// The digest of a secret, as it is configured.
pub fn digest(secret: &str) -> String {
    hex(Sha256::digest(secret))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// All that are configured, in their order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions(Vec<Definition>);

impl Definitions {
    /// Reads a list of `[[cluster]]`; blank text means one cluster, named `default`, that is pushed to at `gateway_url`.
    pub fn parse(text: &str, most_gateways: u8) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            cluster: Vec<Definition>,
        }
        if text.trim().is_empty() {
            let default = Definition {
                name: ClusterName::default(),
                reach: How::Push,
                gateway: None,
                secret_sha256: String::new(),
                silent_after_minutes: None,
                limits: ClusterLimits::default(),
            };
            return Ok(Self(vec![default]));
        }
        let File { cluster: all } = basic_toml::from_str(text).map_err(|error| error.to_string())?;
        if all.is_empty() {
            return Err("there is no [[cluster]]".to_owned());
        }
        for (index, one) in all.iter().enumerate() {
            one.check(most_gateways)?;
            for earlier in all.iter().take(index) {
                if earlier.name == one.name {
                    return Err(format!("two clusters are called {}", one.name));
                }
                // Either would be told of what the other one has.
                if (earlier.reach, one.reach) == (How::Push, How::Push) && earlier.gateway() == one.gateway() {
                    let number = one.gateway();
                    return Err(format!("clusters {} and {} have the same gateway, {number}", earlier.name, one.name));
                }
                if one.written().any(|digest| earlier.written().any(|other| other.eq_ignore_ascii_case(digest))) {
                    return Err(format!("clusters {} and {} have the same secret", earlier.name, one.name));
                }
            }
        }
        Ok(Self(all))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.0.iter()
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<&Definition> {
        self.0.iter().find(|definition| definition.name.as_str() == name)
    }

    /// Whether they need names: there are several, or one that is not reached as by default.
    pub fn have_names(&self) -> bool {
        let usual = |one: &Definition| one.name == ClusterName::default() && one.reach == How::Push;
        self.0.len() != 1 || !self.0.iter().all(usual)
    }

    /// As a component sees them that reaches none of those that are pushed to.
    pub fn without_gateways(&self) -> Clusters {
        let reach = |definition: &Definition| match definition.reach {
            How::Push => Reach::Elsewhere,
            How::Fetch => Reach::Fetch,
        };
        Clusters::new(self.0.iter().map(|definition| definition.reached(reach(definition))).collect())
    }

    /// As a component sees them that has the gateways' secrets; `gateway` reads one by its number.
    pub fn with_gateways<E>(&self, gateway: impl Fn(u8) -> Result<GatewaySettings, E>) -> Result<Clusters, E> {
        let reached = |definition: &Definition| {
            Ok(definition.reached(match definition.reach {
                How::Push => Reach::Push(gateway(definition.gateway())?),
                How::Fetch => Reach::Fetch,
            }))
        };
        Ok(Clusters::new(self.0.iter().map(reached).collect::<Result<_, E>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn nothing_said_is_one_cluster_that_is_pushed_to() {
        let all = Definitions::parse(" \n", 3).unwrap();
        let named: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.reach, one.gateway())).collect();
        assert_eq!(named, [("default", How::Push, 1)]);
        assert!(!all.get("default").unwrap().admits("") && !all.have_names());
        assert!(Definitions::parse("[[cluster]]\nname = 'alps'\nreach = 'push'", 3).unwrap().have_names());
    }

    #[test]
    fn a_secret_is_known_by_its_digest() {
        let text = format!("[[cluster]]\nname = 'alps'\nreach = 'fetch'\nsecret_sha256 = '{DIGEST}'");
        let all = Definitions::parse(&text, 3).unwrap();
        let alps = all.get("alps").unwrap();
        assert!(alps.admits("secret"));
        for wrong in ["", "Secret", "secret ", DIGEST] {
            assert!(!alps.admits(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_list_that_makes_no_sense_is_refused_by_what_is_wrong() {
        let fetch = format!("reach = 'fetch'\nsecret_sha256 = '{DIGEST}'");
        for (text, named) in [
            ("cluster = []".to_owned(), "[[cluster]]"),
            ("x = 1".to_owned(), "x"),
            (format!("[[cluster]]\nname = 'Alps'\n{fetch}"), "name"),
            (format!("[[cluster]]\nname = '1a'\n{fetch}"), "name"),
            ("[[cluster]]\nname = 'a'\nreach = 'pull'".to_owned(), "pull"),
            ("[[cluster]]\nname = 'a'\nreach = 'fetch'".to_owned(), "needs secret_sha256"),
            ("[[cluster]]\nname = 'a'\nreach = 'fetch'\nsecret_sha256 = ' '".to_owned(), "needs secret_sha256"),
            ("[[cluster]]\nname = 'a'\nreach = 'fetch'\nsecret_sha256 = 'secret'".to_owned(), "64 hexadecimal"),
            ("[[cluster]]\nname = 'a'\nreach = 'push'\ngateway = 4".to_owned(), "from 1 to 3"),
            (format!("[[cluster]]\nname = 'a'\nreach = 'push'\nsecret_sha256 = '{DIGEST}'"), "is for reach"),
            (format!("[[cluster]]\nname = 'a'\n{fetch}\nsilent_after_minutes = 1"), "silent_after_minutes"),
            (format!("[[cluster]]\nname = 'a'\n{fetch}\n[[cluster]]\nname = 'b'\n{fetch}"), "the same secret"),
            (format!("[[cluster]]\nname = 'a'\n{fetch}\n[[cluster]]\nname = 'a'\nreach = 'push'"), "two clusters"),
            (
                "[[cluster]]\nname = 'a'\nreach = 'push'\n[[cluster]]\nname = 'b'\nreach = 'push'".to_owned(),
                "the same gateway",
            ),
        ] {
            let error = Definitions::parse(&text, 3).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_launch_that_asks_for_more_does_not_go_there() {
        let limits = ClusterLimits {
            cpus: "8".parse().ok(),
            memory: "16G".parse().ok(),
            gpus: Some(1),
            time_limit: "60".parse().ok(),
        };
        let asks = |change: fn(&mut Resources)| {
            let mut asked = Resources::default();
            change(&mut asked);
            limits.allow(&asked)
        };
        assert!(asks(|_| {}));
        assert!(asks(|asked| asked.cpus = "8".parse().ok()));
        assert!(!asks(|asked| asked.cpus = "9".parse().ok()));
        assert!(!asks(|asked| asked.memory = "17G".parse().ok()));
        assert!(!asks(|asked| asked.time_limit = "61".parse().ok()));
        assert!(!asks(|asked| asked.gres = "gpu:a100:2".parse().ok()));
        assert!(asks(|asked| asked.gres = "gpu:1,disk:9".parse().ok()));
        let gpu_each = |constraint: &str| Resources {
            gres: "gpu:1".parse().ok(),
            constraint: constraint.parse().ok(),
            ..Resources::default()
        };
        assert!(limits.allow(&gpu_each("rack1&rack2")));
        assert!(!limits.allow(&gpu_each("[rack1*1&rack2*1]")), "on two nodes it is two");
    }
}
