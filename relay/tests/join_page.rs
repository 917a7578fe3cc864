//! Stories of the page that shows an invite.

mod support;

use support::{Running, http_with_head};

const FILES: [(&str, &str); 3] = [
    ("/join", "text/html; charset=utf-8"),
    ("/join/page.css", "text/css; charset=utf-8"),
    ("/join/page.js", "text/javascript; charset=utf-8"),
];

async fn get(relay: &Running, path: &str) -> (u16, String, String) {
    http_with_head(relay.http, "GET", path, &[], "").await
}

#[tokio::test]
async fn there_is_no_page_unless_an_operator_wants_it() {
    let relay = Running::start().await;
    let nothing = get(&relay, "/no/such/path").await;
    assert_eq!(nothing.0, 404);
    let without_date =
        |head: &str| head.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
    for (path, _) in FILES {
        let (status, head, body) = get(&relay, path).await;
        assert_eq!((status, without_date(&head), body), (404, without_date(&nothing.1), nothing.2.clone()), "{path}");
    }
}

#[tokio::test]
async fn a_browser_is_told_to_load_nothing_else_and_to_keep_nothing() {
    const HEADERS: [&str; 4] = [
        "cache-control: no-store",
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ];
    let relay = Running::with(|config| config.server.join_page = true).await;
    for (path, kind) in FILES {
        let (status, head, body) = get(&relay, path).await;
        assert_eq!(status, 200, "{path}");
        let mut said: Vec<_> = head.lines().skip(1).filter(|line| !line.starts_with("date:")).collect();
        said.sort_unstable();
        let (kind, len) = (format!("content-type: {kind}"), format!("content-length: {}", body.len()));
        let mut expected = HEADERS.to_vec();
        expected.extend(["connection: close", &kind, &len]);
        expected.sort_unstable();
        assert_eq!(said, expected, "{path}");
    }
    let (status, ..) = http_with_head(relay.http, "POST", "/join", &[], "").await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn the_page_names_no_other_place_and_holds_no_script_of_its_own() {
    let relay = Running::with(|config| config.server.join_page = true).await;
    for (path, _) in FILES {
        let (_, _, body) = get(&relay, path).await;
        for outside in
            ["http:", "https:", "//www", "@import", "url(", "fetch(", "XMLHttpRequest", "sendBeacon", "import("]
        {
            assert!(!body.contains(outside), "{path}: {outside}");
        }
    }
    let (_, _, page) = get(&relay, "/join").await;
    for inline in ["style=", "onclick=", "onload=", "<style", "<script>"] {
        assert!(!page.contains(inline), "the policy would refuse it: {inline}");
    }
    let loaded: Vec<_> = page.split(['"']).filter(|text| text.starts_with("join/")).collect();
    assert_eq!(loaded, ["join/page.css", "join/page.js"], "relative, for a relay below a path");
}

#[tokio::test]
async fn a_query_changes_nothing_and_is_not_repeated() {
    let relay = Running::with(|config| config.server.join_page = true).await;
    let (_, _, plain) = get(&relay, "/join").await;
    let (status, head, body) = get(&relay, "/join?CANARY").await;
    assert_eq!((status, &body), (200, &plain));
    assert!(!head.contains("CANARY"));
}

#[tokio::test]
async fn the_page_is_told_which_apps_it_may_open_and_nobody_who_asks_has_a_say_in_it() {
    let schemes =
        |page: &str| page.split_once("data-schemes=\"").expect("a list").1.split('"').next().map(str::to_owned);
    let relay = Running::with(|config| config.server.join_page = true).await;
    let (_, _, page) = get(&relay, "/join").await;
    assert_eq!(schemes(&page).as_deref(), Some("zerok"));

    let of_two_apps = Running::with(|config| {
        config.server.join_page = true;
        config.server.join_schemes = "org.example.notes,zerok".parse().expect("schemes");
    });
    let of_two_apps = of_two_apps.await;
    for path in ["/join", "/join?schemes=javascript"] {
        let (_, _, page) = get(&of_two_apps, path).await;
        assert_eq!(schemes(&page).as_deref(), Some("org.example.notes zerok"), "{path}");
    }
    let (_, _, script) = get(&of_two_apps, "/join/page.js").await;
    assert_eq!(script, include_str!("../src/http/join/page.js"), "the one that is tested");
}
