//! What systemd is told of the daemon, where it was started by it (sd_notify(3)). Without
//! NOTIFY_SOCKET all of this does nothing.

use sd_notify::NotifyState;

/// The daemon serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// The unit files are being read anew on SIGHUP; to be followed by [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // systemd wants both in one message (Type=notify-reload).
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Whether systemd wants to be told anything.
pub fn listens() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Everything is being stopped. How long that takes is up to the units' grace periods; the service
/// file gives enough time.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping everything")]);
}

/// A sign of life.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot tell systemd: {error}");
    }
}
