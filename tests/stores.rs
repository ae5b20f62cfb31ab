//! Stores keep documents as the port says, and files withstand what disks, people and other users do. The numbers are
//! those of the fault catalogue (B, F).
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod conformance;
mod signal;
mod temp;
mod world;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, ErrorKind as Io, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::{assert_late, at_once, change, conforms, enough, name, put, reads_while_it_changes, within};
use rustix::process::{Signal, Uid, geteuid};
use temp::TempDir;
use tokauth::seams::{Change, Clock, DOCUMENT_MAX, Deadline, FileStore, Memory, Name, Store, Turn};
use tokauth::{Client, Error, ErrorKind};
use world::{S, SECRET, World, oauth2};

#[test]
fn memory_is_a_store() {
    let memory = Memory::default();
    conforms(&|| Arc::new(memory.clone()));
}

#[test]
fn a_directory_is_a_store() {
    let place = Place::new();
    conforms(&|| Arc::new(place.store()));
}

/// A directory for a store, not made yet, in one of the test's own.
struct Place {
    above: TempDir,
    path: String,
}

impl Place {
    fn new() -> Place {
        let above = TempDir::new();
        let path = above.join("store");
        Place { above, path }
    }

    fn store(&self) -> FileStore {
        FileStore::at(&self.path).unwrap()
    }

    /// The path of a file of the document that the tests use.
    fn file(&self, suffix: &str) -> String {
        format!("{}/{}{suffix}", self.path, document().as_str())
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn document() -> Name {
    name(0)
}

fn mode(path: &str) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// It is of the kind `Store`, tells of what, and what to do.
#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, of: &str) {
    let error = result.err().expect("refused");
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Store, "{text}");
    assert!(text.starts_with("store: ") && text.contains(of) && text.contains("store=file:/"), "{text}");
}

// ---- processes of their own ----

/// A process that does what [`act`] can do, in a place, and tells how it went.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

const ACTS: &str = "STORE_ACTS";

impl Process {
    /// `wrapper`: a command in whose arguments the program comes last.
    fn start(place: &str, wrapper: &[&str], acts: &str) -> Process {
        let program = std::env::current_exe().unwrap();
        Process::start_program(program.to_str().unwrap(), place, wrapper, acts)
    }

    fn start_program(program: &str, place: &str, wrapper: &[&str], acts: &str) -> Process {
        let own = [program, "--exact", "another_process_finds_the_same_documents", "--nocapture", "--test-threads=1"];
        let words = [wrapper, &own].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(ACTS, acts).env("STORE_PLACE", place);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| match e.kind() {
            Io::NotFound => panic!("{} is missing; install it (Debian: strace, util-linux)", words[0]),
            _ => panic!("{}: {e}", words[0]),
        });
        let (input, lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Process { child, input, lines }
    }

    /// What it says next.
    fn says(&mut self) -> String {
        let mut said = self.lines.by_ref().map(Result::unwrap);
        said.find_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned())).expect("it says something")
    }

    fn signal(&self, signal: Signal) {
        signal::signal(&self.child, signal);
    }

    /// Lets an act that waits go on.
    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a process says while it does these acts.
fn tells(place: &str, wrapper: &[&str], acts: &str) -> Vec<String> {
    let mut process = Process::start(place, wrapper, acts);
    let told = acts.split(' ').map(|_| process.says()).collect();
    assert!(process.child.wait().unwrap().success());
    told
}

fn say(what: impl std::fmt::Display) {
    println!("said: {what}");
}

fn wait_for_line() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn told<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|e| format!("{:?} {e}", e.kind()), |_| "done".to_owned())
}

/// One of the words in [`ACTS`].
fn act(what: &str, place: &str, store: &mut Option<FileStore>) {
    let opened = match what {
        "at" => FileStore::at(place),
        "default" => FileStore::in_default_place(false),
        "budget" => FileStore::in_default_place(true),
        // As a program with a budget meets it.
        "client" => {
            let builder = Client::builder().provider("calenso").client_id("me").client_secret(SECRET);
            return say(told(canary::build(&builder)));
        }
        _ if what.starts_with("asks:") => return say(asks(place, &what["asks:".len()..])),
        _ => return store.as_ref().map_or_else(|| say("not open"), |store| work(what, place, store)),
    };
    match opened {
        Ok(opened) => *store = Some(opened),
        Err(error) => return say(told::<()>(Err(error))),
    }
    say("done");
}

fn work(what: &str, place: &str, store: &FileStore) {
    let document = document();
    match what {
        "load" => say(store.load(&document).map_or_else(
            |error| told::<()>(Err(error)),
            |bytes| bytes.map_or("none".to_owned(), |bytes| String::from_utf8(bytes).unwrap()),
        )),
        "turn" => say(told(store.turn(&document, &within(S / 2)))),
        "holds-turn" => {
            let _turn = store.turn(&document, &enough()).unwrap();
            say("holding");
            wait_for_line();
        }
        "holds-change" => store
            .change(&document, &enough(), &mut |_| {
                say("holding");
                wait_for_line();
                Change::Put(b"held".to_vec())
            })
            .unwrap(),
        "remove" => say(told(change(store, &document, &enough(), Change::Remove))),
        "set-aside" => say(told(change(store, &document, &enough(), Change::SetAside))),
        "forks:loads" => forks(store, Some(|store, _| drop(store.load(&name(0)).unwrap()))),
        "forks:drops" => forks(store, Some(|_, turn| drop(turn.take()))),
        "forks:nothing" => forks(store, None),
        "no-descriptors" => {
            let mut open = vec![];
            while let Ok(file) = fs::File::open("/dev/null") {
                open.push(file);
            }
            let loaded = told(store.load(&document));
            let turn = told(store.turn(&document, &enough()));
            let put = told(put(store, &document, b"one too many"));
            drop(open);
            say([loaded, turn, put].join(" | "));
        }
        "becomes-nobody" => {
            let nobody = Uid::from_raw(NOBODY);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            say(format!("{place}: {}", geteuid().as_raw()));
        }
        _ => match what.strip_prefix("put:") {
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                say(told(put(store, &document, &vec![b'x'; length.parse().unwrap()])));
            }
            Some(text) => say(told(put(store, &document, text.as_bytes()))),
            None => panic!("no such act: {what}"),
        },
    }
}

/// How a client with that quota fares with a provider that answers it, and whether that got a whole request.
fn asks(place: &str, quota: &str) -> String {
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", provider.local_addr().unwrap());
    let got = Arc::new(AtomicBool::new(false));
    let gets = got.clone();
    std::thread::spawn(move || {
        for mut stream in provider.incoming().flatten() {
            let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
            while let Ok(1..) = stream.read(&mut bytes).inspect(|count| request.extend_from_slice(&bytes[..*count])) {
                if request.ends_with(b"grant_type=client_credentials") {
                    gets.store(true, Ordering::SeqCst);
                    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{\"access_token\":\"canary-token\"}";
                    let _ = stream.write_all(reply.as_bytes());
                }
            }
        }
    });
    let builder = oauth2().token_url(url).store(format!("file:{place}")).quota(quota);
    let outcome = canary::build(&builder).and_then(|client| client.token());
    format!("{}; sent: {}", told(outcome), got.load(Ordering::SeqCst))
}

/// What a child does with the store and the turn that it has from its parent.
type Childs = fn(&FileStore, &mut Option<Box<dyn Turn>>);

/// With both locks held; the child then waits for a line. The parent goes on only if its child does nothing.
fn forks(store: &FileStore, child: Option<Childs>) {
    let mut turn = Some(store.turn(&document(), &enough()).unwrap());
    let inside = &mut |_: Option<&[u8]>| {
        if fork() == 0 {
            if let Some(child) = child {
                child(store, &mut turn);
            }
            say("forked");
            wait_for_line();
            say("alive");
            _exit(0);
        }
        while child.is_some() {
            std::thread::park(); // until it is killed
        }
        Change::Keep
    };
    store.change(&document(), &enough(), inside).unwrap();
    drop(turn);
    say("let go");
}

#[allow(unsafe_code)] // this plays a host that forks
unsafe extern "C" {
    safe fn fork() -> i32;
    safe fn _exit(status: i32) -> !;
}

const NOBODY: u32 = 65534;

/// And that process is this test too: with [`ACTS`] set it is the other one.
#[test]
fn another_process_finds_the_same_documents() {
    if let Ok(acts) = std::env::var(ACTS) {
        let (place, mut store) = (std::env::var("STORE_PLACE").unwrap(), None);
        return acts.split(' ').for_each(|what| act(what, &place, &mut store));
    }
    let place = Place::new();
    let store = place.store();
    put(&store, &document(), b"mine").unwrap();
    assert_eq!(tells(&place.path, &[], "at load put:yours turn"), ["done", "mine", "done", "done"]);
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"yours");
}

// ---- what lies in the directory ----

/// F-13: whatever the umask.
#[test]
fn only_this_user_can_read_what_is_made() {
    for (umask, is_made) in [("0", false), ("022", false), ("0077", false), ("0", true), ("0777", true)] {
        let place = Place::new();
        if is_made {
            place.store();
        }
        let shell = ["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"];
        let acts = "at put:1 set-aside put:2 turn";
        assert_eq!(tells(&place.path, &shell, acts), ["done"; 5], "umask {umask}");
        assert_eq!(mode(&place.path), 0o700, "umask {umask}");
        for suffix in ["", ".aside", ".lock", ".turn"] {
            assert_eq!(mode(&place.file(suffix)), 0o600, "umask {umask}: {suffix}");
        }
        assert_eq!(place.files().len(), 4, "no temporary file, and nothing of the probe: {:?}", place.files());
    }
}

/// F-12, F-15: a directory that others may enter, or that cannot be written.
#[test]
fn a_directory_of_another_mode_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let store = place.store();
    put(&store, &document(), b"old").unwrap();
    for other in [0o777, 0o755, 0o750, 0o701, 0o1777, 0o500, 0o300] {
        set_mode(&place.path, other);
        assert_refused(FileStore::at(&place.path), &place.path);
        assert_refused(store.load(&document()), &place.path);
        assert_refused(put(&store, &document(), b"new"), &place.path);
        assert_refused(store.turn(&document(), &at_once()), &place.path);
        assert_eq!(mode(&place.path), other);
    }
    set_mode(&place.path, 0o700);
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"old");
}

/// T7: anybody could put another directory in place of ours; not in /tmp, which is sticky.
#[test]
fn a_directory_that_others_could_replace_is_refused() {
    let place = Place::new();
    let store = place.store();
    let above = place.above.join("");
    for (mode, is_good) in [(0o777, false), (0o702, false), (0o1777, true), (0o755, true)] {
        set_mode(&above, mode);
        assert_eq!(FileStore::at(&place.path).is_ok(), is_good, "{mode:o}");
        assert_eq!(store.load(&document()).is_ok(), is_good, "{mode:o}");
    }
    set_mode(&above, 0o777);
    assert_refused(store.load(&document()), &place.path);
}

/// A word for it, and how to put it there; it may lead to the second path.
type Plant = (&'static str, fn(&Path, &Path));

/// What somebody puts where a file of ours is to be.
const PLANTS: &[Plant] = &[
    ("a symbolic link", |at, target| symlink(target, at).unwrap()),
    ("one that leads nowhere", |at, target| symlink(target.with_extension("gone"), at).unwrap()),
    ("a hard link", |at, target| fs::hard_link(target, at).unwrap()),
    ("a pipe", |at, _| assert!(Command::new("mkfifo").args(["-m", "600"]).arg(at).status().unwrap().success())),
    ("a socket", |at, _| drop(UnixListener::bind(at).unwrap())),
    ("a directory", |at, _| fs::DirBuilder::new().mode(0o700).create(at).unwrap()),
    ("a file that others may read", |at, _| {
        fs::write(at, "foreign").unwrap();
        set_mode(at.to_str().unwrap(), 0o644);
    }),
];

/// F-09, F-10, F-11, F-12: at each place, without waiting, and neither it nor what it leads to is touched.
#[test]
fn what_others_put_there_is_refused_and_left_alone() {
    for (what, plant) in PLANTS {
        for suffix in ["", ".lock", ".turn", ".tmp", ".aside"] {
            let place = Place::new();
            let store = place.store();
            if !suffix.is_empty() {
                put(&store, &document(), b"old").unwrap();
                let _ = fs::remove_file(place.file(suffix));
            }
            let target = place.above.join("target");
            fs::write(&target, "of somebody").unwrap();
            set_mode(&target, 0o600);
            // A socket's path must be short.
            let short = place.above.join("plant");
            plant(Path::new(&short), Path::new(&target));
            fs::rename(&short, place.file(suffix)).unwrap();

            let look = || {
                let seen = fs::symlink_metadata(place.file(suffix)).unwrap();
                (seen.ino(), seen.mode(), seen.nlink(), seen.len(), seen.mtime_nsec())
            };
            let (before, file) = (look(), format!("{}{suffix} is not a regular file", document().as_str()));
            println!("{what} at {suffix}");
            match suffix {
                "" => {
                    assert_refused(store.load(&document()), &file);
                    for to in [Change::Keep, Change::Put(b"new".to_vec()), Change::Remove, Change::SetAside] {
                        assert_refused(change(&store, &document(), &enough(), to), &file);
                    }
                }
                ".turn" => assert_refused(store.turn(&document(), &enough()), &file),
                ".aside" => assert_refused(change(&store, &document(), &enough(), Change::SetAside), &file),
                _ => assert_refused(put(&store, &document(), b"new"), &file),
            }
            assert_eq!(look(), before);
            assert_eq!(fs::read(&target).unwrap(), b"of somebody");
            assert!(!Path::new(&target).with_extension("gone").exists());
            if !suffix.is_empty() {
                assert_eq!(store.load(&document()).unwrap().unwrap(), b"old");
            }
        }
    }
}

/// F-09: the directory itself; the directories above it are whoever gave the path's.
#[test]
fn a_link_is_followed_above_the_directory_and_not_at_it() {
    let place = Place::new();
    let store = place.store();
    put(&store, &document(), b"old").unwrap();
    let (link, above) = (place.above.join("link"), place.above.join("above"));
    symlink(&place.path, &link).unwrap();
    symlink(place.above.join(""), &above).unwrap();
    for path in [link.clone(), format!("{link}/"), format!("{link}//")] {
        assert_refused(FileStore::at(&path), "is not a directory of this user alone");
    }
    let through = FileStore::at(&format!("{above}/store/")).unwrap();
    assert_eq!(through.load(&document()).unwrap().unwrap(), b"old");
    // Put there while the store is in use.
    fs::rename(&place.path, place.above.join("elsewhere")).unwrap();
    symlink(place.above.join("elsewhere"), &place.path).unwrap();
    assert_refused(store.load(&document()), &place.path);
    // A file is no directory.
    let file = place.above.join("file");
    fs::write(&file, "").unwrap();
    assert_refused(FileStore::at(&file), &file);
}

/// F-08: what is no document is handed on as it is, never more of it than a document has and one byte.
#[test]
fn of_a_foreign_file_no_more_is_read_than_a_document_has_and_one_byte() {
    let place = Place::new();
    let store = place.store();
    for (length, read) in
        [(0, 0), (DOCUMENT_MAX, DOCUMENT_MAX), (DOCUMENT_MAX + 1, DOCUMENT_MAX + 1), (1 << 30, DOCUMENT_MAX + 1)]
    {
        let file = fs::File::create(place.file("")).unwrap();
        file.set_len(length as u64).unwrap(); // sparse
        set_mode(&place.file(""), 0o600);
        assert_eq!(store.load(&document()).unwrap().unwrap().len(), read, "{length}");
    }
    assert_eq!(change(&store, &document(), &enough(), Change::SetAside).unwrap().unwrap().len(), DOCUMENT_MAX + 1);
    assert_eq!(fs::metadata(place.file(".aside")).unwrap().len(), 1 << 30, "it is kept whole");
    assert_eq!(store.load(&document()).unwrap(), None);
}

/// F-26.
#[test]
fn what_a_process_that_died_left_is_cleared_away_by_the_next_change() {
    let place = Place::new();
    let store = place.store();
    put(&store, &document(), b"old").unwrap();
    fs::write(place.file(".tmp"), "half a docum").unwrap();
    set_mode(&place.file(".tmp"), 0o600);
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"old");
    put(&store, &document(), b"new").unwrap();
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"new");
    assert!(!Path::new(&place.file(".tmp")).exists());
}

/// F-25.
#[test]
fn ten_thousand_documents_are_ten_thousand_small_files() {
    let place = Place::new();
    let store = place.store();
    for number in 0..10_000 {
        let path = format!("{}/{}", place.path, name(number).as_str());
        fs::write(&path, number.to_string()).unwrap();
        set_mode(&path, 0o600);
    }
    for number in 0..10_000 {
        assert_eq!(store.load(&name(number)).unwrap().unwrap(), number.to_string().as_bytes());
    }
    put(&store, &name(10_000), b"one more").unwrap();
    assert_eq!(place.files().len(), 10_002, "and a lock");
}

/// F-34.
#[test]
fn ten_thousand_readers_see_whole_documents_while_they_are_replaced() {
    let place = Place::new();
    reads_while_it_changes(&|| Arc::new(place.store()), &document(), 10_000);
}

// ---- locks ----

/// F-20: the lock of a stopped process is not broken; whoever waits leaves at the deadline.
#[test]
fn a_stopped_process_keeps_its_lock_and_delays_nobody_past_the_deadline() {
    let place = Place::new();
    let store = place.store();
    put(&store, &document(), b"old").unwrap();
    let mut holders = ["at holds-change", "at holds-turn"].map(|acts| Process::start(&place.path, &[], acts));
    for holder in &mut holders {
        assert_eq!([holder.says(), holder.says()], ["done", "holding"]);
        holder.signal(Signal::STOP);
    }
    let clock = World::new().clock;
    let shared: Arc<dyn Clock> = clock.clone();
    for number in 1..=2 {
        let before = clock.since_boot();
        let deadline = Deadline::after(&shared, S * 30);
        match number {
            1 => assert_late(change(&store, &document(), &deadline, Change::Remove)),
            _ => assert_late(store.turn(&document(), &deadline)),
        }
        assert_eq!(clock.since_boot(), before + S * 30);
    }
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"old", "a reader waits for nobody");
    for holder in &mut holders {
        holder.signal(Signal::CONT);
        holder.go_on();
        assert!(holder.child.wait().unwrap().success());
    }
    assert_eq!(change(&store, &document(), &at_once(), Change::Keep).unwrap().unwrap(), b"held");
    store.turn(&document(), &at_once()).unwrap();
}

/// F-21.
#[test]
fn the_locks_of_a_killed_process_are_free_at_once() {
    let place = Place::new();
    let store = place.store();
    put(&store, &document(), b"old").unwrap();
    for (acts, number) in [("at holds-change", 1), ("at holds-turn", 2)] {
        let mut holder = Process::start(&place.path, &[], acts);
        assert_eq!([holder.says(), holder.says()], ["done", "holding"]);
        match number {
            1 => assert_late(change(&store, &document(), &at_once(), Change::Keep)),
            _ => assert_late(store.turn(&document(), &at_once())),
        }
        holder.kill();
        assert_eq!(change(&store, &document(), &at_once(), Change::Keep).unwrap().unwrap(), b"old");
        store.turn(&document(), &at_once()).unwrap();
    }
}

/// B-04, B-05: what a forked child does with its copy unlocks nothing, and keeps nothing locked after its first call.
#[test]
fn a_forked_child_keeps_no_lock_of_a_parent_that_died() {
    for acts in ["at forks:loads", "at forks:drops"] {
        let place = Place::new();
        let store = place.store();
        let mut parent = Process::start(&place.path, &[], acts);
        assert_eq!([parent.says(), parent.says()], ["done", "forked"]);
        assert_late(store.turn(&document(), &at_once()));
        assert_late(change(&store, &document(), &at_once(), Change::Keep));
        parent.kill();
        store.turn(&document(), &at_once()).unwrap();
        change(&store, &document(), &at_once(), Change::Keep).unwrap();
        parent.go_on();
        assert_eq!(parent.says(), "alive");
    }
}

/// B-05: a child that never calls.
#[test]
fn a_parent_unlocks_what_a_forked_child_has_a_copy_of() {
    let place = Place::new();
    let store = place.store();
    let mut parent = Process::start(&place.path, &[], "at forks:nothing");
    assert_eq!(parent.says(), "done");
    let mut said = [parent.says(), parent.says()];
    said.sort();
    assert_eq!(said, ["forked", "let go"]);
    store.turn(&document(), &at_once()).unwrap();
    change(&store, &document(), &at_once(), Change::Keep).unwrap();
    parent.go_on();
    assert_eq!(parent.says(), "alive");
}

/// F-22: whoever comes after it locks the new file; the one that held the old one disturbs nobody.
#[test]
fn a_deleted_lock_file_is_made_again() {
    let place = Place::new();
    let store = place.store();
    let first = store.turn(&document(), &at_once()).unwrap();
    fs::remove_file(place.file(".turn")).unwrap();
    let second = store.turn(&document(), &at_once()).unwrap();
    drop(first);
    assert_late(place.store().turn(&document(), &at_once()));
    drop(second);
    place.store().turn(&document(), &at_once()).unwrap();
    let during = store.change(&document(), &enough(), &mut |_| {
        fs::remove_file(place.file(".lock")).unwrap();
        put(&place.store(), &document(), b"second").unwrap();
        Change::Put(b"first".to_vec())
    });
    during.unwrap();
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"first");
}

/// F-23.
#[test]
fn a_directory_that_goes_away_is_made_again() {
    let place = Place::new();
    let store = place.store();
    for number in 0..2 {
        put(&store, &document(), b"old").unwrap();
        let turn = store.turn(&document(), &at_once()).unwrap();
        match number {
            0 => fs::remove_dir_all(&place.path).unwrap(),
            _ => fs::rename(&place.path, place.above.join("moved")).unwrap(),
        }
        assert_eq!(store.load(&document()).unwrap(), None);
        assert_eq!(mode(&place.path), 0o700);
        drop(turn);
        store.turn(&document(), &at_once()).unwrap();
    }
    fs::remove_dir_all(place.above.join("")).unwrap();
    assert_refused(store.load(&document()), &place.path);
}

/// B-07: neither after a call nor in a program that is started meanwhile.
#[test]
fn nothing_is_open_after_a_call_or_in_a_new_program() {
    let place = Place::new();
    let open = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().map(|entry| fs::read_link(entry.unwrap().path()));
        links.flatten().filter(|path| path.starts_with(&place.path)).count()
    };
    let inherited = || {
        let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().matches(&place.path).count()
    };
    let store = place.store();
    for to in
        [Change::Put(b"one".to_vec()), Change::Keep, Change::SetAside, Change::Put(b"two".to_vec()), Change::Remove]
    {
        let inside = &mut |_: Option<&[u8]>| {
            assert_eq!((open(), inherited()), (2, 0), "directory and lock, and nothing for others");
            to.clone()
        };
        store.change(&document(), &enough(), inside).unwrap();
        store.load(&document()).unwrap();
        assert_eq!(open(), 0, "{to:?}");
    }
    let turn = store.turn(&document(), &at_once()).unwrap();
    assert_late(store.turn(&document(), &at_once()));
    assert_eq!((open(), inherited()), (1, 0), "the lock");
    drop(turn);
    set_mode(&place.path, 0o755);
    assert_refused(store.turn(&document(), &at_once()), &place.path);
    assert_eq!(open(), 0);
}

/// B-17.
#[test]
fn without_a_free_descriptor_a_call_fails_until_there_is_one() {
    let place = Place::new();
    let shell = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];
    let told = tells(&place.path, &shell, "at put:old no-descriptors load turn put:new load");
    assert_eq!(told[2].matches("Store store: ").count(), 3, "{told:?}");
    assert_eq!([&told[..2], &told[3..]].concat(), ["done", "done", "old", "done", "done", "new"]);
}

/// B-11: a limit that a signal enforces, which would end the process.
#[test]
fn a_document_beyond_the_limit_on_file_sizes_is_refused() {
    let place = Place::new();
    let shell = ["sh", "-c", "ulimit -f 1; exec \"$@\"", "sh"]; // POSIX: blocks of 512 bytes
    let told = tells(&place.path, &shell, "at put:512 put:1025 load");
    assert!(told[2].starts_with("Store store: ") && told[2].contains("ulimit -f"), "{told:?}");
    assert_eq!([&told[0], &told[1], &told[3]], ["done", "done", &"x".repeat(512)]);
}

// ---- which directory ----

/// F-27.
#[test]
fn a_path_is_absolute_and_ends_with_a_name() {
    let place = Place::new();
    let above = place.above.join("");
    let long = format!("/{}", "x".repeat(4095));
    let bad = ["", "/", "//", ".", "store", "./store", "../store", "~/store", "/.", "/..", "/tmp/a\0b", &long];
    for path in bad.map(str::to_owned).into_iter().chain([format!("{above}."), format!("{above}/..")]) {
        assert_refused(FileStore::at(&path), "");
    }
    assert_refused(FileStore::at(&place.above.join("missing/store")), "missing/store");
    for name in ["with space", "ein-Ümläut", "new\nline", "...", "-rf", "%s"] {
        put(&FileStore::at(&place.above.join(name)).unwrap(), &document(), b"one").unwrap();
        assert_eq!(mode(&place.above.join(name)), 0o700);
    }
}

/// F-27: PATH_MAX, of which the NUL is one.
#[test]
fn a_path_may_be_as_long_as_the_system_takes() {
    let place = Place::new();
    let mut path = place.above.join("");
    while path.len() < 4095 - 256 {
        path += &format!("{}/", "d".repeat(200));
    }
    fs::create_dir_all(&path).unwrap();
    path += &"e".repeat(4095 - path.len());
    let store = FileStore::at(&path).unwrap();
    put(&store, &document(), b"one").unwrap();
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"one");
}

/// F-28: variables, and what of the test's directory is then used; `None`: it is refused.
#[test]
fn the_default_directory_is_what_the_environment_says() {
    type Case = (&'static [&'static str], Option<&'static str>);
    let cases: &[Case] = &[
        (&["HOME=H"], Some("home/.local/state/tokauth")),
        (&["HOME=H/"], Some("home/.local/state/tokauth")),
        (&["HOME=H", "XDG_STATE_HOME=H/state"], Some("home/state/tokauth")),
        (&["XDG_STATE_HOME=H/new/state/"], Some("home/new/state/tokauth")),
        (&["HOME=H", "XDG_STATE_HOME="], Some("home/.local/state/tokauth")),
        (&["HOME=H", "XDG_STATE_HOME=state"], Some("home/.local/state/tokauth")),
        (&["HOME=H", "XDG_CACHE_HOME=H/cache", "TMPDIR=H"], Some("home/.local/state/tokauth")),
        (&[], None),
        (&["HOME="], None),
        (&["HOME=home"], None),
        (&["HOME=/"], None),
        (&["HOME=//"], None),
        (&["XDG_STATE_HOME=/", "HOME=H"], None),
        (&["HOME=H/missing"], None),
        (&["HOME=H/file"], None),
    ];
    for (variables, expected) in cases {
        let above = TempDir::new();
        let home = above.join("home");
        fs::create_dir(&home).unwrap();
        fs::write(above.join("home/file"), "").unwrap();
        let variables: Vec<String> =
            variables.iter().map(|variable| variable.replace("=H", &format!("={home}"))).collect();
        let unset = ["env", "-u", "HOME", "-u", "XDG_STATE_HOME", "-u", "XDG_CACHE_HOME"];
        let wrapper: Vec<&str> = unset.into_iter().chain(variables.iter().map(String::as_str)).collect();
        let Some(expected) = expected else {
            for told in tells("", &wrapper, "default client") {
                assert!(told.starts_with("Store store: ") && told.contains("store=file:/"), "{variables:?}: {told}");
            }
            assert!(!Path::new(&above.join("home/missing")).exists());
            continue;
        };
        assert_eq!(tells("", &wrapper, "default put:here"), ["done", "done"], "{variables:?}");
        let made = above.join(expected);
        assert_eq!(fs::read_to_string(format!("{made}/{}", document().as_str())).unwrap(), "here");
        for path in Path::new(&made).ancestors().take_while(|path| *path != Path::new(&home)) {
            assert_eq!(mode(path.to_str().unwrap()), 0o700, "{}", path.display());
        }
    }
}

// ---- failing disks, and other users ----

/// A command that lets system calls on `paths` fail as `inject` says, and writes what it saw to `log`.
fn strace<'a>(log: &'a str, paths: &'a [String], inject: &'a [&'a str]) -> Vec<&'a str> {
    let mut command = vec!["strace", "-f", "-qq", "-o", log];
    paths.iter().for_each(|path| command.extend(["-P", path]));
    inject.iter().for_each(|inject| command.extend(["-e", inject]));
    command
}

/// F-03, F-15 to F-17: after the failure there is the old document, or the new one, and no temporary file. Which of them
/// tells the order: the new one is on the disk before it takes the name, and then the directory.
#[test]
#[ignore = "needs strace; .ci/run asks for it"]
fn a_failing_disk_is_an_error_and_leaves_a_whole_document() {
    let cases = [
        // What fails, on which file, what becomes of the document.
        ("write:error=ENOSPC", ".tmp", "old"),
        ("write:error=EDQUOT", ".tmp", "old"),
        ("write:error=EIO", ".tmp", "old"),
        ("write:retval=0", ".tmp", "old"),
        ("fsync:error=EIO", ".tmp", "old"),
        ("fsync:error=EINTR", ".tmp", "old"),
        ("fchmod:error=EPERM", ".tmp", "old"),
        ("/^renameat:error=EROFS", "/", "old"),
        ("fsync:error=EIO", "/", "new"),
        ("flock:error=ENOLCK", ".lock", "old"),
        ("flock:error=EOPNOTSUPP", ".lock", "old"),
        ("read:error=EIO", "", "old"),
    ];
    for (failure, on, left) in cases {
        let place = Place::new();
        put(&place.store(), &document(), b"old").unwrap();
        let (log, path) = (place.above.join("log"), if on == "/" { place.path.clone() } else { place.file(on) });
        let (inject, paths) = (format!("inject={failure}"), [path]);
        let told = tells(&place.path, &strace(&log, &paths, &[&inject]), "at put:new");
        assert!(told[0] == "done" && told[1].starts_with("Store store: "), "{failure}: {told:?}");
        assert!(told[1].contains(&place.path) && told[1].contains("store=file:/"), "{failure}: {told:?}");
        assert_eq!(place.store().load(&document()).unwrap().unwrap(), left.as_bytes(), "{failure}");
        assert!(!place.files().iter().any(|file| file.ends_with(".tmp")), "{failure}: {:?}", place.files());
        let log = fs::read_to_string(&log).unwrap();
        assert_eq!(log.matches("(INJECTED)").count(), 1, "{failure} happens once, and nothing is tried again: {log}");
        // And when the disk is well again:
        put(&place.store(), &document(), b"newer").unwrap();
    }
}

/// F-19, for turns; F-16, for the directory.
#[test]
#[ignore = "needs strace; .ci/run asks for it"]
fn what_cannot_be_made_or_locked_is_refused() {
    for (failure, on, acts) in [
        ("flock:error=ENOLCK", ".turn", "at turn"),
        ("mkdir,mkdirat:error=ENOSPC", "/", "at"),
        ("mkdir,mkdirat:error=EROFS", "/", "at"),
        ("fchmod:error=EIO", "probe", "at"),
        ("fstatfs:error=ENOSYS", "/", "at"),
    ] {
        let place = Place::new();
        let (log, inject) = (place.above.join("log"), format!("inject={failure}"));
        let path = match on {
            "/" => place.path.clone(),
            "probe" => format!("{}/probe.tmp", place.path),
            _ => place.file(on),
        };
        let told = tells(&place.path, &strace(&log, &[path], &[&inject]), acts).pop().unwrap();
        assert!(told.starts_with("Store store: ") && told.contains(&place.path), "{failure}: {told}");
    }
}

/// B-09, F-18.
#[test]
#[ignore = "needs strace; .ci/run asks for it"]
fn interrupted_and_short_calls_are_completed() {
    let place = Place::new();
    let (log, all) = (place.above.join("log"), [place.path.clone(), place.file(""), place.file(".tmp")]);
    let interrupted = ["inject=openat,open,read,write:error=EINTR:when=1+2"];
    let told = tells(&place.path, &strace(&log, &all, &interrupted), "at put:old load put:new load turn");
    assert_eq!(told, ["done", "done", "old", "done", "new", "done"]);
    assert!(fs::read_to_string(&log).unwrap().matches("EINTR").count() > 10);
    // Only claimed to have been written, so what follows is all that there is.
    let short = ["inject=write:retval=3:when=1"];
    assert_eq!(tells(&place.path, &strace(&log, &all[2..], &short), "at put:abcdefg load"), ["done", "done", "defg"]);
    let short = ["inject=read:retval=3:poke_exit=@arg2=414243:when=1"];
    assert_eq!(tells(&place.path, &strace(&log, &all[1..2], &short), "at load"), ["done", "ABCde"], "of five bytes");
}

/// F-22: as if the file were deleted, or another, each time that it has just been locked.
#[test]
#[ignore = "needs strace; .ci/run asks for it"]
fn a_lock_counts_only_if_its_file_still_has_its_name() {
    for other in ["error=ENOENT:when=3+2", "poke_exit=@arg3=ffff"] {
        let place = Place::new();
        let (log, inject) = (place.above.join("log"), format!("inject=/fstatat:{other}"));
        // The other such calls ask for the mode of the directory above: one by "at", then one before each attempt.
        let paths = [place.path.clone(), place.file(".turn")];
        let told = tells(&place.path, &strace(&log, &paths, &[&inject]), "at turn");
        assert!(told[1].starts_with("Timeout store: "), "{other}: {told:?}");
    }
}

/// F-19, F-33: what statfs says, given by hand, by default, by default for a budget, and for a client that has one.
#[test]
#[ignore = "needs strace; .ci/run asks for it"]
fn file_systems_that_cannot_be_relied_on_are_refused() {
    for (what, number, accepted) in [
        ("NFS", 0x6969_u64, [false; 4]),
        ("SMB", 0x517b, [false; 4]),
        ("CIFS", 0xff53_4d42, [false; 4]),
        ("SMB2", 0xfe53_4d42, [false; 4]),
        ("FUSE", 0x6573_5546, [false; 4]),
        ("9p", 0x0102_1997, [false; 4]),
        ("Ceph", 0x00c3_6400, [false; 4]),
        ("AFS", 0x5346_414f, [false; 4]),
        ("tmpfs", 0x0102_1994, [true, true, false, false]),
        ("overlayfs", 0x794c_7630, [true, true, false, false]),
        ("ext4", 0xef53, [true; 4]),
        ("XFS", 0x5846_5342, [true; 4]),
    ] {
        let bytes: String = number.to_ne_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let inject = format!("inject=fstatfs:poke_exit=@arg2={bytes}");
        for (act, accepted) in ["at", "default", "budget", "client"].into_iter().zip(accepted) {
            let above = TempDir::new();
            let (home, store) = (format!("XDG_STATE_HOME={}", above.join("")), above.join("tokauth"));
            let (log, paths, injected) = (above.join("log"), [store.clone()], [&*inject]);
            let wrapper = [&["env", &home][..], &strace(&log, &paths, &injected)].concat();
            let told = tells(&store, &wrapper, act).pop().unwrap();
            assert_eq!(told == "done", accepted, "{what} {act}: {told}");
            assert!(accepted || told.starts_with("Store store: ") && told.contains(&store), "{what} {act}: {told}");
        }
    }
}

fn must_be_root() {
    assert!(geteuid().is_root(), "this test plays several users: run it as root");
}

/// F-12, F-14, B-20, B-22.
#[test]
#[ignore = "needs root; .ci/run asks for it where it is root"]
fn as_root_what_belongs_to_another_user_is_refused() {
    must_be_root();
    let place = Place::new();
    set_mode(&place.above.join(""), 0o1777);
    let program = place.above.join("program"); // where others can run it
    // By another process: a child that another thread of this one forks meanwhile would hold it open for writing.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let tells_as = |user: &str, acts: &str| {
        let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
        let wrapper = ["setpriv", &uid, &gid, "--clear-groups"];
        let mut process = Process::start_program(&program, &place.path, &wrapper, acts);
        acts.split(' ').map(|_| process.says()).collect::<Vec<_>>()
    };
    assert_eq!(tells_as("65534", "at put:old load"), ["done", "done", "old"]);
    for told in tells_as("65533", "at asks:31/month asks:none") {
        assert!(told.starts_with("Store store: ") && !told.contains("sent: true"), "{told}");
    }
    assert_refused(FileStore::at(&place.path), "of this user alone");

    let chown = |path: &str, user: u32| std::os::unix::fs::chown(path, Some(user), None).unwrap();
    chown(&place.path, 0);
    let store = place.store();
    assert_refused(store.load(&document()), document().as_str());
    chown(&place.file(""), 0);
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"old");
    assert_refused(put(&store, &document(), b"new"), ".lock is not a regular file");
    chown(&place.file(".lock"), 0);
    put(&store, &document(), b"new").unwrap();

    let dropped = tells(&place.path, &[], "at put:newer becomes-nobody load put:newest turn");
    assert_eq!(dropped.iter().filter(|told| told.starts_with("Store store: ")).count(), 3, "{dropped:?}");
    assert_eq!(store.load(&document()).unwrap().unwrap(), b"newer");

    let home = format!("HOME={}", place.above.join(""));
    for other in ["--ruid=65534", "--rgid=65534"] {
        let wrapper = ["env", "-u", "XDG_STATE_HOME", &home, "setpriv", other];
        let wrapper =
            if other == "--rgid=65534" { [&wrapper[..], &["--keep-groups"]].concat() } else { wrapper.to_vec() };
        let told = tells(&place.path, &wrapper, "default").pop().unwrap();
        assert!(told.starts_with("Store store: ") && told.contains("more rights than its caller"), "{other}: {told}");
        assert_eq!(tells(&place.path, &wrapper, "at"), ["done"], "given by hand");
    }
}

/// F-15, F-16: a file system of 16 KB, one that is full already, and one that cannot be written; to a store, and to a
/// client.
#[test]
#[ignore = "needs root, to mount; .ci/run asks for it where it is root"]
fn as_root_a_full_or_read_only_file_system_is_an_error() {
    must_be_root();
    let place = Place::new();
    let on = |mount: &str, acts: &str| {
        let script = format!("cd {} && {mount} && exec \"$@\"", place.above.join(""));
        tells(&place.path, &["unshare", "-m", "sh", "-c", &script, "sh"], acts)
    };
    let told = on(
        "mkdir -m 700 store && mount -t tmpfs -o size=16k,mode=700 none store",
        "at put:old put:50000 load put:new load",
    );
    assert!(told[2].starts_with("Store store: ") && told[2].contains("No space left"), "{told:?}");
    assert_eq!([&told[..2], &told[3..]].concat(), ["done", "done", "old", "done", "new"]);
    let full = "mount -t tmpfs -o size=16k,mode=700 none store && { head -c 99999 /dev/zero > store/full 2>&1; true; }";
    let told = on(full, "asks:31/month asks:none");
    assert!(told[0].starts_with("Store store: ") && told[0].contains("No space left"), "{told:?}");
    assert!(told[0].ends_with("; sent: false"), "{told:?}");
    assert_eq!(told[1], "done; sent: true", "without a budget nothing stops it");
    for told in on("mount --bind store store && mount -o remount,ro,bind store", "at asks:31/month") {
        assert!(told.starts_with("Store store: ") && told.contains("Read-only"), "{told}");
        assert!(!told.contains("sent: true"), "{told}");
    }
}
