//! A 3scale of release 2.15 on a local cluster, with as much in it as a site has, and the hands that
//! fill, destroy, change and prove it with plain clients.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use fs_err as fs;

use crate::bench::dump;
use crate::bench::transfer;
use crate::build::Profile;
use crate::demo::product::Product;
use crate::demo::{self, application, files, objects, postgresql, redis};
use crate::kubectl::{Kubectl, Place};
use crate::local_cluster::{Lifetime, LocalCluster};
use crate::process;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stage::{Databases, Stage, Wanted};

const BACKUP: &str = include_str!("backup-by-hand.sh");
const RESTORE: &str = include_str!("restore-by-hand.sh");

const ZYNC: &str = "zync_production";

const STORAGE: &str = "/opt/system/public/system";

/// Files in one folder.
const FILES_OF_A_FOLDER: u64 = 100;

/// A value of about a kilobyte that does not compress to nothing, as counters and reports do not.
const REDIS_SEED: &str = "for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local parts = {}
  for part = 1, 24 do parts[part] = redis.sha1hex(n .. ':' .. part) end
  redis.call('SET', 'stats/{service:' .. n % 100 .. '}/uinstance:' .. n, table.concat(parts))
end
return 'seeded'";

/// Keys of one call: Redis answers nobody else meanwhile.
const KEYS_OF_A_CALL: u64 = 10_000;

/// The installation.
#[derive(Debug)]
pub(super) struct Installation {
    /// The product with its files beside it.
    pub(super) product: Product,
    /// What is in it, for people.
    pub(super) told: String,
    kubectl: Kubectl,
    objects: Vec<String>,
    cluster: LocalCluster,
    by_hand: PathBuf,
    repository: PathBuf,
    state: tempfile::TempDir,
}

impl Installation {
    /// Builds, starts and fills everything. `mebibytes` of rows; files and keys grow with them, up to
    /// 20,000 files and 200 MiB of keys for 1 GiB of rows.
    pub(super) fn prepare(
        settings: &Settings,
        mebibytes: u64,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let stage = Stage::set_up(
            settings,
            Wanted {
                purpose: "bench",
                profile: Profile::Release,
                lifetime: Lifetime::Bound,
                databases: Databases::Initialised,
                namespace: application::NAMESPACE,
            },
            progress,
        )?;
        let step = progress.start("application", "starting 3scale");
        let manifests = application::whole(&stage.workspace.root)?;
        let objects = application::apply(&stage.kubectl, &manifests, &settings.image)?;
        application::wait(&stage.kubectl)?;
        step.done("is up");
        let product = demo::prepare_product(
            stage.state.path(),
            stage.binaries.cofferdam,
            &stage.cluster.kubeconfig,
            stage.components.stock,
        )?;
        product.run(&["init", "threescale", "--namespace", application::NAMESPACE])?;
        let by_hand = stage.state.path().join("by-hand");
        fs::create_dir(&by_hand)?;
        let mut site = Self {
            repository: stage.state.path().join("repository"),
            told: String::new(),
            product,
            kubectl: stage.kubectl,
            objects,
            cluster: stage.cluster,
            by_hand,
            state: stage.state,
        };
        let step = progress.start("data", &format!("{mebibytes} MiB of rows, files and keys"));
        site.fill(mebibytes)?;
        step.done(&site.told);
        Ok(site)
    }

    fn fill(&mut self, mebibytes: u64) -> anyhow::Result<()> {
        let mut load = self.kubectl.exec_command(
            &mysql(),
            &[
                "sh",
                "-c",
                "MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql -uroot -hlocalhost system",
            ],
        );
        dump::feed(&mut load, mebibytes << 20, 0)?;
        postgresql::seed(&self.kubectl, &zync(), ZYNC)?;
        // Two servers, a kilobyte a key.
        let keys = (mebibytes * 100).max(1);
        for server in REDIS {
            let mut first = 1;
            while first <= keys {
                let last = keys.min(first + KEYS_OF_A_CALL - 1);
                let (first_key, last_key) = (first.to_string(), last.to_string());
                self.redis(
                    server,
                    &["EVAL", REDIS_SEED, "0", &first_key, &last_key],
                    "seeded",
                )?;
                first = last + 1;
            }
            // What the manual procedure copies.
            self.redis(server, &["SAVE"], "OK")?;
        }
        let folders = (mebibytes * 200).div_ceil(1024);
        self.storage(&format!(
            "i=0; while [ $i -lt {folders} ]; do mkdir \"portal-$i\" && head -c 606000 /dev/urandom | base64 | split -a 2 -b 8192 - \"portal-$i/page-\" || exit 1; i=$((i + 1)); done; sleep 2.1"
        ))?;
        let objects = self.objects.len();
        let files = folders * FILES_OF_A_FOLDER;
        self.told = format!(
            "{mebibytes} MiB of rows, {} MiB of keys, {files} files, {objects} objects",
            keys * 2 / 1024
        );
        Ok(())
    }

    /// An empty repository in the place of the last one.
    pub(super) fn new_repository(&self) -> anyhow::Result<()> {
        if self.repository.exists() {
            fs::remove_dir_all(&self.repository)?;
        }
        self.product.run(&["repository", "init"])
    }

    /// What the repository takes on the disk, in bytes.
    pub(super) fn repository_bytes(&self) -> anyhow::Result<f64> {
        let mut command = std::process::Command::new("du");
        let words = command.args(["--apparent-size", "--block-size=1", "--summarize"]);
        let text = process::capture(words.arg(&self.repository))?;
        let bytes = text.split_whitespace().next().unwrap_or_default();
        bytes
            .parse()
            .with_context(|| format!("`du` printed `{text}`"))
    }

    /// The manual procedure's way out.
    pub(super) fn back_up_by_hand(&self) -> anyhow::Result<()> {
        self.by_hand(BACKUP)
    }

    /// The manual procedure's way back.
    pub(super) fn restore_by_hand(&self) -> anyhow::Result<()> {
        self.by_hand(RESTORE)
    }

    fn by_hand(&self, script: &str) -> anyhow::Result<()> {
        let mut kubectl = self.kubectl.command();
        kubectl.env("OBJECTS", self.objects.join(" "));
        transfer::shell(&self.by_hand, script, &kubectl)
    }

    /// One line each: rows, zync's jobs, both servers' keys, files, objects.
    pub(super) fn proof(&self) -> anyhow::Result<String> {
        let rows = self.sql("SELECT COUNT(*) FROM log_entries; CHECKSUM TABLE log_entries")?;
        let mut lines = vec![rows.replace(['\n', '\t'], " ")];
        lines.push(postgresql::proof(&self.kubectl, &zync(), ZYNC)?);
        for server in REDIS {
            lines.push(redis::proof(&self.kubectl, &place(server, server))?);
        }
        // Names and contents: `kubectl cp` loses fractions of times and the modes of folders.
        lines.push(self.storage(
            "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum",
        )?);
        lines.push(objects::proof(&self.kubectl, &self.objects)?);
        Ok(lines.join("\n"))
    }

    /// Nothing is left of it, and not only just now: ext4 looks past inodes that were freed within the last
    /// minute, one by one, and no disaster is followed by a restore within that minute.
    pub(super) fn destroy(&self) -> anyhow::Result<()> {
        self.sql("DROP TABLE log_entries")?;
        postgresql::destroy(&self.kubectl, &zync(), ZYNC)?;
        for server in REDIS {
            redis::destroy(&self.kubectl, &place(server, server))?;
        }
        files::destroy(&self.kubectl, &system_app(), STORAGE)?;
        objects::destroy(&self.kubectl, &self.objects)?;
        self.storage("sleep 61").map(drop)
    }

    /// Another content for one file in a hundred, and one row more for each hundred.
    pub(super) fn change(&self) -> anyhow::Result<()> {
        self.sql("INSERT INTO log_entries SELECT id + (SELECT MAX(id) FROM log_entries), MD5(RAND()), RAND() * 90000, NOW(), REVERSE(description) FROM log_entries WHERE id % 100 = 0")?;
        self.storage("for folder in portal-*; do head -c 6000 /dev/urandom | base64 > \"$folder/page-aa\"; done; sleep 2.1")
            .map(drop)
    }

    /// Ends the cluster.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop()?;
        self.state
            .close()
            .context("failed to remove the folder of the bench")
    }

    fn sql(&self, statements: &str) -> anyhow::Result<String> {
        let client = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql -uroot -hlocalhost --batch --skip-column-names system";
        let answer = self
            .kubectl
            .exec(&mysql(), &["sh", "-c", client], statements.as_bytes())?;
        String::from_utf8(answer).context("mysql did not print UTF-8")
    }

    fn redis(&self, server: &str, words: &[&str], expected: &str) -> anyhow::Result<()> {
        let mut command = vec!["redis-cli", "--raw"];
        command.extend(words);
        let answer = self.kubectl.exec(&place(server, server), &command, b"")?;
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        if answer != expected {
            bail!("{server} answered `{answer}`");
        }
        Ok(())
    }

    fn storage(&self, line: &str) -> anyhow::Result<String> {
        files::shell(&self.kubectl, &system_app(), STORAGE, line)
    }
}

const REDIS: [&str; 2] = ["backend-redis", "system-redis"];

fn place(name: &str, container: &str) -> Place {
    Place {
        workload: format!("deployment/{name}"),
        container: container.to_owned(),
    }
}

fn mysql() -> Place {
    place("system-mysql", "system-mysql")
}

fn zync() -> Place {
    place("zync-database", "postgresql")
}

fn system_app() -> Place {
    place("system-app", "system-master")
}
