//! What a released header promised, the later ones keep: programs that were compiled with it go on working.
//!
//! `tests/abi/` holds the header of each release, under its version. A release adds its own, once and for all:
//! `cp include/tokauth.h tests/abi/0.2.0.h`, with the version that Cargo.toml says. What is there stays as it is, but
//! for the version that is not out yet.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The declarations and constants of a header by their names. Comments, order and blanks do not count, nor what the
/// version macros say.
fn promises(header: &str) -> BTreeMap<String, String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code += before;
        code.push(' ');
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    let code = (code + rest).replace("\\\n", " ");
    let code = code.lines().map(|line| line.split("//").next().unwrap());
    let (directives, code): (Vec<&str>, Vec<&str>) = code.partition(|line| line.trim_start().starts_with('#'));
    let constants = directives.iter().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("#define ")?.trim().split_once(' ')?;
        let value = if name.starts_with("TOKAUTH_VERSION_") { "a version" } else { value.trim() };
        Some((name.to_owned(), value.to_owned()))
    });
    let code = code.join(" ").replace("extern \"C\" {", " ").replace('}', " ");
    let declarations = code.split(';').map(words).filter(|text| !text.is_empty());
    let declarations = declarations.map(|text| {
        let head = text.split_once("(*").map_or(&*text, |(_, name)| name);
        let head = head.split(['(', ')']).next().unwrap();
        (head[head.rfind([' ', '*']).map_or(0, |at| at + 1)..].to_owned(), text)
    });
    constants.chain(declarations.collect::<Vec<_>>()).collect()
}

/// A declaration with one blank wherever there may be any, and none where there need not be.
fn words(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for mark in ["*", "(", ")", ","] {
        words = words.replace(&format!("{mark} "), mark).replace(&format!(" {mark}"), mark);
    }
    words
}

/// What `now` has broken of what `before` promised.
fn broken(before: &str, now: &str) -> Vec<String> {
    let now = promises(now);
    let fault = |(name, before): (String, String)| match now.get(&name) {
        None => Some(format!("{name} is gone")),
        Some(now) if *now != before => Some(format!("{name} was `{before}` and is `{now}`")),
        Some(_) => None,
    };
    promises(before).into_iter().filter_map(fault).collect()
}

#[test]
fn what_breaks_programs_is_noticed_and_nothing_else_is() {
    let before = "/** A comment; with marks. */\n#ifndef TOKAUTH_H\n#define TOKAUTH_H\n#include <stdint.h>\n\
                  #define TOKAUTH_VERSION_PATCH 0\n#define TOKAUTH_VERSION_NUMBER \\\n    (TOKAUTH_VERSION_PATCH << 1)\n\
                  #define TOKAUTH_OK 0\ntypedef struct tokauth_token tokauth_token;\ntypedef int32_t tokauth_status;\n\
                  typedef void (*tokauth_log_fn)(void *user_data, int32_t level);\n#ifdef __cplusplus\nextern \"C\" {\n\
                  #endif // __cplusplus\nconst char *tokauth_name(tokauth_status status);\n\
                  tokauth_status tokauth_get(const tokauth_token *token,\n                           uint64_t *out);\n\
                  #ifdef __cplusplus\n}  // extern \"C\"\n#endif\n#endif  /* TOKAUTH_H */\n";
    let promised = promises(before);
    let names = "TOKAUTH_OK TOKAUTH_VERSION_NUMBER TOKAUTH_VERSION_PATCH tokauth_get tokauth_log_fn tokauth_name \
                 tokauth_status tokauth_token";
    assert_eq!(promised.keys().map(String::as_str).collect::<Vec<_>>().join(" "), names);
    let get = "tokauth_status tokauth_get(const tokauth_token *token,\n                           uint64_t *out);\n";
    for (from, to, fault) in [
        // A function is gone, or is another.
        (get, "", "tokauth_get is gone"),
        ("tokauth_get(", "tokauth_get2(", "tokauth_get is gone"),
        ("uint64_t *out)", "uint32_t *out)", "tokauth_get was"),
        ("uint64_t *out)", "uint64_t out)", "tokauth_get was"),
        ("uint64_t *out)", "uint64_t *out, int more)", "tokauth_get was"),
        ("const tokauth_token *token", "tokauth_token *token", "tokauth_get was"),
        ("tokauth_status tokauth_get", "void tokauth_get", "tokauth_get was"),
        ("const char *tokauth_name", "char *tokauth_name", "tokauth_name was"),
        // So is a type.
        ("typedef int32_t", "typedef int64_t", "tokauth_status was"),
        ("typedef int32_t tokauth_status;", "", "tokauth_status is gone"),
        ("typedef struct tokauth_token tokauth_token;", "typedef void tokauth_token;", "tokauth_token was"),
        ("int32_t level)", "int32_t level, void *more)", "tokauth_log_fn was"),
        ("typedef void (*tokauth_log_fn)", "typedef int (*tokauth_log_fn)", "tokauth_log_fn was"),
        // So is a constant.
        ("TOKAUTH_OK 0", "TOKAUTH_OK 1", "TOKAUTH_OK was `0` and is `1`"),
        ("#define TOKAUTH_OK 0\n", "", "TOKAUTH_OK is gone"),
        ("#define TOKAUTH_OK 0", "/* #define TOKAUTH_OK 0 */", "TOKAUTH_OK is gone"),
        ("#define TOKAUTH_VERSION_PATCH 0\n", "", "TOKAUTH_VERSION_PATCH is gone"),
        // What was added, moved or said otherwise breaks nothing.
        ("", "", ""),
        ("TOKAUTH_VERSION_PATCH 0", "TOKAUTH_VERSION_PATCH 7", ""),
        ("#define TOKAUTH_OK 0", "#define TOKAUTH_OK 0 /* success */\n#define TOKAUTH_ERR 1", ""),
        ("typedef struct", "typedef struct tokauth_more tokauth_more;\ntypedef struct", ""),
        ("const char *tokauth_name", "void tokauth_more(void);\n/* Told; anew. */ const char\n*tokauth_name", ""),
        ("token,\n                           uint64_t", "token, uint64_t", ""),
        ("A comment; with marks.", "tokauth_other(void);", ""),
    ] {
        let broken = broken(before, &before.replacen(from, to, 1));
        let noticed = if fault.is_empty() { broken.is_empty() } else { broken.len() == 1 && broken[0].contains(fault) };
        assert!(noticed, "{from:?} as {to:?}: {broken:?}");
    }
    let moved =
        before.replacen(get, "", 1).replacen("const char *tokauth_name", &format!("{get}const char *tokauth_name"), 1);
    assert!(moved != before && broken(before, &moved).is_empty());
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap()).collect()
}

/// The released headers, the oldest first, with their versions.
fn released() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(root().join("tests/abi")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_by_key(|path| number(path.file_stem().unwrap().to_str().unwrap()));
    let header = |path: PathBuf| {
        let version = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (version, std::fs::read_to_string(path).unwrap())
    };
    paths.into_iter().map(header).collect()
}

#[test]
fn the_header_keeps_what_every_release_promised() {
    let header = std::fs::read_to_string(root().join("include/tokauth.h")).unwrap();
    let released = released();
    assert_eq!(released.first().unwrap().0, "0.1.0");
    for (version, before) in released {
        assert!(number(&version) <= number(env!("CARGO_PKG_VERSION")), "{version} is to come");
        assert!(before.contains(&format!("#define TOKAUTH_VERSION_STRING \"{version}\"\n")), "{version}");
        assert_eq!(broken(&before, &header), [""; 0], "since {version}");
    }
}

#[test]
fn each_release_had_the_functions_that_the_ledger_says() {
    let ledger = std::fs::read_to_string(root().join("tests/symbols.txt")).unwrap();
    for (version, header) in released() {
        let lines = ledger.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name != "#");
        let told: BTreeSet<&str> =
            lines.filter(|(_, since)| number(since) <= number(&version)).map(|(name, _)| name).collect();
        let promised = promises(&header);
        let functions = promised.iter().filter(|(name, text)| text.contains(&format!("{name}(")));
        assert_eq!(functions.map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), told, "{version}");
    }
}
