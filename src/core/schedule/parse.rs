//! From the text of a cron expression to sets of minutes, hours, days, months and weekdays.
//!
//! Responsible for the grammar (`robfig/cron` v3 `parser.go`, which Kubernetes uses) and for exact
//! complaints. Must not know zones or instants.
//!
//! Where wsup is stricter than robfig, on purpose: `+5`, empty list items (`1,,2`) and `*-5` are
//! errors, because each is a slip of the pen that robfig reads as something else. Where it is
//! more lenient: weekday 7 is Sunday, as in every crontab; months and weekdays may be given by
//! name inside lists and ranges in any case, as in robfig.

use crate::core::time::Millis;
use std::fmt;

/// The longest `@every` period, in seconds: Go's `time.Duration` ends after 292 years, so no
/// schedule that Kubernetes accepts is longer.
const EVERY_MAX_SECS: u64 = i64::MAX as u64 / 1_000_000_000;

/// Why a text is no schedule: the reason, and where in the text it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// What is wrong, without the expression itself.
    pub message: String,
    /// How to write it instead, if that is clear.
    pub help: Option<String>,
    /// Byte offset of the offending part in the text as it was given.
    pub offset: usize,
    /// Its length in bytes; 0: the end of the text.
    pub len: usize,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScheduleError {}

/// A part of the expression and where it stands.
#[derive(Clone, Copy)]
struct Span<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Span<'a> {
    fn fail(self, message: impl Into<String>) -> ScheduleError {
        ScheduleError { message: message.into(), help: None, offset: self.at, len: self.text.len() }
    }

    fn fail_help(self, message: impl Into<String>, help: impl Into<String>) -> ScheduleError {
        ScheduleError { help: Some(help.into()), ..self.fail(message) }
    }

    /// The parts between the separators that `is` finds.
    fn split(self, is: impl Fn(char) -> bool) -> Vec<Span<'a>> {
        let mut parts = Vec::new();
        let mut start = 0;
        for (at, c) in self.text.char_indices() {
            if is(c) {
                parts.push(self.slice(start, at));
                start = at + c.len_utf8();
            }
        }
        parts.push(self.slice(start, self.text.len()));
        parts
    }

    fn slice(self, from: usize, to: usize) -> Span<'a> {
        Span { text: self.text.get(from..to).unwrap_or_default(), at: self.at + from }
    }

    fn trim(self) -> Span<'a> {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start, self.text.trim_end().len().max(start))
    }
}

/// What a field may hold.
struct Rules {
    /// For complaints.
    name: &'static str,
    min: u32,
    max: u32,
    /// Names, the first of them for `min`.
    names: &'static [&'static str],
    /// 7 is another word for 0.
    sunday: bool,
}

const MINUTE: Rules = Rules { name: "minute", min: 0, max: 59, names: &[], sunday: false };
const HOUR: Rules = Rules { name: "hour", min: 0, max: 23, names: &[], sunday: false };
const DAY: Rules = Rules { name: "day of month", min: 1, max: 31, names: &[], sunday: false };
const MONTH: Rules = Rules {
    name: "month",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    sunday: false,
};
const WEEKDAY: Rules = Rules {
    name: "day of week",
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    sunday: true,
};

/// One field: the numbers that match, and how they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Bit n: the number n matches.
    pub(super) bits: u64,
    /// It has an item `*` or `?` without a step above 1 (robfig's `starBit`).
    pub(super) star: bool,
    /// It has an item `*` or a step, or leaves no number out: it names no time of its own.
    pub(super) wild: bool,
    /// It begins with `*`, which is all that crontab looks at (Vixie cron's `entry.c`): there
    /// `*/2` is a star, and `1,*` is none.
    pub(super) star_first: bool,
    /// It has a `?`, which crontab does not know.
    pub(super) question: bool,
    /// It names every number, so that it restricts nothing.
    pub(super) all: bool,
    /// It has an item `a/n`: crontab(5) has steps only after `*` or a range.
    pub(super) bare_step: bool,
    /// It has a step that reaches no second number, such as `*/90` among minutes.
    pub(super) idle_step: bool,
}

/// A whole expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// Five fields, or a word that stands for them.
    Fields {
        /// 0 to 59.
        minute: Field,
        /// 0 to 23.
        hour: Field,
        /// 1 to 31.
        day: Field,
        /// 1 to 12.
        month: Field,
        /// 0 (Sunday) to 6.
        weekday: Field,
    },
    /// `@every`: whole seconds, at least one.
    Every(Millis),
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Parsed, ScheduleError> {
    let whole = Span { text, at: 0 }.trim();
    if whole.text.is_empty() {
        return Err(whole.fail_help("the schedule is empty", "five fields, such as `0 3 * * *`"));
    }
    if whole.text.starts_with("TZ=") || whole.text.starts_with("CRON_TZ=") {
        return Err(whole
            .fail_help("a time zone may not be part of the schedule", "give it as `time_zone`"));
    }
    if whole.text.starts_with('@') {
        return descriptor(whole);
    }
    five_fields(whole)
}

fn five_fields(whole: Span<'_>) -> Result<Parsed, ScheduleError> {
    let fields: Vec<Span<'_>> =
        whole.split(char::is_whitespace).into_iter().filter(|f| !f.text.is_empty()).collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        let count = fields.len();
        let help = if count > 5 {
            "minute, hour, day of month, month, day of week; there are no seconds and no years"
        } else {
            "minute, hour, day of month, month, day of week, such as `0 3 * * *`"
        };
        return Err(whole.fail_help(format!("expected 5 fields, found {count}"), help));
    };
    Ok(Parsed::Fields {
        minute: field(*minute, &MINUTE)?,
        hour: field(*hour, &HOUR)?,
        day: field(*day, &DAY)?,
        month: field(*month, &MONTH)?,
        weekday: field(*weekday, &WEEKDAY)?,
    })
}

fn field(span: Span<'_>, rules: &Rules) -> Result<Field, ScheduleError> {
    let mut field = Field {
        bits: 0,
        star: false,
        wild: false,
        star_first: span.text.starts_with('*'),
        question: span.text.contains('?'),
        all: false,
        bare_step: false,
        idle_step: false,
    };
    for part in span.split(|c| c == ',') {
        if part.text.is_empty() {
            return Err(span.fail(format!("an item of the list of the {} is empty", rules.name)));
        }
        item(part, rules, &mut field)?;
    }
    let all = (rules.min..=rules.max).fold(0, |bits, n| bits | 1 << n);
    field.all = field.bits == all;
    field.wild |= field.all;
    Ok(field)
}

/// One item: `*`, `?`, `a` or `a-b`, each with or without `/step`.
fn item(span: Span<'_>, rules: &Rules, field: &mut Field) -> Result<(), ScheduleError> {
    let halves = span.split(|c| c == '/');
    let (range, step) = match halves.as_slice() {
        [range] => (*range, None),
        [range, step] => (*range, Some(*step)),
        _ => return Err(span.fail(format!("too many `/` in `{}`", span.text))),
    };
    let step = step.map(|s| number(s, rules, "step").map(|n| (s, n))).transpose()?;
    if let Some((at, 0)) = step {
        return Err(at.fail("a step may not be 0"));
    }
    let every = step.map_or(1, |(_, n)| n);
    let star = matches!(range.text, "*" | "?");
    let (low, high) =
        if star { (rules.min, rules.max) } else { ends(span, range, step.is_some(), rules)? };
    let mut at = low;
    let mut hits = 0_u32;
    while at <= high {
        // Weekday 7 is Sunday.
        field.bits |= 1 << if rules.sunday && at == 7 { 0 } else { at };
        hits += 1;
        at = at.saturating_add(every);
    }
    field.star |= star && every == 1;
    field.wild |= star || step.is_some();
    field.bare_step |= !star && step.is_some() && !range.text.contains('-');
    field.idle_step |= every > 1 && hits == 1;
    Ok(())
}

/// The two ends of `a` or `a-b`; with a step, `a` means `a` to the end.
fn ends(
    span: Span<'_>,
    range: Span<'_>,
    stepped: bool,
    rules: &Rules,
) -> Result<(u32, u32), ScheduleError> {
    let parts = range.split(|c| c == '-');
    match parts.as_slice() {
        [one] => {
            let low = value(*one, rules)?;
            Ok((low, if stepped { rules.max.max(low) } else { low }))
        }
        [first, last] if !first.text.is_empty() => {
            if matches!(first.text, "*" | "?") {
                return Err(range.fail(format!("`{}` may not begin a range", first.text)));
            }
            let (low, high) = (value(*first, rules)?, value(*last, rules)?);
            if low > high {
                let message = format!("the range `{}` ends before it begins", range.text);
                let help = if rules.sunday && high == 0 {
                    format!("write Sunday as 7: `{}-7`", first.text)
                } else {
                    let (max, min) = (rules.max, rules.min);
                    format!("split it: `{}-{max},{min}-{}`", first.text, last.text)
                };
                return Err(range.fail_help(message, help));
            }
            Ok((low, high))
        }
        [_, _] => {
            Err(range.fail(format!("`{}`: a {} may not be negative", range.text, rules.name)))
        }
        _ => Err(span.fail(format!("too many `-` in `{}`", range.text))),
    }
}

/// A number or name of the field.
fn value(span: Span<'_>, rules: &Rules) -> Result<u32, ScheduleError> {
    let lower = span.text.to_ascii_lowercase();
    if let Some(at) = rules.names.iter().position(|name| *name == lower) {
        return Ok(rules.min + u32::try_from(at).unwrap_or(0));
    }
    let number = number(span, rules, rules.name)?;
    let max = if rules.sunday { 7 } else { rules.max };
    if number < rules.min || number > max {
        return Err(span.fail(format!(
            "`{}` is not a {}: {} to {}",
            span.text, rules.name, rules.min, rules.max
        )));
    }
    Ok(number)
}

fn number(span: Span<'_>, rules: &Rules, what: &str) -> Result<u32, ScheduleError> {
    let text = span.text;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| span.fail(format!("`{text}` is too great a number")));
    }
    if text.is_empty() {
        return Err(ScheduleError { len: 0, ..span.fail(format!("a {what} is missing")) });
    }
    let special = text.chars().find(|c| matches!(c.to_ascii_uppercase(), 'L' | 'W' | '#'));
    let extended = match special {
        Some('#') => true,
        Some(_) => text.len() <= 3 && text.chars().filter(|c| c.is_ascii_alphabetic()).count() <= 2,
        None => false,
    };
    if extended {
        return Err(span.fail(format!("`{text}`: L, W and # are not supported, as in Kubernetes")));
    }
    let names = match (rules.names.first(), rules.names.last()) {
        (Some(first), Some(last)) if what == rules.name => {
            format!(" nor a name, {first} to {last}")
        }
        (_, _) => String::new(),
    };
    Err(span.fail(format!("`{text}` is not a number{names} ({what})")))
}

/// The words that begin with `@`; case matters, as in robfig.
fn descriptor(whole: Span<'_>) -> Result<Parsed, ScheduleError> {
    let fields = match whole.text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        "@every" => {
            return Err(whole.fail_help("`@every` needs a duration", "such as `@every 1h30m`"));
        }
        "@reboot" => {
            return Err(whole.fail_help(
                "`@reboot` is not supported, as in Kubernetes",
                "a unit of kind job runs once",
            ));
        }
        other => {
            if let Some(rest) = other.strip_prefix("@every ") {
                let at = whole.slice(other.len() - rest.len(), other.len()).trim();
                return every(at).map(Parsed::Every);
            }
            return Err(whole.fail_help(
                format!("`{other}` is not a known descriptor"),
                "@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or `@every \
                 DURATION`, in lower case",
            ));
        }
    };
    five_fields(Span { text: fields, at: whole.at })
}

/// Go's `time.ParseDuration`, then robfig's `Every`: whole seconds, at least one. Only the
/// whole value is rounded, so `@every 1.5h` is 90 minutes.
fn every(span: Span<'_>) -> Result<Millis, ScheduleError> {
    let bad = || {
        span.fail_help(
            format!("`{}` is not a duration", span.text),
            "numbers with the units h, m, s, ms, such as `1h30m`",
        )
    };
    let (negative, mut rest) = match span.text.strip_prefix(['-', '+']) {
        Some(rest) => (span.text.starts_with('-'), rest),
        None => (false, span.text),
    };
    if rest.is_empty() {
        return Err(bad());
    }
    if rest == "0" {
        return Ok(Millis::from_secs(1));
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (value, after) = leading(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = leading(after, |c| !(c.is_ascii_digit() || c == '.'));
        let size: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => {
                return Err(span.fail_help(
                    format!("`{}`: a unit is missing after `{value}`", span.text),
                    "h, m, s or ms",
                ));
            }
            "d" | "w" => {
                return Err(span.fail_help(
                    format!("`{unit}` is not a unit here, as in Kubernetes"),
                    "write days as hours: 24h",
                ));
            }
            _ => return Err(bad()),
        };
        nanos = nanos.saturating_add(part_nanos(value, size).ok_or_else(bad)?);
        rest = after;
    }
    let secs = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    if secs > EVERY_MAX_SECS {
        return Err(span.fail("the period is longer than 292 years"));
    }
    Ok(Millis::from_secs(if negative { 1 } else { secs.max(1) }))
}

/// A decimal number of units of `size` nanoseconds.
fn part_nanos(value: &str, size: u128) -> Option<u128> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let mut nanos = if whole.is_empty() {
        0
    } else {
        // 30 digits are more than 292 years of anything.
        whole.get(..30.min(whole.len()))?.parse::<u128>().ok()?.saturating_mul(size)
    };
    let mut weight = size;
    for digit in fraction.chars() {
        weight /= 10;
        nanos = nanos.saturating_add(u128::from(digit.to_digit(10)?) * weight);
    }
    Some(nanos)
}

fn leading(text: &str, is: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !is(c)).unwrap_or(text.len());
    text.split_at(end)
}
