#!/usr/bin/env bash
# Runs every check: format, lints, tests, licences of dependencies. Can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    deny=target/tools/bin/cargo-deny
    [ -x "$deny" ] || cargo install --quiet --locked --root target/tools cargo-deny@0.20.2
fi
cargo fmt --check
cargo clippy --locked --all-targets --features push -- -D warnings
# So must what is built by default, and the other feature.
cargo check --locked --features lingua
# Exports are read back by the programs that they are for.
scripts/python.sh
# Reports are looked at in a browser.
scripts/chromium.sh
cargo test --locked --features push
"$deny" check bans licenses sources
