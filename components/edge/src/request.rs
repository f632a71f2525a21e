//! An HTTP request as it reached a component, and how its parts are read.

/// A complete request.
#[derive(Clone)]
pub struct Request {
    /// The method, in upper case as it came.
    pub method: String,
    /// The path, and the query after a `?` if there is one, as they came.
    pub target: String,
    /// All headers, in order; names in any case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, within the component's limit.
    pub body: Vec<u8>,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The first value of a name in the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        field(self.target.split_once('?')?.1.as_bytes(), name)
    }

    /// The first value of a name in the body of a form, decoded.
    pub fn form(&self, name: &str) -> Option<String> {
        field(&self.body, name)
    }

    /// The first header of that name, in any case. A value that is not text counts as empty, so that it is present but
    /// wrong.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(std::str::from_utf8(value).unwrap_or_default().trim())
    }

    /// The credential in `Authorization`, with or without the scheme Bearer: the original job template sends it without.
    pub fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        match value.split_once(' ') {
            Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => Some(credential.trim()),
            _ => Some(value),
        }
    }
}

fn field(encoded: &[u8], name: &str) -> Option<String> {
    let (_, value) = url::form_urlencoded::parse(encoded).find(|(key, _)| key == name)?;
    Some(value.into_owned())
}
