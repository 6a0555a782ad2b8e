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
