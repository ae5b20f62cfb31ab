//! Points in time as text, to seconds since 1970. Pure.

const SHORT_DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const LONG_DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An HTTP date in each of its three forms (RFC 9110 section 5.6.7).
pub(crate) fn http(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.trim().split(' ').collect();
    match *words {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [weekday, day, month, year, time, "GMT"] => {
            let weekday = place(&SHORT_DAYS, weekday.strip_suffix(',')?)?;
            named(weekday, digits(year, 4)?, month, digits(day, 2)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [weekday, date, time, "GMT"] => {
            let weekday = place(&LONG_DAYS, weekday.strip_suffix(',')?)?;
            let (day, month, year) = parts(date, '-')?;
            let (day, year) = (digits(day, 2)?, digits(year, 2)?);
            // The RFC goes by the year that it is, which is not known here; the day of the week tells the century too.
            [2000, 1900].into_iter().find_map(|century| named(weekday, century + year, month, day, time))
        }
        // Sun Nov  6 08:49:37 1994
        [weekday, month, "", day, time, year] => {
            named(place(&SHORT_DAYS, weekday)?, digits(year, 4)?, month, digits(day, 1)?, time)
        }
        [weekday, month, day, time, year] => {
            named(place(&SHORT_DAYS, weekday)?, digits(year, 4)?, month, digits(day, 2)?, time)
        }
        _ => None,
    }
}

/// An internet date (RFC 3339), fractions of a second cut: `2025-04-11T03:43:28.148Z`.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time, rest) = (text.get(..10)?, text.get(11..19)?, text.get(19..)?);
    b"Tt _".contains(&text.as_bytes()[10]).then_some(())?;
    let (year, month, day) = parts(date, '-')?;
    let local = day_of(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?)? * 86_400 + time_of_day(time)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    let offset = |zone| {
        let (hours, minutes) = str::split_once(zone, ':')?;
        let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
        (hours <= 23 && minutes <= 59).then_some((hours * 60 + minutes) * 60)
    };
    match zone.as_bytes().first()? {
        b'Z' | b'z' => (zone.len() == 1).then_some(local),
        b'+' => Some(local - offset(&zone[1..])?),
        b'-' => Some(local + offset(&zone[1..])?),
        _ => None,
    }
}

/// The same in UTC, for people to read.
pub(crate) fn rfc3339_text(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month) = month_of(day);
    let day = day - days(year, month, 1) + 1;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// When the month of UTC after that of `seconds` begins.
pub(crate) fn next_month(seconds: i64) -> i64 {
    let (year, month) = month_of(seconds.div_euclid(86_400));
    days(year, month + 1, 1).saturating_mul(86_400)
}

/// The year, and the month from 1 to 12, of a day since 1970.
fn month_of(day: i64) -> (i64, i64) {
    // By the average length of a year, which is at most a day or so off.
    let year = 1970 + (day * 400).div_euclid(146_097);
    let year = (year - 1..=year + 1).rfind(|year| days(*year, 1, 1) <= day).unwrap_or(year);
    (year, (1..=12).rfind(|month| days(year, *month, 1) <= day).unwrap_or(1))
}

/// A date whose names are in English; the day of the week must be the right one.
fn named(weekday: i64, year: i64, month: &str, day: i64, time: &str) -> Option<i64> {
    let day = day_of(year, place(&MONTHS, month)? + 1, day)?;
    (day.rem_euclid(7) == weekday).then_some(day * 86_400 + time_of_day(time)?)
}

fn place(names: &[&str], name: &str) -> Option<i64> {
    names.iter().position(|known| *known == name)?.try_into().ok()
}

/// So many digits and nothing else.
fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn parts(text: &str, between: char) -> Option<(&str, &str, &str)> {
    let (first, rest) = text.split_once(between)?;
    let (second, third) = rest.split_once(between)?;
    Some((first, second, third))
}

/// Of `08:49:37`; a leap second is the first of the next minute.
fn time_of_day(text: &str) -> Option<i64> {
    let (hour, minute, second) = parts(text, ':')?;
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    (hour <= 23 && minute <= 59 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// Days since 1970 to one that there is.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let first = (1..=12).contains(&month).then(|| days(year, month, 1))?;
    (1..=days(year, month + 1, 1) - first).contains(&day).then_some(first + day - 1)
}

/// Days since 1970 in the Gregorian calendar; years begin in March here, so that a leap day ends one. Month 13 is the
/// next January.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day
        - 719_469
}

/// Seconds of `900`, `5m`, `12h`, `1d`.
pub(crate) fn duration_seconds(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
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
            ("2025-00-11T03:43:28Z", None),
            ("2025-02-29T03:43:28Z", None),
            ("2025-04-00T03:43:28Z", None),
            ("2025-04-11T03:60:28Z", None),
            ("2025-04-11T03:43:61Z", None),
            ("2025-04-11T03:43:28Zulu", None),
            ("2025-04-11T03:43:28+02:00:00", None),
            ("2025/04/11T03:43:28Z", None),
            ("2025-04-11-03:43:28Z", None),
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
    fn an_internet_date_is_written_as_it_is_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_219_200, "2026-11-21T00:00:00Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (i64::MAX, "292277026596-12-04T15:30:07Z"),
            (i64::MIN, "-292277022657-01-27T08:29:52Z"),
        ] {
            assert_eq!(rfc3339_text(seconds), text);
        }
        // Every day of 800 years, and another second of each.
        for day in -146_097..146_097_i64 {
            let seconds = day * 86_400 + day.rem_euclid(86_400);
            assert_eq!(rfc3339(&rfc3339_text(seconds)), Some(seconds));
        }
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        for (within, next) in [
            ("1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
            ("2024-02-29T12:00:00Z", "2024-03-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("2100-02-28T23:59:59Z", "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Some(next_month(rfc3339(within).unwrap())), rfc3339(next), "{within}");
        }
        // Each month of 800 years, from its first second to its last.
        let mut first = rfc3339("1600-01-01T00:00:00Z").unwrap();
        for year in 1600..2400 {
            for month in 1..=12 {
                let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let length = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
                let next = first + length * 86_400;
                assert_eq!([next_month(first), next_month(next - 1)], [next; 2], "{year}-{month}");
                first = next;
            }
        }
        assert!(next_month(i64::MAX) == i64::MAX && next_month(i64::MIN) < i64::MIN + 31 * 86_400);
    }

    #[test]
    fn an_http_date_has_three_forms() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 06 08:49:37 1994", 784_111_777),
            (" Sun, 06 Nov 1994 08:49:37 GMT\t", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Fri, 26 Mar 1999 01:00:05 GMT", 922_410_005),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Sat, 21 Nov 2026 00:00:00 GMT", 1_795_219_200),
            // The day of the week tells the century.
            ("Saturday, 21-Nov-26 00:00:00 GMT", 1_795_219_200),
            ("Sunday, 21-Nov-26 00:00:00 GMT", 1_795_219_200 - 36_525 * 86_400),
            ("Tuesday, 29-Feb-00 12:00:00 GMT", 951_825_600),
            ("Saturday, 31-Dec-16 23:59:60 GMT", 1_483_228_800),
            // A leap second is the first of the next day.
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Sat Dec 31 23:59:60 2016", 1_483_228_800),
        ] {
            assert_eq!(http(text), Some(seconds), "{text}");
        }
        for text in [
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Mon Nov  6 08:49:37 1994",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 08*49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Thu, 00 Jan 1970 00:00:00 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Thu, 31 Apr 2026 00:00:00 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov 6 08:49:37 1994",
            "1994-11-06T08:49:37Z",
            "3600",
            "\u{661}un, 06 Nov 1994 08:49:37 GMT",
            "",
        ] {
            assert_eq!(http(text), None, "{text}");
        }
    }

    #[test]
    fn http_dates_mean_what_another_reader_takes_them_for() {
        for day in 0..146_097_u64 {
            let seconds = day * 86_400 + day.rem_euclid(86_400);
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            assert_eq!(http(&httpdate::fmt_http_date(time)), i64::try_from(seconds).ok());
        }
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (text, seconds) in [
            ("900", Some(900)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("30min", Some(1800)),
            ("12h", Some(43_200)),
            ("1d", Some(86_400)),
            ("2w", Some(1_209_600)),
            ("", None),
            ("m", None),
            ("5 m", None),
            ("-5m", None),
            ("1y", None),
            ("9223372036854775807w", None),
        ] {
            assert_eq!(duration_seconds(text), seconds, "{text}");
        }
    }
}
