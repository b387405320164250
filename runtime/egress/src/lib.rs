//! Egress: what an operator allows a connector to reach, and the gateway that holds it.
//!
//! Pure parts decide on plain data ([`Policy`], [`decide`], [`explain()`]); a [`Gateway`] serves workers over sockets that
//! were opened inside their own networks and handed here, so that this crate needs no privilege. It opens upstream
//! connections, reads the policies' directory and writes the audit log; it touches nothing else.
#![forbid(unsafe_code)]

pub mod address;
mod audit;
mod ca;
mod carriers;
mod cassette;
mod client_certificate;
mod decision;
mod dns;
mod event;
mod explain;
mod fault;
mod form;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod guard;
mod host;
mod http;
mod learn;
mod lint;
mod lookout;
mod name;
mod network;
mod payer;
mod places;
mod policy;
mod postgres;
mod readable;
mod reason;
mod relay;
mod reload;
mod report;
mod resolver;
mod sealed;
mod session;
mod share;
mod shared;
mod stand_in;
mod template;
mod throttle;
mod watch;

pub use audit::{Audit, AuditConfig, AuditWatch, Watched};
pub use ca::{Authority, AuthorityError};
pub use cassette::{CassetteError, Mode as CassetteMode, Player, Recorder, RecorderConfig};
pub use client_certificate::{ClientCertificate, ClientCertificateError};
pub use decision::{Allowed, Attempt, Refusal, Transport, Verdict, decide};
pub use event::{EgressEvent, Ended, Endpoint, Totals};
pub use explain::{Checked, Explanation, QuestionError, Summary, check, explain, question};
pub use fault::{
    Answer, Asked, BodyFault, Broken, CertificateFault, ConnectionFault, DnsFault, FaultScript,
    Met, RequestFault, SCHEMA as FAULTS_SCHEMA, Spoiled,
};
pub use gateway::{Bounds, CallContext, Gateway, GatewayConfig, GatewayError, Policies, Tape};
pub use guard::Guard;
pub use host::{BoundHost, Fence, FenceError, Host, HostBindError, Pattern, PatternError, Target};
pub use http::TlsError;
pub use http::path::{Pattern as PathPattern, PatternError as PathPatternError};
pub use learn::{
    Declared, LearnError, Observed, ObservedError, Row, What, Where, compare, learn, observe,
};
pub use lint::{lint, lint_all};
pub use name::{Name, NameError};
pub use network::{Network, NetworkError};
pub use payer::Payer;
pub use policy::*;
pub use reason::{Kind, Reason};
pub use resolver::ResolveError;
pub use sealed::Sealed;
pub use session::{Session, WorkerSockets};
pub use share::MAX_CONNECTIONS;
pub use shared::QueryRate;
pub use stand_in::MAX_NAMES;
pub use template::{Missing, Template, TemplateError};
pub use throttle::{
    Answered, Budget, Budgets, Cause, Credential, Exhausted, Rate, RateError, Throttled, Turn,
    Wait, Waiter,
};
