//! Work on files that may take long, done beside the loop and in order, by one thread.

use std::sync::mpsc;
use std::thread;

/// Where such work is handed in. The thread sleeps while there is none, and ends with the last of
/// these.
#[derive(Clone, Debug)]
pub struct Aside(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Aside {
    /// Starts the thread.
    ///
    /// # Errors
    /// As pthread_create(3).
    pub fn new() -> std::io::Result<Aside> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("aside".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(Aside(jobs))
    }

    /// Hands work in.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        if self.0.send(Box::new(job)).is_err() {
            tracing::error!("the thread for work on files is gone; restart the daemon");
        }
    }
}
