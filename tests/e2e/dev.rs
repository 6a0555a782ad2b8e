//! `wsup dev` in a project of its own.

use super::support::{self, DEADLINE, lives, processes_of, signal};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const GLANCE: Duration = Duration::from_millis(20);

struct Dev {
    dir: tempfile::TempDir,
    child: Child,
}

impl Dev {
    fn start(files: &[(&str, &str)], words: &[&str]) -> Dev {
        let dir = tempfile::Builder::new().prefix("wsup-dev-").tempdir().expect("a folder");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("@DIR@", dir.path().to_str().unwrap())).unwrap();
        }
        let child = Dev::launch(dir.path(), words);
        Dev { dir, child }
    }

    fn launch(dir: &std::path::Path, words: &[&str]) -> Child {
        support::wsup()
            .arg("dev")
            .args(words)
            .current_dir(dir)
            // So that the runner is found, by its folder, when the test ends.
            .env("WSUP_TEST_DIR", dir)
            .stdin(Stdio::null())
            .stdout(File::options().create(true).append(true).open(dir.join("out")).unwrap())
            .stderr(File::options().create(true).append(true).open(dir.join("err")).unwrap())
            .spawn()
            .expect("dev starts")
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn out(&self) -> String {
        fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.out().contains(text) {
            let err = fs::read_to_string(self.path("err")).unwrap_or_default();
            assert!(Instant::now() < end, "{text:?} does not appear in\n{}\n{err}", self.out());
            std::thread::sleep(GLANCE);
        }
    }

    #[track_caller]
    fn end(&mut self) -> i32 {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "it does not end\n{}", self.out());
            std::thread::sleep(GLANCE);
        }
    }

    fn interrupt(&self) {
        signal(self.child.id(), "INT");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        support::end_all(self.dir.path());
    }
}

const WEB: &str = r#"
kind = "deployment"
[process]
command = ["sh", "-c", "echo in $(pwd); echo no end | tr -d '\n'; exec sleep 1000"]
"#;
const HELLO: &str = "kind = \"job\"\n[process]\ncommand = [\"echo\", \"hello from a job\"]\n";
const BROKEN: &str = "kind = \"job\"\n[process]\ncommand = [\"false\"]\n[job]\nbackoff_limit = 0\n";

#[test]
fn output_is_prefixed_and_ctrl_c_ends_everything_in_order() {
    let files = [("units/web.toml", WEB), ("units/hello.toml", HELLO)];
    let mut dev = Dev::start(&files, &[]);
    dev.wait_for("| hello from a job");
    dev.wait_for("| * complete");
    let place = dev.path("").canonicalize().unwrap();
    dev.wait_for(&format!("| in {}", place.display().to_string().trim_end_matches('/')));
    assert!(!dev.out().contains('\u{1b}'), "no colours where there is no terminal");
    let hello = dev.out().lines().find(|line| line.contains("hello from")).unwrap().to_owned();
    assert!(hello.starts_with("hello-"), "{hello}");
    dev.interrupt();
    assert_eq!(dev.end(), 0, "{}", dev.out());
    assert!(dev.out().contains("| no end\n"), "the last line is shown without its end");
    assert!(processes_of(dev.dir.path()).is_empty(), "nothing is left");
}

#[test]
fn a_failed_job_shows_in_the_exit_code() {
    let mut dev = Dev::start(&[("units/broken.toml", BROKEN), ("units/web.toml", WEB)], &[]);
    dev.wait_for("ended with exit code 1");
    dev.wait_for("in ");
    dev.interrupt();
    assert_eq!(dev.end(), 1);
    assert!(fs::read_to_string(dev.path("err")).unwrap().contains("job/broken failed"));
}

#[test]
fn a_second_ctrl_c_kills_at_once() {
    let stubborn = "kind = \"deployment\"\n[process]\ncommand = [\"sh\", \"-c\", \
                    \"trap '' TERM; echo up; while :; do sleep 1; done\"]\n";
    let mut dev = Dev::start(&[("units/stubborn.toml", stubborn)], &[]);
    dev.wait_for("| up");
    dev.interrupt();
    dev.wait_for("stopping everything");
    let begin = Instant::now();
    dev.interrupt();
    dev.end();
    assert!(begin.elapsed() < Duration::from_secs(10), "well before the grace period of 30 s");
    assert!(processes_of(dev.dir.path()).is_empty());
}

#[test]
fn a_procfile_works_and_only_chooses() {
    let procfile =
        "web: echo web on $PORT; exec sleep 1000\nworker: echo worker; exec sleep 1000\n";
    let mut dev = Dev::start(&[("Procfile", procfile)], &["--only", "web"]);
    dev.wait_for("| web on 5000");
    dev.interrupt();
    assert_eq!(dev.end(), 0);
    assert!(!dev.out().contains("| worker"));
}

#[test]
fn a_second_dev_in_one_project_is_refused() {
    let dev = Dev::start(&[("units/web.toml", WEB)], &[]);
    dev.wait_for("| in ");
    let mut second = Dev::launch(dev.dir.path(), &[]);
    assert_eq!(second.wait().unwrap().code(), Some(1));
    let err = fs::read_to_string(dev.path("err")).unwrap();
    assert!(err.contains(&format!("process {}", dev.child.id())), "{err}");
}

#[test]
fn a_killed_dev_leaves_nothing_after_two_seconds() {
    let stubborn = "kind = \"deployment\"\n[process]\ncommand = [\"sh\", \"-c\", \
                    \"trap '' TERM; setsid sleep 1000 & echo up; while :; do sleep 1; done\"]\n";
    let mut dev = Dev::start(&[("units/stubborn.toml", stubborn)], &[]);
    dev.wait_for("| up");
    let before = processes_of(dev.dir.path());
    assert!(before.len() >= 3, "dev, runner, the instance: {before:?}");
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    let begin = Instant::now();
    while before.iter().any(|pid| lives(*pid)) {
        assert!(begin.elapsed() < Duration::from_secs(10), "still there");
        std::thread::sleep(GLANCE);
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn a_saved_file_is_applied() {
    let mut dev = Dev::start(&[("units/web.toml", WEB)], &[]);
    dev.wait_for("| in ");
    fs::write(dev.path("units/more.toml"), HELLO.replace("hello from", "late hello from")).unwrap();
    dev.wait_for("| late hello from a job");
    dev.interrupt();
    assert_eq!(dev.end(), 0);
}
