//! What only some systems have stands beside a way round it, in the same file, and where that is not what Linux does,
//! it is built for tests too: so unit tests can take it, and the compiler says if none does.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The systems in a condition: `unix`, `target_os = "linux"` and the like.
fn systems(condition: &str) -> BTreeSet<&str> {
    let words = condition.split(['(', ')', ',']).map(str::trim);
    words.filter(|word| ["unix", "windows"].contains(word) || word.starts_with("target_")).collect()
}

/// The conditions behind each `opening`, to the bracket that closes them.
fn conditions<'a>(code: &'a str, opening: &'a str) -> impl Iterator<Item = &'a str> {
    code.split(opening).skip(1).map(|rest| {
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        &rest[..end.unwrap()]
    })
}

/// What is wrong with a source. `of`: the systems that it is built for, if not for all.
fn faults(source: &str, of: Option<&str>) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let code = code.replace(", not(miri)", "").replace(", miri", ""); // which is no system
    let (mut named, mut excluded, mut tested) = (BTreeSet::from_iter(of), BTreeSet::new(), BTreeSet::from_iter(of));
    for condition in conditions(&code, "#[cfg(") {
        match condition.split_once("not(") {
            None => named.extend(systems(condition)),
            Some(("any(test, ", but)) => tested.extend(systems(but)),
            Some((_, but)) => excluded.extend(systems(but)),
        }
    }
    let is_linux_too = |system: &str| !["windows", "target_vendor = \"apple\""].contains(&system);
    let is_there = |system: &str| tested.contains(system) || !is_linux_too(system) && excluded.contains(system);
    let no_way_round = named.iter().filter(|system| !is_there(system)).map(|system| format!("none but {system}"));
    let of_few = ["rustix::", "std::os::", "\"/proc", "\"/sys", "\"/dev", "pthread_"].into_iter();
    let unsaid = of_few.filter(|word| named.is_empty() && code.contains(word)).map(|word| format!("{word} everywhere"));
    // The compiler sees both branches.
    let statements = code.match_indices("cfg!(").map(|(at, _)| code[at..].split(';').next().unwrap());
    let one_sided = statements.filter(|statement| {
        conditions(statement, "cfg!(").any(|condition| !systems(condition).is_empty())
            && !statement.contains("} else {")
    });
    no_way_round.chain(unsaid).chain(one_sided.map(str::to_owned)).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn what_only_some_systems_have_has_a_way_round_in_the_same_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of_unix = std::fs::read_to_string(root.join("store.rs")).unwrap().contains("#[cfg(unix)]\nmod file;");
    let mut with_systems = 0;
    for path in sources(&root) {
        let source = std::fs::read_to_string(&path).unwrap();
        let of = (of_unix && path.starts_with(root.join("store/file"))).then_some("unix");
        assert_eq!(faults(&source, of), [""; 0], "{path:?}");
        with_systems += usize::from(conditions(&source, "#[cfg(").any(|condition| !systems(condition).is_empty()));
    }
    assert!(with_systems >= 4, "{with_systems} files name systems");
}

#[test]
fn a_way_round_that_is_missing_is_noticed() {
    let only = "#[cfg(target_os = \"linux\")]\nfn now() {}\n";
    let not = "#[cfg(not(target_os = \"linux\"))]\nfn now() {}\n";
    let tested = "#[cfg(any(test, not(target_os = \"linux\")))]\nmod elsewhere {}\n";
    let apple = "#[cfg(target_vendor = \"apple\")]\nfn now() {}\n";
    for (what, source, is_sound) in [
        ("nothing of any system", "fn now() {}\n".to_owned(), true),
        ("a comment", "// #[cfg(unix)] rustix::\n".to_owned(), true),
        ("Linux only", only.to_owned(), false),
        ("a way round that no test takes", [only, not].concat(), false),
        ("a way round that a test takes", [only, not, tested].concat(), true),
        ("one for another system", [only, &tested.replace("linux", "android")].concat(), false),
        ("Apple's only", apple.to_owned(), false),
        (
            "Apple's, and what Linux does",
            [apple, &apple.replace("target", "not(target").replace(")]", "))]")].concat(),
            true,
        ),
        ("a call that says nothing of systems", "fn id() { rustix::process::getpid() }\n".to_owned(), false),
        ("a file of Linux", "File::open(\"/proc/self/maps\")\n".to_owned(), false),
        ("both branches", "if cfg!(windows) { 1 } else { 2 };".to_owned(), true),
        ("one branch", "if cfg!(windows) { return; }".to_owned(), false),
    ] {
        assert_eq!(faults(&source, None).is_empty(), is_sound, "{what}: {:?}", faults(&source, None));
    }
}
