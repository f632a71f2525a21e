//! Conditional requests. The answer to a GET has an `ETag`; who sends it back as `If-None-Match` gets 304 and no body
//! while nothing has changed. Such a call does not count towards the primary rate limit.
//!
//! A tag is of the body and of the credential: the next JWT or installation token gets 200 and another tag for the same
//! body, so who signs a JWT for every call never sees a 304.
//!
//! Source: GitHub Docs, "Best practices for using the REST API"; for the credential, the answer of GitHub's support in
//! eclipse-csi/otterdog#201.

use std::hash::{DefaultHasher, Hasher};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};

/// What of a GET decides about its tag.
pub(crate) struct Conditional {
    /// Of what the answer varies by.
    hasher: DefaultHasher,
    /// The tags that the client has.
    known: Vec<String>,
}

impl Conditional {
    /// `None` for another method.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        if request.method() != Method::GET {
            return None;
        }
        let values = |name: HeaderName| request.headers().get_all(name).into_iter();
        let mut hasher = DefaultHasher::new();
        for value in values(ACCEPT).chain(values(AUTHORIZATION)) {
            hasher.write(value.as_bytes());
        }
        let listed = values(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        Some(Self { hasher, known: listed.flat_map(|list| list.split(',')).map(opaque).collect() })
    }

    /// Tags a good answer, or tells that the client has it.
    pub(crate) async fn answer(mut self, response: Response) -> Response {
        if response.status() != StatusCode::OK {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        self.hasher.write(&body);
        let tag = format!("W/\"{:016x}\"", self.hasher.finish());
        let unchanged = self.known.iter().any(|known| *known == opaque(&tag) || known == "*");
        let headers = [
            (ETAG, tag.as_str()),
            (VARY, "Accept, Authorization, Cookie, X-GitHub-OTP"),
            (CACHE_CONTROL, "private, max-age=60, s-maxage=60"),
        ];
        if unchanged {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        parts.headers.extend(headers.map(|(name, value)| (name, value.parse().unwrap())));
        Response::from_parts(parts, Body::from(body))
    }
}

/// A tag without the mark of a weak one: `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn opaque(tag: &str) -> String {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).to_owned()
}
