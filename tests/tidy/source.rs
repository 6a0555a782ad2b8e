//! Rust source as the rules of tidy see it: without comments, literals and tests.
//!
//! Responsible for finding paths, macros and functions in the text of a file. Not a parser: it
//! knows as much of the language as the rules need. Must not know any rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file of src/.
pub(crate) struct Source {
    /// Below the project's folder, as `src/core/mod.rs`.
    pub(crate) path: String,
    /// The text as it stands.
    pub(crate) raw: String,
    /// The file is a test module: declared under `#[cfg(test)]`, or below such a one.
    pub(crate) test: bool,
    /// The text with comments, literals and test items blanked; every line keeps its number.
    code: Vec<char>,
    /// The line of each character of it.
    lines: Vec<usize>,
    /// How many lines the test items cover.
    test_lines: usize,
    /// The modules that the file declares under `#[cfg(test)]`.
    test_modules: BTreeSet<Vec<String>>,
}

/// The project that cargo runs the test for; by hand, any other one.
fn root() -> PathBuf {
    let given = std::env::var_os("CARGO_MANIFEST_DIR");
    PathBuf::from(given.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()))
}

/// The text of a file of the project.
#[track_caller]
pub(crate) fn project(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Whether a file or folder of the project is there, by its path below another of its folders.
pub(crate) fn exists(folder: &str, path: &str) -> bool {
    root().join(folder).join(path).exists()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if ![".git", "target", ".wsup"].contains(&name.as_str()) {
                walk(&path, found);
            }
        } else if name != ".git" {
            found.push(path);
        }
    }
    found.sort();
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// All text files of the project, with their contents.
pub(crate) fn all_text() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let read = |path: &PathBuf| Some((relative(path), fs::read_to_string(path).ok()?));
    found.iter().filter_map(read).collect()
}

/// All Rust files of src/.
pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    let rust = found.iter().map(|path| relative(path)).filter(|path| path.ends_with(".rs"));
    let mut all: Vec<Source> = rust.map(|path| Source::new(&path, &project(&path))).collect();
    let tests: BTreeSet<Vec<String>> = all.iter().flat_map(Source::tests_declared).collect();
    for file in &mut all {
        let module = file.module();
        file.test = (1..=module.len()).any(|n| tests.contains(&module[..n]));
    }
    all
}

/// Files of src/ that no chain of `mod` declarations leads to.
pub(crate) fn files_no_module_names() -> Vec<String> {
    let all = sources();
    let mut declared: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in &all {
        declared.extend(file.modules_declared());
    }
    let reached = |file: &&Source| {
        let module = file.module();
        module.is_empty() || (1..=module.len()).all(|n| declared.contains(&module[..n]))
    };
    all.iter().filter(|file| !reached(file)).map(|file| file.path.clone()).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Source {
    /// Reads one file's text.
    pub(crate) fn new(path: &str, raw: &str) -> Source {
        let code = blank_words(raw);
        let mut line = 1;
        let number = |c: &char| {
            let here = line;
            line += usize::from(*c == '\n');
            here
        };
        let mut source = Source {
            path: path.to_owned(),
            raw: raw.to_owned(),
            test: false,
            lines: code.iter().map(number).collect(),
            code,
            test_lines: 0,
            test_modules: BTreeSet::new(),
        };
        source.blank_tests();
        source
    }

    /// Where the file stands in the module tree: `src/core/instance/mod.rs` is core, instance.
    fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// The top-level module that the file belongs to; `lib` and `main` for themselves.
    pub(crate) fn top(&self) -> &str {
        let inner = self.path.trim_start_matches("src/");
        inner.split(['/', '.']).next().unwrap_or_default()
    }

    /// Lines of the file that belong to no test.
    pub(crate) fn lines_without_tests(&self) -> usize {
        self.raw.lines().count() - self.test_lines
    }

    fn line(&self, at: usize) -> usize {
        self.lines[at]
    }

    fn line_text(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.code.split(|c| *c == '\n').enumerate().map(|(n, l)| (n + 1, l.iter().collect()))
    }

    /// Words of the code, each with where it starts.
    fn words(&self) -> Vec<(usize, String)> {
        let mut words = Vec::new();
        let mut at = 0;
        while at < self.code.len() {
            let end = at + self.code[at..].iter().take_while(|c| is_word(**c)).count();
            if end > at {
                words.push((at, self.code[at..end].iter().collect()));
            }
            at = end.max(at + 1);
        }
        words
    }

    fn after(&self, at: usize) -> usize {
        at + self.code[at.min(self.code.len())..].iter().take_while(|c| c.is_whitespace()).count()
    }

    fn starts(&self, at: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(n, c)| self.code.get(at + n) == Some(&c))
    }

    /// The lines on which a word stands.
    pub(crate) fn word(&self, word: &str) -> impl Iterator<Item = usize> + '_ {
        let word = word.to_owned();
        self.words().into_iter().filter(move |(_, w)| *w == word).map(|(at, _)| self.line(at))
    }

    /// The macros that are called, each with its line.
    pub(crate) fn macros(&self) -> Vec<(usize, String)> {
        let called = |(at, word): (usize, String)| {
            let end = at + word.chars().count();
            let call = self.starts(end, "!") && !self.starts(end, "!=");
            call.then(|| (self.line(at), word))
        };
        self.words().into_iter().filter_map(called).collect()
    }

    /// Where a function is called: its line, and its place among the characters of the text.
    pub(crate) fn calls(&self, name: &str) -> Vec<(usize, usize)> {
        let words = self.words();
        let before = std::iter::once("").chain(words.iter().map(|(_, word)| word.as_str()));
        words
            .iter()
            .zip(before)
            .filter(|((at, word), before)| {
                word == name && *before != "fn" && self.starts(at + word.chars().count(), "(")
            })
            .map(|((at, _), _)| (self.line(*at), *at))
            .collect()
    }

    /// The functions: line, name, and lines from `fn` to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(usize, String, usize)> {
        let words = self.words();
        let mut found = Vec::new();
        for pair in words.windows(2) {
            let [(start, keyword), (name_at, name)] = pair else { continue };
            // Not a function's type, `fn(u8) -> u8`.
            if keyword != "fn" || self.after(start + 2) != *name_at {
                continue;
            }
            let Some(open) = self.body(*name_at) else { continue };
            let (first, last) = (self.line(*start), self.line(self.closing(open)));
            found.push((first, name.clone(), last - first + 1));
        }
        found
    }

    /// Where an item's `{` is; none if a `;` ends it before.
    fn body(&self, from: usize) -> Option<usize> {
        let mut depth = 0_i32;
        for (at, c) in self.code.iter().enumerate().skip(from) {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                ';' if depth == 0 => return None,
                '{' if depth == 0 => return Some(at),
                _ => {}
            }
        }
        None
    }

    /// Where the brace that opens here closes.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_i32;
        for (at, c) in self.code.iter().enumerate().skip(open) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.code.len() - 1
    }

    /// Blanks every item under `#[cfg(test)]` and remembers what it was.
    fn blank_tests(&mut self) {
        let mark = "#[cfg(test)]";
        let mut at = 0;
        while at < self.code.len() {
            if !self.starts(at, mark) {
                at += 1;
                continue;
            }
            let open = self.body(at + mark.len());
            let end = match open {
                Some(open) => self.closing(open),
                None => {
                    let rest = &self.code[at..];
                    at + rest.iter().position(|c| *c == ';').unwrap_or(rest.len() - 1)
                }
            };
            let item: String = self.code[at + mark.len()..=end].iter().collect();
            if let (None, Some((_, name))) = (open, item.split_once("mod ")) {
                let module = self.test_module(at, end, name.trim_end_matches(';').trim());
                self.test_modules.insert(module);
            }
            self.test_lines += self.line(end) - self.line(at) + 1;
            for c in self.code[at..=end].iter_mut().filter(|c| **c != '\n') {
                *c = ' ';
            }
            at = end + 1;
        }
    }

    /// Where the test module is that is declared here: below this file, or in the file beside it
    /// that a `path` attribute names.
    fn test_module(&self, from: usize, to: usize, name: &str) -> Vec<String> {
        let raw: String = self.raw.chars().skip(from).take(to - from).collect();
        let file = raw.split_once("#[path = \"").and_then(|(_, rest)| rest.split_once(".rs\"]"));
        let Some((file, _)) = file else { return [self.module(), vec![name.to_owned()]].concat() };
        let folder = self.path.rsplit_once('/').map_or("src", |(folder, _)| folder);
        Source::new(&format!("{folder}/{file}.rs"), "").module()
    }

    fn tests_declared(&self) -> Vec<Vec<String>> {
        self.test_modules.iter().cloned().collect()
    }

    /// The modules that the file declares, for tests too.
    fn modules_declared(&self) -> Vec<Vec<String>> {
        let here = self.modules_here();
        let mut all: Vec<Vec<String>> =
            here.into_iter().map(|name| [self.module(), vec![name]].concat()).collect();
        all.extend(self.tests_declared());
        all
    }

    /// The modules that the file declares and that are no tests.
    pub(crate) fn modules_here(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (_, line) in self.line_text() {
            let line = line.trim().trim_end_matches([';', '{']).trim_end();
            if let Some((before, name)) = line.rsplit_once("mod ")
                && (before.is_empty() || before.starts_with("pub"))
            {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Every path with its line: `use` trees spread out, `super` and `self` made absolute.
    pub(crate) fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.code.len() {
            let word_starts = is_word(self.code[at]) && (at == 0 || !is_word(self.code[at - 1]));
            let after_path = at >= 2 && self.starts(at - 2, "::");
            if word_starts && !after_path {
                at = self.path_from(at, &[], &mut found).max(at + 1);
            } else {
                at += 1;
            }
        }
        found
    }

    /// Reads one path, and below it the branches of a `use` tree. Returns where it ends.
    fn path_from(
        &self,
        mut at: usize,
        before: &[String],
        found: &mut Vec<(usize, Vec<String>)>,
    ) -> usize {
        let line = self.line(at);
        let mut path = before.to_vec();
        loop {
            let end = at + self.code[at..].iter().take_while(|c| is_word(**c)).count();
            path.push(self.code[at..end].iter().collect());
            if !self.starts(end, "::") {
                self.push(line, path, found);
                return end;
            }
            at = end + 2;
            if self.starts(at, "{") {
                let close = self.closing(at);
                at += 1;
                while at < close {
                    let word = is_word(self.code[at]);
                    at = if word { self.path_from(at, &path, found) } else { at + 1 };
                }
                return close + 1;
            }
            if !self.code.get(at).copied().is_some_and(is_word) {
                self.push(line, path, found);
                return at;
            }
        }
    }

    fn push(&self, line: usize, path: Vec<String>, found: &mut Vec<(usize, Vec<String>)>) {
        let here = self.module();
        let ups = path.iter().take_while(|part| *part == "super").count();
        let mut absolute = match path.first().map(String::as_str) {
            Some("super") => {
                let kept = here.len().saturating_sub(ups);
                [vec!["crate".to_owned()], here[..kept].to_vec(), path[ups..].to_vec()].concat()
            }
            Some("self") => [vec!["crate".to_owned()], here, path[1..].to_vec()].concat(),
            _ => path,
        };
        if absolute.last().is_some_and(|last| last == "self") {
            absolute.pop();
        }
        found.push((line, absolute));
    }
}

/// The text with comments and the insides of literals blanked.
fn blank_words(raw: &str) -> Vec<char> {
    let text: Vec<char> = raw.chars().collect();
    let mut out = text.clone();
    let mut at = 0;
    while at < text.len() {
        let end = word_end(&text, at);
        if end == at {
            at += 1;
            continue;
        }
        for c in out[at..end].iter_mut().filter(|c| **c != '\n') {
            *c = ' ';
        }
        at = end;
    }
    out
}

/// Where the comment or literal that starts here ends; here, if none does.
fn word_end(text: &[char], at: usize) -> usize {
    let next = |n: usize| text.get(at + n).copied().unwrap_or(' ');
    let until = |from: usize, end: &[char]| {
        let found = text[from.min(text.len())..].windows(end.len()).position(|w| w == end);
        found.map_or(text.len(), |n| from + n + end.len())
    };
    match (text[at], next(1)) {
        ('/', '/') => text[at..].iter().position(|c| *c == '\n').map_or(text.len(), |n| at + n),
        ('/', '*') => comment_end(text, at),
        ('"', _) => string_end(text, at),
        ('r', '"' | '#') if at == 0 || !is_word(text[at - 1]) || text[at - 1] == 'b' => {
            let hashes = text[at + 1..].iter().take_while(|c| **c == '#').count();
            let quote = at + 1 + hashes;
            if text.get(quote) != Some(&'"') {
                return at;
            }
            until(quote + 1, &[&['"'][..], &vec!['#'; hashes]].concat())
        }
        // A character, not a lifetime.
        ('\'', '\\') => until(at + 3, &['\'']),
        ('\'', _) if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn comment_end(text: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn string_end(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}
