//! What goes through a transfer, and how it ends when a side fails.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::host::Source;

struct Chunks(VecDeque<Result<Bytes, HostError>>);

#[async_trait]
impl Source for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        self.0.pop_front().transpose()
    }
}

struct Written {
    bytes: Vec<u8>,
    room: usize,
}

#[async_trait]
impl Sink for Written {
    async fn write(&mut self, bytes: Bytes) -> Result<(), HostError> {
        if self.bytes.len() + bytes.len() > self.room {
            return Err(HostError::Failed {
                code: "full",
                message: "no room".to_owned(),
            });
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}

fn source(chunks: impl IntoIterator<Item = Result<Bytes, HostError>>) -> OpenSource {
    OpenSource::new(Box::new(Chunks(chunks.into_iter().collect())))
}

fn cut() -> HostError {
    HostError::Failed {
        code: "stream-cut",
        message: "cut".to_owned(),
    }
}

/// Sends `data` in chunks of each size and compares with the same taken at once.
#[tokio::test]
async fn count_digest_and_edges_do_not_depend_on_the_chunks() {
    let data: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = hex::encode(Sha256::digest(&data));
    for size in [1, 7, 4095, 4096, 4097, 9000, 40_000] {
        let chunks = data
            .chunks(size)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
        let mut sink = Written {
            bytes: Vec::new(),
            room: usize::MAX,
        };
        let moved = pump(source(chunks), Some(&mut sink)).await.expect("moved");
        assert_eq!(sink.bytes, data, "chunks of {size}");
        assert_eq!(
            (moved.bytes, moved.sha256.as_str()),
            (40_000, expected.as_str()),
            "chunks of {size}"
        );
        assert_eq!(moved.head, data[..4096], "chunks of {size}");
        assert_eq!(moved.tail, data[40_000 - 4096..], "chunks of {size}");
    }
}

#[tokio::test]
async fn a_short_stream_is_its_own_head_and_tail() {
    let moved = pump(
        source([Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]),
        None,
    )
    .await
    .expect("moved");
    assert_eq!(
        (moved.head.as_slice(), moved.tail.as_slice(), moved.bytes),
        (&b"abc"[..], &b"abc"[..], 3)
    );
    let moved = pump(source([]), None).await.expect("moved");
    assert_eq!((moved.bytes, moved.tail.len()), (0, 0));
}

#[tokio::test]
async fn a_small_chunk_after_a_large_one_keeps_both_in_the_tail() {
    let large = Bytes::from(vec![b'l'; 10_000]);
    let moved = pump(source([Ok(large), Ok(Bytes::from_static(b"end"))]), None)
        .await
        .expect("moved");
    assert_eq!(moved.tail.len(), 4096);
    assert!(moved.tail.ends_with(b"lend"));
}

#[tokio::test]
async fn a_cut_source_is_an_error_though_all_bytes_were_written() {
    let mut sink = Written {
        bytes: Vec::new(),
        room: 100,
    };
    let broken = pump(
        source([Ok(Bytes::from_static(b"abc")), Err(cut())]),
        Some(&mut sink),
    )
    .await
    .expect_err("cut");
    assert!(matches!(broken, Broken::Source(error) if error == cut()));
    let broken = pump(source([Err(cut())]), None).await.expect_err("cut");
    assert!(matches!(broken, Broken::Source(error) if error == cut()));
}

#[tokio::test]
async fn a_sink_that_fails_ends_a_transfer_that_would_never_end() {
    struct Endless;
    #[async_trait]
    impl Source for Endless {
        async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
            tokio::task::yield_now().await;
            Ok(Some(Bytes::from_static(&[0; 1000])))
        }
    }
    let mut sink = Written {
        bytes: Vec::new(),
        room: 50_000,
    };
    let pumping = pump(OpenSource::new(Box::new(Endless)), Some(&mut sink));
    let broken = tokio::time::timeout(Duration::from_secs(10), pumping)
        .await
        .expect("in time")
        .expect_err("full");
    assert!(matches!(
        broken,
        Broken::Sink(HostError::Failed { code: "full", .. })
    ));
}
