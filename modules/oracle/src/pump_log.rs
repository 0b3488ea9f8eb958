//! What `expdp` and `impdp` print: how the job ended, the tables with their rows, the dump files.
//!
//! Must never take a job that ended with errors, or whose end was not seen, for a whole one.

use std::collections::BTreeMap;

use cofferdam_guest_sdk::{Error, Result};

use crate::codes::Judgement;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    WithErrors,
    Stopped,
}

/// The log of a job that counts.
#[derive(Debug)]
pub(crate) struct PumpLog {
    /// Rows by table, partitions on their own: `"SYSTEM"."ACCOUNTS"`.
    pub(crate) tables: BTreeMap<String, u64>,
    /// The dump files as the server names them.
    pub(crate) files: Vec<String>,
    /// What passed.
    pub(crate) judgement: Judgement,
}

/// Exit codes of Data Pump: 0 is success, 5 is success with errors, all else is failure.
const WITH_ERRORS: i32 = 5;

impl PumpLog {
    /// Reads what `command` printed before it ended with `exit_code`.
    pub(crate) fn read(command: &str, text: &str, exit_code: i32, passes: &[&str]) -> Result<Self> {
        let attempted = format!("command `{command}`");
        let judgement = Judgement::of(text, passes);
        if !judgement.errors.is_empty() {
            return Err(judgement.error(&attempted));
        }
        let may_have_errors = !judgement.warnings.is_empty();
        if exit_code != 0 && !(exit_code == WITH_ERRORS && may_have_errors) {
            return Err(Error::failed(
                "command-failed",
                format!("{attempted} ended with {exit_code} and no error of its own"),
            ));
        }
        match end(text) {
            Some(End::Whole) => {}
            Some(End::WithErrors) if may_have_errors => {}
            Some(End::WithErrors) => {
                return Err(Error::failed(
                    "completed-with-errors",
                    format!("{attempted} completed with errors that it does not name"),
                ));
            }
            Some(End::Stopped) => {
                return Err(Error::failed(
                    "job-stopped",
                    format!("{attempted}: its job stopped before it was done"),
                ));
            }
            None => {
                return Err(Error::failed(
                    "no-trailer",
                    format!(
                        "{attempted} ended with {exit_code}, but its log has no `successfully completed`: it was cut, and the job may go on in the server (look in DBA_DATAPUMP_JOBS)"
                    ),
                ));
            }
        }
        Ok(Self {
            tables: tables(text),
            files: files(text),
            judgement,
        })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.tables.values().sum()
    }
}

/// `Job "S"."J" successfully completed at ...`, the last one.
fn end(text: &str) -> Option<End> {
    text.lines().rev().map(str::trim).find_map(|line| {
        let rest = line.strip_prefix("Job \"")?;
        if rest.contains("\" successfully completed at ") {
            Some(End::Whole)
        } else if rest.contains("\" completed with ") && rest.contains(" error(s) at ") {
            Some(End::WithErrors)
        } else if rest.contains("\" stopped ") {
            Some(End::Stopped)
        } else {
            None
        }
    })
}

/// `. . exported "SYSTEM"."ACCOUNTS"   12.3 KB   100 rows`, and `imported` likewise.
fn tables(text: &str) -> BTreeMap<String, u64> {
    let mut tables = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        let rest = line
            .strip_prefix(". . exported ")
            .or_else(|| line.strip_prefix(". . imported "));
        let Some((rest, end)) = rest.and_then(|rest| Some((rest, rest.rfind('"')?))) else {
            continue;
        };
        let (name, counts) = rest.split_at(end + 1);
        let words: Vec<&str> = counts.split_whitespace().collect();
        if let [.., rows, "rows"] = words.as_slice()
            && let Ok(rows) = rows.parse::<u64>()
        {
            *tables.entry(name.to_owned()).or_insert(0) += rows;
        }
    }
    tables
}

/// The indented lines behind `Dump file set for ... is:`.
fn files(text: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| !line.starts_with("Dump file set for "))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| line.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{IMPORT_PASSES, NONE_PASS};

    const END: &str = "Job \"SYSTEM\".\"J\" successfully completed at Wed Nov 25 13:14:15 2026 elapsed 0 00:00:03\n";

    #[test]
    fn tables_partitions_and_files_are_read() {
        let log = format!(
            ". . exported \"S\".\"A\"    2.259 MB   24360 rows\n. . exported \"S\".\"ODD \"\" NAME\":\"P1\"   0 KB   0 rows\nDump file set for SYSTEM.J is:\n  /d/a_01.dmp\n  /d/a_02.dmp\n{END}"
        );
        let read = PumpLog::read("export", &log, 0, NONE_PASS).expect("a whole log");
        assert_eq!(read.rows(), 24360);
        assert_eq!(read.tables.get("\"S\".\"ODD \"\" NAME\":\"P1\""), Some(&0));
        assert_eq!(read.files, ["/d/a_01.dmp", "/d/a_02.dmp"]);
    }

    #[test]
    fn every_other_end_is_none() {
        for (log, exit_code, words) in [
            ("", 0, "no `successfully completed`"),
            (END, 1, "ended with 1"),
            (END, 5, "ended with 5"),
            (
                "Job \"S\".\"J\" completed with 2 error(s) at Wed\n",
                0,
                "errors that it does not name",
            ),
            (
                "Job \"S\".\"J\" stopped due to fatal error at Wed\n",
                0,
                "stopped before it was done",
            ),
        ] {
            let error =
                PumpLog::read("import", log, exit_code, IMPORT_PASSES).expect_err("refused");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn what_exists_already_passes_in_an_import_and_is_counted() {
        let log = "ORA-31684: Object type USER:\"S\" already exists\nJob \"S\".\"J\" completed with 1 error(s) at Wed\n";
        let read = PumpLog::read("import", log, 5, IMPORT_PASSES).expect("passes");
        assert_eq!(read.judgement.passed(), "ORA-31684=1");
        let error = PumpLog::read("export", log, 5, NONE_PASS).expect_err("not in an export");
        assert!(error.to_string().contains("ORA-31684"), "{error}");
    }
}
