//! `GET /join`: a page that shows the invite in its own address to the person who opened it.
//!
//! The invite is what comes after the `#`, which browsers don't send: this server serves the same three files to
//! everybody and learns nothing from it. But it could serve others, so whoever opens an invite here trusts it with the
//! invite. That is why the page is off unless an operator wants it.
//!
//! The page runs no script and loads nothing but these files, and can't be put into a frame.

use axum::{
    Router,
    http::{HeaderName, header},
    routing::get,
};

/// What a browser is told with each of the files.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The page, and what it loads by names relative to it: a relay may be below a path of its proxy's.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], HEADERS, text) })
    };
    Router::new()
        .route("/join", file("text/html; charset=utf-8", include_str!("join/page.html")))
        .route("/join/page.css", file("text/css; charset=utf-8", include_str!("join/page.css")))
        .route("/join/page.js", file("text/javascript; charset=utf-8", include_str!("join/page.js")))
}
