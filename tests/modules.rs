//! An arrow between modules only points down.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Which top-level modules each of them imports, its tests aside.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources(&root) {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        let module = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let source = std::fs::read_to_string(&path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim().starts_with("//"));
        let names = code
            .flat_map(|line| line.split("crate::").skip(1))
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>());
        imports.entry(module.clone()).or_default().extend(names.filter(|name| !name.is_empty() && *name != module));
    }
    imports.remove("lib");
    imports
}

#[test]
fn modules_import_each_other_without_a_cycle() {
    let mut left = imports();
    assert!(left.len() > 15 && left["client"].contains("exchange"), "the imports are read: {left:?}");
    // Take away what stands on nothing that is left, until nothing is left.
    loop {
        let standing: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, below| below.iter().any(|name| standing.contains(name)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "these import each other in a circle: {left:?}");
}

#[test]
fn nothing_imports_the_c_functions() {
    for (module, below) in imports() {
        assert!(!below.contains("ffi"), "{module}");
    }
}
