//! Counts and percentages (Kubernetes `IntOrString`, `pkg/apis/apps/validation/validation.go`,
//! `ValidatePositiveIntOrPercent`): `3` or `"25%"`.

use super::complaint::Complaint;
use super::keys::INT32_MAX;
use super::tree::Value;
use crate::core::spec::Amount;

/// Reads an amount of at most `max_percent` per cent.
///
/// # Errors
/// What is wrong, and how to write it.
pub(super) fn read(value: &Value, max_percent: u32) -> Result<Amount, Complaint> {
    const EXAMPLE: &str = "write a count such as 2, or a percentage such as \"25%\"";
    match value {
        Value::Int(number) if (0..=INT32_MAX).contains(number) => {
            Ok(Amount::Count(u32::try_from(*number).unwrap_or(u32::MAX)))
        }
        Value::Int(number) if *number < 0 => {
            Err(Complaint::new(format!("{number} is negative")).help(EXAMPLE))
        }
        Value::Int(_) | Value::HugeInt => {
            Err(Complaint::new("the number is too large").help(EXAMPLE))
        }
        Value::Text(text) => percent(text, max_percent),
        Value::Float(_) | Value::Bool(_) | Value::Datetime | Value::List(_) | Value::Table(_) => {
            let message = format!("a count or a percentage is wanted, not {}", value.type_name());
            Err(Complaint::new(message).help(EXAMPLE))
        }
    }
}

fn percent(text: &str, max_percent: u32) -> Result<Amount, Complaint> {
    if let Ok(number) = text.parse::<u32>() {
        return Err(Complaint::new(format!("\"{text}\" is neither a number nor a percentage"))
            .help(format!("write {number} without quotes for a count, or \"{number}%\"")));
    }
    let digits = text.strip_suffix('%').unwrap_or_default();
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u32>() {
        Ok(number) if whole && number <= max_percent => Ok(Amount::Percent(number)),
        Ok(_) if whole => Err(Complaint::new(format!("\"{text}\" is more than {max_percent}%"))
            .help(format!("write at most \"{max_percent}%\""))),
        Ok(_) | Err(_) => Err(Complaint::new(format!("\"{text}\" is not a whole percentage"))
            .help("write a count such as 2, or a percentage such as \"25%\"")),
    }
}
