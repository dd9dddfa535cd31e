//! The tree of commands and options. docs/cli.md and the completions are made of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::flow::{Filter, Protocol, RecordKind, StatusFilter, Verdict};
use crate::route::Direction;
use crate::telemetry;

/// Sends each HTTP request of captured pods to its developer's copy of a service.
#[derive(Debug, Parser)]
#[command(name = "interceptor", version, max_term_width = 110)]
#[command(after_help = "\
EXAMPLES:
  interceptor check                              can this machine run the agent?
  interceptor config example > interceptor.yaml  a commented configuration to start from
  interceptor run --config interceptor.yaml      the agent
  interceptor flows -f                           what it does, as it happens
  interceptor explain --workload serviceA-azureuser --url http://serviceB/ --header 'azds-route-as: azureuser'

EXIT CODES:
  0  all is well
  1  it failed, or found something that is not well
  2  it was called wrongly")]
pub(super) struct Cli {
    /// The agent's admin socket [default: $INTERCEPTOR_ADMIN_SOCKET, else /run/interceptor/admin.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) admin_socket: Option<PathBuf>,
    /// How to print: a table, a table with everything, or one JSON object a line
    #[arg(short, long, global = true, value_enum, default_value_t = OutputMode::Table, value_name = "FORM")]
    pub(super) output: OutputMode,
    /// Whether to use colours; auto does on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(super) color: ColorChoice,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputMode {
    Table,
    Wide,
    Json,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent in the foreground until SIGTERM or Ctrl-C
    #[command(after_help = "\
The file is read again when it changes and on SIGHUP; one with errors is refused as a whole and the last good one stays.
--admin-socket counts instead of the file's admin.socket. With --kubernetes nothing is captured until the cluster's
namespaces, services, endpoint slices and this node's pods have been listed once; if the API server is gone later, what is
known stays in force.

EXAMPLES:
  interceptor run --config interceptor.yaml
  interceptor run --config interceptor.yaml --takeover
  interceptor run --kubernetes --config settings.yaml
  interceptor run --kubernetes --kubeconfig ~/.kube/config --node-name node-1
  interceptor run --config interceptor.yaml --log info,interceptor::proxy=debug --ebpf-log")]
    Run(RunArgs),
    /// Check whether this machine can run the agent: kernel, cgroups, rights, hooks, conflicts
    #[command(after_help = "\
Each line is ok, warn (it runs, with something missing) or fail (it does not), with what to do. Exit code 1 with any fail.

EXAMPLES:
  interceptor check
  interceptor check --config interceptor.yaml
  interceptor check -o json")]
    Check(CheckArgs),
    /// Show how the agent is: configuration, hooks, workloads, counters
    #[command(after_help = "\
EXAMPLES:
  interceptor status
  interceptor status -o wide
  interceptor status -o json")]
    Status,
    /// Show the spaces as trees, with those that cannot be used and why
    #[command(after_help = "\
EXAMPLES:
  interceptor spaces
  interceptor spaces -o json")]
    Spaces,
    /// Show the services of all spaces
    #[command(after_help = "\
EXAMPLES:
  interceptor services
  interceptor services -o wide")]
    Services,
    /// Show the captured workloads of this node
    #[command(after_help = "\
EXAMPLES:
  interceptor workloads
  interceptor workloads -o wide")]
    Workloads,
    /// Show which copy of each service every space leads a workload to
    #[command(after_help = "\
A row without a space is for requests without a route header.

EXAMPLES:
  interceptor routes --workload serviceA-azureuser
  interceptor routes --workload serviceA-azureuser -o wide")]
    Routes(RoutesArgs),
    /// Show connections and requests, with why each went where it went
    #[command(after_help = "\
EXAMPLES:
  interceptor flows
  interceptor flows -f --space azureuser
  interceptor flows --last 20 --status 5xx -o wide
  interceptor flows -f -o json --kind request --service serviceB.default")]
    Flows(FlowsArgs),
    /// Explain where a request would go and why, by the code that routes
    #[command(after_help = "\
EXAMPLES:
  interceptor explain --workload serviceA-azureuser --url http://serviceB/ --header 'azds-route-as: azureuser'
  interceptor explain --workload serviceA-azureuser --url http://azureuser.s.default.serviceA.fedcba09.eus.azds.io/
  interceptor explain --workload serviceB-default --url http://10.96.0.2/ --host serviceB -o json")]
    Explain(ExplainArgs),
    /// Check a configuration file, or print one to start from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Keep the Ingress objects that give every service of every space its URL, or print them
    #[command(after_help = "\
Runs beside the agents, once or more often in a cluster: a Lease decides who writes. It exposes services with the annotation
azds.io/ingress: \"true\" (on the service or its namespace) and touches no object without its own label. --dry-run asks the
cluster, or reads objects as kubectl prints them, and writes nothing; exit code 1 where something cannot be done.

EXAMPLES:
  interceptor ingress-manager --config interceptor.yaml
  interceptor ingress-manager --config interceptor.yaml --dry-run --kubeconfig ~/.kube/config
  kubectl get namespaces,services,ingresses -A -o yaml > objects.yaml
  interceptor ingress-manager --config interceptor.yaml --dry-run --objects objects.yaml")]
    IngressManager(IngressManagerArgs),
    /// Print the completions of a shell
    #[command(after_help = "\
EXAMPLES:
  interceptor completions bash > /etc/bash_completion.d/interceptor
  source <(interceptor completions zsh)")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The configuration file; with --kubernetes it holds settings only, and may be left out
    #[arg(long, value_name = "FILE", required_unless_present = "kubernetes")]
    pub(super) config: Option<PathBuf>,
    /// Take spaces, services and workloads from the cluster instead of the file
    #[arg(long)]
    pub(super) kubernetes: bool,
    /// The kubeconfig that names the cluster [default: $KUBECONFIG, else the pod's service account]
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// This node's name in the cluster [default: $NODE_NAME]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub(super) node_name: Option<String>,
    /// What to log: a level, or a level for each target
    #[arg(long, value_name = "LEVEL|FILTER", default_value = telemetry::DEFAULT_FILTER, value_parser = log_filter)]
    pub(super) log: String,
    /// Where the host's cgroup v2 is mounted, for finding pods; otherwise the first mount that shows all of it
    #[arg(long, value_name = "DIR")]
    pub(super) cgroup_root: Option<PathBuf>,
    /// Carry the kernel hooks' debug messages into the log
    #[arg(long)]
    pub(super) ebpf_log: bool,
    /// Take over from the agent that runs, if one does, without a connection lost
    #[arg(long)]
    pub(super) takeover: bool,
}

#[derive(Debug, Args)]
pub(super) struct IngressManagerArgs {
    /// The configuration file: routing.ingress_suffixes and the section ingress count
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A kubeconfig; several are merged [default: $KUBECONFIG, else the pod's service account]
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Vec<PathBuf>,
    /// Print the Ingress objects that would be applied, and end
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Read namespaces, services and ingresses from a file instead of a cluster; may be given several times
    #[arg(long, value_name = "FILE", requires = "dry_run", conflicts_with = "kubeconfig")]
    pub(super) objects: Vec<PathBuf>,
    /// Where /healthz, /readyz, /metrics and /status are served [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<SocketAddr>,
    /// Its name as a holder of the Lease, unique among managers [default: the host's name, which is the pod's]
    #[arg(long, value_name = "NAME")]
    pub(super) identity: Option<String>,
    /// The namespace of the Lease [default: that of the service account, or of the kubeconfig's context]
    #[arg(long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// What to log: a level, or a level for each target
    #[arg(long, value_name = "LEVEL|FILTER", default_value = telemetry::DEFAULT_FILTER, value_parser = log_filter)]
    pub(super) log: String,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The configuration file that the agent would run with
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The cgroup v2 directory above all workloads
    #[arg(long, value_name = "DIR")]
    pub(super) cgroup: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RoutesArgs {
    /// The workload that calls
    #[arg(long, value_name = "NAME")]
    pub(super) workload: String,
}

#[derive(Debug, Args)]
pub(super) struct FlowsArgs {
    /// Go on with new ones until Ctrl-C
    #[arg(short, long)]
    pub(super) follow: bool,
    /// How many of those that are there [default: 100; 0 with --follow]
    #[arg(long, value_name = "N")]
    pub(super) last: Option<usize>,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
}

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only those of a workload
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Only requests of a space (and connections to its services)
    #[arg(long, value_name = "NAME")]
    space: Option<String>,
    /// Only those for or to a service: `name` or `name.space`
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only those that ended so
    #[arg(long, value_name = "WORD", value_parser = verdicts())]
    verdict: Option<Verdict>,
    /// Only requests with that status: `503` or `5xx`
    #[arg(long, value_name = "CODE|CLASS")]
    status: Option<StatusFilter>,
    /// Only those that spoke it
    #[arg(long, value_name = "WORD", value_parser = protocols())]
    protocol: Option<Protocol>,
    /// Only connections, or only requests
    #[arg(long, value_name = "WORD", value_parser = kinds())]
    kind: Option<RecordKind>,
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        let FilterArgs { workload, space, service, verdict, status, protocol, kind } = args;
        Self { workload, space, service, verdict, status, protocol, kind }
    }
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The workload at whose border the request is
    #[arg(long, value_name = "NAME")]
    pub(super) workload: String,
    /// The URL that is called
    #[arg(long)]
    pub(super) url: String,
    /// A header of the request; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) header: Vec<(String, String)>,
    /// The Host, where it is not that of the URL
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// The method; routing does not look at it
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// Whether the workload calls or is called [default: it calls, unless the host is an ingress host of its own service]
    #[arg(long, value_name = "WORD", value_parser = directions())]
    pub(super) direction: Option<Direction>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say everything that is wrong with a file, each with line, column and key
    #[command(after_help = "\
Exit code 1 with any error; warnings are about spaces that cannot be used and leave it at 0.

EXAMPLES:
  interceptor config check interceptor.yaml
  generate-config | interceptor config check -
  interceptor config check interceptor.yaml -o json")]
    Check {
        /// The file; `-` reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a commented file with every key
    #[command(after_help = "\
EXAMPLES:
  interceptor config example > interceptor.yaml")]
    Example,
}

/// `name: value`.
fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header is written as 'name: value'")?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("a header's name is one word before the colon");
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn log_filter(text: &str) -> Result<String, telemetry::TelemetryError> {
    telemetry::check_filter(text).map(|()| text.to_owned())
}

/// Parses one of a closed set of words.
fn words<T: Clone + Send + Sync + 'static>(
    all: Vec<&'static str>,
    read: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all).try_map(move |word| read(&word).ok_or("it is none of the words"))
}

fn verdicts() -> impl TypedValueParser<Value = Verdict> {
    words(Verdict::ALL.iter().map(|word| word.as_str()).collect(), Verdict::from_word)
}

fn protocols() -> impl TypedValueParser<Value = Protocol> {
    words(Protocol::ALL.iter().map(|word| word.as_str()).collect(), Protocol::from_word)
}

fn kinds() -> impl TypedValueParser<Value = RecordKind> {
    words(vec!["connection", "request"], |word| word.parse().ok())
}

fn directions() -> impl TypedValueParser<Value = Direction> {
    words(vec!["outbound", "inbound"], Direction::from_word)
}
