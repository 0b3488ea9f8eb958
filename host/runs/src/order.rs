//! In which order data sets go: pure, over names only.
//!
//! Must never start a data set whose predecessors have not succeeded.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_policy::name::DataSetName;

/// For each data set, the ones that come before it.
pub type Edges = BTreeMap<DataSetName, BTreeSet<DataSetName>>;

/// A circle in `edges`, if there is one: its first name stands at the end again.
pub fn cycle(edges: &Edges) -> Option<Vec<DataSetName>> {
    let mut cleared = BTreeSet::new();
    edges
        .keys()
        .find_map(|start| follow(start, edges, &mut Vec::new(), &mut cleared))
}

fn follow(
    name: &DataSetName,
    edges: &Edges,
    path: &mut Vec<DataSetName>,
    cleared: &mut BTreeSet<DataSetName>,
) -> Option<Vec<DataSetName>> {
    if cleared.contains(name) {
        return None;
    }
    if let Some(begin) = path.iter().position(|seen| seen == name) {
        let circle = path.iter().skip(begin).chain([name]);
        return Some(circle.cloned().collect());
    }
    path.push(name.clone());
    for before in edges.get(name).into_iter().flatten() {
        if let Some(circle) = follow(before, edges, path, cleared) {
            return Some(circle);
        }
    }
    path.pop();
    cleared.insert(name.clone());
    None
}

/// The order of a backup of a quiet application: `quiet` one after the other as they stand, and
/// everything else after the last of them, unless one of them comes after it.
pub fn quieted(edges: &Edges, quiet: &[DataSetName]) -> Edges {
    let mut quieted = edges.clone();
    for pair in quiet.windows(2) {
        if let [before, name] = pair {
            let after = quieted.entry(name.clone()).or_default();
            after.insert(before.clone());
        }
    }
    let Some(last) = quiet.last() else {
        return quieted;
    };
    let mut early: BTreeSet<DataSetName> = quiet.iter().cloned().collect();
    let mut looked_at: Vec<DataSetName> = quiet.to_vec();
    while let Some(name) = looked_at.pop() {
        for before in quieted.get(&name).into_iter().flatten() {
            if early.insert(before.clone()) {
                looked_at.push(before.clone());
            }
        }
    }
    for (name, after) in &mut quieted {
        if !early.contains(name) {
            after.insert(last.clone());
        }
    }
    quieted
}

/// All names of `edges`, predecessors first, otherwise in the order of `wanted`.
///
/// `edges` must have no circle; names of a circle would be left out.
pub fn sequence(edges: &Edges, wanted: &[DataSetName]) -> Vec<DataSetName> {
    let mut schedule = Schedule::new(edges, wanted);
    let mut sequence = Vec::new();
    while let Some(name) = schedule.start() {
        schedule.finished(&name, true);
        sequence.push(name);
    }
    sequence
}

/// What can start now, as data sets end one by one.
#[derive(Debug)]
pub struct Schedule {
    waiting: Vec<(DataSetName, BTreeSet<DataSetName>)>,
    failed: BTreeSet<DataSetName>,
}

impl Schedule {
    /// Plans `wanted`. An order after a data set that is not wanted is no order: with `--only` the
    /// person has said that the others are as they should be.
    pub fn new(edges: &Edges, wanted: &[DataSetName]) -> Self {
        let chosen: BTreeSet<&DataSetName> = wanted.iter().collect();
        let after = |name: &DataSetName| {
            edges
                .get(name)
                .into_iter()
                .flatten()
                .filter(|before| chosen.contains(before))
                .cloned()
                .collect()
        };
        Self {
            waiting: wanted
                .iter()
                .map(|name| (name.clone(), after(name)))
                .collect(),
            failed: BTreeSet::new(),
        }
    }

    /// Takes a data set that waits for nothing; `None` when all have been taken or still wait.
    pub fn start(&mut self) -> Option<DataSetName> {
        let place = self
            .waiting
            .iter()
            .position(|(_, after)| after.is_empty())?;
        Some(self.waiting.remove(place).0)
    }

    /// Says that `name` ended. Data sets that came after one that failed never start; they are
    /// returned, each with the one that it waited for.
    pub fn finished(
        &mut self,
        name: &DataSetName,
        succeeded: bool,
    ) -> Vec<(DataSetName, DataSetName)> {
        if succeeded {
            for (_, after) in &mut self.waiting {
                after.remove(name);
            }
            return Vec::new();
        }
        let mut skipped = Vec::new();
        self.failed.insert(name.clone());
        while let Some(place) = self
            .waiting
            .iter()
            .position(|(_, after)| !after.is_disjoint(&self.failed))
        {
            let (next, after) = self.waiting.remove(place);
            self.failed.insert(next.clone());
            if let Some(cause) = after.intersection(&self.failed).next() {
                skipped.push((next, cause.clone()));
            }
        }
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DataSetName {
        DataSetName::parse(text).expect("a name")
    }

    fn edges(text: &str) -> Edges {
        text.split_whitespace()
            .map(|entry| {
                let (data_set, after) = entry.split_once('<').unwrap_or((entry, ""));
                (
                    name(data_set),
                    after
                        .split(',')
                        .filter(|part| !part.is_empty())
                        .map(name)
                        .collect(),
                )
            })
            .collect()
    }

    fn words(names: &[DataSetName]) -> String {
        names
            .iter()
            .map(DataSetName::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_circle_is_found_wherever_it_hangs() {
        assert_eq!(cycle(&edges("a b<a c<a,b")), None);
        assert_eq!(words(&cycle(&edges("a<a")).expect("a circle")), "a a");
        assert_eq!(
            words(&cycle(&edges("x<a a<b b<c c<a")).expect("a circle")),
            "a b c a"
        );
        assert_eq!(
            words(&cycle(&edges("d<x x<y y<x")).expect("a circle")),
            "x y x"
        );
    }

    #[test]
    fn predecessors_come_first_and_otherwise_the_order_of_the_file_holds() {
        let wanted = ["c", "a", "b"].map(name);
        assert_eq!(words(&sequence(&edges("a<b b c"), &wanted)), "c b a");
        assert_eq!(words(&sequence(&edges("a b c"), &wanted)), "c a b");
    }

    #[test]
    fn a_quiet_application_is_backed_up_after_the_last_has_stopped() {
        let check = |text: &str, wanted: &str| {
            let edges = quieted(&edges(text), &["stop-app", "stop-worker"].map(name));
            let file = ["files", "stop-worker", "database", "stop-app", "redis"].map(name);
            assert_eq!(cycle(&edges), None);
            assert_eq!(words(&sequence(&edges, &file)), wanted);
        };
        let plain = "files database redis stop-app stop-worker";
        check(plain, "stop-app stop-worker files database redis");
        // What is read through a pod that is going to be stopped, and what comes before that.
        check(
            "files<redis database redis stop-app<files stop-worker",
            "redis files stop-app stop-worker database",
        );
        // Between the two.
        check(
            "files<stop-app database redis stop-app stop-worker<files",
            "stop-app files stop-worker database redis",
        );
    }

    #[test]
    fn what_comes_before_what_it_waits_for_is_a_circle() {
        let circle = |text: &str| {
            let edges = quieted(&edges(text), &["a", "b"].map(name));
            cycle(&edges).map(|circle| words(&circle))
        };
        assert_eq!(circle("a<b b").as_deref(), Some("a b a"));
        assert_eq!(circle("a<x b x<b").as_deref(), Some("a x b a"));
        assert_eq!(circle("a b x"), None);
    }

    #[test]
    fn with_only_an_order_after_the_others_does_not_hold() {
        assert_eq!(words(&sequence(&edges("a<b b"), &[name("a")])), "a");
    }

    #[test]
    fn what_comes_after_a_failure_never_starts() {
        let wanted = ["a", "b", "c", "d"].map(name);
        let mut schedule = Schedule::new(&edges("a b<a c<b d"), &wanted);
        assert_eq!(schedule.start(), Some(name("a")));
        assert_eq!(schedule.start(), Some(name("d")));
        assert_eq!(schedule.start(), None);
        assert_eq!(
            schedule.finished(&name("a"), false),
            [(name("b"), name("a")), (name("c"), name("b"))]
        );
        assert_eq!(schedule.start(), None);
    }
}
