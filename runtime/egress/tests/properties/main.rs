//! What must hold for every policy and every attempt, not only for those of the decision table.
//!
//! `generate` makes policies and attempts, nasty ones among them; `oracle` is a second reading of what a policy means,
//! which shares no code with the first; `paths` asks the same question of check, explain and enforcement. The properties
//! themselves are in `agreement` (all ways of asking give one answer), `bounds` (what no policy can open) and `canonical`
//! (one spelling, once).

mod agreement;
mod bounds;
mod canonical;
mod generate;
mod oracle;
mod paths;
