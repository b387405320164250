//! What the gateway is told to do, at each of the three places where it can make a fault.

use crate::name::Name;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use std::num::NonZeroU64;
use std::time::Duration;

/// What a look-up comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFault {
    /// There is no such name (RCODE 3).
    Nxdomain,
    /// The upstream resolver failed (RCODE 2).
    Servfail,
}

/// What a connection comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFault {
    /// It is reset as soon as it is made.
    Refuse,
    /// The worker is shown a certificate that it must not believe.
    Certificate(CertificateFault),
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// It is for another host.
    WrongName,
    /// Nobody whom the worker knows signed it.
    UnknownIssuer,
}

/// A request, as far as a script looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The host that the connection is for.
    pub host: &'a Name,
    /// The method.
    pub method: &'a str,
    /// The target in origin form (RFC 9112, 3.2.1); a query may follow the path and is not compared.
    pub path: &'a str,
    /// The value of the Authorization field, where there is one.
    pub authorization: Option<&'a [u8]>,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestFault {
    /// The gateway answers; the upstream is not asked.
    Answer(Answer),
    /// The upstream is asked, and the body of its answer is spoiled.
    Body(BodyFault),
    /// The upstream is asked, and its answer says this Content-Type.
    ContentType(HeaderValue),
    /// The connection is reset instead of an answer; the upstream is not asked.
    Reset,
}

/// An answer of the gateway's own. It holds no field that frames it: whoever sends it knows its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// A final status.
    pub status: StatusCode,
    /// Header fields, in the order of the script.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; empty where there is none.
    pub body: Bytes,
}

/// How the body of an answer is spoiled; see [`super::Spoiled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// After so many bytes the connection is reset.
    ResetAfter(u64),
    /// After so many bytes nothing comes, for so long or for ever.
    StallAfter(u64, Option<Duration>),
    /// So many bytes a second.
    Slow(NonZeroU64),
    /// After so many bytes the body ends, as if that were all; the head keeps its Content-Length.
    TruncateAfter(u64),
    /// The bytes are no gzip; the head says `Content-Encoding: gzip`.
    BrokenGzip,
}
