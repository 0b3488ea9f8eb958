//! Every number that bounds a module, with its reason.
//!
//! Must never hold a number whose reason is not beside it.

use std::time::Duration;

/// The limits of one engine that its owner may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of a whole call, host calls included. 24 h: a dump of some terabytes fits, a run
    /// that hangs is still found the next day. A caller may shorten it for each call.
    pub wall: Duration,
    /// Time that the guest itself may compute in a call. 60 s: the host moves the bytes, so a stock
    /// module computes for milliseconds; looking through 4 GiB by `read` takes under 10 s.
    pub compute: Duration,
    /// Linear memory of a call, all memories together, in bytes. 256 MiB: a stock module takes under
    /// 2 MiB, a Python interpreter about 60 MiB.
    pub memory: u64,
    /// How long a module may take to come home after its run was cancelled, before it is dropped.
    /// 5 s: half of the 10 s that an impatient person waits before the second Ctrl-C.
    pub grace: Duration,
    /// How long compiling a module may take. 120 s: a 211 KB module takes 0.2 s and an 18 MB one with
    /// a Python interpreter about 20 s of a slow core.
    pub compile: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(24 * 3600),
            compute: Duration::from_secs(60),
            memory: 256 << 20,
            grace: Duration::from_secs(5),
            compile: Duration::from_secs(120),
        }
    }
}

// ---- The module file ------------------------------------------------------------------------

/// Bytes of a module file. A Python module has 18 MB, a JavaScript one 15 MB; twice that and some.
pub const MODULE_BYTES: u64 = 48 << 20;
/// Bytes of the manifest. The largest stock manifest has 6 KiB.
pub const MANIFEST_BYTES: usize = 256 << 10;
/// Bytes of one function's body. Compiling takes more than linear time and memory in this one;
/// the largest known, the loop of a Python interpreter, has about 400 KiB.
pub const FUNCTION_BYTES: u64 = 2 << 20;
/// Functions in a module. A Python interpreter with its libraries has about 30,000.
pub const FUNCTIONS: u64 = 200_000;
/// Files kept in the cache of compiled modules; the oldest go first. A site has a dozen modules,
/// a developer's machine some builds of each.
pub const CACHED_MODULES: usize = 64;
/// Bytes of one file in the cache: machine code is 3 to 4 times the WebAssembly.
pub const CACHED_BYTES: u64 = 8 * MODULE_BYTES;

// ---- The manifest ---------------------------------------------------------------------------
// A person must be able to read a manifest: the numbers are several times what is readable.

/// Bytes of a one-line text.
pub const SUMMARY_BYTES: usize = 300;
/// Roles.
pub const TARGETS: usize = 32;
/// Parameters, and holes of one command.
pub const PARAMETERS: usize = 128;
/// Words of an enum.
pub const ENUM_WORDS: usize = 64;
/// Secret handles.
pub const SECRETS: usize = 64;
/// Commands.
pub const COMMANDS: usize = 128;
/// Paths.
pub const PATHS: usize = 128;
/// Object groups.
pub const GROUPS: usize = 64;
/// Templates.
pub const TEMPLATES: usize = 8;
/// Parameters of a template, and kinds of objects that may come of it: 3scale's has some 40 and 12.
pub const TEMPLATE_PARAMETERS: usize = 128;
/// Objects of a group, with the lists of its parameters.
pub const OBJECTS_PER_GROUP: usize = 256;
/// Words of a command line.
pub const WORDS: usize = 128;
/// Variables of a command.
pub const VARIABLES: usize = 32;
/// Bytes of a script, and of a word in the manifest.
pub const SCRIPT_BYTES: usize = 64 << 10;
/// Bytes of one filled hole. `PATH_MAX` is 4096.
pub const ARGUMENT_BYTES: usize = 4096;
/// Bytes of a filled command line. It travels in the URL of an exec request, and servers refuse
/// URLs somewhere above 8 KiB a part; Linux itself takes 2 MiB.
pub const COMMAND_LINE_BYTES: usize = 96 << 10;
/// Bytes of output that a command may keep in memory. What is larger is a stream.
pub const CAPTURE_BYTES: u32 = 4 << 20;
/// The shortest timeout of a command. An exec alone takes some 10 ms.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest timeout of a command.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

// ---- A call ---------------------------------------------------------------------------------

/// Stack of a guest, in bytes. wasmtime's own default; a parser that recurses 1,000 deep fits.
pub const STACK_BYTES: usize = 512 << 10;
/// Stack that a call runs on, in bytes: the guest's and what the host's functions need on top.
pub const FIBER_BYTES: usize = 2 << 20;
/// How often a computing guest is looked at. A tenth of the shortest compute limit that makes
/// sense (100 ms); 100 increments of a counter a second cost nothing that can be measured.
pub const TICK: Duration = Duration::from_millis(10);
/// Core instances of a call. A component of `wit-component` has three, `componentize-py` makes
/// about 20.
pub const INSTANCES: usize = 64;
/// Memories of a call: one for each core module that brings its own.
pub const MEMORIES: usize = 16;
/// Tables of a call, likewise.
pub const TABLES: usize = 64;
/// Elements of one table: a Python interpreter fills about 12,000.
pub const TABLE_ELEMENTS: usize = 100_000;
/// Handles that are open at once: pods, streams, processes, leases. A module holds under ten; the
/// limit makes a leak an error before it is a problem.
pub const HANDLES: usize = 1024;
/// Bytes that a guest may hand over in one call: the largest `write` and some names.
pub const HOSTCALL_BYTES: usize = READ_BYTES as usize + (1 << 20);
/// Bytes that one `read` returns and one `write` takes at most.
pub const READ_BYTES: u32 = 1 << 20;
/// Bytes of the head and of the tail that a transfer keeps for format checks.
pub const EDGE_BYTES: usize = 4 << 10;
/// Chunks that wait between two stages of a transfer. With the 64 KiB frames of an exec stream
/// half a megabyte: enough to cover a hiccup of either side, and four transfers stay under 8 MiB.
pub const QUEUED_CHUNKS: usize = 8;
/// Bytes of one log line.
pub const LOG_LINE_BYTES: usize = 2 << 10;
/// Log lines of a call; what comes after is counted and dropped. A person reads fewer.
pub const LOG_LINES: u64 = 2_000;
/// Bytes of all log lines of a call.
pub const LOG_BYTES: usize = 512 << 10;
/// Progress reports closer together than this are dropped unless they end a step: a terminal
/// shows ten a second.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of the name of a step, of a unit, of a condition, of a media type.
pub const NAME_BYTES: usize = 100;
/// A reason that a module gives for what others are refused: a long sentence.
pub const REASON_BYTES: usize = 500;
/// Pairs of evidence, of details, of changes.
pub const PAIRS: usize = 64;
/// Bytes of one value of evidence. A ConfigMap's whole content fits in a lease's 1 MiB instead.
pub const EVIDENCE_BYTES: usize = 4 << 10;
/// Bytes of an object that a module applies, or of the values that a lease changes: what etcd takes.
pub const OBJECT_BYTES: usize = 1 << 20;
/// Bytes of a message that a module returns.
pub const MESSAGE_BYTES: usize = 2 << 10;
/// Artifacts of one call. A stock module has one to three.
pub const ARTIFACTS: usize = 1_000;
/// The longest sleep, and the longest wait for an object or a rollout, in one call of the host.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
