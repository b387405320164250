//! Messages of a WebSocket (RFC 6455, section 5), read so far as sealed secrets ask for it: no value is put into one.

use super::seal::Sealing;
use crate::lookout::Lookout;
use caisson_secrets::Redactor;
use std::io;

/// Longest beginning of a frame: its length takes up to eight bytes, its mask four.
const HEAD: usize = 14;
/// Longest payload of a frame of control (section 5.5).
const CONTROL: u64 = 125;

const FOUND: &str = "messages of a WebSocket have";
const UNREADABLE: &str = "messages of a WebSocket that are not as RFC 6455 has them may have";
pub(super) const MEND: &str = "put it into the request that opens the WebSocket, with the client's compression off, or write reveal: true";

/// Looks through what a worker sends, message by message.
pub(super) struct Messages {
    placeholders: Redactor,
    /// The least that a placeholder takes: what is shorter holds none.
    shortest: usize,
    head: Vec<u8>,
    frame: Option<Frame>,
    /// What came of one message since it was looked at last. It may come in many frames.
    message: Vec<u8>,
    /// What looked at the beginning of a message that is not over.
    begun: Option<Lookout>,
    /// Frames of control may come between those of a message, and are whole.
    control: Vec<u8>,
    found: Option<&'static str>,
}

/// A frame whose payload comes.
struct Frame {
    is_last: bool,
    is_control: bool,
    mask: [u8; 4],
    left: u64,
}

impl Messages {
    pub(super) fn of(sealing: &Sealing) -> Self {
        Self::without(sealing.placeholders(), sealing.shortest())
    }

    fn without(placeholders: &Redactor, shortest: usize) -> Self {
        Self {
            placeholders: placeholders.clone(),
            shortest,
            head: Vec::with_capacity(HEAD),
            frame: None,
            message: Vec::new(),
            begun: None,
            control: Vec::new(),
            found: None,
        }
    }

    /// What was found that is not to be sent on.
    pub(super) fn found(&self) -> Option<&'static str> {
        self.found
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// A placeholder is complete, or may be in what cannot be read.
    pub(super) fn admit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.found = self.found.or_else(|| self.find(bytes).err());
        match self.found {
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Ok(()),
        }
    }

    fn find(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            if let Some(frame) = &mut self.frame {
                let length = usize::try_from(frame.left).unwrap_or(usize::MAX);
                let (now, later) = bytes.split_at(length.min(bytes.len()));
                bytes = later;
                let to = match frame.is_control {
                    true => &mut self.control,
                    false => &mut self.message,
                };
                frame.unmask(now, to);
            } else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                // No extension was agreed on (section 5.2): whoever uses one all the same is not understood.
                if self.head[0] & 0x70 != 0 {
                    return Err(UNREADABLE);
                }
                self.frame = Frame::of(&self.head);
                let whole = |frame: &Frame| frame.is_last && frame.left <= CONTROL;
                if matches!(&self.frame, Some(frame) if frame.is_control && !whole(frame)) {
                    return Err(UNREADABLE);
                }
            }
            if let Some(over) = self.frame.take_if(|frame| frame.left == 0) {
                self.head.clear();
                self.over(&over)?;
            }
        }
        // What comes of one message at once is looked at once, however many frames it is.
        if !self.message.is_empty() {
            let placeholders = &self.placeholders;
            let begun = self
                .begun
                .get_or_insert_with(|| Lookout::for_all_of(placeholders));
            let found = begun.finds(&self.message);
            self.message.clear();
            return if found { Err(FOUND) } else { Ok(()) };
        }
        Ok(())
    }

    fn over(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let (text, begun) = match frame {
            Frame {
                is_control: true, ..
            } => (&mut self.control, None),
            Frame { is_last: true, .. } => (&mut self.message, self.begun.take()),
            _ => return Ok(()),
        };
        let found = match begun {
            Some(mut begun) => begun.finds(text) || begun.finds_at_end(),
            None => text.len() >= self.shortest && self.placeholders.finds(text),
        };
        text.clear();
        if found { Err(FOUND) } else { Ok(()) }
    }
}

impl Frame {
    /// `None`: there is more of its beginning.
    fn of(head: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = head.split_first_chunk()?;
        let (length, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            length => (u64::from(length), rest),
        };
        let mask = match second & 0x80 {
            0 => [0; 4],
            _ => *rest.first_chunk()?,
        };
        Some(Self {
            is_last: first & 0x80 != 0,
            is_control: first & 0x08 != 0,
            mask,
            left: length,
        })
    }

    /// Adds the next bytes of its payload as they were before they were masked (section 5.3).
    fn unmask(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        self.left -= bytes.len() as u64;
        let plain = bytes.iter().zip(self.mask.into_iter().cycle());
        to.extend(plain.map(|(byte, mask)| byte ^ mask));
        self.mask.rotate_left(bytes.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caisson_secrets::SecretValue;
    use proptest::prelude::*;

    const PLACEHOLDER: &str = "sealed0123456789abcdef0123456789abcdef";

    /// A masked frame, as a client writes it.
    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            length @ ..126 => bytes.push(0x80 | length as u8),
            length @ ..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        bytes
    }

    /// What is said of bytes that come in pieces of a length.
    fn said(bytes: &[u8], piece: usize) -> Option<&'static str> {
        let secret = SecretValue::new(PLACEHOLDER);
        let mut messages = Messages::without(&Redactor::new([("key", &secret)]), PLACEHOLDER.len());
        let admitted = bytes
            .chunks(piece)
            .try_for_each(|piece| messages.admit(piece));
        assert_eq!(admitted.is_err(), messages.found().is_some());
        messages.found()
    }

    #[test]
    fn a_placeholder_is_found_in_one_frame_and_in_many_with_frames_of_control_between() {
        let (half, rest) = PLACEHOLDER.as_bytes().split_at(20);
        let split = [
            frame(0x01, half, [1, 2, 3, 4]),
            frame(0x89, b"still there?", [9; 4]),
            frame(0x00, b"", [5, 6, 7, 8]),
            frame(0x80, rest, [5, 6, 7, 8]),
        ];
        let whole = |opcode: u8, mask| frame(0x80 | opcode, PLACEHOLDER.as_bytes(), mask);
        let long = [&vec![b'x'; 70_000][..], PLACEHOLDER.as_bytes()].concat();
        for bytes in [
            whole(1, [1, 2, 3, 4]),
            whole(2, [0; 4]),
            whole(9, [7; 4]),
            split.concat(),
            frame(0x82, &long, [1, 2, 3, 4]),
            frame(0x82, &long[69_500..], [1, 2, 3, 4]),
        ] {
            for piece in [1, 3, 4_096] {
                assert_eq!(said(&bytes, piece), Some(FOUND));
            }
        }
    }

    #[test]
    fn what_encoders_make_of_one_is_found_too_where_nothing_follows() {
        use base64::Engine;
        let encoded = base64::prelude::BASE64_STANDARD_NO_PAD.encode(PLACEHOLDER);
        for piece in [1, 7, 4_096] {
            let open = frame(0x01, encoded.as_bytes(), [1, 2, 3, 4]);
            assert_eq!(
                said(&open, piece),
                Some(FOUND),
                "of a message that is not over"
            );
            assert_eq!(
                said(&frame(0x81, encoded.as_bytes(), [9; 4]), piece),
                Some(FOUND)
            );
        }
    }

    #[test]
    fn frames_of_control_that_are_long_or_cut_in_pieces_cannot_be_read() {
        let unmasked = [&[0x8a, 4][..], b"pong"].concat();
        for (bytes, expected) in [
            (frame(0x89, &[b'x'; 125], [1; 4]), None),
            (frame(0x89, &[b'x'; 126], [1; 4]), Some(UNREADABLE)),
            (frame(0x09, b"x", [1; 4]), Some(UNREADABLE)),
            (vec![0x8a, 0], None),
            (unmasked, None),
            (
                [&[0x82, 0xff][..], &[0xff; 8], &[0; 4], b"and so on"].concat(),
                None,
            ),
        ] {
            assert_eq!(said(&bytes, 3), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn halves_of_one_in_two_messages_are_none_and_what_is_coded_cannot_be_read() {
        let (half, rest) = PLACEHOLDER.as_bytes().split_at(20);
        let apart = [frame(0x81, half, [1; 4]), frame(0x81, rest, [2; 4])].concat();
        assert_eq!(said(&apart, 5), None);
        let coded = frame(0xc1, b"whatever", [1; 4]);
        assert_eq!(said(&coded, 5), Some(UNREADABLE));
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(
            payloads in proptest::collection::vec((any::<[u8; 4]>(), 0..300usize), 1..8),
            last in any::<[u8; 4]>(),
            piece in 1..64usize,
        ) {
            let mut bytes: Vec<u8> = payloads
                .iter()
                .flat_map(|(mask, length)| frame(0x82, &vec![b'x'; *length], *mask))
                .collect();
            prop_assert_eq!(said(&bytes, piece), None);
            bytes.extend(frame(0x81, PLACEHOLDER.as_bytes(), last));
            prop_assert!(said(&bytes, piece).is_some());
        }
    }
}
