//! How fast output reaches the log files, beside `writer | cat > file` in the same run.
//!
//! A plain program: `cargo bench --bench logs`. A real runner carries the output of a writer (this
//! program again) into rotated files; then `cat` carries the same writer's into one file. Each is
//! done several times in turn, and the medians are compared: bytes per second, and the CPU time of
//! the runner and of `cat`.
//!
//! Exits with 1 if the runner is slower than 0.9 times `cat`, or needs more CPU time. Files are
//! made in the temporary folder (`TMPDIR`), which must not be on a slow disk. `BENCH_MIB` sets how
//! much the one writer writes.

// A program that measures may speak, and may end where what it measures is broken.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic)]

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use wsup::core::event::Exit;
use wsup::core::id::{InstanceId, Kind, UnitKey, UnitName};
use wsup::runner::client::Link;
use wsup::runner::launch::{Launch, find_or_start};
use wsup::runner::protocol::{Bytes, Command as Order, LogPlan, Notice, Outcome, SpawnPlan};

/// What one writer writes, and each of many.
const ONE_MIB: usize = 1024;
const EACH_MIB: usize = 50;
const MANY: usize = 20;
/// So often each is measured.
const REPEATS: usize = 5;
/// A line, and how much the writer writes at once.
const LINE: usize = 100;
const WRITE: usize = 64 << 10;
/// The bound of a log file, and how many there are.
const FILE_MAX: u64 = 10 << 20;
const FILES: u32 = 5;
/// The least speed and the most CPU time, compared with `cat`.
const SPEED: f64 = 0.9;
const CPU: f64 = 1.0;
/// Longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a measurement came to.
#[derive(Clone, Copy)]
struct Took {
    wall: f64,
    cpu: f64,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("--write") {
        let bytes = args.next().and_then(|text| text.parse().ok()).expect("a number of bytes");
        return write(bytes);
    }
    let mib = std::env::var("BENCH_MIB").ok().and_then(|text| text.parse().ok());
    let rows = [("one writer", 1, mib.unwrap_or(ONE_MIB)), ("20 writers", MANY, EACH_MIB)];
    let mut good = true;
    for (name, writers, mib) in rows {
        let mut runs = Vec::new();
        for _ in 0..REPEATS {
            runs.push((by_runner(writers, mib << 20), by_cat(writers, mib << 20)));
        }
        let total = (writers * mib) as f64;
        let ours = median(runs.iter().map(|(ours, _)| *ours));
        let cats = median(runs.iter().map(|(_, cats)| *cats));
        let (speed, cpu) = (cats.wall / ours.wall, ours.cpu / cats.cpu);
        println!(
            "{name}, {mib} MiB each: {:.0} MiB/s and {:.2} s of CPU time; cat: {:.0} MiB/s, \
             {:.2} s: {speed:.2} x the speed (goal: {SPEED}), {cpu:.2} x the CPU time (goal: {CPU})",
            total / ours.wall,
            ours.cpu,
            total / cats.wall,
            cats.cpu,
        );
        good &= speed >= SPEED && cpu <= CPU;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The median of each figure.
fn median(runs: impl Iterator<Item = Took>) -> Took {
    let (mut walls, mut cpus): (Vec<f64>, Vec<f64>) =
        runs.map(|took| (took.wall, took.cpu)).unzip();
    let middle = |list: &mut Vec<f64>| {
        list.sort_by(f64::total_cmp);
        list.get(list.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Took { wall: middle(&mut walls), cpu: middle(&mut cpus) }
}

/// The writer: lines of 100 bytes, 64 KiB at once.
fn write(bytes: usize) -> ExitCode {
    let byte = |at| if at % LINE == LINE - 1 { b'\n' } else { b'x' };
    let lines: Vec<u8> = (0..WRITE * LINE).map(byte).collect();
    let out = std::io::stdout().as_fd().try_clone_to_owned().expect("stdout");
    let mut out = fs::File::from(out);
    let mut left = bytes;
    for piece in lines.chunks(WRITE).cycle() {
        let piece = piece.get(..left.min(WRITE)).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        out.write_all(piece).expect("written");
        left -= piece.len();
    }
    ExitCode::SUCCESS
}

fn writer() -> PathBuf {
    std::env::current_exe().expect("this program")
}

/// The CPU time of a process so far, in seconds (proc(5): schedstat, in nanoseconds).
fn cpu_of(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    let first = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    first.expect("a number") / 1e9
}

/// A folder for one measurement, away afterwards.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("wsup-bench-").tempdir().expect("a folder")
}

fn by_runner(writers: usize, bytes: usize) -> Took {
    let dir = folder();
    let launch = Launch {
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_wsup"))),
        ..Launch::new(dir.path().join("run"))
    };
    let mut link = find_or_start(&launch).expect("a runner");
    let pid = link.welcome().pid;
    // Whatever happens here, nothing stays behind.
    link.send(&Order::SetLastWill { stop_all: true }).expect("sent");
    let before = cpu_of(pid);
    let begun = Instant::now();
    for number in 0..writers {
        link.send(&Order::Spawn(Box::new(plan(dir.path(), number, bytes)))).expect("sent");
    }
    await_ends(&mut link, writers);
    let took = Took { wall: begun.elapsed().as_secs_f64(), cpu: cpu_of(pid) - before };
    check(dir.path(), writers, bytes);
    link.send(&Order::Shutdown).expect("sent");
    took
}

fn await_ends(link: &mut Link, count: usize) {
    let mut ends = 0;
    while ends < count {
        match link.receive(PATIENCE).expect("the runner lives").expect("in time") {
            Notice::Event { outcome: Outcome::Exited { exit, .. }, .. } => {
                assert_eq!(exit, Exit::Code(0), "the writer");
                ends += 1;
            }
            Notice::Event { outcome: Outcome::Spawned { .. }, .. } | Notice::Welcome(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn path_of(dir: &Path, number: usize) -> PathBuf {
    dir.join("log").join(format!("w-{number}.log"))
}

fn plan(dir: &Path, number: usize, bytes: usize) -> SpawnPlan {
    let program = Bytes::from(writer());
    SpawnPlan {
        id: InstanceId { slot: number as u64 + 1, generation: 1 },
        unit: UnitKey::new(Kind::Deployment, UnitName::new("w").expect("a name")),
        instance: format!("w-{number}"),
        candidates: vec![program.clone()],
        argv: vec![program, "--write".into(), bytes.to_string().into()],
        envp: Vec::new(),
        cwd: dir.into(),
        credentials: None,
        umask: None,
        nice: None,
        oom_score_adj: None,
        cpu_affinity: None,
        rlimits: Vec::new(),
        resources: wsup::core::spec::Resources::default(),
        sandbox: None,
        notify: false,
        listener: None,
        sockets: Vec::new(),
        log: LogPlan::File {
            path: path_of(dir, number).into(),
            max_size: FILE_MAX,
            max_files: FILES,
            compress: false,
        },
        awaited: Default::default(),
        new_run: true,
    }
}

/// The last files are as they should be: whole lines, and as many as there is room for.
fn check(dir: &Path, writers: usize, bytes: usize) {
    for number in 0..writers {
        let mut kept = 0;
        for file in 0..FILES {
            let path = wsup::runner::logs::segment_path(&path_of(dir, number), file);
            let Ok(text) = fs::read(&path) else { continue };
            assert!(text.len() as u64 <= FILE_MAX, "{}: {}", path.display(), text.len());
            let whole = text.chunks(LINE).all(|line| line.len() == LINE && line.ends_with(b"\n"));
            // The very last line may have no end.
            assert!(whole || file == 0, "{}", path.display());
            kept += text.len();
        }
        let least = bytes.min((FILES as usize - 1) * FILE_MAX as usize * 9 / 10);
        assert!(kept >= least && kept <= bytes, "{kept} of {bytes}");
    }
}

fn by_cat(writers: usize, bytes: usize) -> Took {
    let dir = folder();
    let begun = Instant::now();
    let pairs: Vec<(Child, Child)> = (0..writers)
        .map(|number| {
            let mut from = Command::new(writer())
                .args(["--write", &bytes.to_string()])
                .stdout(Stdio::piped())
                .spawn()
                .expect("the writer");
            let file = fs::File::create(dir.path().join(number.to_string())).expect("a file");
            let pipe = from.stdout.take().expect("its output");
            let cat = Command::new("cat").stdin(pipe).stdout(file).spawn().expect("cat");
            (from, cat)
        })
        .collect();
    let mut cpu = 0.0;
    let mut ended = begun;
    for (mut from, mut cat) in pairs {
        // Still there as a zombie, so that its time can be read.
        let pid = i32::try_from(cat.id()).expect("a pid");
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(Pid::from_raw(pid)), flags).expect("waited");
        ended = Instant::now();
        cpu += cpu_of(cat.id());
        assert!(cat.wait().expect("waited").success() && from.wait().expect("waited").success());
    }
    for number in 0..writers {
        let len = fs::metadata(dir.path().join(number.to_string())).expect("a file").len();
        assert_eq!(len, bytes as u64);
    }
    Took { wall: ended.duration_since(begun).as_secs_f64(), cpu }
}
