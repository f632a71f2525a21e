//! Pages for people: the overview at `/`, one job at `/jobs/ID`, login and logout.
//!
//! They are rendered completely here, so that they work without JavaScript; the one script loads the same page again and
//! replaces the parts that differ. Nothing is loaded from elsewhere, and the policy enforces that: only our own scripts,
//! styles and images, no frames, no forms to another host. The templates escape all text; none of it is marked as safe.

mod assets;
mod chart;
mod clusters;
mod deliveries;
mod figures;
mod frame;
mod gate;
mod job;
mod list;
mod look;
mod overview;
#[cfg(test)]
mod tests;

use gha_slurm_core::ports::{Platform, StoreError};
use gha_slurm_core::settings::Settings;
use gha_slurm_edge::answer::Answer;
use gha_slurm_edge::client::Client;
use gha_slurm_edge::request::Request;
use maud::Markup;
use url::Url;

use self::frame::Frame;
use crate::session::{LogIn, Session, Sessions, behind_tls, same_origin};

/// What a browser may do with a page: load our own files, ask us again, post forms to us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Whether this path is a page or one of its files.
pub(crate) fn serves(path: &str) -> bool {
    matches!(path, "/" | "/login" | "/logout") || path.starts_with("/jobs/") || path.starts_with("/assets/")
}

/// Answers one request for a page.
pub(crate) fn answer<P: Platform>(platform: &P, request: &Request) -> Answer {
    let path = request.path();
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    let posts = request.method == "POST";
    let acts = matches!(path, "/login" | "/logout");
    if path.starts_with("/assets/") {
        return if reads { assets::answer(request) } else { Answer::method_not_allowed("GET") };
    }
    let answered = match Settings(platform).admin_token() {
        Err(error) => Ok(page(503, gate::unconfigured(&error.to_string()))),
        Ok(_) if acts && reads => Ok(redirect("/", Vec::new())),
        Ok(_) if acts && !posts => Ok(Answer::method_not_allowed("POST")),
        Ok(_) if !acts && !reads => Ok(Answer::method_not_allowed("GET")),
        Ok(token) => {
            let public = Settings(platform).public_url().ok();
            let sessions = Sessions::new(platform, token, behind_tls(request, public.as_ref()));
            match path {
                _ if acts && !same_origin(request, public.as_ref()) => Ok(page(403, gate::foreign())),
                "/login" | "/logout" => match Client::of(platform, request) {
                    Ok(client) if path == "/login" => log_in(&sessions, request, client),
                    Ok(client) => log_out(&sessions, request, client),
                    Err(error) => Ok(error.into()),
                },
                _ => sessions.of(request).and_then(|session| match session {
                    Some(session) => shown(platform, request, public.as_ref(), &session),
                    None => Ok(outside(request)),
                }),
            }
        }
    };
    answered.unwrap_or_else(|error| {
        let shown = page(503, gate::store_failed()).with_header("retry-after", "10");
        shown.with_detail(error.to_string())
    })
}

/// A page for a logged-in user.
fn shown<P: Platform>(
    platform: &P,
    request: &Request,
    public: Option<&Url>,
    _session: &Session,
) -> Result<Answer, StoreError> {
    let frame = Frame { now: platform.unix_seconds(), host: public.and_then(Url::host_str) };
    match request.path().strip_prefix("/jobs/") {
        Some(id) => job::answer(platform, &frame, id),
        None => overview::answer(platform, &frame, request),
    }
}

/// What a stranger sees instead of any page, whether it exists or not.
fn outside(request: &Request) -> Answer {
    // A browser that follows a link from another site sends no strict cookies. If our own page asks again, it does.
    if request.header("sec-fetch-site") == Some("cross-site") {
        return page(200, gate::again());
    }
    page(401, gate::log_in(&request.target, None))
}

fn log_in<P: Platform>(sessions: &Sessions<'_, P>, request: &Request, client: Client) -> Result<Answer, StoreError> {
    let field = |name| request.form(name).unwrap_or_default();
    let wanted = field("next");
    let next = own_page(&wanted);
    // A pasted token may end with a line break.
    let answer = match sessions.log_in(request, client, field("token").trim())? {
        LogIn::Welcome(cookies) => redirect(next, cookies),
        LogIn::Wrong => page(401, gate::log_in(next, Some("This is not the admin token."))),
        LogIn::Limited { seconds } => {
            let text = format!("Too many wrong tokens. Try again in {seconds} s.");
            page(429, gate::log_in(next, Some(&text))).with_header("retry-after", seconds.to_string())
        }
    };
    Ok(answer.with_log("client", &client.to_string()))
}

fn log_out<P: Platform>(sessions: &Sessions<'_, P>, request: &Request, client: Client) -> Result<Answer, StoreError> {
    let cookies = match sessions.of(request)? {
        Some(session) => sessions.log_out(&session, client)?,
        None => Vec::new(),
    };
    Ok(redirect("/", cookies))
}

/// The page that was asked for before the login; the first one, if it is not one of ours.
fn own_page(target: &str) -> &str {
    let ours = target.starts_with("/jobs/") || target == "/" || target.starts_with("/?");
    let plain = target.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\');
    if ours && plain && target.len() <= 1024 { target } else { "/" }
}

fn page(status: u16, markup: Markup) -> Answer {
    let answer = Answer { status, ..Answer::text("text/html; charset=utf-8", markup.into_string()) };
    secured(answer)
}

fn redirect(to: &str, cookies: Vec<String>) -> Answer {
    let mut answer = Answer { status: 303, ..Answer::text("text/plain; charset=utf-8", String::new()) };
    answer = secured(answer.with_header("location", to));
    for cookie in cookies {
        answer = answer.with_header("set-cookie", cookie);
    }
    answer
}

fn secured(answer: Answer) -> Answer {
    [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        // Not `no-referrer`: browsers would then hide from us where a form comes from.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ]
    .into_iter()
    .fold(answer, |answer, (name, value)| answer.with_header(name, value))
}
