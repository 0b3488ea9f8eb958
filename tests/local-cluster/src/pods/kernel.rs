//! The few kernel calls that no library offers in a safe form, each with its reason.
//!
//! Runs in the helper and its children, which have one thread each; nothing here may be called
//! from the cluster process.
#![expect(
    unsafe_code,
    reason = "clone3, pidfd, close_range and mount_setattr have no safe wrapper in nix"
)]

use std::ffi::{CString, c_int, c_long, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::Pid;

/// The exit code of a child that panicked; Rust's own.
const PANICKED: i32 = 101;

/// What a container's root user may still do: the set that container engines leave it.
const KEPT_CAPABILITIES: [u8; 13] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    13, // NET_RAW
    18, // SYS_CHROOT
    29, // AUDIT_WRITE
    31, // SETFCAP
];

/// Runs `child` in a copy of this process, in the new namespaces of `flags`.
///
/// Gives the child's number as this process sees it, and a descriptor that stays the child's.
///
/// The child ends with the code that `child` returns and never comes back into the caller.
pub(crate) fn clone_process(
    flags: CloneFlags,
    child: impl FnOnce() -> i32,
) -> nix::Result<(Pid, OwnedFd)> {
    let mut descriptor: c_int = -1;
    // SAFETY: all fields of `clone_args` are integers, for which zero means "not used".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (i64::from(flags.bits()) | i64::from(libc::CLONE_PIDFD)).cast_unsigned();
    arguments.pidfd = (&raw mut descriptor).expose_provenance() as u64;
    arguments.exit_signal = i64::from(libc::SIGCHLD).cast_unsigned();
    // SAFETY: without CLONE_VM and a stack this is a fork. The process has one thread, so no
    // lock can be held by a thread that does not exist in the copy.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    };
    let number = i32::try_from(Errno::result(answer)?).map_err(|_| Errno::ERANGE)?;
    if number == 0 {
        let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED);
        // SAFETY: ends this process at once; the copy must run no exit handlers of the original.
        unsafe { libc::_exit(code) }
    }
    // SAFETY: the kernel has stored a new descriptor there, which nobody else knows.
    Ok((Pid::from_raw(number), unsafe {
        OwnedFd::from_raw_fd(descriptor)
    }))
}

/// Sends a signal to exactly the process behind the descriptor, never to a later one.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: Signal) -> nix::Result<()> {
    // SAFETY: plain integers; a null `siginfo` is allowed.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal as c_int,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(answer).map(drop)
}

/// Closes every descriptor but the three standard ones and those given.
///
/// Rust values that own a closed descriptor must not be dropped afterwards; the callers are
/// fresh copies of the helper whose values belong to the original.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut numbers: Vec<c_uint> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        if first < number {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, c_uint::MAX)
}

fn close_range(first: c_uint, last: c_uint) -> nix::Result<()> {
    // SAFETY: plain integers.
    Errno::result(unsafe { libc::close_range(first, last, 0) }).map(drop)
}

/// Makes the mount at `target` and all below it read-only, and changes nothing else of it.
///
/// A plain remount would have to repeat flags that a user namespace may not take away.
pub(crate) fn make_read_only(target: &str) -> nix::Result<()> {
    let path = CString::new(target).map_err(|_| Errno::EINVAL)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: path and attributes live until the call returns, and the size is theirs.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(answer).map(drop)
}

/// Takes away for ever what a container's root user must not do to the machine.
pub(crate) fn drop_capabilities() -> nix::Result<()> {
    for capability in 0..c_long::from(u8::MAX) {
        if KEPT_CAPABILITIES
            .iter()
            .any(|kept| c_long::from(*kept) == capability)
        {
            continue;
        }
        // SAFETY: plain integers.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            // The first number that this kernel does not know ends the list.
            Err(Errno::EINVAL) => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Gives a program the signal behaviour that it expects: Rust ignores SIGPIPE, the helper blocks.
pub(crate) fn reset_signals() -> nix::Result<()> {
    // SAFETY: the default action installs no handler.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl)? };
    nix::sys::signal::SigSet::empty().thread_set_mask()
}
