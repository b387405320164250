//! connector.yaml, connections, the bundle format and the validation suite.
//!
//! This crate reads and writes files where it is told to and starts one
//! program, pip, when wheels are fetched. It never runs or imports a
//! connector's code: what it knows of the Python comes as [`Facts`], which
//! the CDK's inspection prints.

#![forbid(unsafe_code)]

mod allowed;
mod archive;
mod certificate;
mod config;
mod connection;
mod digest;
mod entries;
mod extent;
mod facts;
mod fetch;
mod generate;
mod lock;
mod manifest;
mod project;
mod quantity;
mod roots;
mod scaffold;
mod template;
mod tree;
mod validate;
mod wheel;

pub use allowed::{ALLOWED_FILE, Allowance, AllowedDependencies};
pub use archive::{Bundle, BundleError, MAX_BUNDLE, MAX_UNPACKED, pack, prepare, read, unpack};
pub use config::{CheckedConfig, ConfigSchema, SECRET_KEY};
pub use connection::{
    Connection, Pin, PinError, ReadMode, StreamChoice, Which, WriteMode, is_name,
};
pub use digest::Digest;
pub use facts::*;
pub use fetch::{FetchError, Target, fetch_wheels};
pub use generate::{GENERATED, generate_config};
pub use lock::{LOCK_FILE, Lock, Locked, normalise};
pub use manifest::{
    Auth, Capability, Egress, Entrypoint, FormGroup, Manifest, Port, Protocol, RequestedLimits,
    WriteLimits,
};
pub use project::{MANIFEST_FILE, ProjectDir, ProjectError, ProjectFile};
pub use quantity::{QuantityError, Size, Span};
pub use roots::{RootsError, find_roots};
pub use scaffold::{Kind, ScaffoldError, scaffold, write_config};
pub use validate::{CHECKS, Check, Finding, Report, Severity, validate};
pub use wheel::{Wheel, WheelError, match_lock, unpack_wheels, wheels_in};
