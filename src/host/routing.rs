//! Which component serves a path, by Spin's rules and Spin's own router. A route is exact (`/x`), a prefix (`/x/...`), and
//! may have single segments by name (`/:user/x`). Segment by segment, one that is named in the route wins over one that may
//! be anything, and that over the rest of a prefix.

use thiserror::Error;

/// A route that cannot be.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum RouteError {
    /// Not of the form that Spin has.
    #[error("the route {0:?} must begin with /, may have ... only at its end, and nothing but ASCII")]
    Malformed(String),
    /// Two routes for the same paths.
    #[error("the routes {0:?} and {1:?} are for the same paths")]
    Duplicate(String, String),
}

/// Routes with what serves them.
#[derive(Debug)]
pub struct Router<T>(routefinder::Router<Route<T>>);

#[derive(Debug)]
struct Route<T> {
    text: String,
    prefix: bool,
    target: T,
}

/// A path's route.
#[derive(Debug)]
pub struct Match<'a, T> {
    /// What serves it.
    pub target: &'a T,
    /// The route as the manifest has it.
    pub route: &'a str,
    /// Whether it ends in `/...`.
    pub prefix: bool,
    /// What comes after a prefix, with its leading `/`; empty for an exact route.
    pub rest: String,
    /// The values of the named segments.
    pub parameters: Vec<(String, String)>,
}

impl<T> Router<T> {
    /// Checks the routes.
    pub fn new(routes: Vec<(String, T)>) -> Result<Self, RouteError> {
        let mut router = routefinder::Router::new();
        let mut known: Vec<(String, String)> = Vec::new();
        for (text, target) in routes {
            let (pattern, prefix) = pattern(&text).ok_or_else(|| RouteError::Malformed(text.clone()))?;
            let paths = paths(&pattern);
            if let Some((_, same)) = known.iter().find(|(other, _)| *other == paths) {
                return Err(RouteError::Duplicate(same.clone(), text));
            }
            known.push((paths, text.clone()));
            let route = Route { text: text.clone(), prefix, target };
            router.add(pattern, route).map_err(|_| RouteError::Malformed(text))?;
        }
        Ok(Self(router))
    }

    /// The route of a request's path.
    pub fn find(&self, path: &str) -> Option<Match<'_, T>> {
        let found = self.0.best_match(path)?;
        let (route, captures) = (found.handler(), found.captures());
        let rest =
            captures.wildcard().filter(|rest| !rest.is_empty()).map(|rest| format!("/{rest}")).unwrap_or_default();
        let parameters = captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Match { target: &route.target, route: &route.text, prefix: route.prefix, rest, parameters })
    }
}

/// A route in the router's own form, and whether it is a prefix.
fn pattern(route: &str) -> Option<(String, bool)> {
    let path = route.strip_prefix('/')?;
    let (path, prefix) = match path.strip_suffix("...") {
        Some(path) if path.is_empty() || path.ends_with('/') => (path, true),
        Some(_) => return None,
        None => (path, false),
    };
    if path.contains("...") || path.contains('*') || !path.is_ascii() {
        return None;
    }
    Some((format!("/{path}{}", if prefix { "*" } else { "" }), prefix))
}

/// A pattern without the names of its segments, and with one `/` between them.
fn paths(pattern: &str) -> String {
    let segments = pattern.split('/').filter(|segment| !segment.is_empty());
    segments
        .map(|segment| if segment.starts_with(':') { "/:" } else { segment })
        .fold(String::new(), |paths, segment| paths + "/" + segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[&str]) -> Result<Router<()>, RouteError> {
        Router::new(routes.iter().map(|route| ((*route).to_owned(), ())).collect())
    }

    #[test]
    fn the_longest_match_wins_and_exact_wins_over_prefix() {
        let router = router(&["/...", "/api/...", "/api/hooks", "/api/:id/x", "/api/one/x"]).unwrap();
        for (path, route) in [
            ("/", "/..."),
            ("/other/path", "/..."),
            ("/api", "/api/..."),
            ("/api/hooks", "/api/hooks"),
            ("/api/hooks/", "/api/hooks"),
            ("/api/hooks/more", "/api/..."),
            ("/api/two/x", "/api/:id/x"),
            ("/api/one/x", "/api/one/x"),
        ] {
            assert_eq!(router.find(path).map(|found| found.route), Some(route), "{path}");
        }
        let found = router.find("/api/7/x").unwrap();
        assert_eq!(found.parameters, [("id".to_owned(), "7".to_owned())]);
        assert_eq!(router.find("/api/a/b").unwrap().rest, "/a/b");
    }

    #[test]
    fn no_route_no_component() {
        let router = router(&["/a"]).unwrap();
        for path in ["/", "/A", "/a/b", "/b"] {
            assert!(router.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_route_that_cannot_be_is_refused() {
        for bad in ["", "a", "/a...", "/.../a", "/*", "/a/*/b", "/:", "/\u{e9}/:a"] {
            assert!(matches!(router(&[bad]), Err(RouteError::Malformed(_))), "{bad:?}");
        }
        for (one, same) in [("/:a", "/:b"), ("/a", "/a/"), ("/a/...", "/a/...")] {
            assert!(matches!(router(&[one, same]), Err(RouteError::Duplicate(..))), "{one} {same}");
        }
    }
}
