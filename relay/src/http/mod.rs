//! The HTTP side: health, metrics, where the QUIC side is, mailboxes, and a page for invites if it is wanted.
//!
//! Plain HTTP/1.1, meant to sit behind a reverse proxy that adds TLS. No answer depends on the group or device
//! that asks. Connections, headers, bodies and the time of a request are bounded here, for all routes alike.

mod health;
mod invite;
mod join;
mod metrics;
mod well_known;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, Request},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use sync_types::{limits::MAILBOX_WAIT_MAX, well_known as document};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

use crate::{
    quota::{Address, Gate},
    state::State,
};

/// Connections open at once, in all and from one address. Those beyond are hung up on. A proxy that is trusted may
/// have all of them: they are its clients'.
const CONNECTIONS_MAX: u64 = 1_024;
const CONNECTIONS_EACH_MAX: u64 = 32;
/// How long a client may take to send a request's headers, and to send the next request.
const HEADERS: Duration = Duration::from_secs(20);
/// How long a whole request may take: as long as a mailbox waits, and a little.
const REQUEST: Duration = MAILBOX_WAIT_MAX.saturating_add(Duration::from_secs(10));
/// How long a connection takes new requests, after which the one it is in may still be answered: whoever sends but
/// doesn't read is gone then.
const STAY: Duration = Duration::from_secs(60);
/// Largest body: a mailbox message in base64, and a little.
const BODY_LEN_MAX: usize = 32 * 1024;

/// Headers in which proxies pass on their client's address.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Serves HTTP until the relay stops, and waits for what was begun.
pub(crate) async fn serve(relay: Arc<State>, listener: TcpListener) {
    let router = router(Arc::clone(&relay));
    let proxied = relay.config.server.trusted_proxy_header.is_some();
    let gate = Gate::new(CONNECTIONS_MAX, if proxied { CONNECTIONS_MAX } else { CONNECTIONS_EACH_MAX });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = relay.stopping() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, most likely. Waiting a moment beats spinning.
                warn!(%error, "can't accept HTTP connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(pass) = gate.enter(Address::from(peer.ip())) else { continue };
        let (relay, router) = (Arc::clone(&relay), router.clone().layer(Extension(Peer(peer))));
        connections.spawn(async move {
            converse(stream, router, relay.stopping()).await;
            drop(pass);
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection, until it has been there for long or the relay stops.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    stopping: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(router);
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = &mut connection => Ok(ended),
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            Ok(connection.await)
        }
        () = tokio::time::sleep(STAY) => {
            connection.as_mut().graceful_shutdown();
            timeout(REQUEST, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "an HTTP connection failed"),
        Err(_) => debug!("an HTTP connection did not end by itself"),
    }
}

fn router(relay: Arc<State>) -> Router {
    let server = &relay.config.server;
    let page = if server.join_page { join::routes(&server.join_schemes) } else { Router::new() };
    Router::new()
        .merge(page)
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route(document::PATH, get(well_known::well_known))
        .route("/invite", post(invite::create))
        .route("/invite/{name}", get(invite::claim).delete(invite::burn))
        .route("/invite/{name}/messages", get(invite::wait).post(invite::post))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(middleware::from_fn(in_time))
        .with_state(relay)
}

async fn in_time(request: Request, next: Next) -> Response {
    match timeout(REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

/// The other end of the TCP connection.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

impl Peer {
    /// The client's address, as limits see it: what the trusted proxy says, if there is one, or the peer's own.
    /// Of a list, only the last entry is the proxy's word; whatever is before it came from the client.
    fn client(self, relay: &State, headers: &HeaderMap) -> Address {
        let trusted = relay.config.server.trusted_proxy_header.as_ref();
        let forwarded = || FORWARDED.iter().any(|name| headers.contains_key(*name));
        let header = trusted.and_then(|name| headers.get_all(name).iter().next_back());
        let said = header.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
        let client = said.and_then(|address| address_in(address.trim()));
        let is_proxy = header.is_some() || (trusted.is_none() && forwarded());
        if client.is_none() && is_proxy && !relay.warned_of_proxy.swap(true, Ordering::Relaxed) {
            warn!(
                "requests come through a proxy, and all its clients share one limit: set server.trusted_proxy_header to a \
                 header in which it passes on a client's address and nothing else"
            );
        }
        client.unwrap_or_else(|| self.0.ip()).into()
    }
}

/// Some proxies add the port.
fn address_in(entry: &str) -> Option<IpAddr> {
    entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_and_never_reads_is_hung_up_on() {
        let (mut client, server) = tokio::io::duplex(64);
        let router = Router::new().route("/", get(|| async { "a".repeat(1_000) }));
        let serving = tokio::spawn(converse(server, router, std::future::pending()));
        client.write_all(b"GET / HTTP/1.1\r\nHost: relay.example\r\n\r\n").await.expect("read");
        timeout(STAY + REQUEST + Duration::from_secs(1), serving).await.expect("in time").expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_reads_gets_its_answers_until_its_time_is_over() {
        let (mut client, server) = tokio::io::duplex(4_096);
        let router = Router::new().route("/", get(|| async { "answer" }));
        tokio::spawn(converse(server, router, std::future::pending()));
        let mut answer = [0; 1_000];
        for _ in 0..5 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: relay.example\r\n\r\n").await.expect("read");
            let len = client.read(&mut answer).await.expect("answered");
            assert!(answer[..len].ends_with(b"answer"));
            tokio::time::sleep(HEADERS / 2).await;
        }
        tokio::time::sleep(STAY).await;
        assert_eq!(client.read(&mut answer).await.expect("closed"), 0);
    }

    #[test]
    fn an_address_may_have_a_port_and_nothing_else() {
        for entry in ["192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]:4711"] {
            assert!(address_in(entry).is_some_and(|it| entry.contains(&it.to_string())), "{entry}");
        }
        for entry in ["", "unknown", "for=192.0.2.1", "192.0.2.1;proto=https"] {
            assert_eq!(address_in(entry), None, "{entry}");
        }
    }
}
