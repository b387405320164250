//! From a message to the bytes that go before its body.

use prost::Message;

use crate::{HEADER, MAX_BODY, MAX_META};

/// A frame that the other side would refuse.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The message is larger than [`MAX_META`].
    #[error("a message of {0} bytes is over the limit of {MAX_META}")]
    MetaTooLarge(usize),
    /// The body is larger than [`MAX_BODY`].
    #[error("a body of {0} bytes is over the limit of {MAX_BODY}")]
    BodyTooLarge(usize),
}

/// Header and message of a frame whose body has `body` bytes. Send the body
/// right behind it.
pub fn encode(message: &impl Message, body: usize) -> Result<Vec<u8>, EncodeError> {
    let meta = message.encoded_len();
    if meta > MAX_META {
        return Err(EncodeError::MetaTooLarge(meta));
    }
    if body > MAX_BODY {
        return Err(EncodeError::BodyTooLarge(body));
    }
    let mut out = Vec::with_capacity(HEADER + meta);
    out.extend_from_slice(&(meta as u32).to_le_bytes());
    out.extend_from_slice(&(body as u32).to_le_bytes());
    // A Vec grows, so there is always room.
    message.encode_raw(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Checkpoint;

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_is_sent() {
        let refused = encode(&Checkpoint::default(), MAX_BODY + 1);
        assert_eq!(refused, Err(EncodeError::BodyTooLarge(MAX_BODY + 1)));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_sent() {
        let state = vec![0; MAX_META + 1];
        let refused = encode(
            &Checkpoint {
                state,
                ..Default::default()
            },
            0,
        );
        assert!(matches!(refused, Err(EncodeError::MetaTooLarge(_))));
    }
}
