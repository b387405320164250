//! JSON text (RFC 8259) as it came, read where it lies.
//!
//! [`Document`] looks at a whole text once and says whether it is plain; only
//! then do a [`Cursor`]'s readers go over it, and they may trust it. Where it is
//! known what the records will become, they are made [`Ahead`], on that look.

mod ahead;
mod columns;
mod cursor;
mod document;
mod free;

pub(crate) use ahead::{Ahead, Mould};
pub(crate) use columns::push;
pub(crate) use cursor::{Cursor, DEPTH};
pub(crate) use document::{Document, Found, Items};
