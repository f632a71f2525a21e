//! What GitHub's failures mean to the person who reads about them, in the Slurm job's output and in explanations.
//!
//! GitHub's own message comes first, because it names what only GitHub knows; then what to do.

use super::client::{GitHubError, Until};
use super::refusal::{Reason, Refusal};

impl Reason {
    /// Its word, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clock { .. } => "clock",
            Self::App => "app",
            Self::Token => "token",
            Self::NotInstalled => "not_installed",
            Self::Suspended => "suspended",
            Self::Permission => "permission",
            Self::OrganizationPermission => "organization_permission",
            Self::NoGroup => "no_runner_group",
            Self::GroupClosed => "runner_group_closed",
            Self::GroupNeedsJit => "runner_group_needs_jit",
            Self::RunnersDisabled => "runners_disabled",
            Self::IpAllowList => "ip_allow_list",
            Self::NameTaken => "name_taken",
            Self::NoJit => "no_jit",
            Self::Labels => "labels",
            Self::NotGitHub => "not_github",
            Self::Other => "other",
        }
    }

    /// What to do about it, in one sentence without a full stop.
    pub fn advice(self) -> String {
        let advice = match self {
            Self::Clock { ahead: Some(ahead) } if ahead != 0 => {
                let which = if ahead > 0 { "ahead of" } else { "behind" };
                return format!(
                    "the clock of the machine where the app runs is {} s {which} GitHub's: set it, best by NTP",
                    ahead.unsigned_abs()
                );
            }
            Self::Clock { .. } => "check the clock of the machine where the app runs against GitHub's",
            Self::App => "check github_app_id, github_private_key and github_api_url",
            Self::Token => "GitHub does not accept its own access token; ask again, and see GitHub's status page",
            Self::NotInstalled => {
                "the App is not installed for this repository (any more), or the repository is gone: install the App on it"
            }
            Self::Suspended => "the App's installation is suspended: unsuspend it in the account's settings at GitHub",
            Self::Permission => {
                "the App needs the repository permissions Actions (read) and, unless every runner is an organization's, \
                 Administration (read and write), and an owner of the account must have accepted them"
            }
            Self::OrganizationPermission => {
                "the App must be installed on the organization with the organization permission Self-hosted runners (read \
                 and write), and an owner must have accepted it; the repositories of a personal account need a profile \
                 with level = 'repository'"
            }
            Self::NoGroup => {
                "create it in the organization's settings under Actions, Runner groups, or correct runner_group in the \
                 profile"
            }
            Self::GroupClosed => {
                "in the organization's settings under Actions, Runner groups, an owner opens the group to the repository; \
                 for a public one, the group must also allow public repositories"
            }
            Self::GroupNeedsJit => {
                "let the job script ask for a JIT configuration, as the gateway's own does, or leave runner_group out of \
                 the profile"
            }
            Self::RunnersDisabled => {
                "self-hosted runners are switched off for this repository: an owner of the organization or the \
                 enterprise allows them under Actions, Runners"
            }
            Self::IpAllowList => {
                "add the address from which the app reaches GitHub to the organization's IP allow list"
            }
            Self::NameTaken => "remove the runners of this name from the repository's settings, Actions, Runners",
            Self::NoJit => {
                "this server does not know JIT configurations: update it, or set registration_tokens to allow, which lets \
                 the job's account register any number of runners for an hour"
            }
            Self::Labels => "the job's labels cannot be a runner's: change runs-on",
            Self::NotGitHub => {
                "the answer is not GitHub's: a proxy or a firewall between the app and GitHub refused the call"
            }
            Self::Other => "see GitHub's message",
        };
        advice.to_owned()
    }
}

impl Refusal {
    /// GitHub's words, and what to do.
    pub fn told(&self) -> String {
        let advice = self.reason.advice();
        match (&*self.message, self.reason) {
            ("", _) => format!("GitHub refuses: {advice}"),
            // Our words, not GitHub's.
            (message, Reason::NoGroup | Reason::GroupClosed | Reason::GroupNeedsJit) => format!("{message}: {advice}"),
            (message, Reason::Other) => format!("GitHub refuses: {message}"),
            (message, _) => format!("GitHub refuses ({}): {advice}", message.trim_end_matches('.')),
        }
    }
}

impl GitHubError {
    /// What happened, for whoever waits for the answer. It shows no path and no credential.
    pub fn told(&self) -> String {
        match self {
            Self::Unauthorized(refusal) | Self::NotFound(refusal) | Self::Refused(refusal) => refusal.told(),
            Self::Unavailable { until: Until::LimitEnds, retry_after, .. } => {
                format!("GitHub limits the rate of calls: nothing is asked for {retry_after} s")
            }
            Self::Unavailable { until: Until::TokenKnown(refusal), .. } => {
                format!("GitHub does not know an access token yet that it has just made ({})", refusal.message)
            }
            Self::Unavailable { until: Until::Reached(refusal), .. } => refusal.reason.advice(),
            Self::Unavailable { until: Until::Back, .. } => "GitHub cannot answer now".to_owned(),
            Self::Setting(error) => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reason: Reason, message: &str) -> String {
        Refusal { reason, message: message.to_owned(), detail: String::new() }.told()
    }

    #[test]
    fn githubs_own_message_is_told_with_what_to_do() {
        let disabled = "Repository level self-hosted runners are disabled on this repository.";
        let text = told(Reason::RunnersDisabled, disabled);
        assert!(text.contains("self-hosted runners are disabled on this repository): "), "{text}");
        assert!(text.contains("an owner of the organization"), "{text}");
        assert_eq!(told(Reason::Other, "Something new."), "GitHub refuses: Something new.");
        let clock = told(Reason::Clock { ahead: Some(-400) }, "'Issued at' claim ('iat')");
        assert!(clock.contains("400 s behind GitHub's"), "{clock}");
    }
}
