//! Where in the text of a description serde_json found a fault, and which, without the value that stands there.

/// What serde_json says, without the value that it found: that may be a secret in the wrong place.
pub(super) fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let kind = ["invalid type", "invalid value", "unknown variant"].into_iter().find(|kind| text.starts_with(kind));
    match (kind, text.rfind(", expected ")) {
        (Some(kind), Some(expected)) => format!("{kind}{}", &text[expected..]),
        _ => text,
    }
}

/// Where in the text an error of serde_json is, as names and indices joined by dots. It tells line and column only.
pub(super) fn place(text: &str, error: &serde_json::Error) -> String {
    enum Around {
        /// The latest name, and whether a name comes next.
        Object(String, bool),
        Array(usize),
    }
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let end = (line_start + error.column()).min(text.len());
    let mut around: Vec<Around> = Vec::new();
    let mut bytes = text.as_bytes()[..end].iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (byte, around.last_mut()) {
            (b'{', _) if at + 1 < end => around.push(Around::Object(String::new(), true)),
            (b'[', _) if at + 1 < end => around.push(Around::Array(0)),
            (b'}' | b']', _) if at + 1 < end => drop(around.pop()),
            (b',', Some(Around::Object(_, next))) => *next = true,
            (b',', Some(Around::Array(index))) => *index += 1,
            (b'"', inner) => {
                let mut escaped = false;
                let close = bytes.find(|(_, byte)| {
                    let closes = **byte == b'"' && !escaped;
                    escaped = **byte == b'\\' && !escaped;
                    closes
                });
                if let (Some(Around::Object(name, next @ true)), Some((close, _))) = (inner, close) {
                    *name = text[at + 1..close].to_owned();
                    *next = false;
                }
            }
            _ => {}
        }
    }
    // What is missing is missing in the object, not at its latest name.
    let missing = error.to_string().starts_with("missing field");
    let depth = around.len().saturating_sub(usize::from(missing));
    let names: Vec<String> = around[..depth]
        .iter()
        .map(|around| match around {
            Around::Object(name, _) => name.clone(),
            Around::Array(index) => index.to_string(),
        })
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() { "the top".to_owned() } else { names.join(".") }
}
