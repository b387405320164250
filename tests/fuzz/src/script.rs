//! Bytes as a script: small choices that lead deep into a state machine, where random bytes would fail at its door.

/// The bytes that are left. Once there are none, every choice is the first.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// One of `choices`.
    pub(crate) fn of<'c, T: ?Sized>(&mut self, choices: &[&'c T]) -> &'c T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A number that is often at an edge.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => u64::from(small),
            200..=219 => u64::from(self.byte()) << 8,
            220..=239 => u64::MAX - u64::from(self.byte()),
            _ => u64::from_le_bytes([0; 8].map(|_: u8| self.byte())),
        }
    }

    /// Up to 255 bytes.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
}

/// Cuts `bytes` into pieces of the lengths that `plan` gives, over and over.
pub(crate) fn cut<'a>(bytes: &'a [u8], plan: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut lengths = plan.iter().cycle();
    std::iter::from_fn(move || {
        let length = lengths
            .next()
            .map_or(rest.len(), |&length| usize::from(length) + 1)
            .min(rest.len());
        let (piece, tail) = rest.split_at(length);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}
