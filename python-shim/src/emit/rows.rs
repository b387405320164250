//! Records of JSON text into columns, while no Python is touched.

use std::sync::Arc;

use super::failure::Failure;
use super::lane::Lane;
use super::state::{Phase, State};
use crate::page::Place;
use crate::record::json;

impl Lane {
    /// Adds at most so many records of a page, until one makes a batch due,
    /// which is sent: sending may wait, so that the caller looks around after
    /// it. Gives how many there were, and whether the next one is not
    /// ordinary: then it goes by way of an object.
    pub(super) fn rows(
        self: &Arc<Self>,
        text: &str,
        place: &mut Place,
        most: u64,
    ) -> (u64, Result<bool, Failure>) {
        let mut count = 0;
        let mut state = self.state();
        while count < most
            && let Some(mut record) = place.next(text)
        {
            match state.may_take(&self.config) {
                Ok(true) => {}
                Ok(false) => return (count, Ok(true)),
                Err(failure) => return (count, Err(failure)),
            }
            let State { phase, aside, .. } = &mut *state;
            let Phase::Columns(columns) = phase else {
                return (count, Ok(true));
            };
            let Some(size) = json::push(columns, &mut record, aside) else {
                state.take_back();
                return (count, Ok(true));
            };
            let due = match self.pushed(&mut state, size) {
                Ok(due) => due,
                Err(failure) => return (count, Err(failure)),
            };
            place.pass(record);
            count += 1;
            if due {
                drop(state);
                return (count, self.flush().map(|()| false));
            }
        }
        (count, Ok(false))
    }
}
