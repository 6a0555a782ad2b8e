//! `[sandbox]`: what a program is kept from, and what is said where it cannot be.

use crate::rig::{Rig, each_mode, each_owner, is_root, sh};
use std::fs;
use wsup::core::event::Exit;
use wsup::runner::protocol::{Bytes, Credentials, SandboxPlan, SpawnPlan};

fn boxed(rig: &mut Rig, script: &str, sandbox: SandboxPlan) -> SpawnPlan {
    let mut plan = rig.plan(sh(script));
    plan.sandbox = Some(Box::new(sandbox));
    plan
}

/// Runs a script in a sandbox to its end, and gives what it wrote.
fn run(rig: &mut Rig, script: &str, sandbox: SandboxPlan) -> String {
    let plan = boxed(rig, script, sandbox);
    let id = rig.start(plan);
    let exit = rig.exit_of(id);
    assert_eq!(exit, Exit::Code(0), "{script}: {}", rig.new_log());
    rig.new_log()
}

fn paths(list: &[&std::path::Path]) -> Vec<Bytes> {
    list.iter().map(|path| Bytes::from(*path)).collect()
}

#[test]
fn no_program_gets_new_rights() {
    each_owner(|rig| {
        let script = "grep NoNewPrivs /proc/self/status";
        let wanted = SandboxPlan { no_new_privileges: true, ..SandboxPlan::default() };
        assert_eq!(run(rig, script, wanted), "NoNewPrivs:\t1\n");
        let id = rig.spawn(sh(script));
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.new_log(), "NoNewPrivs:\t0\n", "the runner itself has not given them up");
    });
}

#[test]
fn capabilities_are_those_that_are_named() {
    each_mode(|rig| {
        if !is_root() {
            eprintln!("skipped: only root has capabilities to give");
            return;
        }
        let script = "grep -E 'CapBnd|CapEff|CapAmb' /proc/self/status | cut -f2 | tr '\\n' ' '";
        let some = SandboxPlan {
            capabilities: Some(vec!["CAP_NET_BIND_SERVICE".into(), "CAP_KILL".into()]),
            ..SandboxPlan::default()
        };
        let bits = "0000000000000420";
        let none = "0000000000000000";
        assert_eq!(run(rig, script, some.clone()), format!("{bits} {bits} {none} "));
        let mut plan = boxed(rig, script, some);
        plan.credentials = Some(Credentials { uid: 12345, gid: 12345, groups: vec![] });
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.new_log(), format!("{bits} {bits} {bits} "), "ambient for another user");
        let nothing = SandboxPlan { capabilities: Some(vec![]), ..SandboxPlan::default() };
        assert_eq!(run(rig, script, nothing.clone()), format!("{none} {none} {none} "));
        let mut plan = boxed(rig, script, nothing);
        plan.credentials = Some(Credentials { uid: 12345, gid: 12345, groups: vec![] });
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0));
        assert_eq!(rig.new_log(), format!("{none} {none} {none} "));
    });
}

/// Three folders in each other: all is read-only, but `w` in it is not, but `w/r` in that is.
#[test]
fn the_deepest_path_decides_whether_it_can_be_written() {
    each_owner(|rig| {
        let base = rig.dir().canonicalize().unwrap();
        for below in ["w", "w/r"] {
            let _there = fs::create_dir(base.join(below));
            fs::set_permissions(
                base.join(below),
                std::os::unix::fs::PermissionsExt::from_mode(0o777),
            )
            .unwrap();
        }
        let script = "for f in f w/f w/r/f; do (echo x > $f) 2> /dev/null && echo $f; done; \
                      echo x > /dev/null && echo null; touch w/g && mv w/g w/h && rm w/h && echo moved";
        let (root, w, r) = (std::path::Path::new("/"), base.join("w"), base.join("w/r"));
        let all = SandboxPlan { read_only: paths(&[root]), ..SandboxPlan::default() };
        let (none, _) = (run(rig, "(echo x > w/f) 2> /dev/null || echo refused", all.clone()), ());
        assert_eq!(none, "refused\n");
        let but_w = SandboxPlan { read_write: paths(&[&w]), ..all.clone() };
        assert_eq!(run(rig, script, but_w), "w/f\nw/r/f\nnull\nmoved\n");
        let not_r = SandboxPlan {
            read_only: paths(&[&r, root]),
            read_write: paths(&[&w]),
            ..SandboxPlan::default()
        };
        assert_eq!(run(rig, script, not_r), "w/f\nnull\nmoved\n");
        let only_r = SandboxPlan { read_only: paths(&[&r]), ..SandboxPlan::default() };
        assert_eq!(run(rig, script, only_r), "f\nw/f\nnull\nmoved\n");
        // Outside nothing has changed.
        fs::write(r.join("outside"), "x").unwrap();
    });
}

#[test]
fn a_tmp_of_its_own_is_empty_and_nobody_elses() {
    each_owner(|rig| {
        let name = rig.dir().file_name().unwrap().to_string_lossy().into_owned();
        let script = format!(
            "ls -A /tmp | wc -l; echo x > /tmp/{name}.mine && cat /tmp/{name}.mine; id -u; \
             stat -c %a /tmp; ls /proc/self/fd | tr '\\n' ' '"
        );
        let wanted = SandboxPlan { private_tmp: true, ..SandboxPlan::default() };
        let mut plan = boxed(rig, &script, wanted.clone());
        // Its folder is in /tmp itself.
        plan.cwd = "/".into();
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0), "{}", rig.new_log());
        let log = rig.new_log();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("0", "x", "1777"), "{log}");
        assert_eq!(lines[2], rig.uid().to_string(), "it is who it was");
        assert_eq!(lines[4], "0 1 2 3 ", "no descriptor is left open");
        assert!(!std::env::temp_dir().join(format!("{name}.mine")).exists());
        // A working directory in the machine's own /tmp is not there any more, and that is said.
        let text = {
            let plan = boxed(rig, "exit 0", wanted);
            rig.failure(plan)
        };
        assert!(text.starts_with("cannot enter working directory"), "{text}");
    });
}

#[test]
fn a_network_of_its_own_has_a_loopback_and_nothing_else() {
    each_owner(|rig| {
        let script = "sed 1,2d /proc/net/dev | cut -d: -f1 | tr -d ' '; \
                      grep -c '127.0.0.1$' /proc/net/fib_trie; ls /proc/self/fd | tr '\\n' ' '";
        let wanted = SandboxPlan { private_network: true, ..SandboxPlan::default() };
        let log = run(rig, script, wanted);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[0], "lo");
        assert_ne!(lines[1], "0", "it is up");
        assert_eq!(lines[2], "0 1 2 3 ");
    });
}

#[test]
fn everything_at_once() {
    each_owner(|rig| {
        let base = rig.dir().canonicalize().unwrap();
        let w = base.join("all");
        let _there = fs::create_dir(&w);
        fs::set_permissions(&w, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let wanted = SandboxPlan {
            no_new_privileges: true,
            capabilities: Some(Vec::new()),
            read_only: paths(&[std::path::Path::new("/")]),
            read_write: Vec::new(),
            private_tmp: true,
            private_network: true,
        };
        let mut plan = boxed(
            rig,
            "(echo x > /etc/wsup-test) 2> /dev/null || echo refused; echo x > /tmp/f && echo tmp; \
             sed 1,2d /proc/net/dev | wc -l; grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status; \
             sh -c 'trap \"\" TERM; sleep 1000' & exit 0",
            wanted,
        );
        plan.cwd = "/".into();
        let id = rig.start(plan);
        assert_eq!(rig.exit_of(id), Exit::Code(0), "{}", rig.new_log());
        assert_eq!(
            rig.new_log(),
            "refused\ntmp\n1\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
             NoNewPrivs:\t1\n"
        );
        assert!(rig.no_child_left());
    });
}

#[test]
fn what_cannot_be_done_says_which_step_and_why() {
    each_mode(|rig| {
        let missing = SandboxPlan { read_only: vec!["/no/such".into()], ..SandboxPlan::default() };
        let plan = boxed(rig, "exit 0", missing);
        assert_eq!(
            rig.failure(plan),
            "cannot start a: sandbox: read_only `/no/such`: ENOENT (No such file or directory)"
        );
        let odd =
            SandboxPlan { capabilities: Some(vec!["CAP_SIT".into()]), ..SandboxPlan::default() };
        let plan = boxed(rig, "exit 0", odd);
        assert!(rig.failure(plan).contains("sandbox: capabilities: there is no capability"));
        assert!(rig.no_child_left());
    });
    if !is_root() {
        return;
    }
    // Root as in a container that has not got the right to mount.
    for with_cgroup in [false, true] {
        let switch = "setpriv --bounding-set=-sys_admin,-net_bind_service --inh-caps=-sys_admin";
        let mut rig = match Rig::wrapped(switch, 0, with_cgroup) {
            Ok(rig) => rig,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                continue;
            }
        };
        for (wanted, step) in [
            (
                SandboxPlan { private_tmp: true, ..SandboxPlan::default() },
                "mount namespace: unshare: EPERM (Operation not permitted) (the daemon lacks \
                 CAP_SYS_ADMIN, as in a container)",
            ),
            (
                SandboxPlan { private_network: true, ..SandboxPlan::default() },
                "private_network: unshare: EPERM (Operation not permitted) (the daemon lacks \
                 CAP_SYS_ADMIN, as in a container)",
            ),
        ] {
            let plan = boxed(&mut rig, "echo no", wanted);
            assert_eq!(rig.failure(plan), format!("cannot start a: sandbox: {step}"));
        }
        let bind = SandboxPlan {
            capabilities: Some(vec!["CAP_NET_BIND_SERVICE".into()]),
            ..SandboxPlan::default()
        };
        let mut plan = boxed(&mut rig, "echo no", bind);
        plan.credentials = Some(Credentials { uid: 12345, gid: 12345, groups: vec![] });
        assert_eq!(
            rig.failure(plan),
            "cannot start a: sandbox: capabilities: capset: EPERM (Operation not permitted) (the \
             daemon itself lacks one of them)"
        );
        assert_eq!(rig.log("a"), "");
        assert!(rig.no_child_left());
    }
}

#[test]
fn a_user_cannot_give_capabilities_away() {
    if !is_root() {
        eprintln!("skipped: becomes a user without rights, for which it takes root");
        return;
    }
    each_owner(|rig| {
        if rig.uid() == 0 {
            return;
        }
        let wanted =
            SandboxPlan { capabilities: Some(vec!["CAP_KILL".into()]), ..SandboxPlan::default() };
        let plan = boxed(rig, "exit 0", wanted);
        assert_eq!(
            rig.failure(plan),
            "cannot start a: sandbox: capabilities: only root can give any (write [] to have none)"
        );
    });
}
