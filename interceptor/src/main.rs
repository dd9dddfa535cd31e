//! The `interceptor` binary: hands the process's arguments and environment to the library, and its exit code back.

use std::env;
use std::process::ExitCode;

use interceptor::cli::{self, Environment};

fn main() -> ExitCode {
    // The only place that reads the environment; everything else is told.
    let environment = Environment {
        admin_socket: env::var_os("INTERCEPTOR_ADMIN_SOCKET").filter(|path| !path.is_empty()).map(Into::into),
        kubeconfig: env::var_os("KUBECONFIG").iter().flat_map(env::split_paths).filter(|path| path != "").collect(),
        node_name: env::var("NODE_NAME").ok().filter(|name| !name.is_empty()),
        no_color: env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
    };
    cli::main(env::args_os(), &environment)
}
