//! Why an attempt came to nothing: stable words that callers, audit readers and tests may rely on.

use serde::Serialize;
use std::fmt;

/// The reason of a refusal or failure. The text form (`port_not_allowed`) is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No policy file is for this connector version.
    NoPolicy,
    /// The call has not started.
    NotStarted,
    /// No rule is for the name.
    NameNotAllowed,
    /// The name is none: a control character, brackets, an address in disguise.
    NameInvalid,
    /// The connection names a host that is not inside the rule's `within`.
    OutsideWithin,
    /// A rule is for the host, but not for the port.
    PortNotAllowed,
    /// An address that stands for no name, and no rule's `networks` holds it.
    AddressNotAllowed,
    /// A special-purpose address that the rule's `networks` does not hold.
    SpecialPurpose,
    /// Unspecified, multicast, broadcast: reachable by no policy.
    NeverReachable,
    /// Cloud metadata: reachable by no policy.
    Metadata,
    /// A socket that the daemon itself listens on: reachable by no policy.
    OwnSocket,
    /// UDP, ICMP, SCTP, …: only TCP leaves a worker.
    TransportNotAllowed,
    /// The port is allowed, but the worker's network has no listener on it (yet).
    PortNotOpen,
    /// An address that was never given out for a name.
    UnknownAddress,
    /// The ClientHello names another host.
    SniMismatch,
    /// The ClientHello names no host.
    SniMissing,
    /// The connection does not begin with a ClientHello.
    NotTls,
    /// The connection does not begin as one to PostgreSQL does.
    NotPostgres,
    /// The worker wants TLS up to the server, where it is the gateway that speaks it.
    TlsInsisted,
    /// A request for another host than the connection was opened to.
    HostMismatch,
    /// No request, or one that two servers could read in two ways.
    RequestMalformed,
    /// A rule is for the host and path, but not for the method.
    MethodNotAllowed,
    /// A rule is for the host, but not for the path.
    PathNotAllowed,
    /// A path that servers read in different ways, under a rule that names paths.
    PathAmbiguous,
    /// The connection would become a WebSocket or another protocol, and no rule says that it may.
    UpgradeNotAllowed,
    /// A sealed secret's placeholder stands where the policy does not have the value put in.
    SecretMisplaced,
    /// The answer is a stream of server-sent events, and the rule says that none may be.
    EventStreamNotAllowed,
    /// The worker does not trust the gateway's certificate: it pins another.
    CertificatePinned,
    /// A DNS message to an address that is not the gateway's. It was answered here; nothing was sent there.
    DnsElsewhere,
    /// What came to the DNS port is no DNS query.
    DnsMalformed,
    /// The worker asked for more names than the table holds.
    TooManyNames,
    /// The worker asks DNS more often than it may.
    TooManyQueries,
    /// The worker holds more connections than it may.
    TooManyConnections,
    /// A reload took the permission away.
    PolicyChanged,
    /// The name could not be resolved.
    DnsFailed,
    /// The upstream refused the connection.
    DialRefused,
    /// The upstream did not answer in time.
    DialTimeout,
    /// There is no way to the upstream.
    DialUnreachable,
    /// Dialling failed otherwise.
    DialFailed,
    /// The upstream's certificate cannot be verified, or TLS with it failed otherwise.
    TlsFailed,
    /// The upstream asks for a client certificate, and the policy has none shown to it.
    ClientCertificateWanted,
    /// The upstream broke off before its answer was whole.
    UpstreamBroken,
    /// A cassette stands for the network, and does not hold this.
    NotRecorded,
    /// There is no access token to put into a request.
    SecretUnavailable,
}

/// What kind of trouble a reason is; callers map it to their own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The gateway said no: EGRESS_DENIED.
    Denied,
    /// Names could not be resolved: DNS_FAILED.
    Dns,
    /// The upstream could not be reached: UPSTREAM_UNAVAILABLE.
    Upstream,
    /// TLS with the upstream failed: TLS_FAILED.
    Tls,
}

impl Reason {
    /// The stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::NotStarted => "not_started",
            Self::NameNotAllowed => "name_not_allowed",
            Self::NameInvalid => "name_invalid",
            Self::OutsideWithin => "outside_within",
            Self::PortNotAllowed => "port_not_allowed",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::SpecialPurpose => "special_purpose",
            Self::NeverReachable => "never_reachable",
            Self::Metadata => "metadata",
            Self::OwnSocket => "own_socket",
            Self::TransportNotAllowed => "transport_not_allowed",
            Self::PortNotOpen => "port_not_open",
            Self::UnknownAddress => "unknown_address",
            Self::SniMismatch => "sni_mismatch",
            Self::SniMissing => "sni_missing",
            Self::NotTls => "not_tls",
            Self::NotPostgres => "not_postgres",
            Self::TlsInsisted => "tls_insisted",
            Self::HostMismatch => "host_mismatch",
            Self::RequestMalformed => "request_malformed",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PathNotAllowed => "path_not_allowed",
            Self::PathAmbiguous => "path_ambiguous",
            Self::UpgradeNotAllowed => "upgrade_not_allowed",
            Self::SecretMisplaced => "secret_misplaced",
            Self::EventStreamNotAllowed => "event_stream_not_allowed",
            Self::CertificatePinned => "certificate_pinned",
            Self::DnsElsewhere => "dns_elsewhere",
            Self::DnsMalformed => "dns_malformed",
            Self::TooManyNames => "too_many_names",
            Self::TooManyQueries => "too_many_queries",
            Self::TooManyConnections => "too_many_connections",
            Self::PolicyChanged => "policy_changed",
            Self::DnsFailed => "dns_failed",
            Self::DialRefused => "dial_refused",
            Self::DialTimeout => "dial_timeout",
            Self::DialUnreachable => "dial_unreachable",
            Self::DialFailed => "dial_failed",
            Self::TlsFailed => "tls_failed",
            Self::ClientCertificateWanted => "client_certificate_wanted",
            Self::UpstreamBroken => "upstream_broken",
            Self::NotRecorded => "not_recorded",
            Self::SecretUnavailable => "secret_unavailable",
        }
    }

    /// Whether one request was refused, on a connection that may carry others.
    #[must_use]
    pub fn is_of_request(self) -> bool {
        matches!(
            self,
            Self::HostMismatch
                | Self::RequestMalformed
                | Self::MethodNotAllowed
                | Self::PathNotAllowed
                | Self::PathAmbiguous
                | Self::UpgradeNotAllowed
                | Self::EventStreamNotAllowed
                | Self::SecretMisplaced
        )
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::DnsFailed => Kind::Dns,
            Self::TlsFailed | Self::ClientCertificateWanted => Kind::Tls,
            Self::DialRefused
            | Self::DialTimeout
            | Self::DialUnreachable
            | Self::DialFailed
            | Self::UpstreamBroken
            | Self::NotRecorded
            | Self::SecretUnavailable => Kind::Upstream,
            _ => Kind::Denied,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
