//! What goes wrong, once each: calls of an endpoint, and webhooks on their way.

use std::time::Duration;

use serde_json::{Map, Value};

use super::endpoint::Endpoint;

/// How an endpoint fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// With this status and a GitHub error body.
    Status(u16),
    /// With this status and these words.
    Refused(u16, &'static str),
    /// 403 with the limit used up, and the time when it is reset.
    PrimaryRateLimit {
        /// Seconds from now.
        reset_in: u64,
    },
    /// 403 with `retry-after`.
    SecondaryRateLimit {
        /// Seconds.
        retry_after: u64,
    },
    /// 201 with a body that is not JSON.
    Garbage,
    /// No answer for this long.
    Stall(Duration),
}

/// The faults that are still to come.
#[derive(Default)]
pub(crate) struct Faults(Vec<Due>);

struct Due {
    endpoint: Endpoint,
    /// Calls that pass before it.
    after: u64,
    fault: Fault,
}

impl Faults {
    pub(crate) fn add(&mut self, endpoint: Endpoint, after: u64, fault: Fault) {
        self.0.push(Due { endpoint, after, fault });
    }

    /// The fault of a call of that endpoint; of several, the first.
    pub(crate) fn of_call(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let due = self.0.iter().position(|due| due.endpoint == endpoint && due.after == 0);
        let fault = due.map(|index| self.0.remove(index).fault);
        let own = self.0.iter_mut().filter(|due| due.endpoint == endpoint);
        own.for_each(|due| due.after = due.after.saturating_sub(1));
        fault
    }
}

/// How a webhook goes wrong on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// It is never sent, and no delivery tells of it.
    Lost,
    /// It does not reach the app: a failed delivery.
    Unreachable,
    /// It reaches the app this much later.
    Late(Duration),
    /// It does not name the job's runner: `runner_name` and its companions are null.
    RunnerNull,
    /// It does not name the job's runner: `runner_name` is empty, and `runner_id` is 0.
    RunnerEmpty,
    /// It has neither the repository's `visibility` nor a `sender`.
    Bare,
    /// It has its id at once, and this long after the attempt is over it is listed: below ids that were listed before.
    ListedLate(Duration),
}

/// What is wrong with a recorded delivery, for good.
#[derive(Debug, Clone)]
pub enum DeliveryFault {
    /// It is listed, but `GET /app/hook/deliveries/{id}` refuses it with this status: 404 or 410.
    Refused(u16),
    /// It says that it is of the App with this id.
    OfApp(u64),
    /// Its entry in the list, and by itself, has these values in these fields.
    Entry(Map<String, Value>),
    /// Its payload is this one. The signature that is shown with it is that of this payload.
    Payload(Value),
    /// Its payload has a field more and is so many bytes long; GitHub sends none above 25 MB.
    PaddedTo(usize),
}
