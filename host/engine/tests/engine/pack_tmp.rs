//! TEMPORARY
#[test]
fn pack_all() {
    let Some(cores) = std::env::var_os("TMP_CORES") else {
        return;
    };
    let out = std::path::PathBuf::from(std::env::var_os("COFFERDAM_TEST_GUESTS").unwrap());
    let manifests = std::path::PathBuf::from(std::env::var_os("TMP_MANIFESTS").unwrap());
    for entry in std::fs::read_dir(manifests).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let core = std::fs::read(
            std::path::Path::new(&cores).join(format!("{}.wasm", name.replace('-', "_"))),
        )
        .unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        match cofferdam_engine::pack(&core, &text) {
            Ok(bytes) => std::fs::write(out.join(format!("{name}.wasm")), bytes).unwrap(),
            Err(error) => panic!(
                "{name}: {error} {:?}",
                std::error::Error::source(&error).map(|e| e.to_string())
            ),
        }
    }
}
