//! Of a certificate (RFC 5280, section 4.1), the little that tells whether it is an authority's. Pure; anything may come in.

/// The identifier of basicConstraints, in DER.
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
/// Tags: what stands in front of a version, and a sequence.
const VERSION: u8 = 0xa0;
const SEQUENCE: u8 = 0x30;

/// Whether a certificate may sign others: it says so (section 4.2.1.9), or, as roots of version 1, which can say nothing, it
/// has signed itself.
pub(crate) fn is_authority(der: &[u8]) -> bool {
    let Some((issuer, subject)) = names(der) else {
        return false;
    };
    let mut places = der.windows(BASIC_CONSTRAINTS.len()).enumerate();
    match places.find(|(_, window)| *window == BASIC_CONSTRAINTS) {
        None => issuer == subject,
        Some((at, _)) => {
            let rest = &der[at + BASIC_CONSTRAINTS.len()..];
            // critical TRUE, where it is; an OCTET STRING, a SEQUENCE, and in it first of all cA TRUE.
            let rest = rest.strip_prefix(&[0x01, 0x01, 0xff]).unwrap_or(rest);
            matches!(rest, [0x04, _, SEQUENCE, _, 0x01, 0x01, 0xff, ..])
        }
    }
}

/// Who signed, and for whom.
fn names(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let certificate = Element::read(der)?.of(SEQUENCE)?;
    let signed = Element::read(certificate.content)?.of(SEQUENCE)?;
    let first = Element::read(signed.content)?;
    let serial = match first.tag {
        VERSION => Element::read(first.rest)?,
        _ => first,
    };
    let algorithm = Element::read(serial.rest)?;
    let issuer = Element::read(algorithm.rest)?.of(SEQUENCE)?;
    let validity = Element::read(issuer.rest)?;
    let subject = Element::read(validity.rest)?.of(SEQUENCE)?;
    Some((issuer.content, subject.content))
}

/// One element of DER (X.690), and what comes after it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let (&tag, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // No certificate has 16 MiB.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        Some(Self { tag, content, rest })
    }

    fn of(self, tag: u8) -> Option<Self> {
        (self.tag == tag).then_some(self)
    }
}
