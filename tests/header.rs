//! The committed C header is what the source says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

use std::path::Path;

/// Formats the header as cbindgen makes it of src/ffi, with the version of Cargo.toml.
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
    for file in ["status", "config", "client", "values", "library"] {
        builder = builder.with_src(root.join(format!("src/ffi/{file}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("src/ffi can be read").write(&mut text);
    String::from_utf8(text).expect("a header is text")
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
