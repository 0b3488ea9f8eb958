//! `RESTORE.md`: how to bring exported files back by hand, in an order in which each step finds what
//! it needs.
//!
//! Only names that were parsed get into a command; no text of a dump does.

use std::fmt::Write as _;

use cofferdam_policy::name::{Namespace, PodPath};
use cofferdam_policy::request::{Target, WorkloadKind};
use jiff::Timestamp;

use super::export::LeftOut;
use super::names::Form;
use crate::run::KeptRun;

/// One file, and where it goes.
#[derive(Debug)]
pub(super) enum Restorable {
    /// A Secret or a ConfigMap.
    Object { file: String, kind: &'static str },
    /// A folder.
    Tree(TreeFolder),
    /// Anything else.
    Dump(DumpFile),
}

/// A folder and the pod that it goes to.
#[derive(Debug)]
pub(super) struct TreeFolder {
    folder: String,
    workload: Workload,
    place: Option<PodPath>,
    is_empty: bool,
}

/// A workload as `oc` or `kubectl` takes it.
#[derive(Debug)]
struct Workload {
    tool: &'static str,
    /// Such as `deployment/system-mysql`.
    shown: String,
    name: String,
    container: String,
    kind: Option<WorkloadKind>,
}

impl Workload {
    fn of(target: Option<&Target>) -> Self {
        let kind = target.map(|target| target.workload.kind);
        let name = target.map_or_else(
            || "WORKLOAD".to_owned(),
            |one| one.workload.name.to_string(),
        );
        let (tool, word) = match kind {
            Some(WorkloadKind::DeploymentConfig) => ("oc", "dc"),
            Some(WorkloadKind::StatefulSet) => ("kubectl", "statefulset"),
            Some(WorkloadKind::Deployment) | None => ("kubectl", "deployment"),
        };
        Self {
            tool,
            shown: format!("{word}/{name}"),
            name,
            container: target
                .map_or_else(|| "CONTAINER".to_owned(), |one| one.container.to_string()),
            kind,
        }
    }

    /// The beginning of a command in its container.
    fn exec(&self, namespace: &str) -> String {
        format!(
            "{} -n {namespace} exec {} -c {}",
            self.tool, self.shown, self.container
        )
    }

    /// The same, with something fed to the command.
    fn exec_fed(&self, namespace: &str) -> String {
        format!(
            "{} -n {namespace} exec -i {} -c {}",
            self.tool, self.shown, self.container
        )
    }

    fn scale(&self, namespace: &str, replicas: u32) -> String {
        format!(
            "{} -n {namespace} scale {} --replicas={replicas}",
            self.tool, self.shown
        )
    }

    fn wait(&self, namespace: &str) -> String {
        format!("{} -n {namespace} rollout status {}", self.tool, self.shown)
    }

    fn roll(&self, namespace: &str) -> Vec<String> {
        let begin = match self.kind {
            Some(WorkloadKind::DeploymentConfig) => {
                format!("oc -n {namespace} rollout latest {}", self.shown)
            }
            // Kubectl refuses a second restart within the same second.
            Some(WorkloadKind::Deployment | WorkloadKind::StatefulSet) | None => {
                format!(
                    "sleep 1; kubectl -n {namespace} rollout restart {}",
                    self.shown
                )
            }
        };
        vec![begin, self.wait(namespace)]
    }
}

/// A dump and the server that it goes to.
#[derive(Debug)]
pub(super) struct DumpFile {
    form: Form,
    file: String,
    workload: Workload,
    database: String,
    has_sandbox_line: bool,
    keys: Option<u64>,
}

impl Restorable {
    pub(super) fn dump(
        form: Form,
        file: String,
        target: Option<&Target>,
        head: &[u8],
        keys: Option<u64>,
    ) -> Self {
        let head = String::from_utf8_lossy(head);
        Self::Dump(DumpFile {
            form,
            file,
            workload: Workload::of(target),
            database: database(&head).unwrap_or_else(|| "system".to_owned()),
            has_sandbox_line: head.starts_with("/*M!999999\\-"),
            keys,
        })
    }

    pub(super) fn tree(
        folder: String,
        target: Option<&Target>,
        place: Option<&PodPath>,
        is_empty: bool,
    ) -> Self {
        Self::Tree(TreeFolder {
            folder,
            workload: Workload::of(target),
            place: place.cloned(),
            is_empty,
        })
    }
}

/// One word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The database that a dump of MySQL names in its head, if it is a plain name.
fn database(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.starts_with("-- Host:"))?;
    let name = line.split_once("Database:")?.1.trim();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    (!name.is_empty() && name.len() <= 64 && name.chars().all(is_plain)).then(|| name.to_owned())
}

/// The text of the file.
pub(super) fn text(
    run: &KeptRun,
    files: &[Restorable],
    left_out: &[LeftOut],
    now: Timestamp,
) -> String {
    let namespace = Namespace::parse(&run.namespace)
        .map_or_else(|_| "NAMESPACE".to_owned(), |name| name.to_string());
    let mut guide = Guide {
        text: String::new(),
        namespace,
    };
    guide.opening(run, now);
    let objects: Vec<(&str, &str)> = files
        .iter()
        .filter_map(|one| match one {
            Restorable::Object { file, kind } => Some((file.as_str(), *kind)),
            Restorable::Dump(_) | Restorable::Tree(_) => None,
        })
        .collect();
    let dumps = |wanted: &[Form]| -> Vec<&DumpFile> {
        files
            .iter()
            .filter_map(|one| match one {
                Restorable::Dump(dump) if wanted.contains(&dump.form) => Some(dump),
                Restorable::Dump(_) | Restorable::Object { .. } | Restorable::Tree(_) => None,
            })
            .collect()
    };
    if !objects.is_empty() {
        guide.objects(&objects);
    }
    for dump in dumps(&[Form::MySqlDump]) {
        guide.mysql(dump);
    }
    for dump in dumps(&[Form::PostgresDump]) {
        guide.postgres(dump);
    }
    for one in files {
        if let Restorable::Tree(tree) = one {
            guide.tree(tree);
        }
    }
    let redis = dumps(&[Form::RedisDump]);
    if !redis.is_empty() {
        guide.redis(&redis);
    }
    guide.ending(!redis.is_empty());
    guide.left_out(left_out);
    guide.text
}

struct Guide {
    text: String,
    namespace: String,
}

impl Guide {
    fn line(&mut self, line: &str) {
        // Writing into a text cannot fail.
        let _written = writeln!(self.text, "{line}");
    }

    fn heading(&mut self, heading: &str) {
        self.line("");
        self.line(&format!("## {heading}"));
        self.line("");
    }

    fn shell(&mut self, name: &str, lines: &[String]) {
        self.line("");
        self.line(&format!("```sh {name}"));
        for line in lines {
            self.line(line);
        }
        self.line("```");
    }

    fn opening(&mut self, run: &KeptRun, now: Timestamp) {
        let plain = |text: &str| -> String {
            text.chars()
                .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
                .take(100)
                .collect()
        };
        self.line("# How to restore these files by hand");
        self.line("");
        self.line(&format!(
            "Written by cofferdam {} on {} from run `{}` of application `{}` in namespace `{}`, begun {}.",
            env!("CARGO_PKG_VERSION"),
            now.strftime("%Y-%m-%d %H:%M:%S UTC"),
            plain(&run.run),
            plain(&run.application),
            self.namespace,
            run.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        ));
        self.line("");
        self.line("**These files are not encrypted.** Secrets are in base64, which hides nothing, and the dumps hold what the databases hold. All are for their owner alone (mode 0600, in a folder of mode 0700): keep it so, and remove them when they have served.");
        self.line("");
        self.line("Each block is a script for `sh -e` in this folder, which stops at the first command that fails; take them in this order. `gzip -t *.gz` says whether the files are whole.");
        self.heading("Before");
        self.line("Stop what writes: with an operator, scale the operator itself to 0 first (`deployment/threescale-operator-controller-manager-v2`, in its own namespace), else it undoes what follows; then `system-app`, `system-sidekiq`, `backend-worker`, `backend-listener`, `backend-cron`, `zync` and `zync-que`. Write the replica counts down. The databases must run.");
    }

    fn objects(&mut self, objects: &[(&str, &str)]) {
        self.heading("Secrets and ConfigMaps");
        self.line("Before the workloads that read them. `--server-side` keeps kubectl from storing a second copy of each Secret in an annotation. What is there with other content is replaced: look at it first with `kubectl diff --server-side -f FILE`.");
        let namespace = &self.namespace;
        let lines: Vec<String> = ["Secret", "ConfigMap"]
            .iter()
            .flat_map(|wanted| objects.iter().filter(move |(_, kind)| kind == wanted))
            .map(|(file, _)| {
                format!("kubectl -n {namespace} apply --server-side --force-conflicts -f {file}")
            })
            .collect();
        self.shell("objects", &lines);
    }

    fn mysql(&mut self, dump: &DumpFile) {
        self.heading(&format!("`{}`", dump.file));
        self.line("The dump goes straight into the client: no copy in the pod, nothing to remove after. Never `-t`, which would change line ends and columns with bytes. Tables that are not in the dump stay as they are.");
        let skip = if dump.has_sandbox_line {
            self.line("");
            self.line("The first line switches a sandbox of MariaDB on, which its clients before 10.5.25, 10.6.18, 10.11.8, 11.0.6, 11.1.5, 11.2.4 and 11.4.2 and all clients of MySQL refuse. It is left out here.");
            " | tail -n +2"
        } else {
            ""
        };
        let line = format!(
            "gunzip -c {}{skip} | {} -- sh -c 'MYSQL_PWD=\"$MYSQL_ROOT_PASSWORD\" exec mysql -hlocalhost -uroot {}'",
            dump.file,
            dump.workload.exec_fed(&self.namespace),
            dump.database
        );
        self.shell(&dump.workload.name, &[line]);
    }

    fn postgres(&mut self, dump: &DumpFile) {
        self.heading(&format!("`{}`", dump.file));
        self.line("A dump of all databases and roles. It drops and makes again, so nobody may be connected: of `zync-database`, `zync` and `zync-que` must be at 0. The block looks for sessions first and stops while there are any: what is not dropped would be filled twice. Three kinds of errors are expected and do no harm: the role that loads cannot be dropped, a role that owns something cannot be dropped, a role exists already. `psql` goes on after every error, so the block looks for any other in what it said, and ends with an error if there is one: then the restore did not succeed.");
        let [sessions, errors, unexpected] =
            ["sessions", "errors", "unexpected"].map(|end| format!("{}.{end}", dump.file));
        // Ten times, since a probe of the pod is a session too.
        let alone = format!(
            "tries=0; while {} -- psql -X -A -t -U postgres -d postgres -c \"SELECT datname, usename, application_name FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname <> 'postgres'\" > {sessions} && test -s {sessions}; do cat {sessions}; tries=$((tries + 1)); test $tries -lt 10; sleep 1; done",
            dump.workload.exec(&self.namespace)
        );
        let load = format!(
            "gunzip -c {} | {} -- sh -c 'LC_ALL=C PGOPTIONS=\"-c lc_messages=C\" exec psql -X -q -v VERBOSITY=verbose -U postgres -d postgres' > /dev/null 2> {errors} || (cat {errors} && exit 1)",
            dump.file,
            dump.workload.exec_fed(&self.namespace)
        );
        let look = format!(
            "grep -e 'ERROR: ' -e 'FATAL: ' -e 'error: ' {errors} | grep -v -e 'ERROR:  55006: current user cannot be dropped' -e 'ERROR:  2BP01: role \"[^\"]*\" cannot be dropped' -e 'ERROR:  42710: role \"[^\"]*\" already exists' | tee {unexpected}"
        );
        let name = dump.workload.name.clone();
        self.shell(
            &name,
            &[alone, load, look, format!("test ! -s {unexpected}")],
        );
        self.line("");
        self.line(&format!(
            "Remove `{sessions}`, `{errors}` and `{unexpected}` when you have read them."
        ));
        if name == "zync-database" {
            self.line("");
            self.line("Do not roll `zync-database` after this: its volume is an `emptyDir`, and a new pod begins empty.");
        }
    }

    fn tree(&mut self, tree: &TreeFolder) {
        self.heading(&format!("`{}/`", plain(&tree.folder)));
        let place = tree.place.as_ref().map_or("FOLDER", |place| place.as_str());
        let workload = &tree.workload;
        self.line(&format!(
            "The files of the folder `{}` in `{}`, container `{}`. A pod of it must run, and one is enough: the block starts it and stops it again.",
            plain(place), workload.shown, workload.container
        ));
        self.line("");
        self.line("Modes, times and links are those of the backup, but for this: nothing is set-user-id or set-group-id for a file, and the owner may read every file and enter every folder. Owners are not kept. It takes GNU `tar`, here and in the container. What is in the pod's folder and not in this one stays there; where the container has `rsync`, `oc rsync` with `--delete=true` removes it.");
        if tree.is_empty {
            self.line("");
            self.line("The folder was empty: there is nothing to bring back.");
            return;
        }
        let namespace = &self.namespace;
        // Not the folder itself: it is the volume's, and nobody but its owner may change it.
        let copy = format!(
            "(cd {} && find . -mindepth 1 -maxdepth 1 -print0 | tar -c -S -f - --format=posix --null -T -) | {} -- tar -x -p -f - --no-same-owner -C {}",
            quoted(&tree.folder),
            workload.exec_fed(namespace),
            quoted(place)
        );
        let lines = [
            workload.scale(namespace, 1),
            workload.wait(namespace),
            copy,
            workload.scale(namespace, 0),
        ];
        let name = workload.name.clone();
        self.shell(&name, &lines);
    }

    fn redis(&mut self, dumps: &[&DumpFile]) {
        self.heading("Redis");
        self.line("A running Redis overwrites `dump.rdb` when it ends, as long as any save point is on, and with the append-only file on it ignores `dump.rdb` when it starts. Commenting the `save` lines out is not enough: from 6.2 on the built-in save points then come into force. So `save \"\"` is set, and the server is asked before anything is copied. Both servers read the ConfigMap `redis-config`: it is edited once for both.");
        let namespace = self.namespace.clone();
        let put = |file: &str| {
            format!(
                "kubectl -n {namespace} create configmap redis-config --from-file=redis.conf={file} --dry-run=client -o json > redis-config.patch && kubectl -n {namespace} patch configmap redis-config --type merge --patch-file redis-config.patch"
            )
        };
        let mut lines = vec![
            format!("kubectl -n {namespace} get configmap redis-config -o 'jsonpath={{.data.redis\\.conf}}' > redis.conf.before"),
            "sed -e '/^[[:space:]#]*save[[:space:]]/d' -e '/^[[:space:]#]*appendonly[[:space:]]/d' redis.conf.before > redis.conf.restore".to_owned(),
            "printf '\\nsave \"\"\\nappendonly no\\n' >> redis.conf.restore".to_owned(),
            put("redis.conf.restore"),
        ];
        for dump in dumps {
            lines.extend(dump.workload.roll(&namespace));
            let exec = dump.workload.exec(&namespace);
            lines.push("# Must print `save` and an empty line: else stop here, for the copy would be overwritten.".to_owned());
            lines.push(format!(
                "test \"$({exec} -- redis-cli CONFIG GET save | tr -d '\\r\\n')\" = save"
            ));
            let fed = dump.workload.exec_fed(&namespace);
            lines.push(format!("{fed} -- sh -c 'cd /var/lib/redis/data && for old in dump.rdb appendonly.aof appendonlydir; do if [ -e \"$old\" ]; then mv \"$old\" \"$old-old\"; fi; done && cat > dump.rdb.new && mv dump.rdb.new dump.rdb' < {}", dump.file));
            lines.extend(dump.workload.roll(&namespace));
            lines.push(match dump.keys {
                Some(keys) => format!(
                    "# The backup had {keys} keys; those with a time to live may have ended since."
                ),
                None => "# Compare with what you expect.".to_owned(),
            });
            lines.push(format!("{exec} -- redis-cli DBSIZE"));
            lines.push(format!("{exec} -- redis-cli CONFIG SET appendonly yes"));
            lines.push(format!("while {exec} -- redis-cli INFO persistence | grep -q -e '^aof_rewrite_in_progress:1' -e '^aof_rewrite_scheduled:1'; do sleep 1; done"));
            lines.push(format!(
                "{exec} -- redis-cli INFO persistence | grep '^aof_last_bgrewrite_status:ok'"
            ));
        }
        lines.push("# The configuration as it was, also its save points.".to_owned());
        lines.push(put("redis.conf.before"));
        for dump in dumps {
            lines.extend(dump.workload.roll(&namespace));
            let exec = dump.workload.exec(&namespace);
            lines.push(format!("{exec} -- redis-cli DBSIZE"));
            lines.push(format!("{exec} -- redis-cli CONFIG GET save"));
        }
        self.shell("redis", &lines);
        self.line("");
        self.line("When all is well, remove `dump.rdb-old`, `appendonly.aof-old` and `appendonlydir-old` from `/var/lib/redis/data` of each pod, and the three files `redis.conf.before`, `redis.conf.restore` and `redis-config.patch` from this folder. If a step above failed, put `redis.conf.before` back before anything else.");
    }

    fn ending(&mut self, has_redis: bool) {
        self.heading("After");
        let mut steps = vec![
            "Put the replica count of `system-app` back and wait for it, by hand, before the operator does.",
        ];
        if has_redis {
            steps.push("Bring what `backend-redis` copies from the system database in line with it: `bundle exec rake backend:storage:rewrite` in `system-app`, container `system-master`.");
        }
        steps.extend([
            "Put the other replica counts back and roll what still runs, in the order `backend-worker`, `system-searchd`, `apicast-production`, `apicast-staging`, `system-sidekiq`, `zync`, `zync-que`, and wait for each; then the operator.",
            "Build the search index: `bundle exec rake searchd:optimal_index` in `system-app`.",
            "Last, once `system-sidekiq` runs: `bundle exec rake zync:resync:domains` in it; repeat it if it fails while sidekiq comes up.",
        ]);
        for (number, step) in steps.iter().enumerate() {
            self.line(&format!("{}. {step}", number + 1));
        }
        self.line("");
        self.line("Jobs that were queued when the backups were taken may be done twice or not at all: the data sets are of slightly different moments.");
    }

    fn left_out(&mut self, left_out: &[LeftOut]) {
        if left_out.is_empty() {
            return;
        }
        self.heading("Not in this folder");
        for one in left_out {
            // Names of snapshots and modules may be anybody's; here they are only words.
            let words = format!(
                "{}{}: {}",
                one.data_set,
                one.artifact
                    .as_ref()
                    .map(|name| format!(", {name}"))
                    .unwrap_or_default(),
                one.reason
            );
            self.line(&format!("- {}", plain(&words)));
        }
    }
}

/// A text for people: nothing that a reader of Markdown or a terminal would obey.
fn plain(text: &str) -> String {
    let plain: String = text
        .chars()
        .filter(|letter| !letter.is_control())
        .take(300)
        .collect();
    plain.replace(['<', '>', '[', ']', '`'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_pod_stays_one_word_of_the_script() {
        let place = PodPath::parse("/data/it's $(touch taken)`").expect("a path");
        let tree = TreeFolder {
            folder: "files/it's $(touch taken)`".to_owned(),
            workload: Workload::of(None),
            place: Some(place),
            is_empty: false,
        };
        let mut guide = Guide {
            text: String::new(),
            namespace: "3scale".to_owned(),
        };
        guide.tree(&tree);
        let word = "it'\\''s $(touch taken)`'";
        for expected in [
            format!("(cd 'files/{word} &&"),
            format!("-C '/data/{word}\n"),
            "--replicas=0".to_owned(),
        ] {
            assert!(guide.text.contains(&expected), "{expected}\n{}", guide.text);
        }
        // The same in words: Markdown ends no code there.
        assert!(guide.text.contains("`/data/it's $(touch taken)`"));
    }

    #[test]
    fn an_empty_folder_has_nothing_to_copy() {
        let tree = TreeFolder {
            folder: "files/empty".to_owned(),
            workload: Workload::of(None),
            place: None,
            is_empty: true,
        };
        let mut guide = Guide {
            text: String::new(),
            namespace: "3scale".to_owned(),
        };
        guide.tree(&tree);
        assert!(!guide.text.contains("```sh"), "{}", guide.text);
    }
}
