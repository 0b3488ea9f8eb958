//! Archives of the real `tar`, and archives that no `tar` makes.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

use super::*;

/// Names with their contents.
type Files = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything an archive has, in portions of `portion` bytes: names with their contents, holes as zeros.
fn all(archive: &[u8], portion: usize) -> Result<Files, String> {
    let mut unpacker = Unpacker::default();
    let mut files = Vec::new();
    let mut open = false;
    for part in archive.chunks(portion.max(1)) {
        let mut input = Bytes::copy_from_slice(part);
        while let Some(event) = unpacker.next(&mut input)? {
            match event {
                Packed::Begin { path, size } => {
                    assert!(!open, "a file begins within another");
                    open = true;
                    files.push((path, Vec::new(), size));
                }
                Packed::Data(bytes) => files.last_mut().expect("begun").1.extend_from_slice(&bytes),
                Packed::Hole(length) => {
                    if length > 1 << 24 {
                        return Err("a hole larger than this test holds".to_owned());
                    }
                    let content = &mut files.last_mut().expect("begun").1;
                    content.resize(content.len() + usize::try_from(length).expect("small"), 0);
                }
                Packed::End => {
                    let (_, content, size) = files.last().expect("begun");
                    assert_eq!(content.len() as u64, *size, "as long as announced");
                    open = false;
                }
            }
        }
    }
    if !unpacker.has_ended() {
        return Err("no end".to_owned());
    }
    Ok(files
        .into_iter()
        .map(|(path, content, _)| (path, content))
        .collect())
}

fn packed(folder: &std::path::Path, names: &[&[u8]]) -> Vec<u8> {
    let mut child = Command::new("sh")
        .args(["-c", super::super::PACK])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar starts");
    let mut input = child.stdin.take().expect("stdin");
    for name in names {
        input
            .write_all(&[b"./", *name, b"\0"].concat())
            .expect("written");
    }
    drop(input);
    child.wait_with_output().expect("tar ends").stdout
}

#[test]
fn what_the_real_tar_packs_comes_out_whole_in_any_portions() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = "n".repeat(200);
    let deep = format!("{long}/{long}/file");
    std::fs::create_dir_all(folder.path().join(&long).join(&long)).expect("made");
    let odd: &[u8] = b"-rf \xff\n*";
    let mut holes = vec![0; 3_000_000];
    for at in (0..holes.len()).step_by(100_000) {
        holes[at..at + 4096].fill(7);
    }
    let contents: [(&[u8], Vec<u8>); 5] = [
        (b"empty", Vec::new()),
        (b"block", vec![1; 512]),
        (odd, vec![2; 70_001]),
        (deep.as_bytes(), vec![3; 513]),
        (b"holes", holes.clone()),
    ];
    for (name, content) in &contents {
        std::fs::write(
            folder.path().join(std::ffi::OsStr::from_bytes(name)),
            content,
        )
        .expect("written");
    }
    // Written again with holes where the zeros are.
    let sparse = std::fs::File::create(folder.path().join("holes")).expect("made");
    sparse.set_len(holes.len() as u64).expect("long");
    for at in (0..holes.len()).step_by(100_000) {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 4096], at as u64).expect("written");
    }
    let names: Vec<&[u8]> = contents.iter().map(|(name, _)| *name).collect();
    let archive = packed(folder.path(), &names);
    let expected: Vec<(Vec<u8>, Vec<u8>)> = contents
        .iter()
        .map(|(name, content)| (name.to_vec(), content.clone()))
        .collect();
    for portion in [1, 511, 512, 513, 10_240, archive.len()] {
        assert!(
            all(&archive, portion).expect("whole") == expected,
            "portions of {portion}"
        );
    }
}

/// A header that `tar` would take, changed by `change`.
fn header(name: &[u8], kind: EntryType, size: u64, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn file(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, EntryType::Regular, content.len() as u64, |_| {});
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn map(header: &mut Header, real: &str, pieces: &[(&str, &str)]) {
    let gnu = header.as_gnu_mut().expect("gnu");
    gnu.realsize[..real.len()].copy_from_slice(real.as_bytes());
    for (place, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
        place.offset[..offset.len()].copy_from_slice(offset.as_bytes());
        place.numbytes[..length.len()].copy_from_slice(length.as_bytes());
    }
}

const END: [u8; 1024] = [0; 1024];

#[test]
fn archives_that_no_tar_makes_are_refused() {
    let wrong_sum = {
        let mut bytes = file(b"./a", b"x");
        bytes[0] = b'/';
        bytes
    };
    let sparse = |real: &str, packed: u64, pieces: &[(&str, &str)]| {
        header(b"./s", EntryType::GNUSparse, packed, |header| {
            map(header, real, pieces);
        })
    };
    let long_twice = [
        header(b"././@LongLink", EntryType::GNULongName, 4, |_| {}),
        b"./a\0".iter().copied().chain([0; 508]).collect(),
        header(b"././@LongLink", EntryType::GNULongName, 4, |_| {}),
    ]
    .concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "an absolute name",
            file(b"/etc/passwd", b"x"),
            "not asked for",
        ),
        (
            "a name without its beginning",
            file(b"../x", b"x"),
            "not asked for",
        ),
        ("a wrong checksum", wrong_sum, "wrong checksum"),
        ("noise", vec![0x55; 512], "checksum"),
        (
            "pax headers",
            header(b"./a", EntryType::XHeader, 10, |_| {}),
            "another format",
        ),
        (
            "global headers",
            header(b"./a", EntryType::XGlobalHeader, 10, |_| {}),
            "another format",
        ),
        (
            "a name of a gigabyte",
            header(b"././@LongLink", EntryType::GNULongName, 1 << 30, |_| {}),
            "too long",
        ),
        ("two long names", long_twice, "two long names"),
        (
            "pieces that overlap",
            sparse("4000", 1024, &[("0", "1000"), ("400", "1000")]),
            "contradicts",
        ),
        (
            "a piece behind the end",
            sparse("1000", 1024, &[("0", "1000"), ("1000", "1000")]),
            "contradicts",
        ),
        (
            "more data than the map has",
            sparse("4000", 2048, &[("0", "1000")]),
            "contradicts",
        ),
        (
            "less data than the map has",
            sparse("4000", 0, &[("0", "1000")]),
            "contradicts",
        ),
        (
            "a piece within a block",
            sparse("4000", 522, &[("0", "12"), ("1000", "1000")]),
            "contradicts",
        ),
        (
            "a piece longer than numbers are",
            sparse("777777777777", 512, &[("77777777777", "77777777777")]),
            "contradicts",
        ),
        (
            "something behind the end",
            [END.to_vec(), file(b"./a", b"x")].concat(),
            "after its end",
        ),
        ("no end", file(b"./a", b"x"), "no end"),
        (
            "an end within a file",
            file(b"./a", &[1; 2000])[..1500].to_vec(),
            "no end",
        ),
    ];
    for (what, archive, expected) in cases {
        for portion in [7, 512, 4096] {
            let error = all(&archive, portion).expect_err(what);
            assert!(error.contains(expected), "{what}: {error}");
        }
    }
}

#[test]
fn what_is_no_file_is_passed_over() {
    let archive = [
        header(b"./folder/", EntryType::Directory, 0, |_| {}),
        header(b"./link", EntryType::Symlink, 0, |_| {}),
        header(b"./hard", EntryType::Link, 0, |_| {}),
        header(b"./device", EntryType::Block, 0, |_| {}),
        header(b"./pipe", EntryType::Fifo, 0, |_| {}),
        file(b"./a", b"x"),
        END.to_vec(),
    ]
    .concat();
    assert_eq!(
        all(&archive, 100).expect("whole"),
        [(b"a".to_vec(), b"x".to_vec())]
    );
}

/// Damages a good archive at every place in turn: it ends in an error or in files of the announced
/// lengths, never in a panic and never beyond its bounds.
#[test]
fn a_damaged_archive_never_breaks_the_reader() {
    let good = [file(b"./a", &[1; 700]), file(b"./b", b"y"), END.to_vec()].concat();
    for at in 0..good.len() {
        for value in [0, 0x80, 0xff, b'7', b'S', b'L'] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = all(&bad, 1000);
            let mut cut = good.clone();
            cut.truncate(at);
            assert!(all(&cut, 1000).is_err() || at > good.len() - 1024);
        }
    }
}
