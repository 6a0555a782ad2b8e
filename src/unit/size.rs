//! Sizes in unit files: a number of bytes, or `512MiB`, `10M`, `1.5GB`.
//!
//! Responsible for reading and printing them. `KiB`, `Ki` and `K` are 1024 bytes, as they are for
//! systemd and for cgroups; `kB` and `KB` are 1000.

use super::complaint::Complaint;

const UNITS: [(&str, u64); 18] = [
    ("B", 1),
    ("K", 1 << 10),
    ("Ki", 1 << 10),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("M", 1 << 20),
    ("Mi", 1 << 20),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("G", 1 << 30),
    ("Gi", 1 << 30),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("T", 1 << 40),
    ("Ti", 1 << 40),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
];

/// Reads a size in bytes.
///
/// # Errors
/// What is wrong and how to write it.
pub fn parse(text: &str) -> Result<u64, Complaint> {
    const EXAMPLE: &str = "write for example 4096, \"64KiB\", \"512MiB\" or \"2GiB\"";
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at_checked(end).unwrap_or((trimmed, ""));
    if number.is_empty() {
        return Err(Complaint::new(format!("`{text}` is not a size")).help(EXAMPLE));
    }
    let unit = unit.trim();
    let size = if unit.is_empty() { Some(1) } else { lookup(unit) };
    let Some(size) = size else {
        let near = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let help = near
            .map_or(EXAMPLE.to_owned(), |(name, _)| format!("did you mean \"{number}{name}\"?"));
        return Err(Complaint::new(format!("`{unit}` is not a unit of size")).help(help));
    };
    multiply(number, size).ok_or_else(|| {
        Complaint::new(format!("`{text}` is not a whole number of bytes that 64 bits hold"))
            .help(EXAMPLE)
    })
}

fn lookup(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size)
}

fn multiply(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.ends_with('.') || whole.is_empty() {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(size)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok().filter(|n| *n <= 9)?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(size) / u128::from(scale);
    if size == 1 && part == 0 {
        return None;
    }
    whole.checked_add(u64::try_from(part).ok()?)
}

/// Prints a size so that [`parse`] reads the same number: in the largest binary unit that divides
/// it.
pub fn print(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
    {
        if bytes != 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("10MiB", 10 << 20),
            ("512M", 512 << 20),
            ("512Mi", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("1kB", 1_000),
            ("2 GB", 2_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "10mib", "1.B", "-1", "1.5", "99999999999TiB", "1e3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse(&print(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
