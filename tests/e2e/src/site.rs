//! Starting a site, and what a user does there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_cluster::client::Client;
use local_cluster::demo::{self, Era};
use local_cluster::faults::{Fault, Rule};
use local_cluster::{Cluster, Options};
use tempfile::TempDir;

use crate::answer::Answer;

/// The namespace of the demo application.
pub const NAMESPACE: &str = "3scale";

/// The repository's password.
const PASSWORD: &str = "correct horse battery staple\n";

/// How much of the demo application a story needs. Databases take their time to come up, the more
/// the more of them come at once: a story starts no workload that it does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// Every workload.
    All,
    /// Secrets and ConfigMaps.
    Objects,
    /// These workloads, with all Secrets, ConfigMaps, claims and services.
    Workloads(&'a [&'a str]),
}

impl Part<'_> {
    fn has_workloads(self) -> bool {
        match self {
            Self::All => true,
            Self::Objects => false,
            Self::Workloads(names) => !names.is_empty(),
        }
    }

    /// Whether a document of the demo's YAML belongs to it.
    fn has(self, document: &str) -> bool {
        let name = |name: &&str| document.contains(&format!("\nmetadata:\n  name: {name}\n"));
        match self {
            Self::All => true,
            Self::Objects => ["Namespace", "Secret", "ConfigMap"]
                .iter()
                .any(|kind| document.contains(&format!("\nkind: {kind}\n"))),
            Self::Workloads(names) => {
                !document.contains("\nkind: Deployment\n") || names.iter().any(name)
            }
        }
    }
}

/// A site as a user has it.
#[derive(Debug)]
pub struct Site {
    cluster: Option<Cluster>,
    kubeconfig: PathBuf,
    folder: TempDir,
}

/// What xtask sets; a test without it cannot mean anything.
pub(crate) fn needed(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(value) => PathBuf::from(value),
        None => panic!(
            "`{variable}` is not set\nhint: run `cargo xtask test`, which sets up what the tests need"
        ),
    }
}

impl Site {
    /// A site on the cluster that `COFFERDAM_TEST_KUBECONFIG` names, else on a local one.
    #[track_caller]
    pub fn start() -> Self {
        Self::given_or_local(Part::All)
    }

    /// A site whose application is only Secrets and ConfigMaps: for stories about the repository.
    #[track_caller]
    pub fn with_objects_only() -> Self {
        Self::given_or_local(Part::Objects)
    }

    /// A site with a whole 3scale of one era. OpenShift's kinds are on the local cluster only.
    #[track_caller]
    pub fn of_era(era: Era) -> Self {
        let cluster = Self::start_cluster();
        let kubeconfig = cluster.kubeconfig().to_owned();
        let site = Self::bare(Some(cluster), kubeconfig);
        site.kubectl_fed(&["apply", "-f", "-"], &demo::manifests_of(era, "none"));
        site.wait_for_workloads(NAMESPACE, era);
        site
    }

    /// Waits until all workloads of a 3scale are available.
    #[track_caller]
    pub fn wait_for_workloads(&self, namespace: &str, era: Era) {
        let kind = match era {
            Era::A => "deploymentconfig",
            Era::B | Era::C => "deployment",
        };
        self.kubectl(&[
            "wait",
            "--for=condition=Available",
            kind,
            "--all",
            "--timeout=180s",
            "--namespace",
            namespace,
        ]);
    }

    /// A site with these workloads only.
    #[track_caller]
    pub fn with(workloads: &[&str]) -> Self {
        Self::given_or_local(Part::Workloads(workloads))
    }

    /// A site on a local cluster with these workloads: for stories that need a fault injected.
    #[track_caller]
    pub fn local_with(workloads: &[&str]) -> Self {
        Self::on_local(Part::Workloads(workloads))
    }

    /// Applies YAML; `${COFFERDAM_TEST_IMAGE}` in it is the image of the servers.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let image = std::env::var("COFFERDAM_TEST_IMAGE")
            .unwrap_or_else(|_| "local-cluster/layer".to_owned());
        let yaml = yaml.replace("${COFFERDAM_TEST_IMAGE}", &image);
        self.kubectl_fed(&["apply", "-f", "-"], &yaml);
    }

    /// Waits until every Deployment is available.
    #[track_caller]
    pub fn wait_available(&self) {
        self.kubectl(&[
            "wait",
            "--for=condition=Available",
            "deployment",
            "--all",
            "--timeout=180s",
        ]);
    }

    fn given_or_local(part: Part<'_>) -> Self {
        match std::env::var_os("COFFERDAM_TEST_KUBECONFIG") {
            Some(kubeconfig) => Self::on(None, kubeconfig.into(), part),
            None => Self::on_local(part),
        }
    }

    fn start_cluster() -> Cluster {
        Cluster::start(Options {
            binary: needed("COFFERDAM_TEST_LOCAL_CLUSTER"),
            layer: needed("COFFERDAM_TEST_LAYER"),
            state: None,
            templates: Some(needed("COFFERDAM_TEST_VOLUMES")),
            save_templates: None,
            namespace: NAMESPACE.to_owned(),
        })
        .expect("a local cluster")
    }

    fn on_local(part: Part<'_>) -> Self {
        let cluster = Self::start_cluster();
        let kubeconfig = cluster.kubeconfig().to_owned();
        Self::on(Some(cluster), kubeconfig, part)
    }

    /// A site without a cluster: for stories that end before one is asked.
    pub fn without_cluster() -> Self {
        Self::bare(None, PathBuf::from("/nonexistent/kubeconfig"))
    }

    fn bare(cluster: Option<Cluster>, kubeconfig: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let site = Self {
            cluster,
            kubeconfig,
            folder,
        };
        site.write("password", PASSWORD);
        site
    }

    fn on(cluster: Option<Cluster>, kubeconfig: PathBuf, part: Part<'_>) -> Self {
        let site = Self::bare(cluster, kubeconfig);
        // Asked when it runs: a build kept from another checkout would look there.
        let demo = needed("CARGO_MANIFEST_DIR").join("../local-cluster/demo");
        let mut files: Vec<PathBuf> = std::fs::read_dir(demo)
            .expect("the demo")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml")
        });
        for file in &files {
            let yaml = std::fs::read_to_string(file).expect("the demo's YAML");
            let documents: Vec<&str> = yaml
                .split("\n---\n")
                .filter(|document| part.has(document))
                .collect();
            if !documents.is_empty() {
                site.apply(&documents.join("\n---\n"));
            }
        }
        if part.has_workloads() {
            site.wait_available();
        }
        site
    }

    /// The same cluster for another story: a new folder, so no runs, no repository, no files.
    pub fn begin_anew(&mut self) {
        self.folder = tempfile::tempdir().expect("a folder");
        self.write("password", PASSWORD);
    }

    /// Puts a file beside the application file.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the application file: `data_sets` is the list below `dataSets:`, indented by four.
    pub fn application(&self, data_sets: &str) {
        self.write(
            "cofferdam.yaml",
            &format!(
                "apiVersion: cofferdam.dev/v1alpha1\nkind: Application\nmetadata: {{ name: threescale, namespace: {NAMESPACE} }}\nspec:\n  dataSets:\n{data_sets}"
            ),
        );
    }

    /// Writes application file and smallest policy, and makes the repository.
    #[track_caller]
    pub fn prepare(&self, data_sets: &str) {
        self.application(data_sets);
        let _written = self.cofferdam(&["policy", "init", "--force"]).exits(0);
        if !self.path("repository").exists() {
            let _made = self.cofferdam(&["repository", "init"]).exits(0);
        }
    }

    /// The product, ready to be called with more words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(needed("COFFERDAM_TEST_BINARY"));
        let mut modules = vec![needed("COFFERDAM_MODULES")];
        modules.extend(std::env::var_os("COFFERDAM_TEST_GUESTS").map(PathBuf::from));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env(
                "COFFERDAM_MODULES",
                std::env::join_paths(modules).expect("paths"),
            )
            .env("COFFERDAM_REPOSITORY", self.path("repository"))
            .env("COFFERDAM_PASSWORD_FILE", self.path("password"))
            .env("COFFERDAM_STATE", self.path("state"))
            .env_remove("COFFERDAM_PASSWORD")
            .stdin(Stdio::null());
        command
    }

    /// Calls the product.
    pub fn cofferdam(&self, words: &[&str]) -> Answer {
        let output = self.command(words).output().expect("the product starts");
        Answer::new(format!("cofferdam {}", words.join(" ")), &output)
    }

    /// Calls the product and asks for JSON.
    pub fn report(&self, words: &[&str]) -> Answer {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        self.cofferdam(&words)
    }

    /// Runs a shell script in which the repository's folder is a disk of its own, so small that it
    /// runs full. `size` is as for a tmpfs; `$0` is the product. What the script is to tell it
    /// writes to files in the site's folder, where it begins.
    pub fn on_a_small_disk(&self, size: &str, script: &str) -> Answer {
        let product = self.command(&[]);
        std::fs::create_dir_all(self.repository()).expect("a folder");
        let disk = format!("mount -t tmpfs -o size={size} none \"$COFFERDAM_REPOSITORY\"");
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command
            .args(["--mount", "sh", "-euc", &format!("{disk}\n{script}")])
            .arg(product.get_program())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        for (name, value) in product.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().expect("unshare starts");
        Answer::new(format!("on a disk of {size}: {script}"), &output)
    }

    /// Calls the product on a terminal where somebody types `keys`. What was shown is one text.
    pub fn on_a_terminal(&self, words: &[&str], keys: &str) -> Answer {
        let product = self.command(words);
        let mut line = vec![product.get_program().to_string_lossy().into_owned()];
        line.extend(words.iter().map(|word| format!("'{word}'")));
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--echo", "never", "--command"])
            .arg(line.join(" "))
            .arg("/dev/null")
            .current_dir(self.folder.path())
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in product.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn().expect("script starts");
        let mut stdin = child.stdin.take().expect("stdin");
        std::io::Write::write_all(&mut stdin, keys.as_bytes()).expect("typed");
        let output = child.wait_with_output().expect("script ends");
        drop(stdin);
        Answer::new(format!("on a terminal: {}", words.join(" ")), &output)
    }

    /// Starts the product and leaves it running.
    pub fn begin(&self, words: &[&str]) -> Child {
        self.command(words)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the product starts")
    }

    /// Starts kubectl with its standard output in a file of the site's folder, and leaves it running.
    #[track_caller]
    pub fn begin_kubectl(&self, words: &[&str], output: &str) -> Child {
        let output = std::fs::File::create(self.path(output)).expect("a file");
        Command::new(needed("COFFERDAM_TEST_KUBECTL"))
            .args(["--namespace", NAMESPACE])
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl starts")
    }

    /// Calls kubectl, which must succeed; its standard output.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.kubectl_fed(words, "")
    }

    /// Calls kubectl with standard input; it must succeed.
    #[track_caller]
    pub fn kubectl_fed(&self, words: &[&str], input: &str) -> String {
        let mut child = Command::new(needed("COFFERDAM_TEST_KUBECTL"))
            .args(["--namespace", NAMESPACE])
            .args(words)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin");
        let input = input.to_owned();
        // A thread of its own: kubectl may talk before it has read all.
        let feeding =
            std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()));
        let output = child.wait_with_output().expect("kubectl ends");
        let _fed = feeding.join().expect("fed");
        let answer = Answer::new(format!("kubectl {}", words.join(" ")), &output).exits(0);
        answer.stdout().to_owned()
    }

    /// Runs a shell line in a workload's container; it must succeed.
    #[track_caller]
    pub fn in_pod(&self, workload: &str, container: &str, line: &str) -> String {
        self.kubectl(&["exec", workload, "-c", container, "--", "sh", "-c", line])
    }

    /// The local cluster's client, for faults.
    #[track_caller]
    pub fn client(&self) -> &Client {
        self.cluster
            .as_ref()
            .expect("this story needs the local cluster")
            .client()
    }

    /// Every object of the namespace with its version: equal before and after where nothing was
    /// changed.
    #[track_caller]
    pub fn versions(&self) -> String {
        self.kubectl(&[
            "get",
            "secrets,configmaps,deployments,pods,services,persistentvolumeclaims",
            "-o",
            "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}",
        ])
    }

    /// All that the product did to the cluster, as far as a request shows it: commands in pods, and
    /// changes. `None` where the cluster is not ours to ask.
    #[track_caller]
    pub fn deeds(&self) -> Option<Vec<String>> {
        let seen = self.cluster.as_ref()?.client().seen().expect("requests");
        let deeds = seen
            .into_iter()
            .filter(|request| !request.agent.starts_with("kubectl"))
            .filter(|request| request.method != "GET" || request.path.contains("/exec"))
            .filter(|request| !request.path.contains("selfsubjectaccessreviews"))
            .map(|request| format!("{} {}", request.method, request.path));
        Some(deeds.collect())
    }

    /// Orders a fault until the guard is dropped.
    #[track_caller]
    pub fn fault(&self, rule: &Rule) -> FaultGuard<'_> {
        let id = self.client().set_fault(rule).expect("the fault is set");
        FaultGuard { site: self, id }
    }

    /// The runs that `list` shows.
    #[track_caller]
    pub fn runs(&self) -> Vec<serde_json::Value> {
        let listed = self.report(&["list"]).exits(0).json();
        listed["runs"].as_array().cloned().expect("a list of runs")
    }

    /// Waits until `ready` answers, at most a minute.
    #[track_caller]
    pub fn wait_until<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(value) = ready() {
                return value;
            }
            assert!(Instant::now() < deadline, "waited a minute for {what}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The repository's folder.
    pub fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// The real restic with the site's repository and password; it must succeed.
    #[track_caller]
    pub fn restic(&self, words: &[&str]) -> Vec<u8> {
        let output = Command::new(needed("COFFERDAM_TEST_RESTIC"))
            .args(words)
            .env("RESTIC_REPOSITORY", self.repository())
            .env("RESTIC_PASSWORD_FILE", self.path("password"))
            .env("RESTIC_CACHE_DIR", self.path("restic-cache"))
            .output()
            .expect("restic starts");
        assert!(
            output.status.success(),
            "restic {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// A folder below the site's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Clears its fault when dropped.
#[derive(Debug)]
pub struct FaultGuard<'a> {
    site: &'a Site,
    id: u64,
}

impl FaultGuard<'_> {
    /// Whether the fault has struck: a story about a fault that never came proves nothing.
    #[track_caller]
    pub fn has_struck(&self) {
        let posted = self.site.client().faults().expect("the faults");
        assert!(
            posted.iter().all(|rule| rule.struck > 0),
            "a fault never struck: {posted:?}"
        );
    }
}

impl Drop for FaultGuard<'_> {
    fn drop(&mut self) {
        let _cleared = self.site.client().clear_faults(Some(self.id));
    }
}

/// A fault that strikes the exec of one command, by a word of its command line.
pub fn on_exec_of(word: &str, fault: Fault) -> Rule {
    Rule::new(fault).on_path(format!("command={word}"))
}
