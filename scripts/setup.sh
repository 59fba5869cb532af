# Sourced by the other scripts: makes sure that what a build needs is there. Installs only what is missing.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

need_packages() {
    if command -v apt-get >/dev/null; then
        as_root apt-get update -q
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@"
    else
        echo "install $*, then run this again" >&2
        exit 1
    fi
}

if ! command -v cc >/dev/null || ! command -v git >/dev/null; then
    need_packages build-essential git
fi
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
fi
if ! command -v cargo >/dev/null; then
    need_packages rustup
    rustup default stable
fi
