//! Dates as text: RFC 3339 for JSON, IMF-fixdate for HTTP's `Date`.
//!
//! Exact and without time zones beyond a numeric offset, which is all that the wire knows. Days are counted in the
//! proleptic Gregorian calendar with Howard Hinnant's `days_from_civil` and `civil_from_days`.

use std::fmt;

const SECONDS_PER_DAY: i64 = 86_400;

/// A point in time: seconds and nanoseconds since the UNIX epoch, both as the wire has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Whole seconds, rounded down, so that they may be negative.
    pub seconds: i64,
    /// Nanoseconds beyond them, below 1,000,000,000.
    pub nanos: u32,
}

impl Moment {
    /// The moment that lies `micros` microseconds after the epoch.
    pub fn from_micros(micros: u64) -> Moment {
        let seconds = i64::try_from(micros / 1_000_000).expect("2^64 µs are fewer than 2^63 s");
        let nanos = u32::try_from(micros % 1_000_000).expect("less than a million") * 1_000;
        Moment { seconds, nanos }
    }

    /// Reads `2024-05-06T07:08:09.123456789Z` or the same with an offset such as `+02:00`.
    ///
    /// Digits beyond nanoseconds are dropped; a leap second counts as the first of the next minute. `None` for anything
    /// that RFC 3339 does not allow.
    pub fn parse_rfc3339(text: &str) -> Option<Moment> {
        let mut digits = Digits { rest: text.as_bytes() };
        let year = digits.number(4)?;
        digits.byte(b"-")?;
        let month = digits.number(2)?;
        digits.byte(b"-")?;
        let day = digits.number(2)?;
        digits.byte(b"Tt ")?;
        let hour = digits.number(2)?;
        digits.byte(b":")?;
        let minute = digits.number(2)?;
        digits.byte(b":")?;
        let second = digits.number(2)?;
        let nanos = digits.fraction()?;
        let offset_minutes = digits.offset_minutes()?;
        let sound = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour <= 23
            && minute <= 59
            && second <= 60;
        if !sound || !digits.rest.is_empty() {
            return None;
        }
        let of_day = hour * 3_600 + (minute - offset_minutes) * 60 + second;
        Some(Moment {
            seconds: days_from_civil(year, month, day) * SECONDS_PER_DAY + of_day,
            nanos,
        })
    }

    /// HTTP's form: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn to_http_date(self) -> String {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let days = self.seconds.div_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let weekday = WEEKDAYS[usize::try_from(days.rem_euclid(7)).expect("a remainder of 7")];
        let month = MONTHS[usize::try_from(month - 1).expect("months count from 1")];
        let (hour, minute, second) = self.time_of_day();
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    fn time_of_day(self) -> (i64, i64, i64) {
        let of_day = self.seconds.rem_euclid(SECONDS_PER_DAY);
        (of_day / 3_600, of_day / 60 % 60, of_day % 60)
    }
}

/// RFC 3339 in UTC, with as many triples of decimals as it takes to be exact.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(SECONDS_PER_DAY));
        let (hour, minute, second) = self.time_of_day();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.nanos {
            0 => f.write_str("Z"),
            nanos if nanos % 1_000_000 == 0 => write!(f, ".{:03}Z", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => write!(f, ".{:06}Z", nanos / 1_000),
            nanos => write!(f, ".{nanos:09}Z"),
        }
    }
}

struct Digits<'a> {
    rest: &'a [u8],
}

impl Digits<'_> {
    fn number(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        digits.iter().try_fold(0, |number, &digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    }

    fn byte(&mut self, allowed: &[u8]) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        allowed.contains(&first).then_some(first)
    }

    /// Nanoseconds of a fraction, 0 where there is none.
    fn fraction(&mut self) -> Option<u32> {
        if self.rest.first() != Some(&b'.') {
            return Some(0);
        }
        let digits = self.rest[1..].iter().take_while(|digit| digit.is_ascii_digit()).count();
        let nanos = self.rest[1..=digits]
            .iter()
            .chain(std::iter::repeat(&b'0'))
            .take(9)
            .fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
        self.rest = &self.rest[1 + digits..];
        (digits > 0).then_some(nanos)
    }

    fn offset_minutes(&mut self) -> Option<i64> {
        let sign = match self.byte(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2)?;
        self.byte(b":")?;
        let minutes = self.number(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_survives_a_round_trip() {
        for days in days_from_civil(1600, 1, 1)..days_from_civil(2400, 1, 1) {
            let (year, month, day) = civil_from_days(days);
            assert!((1..=days_in_month(year, month)).contains(&day));
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn text_is_read_to_the_nanosecond() {
        let read = |text| Moment::parse_rfc3339(text).map(|moment| (moment.seconds, moment.nanos));
        assert_eq!(read("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(read("2001-09-09T01:46:40.5Z"), Some((1_000_000_000, 500_000_000)));
        assert_eq!(read("2001-09-09t03:46:40.0000000019+02:00"), Some((1_000_000_000, 1)));
        assert_eq!(read("1969-12-31T23:59:59.999999999Z"), Some((-1, 999_999_999)));
        assert_eq!(read("2016-12-31T23:59:60Z"), read("2017-01-01T00:00:00Z"));
        assert_eq!(read("2024-02-29T00:00:00-00:30"), read("2024-02-29T00:30:00Z"));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for text in [
            "",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00Z ",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T00:00:00+24:00",
            "2024-1-01T00:00:00Z",
            "+024-01-01T00:00:00Z",
            "2024-01-01",
        ] {
            assert_eq!(Moment::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn text_is_written_as_short_as_it_is_exact() {
        let written = |nanos| Moment { seconds: 784_111_777, nanos }.to_string();
        assert_eq!(written(0), "1994-11-06T08:49:37Z");
        assert_eq!(written(120_000_000), "1994-11-06T08:49:37.120Z");
        assert_eq!(written(123_456_000), "1994-11-06T08:49:37.123456Z");
        assert_eq!(written(123_456_789), "1994-11-06T08:49:37.123456789Z");
        assert_eq!(
            Moment::from_micros(784_111_777_000_001).to_string(),
            "1994-11-06T08:49:37.000001Z"
        );
    }

    #[test]
    fn http_dates_have_the_fixed_form() {
        let moment = Moment { seconds: 784_111_777, nanos: 5 };
        assert_eq!(moment.to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(Moment { seconds: 0, nanos: 0 }.to_http_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
