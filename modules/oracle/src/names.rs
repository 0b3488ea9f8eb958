//! The names that a run gives to what it makes on the server's side.

use cofferdam_guest_sdk::{Error, Host, Result};

/// A tag has 30 characters at most, and the time takes 16 of them.
const LONGEST: usize = 14;

/// The tag of this run's pieces, or the name of its job: `COFFERDAM_20261125T131415`.
pub(crate) fn of_this_run(host: &dyn Host) -> Result<String> {
    let prefix = host.required("tag")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if prefix.is_empty() || prefix.len() > LONGEST || !prefix.bytes().all(plain) {
        return Err(Error::invalid(format!(
            "parameter `tag` is `{prefix}`: use 1 to {LONGEST} letters, digits and `_`, for the time is put behind it and a tag has 30 characters at most"
        )));
    }
    Ok(format!(
        "{}_{}",
        prefix.to_ascii_uppercase(),
        stamp(host.now())
    ))
}

/// `20261125T131415`, in UTC.
fn stamp(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The date of a day since 1970-01-01, by counting eras of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_people_read_it() {
        assert_eq!(stamp(0), "19700101T000000");
        assert_eq!(stamp(951_782_399_000), "20000228T235959");
        assert_eq!(stamp(951_782_400_000), "20000229T000000");
        assert_eq!(stamp(1_795_612_455_000), "20261125T131415");
    }
}
