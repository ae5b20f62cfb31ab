//! Points in time as text, to seconds since 1970. Pure.

/// An HTTP date in each of its three forms (RFC 9110 section 5.6.7).
pub(crate) fn http(text: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    i64::try_from(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// An internet date (RFC 3339), fractions of a second cut: `2025-04-11T03:43:28.148Z`.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    let text = text.trim();
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let sign = |at: usize, signs: &[u8]| text.as_bytes().get(at).filter(|byte| signs.contains(byte));
    for (at, signs) in [(4, b"-".as_slice()), (7, b"-"), (10, b"Tt _"), (13, b":"), (16, b":")] {
        sign(at, signs)?;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fraction = text.get(20..).filter(|_| sign(19, b".").is_some());
    let zone = match fraction {
        Some(fraction) => 20 + fraction.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?,
        None => 19,
    };
    let offset = match text.as_bytes()[zone..] {
        [b'Z' | b'z'] => 0,
        [side @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
            let seconds = (hours * 60 + minutes) * 60;
            (hours <= 23 && minutes <= 59).then_some(if side == b'-' { -seconds } else { seconds })?
        }
        _ => return None,
    };
    let sound = (1..=12).contains(&month) && (1..=31).contains(&day) && hour <= 23 && minute <= 59 && second <= 60;
    sound.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days since 1970 in the Gregorian calendar; years begin in March here, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day
        - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_dates_are_read_to_the_second() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2025-04-11T03:43:28.148Z", Some(1_744_343_008)),
            ("2025-04-11T03:43:28Z", Some(1_744_343_008)),
            ("2025-04-11t05:43:28.999747+02:00", Some(1_744_343_008)),
            ("2025-04-10 22:43:28-05:00", Some(1_744_343_008)),
            ("2024-02-29T23:59:60Z", Some(1_709_251_200)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800)),
            ("2025-04-11T03:43:28", None),
            ("2025-04-11T03:43:28.Z", None),
            ("2025-04-11T03:43:28+0200", None),
            ("2025-04-11T03:43:28+24:00", None),
            ("2025-13-11T03:43:28Z", None),
            ("2025-04-11T24:43:28Z", None),
            ("+025-04-11T03:43:28Z", None),
            ("06/19/2019 23:42:01 +00:00", None),
            ("2025-04-11", None),
            ("", None),
            ("2025-04-1\u{661}T03:43:28Z", None),
        ] {
            assert_eq!(rfc3339(text), seconds, "{text}");
        }
    }

    #[test]
    fn an_http_date_has_three_forms() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("1994-11-06T08:49:37Z", None),
            ("3600", None),
        ] {
            assert_eq!(http(text), seconds, "{text}");
        }
    }
}
