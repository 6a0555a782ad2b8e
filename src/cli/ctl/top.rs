//! `wsup ctl top`.

use super::screen::Screen;
use super::{Format, Outcome};
use crate::api::client::Client;
use crate::api::top::{InstanceUse, Sources, Top, Used};
use crate::cli::exit;
use crate::cli::output::NOTHING;
use crate::cli::output::color::Tint;
use crate::cli::output::table::{Cell, Table};
use std::collections::BTreeMap;

/// How long each refresh measures, in milliseconds.
const REFRESH_MS: &str = "1000";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// kind/name, a unit's name, or an instance's name; all if not given
    target: Option<String>,
    /// All, which is also the default
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// Only units with these labels: k=v, k!=v, k, !k, joined by commas
    #[arg(short = 'l', long, value_name = "K=V")]
    selector: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Measure again and again
    #[arg(short, long)]
    watch: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, client: &Client, screen: &mut Screen) -> Outcome {
    let mut query = Vec::new();
    query.extend(args.target.map(|target| ("target", target)));
    query.extend(args.selector.map(|selector| ("selector", selector)));
    if args.watch {
        query.push(("interval_ms", REFRESH_MS.to_owned()));
    }
    let mut first = true;
    loop {
        let top: Top = client.get("/v1/top", &query).await?;
        match args.output {
            Format::Json if args.watch => screen.json_line(&top)?,
            Format::Json => screen.json(&top)?,
            Format::Text => {
                if args.watch && screen.is_terminal() {
                    screen.clear()?;
                } else if !first {
                    screen.line("")?;
                }
                screen.text(&show(&top))?;
            }
        }
        if !args.watch {
            return Ok(exit::OK);
        }
        first = false;
        // The pause is the daemon's, between its two readings.
        screen.flush()?;
    }
}

/// A row for each unit and below it one for each instance, or a remark in their place.
fn show(top: &Top) -> String {
    if top.instances.is_empty() {
        return "Nothing runs.\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "CPU", "MEMORY", "TASKS", "READ/S", "WRITE/S", "FROM"]);
    let mut below: BTreeMap<(&str, &str), Vec<&InstanceUse>> = BTreeMap::new();
    for one in &top.instances {
        below.entry((&one.kind, &one.unit)).or_default().push(one);
    }
    for unit in &top.units {
        let name = format!("{}/{}", unit.kind, unit.name);
        table.row(row(Cell::tinted(name, Tint::Bold), &unit.used, ""));
        for one in below.remove(&(unit.kind.as_str(), unit.name.as_str())).unwrap_or_default() {
            let name = format!("  {}", one.name);
            table.row(row(name.into(), &one.used, &from(&one.sources)));
        }
    }
    table.render()
}

fn row(name: Cell, used: &Used, from: &str) -> Vec<Cell> {
    let rate =
        |rate: Option<f64>| rate.map_or_else(|| NOTHING.to_owned(), |rate| bytes(rate as u64));
    vec![
        name,
        format!("{:.3}", used.cpu).into(),
        bytes(used.memory).into(),
        used.tasks.to_string().into(),
        rate(used.io_read_rate).into(),
        rate(used.io_write_rate).into(),
        from.into(),
    ]
}

/// `cgroup`, `processes`, or which figure is from where.
fn from(sources: &Sources) -> String {
    let mut all = vec![
        ("cpu", sources.cpu.as_str()),
        ("memory", sources.memory.as_str()),
        ("tasks", sources.tasks.as_str()),
    ];
    all.extend(sources.io.as_deref().map(|io| ("io", io)));
    let of = |source: &str| -> Vec<&str> {
        all.iter().filter(|(_, from)| *from == source).map(|(name, _)| *name).collect()
    };
    match (of("cgroup").as_slice(), of("processes").as_slice()) {
        (_, []) => "cgroup".to_owned(),
        ([], _) => "processes".to_owned(),
        (cgroup, rest) => {
            format!("cgroup ({}), processes ({})", cgroup.join(", "), rest.join(", "))
        }
    }
}

/// A size in the greatest unit that leaves at least one: `12.3MiB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    for unit in UNITS {
        if value < 1024.0 || unit == "TiB" {
            let digits = if unit == "B" || value >= 100.0 { 0 } else { 1 };
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{count}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_most() {
        let rows = [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (12_900_000, "12.3MiB"),
            (512 << 20, "512MiB"),
            (3 << 40, "3.0TiB"),
        ];
        for (count, expected) in rows {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn sources_are_named_where_they_differ() {
        let sources = |cpu: &str, memory: &str, io: Option<&str>| Sources {
            cpu: cpu.into(),
            memory: memory.into(),
            tasks: memory.into(),
            io: io.map(str::to_owned),
        };
        assert_eq!(from(&sources("cgroup", "cgroup", None)), "cgroup");
        assert_eq!(from(&sources("processes", "processes", Some("processes"))), "processes");
        assert_eq!(
            from(&sources("cgroup", "processes", Some("processes"))),
            "cgroup (cpu), processes (memory, tasks, io)"
        );
    }
}
