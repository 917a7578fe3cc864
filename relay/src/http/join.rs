//! `GET /join`: a page that shows the invite in its own address to the person who opened it.
//!
//! The invite is what comes after the `#`, which browsers don't send: this server serves the same three files to
//! everybody and learns nothing from it. But it could serve others, so whoever opens an invite here trusts it with the
//! invite. That is why the page is off unless an operator wants it.
//!
//! Which app it opens, the invite says, of those that the operator has listed: the list is in the page, and anybody may
//! read it.
//!
//! The page loads nothing but these files, runs no other script, and can't be put into a frame. What its script does is
//! tested in `example-app/test/page.test.ts`.

use std::borrow::Cow;

use axum::{
    Router,
    http::{HeaderName, header},
    routing::get,
};

use crate::config::Schemes;

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
pub(super) fn routes<S: Clone + Send + Sync + 'static>(schemes: &Schemes) -> Router<S> {
    let file = |kind: &'static str, text: Cow<'static, str>| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], HEADERS, text) })
    };
    // Nothing in a scheme means anything in HTML.
    let page = include_str!("join/page.html").replace("{schemes}", &schemes.as_slice().join(" "));
    Router::new()
        .route("/join", file("text/html; charset=utf-8", page.into()))
        .route("/join/page.css", file("text/css; charset=utf-8", include_str!("join/page.css").into()))
        .route("/join/page.js", file("text/javascript; charset=utf-8", include_str!("join/page.js").into()))
}
