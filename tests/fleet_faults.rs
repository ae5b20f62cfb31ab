//! A store in Redis whose server is away, refuses, is slow, is wrongly set up, or lies. Each call ends in time with a
//! sentence; tokens come without the store, and where requests are counted none is sent.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
#[allow(dead_code, unreachable_pub)]
#[path = "standin/certificates.rs"]
mod certificates;
mod engine;
mod signal;
mod temp;
mod world;

use std::io::{ErrorKind as Io, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use canary::Watched;
use certificates::{Authority, Flaw};
use engine::{Engine, port};
use rustix::process::Signal;
use temp::TempDir;
use tokauth::seams::{Clock, DOCUMENT_MAX, Deadline, Name, RedisStore, Store, redis_store};
use tokauth::{Builder, ErrorKind, LogLevel};
use world::{S, World, oauth2};

const PASSWORD: &str = "canary-secret-of-the-store";
/// Enough for tokens of an hour.
const BUDGET: &str = "1000/month";

fn value(client: &Watched) -> String {
    client.token().unwrap().value().to_owned()
}

/// A sentence that somebody reads in a log.
#[track_caller]
fn is_sentence(text: &str) {
    assert!(text.starts_with("store: "), "{text}");
    is_line(text);
}

#[track_caller]
fn is_line(text: &str) {
    assert!(text.chars().count() < 600 && !text.contains(char::is_control), "{text:?}");
    canary::search(text);
}

/// Why there is no client.
#[track_caller]
fn refusal(what: &str, builder: &Builder) -> String {
    let world = World::new();
    let Err(error) = world.build(builder) else { panic!("{what}: a client, and {:?}", world.lines.all()) };
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Store, "{text}");
    is_sentence(&text);
    assert_eq!(world.provider.connections(), 0);
    text
}

#[track_caller]
fn warnings(world: &World) -> Vec<String> {
    let lines = world.lines.at(LogLevel::Warning);
    lines.iter().for_each(|line| is_line(line));
    lines
}

// ---- a server of which the test writes every byte ----

/// What a server does with a command.
#[derive(Clone)]
enum Act {
    Say(Vec<u8>),
    /// One byte after the other.
    Drip(Vec<u8>),
    /// After so long.
    Late(Duration, Vec<u8>),
    /// The first, and then the others again and again.
    Flood(&'static [u8], &'static [u8]),
    /// The first, and then the end of the connection.
    Cut(&'static [u8]),
    Silence,
}

fn say(bytes: impl AsRef<[u8]>) -> Act {
    Act::Say(bytes.as_ref().to_vec())
}

/// A bulk string.
fn bulk(text: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("${}\r\n", text.as_ref().len()).as_bytes(), text.as_ref(), b"\r\n"].concat()
}

/// The time, as who has just connected asks for it.
const TIME: &[u8] = b":1795219200000\r\n";

/// As of a Redis that is empty, and of which every command is obeyed.
fn sound_answer(command: &[String]) -> Act {
    let is_script = |word: &str| command[0] == "EVAL" && command[1].contains(word);
    match &*command[0] {
        "AUTH" | "SELECT" => say("+OK\r\n"),
        "INFO" => say(bulk("maxmemory_policy:noeviction\r\nconnected_slaves:1\r\n")),
        "EVAL" if is_script("'TIME'") => say(TIME),
        "EVAL" if is_script("return false") => say("$-1\r\n"),
        "EVAL" if is_script("-- Takes a turn") => say(":0\r\n"),
        _ => say(":1\r\n"),
    }
}

struct Liar {
    port: u16,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    /// The commands of each connection.
    commands: Mutex<Vec<Vec<Vec<String>>>>,
    /// So many bytes left.
    sent: AtomicUsize,
}

impl Liar {
    /// `act`: what to do with a command, of which the words and the number on its connection are told.
    fn start(act: impl Fn(usize, &[String]) -> Act + Send + Sync + 'static) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, told, act) = (listener.local_addr().unwrap().port(), Arc::<Told>::default(), Arc::new(act));
        let kept = told.clone();
        // It ends with the test program.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (told, act) = (told.clone(), act.clone());
                thread::spawn(move || drop(serve(connection.unwrap(), &told, &*act)));
            }
        });
        Liar { port, told: kept }
    }

    /// Who answers like a Redis that has nothing, but `act` from the command of that number on.
    fn after(sound: usize, act: Act) -> Liar {
        Liar::start(move |number, command| if number < sound { sound_answer(command) } else { act.clone() })
    }

    fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    fn store(&self) -> RedisStore {
        redis_store(&self.url(), World::new().clock).unwrap()
    }

    fn commands(&self) -> Vec<Vec<Vec<String>>> {
        self.told.commands.lock().unwrap().clone()
    }
}

fn serve(mut peer: TcpStream, told: &Told, act: &dyn Fn(usize, &[String]) -> Act) -> std::io::Result<()> {
    let own = {
        let mut commands = told.commands.lock().unwrap();
        commands.push(Vec::new());
        commands.len() - 1
    };
    let say = |peer: &mut TcpStream, bytes: &[u8]| {
        peer.write_all(bytes)?;
        told.sent.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok::<_, std::io::Error>(())
    };
    for number in 0.. {
        let command = read_command(&mut peer)?;
        told.commands.lock().unwrap()[own].push(command.clone());
        match act(number, &command) {
            Act::Say(bytes) => say(&mut peer, &bytes)?,
            Act::Drip(bytes) => {
                for byte in bytes {
                    say(&mut peer, &[byte])?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Act::Late(after, bytes) => {
                thread::sleep(after);
                say(&mut peer, &bytes)?;
            }
            Act::Flood(first, rest) => {
                say(&mut peer, first)?;
                let rest = rest.repeat(16 * 1024);
                while told.sent.load(Ordering::SeqCst) < 1 << 30 {
                    say(&mut peer, &rest)?;
                }
            }
            Act::Cut(bytes) => return say(&mut peer, bytes),
            Act::Silence => {}
        }
    }
    Ok(())
}

fn read_command(peer: &mut TcpStream) -> std::io::Result<Vec<String>> {
    let number = |line: String| line[1..].parse::<usize>().map_err(|_| std::io::Error::from(Io::InvalidData));
    let words = number(read_line(peer)?)?;
    (0..words)
        .map(|_| {
            let mut word = vec![0; number(read_line(peer)?)? + 2];
            peer.read_exact(&mut word)?;
            Ok(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned())
        })
        .collect()
}

fn read_line(peer: &mut TcpStream) -> std::io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        peer.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

// ---- who is refused at once ----

#[test]
fn a_url_that_is_not_sound_is_refused_and_not_repeated() {
    for (url, words) in [
        ("redis:canary", "store is not a URL"),
        ("redis:/canary", "store is not a URL"),
        ("redis://", "store has no sound host and port"),
        ("redis://:6379", "store has no"),
        ("redis://h:canary", "store has no sound port"),
        ("redis://h:0", "store has no sound port"),
        ("redis://h:65536", "store has no sound port"),
        ("redis://h:-1", "store has no sound port"),
        ("redis://[::1", "store has no sound host"),
        ("redis://can ary", "store has no sound host"),
        ("redis://canary@h", "store has a user without a password"),
        ("redis://canary:p/w@h", "store has no sound"),
        ("redis://:canary%zz%ff@h", "store holds what is not UTF-8"),
        ("redis://:canary%0d%0aFLUSHALL@h", "store holds a control character"),
        ("redis://h/canary", "store has no sound number of a database"),
        ("redis://h/1/2", "store has no sound number of a database"),
        ("redis://h/4294967296", "store has no sound number of a database"),
        ("redis://h?db=1", "store has an option other than prefix and ca_file"),
        ("redis://h?prefix=a&prefix=b", "store has an option twice"),
        ("redis://h#canary", "store holds a character that a URL has percent-encoded"),
        ("redis://h?ca_file=/canary", "store has a ca_file and no TLS"),
        ("rediss://h?ca_file=/none/such.pem", "ca_file cannot be read"),
        ("rediss://h?ca_file=/dev/null", "ca_file holds no certificate"),
        ("REDIS://h", "store is memory, file, file:/directory, or redis://host"),
        ("redis+sentinel://h", "store is memory, file, file:/directory, or redis://host"),
        ("unix:/run/redis.sock", "store is memory, file, file:/directory, or redis://host"),
    ] {
        for quota in ["none", BUDGET] {
            let error = World::new().build(&oauth2().store(url).quota(quota)).expect_err(url);
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}: {text}");
            assert!(text.contains(words), "{url}: {text}");
        }
    }
}

/// Logins, databases and rights that a server refuses, and what it says.
#[test]
fn whoever_is_not_let_in_gets_no_client() {
    let engine = Engine::start();
    for user in [
        format!("me on >{PASSWORD} ~tokauth:* +@all"),
        format!("scriptless on >{PASSWORD} ~tokauth:* +@all -eval"),
        format!("reader on >{PASSWORD} ~tokauth:* +@read +eval"),
        format!("elsewhere on >{PASSWORD} ~other:* +@all"),
        format!("off off >{PASSWORD} ~tokauth:* +@all"),
    ] {
        engine.tell::<String>(&format!("ACL SETUSER {user}"));
    }
    let locked = Engine::with(&["--requirepass", PASSWORD]);
    let renamed = Engine::with(&["--rename-command", "EVAL", "", "--databases", "2"]);
    let at = |engine: &Engine, login: &str, rest: &str| format!("redis://{login}127.0.0.1:{}{rest}", engine.port);
    let me = |user: &str| at(&engine, &format!("{user}:{PASSWORD}@"), "");
    for (url, words, advice) in [
        (at(&engine, "me:canary-secret-wrong@", ""), "WRONGPASS invalid", "check user and password of store"),
        (me("you"), "WRONGPASS invalid", "check user and password"),
        (me("off"), "WRONGPASS invalid", "check user and password"),
        (at(&locked, "", ""), "NOAUTH Authentication required", "check user and password"),
        (at(&locked, "", "/1"), "NOAUTH Authentication required", "check user and password"),
        (at(&locked, ":canary-secret-wrong@", ""), "WRONGPASS invalid", "check user and password"),
        (at(&engine, &format!(":{PASSWORD}@"), ""), "without any password configured", "check user and password"),
        (at(&engine, "", "/16"), "ERR DB index is out of range", "there is no such database"),
        (at(&engine, "", "/2147483647"), "ERR DB index is out of range", "there is no such database"),
        (me("scriptless"), "has no permissions to run the 'eval' command", "allow it to this user"),
        (me("reader"), "on @user_script", "allow it to this user"),
        (me("elsewhere"), "permissions to access", "allow it to this user"),
        (me("me") + "?prefix=another:", "permissions to access", "allow"),
        (at(&renamed, "", ""), "ERR unknown command", "libtokauth needs that command"),
    ] {
        for quota in ["none", BUDGET] {
            let text = refusal(words, &oauth2().store(&url).quota(quota));
            let at = format!("127.0.0.1:{}", url.rsplit_once("127.0.0.1:").unwrap().1);
            let at = at.split(['/', '?']).next().unwrap();
            assert!(text.contains(&format!("Redis at {at} refuses: ")), "{text}");
            assert!(text.contains(words) && text.contains(advice), "{words}\n{text}");
        }
    }
    assert_eq!(engine.tell::<Vec<String>>("KEYS *"), [""; 0], "nobody left anything");
    World::new().client(&oauth2().store(me("me")).quota(BUDGET));
}

/// What a store for a budget must promise.
#[test]
fn a_cache_keeps_no_ledger() {
    for (policy, keeps) in [
        ("noeviction", true),
        ("volatile-lru", true),
        ("volatile-ttl", true),
        ("allkeys-lru", false),
        ("allkeys-lfu", false),
        ("allkeys-random", false),
    ] {
        let engine = Engine::with(&["--maxmemory", "64mb", "--maxmemory-policy", policy]);
        let world = World::new();
        value(&world.client(&oauth2().store(engine.url())));
        let counted = oauth2().store(engine.url()).quota(BUDGET).client_id("counted");
        if !keeps {
            let text = refusal(policy, &counted);
            assert!(text.contains("maxmemory-policy allkeys") && text.contains("set it to noeviction"), "{text}");
            continue;
        }
        value(&world.client(&counted));
        let keys: Vec<String> = engine.tell("KEYS *");
        assert_eq!(keys.len(), 3, "{keys:?}");
        for key in keys {
            let life: i64 = engine.tell(&format!("PTTL {key}"));
            assert_eq!(life == -1, key.starts_with("tokauth:{ledger-"), "{key}: {life}");
        }
        // Set up anew while clients live: the next request is not sent.
        engine.tell::<String>("CONFIG SET maxmemory-policy allkeys-lru");
        world.clock.advance(S * 3600);
        let client = world.sibling();
        let error = World::with_store(redis_store(&engine.url(), client.clock.clone()).unwrap())
            .client(&counted.client_id("other"))
            .token()
            .unwrap_err();
        assert!(error.kind() == ErrorKind::Store && error.to_string().contains("allkeys"), "{error}");
    }
    // Some hosters hide INFO, and some change what it tells.
    let engine = Engine::start();
    engine.tell::<String>(&format!("ACL SETUSER me on >{PASSWORD} ~tokauth:* +@all -info"));
    let url = format!("redis://me:{PASSWORD}@127.0.0.1:{}", engine.port);
    let text = refusal("no INFO", &oauth2().store(&url).quota(BUDGET));
    assert!(text.contains("has no permissions to run the 'info' command"), "{text}");
    value(&World::new().client(&oauth2().store(&url)));
    let told = Liar::start(|_, command| match &*command[0] {
        "INFO" => say(bulk("# Server\r\nredis_version:7.2.4\r\nconnected_slaves:0\r\n")),
        "AUTH" => say("+OK\r\n"),
        _ => say(TIME),
    });
    let text = refusal("a short INFO", &oauth2().store(told.url()).quota(BUDGET));
    assert!(text.contains("does not tell its maxmemory_policy in INFO"), "{text}");
}

/// The page for whoever sets up a server.
fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fleet.md")).unwrap()
}

/// The user that the page gives the library.
fn user() -> String {
    let page = page();
    let (_, line) = page.split_once("\nACL SETUSER tokauth ").unwrap();
    line.lines().next().unwrap().replace("PASSWORD", PASSWORD)
}

/// All that clients do: a token, one that is rejected, all forgotten, a document that is none of ours.
fn does_everything(world: &World, builder: &Builder, engine: &Engine) {
    let client = world.client(builder);
    let token = client.token().unwrap();
    client.invalidate(&token).unwrap();
    value(&client);
    client.clear().unwrap();
    let keys: Vec<String> = engine.tell("KEYS tokauth:{token*}");
    assert_eq!(keys.len(), 1, "{keys:?}");
    engine.tell::<String>(&format!("SET {} x", keys[0]));
    value(&world.sibling().client(builder));
    assert_eq!(engine.tell::<String>(&format!("GET {}:aside", keys[0])), "x");
    client.0.budget().unwrap();
}

#[test]
fn a_user_needs_what_the_page_lists_and_each_command_is_missed_at_once() {
    let primary = Engine::start();
    let allowed = user();
    let set_user = |rules: &str| primary.tell::<String>(&format!("ACL SETUSER me reset {rules}"));
    set_user(&allowed);
    let in_first = |rest: &str| format!("redis://me:{PASSWORD}@127.0.0.1:{}{rest}", primary.port);
    let world = World::new();
    does_everything(&world, &oauth2().store(in_first("")).quota(BUDGET), &primary);
    assert!(!world.lines.all().contains("permission"));
    let _replica = Engine::with(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
    let began = Instant::now();
    while !primary.tell::<String>("INFO replication").contains("state=online") {
        assert!(began.elapsed() < S * 60, "the replica does not come up");
        thread::sleep(Duration::from_millis(10));
    }
    let mut me = redis::Client::open(in_first("/1")).unwrap().get_connection().unwrap();
    redis::cmd("WAIT").arg(&["1", "1"]).query::<i64>(&mut me).unwrap();
    let commands: Vec<_> = allowed.split(' ').filter_map(|rule| rule.strip_prefix('+')).collect();
    assert!(commands.len() > 12, "{allowed}");
    // From AUTH nobody can be kept.
    for missing in commands.into_iter().filter(|command| *command != "auth") {
        set_user(&format!("{allowed} -{missing}"));
        let builder = oauth2().store(in_first("/1")).quota(BUDGET).client_id(missing);
        let text = refusal(missing, &builder);
        let in_script = !["eval", "select", "info", "wait"].contains(&missing);
        let words = match in_script {
            true => "on @user_script".to_owned(), // Redis does not say which command, Valkey does
            false => format!("has no permissions to run the '{missing}' command"),
        };
        assert!(text.contains(&words) && text.contains("allow it to this user"), "{missing}: {text}");
    }
}

/// So that a test notices if another setting is advised.
#[test]
fn a_server_as_the_page_sets_it_up_keeps_a_ledger() {
    let page = page();
    let names: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split([' ', '`']).next()).collect();
    assert_eq!(names, ["maxmemory-policy", "appendonly", "min-replicas-to-write", "maxclients"]);
    let url = page.lines().find_map(|line| line.strip_prefix("store=")).unwrap();
    let mut engine = Engine::with(&["--maxmemory-policy", "noeviction", "--appendonly", "yes"]);
    engine.tell::<String>(&format!("ACL SETUSER tokauth {}", user()));
    let at = format!("127.0.0.1:{}", engine.port);
    let url = url.replace("rediss", "redis").replace("PASSWORD", PASSWORD).replace("redis.example:6379", &at);
    let builder = oauth2().store(url).quota(BUDGET);
    let world = World::new();
    assert_eq!(value(&world.client(&builder)), "canary-token-1");
    engine.tell::<()>("CONFIG SET appendfsync always");
    value(&world.sibling().client(&builder.clone().scope("another")));
    engine.start_again();
    engine.tell::<String>(&format!("ACL SETUSER tokauth {}", user()));
    let restarted = world.sibling().client(&builder);
    assert_eq!(value(&restarted), "canary-token-1");
    assert_eq!(restarted.0.budget().unwrap().unwrap().requests, 998, "it outlived the restart");
    engine.tell::<()>("CONFIG SET min-replicas-to-write 1");
    let error = world.sibling().client(&builder.scope("a third")).token().unwrap_err();
    assert!(error.kind() == ErrorKind::Store && error.to_string().contains("NOREPLICAS"), "{error}");
    assert_eq!(world.provider.count(), 2);
}

// ---- TLS ----

/// A server with TLS on a port of its own.
struct Secured {
    port: u16,
    ca_file: String,
    _engine: Engine,
    _place: TempDir,
}

fn secured(flaw: Option<Flaw>, more: &[&str]) -> Secured {
    let (place, authority, port) = (TempDir::new(), Authority::new(), port::reserve());
    let (certificate, key) = authority.certify(&["localhost", "127.0.0.1"], flaw);
    let [ca_file, certificate_file, key_file] = ["ca.pem", "certificate.pem", "key.pem"].map(|name| place.join(name));
    std::fs::write(&ca_file, &authority.pem).unwrap();
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let port_text = port.to_string();
    let tls = ["--tls-port", &port_text, "--tls-cert-file", &certificate_file, "--tls-key-file", &key_file];
    let tls = [&tls[..], &["--tls-ca-cert-file", &ca_file], more].concat();
    let engine = Engine::with(&tls);
    Secured { port, ca_file, _engine: engine, _place: place }
}

#[test]
fn a_store_behind_tls_is_trusted_by_its_certificate() {
    let server = secured(None, &["--tls-auth-clients", "no"]);
    let (port, ca_file) = (server.port, &server.ca_file);
    let world = World::new();
    let mut requests = 0;
    for host in ["localhost", "127.0.0.1"] {
        let in_url = oauth2().store(format!("rediss://{host}:{port}/1?ca_file={ca_file}"));
        does_everything_secured(&world, &in_url.clone().scope(host), &mut requests);
        let beside = oauth2().store(format!("rediss://{host}:{port}/2")).ca_file(ca_file);
        does_everything_secured(&world, &beside.scope(host), &mut requests);
    }
    // The one in the URL is for the store alone.
    let other = secured(None, &["--tls-auth-clients", "no"]);
    let both = oauth2().store(format!("rediss://localhost:{port}?ca_file={ca_file}")).ca_file(&other.ca_file);
    world.client(&both);
    refusal("the other CA", &both.store(format!("rediss://localhost:{port}")));
}

fn does_everything_secured(world: &World, builder: &Builder, requests: &mut usize) {
    value(&world.client(builder));
    value(&world.sibling().client(builder));
    *requests += 1;
    assert_eq!(world.provider.count(), *requests, "the sibling found it there");
}

#[test]
fn where_there_is_no_trust_there_is_no_client() {
    let anyone = &["--tls-auth-clients", "no"][..];
    let server = secured(None, anyone);
    let [expired, later, of_other, own, for_clients] =
        [Flaw::Expired, Flaw::NotYetValid, Flaw::OtherHost, Flaw::SelfSigned, Flaw::OtherUse]
            .map(|flaw| secured(Some(flaw), anyone));
    let known = secured(None, &[]);
    let at = |server: &Secured| format!("rediss://localhost:{}?ca_file={}", server.port, server.ca_file);
    for (what, url, words) in [
        ("nobody knows the CA", format!("rediss://localhost:{}", server.port), "for a private CA set ca_file"),
        ("another CA", format!("rediss://localhost:{}?ca_file={}", server.port, own.ca_file), "no trusted connection"),
        ("expired", at(&expired), "is this machine's clock right?"),
        ("not yet valid", at(&later), "is this machine's clock right?"),
        ("of another host", at(&of_other), "no trusted connection"),
        ("its own CA", at(&own), "no trusted connection"),
        ("for another use", at(&for_clients), "no trusted connection"),
    ] {
        let text = refusal(what, &oauth2().store(&url));
        assert!(text.contains(words) && text.contains("Redis at localhost:"), "{what}: {text}");
    }
    // Told after the handshake, unless the end of the connection is seen first.
    let began = Instant::now();
    let error = loop {
        match World::new().build(&oauth2().store(at(&known))) {
            Err(error) => break error.to_string(),
            Ok(_) => assert!(began.elapsed() < S * 60, "it is never refused"),
        }
    };
    is_sentence(&error);
    assert!(error.contains("wants a certificate of its clients") && error.contains("tls-auth-clients"), "{error}");
}

#[test]
fn what_is_no_redis_is_refused() {
    for (what, answer) in [
        ("HTTP", "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        ("SSH", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("SMTP", "220 mail.example ESMTP\r\n"),
        ("memcached", "ERROR\r\n"),
        ("TLS", "\x15\x03\x01\0\x02\x02\x0a"),
    ] {
        let server = Liar::start(move |_, _| say(answer));
        let text = refusal(what, &oauth2().store(server.url()));
        assert!(text.contains(&format!("what answers is no Redis at 127.0.0.1:{}", server.port)), "{what}: {text}");
        assert!(text.contains("check host and port of store"), "{what}: {text}");
        assert_eq!(text.contains("a TLS alert; write rediss://"), what == "TLS", "{text}");
    }
}

// ---- outages ----

/// Short, so that the test is.
fn hasty() -> Builder {
    oauth2().timeout_ms("400")
}

/// Far more than a hasty call takes, and than what a server may keep it waiting for.
const LONG: Duration = Duration::from_secs(60);

/// Without a budget the provider is asked as if there were no store, and one line tells of it; with one nobody is.
#[track_caller]
fn degrades(what: &str, store: &RedisStore) {
    let (world, counting) = (World::with_store(store.clone()), World::with_store(store.clone()));
    let began = Instant::now();
    let client = world.client(&hasty());
    assert_eq!(client.cached().unwrap_err().kind(), ErrorKind::NotCached, "{what}");
    assert_eq!(warnings(&world), [""; 0], "{what}: whoever only looks does not connect");
    for _ in 0..2 {
        assert_eq!(value(&client), "canary-token-1", "{what}");
        assert_eq!(client.cached().unwrap().value(), "canary-token-1", "{what}");
    }
    assert_eq!((world.provider.count(), warnings(&world).len()), (1, 1), "{what}: {}", world.lines.all());
    let client = counting.client(&hasty().quota(BUDGET));
    for error in [client.token().unwrap_err(), client.0.budget().unwrap_err(), client.clear().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Store, "{what}: {error}");
        is_sentence(&error.to_string());
    }
    assert_eq!(counting.provider.connections(), 0, "{what}");
    assert!(began.elapsed() < LONG, "{what} took {:?}", began.elapsed());
}

/// What befalls a server, and how it ends.
type Outage = (&'static str, fn(&mut Engine, &mut redis::Connection), fn(&mut Engine, &mut redis::Connection));

fn set(connection: &mut redis::Connection, name: &str, value: &str) {
    redis::cmd("CONFIG").arg(&["SET", name, value]).exec(connection).unwrap();
}

const OUTAGES: &[Outage] = &[
    ("it is down", |engine, _| engine.kill(), |engine, _| engine.start_again()),
    ("it is stopped", |engine, _| engine.signal(Signal::STOP), |engine, _| engine.signal(Signal::CONT)),
    ("it has no place for more", |_, own| set(own, "maxclients", "1"), |_, own| set(own, "maxclients", "100")),
    ("its memory is full", |_, own| set(own, "maxmemory", "1"), |_, own| set(own, "maxmemory", "0")),
    (
        "it is a replica by now",
        |_, own| redis::cmd("REPLICAOF").arg(&["127.0.0.1", "1"]).exec(own).unwrap(),
        |_, own| redis::cmd("REPLICAOF").arg(&["NO", "ONE"]).exec(own).unwrap(),
    ),
    (
        "it wants replicas",
        |_, own| set(own, "min-replicas-to-write", "1"),
        |_, own| set(own, "min-replicas-to-write", "0"),
    ),
    (
        "a script blocks it",
        |engine, own| {
            set(own, "busy-reply-threshold", "1");
            let mut other = engine.connection();
            thread::spawn(move || redis::cmd("EVAL").arg(&["while true do end", "0"]).exec(&mut other));
            while redis::cmd("PING").exec(own).is_ok() {}
        },
        |_, own| {
            redis::cmd("SCRIPT").arg("KILL").exec(own).unwrap();
            while redis::cmd("PING").exec(own).is_err() {}
            set(own, "busy-reply-threshold", "60000");
        },
    ),
];

#[test]
fn an_outage_is_a_line_and_no_failure_and_its_end_is_seen_at_once() {
    thread::scope(|scope| {
        for outage in OUTAGES {
            scope.spawn(|| outage_comes_and_goes(outage));
        }
    });
}

fn outage_comes_and_goes((what, begin, end): &Outage) {
    let mut engine = Engine::start();
    let mut own = engine.connection();
    let plain = oauth2().store(engine.url());
    let counted = plain.clone().quota(BUDGET).client_id("counted");
    // Whoever is to be served has all the time that it takes.
    let hasty = |client: &Watched| client.with("timeout_ms", Some("400")).unwrap();
    let before = World::new();
    let in_hand = before.client(&counted);
    assert_eq!(value(&in_hand), "canary-token-1", "{what}");

    begin(&mut engine, &mut own);
    // The two worlds are machines, and so is the one from before.
    let (free, counting) = (World::new(), World::new());
    let began = Instant::now();
    let free_client = free.client(&plain);
    let counting_client = counting.client(&counted.clone().scope("another"));
    for world in [&free, &counting] {
        assert_eq!(warnings(world).len(), 1, "{what}: {}", world.lines.all());
        assert_eq!(world.provider.connections(), 0);
    }
    assert_eq!(value(&hasty(&free_client)), "canary-token-1", "{what}");
    assert_eq!((free.provider.count(), warnings(&free).len()), (1, 2), "{what}: {}", free.lines.all());
    let error = hasty(&counting_client).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{what}: {error}");
    is_sentence(&error.to_string());
    assert_eq!(counting.provider.connections(), 0, "{what}");
    assert_eq!(value(&in_hand), "canary-token-1", "{what}: a valid one is served");
    assert_eq!(warnings(&before), [""; 0]);
    assert!(began.elapsed() < S * 3 + LONG, "{what} took {:?}", began.elapsed());
    before.clock.advance(S * 3601);
    assert_eq!(hasty(&in_hand).token().unwrap_err().kind(), ErrorKind::Store, "{what}");
    assert_eq!(before.provider.count(), 1, "{what}");

    end(&mut engine, &mut own);
    assert_eq!(value(&in_hand), "canary-token-2", "{what}");
    assert_eq!(value(&counting_client), "canary-token-1", "{what}");
    assert_eq!(value(&counting.sibling().client(&counted.scope("another"))), "canary-token-1", "{what}");
    free.clock.advance(S * 3601);
    assert_eq!(value(&free_client), "canary-token-2", "{what}");
    assert_eq!(value(&free.sibling().client(&plain)), "canary-token-2", "{what}: it is there for the others again");
    assert_eq!((free.provider.count(), warnings(&free).len()), (2, 2), "{what}: {}", free.lines.all());
}

/// Servers of which nobody can say that they will stay so.
#[test]
fn who_does_not_answer_yet_fails_no_client() {
    let nobody = port::reserve();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _fills = TcpStream::connect(full.local_addr().unwrap()).unwrap();
    let (plain, secured) = (Engine::start(), secured(None, &[]));
    let loading = Liar::start(|_, _| say("-LOADING Redis is loading the dataset in memory\r\n"));
    let closing = Liar::start(|_, _| Act::Cut(b""));
    let at = |port: u16| format!("redis://:{PASSWORD}@127.0.0.1:{port}");
    let of = |listener: &TcpListener| at(listener.local_addr().unwrap().port());
    let rows = [
        ("nobody is there", at(nobody), "no connection to Redis at 127.0.0.1"),
        ("no name", "redis://no-such-host.invalid".to_owned(), "no connection to Redis at no-such-host.invalid:6379"),
        ("nobody answers", of(&mute), "does not answer in time; is it overloaded, or stopped?"),
        ("nobody accepts", of(&full), "no connection to Redis at 127.0.0.1"),
        ("it loads", loading.url(), "refuses: LOADING Redis is loading the dataset in memory; it is just starting"),
        // What TLS begins with looks to it like a command that has not come to its end.
        ("it speaks no TLS", format!("rediss://127.0.0.1:{}", plain.port), "does that port speak TLS?"),
        (
            "it closes",
            closing.url(),
            "closed the connection; was it restarted, is it full, or does that port want rediss://?",
        ),
        ("it speaks TLS alone", at(secured.port), "or does that port want rediss://?"),
    ];
    thread::scope(|scope| {
        for (what, url, words) in &rows {
            scope.spawn(move || {
                for quota in ["none", BUDGET] {
                    let world = World::new();
                    world.client(&oauth2().store(url).quota(quota));
                    let told = warnings(&world);
                    assert!(told.len() == 1 && told[0].contains(words), "{what}: {told:?}");
                }
                degrades(what, &redis_store(url, World::new().clock).unwrap());
            });
        }
    });
}

// ---- slow servers ----

/// Hands on what both sides say: the server's words byte by byte.
fn dripping(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            thread::spawn(move || {
                let mut byte = [0];
                while server.read(&mut byte).is_ok_and(|amount| amount > 0) && client.write_all(&byte).is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    port
}

#[test]
fn a_slow_server_costs_no_more_than_half_of_a_calls_time() {
    let late = |ms, act: Act| match act {
        Act::Say(bytes) => Act::Late(Duration::from_millis(ms), bytes),
        other => other,
    };
    let long = bulk([b'x'; 4000]);
    let rows = [
        ("each answer is late", Liar::start(move |_, command| late(150, sound_answer(command)))),
        ("each answer is very late", Liar::start(move |_, command| late(600_000, sound_answer(command)))),
        ("the greeting drips", Liar::start(|_, _| Act::Drip(b":00000000000000000000000000000000000000001\r\n".into()))),
        ("a document drips", Liar::after(2, Act::Drip(long))),
    ];
    thread::scope(|scope| {
        for (what, server) in &rows {
            scope.spawn(|| degrades(what, &server.store()));
        }
    });
    let server = secured(None, &["--tls-auth-clients", "no"]);
    let (port, ca_file) = (dripping(server.port), &server.ca_file);
    let url = format!("rediss://localhost:{port}?ca_file={ca_file}");
    let world = World::new();
    let began = Instant::now();
    world.client(&oauth2().store(&url));
    assert_eq!(warnings(&world).len(), 1, "{}", world.lines.all());
    assert!(began.elapsed() < LONG);
    degrades("the handshake drips", &redis_store(&url, World::new().clock).unwrap());
}

/// G-02: half of its time, 250 ms at least and 3 s at most; and as long again when it is about to send.
#[test]
fn a_call_waits_for_its_server_as_long_as_it_may() {
    let millis = Duration::from_millis;
    let waits_in_vain = |visit: &dyn Store, since: Instant| {
        visit.load(&Name::new("token", &[7; 32])).unwrap_err();
        since.elapsed()
    };
    thread::scope(|scope| {
        for (timeout, least) in [(20, 250), (2000, 1000), (60_000, 3000)] {
            scope.spawn(move || {
                let (store, began) = (Liar::after(0, Act::Silence).store(), Instant::now());
                let visit = store.visit(millis(timeout)).unwrap();
                assert!(waits_in_vain(&*visit, began) >= millis(least), "{timeout} ms");
            });
        }
        scope.spawn(move || {
            let server = Liar::start(move |_, command| match sound_answer(command) {
                _ if command[1].contains("return false") => Act::Silence,
                Act::Say(bytes) if command[1].contains("-- Takes a turn") => Act::Late(millis(500), bytes),
                act => act,
            });
            let (visit, clock) = (server.store().visit(S * 60).unwrap(), World::new().clock as Arc<dyn Clock>);
            let deadline = Deadline::after(&clock, S * 60);
            let turn = visit.turn(&Name::new("token", &[8; 32]), &deadline).unwrap();
            turn.hold(&deadline).unwrap();
            let waited = waits_in_vain(&*visit, Instant::now());
            assert!(waited >= millis(3000), "what was waited for the turn does not count any more");
        });
    });
}

/// However many answers there are, and however soon after the last one each comes.
#[test]
fn the_patience_of_a_call_is_for_all_its_commands_together() {
    let late = Duration::from_millis(100);
    let server = Liar::start(move |_, command| match sound_answer(command) {
        Act::Say(bytes) => Act::Late(late, bytes),
        other => other,
    });
    let store = server.store();
    let visit = store.visit(late * 10).unwrap();
    let name = Name::new("token", &[7; 32]);
    while visit.load(&name).is_ok() {}
    let asked: usize = server.commands().iter().map(Vec::len).sum();
    assert!(asked <= 6, "half of the time was for five answers: {asked}");
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_anew_once() {
    let server = Liar::after(3, Act::Cut(b""));
    let store = server.store();
    let visit = store.visit(S * 60).unwrap();
    let name = Name::new("token", &[7; 32]);
    assert_eq!(visit.load(&name).unwrap(), None);
    assert_eq!(visit.load(&name).unwrap(), None);
    assert_eq!(server.commands().iter().map(Vec::len).collect::<Vec<_>>(), [4, 3]);
}

/// It falls silent, or closes, or talks nonsense after so many commands: whatever was under way comes to its end.
#[test]
fn a_server_may_fail_in_the_midst_of_a_call() {
    let failures: [fn() -> Act; 4] =
        [|| Act::Silence, || Act::Cut(b""), || say("*1\r\n:1\r\n"), || say("-ERR out of order\r\n")];
    thread::scope(|scope| {
        for (number, failure) in failures.into_iter().enumerate() {
            scope.spawn(move || (0..24).for_each(|sound| fails_after(sound, failure(), &format!("{number}, {sound}"))));
        }
    });
}

fn fails_after(sound: usize, act: Act, what: &str) {
    let server = Liar::after(sound, act);
    let world = World::with_store(server.store());
    let client = world.client(&hasty());
    let began = Instant::now();
    assert_eq!(value(&client), "canary-token-1", "{what}");
    assert_eq!(value(&client), "canary-token-1", "{what}");
    assert_eq!(world.provider.count(), 1);
    warnings(&world);
    let world = World::with_store(server.store());
    match world.client(&hasty().quota(BUDGET)).token() {
        // It was counted before it was sent.
        Ok(_) => assert_eq!(world.provider.count(), 1, "{what}"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Store, "{what}: {error}");
            is_sentence(&error.to_string());
            assert_eq!(world.provider.count(), 0, "{what}");
        }
    }
    warnings(&world);
    assert!(began.elapsed() < LONG, "{what} took {:?}", began.elapsed());
}

/// The token that the provider gave meanwhile is not lost.
#[test]
fn a_server_may_stop_while_the_provider_is_asked() {
    for quota in ["none", BUDGET] {
        let engine = Arc::new(Engine::start());
        let world = World::with_store(redis_store(&engine.url(), World::new().clock).unwrap());
        let client = world.client(&oauth2().quota(quota));
        let stops = engine.clone();
        world.provider.judges(move |_| {
            stops.signal(Signal::STOP);
            (200, vec![], br#"{"access_token": "canary-token-1", "token_type": "Bearer", "expires_in": 3600}"#.into())
        });
        let began = Instant::now();
        assert_eq!(value(&client), "canary-token-1", "{quota}");
        assert!(began.elapsed() < LONG);
        assert!(!warnings(&world).is_empty());
        engine.signal(Signal::CONT);
        let left = client.0.budget().unwrap();
        assert_eq!(left.map(|left| left.requests), (quota == BUDGET).then_some(999));
    }
}

// ---- lies ----

/// What no command of ours is answered by; `true`: as if the connection had ended, so it is tried once more.
fn lies() -> Vec<(&'static str, Act, bool)> {
    let huge = vec![b'x'; DOCUMENT_MAX + 2048];
    let secret = |before: &str, after: &str| say(format!("{before}{PASSWORD}{after}\r\n"));
    vec![
        ("an array", say("*1\r\n$1\r\nx\r\n"), false),
        ("a huge array", say("*2147483647\r\n"), false),
        ("arrays in arrays", say("*1\r\n".repeat(100_000)), false),
        ("a map", say("%1\r\n+a\r\n+b\r\n"), false),
        ("a push", say(">2\r\n+message\r\n+b\r\n"), false),
        ("a set", say("~1\r\n+a\r\n"), false),
        ("an attribute", say("|1\r\n+a\r\n+b\r\n:1\r\n"), false),
        ("nothing of RESP3", say("_\r\n"), false),
        ("no number", say(",nan\r\n"), false),
        ("a truth", say("#t\r\n"), false),
        ("a great number", say("(123456789012345678901234567890\r\n"), false),
        ("a blob of an error", say("!9\r\nERR canary\r\n"), false),
        ("a text of a format", say("=8\r\ntxt:text\r\n"), false),
        ("an empty line", say("\r\n"), false),
        ("a NUL", say("\0"), false),
        ("a number that is none", say(":NaN\r\n"), false),
        ("an empty number", say(":\r\n"), false),
        ("a number too great", say(":99999999999999999999\r\n"), false),
        ("a length that is none", say("$NaN\r\nx\r\n"), false),
        ("a length too great to read", say("$99999999999999999999\r\nx\r\n"), false),
        ("a length without an end", Act::Flood(b"$1073741824\r\n", b"xxxxxxxx"), false),
        ("the greatest length", Act::Flood(b"$9223372036854775807\r\n", b"xxxxxxxx"), false),
        ("a text larger than a document", say(bulk(huge)), false),
        ("a text that ends elsewhere", say("$3\r\nabcdef\r\n"), false),
        ("a status without an end", Act::Flood(b"+", b"xxxxxxxx"), false),
        ("an error without an end", Act::Flood(b"-ERR ", b"xxxxxxxx"), false),
        ("a number without an end", Act::Flood(b":", b"11111111"), false),
        ("empty lines without an end", Act::Flood(b"", b"\r\n\r\n\r\n\r\n"), false),
        ("what is not UTF-8", say(b"-ERR \xff\xfe\r\n"), false),
        ("an error of nothing", say("-\r\n"), false),
        ("an error of many lines", say("-ERR one\ntwo\rthree\x1b[31m\x07\0four\u{202e}\r\n"), false),
        ("an error of 10 kB", say(format!("-ERR {}\r\n", "word ".repeat(2000))), false),
        ("a code of 10 kB", say(format!("-{}\r\n", "word".repeat(2500))), false),
        ("an error with the password", secret("-ERR invalid password ", ""), false),
        ("a code that is the password", secret("-", " x"), false),
        ("a password in quotes", secret("-WRONGPASS '", "' is wrong"), false),
        ("a password in capitals", say(format!("-ERR {}\r\n", PASSWORD.to_ascii_uppercase())), false),
        ("half of a password", say(format!("-ERR {}\r\n", &PASSWORD[..20])), false),
        ("a status that is the password", secret("+", ""), false),
        ("a number that is the password", secret(":", ""), false),
        ("a length that is the password", secret("$", ""), false),
        ("the password and nothing else", secret("", ""), false),
        ("the end of the connection", Act::Cut(b""), true),
        ("a cut text", Act::Cut(b"$10\r\nabc"), true),
        ("a cut length", Act::Cut(b"$10"), true),
        ("a cut number", Act::Cut(b":1"), true),
        ("a cut status", Act::Cut(b"+OK\r"), true),
        ("a cut error", Act::Cut(b"-ERR"), true),
        ("silence", Act::Silence, false),
    ]
}

/// Of each stage of a call: who comes in, asks for the time, loads a document, takes a turn.
#[test]
fn a_lie_is_an_error_of_one_line_and_the_last_word_on_its_connection() {
    let lies = lies();
    thread::scope(|scope| {
        for stage in 0..4 {
            let lies = &lies;
            scope.spawn(move || lies.iter().for_each(|lie| is_seen_through(stage, lie)));
        }
    });
}

fn is_seen_through(stage: usize, (what, act, again): &(&str, Act, bool)) {
    // A document may be any text, and whoever comes in hears any word of welcome.
    if [0, 2].contains(&stage) && what.starts_with("a status that") {
        return;
    }
    let server = Liar::start({
        let act = act.clone();
        move |_, command| {
            let is_it = match stage {
                0 => command[0] == "AUTH",
                1 => command[0] == "EVAL" && command[1].contains("'TIME'"),
                _ => command[0] == "EVAL" && !command[1].contains("'TIME'"),
            };
            if is_it { act.clone() } else { sound_answer(command) }
        }
    });
    let store = server.store();
    let visit = store.visit(Duration::from_millis(400)).unwrap();
    let name = Name::new("token", &[7; 32]);
    let began = Instant::now();
    for _ in 0..2 {
        let clock: Arc<dyn Clock> = World::new().clock;
        let error = match stage {
            3 => visit.turn(&name, &Deadline::after(&clock, S)).map(drop),
            _ => visit.load(&name).map(drop),
        };
        let error = canary::outcome(error).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Store, "{what}: {error}");
        assert!(error.to_string().contains(&format!("Redis at 127.0.0.1:{}", server.port)), "{what}: {error}");
        is_sentence(&error.to_string());
    }
    assert!(began.elapsed() < LONG, "{what}");
    let commands = server.commands();
    let is_answer = matches!(act, Act::Say(bytes) if bytes.starts_with(b"-"));
    match (is_answer, stage) {
        _ if what.contains("UTF-8") => {}
        // A refusal, after which the next command may be another matter.
        (true, 2 | 3) => assert!(commands.len() <= 1, "{what}: {commands:?}"),
        _ => {
            let connections = if *again && stage > 1 { 2 } else { 1 };
            assert!(commands.len() <= connections, "{what}: {commands:?}");
            for commands in commands {
                assert!(commands.len() <= 1 + stage.min(2), "{what}: {commands:?}");
            }
        }
    }
    let sent = server.told.sent.load(Ordering::SeqCst);
    assert!(sent < 32 << 20, "{what}: {sent} bytes were taken");
}

#[test]
fn whoever_is_lied_to_asks_the_provider_unless_requests_are_counted() {
    for (what, act, _) in lies() {
        if !what.starts_with("a status that") {
            degrades(what, &Liar::after(2, act).store());
        }
    }
}

/// The answer to one command comes when nobody waits for it any more, and is there when the next one is asked.
#[test]
fn a_late_answer_is_not_the_next_ones() {
    let (late, is_late) = mpsc::channel::<()>();
    let is_late = Mutex::new(is_late);
    let server = Liar::start(move |_, command| match sound_answer(command) {
        Act::Say(answer) if answer == b"$-1\r\n" => {
            let _ = is_late.lock().unwrap().recv();
            say(bulk("canary of another"))
        }
        answer => answer,
    });
    let name = Name::new("token", &[7; 32]);
    let store = server.store();
    let visit = store.visit(S * 60).unwrap();
    assert_eq!(canary::outcome(visit.load(&name).map(drop)).unwrap_err().kind(), ErrorKind::Store);
    let before = server.told.sent.load(Ordering::SeqCst);
    late.send(()).unwrap();
    let began = Instant::now();
    while server.told.sent.load(Ordering::SeqCst) == before {
        assert!(began.elapsed() < LONG, "it does not come");
        thread::yield_now();
    }
    assert_eq!(canary::outcome(visit.load(&name).map(drop)).unwrap_err().kind(), ErrorKind::Store);
    assert!(server.commands().len() <= 1, "nobody asks a server again that was too slow for this call");
}

/// Of the time that all stamps go by.
#[test]
fn a_time_that_cannot_be_does_no_harm() {
    for time in [i64::MIN, -1, 0, 1, 253_402_300_800_000, i64::MAX / 1000, i64::MAX - 1, i64::MAX] {
        let server = Liar::start(move |_, command| match sound_answer(command) {
            Act::Say(answer) if answer == TIME => say(format!(":{time}\r\n")),
            answer => answer,
        });
        for (quota, most) in [("none", 3), ("1/month", 1), ("1/5m", 3)] {
            let world = World::with_store(server.store());
            let client = world.client(&oauth2().quota(quota));
            for _ in 0..3 {
                let _ = client.token();
                let _ = client.0.budget().map_err(|error| is_sentence(&error.to_string()));
                world.clock.advance(S * 3601);
            }
            let sent = world.provider.count();
            assert!((1..=most).contains(&sent), "{time} {quota}: {sent}, {}", world.lines.all());
        }
    }
}

#[test]
fn whoever_only_looks_connects_to_nothing() {
    let server = Liar::after(usize::MAX, Act::Silence);
    let world = World::with_store(server.store());
    let client = world.client(&oauth2());
    assert_eq!(client.cached().unwrap_err().kind(), ErrorKind::NotCached);
    assert!(server.commands().is_empty());
    value(&client);
    let commands = server.commands();
    assert_eq!(commands.len(), 1, "a call has one connection");
    client.cached().unwrap();
    value(&client);
    world.clock.advance(S * 3601);
    assert_eq!(client.cached().unwrap_err().kind(), ErrorKind::NotCached);
    assert_eq!(server.commands(), commands);
}

// ---- documents that are none of ours ----

fn key(engine: &Engine, kind: &str) -> String {
    let keys: Vec<String> = engine.tell(&format!("KEYS tokauth:{{{kind}-*}}"));
    let [key] = &keys[..] else { panic!("{keys:?}") };
    key.clone()
}

fn put(engine: &Engine, key: &str, document: &[u8]) {
    redis::cmd("DEL").arg(key).exec(&mut engine.connection()).unwrap();
    redis::cmd("SET").arg(key).arg(document).exec(&mut engine.connection()).unwrap();
}

#[test]
fn a_token_document_that_is_none_of_ours_is_set_aside_and_costs_one_request() {
    let engine = Engine::start();
    let world = World::new();
    let builder = oauth2().store(engine.url());
    value(&world.client(&builder));
    value(&world.client(&builder.clone().scope("another")));
    let keys: Vec<String> = engine.tell("KEYS tokauth:{token-*}");
    let documents: Vec<Vec<u8>> = keys.iter().map(|key| engine.tell(&format!("GET {key}"))).collect();
    let sound = documents[0].clone();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for (what, document) in [
        ("another program's", b"\x89PNG".to_vec()),
        ("empty", Vec::new()),
        ("truncated", sound[..sound.len() - 1].to_vec()),
        ("longer by a byte", [&sound[..], b"\0"].concat()),
        ("with a bit flipped", flipped),
        ("in the place of another", documents[1].clone()),
        ("huge", vec![b'x'; 5 << 20]),
    ] {
        put(&engine, &keys[0], &document);
        let before = world.provider.count();
        // Whichever of the two it is that the key belongs to.
        let processes = ["", "another"].map(|scope| {
            let process = world.sibling();
            let builder = if scope.is_empty() { builder.clone() } else { builder.clone().scope(scope) };
            value(&process.client(&builder));
            process
        });
        assert_eq!(world.provider.count(), before + 1, "{what}");
        assert!(processes.iter().any(|process| process.lines.all().contains("is set aside")), "{what}");
        assert_eq!(engine.tell::<Vec<u8>>(&format!("GET {}:aside", keys[0])), document, "{what}: it is kept");
    }
    put(&engine, &keys[0], &documents[1]);
    put(&engine, &keys[1], &documents[0]);
    let before = world.provider.count();
    value(&world.sibling().client(&builder));
    value(&world.sibling().client(&builder.clone().scope("another")));
    assert_eq!(world.provider.count(), before + 2, "swapped, neither passes for the other");
}

#[test]
fn what_is_no_string_costs_requests_not_tokens() {
    let engine = Engine::start();
    let world = World::new();
    let builder = oauth2().store(engine.url());
    value(&world.client(&builder));
    let key = key(&engine, "token");
    for other in ["LPUSH", "SADD", "PFADD"] {
        engine.tell::<i64>(&format!("DEL {key}"));
        engine.tell::<i64>(&format!("{other} {key} x"));
        if other == "PFADD" {
            value(&world.sibling().client(&builder));
            assert_ne!(engine.tell::<String>(&format!("TYPE {key}:aside")), "none", "a string, and set aside");
            continue;
        }
        let process = world.sibling();
        let before = world.provider.count();
        let client = process.client(&builder);
        value(&client);
        value(&client);
        assert_eq!(world.provider.count(), before + 1);
        let told = warnings(&process);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("WRONGTYPE Operation against a key") && told[0].contains("choose another prefix"));
    }
}

#[test]
fn a_ledger_that_is_none_of_ours_stops_requests() {
    let engine = Engine::start();
    let world = World::new();
    let builder = oauth2().store(engine.url()).quota(BUDGET);
    value(&world.client(&builder));
    let key = key(&engine, "ledger");
    let sound: Vec<u8> = engine.tell(&format!("GET {key}"));
    let other = world.sibling().client(&builder.clone().scope("another"));
    let stops = |what: &str, words: &str| {
        for error in [other.token().expect_err(what), other.0.budget().expect_err(what)] {
            assert_eq!(error.kind(), ErrorKind::Store, "{what}: {error}");
            assert!(error.to_string().contains(words), "{what}: {error}");
            is_sentence(&error.to_string());
        }
        assert_eq!(world.provider.connections(), 1, "{what}");
    };
    let ours = "is damaged or something else; put a copy of it back, or remove it";
    for (what, document) in [
        ("another program's", b"\x89PNG".to_vec()),
        ("empty", Vec::new()),
        ("truncated", sound[..20].to_vec()),
        ("huge", vec![b'x'; 5 << 20]),
        ("a token", engine.tell(&format!("GET {}", self::key(&engine, "token")))),
    ] {
        put(&engine, &key, &document);
        stops(what, ours);
        assert_eq!(engine.tell::<Vec<u8>>(&format!("GET {key}")), document, "{what}: it stays for its owner to see");
    }
    put(&engine, &key, &[b"tokauth ledger 99 new\n", &sound[..]].concat());
    stops("of a later version", "is of a later version of this library");
    engine.tell::<i64>(&format!("DEL {key}"));
    engine.tell::<i64>(&format!("LPUSH {key} x"));
    stops("a list", "WRONGTYPE Operation against a key");
    put(&engine, &key, &sound);
    value(&other);
    assert_eq!(other.0.budget().unwrap().unwrap().requests, 998);
}
