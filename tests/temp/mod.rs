//! A file for one test, gone when the test ends, however it ends.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Makes something new. A test that was killed may have left what has the name that this process is to use.
fn make(how: impl Fn(&Path) -> io::Result<()>) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let name = format!("tokauth-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        match how(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path).unwrap(),
        }
    }
}

pub struct TempFile(PathBuf);

impl TempFile {
    pub fn new(content: impl AsRef<[u8]>) -> TempFile {
        let file = TempFile(make(|path| File::create_new(path).map(drop)));
        file.write(content);
        file
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub fn write(&self, content: impl AsRef<[u8]>) {
        std::fs::write(&self.0, content).unwrap();
    }

    pub fn remove(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // the test may have removed it
    }
}

/// A directory, with all that is in it.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        TempDir(make(|path| std::fs::create_dir(path)))
    }

    /// The path of something in it.
    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
