//! The committed C header is what the source says, and a manual that needs no other page.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use tokauth::{OPTIONS, providers};

/// As in the rest of the source.
const COLUMNS: usize = 120;
/// One page, the example included.
const CONTRACT: std::ops::RangeInclusive<usize> = 40..=60;
/// What a function says, without the lines that open and close it.
const COMMENT: std::ops::RangeInclusive<usize> = 6..=14;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// A line of a list: `name`, and `text` in a column of its own, in as many lines as it takes.
fn row(list: &mut String, name: &str, text: &str) {
    let mut line = format!(" *   {name:<19} ");
    let indent = line.len();
    for word in text.split_whitespace() {
        if line.len() + word.len() > COLUMNS {
            writeln!(list, "{}", line.trim_end()).unwrap();
            line = format!(" *{:1$}", "", indent - 2);
        }
        line += word;
        line.push(' ');
    }
    writeln!(list, "{}", line.trim_end()).unwrap();
}

/// Which options of its own a provider takes, and what it makes of others.
fn inputs(provider: &str) -> String {
    let description: Value = serde_json::from_str(&read(&format!("src/providers/{provider}.json"))).unwrap();
    let input = |(name, input): (&String, &Value)| {
        let text = |member: &str| input[member].as_str();
        let number = |member: &str| input[member].as_u64();
        let notes = [
            input["required"].as_bool().filter(|required| *required).map(|_| "required".to_owned()),
            text("about").map(str::to_owned),
            text("default").map(|default| format!("{default} unless set")),
            number("min_length").map(|least| match number("max_length") {
                Some(most) => format!("{least} to {most} characters"),
                None => format!("at least {least} characters"),
            }),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        if notes.is_empty() { name.clone() } else { format!("{name} ({})", notes.join("; ")) }
    };
    let mut inputs: Vec<String> = description["inputs"].as_object().into_iter().flatten().map(input).collect();
    if description["token_url"].is_null() {
        inputs.push("token_url (required)".to_owned());
    }
    inputs.extend(description["limits"]["quota"].as_str().map(|quota| format!("quota ({quota} unless set)")));
    inputs.join(", ")
}

/// What stands above the functions of a config: all that can be set.
fn options() -> String {
    let mut list = String::from(
        "/*\n * ---- Config: options are texts under names, in any order, judged together by tokauth_client_new() ----\n \
         *\n",
    );
    for option in OPTIONS {
        let default = if option.default == "none" { String::new() } else { format!(" [{}]", option.default) };
        row(&mut list, option.name, &format!("{}{default}", option.about));
    }
    list += " *\n * In brackets: what applies if it is not set. client_id and a secret are needed always; scope, audience and \
             resource\n * are for providers that list them. The built-in providers, and what they take:\n *\n";
    for name in providers() {
        row(&mut list, name, &inputs(name));
    }
    list + " */\n\n"
}

fn heading(text: &str) -> String {
    format!("/* ---- {text} ---- */\n\n")
}

/// Puts `text` before what is declared as `declaration`, and before the comment of that.
fn before(header: &mut String, declaration: &str, text: &str) {
    let at = header.find(declaration).unwrap_or_else(|| panic!("no {declaration}"));
    header.insert_str(header[..at].rfind("/**").unwrap(), text);
}

/// Formats the header as cbindgen makes it of src/ffi, with the version of Cargo.toml, the options, and headings.
fn generate(root: &Path) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is sound");
    let [major, minor, patch] =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    config.after_includes = Some(format!(
        "\n/** The version of this header; compare with tokauth_version_number(). */\n\
         #define TOKAUTH_VERSION_MAJOR {major}\n\
         #define TOKAUTH_VERSION_MINOR {minor}\n\
         #define TOKAUTH_VERSION_PATCH {patch}\n\
         #define TOKAUTH_VERSION_NUMBER \\\n    \
         (TOKAUTH_VERSION_MAJOR << 16 | TOKAUTH_VERSION_MINOR << 8 | TOKAUTH_VERSION_PATCH)\n\
         #define TOKAUTH_VERSION_STRING \"{}\"",
        env!("CARGO_PKG_VERSION")
    ));
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in ["library", "status", "config", "client", "values"] {
        builder = builder.with_src(root.join(format!("src/ffi/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("src/ffi can be read").write(&mut text);
    let mut header = String::from_utf8(text).expect("a header is text");
    before(&mut header, "#define TOKAUTH_CACHED_ONLY", &heading("Flags and counters"));
    before(&mut header, "typedef struct tokauth_client ", &heading("Types"));
    before(&mut header, "#define TOKAUTH_OK", &heading("Statuses: when they come, and what to do"));
    before(&mut header, "uint32_t tokauth_version_number(", &heading("Library"));
    before(&mut header, "tokauth_config *tokauth_config_new(", &options());
    before(&mut header, "tokauth_status tokauth_client_new(", &heading("Client"));
    before(&mut header, "const char *tokauth_token_value(", &heading("Token"));
    before(&mut header, "tokauth_status tokauth_error_status(", &heading("Error"));
    header
}

#[test]
fn the_committed_header_matches_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("include/tokauth.h");
    let generated = generate(root);
    if std::env::var_os("LIBTOKAUTH_BLESS").is_some() {
        std::fs::write(&path, generated).expect("include/ is writable");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/tokauth.h differs from src/ffi; bless it with: LIBTOKAUTH_BLESS=1 cargo test --test header"
    );
}

/// What a comment stands before: a function, a type or a constant.
struct Item {
    /// Without the lines that open and close it, and without what begins them.
    comment: Vec<String>,
    declaration: String,
}

impl Item {
    fn of(header: &str) -> Vec<Item> {
        let item = |text: &str| {
            let (comment, rest) = text.split_once("*/\n").unwrap();
            let end = if rest.starts_with('#') { rest.find('\n') } else { rest.find(';') };
            let line = |line: &str| line.trim_start().trim_start_matches('*').trim_start().to_owned();
            let comment = comment.trim_end().trim_start_matches('\n').lines().map(line).collect();
            let declaration = rest[..end.unwrap()].split_whitespace().collect::<Vec<_>>().join(" ");
            Item { comment, declaration }
        };
        header.split("/**").skip(1).map(item).collect()
    }

    /// Its name and its parameters, if it is a function.
    fn function(&self) -> Option<(&str, Vec<&str>)> {
        if self.declaration.starts_with("#define ") || self.declaration.starts_with("typedef ") {
            return None;
        }
        let (head, parameters) = self.declaration.split_once('(')?;
        let name = |declared: &'_ str| declared.rfind([' ', '*']).map_or(0, |at| at + 1);
        let parameters = parameters.trim_end_matches(')').split(',').filter(|parameter| *parameter != "void");
        Some((&head[name(head)..], parameters.map(|parameter| &parameter[name(parameter)..]).collect()))
    }

    /// The names behind `@param`.
    fn told(&self) -> Vec<&str> {
        self.comment.iter().filter_map(|line| line.strip_prefix("@param ")?.split_whitespace().next()).collect()
    }
}

/// What is to be mended in a function's comment.
fn faults(item: &Item) -> Vec<String> {
    let (name, parameters) = item.function().unwrap();
    let (text, told) = (item.comment.join("\n"), item.told());
    let first = item.comment[0].as_str();
    // The contract tells of these once for all functions.
    let is_clear = |parameter: &str| {
        parameter == "out_error"
            || Some(&parameter) == parameters.first() && name.starts_with(&format!("tokauth_{parameter}_"))
    };
    let mut faults = Vec::new();
    let mut must = |holds: bool, what: String| faults.extend((!holds).then_some(what));
    must(COMMENT.contains(&item.comment.len()), format!("has {} lines", item.comment.len()));
    must(first.ends_with('.') && !first[..first.len() - 1].contains(". "), "does not begin with one sentence".into());
    must(first.split(' ').next().is_some_and(|verb| verb.ends_with('s')), "does not begin in the third person".into());
    must(
        ["Blocks ", "blocks as ", "oes not block", "Never blocks"].iter().any(|words| text.contains(words)),
        "does not say whether it blocks".into(),
    );
    must(item.declaration.starts_with("void ") != text.contains("\n@return "), "tells its result wrongly".into());
    let last = item.comment.last().unwrap();
    must(last.starts_with("Threads: ") && last.contains(". Since: "), "does not end with threads and version".into());
    for parameter in &parameters {
        must(is_clear(parameter) || told.contains(parameter), format!("does not tell of {parameter}"));
    }
    for parameter in &told {
        must(parameters.contains(parameter), format!("tells of {parameter}, which it has not"));
    }
    let order: Vec<_> = parameters.iter().filter(|parameter| told.contains(parameter)).collect();
    must(order.iter().copied().eq(told.iter()), "tells of its parameters in another order".into());
    faults.iter().map(|fault| format!("{name} {fault}")).collect()
}

#[test]
fn every_function_says_all_that_a_reader_needs() {
    let items = Item::of(&read("include/tokauth.h"));
    let functions: Vec<&Item> = items.iter().filter(|item| item.function().is_some()).collect();
    assert!(functions.len() >= 38, "{}", functions.len());
    assert_eq!(functions.into_iter().flat_map(faults).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_a_comment_lacks_is_noticed() {
    let whole = "/**\n * Sets a thing.\n *\n * Does not block.\n *\n * @param name   its name.\n * @return TOKAUTH_OK.\n \
                 *\n * Threads: any. Since: 0.1.0.\n */\nint32_t tokauth_thing_set(tokauth_thing *thing,\n   const char \
                 *name, tokauth_error **out_error);\n";
    for (from, to, fault) in [
        ("", "", ""),
        ("Sets a thing.", "Set a thing.", "third person"),
        ("Sets a thing.", "Sets a thing. And more.", "one sentence"),
        ("Sets a thing.", "Sets a thing", "one sentence"),
        ("Does not block.", "Is quick.", "whether it blocks"),
        ("@param name ", "@param nam ", "does not tell of name"),
        ("@param name ", "@param nam ", "tells of nam, which it has not"),
        ("@return ", "returns ", "result"),
        ("int32_t ", "void ", "result"),
        ("Threads: ", "On ", "threads and version"),
        (" Since: 0.1.0.", "", "threads and version"),
        (" *\n * Does", &" *\n".repeat(9), "lines"),
        ("*name, tokauth", "*name, int more, tokauth", "does not tell of more"),
        ("(tokauth_thing *thing", "(tokauth_other *other", "does not tell of other"),
        (" * @return", " * @param thing  that.\n * @return", "order"),
    ] {
        let item = &Item::of(&whole.replacen(from, to, 1))[0];
        let faults = faults(item);
        let noticed = if fault.is_empty() { faults.is_empty() } else { faults.iter().any(|text| text.contains(fault)) };
        assert!(noticed, "{from:?} as {to:?}: {faults:?}");
    }
}

#[test]
fn every_type_says_its_version_and_every_constant_has_a_comment() {
    let header = read("include/tokauth.h");
    let items = Item::of(&header);
    let constants = header.lines().filter(|line| line.starts_with("#define TOKAUTH_") && !line.contains("_VERSION_"));
    for constant in constants.filter(|line| *line != "#define TOKAUTH_H") {
        assert!(items.iter().any(|item| item.declaration == constant), "{constant}");
    }
    let types: Vec<&Item> = items.iter().filter(|item| item.declaration.starts_with("typedef ")).collect();
    assert_eq!(types.len(), header.matches("\ntypedef ").count());
    for item in types {
        assert!(item.comment.last().unwrap().contains("Since: "), "{}", item.declaration);
    }
}

/// The first comment of the header.
fn contract(header: &str) -> &str {
    header.split_once("*/").unwrap().0
}

#[test]
fn the_contract_is_one_page_and_leaves_nothing_out() {
    let header = read("include/tokauth.h");
    let contract = contract(&header);
    assert!(CONTRACT.contains(&contract.lines().count()), "{} lines", contract.lines().count());
    for subject in [
        "Status",
        "Errors",
        "Outputs",
        "Handles",
        "NULL",
        "Text",
        "Flags",
        "Threads",
        "Signals",
        "fork()",
        "Blocking",
        "Callbacks",
        "Guest",
        "Panics",
        "Growth",
        "Linking",
    ] {
        assert_eq!(contract.matches(&format!("\n * {subject:<10}")).count(), 1, "{subject}");
    }
}

#[test]
fn no_line_of_a_header_is_longer_than_those_of_the_source() {
    for path in ["include/tokauth.h", "include/tokauth.hpp"] {
        for (number, line) in read(path).lines().enumerate() {
            assert!(line.chars().count() <= COLUMNS && line == line.trim_end(), "{path}:{}: {line}", number + 1);
        }
    }
}
