//! `interceptor ingress-manager`: runs the manager, or prints what it would apply.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use super::Ended;
use super::args::{IngressManagerArgs, OutputMode};
use super::output::{Screen, Style, clean};
use crate::config::{self, Config};
use crate::ingress::plan::Plan;
use crate::ingress::{self, ManagerOptions};
use crate::privileges;
use crate::telemetry;

pub(super) fn run(
    args: IngressManagerArgs,
    kubeconfig: &[PathBuf],
    mode: OutputMode,
    screen: &mut Screen<'_>,
) -> anyhow::Result<Ended> {
    let config = configuration(&args)?;
    let kubeconfig = if args.kubeconfig.is_empty() { kubeconfig.to_vec() } else { args.kubeconfig };
    if args.dry_run {
        let facts =
            if args.objects.is_empty() { ingress::ask(kubeconfig)? } else { ingress::files::read(&args.objects)? };
        let plan = ingress::plan::plan(&facts, &config.routing.ingress_suffixes, config.ingress.class.as_deref());
        return show(&plan, &config.ingress, mode, screen);
    }
    let confined = privileges::confine_process(privileges::MANAGER);
    let _log = telemetry::start(&args.log)?;
    confined.tell();
    let identity = match args.identity {
        Some(identity) => identity,
        None => {
            let name = nix::unistd::gethostname().context("asking for the host's name; give --identity")?;
            name.to_string_lossy().into_owned()
        }
    };
    let options = ManagerOptions { config, kubeconfig, identity, namespace: args.namespace, listen: args.listen };
    ingress::run(options).map(|()| Ended::Well)
}

fn configuration(args: &IngressManagerArgs) -> anyhow::Result<Config> {
    let Some(path) = &args.config else {
        bail!("no configuration: name the file with the hosts' suffixes (routing.ingress_suffixes) with --config");
    };
    let bytes = std::fs::read(path).with_context(|| format!("reading the configuration file {}", path.display()))?;
    let config = Config::parse_bytes(&bytes, &path.display().to_string())?.config;
    if config.routing.ingress_suffixes.is_empty() {
        bail!("{}: routing.ingress_suffixes is empty: name the suffix of the hosts there", path.display());
    }
    Ok(config)
}

/// The objects as YAML documents, or as JSON one a line; what cannot be done as comments (or on lines of their own).
fn show(plan: &Plan, settings: &config::Ingress, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    for problem in &plan.problems {
        if mode == OutputMode::Json {
            screen.json(serde_json::to_string(problem)?)?;
        } else {
            let text = format!("# {problem}");
            screen.line(screen.paint(Style::Warn, &clean(&text)))?;
        }
    }
    for object in ingress::render::objects(plan, settings) {
        if mode == OutputMode::Json {
            screen.json(serde_json::to_string(&object)?)?;
        } else {
            let yaml = serde_saphyr::to_string(&object).context("writing an Ingress as YAML")?;
            screen.line(format_args!("---\n{}", yaml.trim_end()))?;
        }
    }
    Ok(if plan.problems.is_empty() { Ended::Well } else { Ended::Badly })
}
