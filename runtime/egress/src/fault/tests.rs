//! What a script says of each look-up, connection and request; whole files; bodies.

mod bodies;
mod files;
mod table;
