//! What is told of an end.
//!
//! Responsible for the words and fields of `InstanceExited`. Decides nothing.

use crate::core::event::Exit;
use crate::core::report::{Field, Reason};
use crate::core::signal;
use crate::core::workload::Note;

/// The note of an end; of the init step of this number, or of the main program.
pub(super) fn exit_note(exit: Exit, step: Option<usize>) -> Note {
    let what = match step {
        Some(step) => format!("init step {} ended with {exit}", step + 1),
        None => format!("ended with {exit}"),
    };
    let note = if exit.is_success() {
        Note::normal(Reason::InstanceExited, what)
    } else {
        Note::warning(Reason::InstanceExited, what)
    };
    match exit {
        Exit::Code(code) => note.with_int("exit_code", code),
        Exit::Signal(number) => note.with(
            "signal",
            match signal::name(number) {
                Some(name) => Field::Text(name.to_owned()),
                None => Field::Int(i64::from(number)),
            },
        ),
        Exit::OomKilled => note
            .with("signal", Field::Text("SIGKILL".to_owned()))
            .with("exit_reason", Field::Text("OOMKilled".to_owned())),
        Exit::Unknown => note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_the_fields_that_tell_it_apart() {
        let rows = [
            (Exit::Code(3), None, "ended with exit code 3", "exit_code Int(3)"),
            (Exit::Signal(9), None, "ended with SIGKILL", "signal Text(\"SIGKILL\")"),
            (
                Exit::OomKilled,
                Some(1),
                "init step 2 ended with SIGKILL, out of memory (OOMKilled)",
                "exit_reason Text(\"OOMKilled\"), signal Text(\"SIGKILL\")",
            ),
            (Exit::Unknown, None, "ended with an unknown exit status", ""),
        ];
        for (exit, step, message, fields) in rows {
            let note = exit_note(exit, step);
            let shown: Vec<_> = note.fields.iter().map(|(k, v)| format!("{k} {v:?}")).collect();
            assert_eq!((note.message.as_str(), shown.join(", ").as_str()), (message, fields));
        }
    }
}
