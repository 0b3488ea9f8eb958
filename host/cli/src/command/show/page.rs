//! The report of a run as one page of HTML that needs nothing else: no network, no script.
//!
//! Must never let a text through as markup: every text goes through [`clean`] here and through the
//! escaping of `html!`, and styles get numbers that were computed here.

mod entries;

use cofferdam_policy::request::RunKind;
use cofferdam_runs::history::{Found, History, Outcome};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::entries::{
    Evidence, Span, audit_note, change, concerns, evidence, facts, lanes, lease, moment, row,
    since_note, uncovered,
};
use crate::output::clean;

/// The style of the page, which is all that it may load: it stands in the page itself.
const STYLE: &str = include_str!("report.css");
/// Nothing but that style: no script, no picture, no frame, no form, no address.
const SECURITY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page, with where the data lay and when it was looked at.
pub(super) fn page(history: &History, repository: &str, now: Timestamp) -> String {
    let heading = clean(&format!(
        "{} of {}",
        kind(history.kind),
        history.application
    ));
    let title = clean(&format!(
        "{} {} of {}",
        kind(history.kind),
        history.run,
        history.application
    ));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(SECURITY);
                meta name="referrer" content="no-referrer";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (heading) }
                    (verdict(history))
                    dl.facts {
                        @for (name, value) in facts(history) { dt { (name) } dd { (value) } }
                    }
                }
                main {
                    section { h2 { "What to look at" } (concerns_section(history)) }
                    section { h2 { "Timeline" } (timeline_section(history)) }
                    section { h2 { "Data sets" } (data_sets_section(history)) }
                    section { h2 { "Since the last backup" } (since_section(history)) }
                    section { h2 { "Temporary changes" } (leases_section(history)) }
                    section { h2 { "Evidence" } (evidence_section(history)) }
                }
                footer {
                    p { (audit_note(history)) }
                    p {
                        "Written by cofferdam " (env!("CARGO_PKG_VERSION")) " from repository "
                        (clean(repository)) " and this machine’s state folder, " (moment(now))
                        ". Everything on this page is what the run wrote down about itself; no data was read again to make it."
                    }
                }
            }
        }
    }
    .into_string()
}

fn concerns_section(history: &History) -> Markup {
    let concerns = concerns(history);
    html! {
        @if concerns.is_empty() {
            p { "Nothing: no failure, no warning, no request refused." }
        } @else {
            ul {
                @for concern in &concerns {
                    li {
                        strong class=(concern.class) { (concern.word) }
                        @if !concern.of.is_empty() { " " (concern.of) }
                        ": " (concern.text)
                    }
                }
            }
        }
    }
}

fn timeline_section(history: &History) -> Markup {
    let span = Span::of(history);
    let lanes = lanes(history, &span);
    html! {
        @if lanes.is_empty() {
            p { "No data set has a known beginning and end." }
        } @else {
            div.timeline {
                @for lane in &lanes {
                    div.lane.lease[lane.is_lease] {
                        div.name { (lane.name) }
                        div.track role="img" aria-label=(format!("{}: {}", lane.name, lane.when)) {
                            div.bar.failed[lane.failed]
                                style=(format!("left:{:.3}%;width:{:.3}%", lane.left, lane.width)) {}
                        }
                        div.when { (lane.when) }
                    }
                }
                div.scale {
                    span { (span.clock(span.begin)) }
                    span { (span.took()) }
                    span { (span.clock(span.end)) }
                }
            }
            p.soft {
                "Full bars are data sets, hatched bars are temporary changes, dashed outlines did not end well. Times are UTC."
            }
        }
    }
}

fn data_sets_section(history: &History) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th { "Data set" } th { "State" } th { "Module" } th.number { "Size" }
                    th.number { "Added" } th.number { "Time" } th.number { "Rate" } th { "Proof" }
                }
            }
            tbody {
                @let covered = history.data_sets.iter().map(|one| row(history, one));
                @for row in covered.chain(history.external.iter().map(uncovered)) {
                    tr {
                        td data-label="Data set" { strong { (row.name) } }
                        td data-label="State" { span class=(row.class) { (row.state) } }
                        td data-label="Module" { (row.module) }
                        td.number data-label="Size" { (row.bytes) }
                        td.number data-label="Added" { (row.stored) }
                        td.number data-label="Time" { (row.time) }
                        td.number data-label="Rate" { (row.rate) }
                        td data-label="Proof" { (row.proof) }
                    }
                }
            }
        }
        p.soft {
            "“Added” is what the repository grew by when the data set was written, after deduplication and compression. “Rate” is size by time, and is left out where there are too few bytes to mean anything."
        }
    }
}

fn since_section(history: &History) -> Markup {
    let changes = history
        .since
        .iter()
        .flat_map(|since| &since.data_sets)
        .map(change);
    html! {
        p { (since_note(history)) }
        @for change in changes {
            h3 { (change.name) }
            p { (change.summary) }
            @if !change.rows.is_empty() {
                table {
                    thead { tr { th { "What" } th { "Before" } th { "Now" } } }
                    tbody {
                        @for (what, before, now) in &change.rows {
                            tr {
                                td data-label="What" { (what) }
                                td.mono data-label="Before" { (before) }
                                td.mono data-label="Now" { (now) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn leases_section(history: &History) -> Markup {
    let nothing = match &history.journal {
        Found::Whole => "This run made no temporary change.",
        Found::Missing => {
            "Unknown: the journal, which says so, stays on the machine that made the run."
        }
        Found::Damaged(_) => "Unknown: the journal cannot be read.",
    };
    html! {
        @if history.leases.is_empty() {
            p { (nothing) }
        } @else {
            table {
                thead {
                    tr { th { "Change" } th { "For" } th { "Made" } th { "Put back" } th { "Found then" } }
                }
                tbody {
                    @for lease in history.leases.iter().map(lease) {
                        tr {
                            td data-label="Change" { (lease.change) }
                            td data-label="For" { (lease.data_set) }
                            td data-label="Made" { (lease.taken) }
                            td data-label="Put back" { span class=(lease.class) { (lease.released) } }
                            td data-label="Found then" { (lease.outcome) }
                        }
                    }
                }
            }
        }
    }
}

fn evidence_section(history: &History) -> Markup {
    let evidence: Vec<Evidence> = history.data_sets.iter().filter_map(evidence).collect();
    html! {
        @if evidence.is_empty() { p { "This run has no artifacts." } }
        @for data_set in &evidence {
            h3 { (data_set.name) }
            p.soft { (data_set.about) }
            @if !data_set.steps.is_empty() { p { "Steps: " (data_set.steps) } }
            @for proof in &data_set.proofs { p { (proof) } }
            @for artifact in &data_set.artifacts {
                div.artifact {
                    strong { (artifact.name) } " " span.soft { (artifact.about) }
                    dl.evidence {
                        @for (key, value) in &artifact.pairs { dt { (key) } dd { (value) } }
                    }
                }
            }
        }
    }
}

fn kind(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Backup => "Backup",
        RunKind::Restore => "Restore",
        RunKind::Verify => "Verify",
    }
}

fn verdict(history: &History) -> Markup {
    let all = history.data_sets.len();
    let failures = history.data_sets.iter().filter(|one| one.failure.is_some());
    let failed = failures.count();
    let uncovered = history.external.len();
    let of_all = |count: usize| format!("{count} of {} data sets", all + uncovered);
    let (class, text) = match (history.outcome, uncovered) {
        (Outcome::Succeeded, 0) => ("good", format!("✓ Succeeded: {}", of_all(all))),
        (Outcome::Succeeded, _) => (
            "care",
            format!("! Succeeded for {}; not covered: {uncovered}", of_all(all)),
        ),
        (Outcome::Failed, _) => (
            "bad",
            format!("✗ Did not succeed: {failed} of {all} data sets failed"),
        ),
        (Outcome::Unfinished, _) => (
            "care",
            "… Without an end: still under way, or interrupted".to_owned(),
        ),
        (Outcome::Interrupted, _) => (
            "bad",
            "✗ Interrupted: it was killed before its end".to_owned(),
        ),
        (Outcome::KeptWhole, 0) => ("good", format!("✓ Kept whole: {}", of_all(all))),
        (Outcome::KeptWhole, _) => (
            "care",
            format!("! Kept {}; not covered: {uncovered}", of_all(all)),
        ),
        (Outcome::KeptInPart, _) => (
            "bad",
            format!("✗ Not whole: {failed} of {all} data sets missing"),
        ),
    };
    html! { p class={ "verdict " (class) } { (text) } }
}

#[cfg(test)]
mod tests;
