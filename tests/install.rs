//! What `cargo cinstall` leaves, and the examples built from it as others would: through pkg-config and through CMake.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod languages;
mod standin;
mod temp;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use languages::{PYTHON, built, command, printed, root, run};
use standin::Standin;
use temp::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CARGO_C: &str = "cargo-c (cargo install --locked cargo-c)";
const PKG_CONFIG: &str = "pkg-config (Debian: apt-get install pkg-config)";
const CMAKE: &str = "CMake (Debian: apt-get install cmake make)";
const BINUTILS: &str = "binutils (Debian: apt-get install binutils)";
const COMPILERS: &str = "gcc and clang (Debian: apt-get install gcc g++ clang libc6-dev)";
const OTHERS: &str = "git, tar, gzip and coreutils";

/// What must stay the same for a program that was linked: before 1.0 the minor version too.
fn compatible() -> &'static str {
    let minor = if VERSION.starts_with("0.") { 2 } else { 1 };
    &VERSION[..VERSION.match_indices('.').nth(minor - 1).unwrap().0]
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// To the terminal: the harness keeps what macros print.
fn tell(note: &str) {
    std::io::stderr().write_all(format!("{note}\n").as_bytes()).unwrap();
}

fn called(program: &str, arguments: &[&str], install: &str) -> String {
    let mut command = command(program, &[]);
    command.args(arguments).current_dir(root());
    printed(command, install)
}

/// Every file below, and every link with what it leads to, sorted.
fn files_below(folder: &Path) -> BTreeSet<String> {
    fn collect(folder: &Path, top: &Path, files: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap();
            match path.read_link() {
                Ok(leads_to) => _ = files.insert(format!("{name} -> {}", leads_to.display())),
                Err(_) if path.is_dir() => collect(&path, top, files),
                Err(_) => _ = files.insert(name.to_owned()),
            }
        }
    }
    let mut files = BTreeSet::new();
    collect(folder, folder, &mut files);
    files
}

/// What `readelf` names behind a tag of the dynamic section, as NEEDED.
fn dynamic(file: &Path, tag: &str) -> Vec<String> {
    let text = called("readelf", &["--dynamic", "--wide", file.to_str().unwrap()], BINUTILS);
    let lines = text.lines().filter(|line| line.contains(&format!("({tag})")));
    lines.map(|line| line.split_once('[').unwrap().1.trim_end().trim_end_matches(']').to_owned()).collect()
}

/// Where a program or a library would have others searched for, but for where the system does.
fn search_paths(file: &Path) -> Vec<String> {
    [dynamic(file, "RPATH"), dynamic(file, "RUNPATH")].concat()
}

/// Those of the texts that are somewhere in a file.
fn found_in<'a>(file: &Path, texts: &'a [String]) -> Vec<&'a String> {
    let bytes = std::fs::read(file).unwrap();
    texts.iter().filter(|text| bytes.windows(text.len()).any(|part| part == text.as_bytes())).collect()
}

#[test]
fn the_cmake_package_has_the_version_of_the_manifest() {
    let text = read("include/cmake/tokauthConfigVersion.cmake");
    assert!(text.contains(&format!("set(PACKAGE_VERSION {VERSION})\n")), "{text}");
    assert!(text.contains(&format!("VERSION_LESS {}", compatible())), "{text}");
    assert!(read("include/cmake/tokauthConfig.cmake").contains(&format!("find_package(tokauth {} ", compatible())));
}

#[test]
fn all_that_an_install_needs_is_in_the_package_and_named_in_the_manifest() {
    let packaged = called(env!("CARGO"), &["package", "--list", "--allow-dirty", "--offline"], "");
    let packaged: BTreeSet<&str> = packaged.lines().collect();
    for file in files_below(&root().join("include")).into_iter().map(|file| format!("include/{file}")) {
        assert!(packaged.contains(&file[..]), "{file} is not packaged");
    }
    for file in ["build.rs", "README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "Cargo.lock"] {
        assert!(packaged.contains(file), "{file} is not packaged");
    }

    // Quiet, for it would tell of other work on this machine that it waits for.
    let metadata =
        called(env!("CARGO"), &["metadata", "--quiet", "--no-deps", "--format-version", "1", "--offline"], "");
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let capi = &metadata["packages"][0]["metadata"]["capi"];
    let expected = serde_json::json!({
        "name": "tokauth",
        "generation": false,
        "subdirectory": false,
    });
    assert_eq!(capi["header"], expected, "the committed header is what is installed");
    assert_eq!(capi["install"]["include"]["asset"][0]["from"], "include/*.h*");
    assert_eq!(capi["install"]["data"]["asset"][0]["from"], "include/cmake/*.cmake");
    let installed = |file: &String| match file.strip_prefix("cmake/") {
        Some(file) => file.ends_with(".cmake") && !file.contains('/'),
        None => file.contains(".h") && !file.contains('/'),
    };
    for file in files_below(&root().join("include")) {
        assert!(installed(&file), "include/{file} is in no list of the manifest's");
    }
}

/// Proves that the judges below see what they look for.
#[test]
fn a_search_path_and_a_build_path_in_a_program_are_noticed() {
    let folder = TempDir::new();
    let (source, plain, planted) = (folder.join("main.c"), folder.join("plain"), folder.join("planted"));
    std::fs::write(&source, "const char *where = WHERE;\nint main(void) { return !where; }\n").unwrap();
    let gcc = |more: &[&str]| called("gcc", &[&[&source[..]], more].concat(), COMPILERS);
    gcc(&["-DWHERE=\"nowhere\"", "-o", &plain]);
    gcc(&["-DWHERE=\"/home/somebody/src/lib.rs\"", "-Wl,-rpath,/opt/planted", "-o", &planted]);
    let texts = ["/home/somebody/".to_owned(), "/home/other/".to_owned()];
    assert_eq!((search_paths(Path::new(&plain)), found_in(Path::new(&plain), &texts)), (vec![], vec![]));
    assert_eq!(search_paths(Path::new(&planted)), ["/opt/planted"]);
    assert_eq!(found_in(Path::new(&planted), &texts), [&texts[0]]);
    gcc(&["-DWHERE=\"nowhere\"", "-Wl,--disable-new-dtags,-rpath,/opt/older", "-o", &planted]);
    assert_eq!(search_paths(Path::new(&planted)), ["/opt/older"]);
    assert!(dynamic(Path::new(&plain), "NEEDED").iter().any(|name| name.starts_with("libc.so")));
}

/// A tree as a packager gets it: a prefix below a staging folder.
struct Stage {
    destdir: PathBuf,
    prefix: String,
    libdir: String,
}

/// Where all of this is built: under the target directory.
fn workshop() -> PathBuf {
    built().ancestors().nth(2).unwrap().join("install")
}

/// The source as a registry would give it, with what the manifest includes and no other file.
fn packaged_source() -> PathBuf {
    let folder = workshop().join("crate");
    let package = ["package", "--no-verify", "--allow-dirty", "--locked", "--offline", "--quiet", "--target-dir"];
    called(env!("CARGO"), &[&package[..], &[folder.to_str().unwrap()]].concat(), "");
    let (name, folder) = (format!("libtokauth-{VERSION}"), folder.join("package"));
    let _ = std::fs::remove_dir_all(folder.join(&name)); // of the last run
    let archive = folder.join(format!("{name}.crate"));
    called("tar", &["-xzf", archive.to_str().unwrap(), "-C", folder.to_str().unwrap()], OTHERS);
    folder.join(name)
}

impl Stage {
    /// Installs with these options; a prefix that differs from the last one's has cargo-c build everything anew.
    fn new(name: &str, source: &Path, prefix: &str, libdir: &str, more: &[&str]) -> Stage {
        called("cargo-cinstall", &["cinstall", "--version"], CARGO_C);
        let folder = workshop();
        let destdir = folder.join(name);
        let _ = std::fs::remove_dir_all(&destdir); // of the last run
        let mut cinstall = command("cargo-cinstall", &[]);
        cinstall.args(["cinstall", "--locked", "--prefix", prefix, "--libdir", libdir]).args(more);
        cinstall.arg("--target-dir").arg(folder.join("target")).arg("--destdir").arg(&destdir).current_dir(source);
        printed(cinstall, CARGO_C);
        Stage { destdir, prefix: prefix.to_owned(), libdir: libdir.to_owned() }
    }

    fn folder(&self) -> PathBuf {
        self.destdir.join(self.prefix.trim_start_matches('/'))
    }

    fn libraries(&self) -> PathBuf {
        self.folder().join(&self.libdir)
    }

    /// What pkg-config says of it, in the words of a shell.
    fn flags(&self, arguments: &[&str]) -> String {
        let mut pkg_config = command("pkg-config", &[]);
        pkg_config.env("PKG_CONFIG_LIBDIR", self.libraries().join("pkgconfig"));
        pkg_config.env("PKG_CONFIG_SYSROOT_DIR", &self.destdir).args(arguments).arg("tokauth");
        printed(pkg_config, PKG_CONFIG).trim().to_owned()
    }
}

/// As it is released, from the packaged source.
fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| Stage::new("stage", &packaged_source(), "/usr", "lib", &["--release"]))
}

struct Example {
    source: PathBuf,
    name: String,
    /// What its own comment links beside tokauth.
    libraries: Vec<String>,
}

/// The programs of a folder of examples.
fn examples(language: &str) -> Vec<Example> {
    let folder = root().join("examples").join(language);
    let sources = files_below(&folder).into_iter().filter(|file| file.ends_with(&format!(".{language}")));
    let example = |file: String| {
        let text = read(folder.join(&file));
        let line = text.lines().find(|line| line.contains("-ltokauth")).unwrap_or_else(|| panic!("{file}: no command"));
        let others = line.split_whitespace().filter(|word| word.starts_with("-l") && *word != "-ltokauth");
        let name = file.split('.').next().unwrap().to_owned();
        Example { source: folder.join(&file), name, libraries: others.map(str::to_owned).collect() }
    };
    let examples: Vec<Example> = sources.map(example).collect();
    assert!(!examples.is_empty());
    examples
}

/// Each language with its compilers, and its standards by each of their names.
const LANGUAGES: [(&str, [&str; 2], &[&str]); 2] = [
    ("c", ["gcc", "clang"], &["c99", "c11", "c23 c2x"]),
    ("cpp", ["g++", "clang++"], &["c++11", "c++14", "c++17", "c++20"]),
];

/// The first of the names that a compiler knows.
fn known_as(compiler: &str, language: &str, names: &'static str) -> Option<&'static str> {
    names.split(' ').find(|name| {
        let mut probe = command(compiler, &[]);
        let language = language.replace("cpp", "c++");
        probe.args([&format!("-std={name}"), "-x", &language, "-fsyntax-only", "/dev/null"]);
        run(probe, COMPILERS).status.success()
    })
}

const STRICT: &str = "-Wall -Wextra -Wpedantic -Werror";

/// That the program searches nowhere for libraries and needs ours only as it was linked; the small one gets a token.
fn holds(program: &Path, stage: &Stage, linked: &str, standin: &Standin) {
    assert_eq!(search_paths(program), [""; 0], "{program:?}");
    let ours: Vec<String> = dynamic(program, "NEEDED").into_iter().filter(|name| name.contains("tokauth")).collect();
    let soname = format!("libtokauth.so.{}", compatible());
    let expected = if linked == "shared" { vec![soname] } else { vec![] };
    assert_eq!(ours, expected, "{program:?}");
    if program.file_name().unwrap().to_str().unwrap().starts_with("get_token") {
        let mut command = command(program, &standin.options_tls("oauth2"));
        command.env_remove("LD_LIBRARY_PATH");
        if linked == "shared" {
            command.env("LD_LIBRARY_PATH", stage.libraries());
        }
        let text = printed(command, "");
        assert!(text.starts_with("Authorization: Bearer ") && text.ends_with("requests sent: 1\n"), "{text}");
    }
}

/// As the README says it, in a shell.
fn build_through_pkg_config(compiler: &str, more: &str, flags: &str, example: &Example, program: &Path) {
    let libraries = example.libraries.join(" ");
    let (source, program) = (&example.source, program.display());
    let line = format!("{compiler} {more} '{}' {flags} {libraries} -o '{program}'", source.display());
    called("sh", &["-c", &line], COMPILERS);
}

/// The shared library, and the archive where a linker would take the shared one.
fn flags_for(linked: &str, stage: &Stage, more: &[&str]) -> String {
    match linked {
        "shared" => stage.flags(&[&["--cflags", "--libs"], more].concat()),
        _ => stage.flags(&[&["--static", "--cflags", "--libs"], more].concat()).replace("-ltokauth", "-l:libtokauth.a"),
    }
}

#[test]
#[ignore = "needs cargo-c and builds a release; .ci/run asks for it"]
fn an_install_leaves_these_files_and_no_other() {
    let stage = stage();
    let expected = [
        "include/tokauth.h".to_owned(),
        "include/tokauth.hpp".to_owned(),
        "lib/libtokauth.a".to_owned(),
        format!("lib/libtokauth.so -> libtokauth.so.{VERSION}"),
        format!("lib/libtokauth.so.{VERSION}"),
        format!("lib/libtokauth.so.{} -> libtokauth.so.{VERSION}", compatible()),
        "lib/pkgconfig/tokauth.pc".to_owned(),
        "share/cmake/tokauth/tokauthConfig.cmake".to_owned(),
        "share/cmake/tokauth/tokauthConfigVersion.cmake".to_owned(),
    ];
    assert_eq!(files_below(&stage.destdir), expected.map(|file| format!("usr/{file}")).into());
    for header in ["tokauth.h", "tokauth.hpp"] {
        assert_eq!(read(stage.folder().join("include").join(header)), read(Path::new("include").join(header)));
    }

    let library = stage.libraries().join("libtokauth.so");
    assert_eq!(dynamic(&library, "SONAME"), [format!("libtokauth.so.{}", compatible())]);
    assert_eq!(search_paths(&library), [""; 0]);
    let exported = ["--dynamic", "--defined-only", "--format=just-symbols", library.to_str().unwrap()];
    let exported: BTreeSet<String> = called("nm", &exported, BINUTILS).lines().map(str::to_owned).collect();
    let promised = read("tests/symbols.txt");
    let promised = promised.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(exported, promised.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect());
    let size = library.metadata().unwrap().len();
    tell(&format!("libtokauth.so has {size} bytes, {} symbols", exported.len()));
    assert!(size < 2 * 1024 * 1024, "{size} bytes");

    assert_eq!(stage.flags(&["--modversion"]), VERSION);
    assert!(read(stage.libraries().join("pkgconfig/tokauth.pc")).starts_with("prefix=/usr\n"));
    assert!(!stage.flags(&["--libs"]).contains("pthread"), "what only static linking needs");
}

#[test]
#[ignore = "needs cargo-c, pkg-config and clang and builds a release; .ci/run asks for it"]
fn every_example_builds_through_pkg_config_in_every_standard() {
    let (stage, standin, folder) = (stage(), Standin::start(), TempDir::new());
    for (language, compilers, standards) in LANGUAGES {
        for compiler in compilers {
            let mut tried = Vec::new();
            for names in standards {
                let Some(standard) = known_as(compiler, language, names) else {
                    tell(&format!("{compiler} knows no {names}"));
                    continue;
                };
                for (linked, example) in
                    ["shared", "static"].iter().flat_map(|l| examples(language).into_iter().map(move |e| (l, e)))
                {
                    let program =
                        PathBuf::from(folder.join(&format!("{}-{compiler}-{standard}-{linked}", example.name)));
                    let more = format!("-std={standard} {STRICT}");
                    build_through_pkg_config(compiler, &more, &flags_for(linked, stage, &[]), &example, &program);
                    holds(&program, stage, linked, &standin);
                    std::fs::remove_file(program).unwrap();
                }
                tried.push(standard);
            }
            assert!(tried.len() > 1, "{compiler} knows {tried:?}");
            tell(&format!("{compiler} with pkg-config, shared and static: {}", tried.join(" ")));
        }
    }
}

/// By names that every compiler here knows.
const CMAKE_STANDARDS: [(&str, &[&str]); 2] =
    [("c", &["c99", "c11", "c2x"]), ("cpp", &["c++11", "c++14", "c++17", "c++20"])];

/// A project that finds the package, and makes each example once for each standard and each target.
fn cmake_project() -> String {
    let mut lines = format!(
        "cmake_minimum_required(VERSION 3.10)\n\
         project(examples C CXX)\n\
         foreach(other 0.0 0.{VERSION} {VERSION}.1 99)\n\
         find_package(tokauth ${{other}} QUIET)\n\
         if(tokauth_FOUND)\n\
         message(FATAL_ERROR \"{VERSION} was taken for ${{other}}\")\n\
         endif()\n\
         unset(tokauth_DIR CACHE)\n\
         endforeach()\n\
         find_package(tokauth {VERSION} EXACT REQUIRED)\n\
         find_package(tokauth {} REQUIRED)\n",
        compatible()
    );
    for (language, standards) in CMAKE_STANDARDS {
        for (example, standard) in examples(language).iter().flat_map(|e| standards.iter().map(move |s| (e, s))) {
            for (linked, target) in [("shared", "tokauth::tokauth"), ("static", "tokauth::tokauth_static")] {
                let name = format!("{}-{standard}-{linked}", example.name);
                let (source, others) = (example.source.display(), example.libraries.join(" "));
                lines += &format!(
                    "add_executable({name} \"{source}\")\n\
                     target_compile_options({name} PRIVATE -std={standard} {})\n\
                     target_link_libraries({name} PRIVATE {target} {others})\n",
                    STRICT
                );
            }
        }
    }
    lines
}

/// Configures and builds that project.
fn build_through_cmake(stage: &Stage, compilers: [&str; 2], folder: &TempDir) -> Vec<PathBuf> {
    let (source, build) = (folder.join("project"), folder.join(&format!("build with {}", compilers[0])));
    let _ = std::fs::create_dir(&source); // is there for the second compiler
    std::fs::write(Path::new(&source).join("CMakeLists.txt"), cmake_project()).unwrap();
    let mut configure = command("cmake", &[]);
    configure.args(["-S", &source, "-B", &build, "-DCMAKE_SKIP_RPATH=ON"]);
    // The second is for packages in a folder of libraries where CMake does not look by itself.
    let places = [stage.folder(), stage.libraries().join("cmake")].map(|place| place.display().to_string());
    configure.arg(format!("-DCMAKE_PREFIX_PATH={}", places.join(";")));
    configure.args([format!("-DCMAKE_C_COMPILER={}", compilers[0]), format!("-DCMAKE_CXX_COMPILER={}", compilers[1])]);
    printed(configure, CMAKE);
    called("cmake", &["--build", &build, "--parallel", "2"], CMAKE);
    let is_program = |file: &String| file.contains("-shared") || file.contains("-static");
    let programs = files_below(Path::new(&build)).into_iter().filter(|file| is_program(file) && !file.contains('/'));
    programs.map(|file| Path::new(&build).join(file)).collect()
}

fn linked_as(program: &Path) -> &str {
    if program.to_str().unwrap().ends_with("-static") { "static" } else { "shared" }
}

#[test]
#[ignore = "needs cargo-c, CMake and clang and builds a release; .ci/run asks for it"]
fn every_example_builds_through_cmake() {
    let (stage, standin, folder) = (stage(), Standin::start(), TempDir::new());
    for compilers in [["gcc", "g++"], ["clang", "clang++"]] {
        let programs = build_through_cmake(stage, compilers, &folder);
        let expected = CMAKE_STANDARDS.map(|(language, standards)| 2 * standards.len() * examples(language).len());
        assert_eq!(programs.len(), expected.iter().sum::<usize>(), "{programs:?}");
        programs.iter().for_each(|program| holds(program, stage, linked_as(program), &standin));
        tell(&format!("{} with CMake, shared and static, in all standards", compilers.join(" and ")));
    }
}

/// The small programs, through pkg-config and CMake.
fn works_at(stage: &Stage, more: &[&str]) {
    let (standin, folder) = (Standin::start(), TempDir::new());
    for (language, compiler) in [("c", "gcc"), ("cpp", "g++")] {
        let all = examples(language);
        let example = all.iter().find(|example| example.name == "get_token").unwrap();
        for linked in ["shared", "static"] {
            let program = PathBuf::from(folder.join(&format!("get_token-{language}-{linked}")));
            build_through_pkg_config(compiler, STRICT, &flags_for(linked, stage, more), example, &program);
            holds(&program, stage, linked, &standin);
        }
    }
    works_through_cmake(stage);
}

fn works_through_cmake(stage: &Stage) {
    let (standin, folder) = (Standin::start(), TempDir::new());
    let programs = build_through_cmake(stage, ["gcc", "g++"], &folder);
    assert!(!programs.is_empty());
    programs.iter().for_each(|program| holds(program, stage, linked_as(program), &standin));
}

#[test]
#[ignore = "needs cargo-c, pkg-config and CMake and builds a release; .ci/run asks for it"]
fn an_installed_tree_may_move() {
    let folder = TempDir::new();
    let moved = folder.join("else where");
    called("cp", &["-a", stage().folder().to_str().unwrap(), &moved], OTHERS);
    let mut moved = Stage { destdir: "/".into(), prefix: moved, libdir: "lib".into() };
    works_at(&moved, &["--define-prefix"]);

    // As other systems name that folder.
    let multiarch = called("gcc", &["-print-multiarch"], COMPILERS);
    for libdir in ["lib64".to_owned(), format!("lib/{}", multiarch.trim())] {
        std::fs::create_dir_all(moved.folder().join(&libdir).parent().unwrap()).unwrap();
        std::fs::rename(moved.libraries(), moved.folder().join(&libdir)).unwrap();
        moved.libdir = libdir;
        works_through_cmake(&moved);
    }
}

#[test]
#[ignore = "needs cargo-c, pkg-config and CMake; .ci/run asks for it"]
fn the_library_may_lie_in_an_odd_folder() {
    works_at(&Stage::new("odd", root(), "/opt/odd", "lib/odd", &["--debug", "--datadir", "lib/odd"]), &[]);
}

/// The block of the README that begins so.
fn readme(begin: &str) -> String {
    let text = read("README.md");
    let mut blocks = text.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1);
    blocks.find(|block| block.starts_with(begin)).unwrap_or_else(|| panic!("no block {begin}")).to_owned() + "\n"
}

/// A folder with the README's programs, and a shell in it.
fn newcomer(standin: &Standin, commands: &str) -> (TempDir, std::process::Command) {
    let folder = TempDir::new();
    std::fs::write(folder.join("my.c"), readme("#include <stdio.h>")).unwrap();
    std::fs::write(folder.join("my.py"), readme("import tokauth")).unwrap();
    let mut shell = command("sh", &standin.options_tls("calenso"));
    shell.args(["-eu", "-c", commands]).current_dir(folder.join("")).env_remove("LD_LIBRARY_PATH");
    (folder, shell)
}

const PRINTED: &str = "Authorization: Bearer ...\n";

#[test]
#[ignore = "needs cargo-c, pkg-config and CMake and builds a release; .ci/run asks for it"]
fn the_readme_s_commands_install_and_link() {
    let (stage, standin) = (stage(), Standin::start());
    let install = readme("cargo install --locked cargo-c");
    let ours = "cargo cinstall --locked --release --prefix /usr/local "; // as of the stage, but for the place
    assert!(install.lines().nth(1).unwrap().starts_with(ours), "{install}");
    let package = called(env!("CARGO"), &["pkgid", "--offline"], "");
    assert!(package.contains("#libtokauth@") && install.contains("\ncargo add libtokauth "), "{package}");

    for line in readme("gcc my.c $(pkg-config").lines() {
        let (_folder, mut shell) = newcomer(&standin, &format!("{line}\n./my"));
        shell.env("PKG_CONFIG_LIBDIR", stage.libraries().join("pkgconfig"));
        shell.env("PKG_CONFIG_SYSROOT_DIR", &stage.destdir);
        if !line.contains("--static") {
            shell.env("LD_LIBRARY_PATH", stage.libraries());
        }
        assert_eq!(printed(shell, PKG_CONFIG), PRINTED, "{line}");
    }

    let (folder, mut shell) =
        newcomer(&standin, "cmake -S . -B build >&2 && cmake --build build >&2 && build/my 2>/dev/null");
    let lines = readme("find_package(tokauth");
    let project = format!("cmake_minimum_required(VERSION 3.10)\nproject(my C)\nadd_executable(my my.c)\n{lines}");
    std::fs::write(folder.join("CMakeLists.txt"), project).unwrap();
    shell.env("CMAKE_PREFIX_PATH", stage.folder());
    let text = printed(shell, CMAKE);
    assert!(text.starts_with(PRINTED), "{text}");
}

#[test]
#[ignore = "builds a release; .ci/run asks for it"]
fn without_cargo_c_the_readme_s_plain_build_is_enough() {
    let standin = Standin::start();
    let manifest = root().join("Cargo.toml");
    let commands =
        format!("cargo() {{ command cargo \"$@\" --locked --quiet --manifest-path '{}'; }}\n", manifest.display());
    let (folder, shell) = newcomer(&standin, &(commands + &readme("cargo build --release")));
    let target = workshop().parent().unwrap().to_owned();
    for (name, place) in
        [("target", &target), ("include", &root().join("include")), ("examples", &root().join("examples"))]
    {
        std::os::unix::fs::symlink(place, folder.join(name)).unwrap();
    }
    assert_eq!(printed(shell, COMPILERS), PRINTED.repeat(2));
    assert_eq!(search_paths(&target.join("release/libtokauth.so")), [""; 0]);
    assert_eq!(search_paths(Path::new(&folder.join("my"))), [""; 0]);
}

/// A copy of the files at hand, with the last commit's date.
fn copy_of_the_tree(to: &str) {
    called("git", &["clone", "--quiet", "--no-checkout", ".", to], OTHERS);
    let files =
        "git ls-files -z --cached --others --exclude-standard | tar --null --create --files-from=- | tar -xC \"$0\"";
    called("sh", &["-c", files, to], OTHERS);
}

#[test]
#[ignore = "needs cargo-c and builds two releases; .ci/run asks for it"]
fn a_release_is_the_same_twice_and_names_no_build_path() {
    called("cargo-cinstall", &["cinstall", "--version"], CARGO_C);
    let folder = TempDir::new();
    let places = ["one", "another place with a longer name"].map(|name| folder.join(name));
    places.iter().for_each(|place| copy_of_the_tree(place));
    let release = |place: &str| {
        let mut release = command(Path::new(place).join(".ci/release"), &[]);
        release.env("CARGO_TARGET_DIR", format!("{place}-target")).arg(format!("{place}-artefacts"));
        release
    };
    let artefacts = places.clone().map(|place| {
        let text = printed(release(&place), OTHERS);
        text.lines().filter(|line| line.ends_with(".tar.gz") || line.ends_with(".whl")).for_each(tell);
        PathBuf::from(format!("{place}-artefacts"))
    });
    let names = files_below(&artefacts[0]);
    assert_eq!(names, files_below(&artefacts[1]));
    let of = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).count();
    assert_eq!((names.len(), of(".tar.gz"), of(".whl"), of("SHA256SUMS")), (3, 1, 1, 1), "{names:?}");
    let differ = |name: &&String| {
        std::fs::read(artefacts[0].join(name)).unwrap() != std::fs::read(artefacts[1].join(name)).unwrap()
    };
    assert_eq!(names.iter().filter(differ).collect::<Vec<_>>(), [""; 0]);

    let home = std::env::var("HOME").unwrap();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"));
    let paths = [folder.join(""), cargo_home + "/", home + "/", root().to_str().unwrap().to_owned() + "/"];
    for name in names.iter().filter(|name| *name != "SHA256SUMS") {
        let (archive, unpacked) = (artefacts[0].join(name), folder.join("unpacked"));
        std::fs::create_dir(&unpacked).unwrap();
        match name.ends_with(".whl") {
            true => called("python3", &["-m", "zipfile", "-e", archive.to_str().unwrap(), &unpacked], PYTHON),
            false => called("tar", &["-xzf", archive.to_str().unwrap(), "-C", &unpacked], OTHERS),
        };
        let files = files_below(Path::new(&unpacked));
        for file in files.iter().filter(|file| !file.contains(" -> ")) {
            assert_eq!(found_in(&Path::new(&unpacked).join(file), &paths), [""; 0], "{file}");
        }
        for linked in
            ["licenses/rustls-0", "licenses/webpki-roots-", "licenses/serde_json-", "/third_party/fiat/LICENSE"]
        {
            assert!(files.iter().any(|file| file.contains(linked)), "{name} has no {linked}: {files:?}");
        }
        std::fs::remove_dir_all(unpacked).unwrap();
    }

    // And were there one, the script would say so.
    std::fs::remove_dir_all(&artefacts[0]).unwrap();
    std::fs::write(Path::new(&places[0]).join("README.md"), format!("See {}/src.\n", places[0])).unwrap();
    let planted = run(release(&places[0]), OTHERS);
    let text = String::from_utf8_lossy(&planted.stderr);
    assert!(!planted.status.success() && text.contains(&format!("{} is written in ", places[0])), "{text}");
}

/// A hundred runs of a program, sorted.
fn times(mut run: impl FnMut() -> Duration) -> String {
    let mut times: Vec<Duration> = (0..100).map(|_| run()).collect();
    times.sort_unstable();
    format!("{:.2?} at least, {:.2?} in the median", times[0], times[50])
}

/// Figures, of which only the size of a static program is judged: times and memory are the machine's.
#[test]
#[ignore = "needs cargo-c and builds a release; .ci/run asks for it"]
fn what_it_costs_a_c_program() {
    let (stage, standin, folder) = (stage(), Standin::start(), TempDir::new());
    let build = |source: &str, name: &str, more: &str, flags: &str| {
        let program = PathBuf::from(folder.join(name));
        let example = Example { source: root().join(source), name: name.to_owned(), libraries: Vec::new() };
        build_through_pkg_config("gcc", &format!("{STRICT} -O2 {more}"), flags, &example, &program);
        program
    };
    for sections in ["", "-Wl,--gc-sections"] {
        let more = format!("-s {sections}");
        let program = build("examples/c/get_token.c", "small", &more, &flags_for("static", stage, &[]));
        let size = program.metadata().unwrap().len();
        tell(&format!("a stripped static program {sections}: {size} bytes"));
        assert!(size < 3 * 1024 * 1024, "{size} bytes");
    }

    for linked in ["shared", "static"] {
        let program = build("tests/c/memory.c", "memory", "", &flags_for(linked, stage, &[]));
        let start = |arguments: &[&str]| {
            let mut command = command(&program, &standin.options_tls("oauth2"));
            command.args(arguments).env("LD_LIBRARY_PATH", stage.libraries());
            printed(command, "")
        };
        tell(&format!("memory of a program, {linked}:\n{}", start(&[]).trim_end()));
        let begun = || {
            let began = Instant::now();
            start(&["only begin"]);
            began.elapsed()
        };
        tell(&format!("{linked}, from fork to the end of a program that calls once: {}", times(begun)));
    }
    let nothing = || {
        let began = Instant::now();
        called("true", &[], OTHERS);
        began.elapsed()
    };
    tell(&format!("the same of true(1): {}", times(nothing)));
    let load = build("tests/c/load.c", "load", "", "-ldl");
    let library = stage.libraries().join("libtokauth.so");
    let load = || {
        Duration::from_nanos(called(load.to_str().unwrap(), &[library.to_str().unwrap()], "").trim().parse().unwrap())
    };
    tell(&format!("dlopen and a call: {}", times(load)));
}
