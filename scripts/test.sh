#!/usr/bin/env bash
# Runs every check: format, lints, tests, licences of dependencies. Can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
cargo test --locked
if command -v cargo-deny >/dev/null; then
    cargo deny --offline check bans licenses sources
else
    echo "cargo-deny is not installed: licences of dependencies were not checked" >&2
fi
