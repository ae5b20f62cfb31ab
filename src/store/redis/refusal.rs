//! What a server's errors mean, and what to do about them.

/// What to do, and whether it may pass by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) advice: &'static str,
    pub(super) passes: bool,
}

const RIGHTS: &str = "allow it to this user; examples/fleet.md lists all that it takes";
const LOGIN: &str = "check user and password of store";

impl Refusal {
    pub(super) fn read(code: &str, detail: &str) -> Refusal {
        let passes = |advice| Refusal { advice, passes: true };
        let stays = |advice| Refusal { advice, passes: false };
        match cause(code, detail) {
            "READONLY" => passes("give the address of the primary, not of a replica"),
            "LOADING" | "MASTERDOWN" => passes("it is just starting"),
            "BUSY" => passes("somebody's script blocks it"),
            "OOM" => passes("its memory is full; raise maxmemory"),
            "MISCONF" | "NOREPLICAS" => passes("see to its disk and its replicas"),
            _ if detail.contains("number of clients") => passes("raise maxclients"),
            "WRONGPASS" | "NOAUTH" => stays(LOGIN),
            "DENIED" => stays("it is in protected mode; give it a password"),
            "NOPERM" => stays(RIGHTS),
            "WRONGTYPE" => stays("something else has that name; choose another prefix"),
            "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" | "TRYAGAIN" => {
                stays("clusters are not supported; give a single server")
            }
            // Redis, and Valkey.
            _ if detail.contains("user executing the script") || detail.contains("ACL failure") => stays(RIGHTS),
            _ if detail.contains("DB index") => stays("there is no such database; check the number in store"),
            _ if detail.contains("AUTH") || detail.contains("password") => stays(LOGIN),
            _ if detail.contains("unknown command") => stays("libtokauth needs that command, and scripts"),
            _ => stays("see its log"),
        }
    }
}

/// The code, which Redis 6 and older put into the text if it was a script's command that failed:
/// `ERR Error running script (call to f_…): @user_script:3: -READONLY You can't write against a read only replica.`
fn cause<'a>(code: &'a str, detail: &'a str) -> &'a str {
    let inner = |word: &'a str| word.strip_prefix('-').filter(|rest| rest.bytes().all(|b| b.is_ascii_uppercase()));
    match code {
        "ERR" => detail.split(' ').filter_map(inner).find(|inner| !inner.is_empty()).unwrap_or(code),
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_s_script_errors_mean_the_same() {
        for (code, text) in [
            ("READONLY", "You can't write against a read only replica."),
            ("OOM", "command not allowed when used memory > 'maxmemory'."),
            ("MISCONF", "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."),
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value"),
        ] {
            let old = format!("Error running script (call to f_0123): @user_script:3: @user_script: 3: -{code} {text}");
            assert_eq!(Refusal::read("ERR", &old), Refusal::read(code, text));
            assert_ne!(Refusal::read("ERR", &old).advice, "see its log", "{code}");
        }
        let other = Refusal::read("ERR", "value is -1 or - or out of range");
        assert_eq!(other, Refusal { advice: "see its log", passes: false });
    }
}
