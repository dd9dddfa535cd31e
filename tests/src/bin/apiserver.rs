//! The test API server as a program: to try kubectl, the agent or the ingress manager on, by hand.
//!
//! `apiserver --kubeconfig FILE` serves until it is killed; nothing is kept.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result};
use clap::Parser;
use interceptor_tests::apiserver::ApiServer;

#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The kubeconfig to write.
    #[arg(long)]
    kubeconfig: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).with_context(|| format!("binding {}", args.listen))?;
    let server = ApiServer::serve(listener)?;
    server.write_kubeconfig(&args.kubeconfig)?;
    #[expect(clippy::print_stdout, reason = "a program for people")]
    {
        println!("http://{} (export KUBECONFIG={})", server.address(), args.kubeconfig.display());
    }
    loop {
        thread::park();
    }
}
