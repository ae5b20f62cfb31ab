//! Processes to be killed, and the directory that they share.
#![allow(unreachable_pub)] // a part of one test program

use std::fs::{DirBuilder, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::Instant;
use std::{fs, thread};

use crate::languages::{command, compile};
use crate::server::Server;
use crate::temp::TempDir;
use crate::{LIMIT, PAUSE};

/// What a budget of these tests has, so many that none is ever spent.
const BUDGET: i64 = 10_000;

/// A store's directory, and what a process must be told to use it.
pub struct Place {
    root: TempDir,
    pub options: Vec<(String, String)>,
}

/// What is in the directory; `None`: there is none.
pub type Files = Option<Vec<(String, Vec<u8>)>>;

impl Place {
    pub fn new(server: &Server, quota: bool) -> Place {
        let root = TempDir::new();
        let quota = if quota { format!("{BUDGET}/month") } else { "none".to_owned() };
        let store = format!("file:{}", root.join("store"));
        let options = [
            ("provider", "calenso"),
            ("client_id", "victim"),
            ("client_secret", "canary-secret-of-victims-Qw7rT2"),
            ("token_url", &server.url()),
            ("store", &store),
            ("quota", &quota),
            ("timeout_ms", "120000"),
        ];
        Place { root, options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec() }
    }

    pub fn with(&self, name: &str, value: &str) -> Vec<(String, String)> {
        let mut options = self.options.clone();
        options.retain(|(known, _)| known != name);
        options.push((name.to_owned(), value.to_owned()));
        options
    }

    /// Its mention in a trace means that the store is being used.
    pub fn store(&self) -> String {
        self.root.join("store")
    }

    /// The files that are locked while a document is changed.
    pub fn locks(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.store()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "lock")).collect()
    }

    pub fn files(&self) -> Files {
        let entries = fs::read_dir(self.store()).ok()?;
        let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        Some(entries.map(|entry| read(entry.unwrap())).collect())
    }

    /// Puts these files there and no others.
    pub fn put(&self, files: &Files) {
        if let Err(error) = fs::remove_dir_all(self.store()) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
        let Some(files) = files else { return };
        DirBuilder::new().mode(0o700).create(self.store()).unwrap();
        for (name, content) in files {
            let path = self.root.join(&format!("store/{name}"));
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// Nothing lies there but what belongs there, for nobody else to see.
    pub fn check(&self) {
        for entry in fs::read_dir(self.root.join("")).unwrap().chain(fs::read_dir(self.store()).into_iter().flatten()) {
            let entry = entry.unwrap();
            let (name, found) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
            let is_document = || {
                let (document, _) = name.split_once('.').unwrap_or((&name, ""));
                let suffix = &name[document.len()..];
                let (kind, hash) = document.split_once('-').unwrap_or_default();
                ["token", "credential", "ledger"].contains(&kind)
                    && hash.len() == 64
                    && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                    && ["", ".lock", ".turn", ".tmp", ".aside"].contains(&suffix)
            };
            match found.is_dir() {
                true => assert!(name == "store" && found.mode() & 0o777 == 0o700, "{name}: {found:?}"),
                false => {
                    assert!(name == "probe.tmp" || is_document(), "a strange file: {name}");
                    assert!(found.is_file() && found.mode() & 0o777 == 0o600, "{name}: {found:?}");
                }
            }
        }
    }

    /// A process that is left alone, and must do well.
    pub fn run(&self, acts: &[&str]) -> Story {
        let story = Story::of(start(&self.options, acts));
        assert!(story.status.success() && story.errors().is_empty(), "{acts:?}: {story:?}");
        story
    }

    /// How many requests the ledger counts.
    pub fn spent(&self) -> usize {
        spent(&self.run(&["budget"]))
    }
}

/// How many requests the ledger counted, as the last act of a process said.
pub fn spent(story: &Story) -> usize {
    let left: i64 = story.lines.last().and_then(|line| line.strip_prefix("budget ")).unwrap().parse().unwrap();
    if left < 0 { 0 } else { usize::try_from(BUDGET - left).unwrap() }
}

/// What a process told, and how it ended.
#[derive(Debug)]
pub struct Story {
    pub lines: Vec<String>,
    pub status: ExitStatus,
}

impl Story {
    pub fn of(child: Child) -> Story {
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        let text = String::from_utf8(stdout).unwrap();
        // Of a line without an end its process did not live to tell the rest.
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Story { lines: lines.map(str::to_owned).collect(), status }
    }

    pub fn tokens(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix("token ")).collect()
    }

    /// The one token that it told of.
    pub fn token(&self) -> &str {
        match self.tokens()[..] {
            [token] => token,
            _ => panic!("not one token: {self:?}"),
        }
    }

    pub fn errors(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix("error ")).collect()
    }
}

pub fn victim() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("tests/crashes/victim.c"))
}

pub fn spawn(command: &mut Command) -> Child {
    let name = command.get_program().to_owned();
    let child = command.stdout(Stdio::piped()).spawn();
    child.unwrap_or_else(|e| panic!("{name:?} cannot be run: {e}; install {name:?} (Debian: apt-get install strace)"))
}

pub fn start(options: &[(String, String)], acts: &[&str]) -> Child {
    spawn(command(victim(), options).args(acts).stdin(Stdio::null()))
}

/// The next line that it tells.
pub fn line(from: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Until it is so; the condition is asked again and again.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "in all this time not: {what}");
        thread::sleep(PAUSE);
    }
}

/// How often the process has slept of its own accord, which it does on its way only when it waits for another.
pub fn sleeps(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.map_or(0, |count| count.trim().parse().unwrap())
}
