//! "Did you mean ...?": which of the words that exist is nearest to one that does not.
//!
//! Responsible for the measure of nearness and for other tools' names of the same thing.

/// Words are near from this Jaro-Winkler similarity on; below it suggestions mislead.
const NEAR: f64 = 0.82;

/// The nearest of `words`, if one is near enough.
pub fn near<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    words
        .map(|word| (word, similarity(&text, &word.to_ascii_lowercase())))
        .filter(|(_, similarity)| *similarity >= NEAR)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(word, _)| word)
}

/// Between 0 and 1. One slip of the fingers is near in words of any length but one.
fn similarity(text: &str, word: &str) -> f64 {
    let slips = strsim::osa_distance(text, word);
    let short = text.len() > 1 && word.len() > 1 && slips <= 1;
    let measure = strsim::jaro_winkler(text, word);
    if short { measure.max(NEAR) } else { measure }
}

/// A key as this project spells keys: snake_case and without Kubernetes' suffix "Seconds".
pub fn in_our_spelling(key: &str) -> String {
    let mut snake = String::new();
    let mut previous_lower = false;
    for c in key.chars() {
        if c.is_ascii_uppercase() && previous_lower {
            snake.push('_');
        }
        previous_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    let bare = snake.strip_suffix("_seconds").unwrap_or(&snake);
    let bare = bare.strip_suffix("_s").filter(|bare| bare.len() > 3).unwrap_or(bare);
    bare.to_owned()
}

/// Other tools' names for keys of ours, as full paths: Kubernetes, systemd, supervisord, compose.
const FOREIGN: [(&str, &str); 36] = [
    ("active_deadline", "job.active_deadline"),
    ("autorestart", "restart.policy"),
    ("cmd", "process.command"),
    ("cpu_limit", "resources.cpu"),
    ("cpu_quota", "resources.cpu"),
    ("cwd", "process.working_dir"),
    ("directory", "process.working_dir"),
    ("environment", "process.env"),
    ("environment_file", "process.env_file"),
    ("exec_reload", "lifecycle.reload"),
    ("exec_start", "process.command"),
    ("exec_start_pre", "init"),
    ("failed_jobs_history_limit", "cron.failed_history_limit"),
    ("gid", "process.group"),
    ("grace_period", "process.termination_grace_period"),
    ("healthcheck", "probes.liveness"),
    ("init_containers", "init"),
    ("kill_signal", "process.stop_signal"),
    ("limit_nofile", "process.limits"),
    ("liveness_probe", "probes.liveness"),
    ("memory_limit", "resources.memory"),
    ("memory_max", "resources.memory"),
    ("numprocs", "replicas"),
    ("oom_score_adjust", "process.oom_score_adj"),
    ("pod_management_policy", "statefulset.management_policy"),
    ("readiness_probe", "probes.readiness"),
    ("restart_policy", "restart.policy"),
    ("startup_probe", "probes.startup"),
    ("stopsignal", "process.stop_signal"),
    ("stopwaitsecs", "process.termination_grace_period"),
    ("successful_jobs_history_limit", "cron.successful_history_limit"),
    ("timeout_stop_sec", "process.termination_grace_period"),
    ("timezone", "cron.time_zone"),
    ("ttl_after_finish", "job.ttl_after_finished"),
    ("uid", "process.user"),
    ("update_strategy", "rollout.strategy"),
];

/// The path of our key for what another tool calls so.
pub fn foreign(key: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(name, _)| *name == key).map(|(_, path)| *path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_spelling_becomes_ours() {
        for (theirs, ours) in [
            ("minReadySeconds", "min_ready"),
            ("revisionHistoryLimit", "revision_history_limit"),
            ("max-surge", "max_surge"),
            ("ExecStart", "exec_start"),
            ("replicas", "replicas"),
        ] {
            assert_eq!(in_our_spelling(theirs), ours);
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(near("replcias", ["replicas", "restart"].into_iter()), Some("replicas"));
        assert_eq!(near("banana", ["replicas", "restart"].into_iter()), None);
    }
}
