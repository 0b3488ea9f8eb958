//! What can be typed. The comments here are the help texts: they stand in no page but the terminal.
#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "a terminal shows help as it stands"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use cofferdam_policy::name::{ApplicationName, DataSetName, Namespace};
use cofferdam_runs::elsewhere::Mapping;
use cofferdam_runs::threescale::Era;

/// Back up and restore the data sets of an application on Kubernetes and OpenShift
#[derive(Debug, Parser)]
#[command(
    name = "cofferdam",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON document on standard output
    Json,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// How results are written
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) output: Format,
    /// Say more on standard error; twice for the libraries too
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The application file [COFFERDAM_FILE] [default: cofferdam.yaml]
    #[arg(long, short, global = true, value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// A Cedar policy file, or a folder of them; may be repeated [COFFERDAM_POLICY] [default: cofferdam.cedar]
    #[arg(long, global = true, value_hint = ValueHint::AnyPath)]
    pub(crate) policy: Vec<PathBuf>,
    /// A folder of modules; may be repeated [COFFERDAM_MODULES]
    #[arg(long, global = true, value_hint = ValueHint::DirPath)]
    pub(crate) modules: Vec<PathBuf>,
    /// The repository: a folder, or s3://BUCKET/PREFIX [COFFERDAM_REPOSITORY]
    #[arg(long, short, global = true)]
    pub(crate) repository: Option<String>,
    /// A file with the repository's password [COFFERDAM_PASSWORD_FILE, or the password itself in COFFERDAM_PASSWORD]
    #[arg(long, global = true, value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    /// A command that prints the repository's password [COFFERDAM_PASSWORD_COMMAND]
    #[arg(long, global = true, conflicts_with = "password_file")]
    pub(crate) password_command: Option<String>,
    /// The kubeconfig file [KUBECONFIG] [default: ~/.kube/config; in a pod its service account]
    #[arg(long, global = true, value_hint = ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// The folder for journals and audit logs [COFFERDAM_STATE] [default: below ~/.local/state]
    #[arg(long, global = true, value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write an application file: one to fill in, or the one of a 3scale that is found
    Init(Init),
    /// Look at everything that a backup needs, before it is needed
    Check(Selection),
    /// Back up the application
    Backup(Backup),
    /// Restore the application from a run
    Restore(Restore),
    /// Read back what a run kept and prove it whole
    Verify(Verify),
    /// List the runs that the repository keeps
    List,
    /// Show one run: its artifacts, their evidence, and what its modules did
    Show(Show),
    /// Take over the files of the manual procedure into snapshots
    Import(Import),
    /// Write the files of the manual procedure from a run, with the way back by hand
    Export(Export),
    /// Forget old snapshots by rule and remove what nothing needs any more
    Prune(Prune),
    /// Look at modules, or make one
    #[command(subcommand)]
    Modules(Modules),
    /// Write or check the policy
    #[command(subcommand)]
    Policy(Policy),
    /// Make, check and unlock the repository
    #[command(subcommand)]
    Repository(Repository),
    /// Write the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which data sets take part.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only these data sets, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<DataSetName>,
}

/// How a run goes.
#[derive(Debug, Args)]
pub(crate) struct Pace {
    /// How many data sets go at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) parallel: u16,
    /// Give a data set up after this time, such as `6h` [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(crate) timeout: Option<std::time::Duration>,
}

fn timeout(text: &str) -> Result<std::time::Duration, String> {
    let signed: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    let duration = std::time::Duration::try_from(signed)
        .map_err(|_| "a time cannot be negative".to_owned())?;
    if duration.is_zero() {
        Err("a data set needs some time".to_owned())
    } else {
        Ok(duration)
    }
}

/// Without a further word: a file to fill in, with an entry for each installed module.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Init {
    #[command(subcommand)]
    pub(crate) of: Option<InitOf>,
    /// The name of the application
    #[arg(long, default_value = "application")]
    pub(crate) name: ApplicationName,
    /// Its namespace
    #[arg(long, required = true)]
    pub(crate) namespace: Option<Namespace>,
    /// Replace the file if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InitOf {
    /// Look at a 3scale and write the application file and the smallest policy for it
    Threescale(InitThreescale),
}

#[derive(Debug, Args)]
pub(crate) struct InitThreescale {
    /// The name of the application
    #[arg(long, default_value = "threescale")]
    pub(crate) name: ApplicationName,
    /// Its namespace [default: the namespace of the kubeconfig's context]
    #[arg(long)]
    pub(crate) namespace: Option<Namespace>,
    /// Say which era it is instead of looking: for an account that may not look, or during an upgrade
    #[arg(long, value_enum)]
    pub(crate) era: Option<EraArgument>,
    /// Replace the files if they are there
    #[arg(long)]
    pub(crate) force: bool,
}

/// The eras of 3scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EraArgument {
    /// 2.10 to 2.14: DeploymentConfigs
    A,
    /// 2.15: Deployments, databases inside
    B,
    /// 2.16 and later: Deployments, databases outside
    C,
}

impl From<EraArgument> for Era {
    fn from(era: EraArgument) -> Self {
        match era {
            EraArgument::A => Self::A,
            EraArgument::B => Self::B,
            EraArgument::C => Self::C,
        }
    }
}

/// Another namespace than that of the application file.
#[derive(Debug, Default, Args)]
pub(crate) struct Elsewhere {
    /// Work in this namespace instead of the application's, under the policy for it
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) to_namespace: Option<Namespace>,
    /// There, take another workload for one of the application file; may be repeated
    #[arg(
        long = "map",
        value_name = "KIND/NAME=KIND/NAME",
        requires = "to_namespace"
    )]
    pub(crate) mappings: Vec<Mapping>,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Stop what the application file names in `quiesce`, in that order, until the backup has ended
    #[arg(long)]
    pub(crate) quiesce: bool,
    /// Show the ordered steps and what policy says to them; touch nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The id of a run, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Show the ordered steps and what policy says to them; touch nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask before data is replaced
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) elsewhere: Elsewhere,
    /// Restore elsewhere though what is restored names hosts of the source
    #[arg(long, requires = "to_namespace")]
    pub(crate) accept_source_hosts: bool,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The id of a run, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) pace: Pace,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The id of a run, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// Show every request that the run made, and check that its log is as it was written
    #[arg(long, conflicts_with = "html")]
    pub(crate) audit: bool,
    /// Write a report as one page of HTML; restores and verifies of this machine have one too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "html")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The folder with the files, such as `system-mysql-backup.gz`, `system-smtp.json` and, itself a
    /// folder, `system-storage`. Links in it are kept and never followed
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The id of a run, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// A folder that is not there yet or is empty, or `-` for one tar stream on standard output.
    /// Nothing in it is encrypted
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Keep the newest N of each data set
    #[arg(long, value_name = "N")]
    pub(crate) keep_last: Option<u32>,
    /// Keep one an hour for the last N hours that have one
    #[arg(long, value_name = "N")]
    pub(crate) keep_hourly: Option<u32>,
    /// Keep one a day for the last N days that have one
    #[arg(long, value_name = "N")]
    pub(crate) keep_daily: Option<u32>,
    /// Keep one a week for the last N weeks that have one
    #[arg(long, value_name = "N")]
    pub(crate) keep_weekly: Option<u32>,
    /// Keep one a month for the last N months that have one
    #[arg(long, value_name = "N")]
    pub(crate) keep_monthly: Option<u32>,
    /// Keep one a year for the last N years that have one
    #[arg(long, value_name = "N")]
    pub(crate) keep_yearly: Option<u32>,
    /// Keep all within this time, such as `30d` or `6months`
    #[arg(long, value_name = "TIME")]
    pub(crate) keep_within: Option<jiff::Span>,
    /// Do not insist on keeping the newest proven one of each data set
    #[arg(long)]
    pub(crate) without_proven: bool,
    /// Say what would go; remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Modules {
    /// List the installed modules
    List,
    /// Show everything that a module can ever do
    Inspect {
        /// The name of a module, or a file
        module: String,
    },
    /// Make a module of a WebAssembly file and its manifest
    Pack {
        /// A core module for wasm32-unknown-unknown, or a component
        #[arg(value_hint = ValueHint::FilePath)]
        wasm: PathBuf,
        /// The manifest
        #[arg(long, value_hint = ValueHint::FilePath, default_value = "module.toml")]
        manifest: PathBuf,
        /// Where the module goes
        #[arg(long = "to", short, value_hint = ValueHint::FilePath)]
        to: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Write the smallest policy that lets the application's modules work, to read and cut down
    Init {
        /// How exactly a rule names its module
        #[arg(long, value_enum, default_value = "version")]
        pin: PinArgument,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        elsewhere: Elsewhere,
    },
    /// Check the policy against the schema and say what it allows and denies
    Check,
}

/// How exactly a rule names its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PinArgument {
    /// Any version
    Name,
    /// This version
    Version,
    /// This very file
    Digest,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Repository {
    /// Make a new repository
    Init,
    /// Check the repository's structure, and with --read-data every byte
    Check {
        /// Read and verify all data
        #[arg(long)]
        read_data: bool,
    },
    /// Look at its passwords, add or remove one
    #[command(subcommand)]
    Key(Key),
    /// Show who holds a lock
    Locks,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// List the keys
    List,
    /// Add a password
    Add {
        /// A file with the new password
        #[arg(long, value_hint = ValueHint::FilePath)]
        new_password_file: PathBuf,
    },
    /// Remove a key
    Remove {
        /// Its id
        id: String,
    },
}
