# Sourced by the other scripts: makes sure that what a build needs is there. Installs only what is missing.
if ! command -v cc >/dev/null || ! command -v git >/dev/null; then
    sudo=$(command -v sudo || true)
    if command -v apt-get >/dev/null; then
        $sudo apt-get update -q && $sudo apt-get install -y -q build-essential git
    else
        echo "install a C compiler and git, then run this again" >&2
        exit 1
    fi
fi
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
fi
if ! command -v cargo >/dev/null; then
    echo "install Rust (https://rustup.rs), then run this again" >&2
    exit 1
fi
