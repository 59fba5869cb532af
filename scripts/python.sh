#!/usr/bin/env bash
# Makes the Python environment in target/tools/python whose packages (tests/requirements.txt) read exports back in
# tests/export.rs. Packages that are named as arguments are installed there as well. Can be run again; does nothing where all
# is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=target/tools/python
# TRL asks for torch, and Dolma for fastText and old versions of others, which their checks of data do not need.
alone="trl==1.16.0 dolma==1.2.1"
wanted=$(cksum <tests/requirements.txt)-$alone
if [ "$(cat "$environment/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$environment"
    if ! python3 -m venv "$environment"; then
        source scripts/setup.sh
        need_packages python3 python3-venv
        rm -rf "$environment"
        python3 -m venv "$environment"
    fi
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt
    "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps $alone
    echo "$wanted" >"$environment/installed"
fi
if [ $# -gt 0 ]; then
    "$environment/bin/pip" install --quiet --disable-pip-version-check "$@"
fi
