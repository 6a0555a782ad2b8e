//! The loop's one timer, and the notice that somebody has set the clock.
//!
//! Responsible for two timerfds. tokio's own timers stand still while the machine sleeps, and do
//! not notice that the wall clock was stepped.

use super::async_fd::{Source, register};
use crate::core::time::Mono;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::future::pending;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Wakes at an instant of `CLOCK_BOOTTIME`, also if the machine slept over it.
#[derive(Debug)]
pub struct Deadline {
    timer: AsyncFd<Source<TimerFd>>,
    armed: Option<Mono>,
}

impl Deadline {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// As timerfd_create(2).
    pub fn new() -> io::Result<Deadline> {
        Ok(Deadline { timer: timerfd(ClockId::CLOCK_BOOTTIME)?, armed: None })
    }

    /// Arms the timer, or lets it rest. An instant that is past fires at once.
    ///
    /// # Errors
    /// As timerfd_settime(2).
    pub fn set(&mut self, at: Option<Mono>) -> io::Result<()> {
        if at == self.armed {
            return Ok(());
        }
        match at {
            // Zero would disarm it.
            Some(at) => self.timer.get_ref().0.set(
                Expiration::OneShot(TimeSpec::milliseconds(millis(at.0.max(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
            None => self.timer.get_ref().0.unset()?,
        }
        self.armed = at;
        Ok(())
    }

    /// Waits for the armed instant; for ever if there is none.
    ///
    /// # Errors
    /// As read(2); none is expected.
    pub async fn fired(&mut self) -> io::Result<()> {
        if self.armed.is_none() {
            return pending().await;
        }
        self.timer.async_io(Interest::READABLE, |timer| timer.0.wait().map_err(Into::into)).await?;
        self.armed = None;
        Ok(())
    }
}

/// Wakes when the wall clock is stepped (settimeofday, a jump by NTP; not slewing).
#[derive(Debug)]
pub struct ClockSteps(AsyncFd<Source<TimerFd>>);

impl ClockSteps {
    /// Begins to watch the clock.
    ///
    /// # Errors
    /// As timerfd_create(2).
    pub fn new() -> io::Result<ClockSteps> {
        let steps = ClockSteps(timerfd(ClockId::CLOCK_REALTIME)?);
        steps.arm()?;
        Ok(steps)
    }

    /// Armed for an instant that does not come, with the flag that makes the kernel cancel it
    /// when the clock is set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
    fn arm(&self) -> io::Result<()> {
        let never = TimeSpec::seconds(i64::MAX / 4_000_000_000);
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Ok(self.0.get_ref().0.set(Expiration::OneShot(never), flags)?)
    }

    /// Waits for the next step. (nix takes the ECANCELED by which read(2) tells of it for an end.)
    ///
    /// # Errors
    /// As read(2); none is expected.
    pub async fn stepped(&self) -> io::Result<()> {
        let read = |timer: &Source<TimerFd>| timer.0.wait().map_err(io::Error::from);
        self.0.async_io(Interest::READABLE, read).await?;
        self.arm()
    }
}

fn timerfd(clock: ClockId) -> io::Result<AsyncFd<Source<TimerFd>>> {
    register(TimerFd::new(clock, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?)
}

fn millis(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::Millis;
    use crate::os::clock;

    #[tokio::test]
    async fn it_fires_at_its_instant_and_not_before() {
        let mut deadline = Deadline::new().unwrap();
        let at = clock::mono().plus(Millis(30));
        deadline.set(Some(at)).unwrap();
        deadline.fired().await.unwrap();
        assert!(clock::mono() >= at);
        deadline.set(Some(Mono(0))).unwrap();
        deadline.fired().await.unwrap();
    }

    #[tokio::test]
    async fn a_timer_at_rest_and_an_untouched_clock_do_not_fire() {
        let mut deadline = Deadline::new().unwrap();
        deadline.set(Some(clock::mono())).unwrap();
        deadline.set(None).unwrap();
        let steps = ClockSteps::new().unwrap();
        tokio::select! {
            _ = deadline.fired() => panic!("it was disarmed"),
            _ = steps.stepped() => panic!("nobody has set the clock"),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    }
}
