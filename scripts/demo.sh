#!/usr/bin/env bash
# Builds gitlode and mines the repository it stands in: a summary and three rows. Can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
cargo build --release --locked
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
# Most commits here change several files, which the default ruleset does not take.
"${CARGO_TARGET_DIR:-target}"/release/gitlode mine . --store "$store" --filter none
"${CARGO_TARGET_DIR:-target}"/release/gitlode show "$store" --sample 3
