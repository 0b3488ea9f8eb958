//! What a person does with a shell beside the product: kubectl in scripts, and the blocks of a guide to the letter.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::site::{Site, needed};

/// A shell in a folder of the site, with kubectl as a user has it. It stops at the first command that fails.
pub fn shell(site: &Site, folder: &Path, script: &str) -> Output {
    let kubectl = needed("COFFERDAM_TEST_KUBECTL");
    let tools = kubectl.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").expect("a path");
    // The product's own environment has the kubeconfig; nothing else of it matters here.
    let product = site.command(&[]);
    let kubeconfig = product
        .get_envs()
        .find(|(name, _)| *name == "KUBECONFIG")
        .and_then(|(_, value)| value)
        .expect("a kubeconfig");
    Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(folder)
        .env("PATH", format!("{tools}:{path}"))
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .output()
        .expect("a shell")
}

/// What a command wrote; it must have ended well.
#[track_caller]
pub fn succeeds(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}\n---- stdout\n{out}\n---- stderr\n{err}",
        output.status
    );
    out.into_owned()
}

/// The names in a folder.
#[track_caller]
pub fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("read");
    entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect()
}

/// The commands of a guide, block by block.
pub fn commands(guide: &str) -> String {
    let mut inside = false;
    let mut script = String::new();
    for line in guide.lines() {
        match (inside, line) {
            (false, line) if line.starts_with("```sh") => inside = true,
            (true, "```") => inside = false,
            (true, line) => {
                script.push_str(line);
                script.push('\n');
            }
            (false, _) => {}
        }
    }
    script
}
