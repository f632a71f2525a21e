//! Which component serves a path: Spin's rules. A route is exact (`/x`), a prefix (`/x/...`), and may have single
//! segments by name (`/:user/x`). The longest match wins, an exact route before a prefix.

use std::sync::Arc;

use thiserror::Error;

/// A route that cannot be.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum RouteError {
    /// Not of the form that Spin has.
    #[error("the route {0:?} must begin with / and may have ... only at its end")]
    Malformed(String),
    /// Two routes for the same paths.
    #[error("the routes {0:?} and {1:?} are for the same paths")]
    Duplicate(String, String),
}

/// Routes with what serves them.
#[derive(Debug)]
pub struct Router<T>(Vec<Route<T>>);

#[derive(Debug)]
struct Route<T> {
    text: String,
    segments: Vec<Segment>,
    prefix: bool,
    target: Arc<T>,
}

#[derive(Debug, PartialEq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// A path's route.
#[derive(Debug)]
pub struct Match<'a, T> {
    /// What serves it.
    pub target: &'a Arc<T>,
    /// The route as the manifest has it.
    pub route: &'a str,
    /// Whether it ends in `/...`.
    pub prefix: bool,
    /// What comes after a prefix, with its leading `/`; empty for an exact route.
    pub rest: String,
    /// The values of the named segments.
    pub parameters: Vec<(&'a str, String)>,
}

impl<T> Router<T> {
    /// Checks the routes and puts the longest first.
    pub fn new(routes: Vec<(String, Arc<T>)>) -> Result<Self, RouteError> {
        let mut parsed: Vec<Route<T>> = Vec::new();
        for (text, target) in routes {
            let route = Route::parse(text, target)?;
            if let Some(same) = parsed.iter().find(|other| other.same_paths(&route)) {
                return Err(RouteError::Duplicate(same.text.clone(), route.text));
            }
            parsed.push(route);
        }
        let literals = |route: &Route<T>| route.segments.iter().filter(|s| matches!(s, Segment::Literal(_))).count();
        parsed.sort_by_key(|route| (route.prefix, usize::MAX - route.segments.len(), usize::MAX - literals(route)));
        Ok(Self(parsed))
    }

    /// The route of a request's path.
    pub fn find(&self, path: &str) -> Option<Match<'_, T>> {
        let segments = split(path);
        self.0.iter().find_map(|route| route.matches(&segments))
    }
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

impl<T> Route<T> {
    fn parse(text: String, target: Arc<T>) -> Result<Self, RouteError> {
        let malformed = || RouteError::Malformed(text.clone());
        let path = text.strip_prefix('/').ok_or_else(malformed)?;
        let (path, prefix) = match path.strip_suffix("...") {
            Some(path) if path.is_empty() || path.ends_with('/') => (path, true),
            Some(_) => return Err(malformed()),
            None => (path, false),
        };
        if path.contains("...") || path.contains('*') {
            return Err(malformed());
        }
        let segments = split(path)
            .into_iter()
            .map(|segment| match segment.strip_prefix(':') {
                Some(name) => Segment::Parameter(name.to_owned()),
                None => Segment::Literal(segment.to_owned()),
            })
            .collect();
        Ok(Self { segments, prefix, target, text })
    }

    fn same_paths(&self, other: &Self) -> bool {
        let same = |(a, b): (&Segment, &Segment)| match (a, b) {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            (Segment::Parameter(_), Segment::Parameter(_)) => true,
            _ => false,
        };
        self.prefix == other.prefix
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(same)
    }

    fn matches(&self, path: &[&str]) -> Option<Match<'_, T>> {
        let fits = if self.prefix { path.len() >= self.segments.len() } else { path.len() == self.segments.len() };
        if !fits {
            return None;
        }
        let mut parameters = Vec::new();
        for (segment, text) in self.segments.iter().zip(path) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Literal(_) => return None,
                Segment::Parameter(name) => parameters.push((name.as_str(), (*text).to_owned())),
            }
        }
        let rest = path.iter().skip(self.segments.len()).map(|segment| format!("/{segment}")).collect();
        Some(Match { target: &self.target, route: &self.text, prefix: self.prefix, rest, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[&str]) -> Result<Router<()>, RouteError> {
        Router::new(routes.iter().map(|route| ((*route).to_owned(), Arc::new(()))).collect())
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
        assert_eq!(found.parameters, [("id", "7".to_owned())]);
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
        for bad in ["", "a", "/a...", "/.../a", "/*"] {
            assert!(matches!(router(&[bad]), Err(RouteError::Malformed(_))), "{bad:?}");
        }
        assert!(matches!(router(&["/:a", "/:b"]), Err(RouteError::Duplicate(..))));
    }
}
