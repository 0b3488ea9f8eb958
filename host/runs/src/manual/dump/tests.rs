//! Compressed dumps: whole ones, cut ones, wrong ones, and one that was made to burst.

use std::io::{Seek, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const MYSQL: &str = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: system-mysql    Database: system\n-- ------------------------------------------------------\n-- Server version\t8.0.36\n\nCREATE TABLE a (b int);\n-- Dump completed on 2026-11-22 10:00:00\n";
const CLUSTER: &str = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict abc\n\nSET a;\n\n\\unrestrict abc\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("compressed");
    encoder.finish().expect("compressed")
}

fn check(file: &[u8], dialect: Dialect) -> Result<(Proof, u64), (String, u64)> {
    let mut opened = tempfile::tempfile().expect("a file");
    opened.write_all(file).expect("written");
    opened.rewind().expect("rewound");
    let mut taken = 0;
    let mut take = |bytes: Bytes| {
        taken += bytes.len() as u64;
        Ok(())
    };
    match read(opened, dialect, &mut take) {
        Ok(proof) => Ok((proof, taken)),
        Err(Stop::Problem(text)) => Err((text, taken)),
        Err(Stop::Taker) => panic!("nobody stopped it"),
    }
}

#[track_caller]
fn refused(file: &[u8], dialect: Dialect, expected: &str) {
    let (text, _) = check(file, dialect).expect_err("refused");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_whole_dump_is_handed_on_decompressed_with_its_proof() {
    let file = compressed(MYSQL.as_bytes());
    let (proof, taken) = check(&file, Dialect::MySql).expect("whole");
    assert_eq!(taken, MYSQL.len() as u64);
    assert_eq!(proof.file_bytes, file.len() as u64);
    assert_eq!(proof.file_sha256, hex::encode(Sha256::digest(&file)));
    let pair = |key: &str| {
        let found = proof.pairs.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        pair("trailer"),
        Some("-- Dump completed on 2026-11-22 10:00:00")
    );
    assert_eq!(pair("dumped-from"), Some("8.0.36"));
    assert!(pair("not-checked").is_some());
    check(&compressed(CLUSTER.as_bytes()), Dialect::Postgres).expect("whole");
    let sandbox = format!("/*M!999999\\- enable the sandbox mode */ \n{MYSQL}");
    check(&compressed(sandbox.as_bytes()), Dialect::MySql).expect("whole");
}

#[test]
fn members_of_gzip_one_after_another_are_one_dump() {
    let (first, second) = MYSQL.split_at(60);
    let file = [compressed(first.as_bytes()), compressed(second.as_bytes())].concat();
    let (_, taken) = check(&file, Dialect::MySql).expect("whole");
    assert_eq!(taken, MYSQL.len() as u64);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = compressed(MYSQL.as_bytes());
    for length in 0..file.len() {
        assert!(
            check(&file[..length], Dialect::MySql).is_err(),
            "{length} bytes"
        );
    }
    refused(&file[..file.len() - 4], Dialect::MySql, "is cut");
}

#[test]
fn a_changed_byte_of_the_sum_is_refused() {
    let mut file = compressed(MYSQL.as_bytes());
    let sum = file.len() - 8;
    file[sum] ^= 1;
    refused(&file, Dialect::MySql, "is damaged");
}

#[test]
fn a_dump_whose_end_is_missing_is_refused_though_its_gzip_is_whole() {
    let (whole, _) = MYSQL.split_at(MYSQL.len() - 45);
    refused(
        &compressed(whole.as_bytes()),
        Dialect::MySql,
        "is not whole",
    );
    let more = format!("{MYSQL}INSERT INTO a VALUES (1);\n");
    refused(&compressed(more.as_bytes()), Dialect::MySql, "is not whole");
}

#[test]
fn a_wrong_file_in_a_right_name_is_refused_before_a_byte_of_it_goes_on() {
    let postgres = compressed(CLUSTER.as_bytes());
    refused(&postgres, Dialect::MySql, "is a dump of PostgreSQL");
    refused(
        &compressed(MYSQL.as_bytes()),
        Dialect::Postgres,
        "is a dump of MySQL",
    );
    let one = CLUSTER.replace(" cluster dump", " dump");
    refused(
        &compressed(one.as_bytes()),
        Dialect::Postgres,
        "take it again with `pg_dumpall -c --if-exists`",
    );
    refused(MYSQL.as_bytes(), Dialect::MySql, "is not compressed");
    refused(b"", Dialect::MySql, "is empty");
    refused(&compressed(b""), Dialect::MySql, "is no dump");
    let (text, taken) = check(&compressed(b"\x1b[2J hello"), Dialect::MySql).expect_err("refused");
    assert_eq!(taken, 0);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_dump_that_went_through_a_terminal_is_refused() {
    let ruined = MYSQL.replace('\n', "\r\n");
    refused(
        &compressed(ruined.as_bytes()),
        Dialect::MySql,
        "went through a terminal",
    );
}

#[test]
fn a_file_made_to_burst_is_given_up_early() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(MYSQL.as_bytes()).expect("compressed");
    let zeros = vec![b'\n'; 1 << 20];
    for _ in 0..300 {
        encoder.write_all(&zeros).expect("compressed");
    }
    encoder.write_all(MYSQL.as_bytes()).expect("compressed");
    let file = encoder.finish().expect("compressed");
    let (text, taken) = check(&file, Dialect::MySql).expect_err("given up");
    assert!(text.contains("times its size"), "{text}");
    // What was read ahead of the file counts as read.
    assert!(taken <= (LARGEST_RATIO + 1) * CHUNK as u64, "{taken}");
    // A dull table is no bomb: it shrinks by a hundred, and that is taken.
    let mut dull = MYSQL
        .replace("-- Dump completed on 2026-11-22 10:00:00\n", "")
        .into_bytes();
    for row in 0..1_500_000_u32 {
        dull.extend_from_slice(
            format!(
                "INSERT INTO a VALUES ({row}, 'the same words in each and every row of it');\n"
            )
            .as_bytes(),
        );
    }
    dull.extend_from_slice(b"-- Dump completed\n");
    assert!(dull.len() as u64 > ALWAYS_ALLOWED);
    check(&compressed(&dull), Dialect::MySql).expect("taken");
}

#[test]
fn whoever_takes_the_bytes_may_stop_it() {
    let mut opened = tempfile::tempfile().expect("a file");
    opened
        .write_all(&compressed(MYSQL.as_bytes()))
        .expect("written");
    opened.rewind().expect("rewound");
    let mut take = |_: Bytes| Err(Stop::Taker);
    assert!(matches!(
        read(opened, Dialect::MySql, &mut take),
        Err(Stop::Taker)
    ));
}
