//! Which clusters a profile's jobs may go to, and the choice that a workflow has among them.

use gha_slurm_protocol::identity::ClusterName;

use super::Profile;
use crate::cluster::{Choose, Placement};

/// More would be no choice.
const MOST_CLUSTERS: usize = 16;
const MOST_WEIGHT: u32 = 1000;
/// The dynamic label `slurm-cluster=NAME`.
const LABEL: &str = "slurm-cluster=";

impl Profile {
    /// Its clusters; empty means the first that is configured.
    pub(super) fn all_clusters(&self) -> Vec<ClusterName> {
        self.cluster.iter().chain(&self.clusters).cloned().collect()
    }

    /// Where its jobs go; `asked` is the one cluster that the workflow named.
    pub(super) fn placement(&self, asked: Option<ClusterName>) -> Placement {
        match asked {
            Some(one) => Placement { clusters: vec![one], ..Placement::default() },
            None => Placement {
                clusters: self.all_clusters(),
                choose: self.choose.unwrap_or_default(),
                weights: self.weights.clone(),
            },
        }
    }

    /// The cluster that a dynamic label names, which needs no limits: the profile's own list is the limit.
    pub(super) fn cluster_of_label<'a>(&self, label: &'a str) -> Option<&'a str> {
        label.strip_prefix(LABEL).filter(|_| !self.all_clusters().is_empty())
    }

    /// The profile's cluster of that name.
    pub(super) fn one_cluster(&self, asked: &str) -> Result<ClusterName, String> {
        let all = self.all_clusters();
        all.iter().find(|name| name.as_str() == asked).cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(ClusterName::as_str).collect();
            format!("it must be one of {}", names.join(", "))
        })
    }

    pub(super) fn check_placement(&self) -> Result<(), String> {
        if self.cluster.is_some() && !self.clusters.is_empty() {
            return Err("cluster and clusters cannot be used together".to_owned());
        }
        let all = self.all_clusters();
        if all.len() > MOST_CLUSTERS {
            return Err(format!("clusters has {MOST_CLUSTERS} at the most"));
        }
        if let Some(twice) = all.iter().enumerate().find_map(|(at, name)| all.iter().take(at).find(|one| *one == name))
        {
            return Err(format!("clusters has {twice} twice"));
        }
        if self.choose.is_some() && all.len() < 2 {
            return Err("choose needs clusters, a list of two or more".to_owned());
        }
        match (self.choose, self.weights.len()) {
            (Some(Choose::Weight), given) if given != all.len() => {
                Err("weights must have a number for each of clusters".to_owned())
            }
            (Some(Choose::Weight), _) if self.weights.iter().any(|weight| !(1..=MOST_WEIGHT).contains(weight)) => {
                Err(format!("weights must be from 1 to {MOST_WEIGHT}"))
            }
            (Some(Choose::Weight), _) | (_, 0) => Ok(()),
            _ => Err("weights are for choose = \"weight\"".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use gha_slurm_protocol::identity::RepositoryName;

    use super::*;
    use crate::profile::{NotOurs, ProfileError, Profiles, Wanted};

    fn profiles(more: &str) -> Result<Profiles, ProfileError> {
        Profiles::parse(&format!("[[profile]]\nname = 'p'\nlabels = ['slurm']\n{more}"))
    }

    fn placed(more: &str, labels: &[&str]) -> Result<Placement, NotOurs> {
        let repository = RepositoryName::try_from("a/b".to_owned()).unwrap();
        let found = profiles(more).unwrap().find(Wanted::of(&labels.iter().collect(), &repository))?;
        Ok(found.placement)
    }

    fn names(placement: &Placement) -> Vec<&str> {
        placement.clusters.iter().map(ClusterName::as_str).collect()
    }

    #[test]
    fn a_profile_names_its_clusters_and_a_workflow_one_of_them() {
        assert_eq!(placed("", &["slurm"]), Ok(Placement::default()));
        assert_eq!(names(&placed("cluster = 'alps'", &["slurm"]).unwrap()), ["alps"]);
        let two = "clusters = ['alps', 'eiger']\nchoose = 'weight'\nweights = [3, 1]";
        let both = placed(two, &["slurm"]).unwrap();
        assert_eq!(
            (names(&both), both.choose, both.weights.as_slice()),
            (vec!["alps", "eiger"], Choose::Weight, &[3, 1][..])
        );
        let one = placed(two, &["slurm", "slurm-cluster=Eiger"]).unwrap();
        assert_eq!((names(&one), one.choose), (vec!["eiger"], Choose::Order));
        for (more, label) in
            [(two, "slurm-cluster=daint"), (two, "slurm-cluster="), ("cluster = 'alps'", "slurm-cluster=b")]
        {
            assert!(matches!(placed(more, &["slurm", label]), Err(NotOurs::Dynamic { .. })), "{label}");
        }
        let twice = placed(two, &["slurm", "slurm-cluster=eiger", "slurm-cluster=alps"]);
        assert!(matches!(twice, Err(NotOurs::Dynamic { .. })));
        assert!(matches!(placed("", &["slurm", "slurm-cluster=alps"]), Err(NotOurs::Labels(_))));
    }

    #[test]
    fn a_placement_that_makes_no_sense_is_refused() {
        for bad in [
            "cluster = 'a'\nclusters = ['b']",
            "clusters = ['a', 'a']",
            "cluster = 'a'\nchoose = 'shortest'",
            "clusters = ['a', 'b']\nchoose = 'weight'",
            "clusters = ['a', 'b']\nchoose = 'weight'\nweights = [1]",
            "clusters = ['a', 'b']\nchoose = 'weight'\nweights = [1, 0]",
            "clusters = ['a', 'b']\nweights = [1, 1]",
        ] {
            assert!(matches!(profiles(bad), Err(ProfileError::Invalid { .. })), "{bad}");
        }
        assert!(matches!(profiles("cluster = 'A B'"), Err(ProfileError::Malformed(_))));
    }
}
