//! The fault of an entry.

use super::Reader;
use crate::fault::entry::{Makes, OfRequest};
use crate::fault::token::FirstSeen;
use crate::fault::wire::WireEntry;
use crate::fault::{BodyFault, CertificateFault, ConnectionFault, DnsFault};
use caisson_document::join;
use http::HeaderValue;
use std::num::NonZeroU64;
use std::time::Duration;

impl Reader<'_> {
    pub(super) fn makes(&mut self, at: &str, key: &str, wire: &WireEntry) -> Option<Makes> {
        let request = match key {
            "dns" => {
                return Some(Makes::Lookup(match wire.dns.as_deref()? {
                    "servfail" => DnsFault::Servfail,
                    _ => DnsFault::Nxdomain,
                }));
            }
            "refuse" => return Some(Makes::Connection(ConnectionFault::Refuse)),
            "certificate" => {
                return Some(Makes::Connection(ConnectionFault::Certificate(match wire
                    .certificate
                    .as_deref()?
                {
                    "expired" => CertificateFault::Expired,
                    "wrong_name" => CertificateFault::WrongName,
                    _ => CertificateFault::UnknownIssuer,
                })));
            }
            "answer" => OfRequest::Answer(self.answer(&join(at, "answer"), wire.answer.as_ref()?)?),
            "empty" => OfRequest::Empty,
            "redirect_loop" => OfRequest::RedirectLoop,
            "expire_token" => OfRequest::ExpireToken(FirstSeen::default()),
            "content_type" => {
                let pointer = join(at, "content_type");
                OfRequest::ContentType(self.value(&pointer, wire.content_type.as_deref()?)?)
            }
            "reset" => match wire.reset.as_ref()?.after? {
                0 => OfRequest::Reset,
                after => OfRequest::Body(BodyFault::ResetAfter(after)),
            },
            "stall" => {
                let stall = wire.stall.as_ref()?;
                let lasting = match stall.lasting.as_deref() {
                    Some(text) => Some(self.duration(&format!("{at}/stall/for"), text)?),
                    None => None,
                };
                OfRequest::Body(BodyFault::StallAfter(stall.after?, lasting))
            }
            "slow" => {
                let rate = wire.slow.as_ref()?.bytes_per_second?;
                OfRequest::Body(BodyFault::Slow(NonZeroU64::new(rate)?))
            }
            "truncate" => OfRequest::Body(BodyFault::TruncateAfter(wire.truncate.as_ref()?.after?)),
            _ => OfRequest::Body(BodyFault::BrokenGzip),
        };
        Some(Makes::Request(request))
    }

    fn duration(&mut self, pointer: &str, text: &str) -> Option<Duration> {
        let lasting = duration(text);
        if lasting.is_none() {
            let help =
                "write a whole number and a unit, as in 500ms, 30s, 5m or 1h, or leave for out";
            self.fault(pointer, "not a duration", help);
        }
        lasting
    }

    /// What a header field can hold.
    pub(super) fn value(&mut self, pointer: &str, text: &str) -> Option<HeaderValue> {
        let value = HeaderValue::from_str(text).ok();
        if value.is_none() {
            self.fault(
                pointer,
                "no header field can hold it",
                "write it without line breaks and control characters",
            );
        }
        value
    }
}

/// `None` for what is no duration, zero included.
fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok().filter(|&number| number > 0)?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match &text[end..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit_that_is_known() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for text in [
            "",
            "30",
            "s",
            "0s",
            "1.5s",
            "2 s",
            "1d",
            "-1s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
