//! `wsup check`.
//!
//! Responsible for showing what `unit` says about files: to people as a compiler would, to programs
//! as JSON.

use super::exit;
use crate::os::unit_files;
use crate::unit::{Diagnostic, FileReport, Loaded, Severity, load, procfile};
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where unit files are looked for if no path is given.
pub(super) const DEFAULT_PATH: &str = "./units";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Unit files, directories of them, or Procfiles [default: ./units]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Every mistake with its place underlined, on standard error
    Text,
    /// One JSON object, on standard output
    Json,
}

/// Checks the files: 0 if all are valid, 1 if not, 2 if a path is not there.
pub fn run(args: Args) -> ExitCode {
    let paths = if args.paths.is_empty() { vec![PathBuf::from(DEFAULT_PATH)] } else { args.paths };
    let loaded = match read(&paths) {
        Ok(loaded) => loaded,
        Err(error) => {
            let help = "name unit files or directories: wsup check PATH...";
            return exit::fail(exit::USAGE, &error, Some(help));
        }
    };
    let written = match args.output {
        Format::Text => print_text(&loaded),
        Format::Json => print_json(&loaded),
    };
    match written {
        // Whoever reads may have had enough (`wsup check | head`); the exit code still counts.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            exit::fail(exit::FAILED, &format!("cannot write the result: {error}"), None)
        }
        Ok(()) | Err(_) if loaded.has_errors() => ExitCode::from(exit::FAILED),
        Ok(()) | Err(_) => ExitCode::from(exit::OK),
    }
}

/// Reads unit files and Procfiles.
///
/// # Errors
/// A path that is not there, for people.
pub(super) fn read(paths: &[PathBuf]) -> Result<Loaded, String> {
    let (procfiles, units): (Vec<&PathBuf>, Vec<&PathBuf>) =
        paths.iter().partition(|path| procfile::is_procfile(path) && !path.is_dir());
    let units: Vec<PathBuf> = units.into_iter().cloned().collect();
    let sources = unit_files::read(&units).map_err(|error| error.to_string())?;
    let mut loaded = load(sources);
    for path in procfiles {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let more = procfile::parse(path, &text);
        loaded.units.extend(more.units);
        loaded.files.extend(more.files);
        loaded.texts.extend(more.texts);
    }
    Ok(loaded)
}

/// Every mistake on standard error, or how many units there are on standard output.
pub(super) fn print_text(loaded: &Loaded) -> std::io::Result<()> {
    let mut err = anstream::stderr().lock();
    let mut errors = 0;
    for diagnostic in loaded.files.iter().flat_map(|file| &file.diagnostics) {
        errors += usize::from(diagnostic.severity == Severity::Error);
        writeln!(err, "{}\n", loaded.render(diagnostic, true))?;
    }
    let invalid = loaded.files.iter().filter(|file| !file.valid).count();
    if invalid > 0 {
        let red = anstyle::AnsiColor::Red.on_default().bold();
        return writeln!(
            err,
            "{red}{}{red:#} in {invalid} of {}",
            counted(errors, "error"),
            counted(loaded.files.len(), "file"),
        );
    }
    let mut out = anstream::stdout().lock();
    match loaded.units.len() {
        0 => writeln!(out, "no units found"),
        1 => writeln!(out, "1 unit is valid"),
        n => writeln!(out, "{n} units are valid"),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn print_json(loaded: &Loaded) -> std::io::Result<()> {
    let units: Vec<Value> = loaded.files.iter().map(file_json).collect();
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &json!({ "units": units }))?;
    writeln!(out)
}

fn file_json(file: &FileReport) -> Value {
    let of = |severity: Severity| -> Vec<Value> {
        let matching = file.diagnostics.iter().filter(|d| d.severity == severity);
        matching.map(|d| diagnostic_json(d, &file.path)).collect()
    };
    json!({
        "path": file.path.display().to_string(),
        "kind": file.kind,
        "name": file.name.as_ref().map(ToString::to_string),
        "valid": file.valid,
        "errors": of(Severity::Error),
        "warnings": of(Severity::Warning),
    })
}

/// A drop-in's own path is added where the complaint is about one.
fn diagnostic_json(diagnostic: &Diagnostic, unit: &Path) -> Value {
    let mut value = json!({
        "line": diagnostic.line,
        "column": diagnostic.column,
        "key": diagnostic.key,
        "message": diagnostic.message,
        "suggestion": diagnostic.suggestion,
    });
    if let (Some(map), true) = (value.as_object_mut(), diagnostic.path != unit) {
        map.insert("path".to_owned(), json!(diagnostic.path.display().to_string()));
    }
    value
}
