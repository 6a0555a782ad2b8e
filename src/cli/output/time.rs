//! Times for people.
//!
//! Responsible for ages and spans in the two largest units, as kubectl writes them.

use super::NOTHING;
use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A span in words of at most two units (`k8s.io/apimachinery/pkg/util/duration.HumanDuration`).
/// A span below zero, which a stepped clock can make, is `0s`.
pub fn span(secs: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        let (n, rest) = (secs / big, secs % big / small);
        if rest == 0 {
            format!("{n}{big_unit}")
        } else {
            format!("{n}{big_unit}{rest}{small_unit}")
        }
    };
    if secs < 0 {
        "0s".to_owned()
    } else if secs < 2 * MINUTE {
        format!("{secs}s")
    } else if secs < 10 * MINUTE {
        two(MINUTE, "m", 1, "s")
    } else if secs < 3 * HOUR {
        format!("{}m", secs / MINUTE)
    } else if secs < 8 * HOUR {
        two(HOUR, "h", MINUTE, "m")
    } else if secs < 2 * DAY {
        format!("{}h", secs / HOUR)
    } else if secs < 8 * DAY {
        two(DAY, "d", HOUR, "h")
    } else if secs < 2 * YEAR {
        format!("{}d", secs / DAY)
    } else if secs < 8 * YEAR {
        two(YEAR, "y", DAY, "d")
    } else {
        format!("{}y", secs / YEAR)
    }
}

/// How long ago it was.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    span(now.as_second().saturating_sub(then.as_second()))
}

/// How long ago it was, if it was.
pub fn age_or_nothing(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| NOTHING.to_owned(), |then| age(then, now))
}

/// When it will be: `in 3m`, or `now` once it is due.
pub fn ahead(then: Timestamp, now: Timestamp) -> String {
    let secs = then.as_second().saturating_sub(now.as_second());
    if secs <= 0 { "now".to_owned() } else { format!("in {}", span(secs)) }
}

/// The local date and time, to the second, with its offset.
pub fn local(then: Timestamp) -> String {
    then.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// The present time. The command line is no part of the core and may look at the clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A span as a person writes it: `90s`, `5m`, `1h30m`, `2d`; a bare number is seconds.
///
/// # Errors
/// A sentence about what is wrong.
pub fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write 90s, 5m, 1h30m or 2d");
    if text.is_empty() {
        return Err(wrong());
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "" if rest.len() == text.len() && tail.is_empty() => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total = total.saturating_add(number.saturating_mul(scale));
        rest = tail;
    }
    Ok(std::time::Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_kubectl_writes_them() {
        for (secs, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (195, "3m15s"),
            (600, "10m"),
            (7_199, "119m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 14 * MINUTE, "3h14m"),
            (9 * HOUR + 14 * MINUTE, "9h"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (45 * DAY, "45d"),
            (3 * YEAR + 20 * DAY, "3y20d"),
        ] {
            assert_eq!(span(secs), text);
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [("90s", 90_000), ("1h30m", 5_400_000), ("5", 5_000), ("250ms", 250)] {
            assert_eq!(parse_span(text).map(|d| d.as_millis()), Ok(ms), "{text}");
        }
        for text in ["", "s", "1x", "-1s", "1h30", "5 m"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }
}
