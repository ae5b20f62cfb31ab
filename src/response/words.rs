//! Foreign text as an error may repeat it.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// How much of a provider's own words an error repeats, in characters.
const WORDS_MAX: usize = 200;
/// So many characters in a row of a secret give it away.
const TELLTALE: usize = 8;

/// A foreign text as an error may repeat it: one line, printable, short; `None` if nothing is left of it or it would
/// give a secret away.
pub(crate) fn quote(text: &str, secrets: &[Secret]) -> Option<String> {
    let begin = cut(text, 2 * WORDS_MAX);
    let line = begin
        .split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    // The text as it came too: a blank less could hide a secret.
    if line.is_empty() || gives_away(begin, secrets) || gives_away(&line, secrets) {
        return None;
    }
    let short = cut(&line, WORDS_MAX);
    Some(if short.len() < line.len() { format!("{short}…") } else { line })
}

/// Whether a text could be an error code: `invalid_client`, `urn:problem/401`.
pub(super) fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b))
}

/// The title of a page, which tells what answered: a login, a gateway, a firewall.
pub(super) fn title(body: &[u8]) -> Option<&str> {
    let start = &body[..body.len().min(64 * 1024)];
    let text = std::str::from_utf8(start).or_else(|cut| std::str::from_utf8(&start[..cut.valid_up_to()])).ok()?;
    text.trim_start_matches('\u{feff}').trim_start().starts_with('<').then_some(())?;
    let lower = text.to_ascii_lowercase();
    let from = lower.find("<title")?;
    let from = from + lower[from..].find('>')? + 1;
    Some(&text[from..from + lower[from..].find("</title")?])
}

fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// Marks that change how a line is shown, but not what it says (Unicode's general category Cf, its usual part).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether a foreign text repeats a secret, or so much of one that it helps to guess it.
fn gives_away(text: &str, secrets: &[Secret]) -> bool {
    // A host name, for one, comes back in lower case.
    let lower = |text: &str| Zeroizing::new(text.to_ascii_lowercase());
    let text = &*lower(text);
    secrets.iter().map(|secret| lower(secret.expose())).filter(|secret| !secret.is_empty()).any(|secret| {
        let starts = text.char_indices().map(|(start, _)| start);
        let mut runs = starts.filter_map(|start| {
            let run = cut(&text[start..], TELLTALE);
            (run.chars().count() == TELLTALE).then_some(run)
        });
        text.contains(&**secret) || runs.any(|run| secret.contains(run))
    })
}
