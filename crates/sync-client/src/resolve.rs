//! From what a person writes to where a relay listens.
//!
//! A relay is named by its web address, by an iroh ticket, or by `id@host:port`. The last two say who it is; a web
//! address is asked (`/.well-known/0k-sync`), and the first answer is kept: another relay that later answers there
//! is an error a person has to judge, never silently the new place for a group's blobs. The kept answer also
//! serves while the web side is down.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    str::FromStr,
    time::{Duration, SystemTime},
};

use iroh::{EndpointAddr, EndpointId, TransportAddr};
use iroh_tickets::endpoint::EndpointTicket;
use reqwest::Url;
use sync_types::{
    ErrorCode, RelayId,
    limits::RELAY_NAME_LEN_MAX,
    well_known::{self, ADDRESSES_MAX, WellKnown},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::store::Pin;

const HTTP_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest wait for names, of which one may lead nowhere while another is all it takes.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses taken of one name.
const ADDRESSES_PER_NAME_MAX: usize = 4;

/// A relay as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddr(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Web(Url),
    Ticket(EndpointTicket),
    Direct { relay: RelayId, host: String },
}

/// Text that names no relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a relay's address: give http(s)://…, a ticket, or id@host:port")]
pub struct ParseRelayError;

impl FromStr for RelayAddr {
    type Err = ParseRelayError;

    fn from_str(text: &str) -> Result<Self, ParseRelayError> {
        let text = text.trim();
        if text.len() > RELAY_NAME_LEN_MAX {
            return Err(ParseRelayError);
        }
        if let Some((relay, host)) = text.split_once('@')
            && !text.contains("://")
        {
            let relay: RelayId = relay.parse().map_err(|_| ParseRelayError)?;
            EndpointId::from_bytes(relay.as_bytes()).map_err(|_| ParseRelayError)?;
            let (name, port) = host.rsplit_once(':').ok_or(ParseRelayError)?;
            if name.is_empty() || port.parse::<u16>().is_err() {
                return Err(ParseRelayError);
            }
            return Ok(Self(Form::Direct { relay, host: host.to_owned() }));
        }
        if let Ok(ticket) = text.parse::<EndpointTicket>() {
            // This build connects to addresses only, not through iroh's relays.
            let direct = ticket.endpoint_addr().ip_addrs().next().is_some();
            return if direct { Ok(Self(Form::Ticket(ticket))) } else { Err(ParseRelayError) };
        }
        let url = Url::parse(text).map_err(|_| ParseRelayError)?;
        let web = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty();
        if web { Ok(Self(Form::Web(url))) } else { Err(ParseRelayError) }
    }
}

impl fmt::Display for RelayAddr {
    /// The one spelling of this address, which parses back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Web(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Form::Ticket(ticket) => ticket.fmt(f),
            Form::Direct { relay, host } => write!(f, "{relay}@{host}"),
        }
    }
}

impl RelayAddr {
    /// The web address, if it is one: its mailboxes are reached over HTTP.
    pub(crate) fn web(&self) -> Option<&Url> {
        match &self.0 {
            Form::Web(url) => Some(url),
            Form::Ticket(_) | Form::Direct { .. } => None,
        }
    }

    /// What the address says by itself, without asking anybody.
    pub(crate) fn known(&self) -> Option<Pin> {
        match &self.0 {
            Form::Web(_) => None,
            Form::Ticket(ticket) => {
                let addr = ticket.endpoint_addr();
                let hosts = addr.ip_addrs().map(SocketAddr::to_string).collect();
                Some(Pin { relay: RelayId::from_bytes(*addr.id.as_bytes()), hosts })
            }
            Form::Direct { relay, host } => Some(Pin { relay: *relay, hosts: vec![host.clone()] }),
        }
    }
}

/// Why an address led nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Nobody answers.
    #[error("{}", ErrorCode::Offline.text())]
    Unreachable(#[source] Option<reqwest::Error>),
    /// Somebody answers who is no relay, or one of another protocol version.
    #[error("{}", ErrorCode::RelayUnknown.text())]
    NoRelay,
    /// Another relay than before.
    #[error("{}", ErrorCode::RelayIdentityChanged.text())]
    IdentityChanged,
}

impl ResolveError {
    /// See [`crate::ClientError::code`].
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable(_) => ErrorCode::Offline,
            Self::NoRelay => ErrorCode::RelayUnknown,
            Self::IdentityChanged => ErrorCode::RelayIdentityChanged,
        }
    }
}

/// Asks relays' web addresses who they are.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    http: reqwest::Client,
}

impl Resolver {
    pub(crate) fn new(http: reqwest::Client) -> Self {
        Self { http }
    }

    /// Where the relay of this address is now. With a `pin`, it must be the same relay as before.
    pub(crate) async fn resolve(&self, address: &RelayAddr, pin: Option<&Pin>) -> Result<Pin, ResolveError> {
        let found = match address.known() {
            Some(known) => known,
            None => self.ask(address.web().expect("an address that doesn't know by itself is a web address")).await?,
        };
        match pin {
            Some(pin) if pin.relay != found.relay => Err(ResolveError::IdentityChanged),
            _ => Ok(found),
        }
    }

    async fn ask(&self, url: &Url) -> Result<Pin, ResolveError> {
        let unreachable = |error| ResolveError::Unreachable(Some(error));
        let mut answer = self.http.get(endpoint(url, well_known::PATH)).send().await.map_err(unreachable)?;
        if answer.status().is_server_error() {
            return Err(ResolveError::Unreachable(None));
        }
        if !answer.status().is_success() {
            return Err(ResolveError::NoRelay);
        }
        let body = read_at_most(&mut answer, well_known::LEN_MAX).await.map_err(unreachable)?;
        let document = WellKnown::parse(&body.ok_or(ResolveError::NoRelay)?).map_err(|_| ResolveError::NoRelay)?;
        EndpointId::from_bytes(document.relay_id.as_bytes()).map_err(|_| ResolveError::NoRelay)?;
        let host = url.host_str().expect("web addresses have a host");
        let hosts = document.quic.iter().filter(|quic| !quic.contains('\n')).map(|quic| reachable(quic, host));
        Ok(Pin { relay: document.relay_id, hosts: hosts.collect() })
    }
}

impl Resolver {
    /// What time it is where a relay's web side is, to the second; none if it has none, or does not say.
    pub(crate) async fn clock(&self, address: &RelayAddr) -> Option<SystemTime> {
        let answer = self.http.get(endpoint(address.web()?, well_known::PATH)).send().await.ok()?;
        httpdate::parse_http_date(answer.headers().get("date")?.to_str().ok()?).ok()
    }
}

/// The web client everything here shares: deadlines, no redirects to elsewhere, the system's own roots of trust.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls_config())
        .connect_timeout(HTTP_TIMEOUT)
        .timeout(HTTP_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

fn tls_config() -> rustls::ClientConfig {
    use rustls_platform_verifier::BuilderVerifierExt;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions rustls defaults to")
    };
    match builder().with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no trusted certificates on this machine: https relays can't be reached");
            builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
}

/// The address of one of a relay's pages, whatever path the relay's own address has.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// The body, or nothing if it is longer than `max`.
pub(crate) async fn read_at_most(
    answer: &mut reqwest::Response,
    max: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// A relay that listens everywhere and was told no public address is where its web side is.
fn reachable(quic: &str, host: &str) -> String {
    match quic.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => format!("{host}:{}", address.port()),
        _ => quic.to_owned(),
    }
}

/// Looks the names up, all at once. What leads nowhere, or not in time, is left out, and so is what is too much.
pub(crate) async fn look_up(pin: &Pin) -> EndpointAddr {
    let mut asked = JoinSet::new();
    for host in pin.hosts.iter().take(ADDRESSES_MAX).cloned() {
        asked.spawn(async move {
            let found = tokio::net::lookup_host(host).await;
            found.map_or_else(|_| Vec::new(), |found| found.take(ADDRESSES_PER_NAME_MAX).collect())
        });
    }
    let deadline = Instant::now() + LOOK_UP_TIMEOUT;
    let mut addresses = BTreeSet::new();
    while let Ok(Some(found)) = timeout_at(deadline, asked.join_next()).await {
        addresses.extend(found.unwrap_or_default().into_iter().map(TransportAddr::Ip));
    }
    let addresses = addresses.into_iter().take(ADDRESSES_MAX);
    let id = EndpointId::from_bytes(pin.relay.as_bytes()).expect("pins are checked when they are made");
    EndpointAddr::from_parts(id, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6";

    #[test]
    fn relays_are_named_in_three_ways() {
        for text in ["http://127.0.0.1:8080", "https://sync.example.org", "https://example.org/sync"] {
            let address: RelayAddr = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
            assert!(address.known().is_none() && address.web().is_some());
        }
        let direct: RelayAddr = format!("{ID}@relay.example.org:4843").parse().expect("id@host:port");
        assert_eq!(direct.known().expect("says it").hosts, ["relay.example.org:4843"]);
        let six: RelayAddr = format!("{ID}@[::1]:4843").parse().expect("id@host:port");
        assert_eq!(six.to_string(), format!("{ID}@[::1]:4843"));

        let id: EndpointId = ID.parse().expect("an id");
        let socket: SocketAddr = "127.0.0.1:4843".parse().expect("a socket address");
        let ticket = EndpointTicket::new(EndpointAddr::from_parts(id, [TransportAddr::Ip(socket)]));
        let address: RelayAddr = ticket.to_string().parse().expect("a ticket");
        assert_eq!(address.to_string(), ticket.to_string());
        assert_eq!(address.known().expect("says it").hosts, ["127.0.0.1:4843"]);
    }

    #[test]
    fn of_a_ticket_only_addresses_are_used_and_no_relay_of_irohs() {
        let id: EndpointId = ID.parse().expect("an id");
        let relay = TransportAddr::Relay("https://iroh-relay.example".parse().expect("a URL"));
        let socket: SocketAddr = "127.0.0.1:4843".parse().expect("a socket address");
        let by_relay = EndpointTicket::new(EndpointAddr::from_parts(id, [relay.clone()]));
        assert_eq!(by_relay.to_string().parse::<RelayAddr>(), Err(ParseRelayError));
        let both = EndpointTicket::new(EndpointAddr::from_parts(id, [relay, TransportAddr::Ip(socket)]));
        let address: RelayAddr = both.to_string().parse().expect("a ticket");
        assert_eq!(address.known().expect("says it").hosts, ["127.0.0.1:4843"]);
    }

    #[test]
    fn what_names_no_relay_is_refused() {
        let long = format!("http://{}", "a".repeat(RELAY_NAME_LEN_MAX));
        for text in
            ["", "relay", "ftp://host", "abc@host:1", "http://", &format!("{ID}@host"), &format!("{ID}@:1"), &long]
        {
            assert_eq!(text.parse::<RelayAddr>(), Err(ParseRelayError), "{text}");
        }
    }

    #[test]
    fn a_relay_that_listens_everywhere_is_where_its_web_side_is() {
        assert_eq!(reachable("0.0.0.0:4843", "example.org"), "example.org:4843");
        assert_eq!(reachable("[::]:4843", "[2001:db8::1]"), "[2001:db8::1]:4843");
        assert_eq!(reachable("10.0.0.1:4843", "example.org"), "10.0.0.1:4843");
        assert_eq!(reachable("quic.example.org:4843", "example.org"), "quic.example.org:4843");
    }

    #[tokio::test]
    async fn a_relay_is_looked_for_at_a_few_places_and_a_name_that_leads_nowhere_hides_none() {
        let pin = |hosts: Vec<String>| Pin { relay: ID.parse().expect("an id"), hosts };
        let many = look_up(&pin((0..40).map(|host| format!("10.0.0.{host}:4843")).collect())).await;
        assert_eq!(many.addrs.len(), ADDRESSES_MAX);
        let some = look_up(&pin(vec!["nowhere.invalid:1".to_owned(), "10.0.0.1:4843".to_owned()])).await;
        assert_eq!(some.ip_addrs().map(SocketAddr::to_string).collect::<Vec<_>>(), ["10.0.0.1:4843"]);
    }

    #[test]
    fn pages_are_found_below_the_relays_own_path() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        assert_eq!(endpoint(&url("http://h:1"), "/invite").as_str(), "http://h:1/invite");
        assert_eq!(endpoint(&url("http://h:1/sync/?a#b"), "/invite").as_str(), "http://h:1/sync/invite");
    }
}
