//! A strict stand-in for the app: it checks whatever a gateway says, keeps a book of leases, and notes what breaks the
//! protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use gha_slurm_protocol::exchange::{Exchange, News, QueueLength, Report};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "4d1f0a2b9c8e7f60a1b2c3d4e5f60718";
pub(crate) const ONE: &str = "octo-org/one";

/// How the app answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// With this status, having done nothing.
    Fails(u16),
    /// It does what it is told, and its answer is lost.
    Forgets,
    Hangs,
    /// This body, with 200.
    Says(String),
    /// 400 for whatever has a report of this launch.
    Dislikes(String),
    /// It cannot write down what is reported of this launch, and says so.
    Misses(String),
}

#[derive(Debug, Default)]
pub(crate) struct Offer {
    start: Value,
    offered: Option<Instant>,
    /// To whom, until the test says that the lease is over.
    leased: Option<String>,
    again: bool,
    pub(crate) reports: Vec<News>,
}

impl Offer {
    pub(crate) fn submitted(&self) -> Option<&str> {
        self.reports.iter().find_map(|news| match news {
            News::Submitted { job_id } => Some(job_id.as_str()),
            _ => None,
        })
    }

    /// The states in order.
    pub(crate) fn states(&self) -> Vec<&str> {
        let state = |news: &'_ News| matches!(news, News::State(_));
        self.reports
            .iter()
            .filter(|news| state(news))
            .map(|news| match news {
                News::State(job) => job.state.as_str(),
                _ => "",
            })
            .collect()
    }

    fn is_settled(&self) -> bool {
        self.reports.iter().any(|news| !matches!(news, News::State(_) | News::Unavailable { .. }))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) secret: String,
    pub(crate) public_url: Option<String>,
    pub(crate) mood: Mood,
    pub(crate) lease_seconds: u64,
    pub(crate) offers: BTreeMap<String, Offer>,
    pub(crate) cancel: BTreeSet<String>,
    pub(crate) exchanges: u32,
    /// Reports that it could not write down.
    pub(crate) missed: u32,
    pub(crate) rooms: Vec<u32>,
    pub(crate) queues: Vec<QueueLength>,
    pub(crate) wrong: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) address: std::net::SocketAddr,
    serving: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>>,
}

impl App {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book = Book { secret: SECRET.to_owned(), lease_seconds: 120, ..Book::default() };
        let app = Self { book: Arc::new(Mutex::new(book)), address, serving: Arc::default() };
        app.serve(listener);
        app
    }

    fn serve(&self, listener: tokio::net::TcpListener) {
        let router = self.router();
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        *self.serving.lock().unwrap() = Some(serving);
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(exchange).with_state(self.clone())
    }

    /// Nothing listens there any more.
    pub(crate) fn goes(&self) {
        self.serving.lock().unwrap().take().unwrap().abort();
    }

    pub(crate) async fn comes_back(&self) {
        self.serve(tokio::net::TcpListener::bind(self.address).await.unwrap());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.book.lock().unwrap())
    }

    /// Offers a launch, with these further fields.
    pub(crate) fn offer(&self, launch: &str, more: &Value) {
        let mut start = json!({
            "gitHubURL": format!("https://github.com/{ONE}"), "runnerLabels": "self-hosted,slurm", "launch": launch,
            "launcherToken": format!("eyJhbGciOiJIUzI1NiJ9.job{}.signature", launch.replace('-', "x")),
            "tokenURL": "https://app.example/gha/runner", "runnerName": format!("gha-slurm-{launch}"),
        });
        start["tokenURL"] = format!("{}/gha/runner", self.url()).into();
        start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let offer = Offer { start, offered: Some(Instant::now()), ..Offer::default() };
        self.with(|book| book.offers.insert(launch.to_owned(), offer));
    }

    /// Those that are leased and not settled are offered again.
    pub(crate) fn leases_end(&self) {
        self.with(|book| {
            for offer in book.offers.values_mut().filter(|offer| !offer.is_settled()) {
                offer.leased = None;
                offer.again = true;
            }
        });
    }

    pub(crate) fn offer_of<T>(&self, launch: &str, read: impl FnOnce(&Offer) -> T) -> T {
        self.with(|book| read(&book.offers[launch]))
    }

    pub(crate) fn submitted(&self, launch: &str) -> bool {
        self.offer_of(launch, |offer| offer.submitted().is_some())
    }

    /// How long ago it was offered.
    pub(crate) fn age(&self, launch: &str) -> Duration {
        self.offer_of(launch, |offer| offer.offered.unwrap().elapsed())
    }

    pub(crate) fn nothing_was_wrong(&self) {
        self.with(|book| assert_eq!(book.wrong, [""; 0]));
    }
}

async fn exchange(State(app): State<App>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let (mood, answer) = app.with(|book| {
        let answer = answer(book, &method, &uri, &headers, &body);
        (book.mood.clone(), answer)
    });
    match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Forgets => StatusCode::BAD_GATEWAY.into_response(),
        Mood::Says(text) => ([("content-type", "application/json")], text).into_response(),
        _ => answer,
    }
}

fn answer(book: &mut Book, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
    let fail = |status: u16, words: &str| {
        (StatusCode::from_u16(status).unwrap(), Json(json!({"error": words}))).into_response()
    };
    book.exchanges += 1;
    let wrong = |book: &mut Book, what: String| book.wrong.push(what);
    if (method.as_str(), uri.path()) != ("POST", "/clusters/alps/exchange") || uri.query().is_some() {
        wrong(book, format!("{method} {uri}"));
        return fail(404, "not here");
    }
    let only = |name: &str| {
        let mut all = headers.get_all(name).iter();
        let one = all.next().and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if all.next().is_some() { format!("several {name}") } else { one }
    };
    if only("authorization") != format!("Bearer {}", book.secret) {
        return fail(401, "unknown cluster or wrong secret");
    }
    match &book.mood {
        Mood::Fails(status) => return fail(*status, "as told"),
        Mood::Hangs | Mood::Says(_) => return fail(500, "not sent"),
        Mood::Well | Mood::Forgets | Mood::Dislikes(_) | Mood::Misses(_) => {}
    }
    if only("content-type") != "application/json" || only("content-length") != body.len().to_string() {
        wrong(book, format!("{headers:?}"));
    }
    if body.len() > 256 * 1024 {
        wrong(book, format!("{} bytes", body.len()));
        return fail(413, "too long");
    }
    let said: Exchange = match serde_json::from_slice(body) {
        Ok(said) => said,
        Err(error) => {
            wrong(book, error.to_string());
            return fail(400, "malformed");
        }
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if said.gateway.len() > 64 || !said.gateway.chars().all(plain) || said.reports.len() > 256 || said.room > 64 {
        wrong(book, format!("{} reports, room {}, of {}", said.reports.len(), said.room, said.gateway));
    }
    if let Mood::Dislikes(launch) = &book.mood
        && said.reports.iter().any(|report| report.launch.to_string() == *launch)
    {
        return fail(400, "a report that is not understood");
    }
    book.rooms.push(said.room);
    book.queues.extend(said.queue);
    let mut not_taken = Vec::new();
    for Report { launch, news } in said.reports {
        let id = launch.to_string();
        if book.mood == Mood::Misses(id.clone()) {
            not_taken.push(id);
            book.missed += 1;
            continue;
        }
        if news == News::Cancelled {
            book.cancel.remove(&id);
        }
        let Some(offer) = book.offers.get_mut(&id) else { continue };
        if matches!(news, News::Unavailable { .. }) {
            offer.again = true;
        }
        if let (News::Submitted { job_id }, Some(known)) = (&news, offer.submitted())
            && *job_id != known
        {
            book.wrong.push(format!("{id} is Slurm job {job_id} and {known}"));
        }
        offer.reports.push(news);
    }
    let gateway = said.gateway;
    let lease_seconds = book.lease_seconds;
    let free = book.offers.values_mut().filter(|offer| offer.leased.is_none() && !offer.is_settled());
    let launches: Vec<Value> = free
        .take(usize::try_from(said.room).unwrap())
        .map(|offer| {
            offer.leased = Some(gateway.clone());
            json!({"start": offer.start, "lease_seconds": lease_seconds, "again": offer.again})
        })
        .collect();
    let mut answer = json!({"launches": launches, "cancel": book.cancel, "unknown": [], "not_taken": not_taken});
    if let Some(url) = &book.public_url {
        answer["public_url"] = url.as_str().into();
    }
    Json(answer).into_response()
}
