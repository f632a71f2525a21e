//! The `spin-*` headers: what Spin tells a component about the way that a request came.

use std::net::SocketAddr;

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::routing::Match;

const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// Replaces the `spin-*` headers, which a client must not be able to set, by what Spin tells a component.
pub(super) fn set<T>(head: &mut Parts, found: &Match<'_, T>, client: SocketAddr) {
    let headers = &mut head.headers;
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("spin-")).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path_and_query = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://{host}{path_and_query}");
    let base = if found.prefix { found.route.trim_end_matches("/...") } else { found.route };
    let mut insert = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    insert(FULL_URL, &url);
    insert(PATH_INFO, &found.rest);
    insert(MATCHED_ROUTE, found.route);
    insert(RAW_COMPONENT_ROUTE, found.route);
    insert(COMPONENT_ROUTE, base);
    insert(BASE_PATH, "/");
    insert(CLIENT_ADDR, &client.to_string());
    for (name, value) in &found.parameters {
        if let Ok(name) = HeaderName::try_from(format!("spin-path-match-{}", name.to_lowercase())) {
            insert(name, value);
        }
    }
}
