#!/usr/bin/env bash
# Makes sure that Chromium is there, in which tests/report.rs looks at reports. Can be run again; does nothing where it is
# there already.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v chromium >/dev/null; then
    source scripts/setup.sh
    need_packages chromium
fi
