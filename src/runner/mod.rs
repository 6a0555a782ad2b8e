//! The hands: parent of every instance. No policy, no store, no API.
//!
//! Responsible for the loop of `wsup runner`: one thread, one poller, nothing that is polled. Must
//! never block on anybody, never panic, and never decide what ought to run.
//!
//! - [`protocol`], [`client`], [`launch`]: what the daemon needs.
//! - `boot`, `conn`, `outbox`: becoming a runner; talking to the daemon.
//! - `frame`, `bytes`: messages as bytes, and the system's bytes in messages.
//! - `hold`, `start`: what is held, and the way from an end to its report.
//! - `spawn`, `sys`: the child's side, and the only `unsafe` code.
//! - `cgroup`, `orphans`: the two ways of keeping hold of a tree.
//! - [`logs`]: pipes, files, readers.

pub(crate) mod boot;
mod bytes;
mod cgroup;
pub mod client;
mod conn;
mod frame;
mod hold;
pub mod launch;
pub mod logs;
mod orphans;
mod outbox;
pub mod protocol;
mod spawn;
mod start;
mod sys;

use crate::core::time::{Millis, Mono};
use crate::os::{clock, socket};
use boot::{Booted, Herald};
use conn::Conn;
use hold::Hold;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use protocol::{Command, LogPlan, Notice, PROTOCOL, TreeMode, Welcome, check_version};
use start::Part;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// Descriptors handled in one turn.
const BATCH: usize = 64;

/// How long output is carried before ends and commands are looked at again: where the disk is
/// slow, that is one write.
const OUTPUT_SLICE: Millis = Millis(5);

/// Connections that have not said Hello yet; a stranger's further ones are refused.
const CONNS_MAX: usize = 8;

/// A runner that nobody has connected to goes after this time.
const FIRST_PATIENCE: Millis = Millis::from_secs(15);

/// When everything is to end, last words wait so long for a journal that does not take them.
const PARTING_PATIENCE: Millis = Millis::from_secs(5);

/// From the last will's SIGTERM to its SIGKILL.
const WILL_GRACE: Millis = Millis::from_secs(1);

/// Tokens below it are the loop's own, by [`Part::token`] of keys below [`FIRST_KEY`].
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const HELPER: u64 = 2;
const JOURNAL: u64 = 3;
const NOTIFY: u64 = 4;
const FIRST_CONN: u64 = 5;
const FIRST_KEY: u64 = 1 << 40;

/// Runs a runner until it has nothing to do any more. Returns in the runner's own process only;
/// the calling process ends at once.
pub fn run(options: &boot::Options) -> Result<(), String> {
    boot::detach().map_err(|error| format!("cannot detach: {error}"))?;
    let mut herald = Herald::new();
    let booted = match boot::boot(options) {
        Ok(Some(booted)) => booted,
        Ok(None) => {
            boot::ready(&mut herald);
            return Ok(());
        }
        Err(reason) => {
            boot::fail(&mut herald, &reason);
            return Err(reason);
        }
    };
    let mut runner = match Runner::new(booted) {
        Ok(runner) => runner,
        Err(error) => {
            let reason = format!("cannot make a poller: {error}");
            boot::fail(&mut herald, &reason);
            return Err(reason);
        }
    };
    boot::ready(&mut herald);
    runner.run().map_err(|error| {
        let reason = format!("the poller failed: {error}");
        boot::note(&reason);
        reason
    })
}

/// The loop's own state.
struct Runner {
    epoll: Epoll,
    /// `None`: nobody may connect any more.
    listener: Option<UnixListener>,
    socket: PathBuf,
    _lock: nix::fcntl::Flock<fs::File>,
    signals: Option<SignalFd>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    /// The connection that said Hello last.
    daemon: Option<u64>,
    /// When a runner that was never connected to goes.
    lonely_at: Option<Mono>,
    /// The last will is being carried out; when it comes to SIGKILL.
    will: Option<Mono>,
    shutdown: bool,
    /// When last words are given up.
    parting_at: Option<Mono>,
    hold: Hold,
    /// Where the carrying of output was broken off.
    left_over: Option<u64>,
    buffer: Vec<u8>,
    /// A descriptor to give up when there are no more, so that a connection can be turned away:
    /// left waiting, it would wake the loop for ever.
    spare: Option<fs::File>,
    /// How many starts can be held.
    capacity: u64,
}

impl Runner {
    fn new(booted: Booted) -> io::Result<Runner> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        epoll.add(&booted.listener, readable(LISTENER))?;
        if let Some(socket) = booted.notify.socket() {
            epoll.add(socket, readable(NOTIFY))?;
        }
        let signals = match booted.mode {
            TreeMode::Cgroup { .. } => None,
            TreeMode::ProcessGroups { .. } => Some(hear_of_children(&epoll)?),
        };
        Ok(Runner {
            epoll,
            listener: Some(booted.listener),
            socket: booted.socket,
            _lock: booted.lock,
            signals,
            conns: BTreeMap::new(),
            next_conn: FIRST_CONN,
            daemon: None,
            lonely_at: Some(clock::mono().plus(FIRST_PATIENCE)),
            will: None,
            shutdown: false,
            parting_at: None,
            hold: Hold::new(
                booted.spawner,
                booted.cgroups,
                booted.mode,
                booted.files,
                FIRST_KEY,
                booted.journal,
                booted.notify,
            ),
            left_over: None,
            buffer: vec![0; 64 << 10],
            spare: fs::File::open("/dev/null").ok(),
            capacity: booted.capacity,
        })
    }

    /// The loop.
    fn run(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); BATCH];
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            let ready = events.get(..count).unwrap_or_default();
            // Ends and commands first: no flood of output may delay them.
            for event in ready.iter().filter(|e| !is_output(e.data())) {
                self.handle(event.data(), event.events());
            }
            self.carry_output(ready);
            self.hold.sweep_orphans(&self.epoll);
            self.hold.compress(&self.epoll, HELPER);
            self.hold.await_journal(&self.epoll, JOURNAL);
            self.deadlines();
            self.flush();
            self.hold.tidy(count == 0);
            if self.may_go() && self.leave() {
                return Ok(());
            }
        }
    }

    /// Carries output as long as nothing else may be waiting for it. What is left over is reported
    /// again, and then comes first.
    fn carry_output(&mut self, ready: &[EpollEvent]) {
        self.hold.begin_turn();
        let begun = clock::mono();
        let output = || ready.iter().map(EpollEvent::data).filter(|token| is_output(*token));
        let first = self.left_over.take().and_then(|left| output().position(|token| token == left));
        let first = first.unwrap_or(0);
        for token in output().skip(first).chain(output().take(first)) {
            if clock::mono().since(begun) > OUTPUT_SLICE {
                self.left_over = Some(token);
                return;
            }
            self.hold.ready(&self.epoll, token);
        }
    }

    fn handle(&mut self, token: u64, flags: EpollFlags) {
        match token {
            LISTENER => self.accept(),
            SIGNALS => {
                // What it says is the same each time: some child has ended.
                if let Some(signals) = &self.signals {
                    while let Ok(Some(_)) = signals.read_signal() {}
                }
                self.hold.child_ended();
            }
            JOURNAL => self.hold.journal_ready(&self.epoll),
            HELPER => self.hold.compressed(&self.epoll),
            NOTIFY => self.hold.hear(&self.epoll),
            token if Part::of(token).0 < FIRST_KEY => self.talk(token, flags),
            token => self.hold.ready(&self.epoll, token),
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                if matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) {
                    self.spare = None;
                    drop(listener.accept());
                    self.spare = fs::File::open("/dev/null").ok();
                }
                return;
            }
        };
        // The socket's mode keeps strangers out; root and the owner remain.
        let own = crate::os::user::effective_uid();
        let may = socket::peer(&stream).is_ok_and(|peer| peer.uid == own || peer.uid == 0);
        if !may || self.conns.len() >= CONNS_MAX {
            return;
        }
        let Ok(conn) = Conn::new(stream) else { return };
        let token = self.next_conn;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        if self.epoll.add(&conn.stream, event).is_ok() {
            self.next_conn += 1;
            self.conns.insert(token, conn);
            self.lonely_at = None;
        }
    }

    fn talk(&mut self, token: u64, flags: EpollFlags) {
        let readable = EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        if !flags.intersects(readable) {
            // Room to write; `flush` comes at the end of the turn.
            return;
        }
        let Some(conn) = self.conns.get_mut(&token) else { return };
        let mut alive = conn.fill(&mut self.buffer);
        loop {
            let Some(conn) = self.conns.get_mut(&token) else { return };
            match conn.next() {
                Ok(Some(command)) => self.obey(token, command),
                Ok(None) => break,
                Err(error) => {
                    boot::note(&format!("a connection is ended: {error}"));
                    alive = false;
                    break;
                }
            }
        }
        if !alive {
            self.hang_up(token);
        }
    }

    /// Carries a command out.
    fn obey(&mut self, token: u64, command: Command) {
        match command {
            Command::Hello { protocol } => self.welcome(token, protocol),
            // Only the connection that said Hello last is the daemon's.
            _ if self.daemon != Some(token) => {}
            Command::Spawn(plan) => {
                let wants = plan.log == LogPlan::Inherit;
                let inherited = self.conns.get_mut(&token).filter(|_| wants);
                let inherited = inherited.and_then(Conn::take_output);
                if self.shutdown || self.will.is_some() {
                    self.hold.refuse(&plan);
                } else {
                    if plan.notify {
                        self.adopt();
                    }
                    self.hold.spawn(&self.epoll, *plan, inherited);
                }
            }
            Command::Terminate { id, signal } => self.hold.terminate(id, signal),
            Command::KillTree { id } => self.hold.kill_tree(id),
            Command::Signal { id, signal } => self.hold.signal(id, signal),
            Command::Exec(exec) => {
                let wants = !exec.capture && exec.plan.log == LogPlan::Inherit;
                let inherited = self.conns.get_mut(&token).filter(|_| wants);
                let inherited = inherited.and_then(Conn::take_output);
                self.hold.exec(&self.epoll, *exec, inherited);
            }
            Command::KillExec { number } => self.hold.kill_exec(number),
            Command::Sockets { unit, wanted } => self.hold.want_sockets(&unit, &wanted),
            Command::DropStored(keeper) => self.hold.drop_stored(&self.epoll, &keeper),
            Command::Ack { upto } => self.hold.ack(upto),
            Command::SetLastWill { stop_all } => {
                if let Some(conn) = self.conns.get_mut(&token) {
                    conn.stop_all = stop_all;
                }
            }
            Command::Shutdown => self.shutdown = true,
        }
    }

    /// With cgroups, orphans are nothing to us, unless one may be named the main process of a start:
    /// then its exit status is to be had.
    fn adopt(&mut self) {
        if self.signals.is_some() {
            return;
        }
        let adopted = hear_of_children(&self.epoll).and_then(|signals| {
            nix::sys::prctl::set_child_subreaper(true)?;
            Ok(signals)
        });
        match adopted {
            Ok(signals) => {
                self.signals = Some(signals);
                self.hold.adopts_from_now_on();
            }
            // What is lost is the exit status of such a process.
            Err(error) => boot::note(&format!("cannot adopt orphans: {error}")),
        }
    }

    fn welcome(&mut self, token: u64, protocol: u32) {
        let refused = check_version(protocol).err();
        let pending = if refused.is_none() { self.hold.outbox.rewind() } else { 0 };
        let welcome = Notice::Welcome(Box::new(Welcome {
            protocol: PROTOCOL,
            pid: std::process::id(),
            mode: self.hold.mode().clone(),
            living: self.hold.held(),
            pending,
            capacity: self.capacity,
            listening: self.hold.listening(),
            keepers: self.hold.keepers(),
            features: protocol::feature::ALL.iter().map(|name| (*name).to_owned()).collect(),
        }));
        let Some(conn) = self.conns.get_mut(&token) else { return };
        if let Some(error) = conn.push(&welcome).err().or(refused) {
            boot::note(&format!("a daemon is refused: {error}"));
            // So that it can say why.
            conn.flush(None);
            self.hang_up(token);
            return;
        }
        if let Some(former) = self.daemon.replace(token)
            && former != token
            && let Some(conn) = self.conns.remove(&former)
        {
            let _gone = self.epoll.delete(&conn.stream);
            self.hold.disown_execs();
        }
    }

    fn hang_up(&mut self, token: u64) {
        let Some(conn) = self.conns.remove(&token) else { return };
        let _gone = self.epoll.delete(&conn.stream);
        if self.daemon != Some(token) {
            return;
        }
        self.daemon = None;
        self.hold.outbox.rewind();
        self.hold.disown_execs();
        self.hold.notify.forget_news();
        if conn.stop_all {
            boot::note("the last will: everything is stopped");
            self.stop_listening();
            self.will = Some(clock::mono().plus(WILL_GRACE));
            self.hold.stop_all(false);
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if self.hold.must_sweep() || self.hold.is_untidy() {
            return EpollTimeout::ZERO;
        }
        let Some(at) = [self.lonely_at, self.will, self.parting_at].into_iter().flatten().min()
        else {
            return EpollTimeout::NONE;
        };
        let left = at.since(clock::mono()).0.saturating_add(1);
        EpollTimeout::try_from(left.min(60_000)).unwrap_or(EpollTimeout::ZERO)
    }

    fn deadlines(&mut self) {
        let now = clock::mono();
        if self.lonely_at.is_some_and(|at| at <= now) {
            self.lonely_at = None;
        }
        if self.will.is_some_and(|at| at <= now) {
            // Far away: what it comes to now is that everything is gone.
            self.will = Some(Mono(u64::MAX));
            self.hold.stop_all(true);
        }
    }

    fn flush(&mut self) {
        let warnings = std::mem::take(&mut self.hold.warnings);
        let answers = self.hold.take_answers();
        for warning in &warnings {
            if let Notice::Warning { unit, instance, message, .. } = warning {
                boot::note(&format!("{unit} {instance}: {message}"));
            }
        }
        // Before the ends of this turn: what is wrong with an instance's log is told before it ends.
        if let Some(daemon) = self.daemon.and_then(|token| self.conns.get_mut(&token)) {
            warnings.iter().for_each(|warning| daemon.warn(warning));
        }
        let mut gone = Vec::new();
        self.tell_news();
        for (token, conn) in &mut self.conns {
            let outbox = (self.daemon == Some(*token)).then_some(&mut self.hold.outbox);
            let answered =
                outbox.is_none() || answers.iter().all(|answer| conn.push(answer).is_ok());
            let alive =
                answered && conn.flush(outbox) && wait_for_room(&self.epoll, *token, conn).is_ok();
            if !alive {
                gone.push(*token);
            }
        }
        for token in gone {
            self.hang_up(token);
        }
    }

    /// Tells the daemon what programs have said, once it knows that they run, and if it keeps up.
    fn tell_news(&mut self) {
        let daemon = self.daemon.and_then(|token| self.conns.get_mut(&token));
        let Some(conn) = daemon else { return };
        conn.flush(Some(&mut self.hold.outbox));
        if conn.waiting() > 0 || !self.hold.outbox.is_given() {
            return;
        }
        for news in self.hold.take_news() {
            // One that is too long for a frame is not known to happen.
            let _told = conn.push(&news);
        }
    }

    /// Whether last words have waited long enough for the journal.
    fn parting_is_over(&mut self) -> bool {
        let now = clock::mono();
        *self.parting_at.get_or_insert(now.plus(PARTING_PATIENCE)) <= now
    }

    fn may_go(&mut self) -> bool {
        if !self.hold.is_empty() {
            return false;
        }
        if self.shutdown || self.will.is_some() {
            return !self.hold.has_last_words() || self.parting_is_over();
        }
        if self.hold.has_last_words() {
            return false;
        }
        self.conns.is_empty()
            && self.lonely_at.is_none()
            && self.hold.outbox.is_empty()
            && self.hold.listening().is_empty()
            && self.hold.keepers().is_empty()
    }

    /// Goes, unless somebody has connected at the last moment.
    fn leave(&mut self) -> bool {
        if !self.shutdown && self.will.is_none() {
            self.accept();
            if !self.conns.is_empty() {
                return false;
            }
        }
        self.stop_listening();
        self.hold.clean_up();
        true
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            // First the name, so that who finds the name also finds us.
            let _removed = fs::remove_file(&self.socket);
            let _gone = self.epoll.delete(&listener);
        }
    }
}

/// Has the poller tell when any child has ended.
fn hear_of_children(epoll: &Epoll) -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&set, flags)?;
    epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
    Ok(signals)
}

/// Whether it is a program's output.
fn is_output(token: u64) -> bool {
    match Part::of(token) {
        (key, Part::Output(_)) => key >= FIRST_KEY,
        (_, Part::Main | Part::Named | Part::Cgroup) => false,
    }
}

/// Has the poller tell when there is room to write, as long as something waits for it.
fn wait_for_room(epoll: &Epoll, token: u64, conn: &mut Conn) -> io::Result<()> {
    let wants = conn.waiting() > 0;
    if wants != conn.wants_write {
        let write = if wants { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | write, token);
        epoll.modify(as_fd(conn), &mut event)?;
        conn.wants_write = wants;
    }
    Ok(())
}

fn as_fd(conn: &Conn) -> BorrowedFd<'_> {
    conn.stream.as_fd()
}
