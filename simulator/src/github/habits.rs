//! What the real GitHub does on a bad day, or on an old server, each to be switched on by a test.

use std::time::Duration;

use super::handle::GitHub;
use super::state::app::INSTALLATION;
use super::state::endpoint::Endpoint;
use super::state::fault::{DeliveryFault, Fault, WebhookFault};
use super::state::limit::{Caller, RateLimit};
use super::state::manifest::covered;
use super::state::permission::Permissions;
use super::state::token::TokenLag;

impl GitHub {
    /// Makes the next call of an endpoint fail; several wait in line.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.fail_after(0, endpoint, fault);
    }

    /// Makes one call of an endpoint fail, after so many more of its calls have passed.
    pub fn fail_after(&self, calls: u64, endpoint: Endpoint, fault: Fault) {
        self.shared.state().faults.add(endpoint, calls, fault);
    }

    /// Makes the next webhook go wrong; several wait in line.
    pub fn disturb_webhook(&self, fault: WebhookFault) {
        self.shared.state().webhook_faults.push_back(fault);
    }

    /// Lets no webhook reach the app, or lets them again: each is recorded as failed without being sent.
    pub fn miss_webhooks(&self, missed: bool) {
        self.shared.state().habits.webhooks_missed = missed;
    }

    /// Gives every delivery its id before it is sent and lists it when the attempt is over, or gives the id then, so
    /// that ids are listed in their order.
    pub fn list_late(&self, late: bool) {
        self.shared.state().habits.listed_late = late;
    }

    /// Spoils a recorded delivery, for good; a second fault comes on top.
    pub fn spoil_delivery(&self, id: u64, fault: DeliveryFault) {
        self.shared.state().deliveries.spoil(id, fault).unwrap();
    }

    /// Makes every delivery so far older. What is older than three days is neither listed nor shown nor repeated.
    pub fn age_deliveries(&self, by: Duration) {
        self.shared.state().deliveries.age(by.as_secs());
    }

    /// Refuses a caller's calls by a rate limit, until it ends or is lifted. Others' calls go on.
    pub fn limit(&self, caller: Caller, limit: RateLimit) {
        self.limit_after(0, caller, limit);
    }

    /// Refuses a caller's calls by a rate limit after so many more of them. Until a primary limit begins,
    /// `x-ratelimit-remaining` says how many are left, and calls that are answered 304 do not count.
    pub fn limit_after(&self, calls: u64, caller: Caller, limit: RateLimit) {
        self.shared.state().limits.set(caller, calls, limit);
    }

    /// Ends a caller's rate limit. The caller was told what to wait for, and has to.
    pub fn lift_limit(&self, caller: Caller) {
        self.shared.state().limits.lift(caller);
    }

    /// The calls, as method and path, that came although their caller had been told to wait: for `retry-after`, for
    /// the reset of the primary limit, or for the minute that GitHub asks for when a secondary limit names no time.
    pub fn calls_during_limits(&self) -> Vec<String> {
        self.shared.state().limits.ignored()
    }

    /// Refuses installation tokens that are made from now on with this status (401, 403 or 404) while they are fresh.
    pub fn delay_tokens(&self, status: u16, lag: TokenLag) {
        self.shared.state().habits.token_lag = Some((status, lag));
    }

    /// Makes it an Enterprise Server from before JIT configurations, or a current one again.
    pub fn set_jit(&self, known: bool) {
        self.shared.state().habits.no_jit = !known;
    }

    /// Puts the caller's address outside the organization's IP allow list, or inside again.
    pub fn block_address(&self, blocked: bool) {
        self.shared.state().habits.address_blocked = blocked;
    }

    /// The organization forbids the repository runners of its own, or allows them again.
    pub fn disable_runners(&self, repository: &str, disabled: bool) {
        self.shared.state().repositories.named_mut(repository).unwrap().runners_disabled = disabled;
    }

    /// Puts this GitHub's clock ahead of the machine's by so many seconds, or behind.
    pub fn set_clock(&self, ahead: i64) {
        self.shared.state().clock_ahead = ahead;
    }

    /// Uninstalls the App from a repository.
    pub fn uninstall(&self, repository: &str) {
        if let Some(repository) = self.shared.state().repositories.named_mut(repository) {
            repository.installation = None;
        }
    }

    /// Suspends the installation.
    pub fn suspend(&self) {
        self.shared.state().suspended.insert(INSTALLATION);
    }

    /// Takes the permission Administration from the App.
    pub fn revoke_administration(&self) {
        self.set_permission("administration", Some("read"));
    }

    /// Takes a permission from the App, or changes its level.
    pub fn set_permission(&self, name: &str, level: Option<&str>) {
        let mut state = self.shared.state();
        let permissions = &mut state.app_mut().unwrap().permissions;
        match level {
            Some(level) => permissions.insert(name.to_owned(), level.to_owned()),
            None => permissions.remove(name),
        };
    }

    /// Makes the App one with these permissions and no others, and the events that they cover.
    pub fn set_permissions(&self, permissions: &[(&str, &str)]) {
        let mut state = self.shared.state();
        let app = state.app_mut().unwrap();
        app.permissions = owned(permissions);
        app.events = covered(&app.permissions);
    }

    /// Makes the installation's owner grant these permissions only, whatever the App asks for, or all again.
    pub fn grant(&self, permissions: Option<&[(&str, &str)]>) {
        self.shared.state().granted = permissions.map(owned);
    }

    /// Sets what the App's webhook tells of.
    pub fn set_events(&self, events: &[&str]) {
        self.shared.state().app_mut().unwrap().events = events.iter().map(|event| (*event).to_owned()).collect();
    }

    /// Makes every code that was not exchanged yet as old as GitHub lets it become.
    pub fn expire_codes(&self) {
        self.shared.state().registrations.codes.values_mut().for_each(|(_, end)| *end = 0);
    }
}

fn owned(permissions: &[(&str, &str)]) -> Permissions {
    permissions.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
}
