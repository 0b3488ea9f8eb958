//! The binary `local-cluster`: runs the cluster as a process, and is its own helper for pods. It
//! must look for its helper's duties before any thread exists.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use local_cluster::pods::{Runtime, RuntimeOptions};
use local_cluster::{Place, Server};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A Kubernetes API server whose pods are real processes
#[derive(Debug, Parser)]
#[command(name = "local-cluster", version)]
enum Arguments {
    /// Run a cluster until it is told to end
    Serve(Serve),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Folder for volumes, logs and the kubeconfig
    #[arg(long)]
    state: PathBuf,
    /// Folder with the unpacked server packages
    #[arg(long)]
    layer: PathBuf,
    /// Port on 127.0.0.1; 0 takes any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where to write the kubeconfig [default: `kubeconfig` in the state folder]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the kubeconfig's context
    #[arg(long, default_value = local_cluster::demo::NAMESPACE)]
    namespace: String,
    /// Folder of initialised volumes, each with the name of its claim
    #[arg(long)]
    templates: Option<PathBuf>,
    /// Keep the volumes in this folder when the cluster ends
    #[arg(long)]
    save_templates: Option<PathBuf>,
    /// End when standard input ends
    #[arg(long)]
    lifeline: bool,
}

fn main() -> ExitCode {
    if let Some(code) = local_cluster::pods::helper_main() {
        return code;
    }
    let Arguments::Serve(arguments) = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOCAL_CLUSTER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Serve) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the threads")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Serve) -> anyhow::Result<()> {
    let state = arguments.state;
    let existed = state.exists();
    fs_err::create_dir_all(&state).context("failed to make the state folder")?;
    let state = fs_err::canonicalize(&state).context("failed to find the state folder")?;
    let options = RuntimeOptions {
        state: state.join("pods"),
        layer: arguments.layer,
        helper: None,
    };
    let pods = Runtime::new(options).context("failed to start the pod runtime")?;
    let place = Place {
        state: state.clone(),
        port: arguments.port,
        templates: arguments.templates,
    };
    let server = Server::start(Arc::new(pods), place).await?;
    let kubeconfig = arguments
        .kubeconfig
        .unwrap_or_else(|| state.join("kubeconfig"));
    let access = server.access();
    fs_err::write(
        &kubeconfig,
        access.kubeconfig(&arguments.namespace).to_string(),
    )
    .context("failed to write the kubeconfig")?;
    let ready = json!({"kubeconfig": kubeconfig, "url": access.url});
    writeln!(std::io::stdout(), "{ready}").context("failed to say that the cluster is ready")?;
    wait_for_end(arguments.lifeline).await?;
    server.stop(arguments.save_templates.as_deref()).await?;
    fs_err::remove_file(&kubeconfig).context("failed to remove the kubeconfig")?;
    for folder in ["volumes", "pods"].map(|name| state.join(name)) {
        remove(&folder)
            .await
            .context("failed to remove what pods left")?;
    }
    if !existed {
        fs_err::remove_dir(&state).context("failed to remove the state folder")?;
    }
    Ok(())
}

/// Removes a folder. The last process of a pod may still be writing its last words into it.
async fn remove(folder: &Path) -> std::io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while folder.exists() {
        match fs_err::remove_dir_all(folder) {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Resolves on SIGTERM, SIGINT, or the end of the lifeline.
async fn wait_for_end(lifeline: bool) -> anyhow::Result<()> {
    let ended = CancellationToken::new();
    if lifeline {
        let ended = ended.clone();
        // A thread of its own: a read of standard input cannot be cancelled.
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            let _read = std::io::stdin().read_to_end(&mut rest);
            ended.cancel();
        });
    }
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = ended.cancelled() => {}
    }
    Ok(())
}
