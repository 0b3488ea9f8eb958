//! Over what time the data sets of one backup were taken: how far apart their contents may be.
//!
//! Must never call a data set quiet that was begun before everything had stopped.

use cofferdam_repository::Snapshot;
use jiff::Timestamp;
use serde::Serialize;

use crate::report::DataSetReport;

/// The time over which the data sets of a backup were taken. Those that only stop a workload hold
/// no data and do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// When the first of them began.
    pub from: Timestamp,
    /// When the last of them ended.
    pub to: Timestamp,
    /// The data sets that had stopped a workload for it, in this order. Without any, the application
    /// went on meanwhile.
    pub quiesced: Vec<String>,
    /// Those that were begun before all of it stood still.
    pub outside: Vec<String>,
}

/// One data set, as far as this matters.
struct Moment {
    name: String,
    from: Timestamp,
    to: Timestamp,
    quiet: Option<bool>,
}

impl Taken {
    /// The time of a backup that has just ended, of which `quiesce` stopped the workloads.
    pub(crate) fn of_reports(reports: &[DataSetReport], quiesce: &[String]) -> Option<Self> {
        let moments = reports.iter().filter_map(|report| {
            Some(Moment {
                name: report.name.to_string(),
                from: report.begun?,
                to: report.ended?,
                quiet: report.quiet,
            })
        });
        Self::of(moments, quiesce)
    }

    /// The time of a backup that the repository keeps. `None` where it does not say when its data sets
    /// were taken, as for files that were taken over.
    pub fn of_snapshots<'a>(snapshots: impl Iterator<Item = &'a Snapshot>) -> Option<Self> {
        let snapshots: Vec<&Snapshot> = snapshots.collect();
        let quiesce: Vec<String> = snapshots
            .iter()
            .find_map(|snapshot| {
                let said = snapshot.description.details.get("quiesce")?;
                serde_json::from_value(said.clone()).ok()
            })
            .unwrap_or_default();
        // What was taken over says when that was, not when the files were taken.
        let made_here = snapshots
            .iter()
            .filter(|snapshot| snapshot.metadata.get("imported").is_none());
        let moments = made_here.filter_map(|snapshot| {
            let metadata = &snapshot.metadata;
            Some(Moment {
                name: snapshot.description.data_set.clone(),
                from: metadata.get("begun")?.as_str()?.parse().ok()?,
                to: snapshot.finished,
                quiet: metadata.get("quiet").and_then(serde_json::Value::as_bool),
            })
        });
        Self::of(moments, &quiesce)
    }

    fn of(moments: impl Iterator<Item = Moment>, quiesce: &[String]) -> Option<Self> {
        let mut taken: Option<Self> = None;
        for moment in moments.filter(|moment| !quiesce.contains(&moment.name)) {
            let taken = taken.get_or_insert_with(|| Self {
                from: moment.from,
                to: moment.to,
                quiesced: quiesce.to_vec(),
                outside: Vec::new(),
            });
            taken.from = taken.from.min(moment.from);
            taken.to = taken.to.max(moment.to);
            if !quiesce.is_empty() && moment.quiet != Some(true) {
                taken.outside.push(moment.name);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(name: &str, from: i64, to: i64, quiet: Option<bool>) -> Moment {
        let at = |second| Timestamp::from_second(second).expect("a time");
        Moment {
            name: name.to_owned(),
            from: at(from),
            to: at(to),
            quiet,
        }
    }

    #[track_caller]
    fn check(moments: Vec<Moment>, quiesce: &[&str], wanted: &str) {
        let quiesce: Vec<String> = quiesce.iter().map(|&name| name.to_owned()).collect();
        let told = Taken::of(moments.into_iter(), &quiesce).map_or("none".to_owned(), |taken| {
            format!(
                "{}..{} outside [{}]",
                taken.from.as_second(),
                taken.to.as_second(),
                taken.outside.join(" ")
            )
        });
        assert_eq!(told, wanted);
    }

    #[test]
    fn the_time_goes_from_the_earliest_start_to_the_latest_end() {
        let two = || vec![moment("b", 20, 30, None), moment("a", 10, 25, None)];
        check(two(), &[], "10..30 outside []");
        check(Vec::new(), &["stop"], "none");
    }

    #[test]
    fn what_only_stops_a_workload_does_not_count_and_what_came_before_is_outside() {
        let moments = vec![
            moment("files", 1, 4, Some(false)),
            moment("stop", 3, 9, None),
            moment("database", 10, 12, Some(true)),
            moment("unsaid", 11, 12, None),
        ];
        check(moments, &["stop"], "1..12 outside [files unsaid]");
        check(vec![moment("stop", 3, 9, None)], &["stop"], "none");
    }
}
