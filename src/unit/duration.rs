//! Durations in unit files: `90s`, `1h30m`, `250ms`, `1d`.
//!
//! Responsible for reading them; [`Millis`] prints them back. A number without a unit is refused:
//! in Kubernetes it would be seconds, elsewhere milliseconds or minutes, and nobody can see which.

use super::complaint::Complaint;
use crate::core::time::Millis;

/// Units from long to short, which is also the order in which they may be written.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration that is accepted: a hundred years of 365 days. Longer ones are typing
/// errors, and sums of accepted ones stay far from the end of the number range.
pub const LONGEST: Millis = Millis(100 * 365 * 86_400_000);

/// Reads a duration: whole or decimal numbers, each with its unit (`ms`, `s`, `m`, `h`, `d`), from
/// the longest unit to the shortest.
///
/// # Errors
/// What is wrong, where in the text, and how to write it.
pub fn parse(text: &str) -> Result<Millis, Complaint> {
    let trimmed = text.trim();
    let refuse = |what: String| Err(Complaint::new(what).help(example(trimmed)));
    if trimmed.is_empty() {
        return refuse("a duration is missing".to_owned());
    }
    if trimmed.starts_with('-') {
        return refuse(format!("`{text}` is negative, a duration cannot be"));
    }
    let mut total: u64 = 0;
    let mut previous = u64::MAX;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = split_at(rest, |c| c.is_ascii_digit() || c == '.');
        let (number, tail) = digits;
        let (unit, tail) = split_at(tail, |c| !c.is_ascii_digit() && c != '.' && c != ' ');
        if number.is_empty() {
            return refuse(format!("`{text}` is not a duration"));
        }
        if unit.is_empty() {
            return refuse(format!("`{text}` has no unit, so nobody knows what it means"));
        }
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return refuse(format!("`{unit}` is not a unit of time"));
        };
        if *size >= previous {
            return refuse(format!("`{text}` does not go from the longest unit to the shortest"));
        }
        previous = *size;
        let Some(amount) = amount(number, *size) else {
            return refuse(format!("`{number}` is not a number of `{unit}` that can be counted"));
        };
        total = total.saturating_add(amount);
        rest = tail.trim_start_matches(' ');
    }
    if total > LONGEST.0 {
        return refuse(format!("`{text}` is longer than 100 years"));
    }
    Ok(Millis(total))
}

fn split_at(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !accept(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `number` times `size` in whole milliseconds, or nothing if it is no number or not whole.
fn amount(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.ends_with('.') || whole.is_empty() {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(size)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    // Nine digits hold a day to the millisecond; more would only hide a mistake.
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok().filter(|n| *n <= 9)?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(size);
    if part % u128::from(scale) != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(part / u128::from(scale)).ok()?)
}

/// What the writer may have meant.
fn example(text: &str) -> String {
    let general = "write for example \"500ms\", \"30s\", \"1h30m\" or \"1d\"";
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return format!("did you mean \"{text}s\"? {general}");
    }
    let number: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let unit = text.get(number.len()..).unwrap_or_default().trim();
    let (better, count) = match unit.to_ascii_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" | "s" => ("s", 1),
        "min" | "mins" | "minute" | "minutes" | "m" => ("m", 1),
        "hr" | "hrs" | "hour" | "hours" | "h" => ("h", 1),
        "day" | "days" | "d" => ("d", 1),
        "msec" | "millis" | "milliseconds" | "ms" => ("ms", 1),
        "w" | "week" | "weeks" => ("d", 7),
        _ => return general.to_owned(),
    };
    match number.parse::<u64>() {
        Ok(n) if n < 10_000 => format!("did you mean \"{}{better}\"?", n * count),
        Ok(_) | Err(_) => general.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_unit_and_their_combinations() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1d", 86_400_000),
            ("2d12h", 216_000_000),
            ("0.5d", 43_200_000),
        ] {
            assert_eq!(parse(text), Ok(Millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        for text in
            ["", "5", "1M", "5 min", "-1s", "1s1m", "1m1m", ".5s", "1.s", "1.0001s", "200000d", "s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(millis in 0..=LONGEST.0) {
            prop_assert_eq!(parse(&Millis(millis).to_string()), Ok(Millis(millis)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
