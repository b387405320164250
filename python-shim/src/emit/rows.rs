//! Records of JSON text into columns, while no Python is touched.

use std::sync::Arc;

use super::failure::Failure;
use super::lane::Lane;
use super::state::{Phase, State};
use crate::page::Parts;
use crate::record::json::{self, Mould};

impl Lane {
    /// Adds at most so many records of a page, until one makes a batch due,
    /// which is sent: sending may wait, so that the caller looks around after
    /// it. Gives how many there were, and whether the next one is not
    /// ordinary: then it goes by way of an object.
    pub(super) fn rows(
        self: &Arc<Self>,
        page: &mut Parts<'_>,
        most: u64,
    ) -> (u64, Result<bool, Failure>) {
        let mut count = 0;
        let mut state = self.state();
        while count < most
            && let Some(mut record) = page.place.next(page.text)
        {
            match state.may_take(&self.config) {
                Ok(true) => {}
                Ok(false) => return (count, Ok(true)),
                Err(failure) => return (count, Err(failure)),
            }
            let due = match self.made(&mut state, page, most - count) {
                Made::Rows(rows, due) => {
                    count += rows;
                    due
                }
                Made::Odd => return (count, Ok(true)),
                Made::Nothing => {
                    let State { phase, aside, .. } = &mut *state;
                    let Phase::Columns(columns) = phase else {
                        return (count, Ok(true));
                    };
                    let Some(size) = json::push(columns, &mut record, aside, 0) else {
                        state.take_back();
                        return (count, Ok(true));
                    };
                    let due = match self.pushed(&mut state, size) {
                        Ok(due) => due,
                        Err(failure) => return (count, Err(failure)),
                    };
                    page.place.pass(record);
                    count += 1;
                    due
                }
            };
            if due {
                drop(state);
                return (count, self.flush().map(|()| false));
            }
        }
        (count, Ok(false))
    }

    /// Takes what was made into rows when the text was looked at, under the
    /// same limits as records one by one.
    fn made(self: &Arc<Self>, state: &mut State, page: &mut Parts<'_>, most: u64) -> Made {
        let (limit, count) = (state.limit, state.count);
        let State { phase, aside, .. } = &mut *state;
        let Phase::Columns(columns) = phase else {
            return Made::Nothing;
        };
        let mould = self
            .mould
            .get_or_init(|| Arc::new(Mould::of(columns, aside.unknown)));
        let Some(ahead) = page.ahead.filter(|ahead| ahead.is(mould, page.start)) else {
            return Made::Nothing;
        };
        let at = page.place.passed();
        if ahead.is_odd(at) == Some(true) {
            return Made::Odd;
        }
        let most = match self.config.max_records {
            0 => most,
            max => most.min(max - count),
        };
        let enough = limit.saturating_sub(columns.bytes);
        let Some(run) = ahead.run(at, most as usize, enough, self.config.max) else {
            return Made::Nothing;
        };
        let rows = run.rows.len();
        columns.append(ahead.columns(), run.rows, run.bytes);
        page.place.go(rows, run.next);
        Made::Rows(rows as u64, self.counted(state, rows as u64))
    }
}

/// What there was at the place of a page.
enum Made {
    /// So many rows, with which a batch is due or not.
    Rows(u64, bool),
    /// A record that is not ordinary.
    Odd,
    /// A record that nobody has looked at yet, or one that is too large.
    Nothing,
}
