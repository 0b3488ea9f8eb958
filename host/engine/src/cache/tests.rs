//! What the cache hands out, and what it does not.

use super::*;

fn cache(folder: &Path) -> Cache {
    Cache::open(folder, &wasmtime::Engine::default()).expect("cache")
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("modules");
    cache(&path)
        .write("sha256:aa", b"machine code")
        .expect("written");
    assert_eq!(
        cache(&path).read("sha256:aa").as_deref(),
        Some(&b"machine code"[..])
    );
    assert_eq!(cache(&path).read("sha256:bb"), None);
    assert_eq!(fs::metadata(&path).expect("folder").mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(path.join(KEY_FILE)).expect("key").mode() & 0o777,
        0o600
    );
}

#[test]
fn a_changed_file_is_not_handed_out() {
    let folder = tempfile::tempdir().expect("folder");
    let cache = cache(folder.path());
    cache.write("sha256:aa", b"machine code").expect("written");
    let path = cache.path("sha256:aa");
    let good = fs::read(&path).expect("file");
    for index in [0, KEY_BYTES - 1, KEY_BYTES, good.len() - 1] {
        let mut bad = good.clone();
        bad[index] ^= 1;
        fs::write(&path, bad).expect("written");
        assert_eq!(cache.read("sha256:aa"), None, "byte {index}");
    }
    for length in [0, KEY_BYTES - 1, KEY_BYTES, good.len() - 1] {
        fs::write(&path, &good[..length]).expect("written");
        assert_eq!(cache.read("sha256:aa"), None, "{length} bytes");
    }
}

#[test]
fn a_file_is_good_for_its_own_module_only() {
    let folder = tempfile::tempdir().expect("folder");
    let cache = cache(folder.path());
    cache.write("sha256:aa", b"machine code").expect("written");
    fs::copy(cache.path("sha256:aa"), cache.path("sha256:bb")).expect("copied");
    assert_eq!(cache.read("sha256:bb"), None);
}

#[test]
fn a_file_of_another_key_is_not_handed_out() {
    let folder = tempfile::tempdir().expect("folder");
    cache(folder.path())
        .write("sha256:aa", b"machine code")
        .expect("written");
    fs::remove_file(folder.path().join(KEY_FILE)).expect("removed");
    assert_eq!(cache(folder.path()).read("sha256:aa"), None);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    drop(cache(folder.path()));
    let key = folder.path().join(KEY_FILE);
    fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("changed");
    let error =
        Cache::open(folder.path(), &wasmtime::Engine::default()).expect_err("readable by others");
    assert!(
        error.to_string().contains("can be read by others"),
        "{error}"
    );
}

#[test]
fn a_key_that_is_cut_off_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().expect("folder");
    drop(cache(folder.path()));
    fs::write(folder.path().join(KEY_FILE), b"short").expect("written");
    let error = Cache::open(folder.path(), &wasmtime::Engine::default()).expect_err("cut off");
    assert!(
        error.to_string().contains("is cut off: remove it"),
        "{error}"
    );
}

#[test]
fn those_who_make_the_key_at_the_same_time_get_the_same_one() {
    let engine = wasmtime::Engine::default();
    for _ in 0..50 {
        let folder = tempfile::tempdir().expect("folder");
        let together = std::sync::Barrier::new(8);
        let open = || {
            together.wait();
            Cache::open(folder.path(), &engine).map(|cache| cache.key.0)
        };
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            joined.map(|key| key.expect("a key")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}

#[test]
fn the_cache_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().expect("folder");
    let cache = cache(folder.path());
    for number in 0..limits::CACHED_MODULES + 3 {
        cache
            .write(&format!("sha256:{number:04}"), b"x")
            .expect("written");
    }
    let kept = fs::read_dir(folder.path()).expect("folder").count() - 1;
    assert_eq!(kept, limits::CACHED_MODULES);
}
