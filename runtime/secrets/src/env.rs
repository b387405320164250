//! The environment provider.

/// The only variables that the provider reads begin with this.
pub const PREFIX: &str = "CAISSON_SECRET_";
