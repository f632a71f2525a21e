//! Where a request comes from, as far as a browser and a proxy tell.

use gha_slurm_edge::request::Request;
use url::Url;

/// Whether the browser that sent this is at our own page. No page of another site can make a browser say so.
///
/// By `Sec-Fetch-Site`, which browsers send to what they trust, TLS and the local machine; elsewhere by `Origin`, which
/// must be the host that was asked or the public one. A request with neither comes from no browser of this decade.
pub(crate) fn same_origin(request: &Request, public: Option<&Url>) -> bool {
    if let Some(site) = request.header("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(Ok(origin)) = request.header("origin").map(Url::parse) else { return false };
    let public = public.is_some_and(|public| public.origin() == origin.origin());
    let asked = request.header("host").is_some_and(|host| host.eq_ignore_ascii_case(origin.authority()));
    public || asked
}

/// Whether the browser speaks TLS, to us or to a proxy before us.
pub(crate) fn behind_tls(request: &Request, public: Option<&Url>) -> bool {
    let forwarded = request.header("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    forwarded || public.is_some_and(|public| public.scheme() == "https")
}
