//! Sizes and durations as policies write them: `256MiB`, `2h`.

use std::time::Duration;

/// Bytes out of `512`, `64KiB`, `256MiB`, `2GiB`. `None` for anything else, zero included.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A duration out of `90s`, `30m`, `2h`, `1d`. `None` for anything else, zero included.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse().ok().filter(|&number| number > 0)?;
    Some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_need_a_known_unit() {
        assert_eq!(bytes("256MiB"), Some(256 << 20));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for text in [
            "",
            "MiB",
            "256MB",
            "-1",
            "0",
            "0MiB",
            "1.5GiB",
            "1 GiB",
            "99999999999TiB",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
        for text in ["", "2", "h", "0s", "1w", "2 h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
