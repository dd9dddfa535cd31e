#!/bin/sh
# Upgrades, kills and hangs of the agent under load; prints failed requests by cause. Needs root.
#
#   tests/upgrades.sh [UPGRADES] [KILLS] [HANGS]     20, 5 and 5 unless said otherwise
#
# INTERCEPTOR_OTHER_BIN=PATH names the program of another build: every other upgrade leads to it, the next one back.
# It makes its own network namespaces and cgroups and removes them again.
set -eu
cd "$(dirname "$0")/.."
INTERCEPTOR_UPGRADES=${1:-20} INTERCEPTOR_KILLS=${2:-5} INTERCEPTOR_HANGS=${3:-5}
export INTERCEPTOR_UPGRADES INTERCEPTOR_KILLS INTERCEPTOR_HANGS
exec cargo xtask test --netns upgrades::upgrades_fail_no_request -- --nocapture --test-threads=1
