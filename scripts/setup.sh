# Sourced by scripts/demo and scripts/test: makes .venv at the root of the checkout hold everything
# that they need. Each step is skipped when its inputs are what they were when it last succeeded.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"
STAMPS="$VENV/.stamps"
MIN_RUST=1.88

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Steps print one bold line each; what they run prints beneath it.
say() { if [ -t 2 ]; then printf '\033[1m▸ %s\033[0m\n' "$*" >&2; else printf '▸ %s\n' "$*" >&2; fi; }

version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && { echo "$candidate"; return; }
  done
  return 1
}

require_compilers() {
  local rust
  command -v c++ >/dev/null 2>&1 || die "no C++ compiler found; on Debian or Ubuntu: sudo apt-get install g++"
  if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  command -v cargo >/dev/null 2>&1 || die "no Rust found (1.88 or newer); install it with rustup (rustup.rs)"
  rust=$(cd "$ROOT" && rustc --version 2>/dev/null | cut -d' ' -f2)
  [ -n "$rust" ] || die "rustc does not run; 'rustup default stable' sets a toolchain"
  version_at_least "$MIN_RUST" "$rust" || die "Rust $rust is too old (1.88 or newer is needed); 'rustup update stable' brings it"
}

# digest PATH...: one hash over the names and contents of the files below the paths.
digest() {
  (cd "$ROOT" && find "$@" -type f \
     -not -path '*/__pycache__/*' -not -path '*/target/*' -not -path '*/runtime/*' -not -name '*.so' -print0 |
     LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# step NAME INPUTS-HASH TEXT COMMAND...: runs COMMAND unless it succeeded before with the same inputs.
step() {
  local name=$1 hash=$2 text=$3
  shift 3
  [ -f "$STAMPS/$name" ] && [ "$(cat "$STAMPS/$name")" = "$hash" ] && return 0
  say "$text"
  "$@" || die "that step failed: $text"
  mkdir -p "$STAMPS" && printf '%s\n' "$hash" > "$STAMPS/$name"
}

make_venv() {
  local python
  python=$(find_python) || die "no Python 3.10 or newer found; on Debian or Ubuntu: sudo apt-get install python3 python3-venv"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || die "Python's venv module is missing; on Debian or Ubuntu: sudo apt-get install python3-venv"
  "$python" -m venv "$VENV"
}

install_requirements() { "$VENV/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$ROOT/requirements/$1.txt"; }

# The lock is complete but for what nothing here imports (requirements/formats.in says what): no more is to come.
install_formats() { "$VENV/bin/python" -m pip install --disable-pip-version-check --no-deps --require-hashes -r "$ROOT/requirements/formats.txt"; }

# Without the libraries that it would compile for minutes: it uses those of the runtime pack.
install_llama_cpp() {
  CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" \
    "$VENV/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$ROOT/requirements/llama_cpp.txt"
}

install_web() {
  command -v npm >/dev/null 2>&1 || die "no Node.js with npm found (18 or newer); on Debian or Ubuntu: sudo apt-get install nodejs npm"
  (cd "$ROOT/web" && npm ci --ignore-scripts)
}

build_extension() {
  (cd "$ROOT/model-bindings" && VIRTUAL_ENV="$VENV" PATH="$VENV/bin:$PATH" maturin develop --release)
}

install_host() {
  "$VENV/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e "$ROOT"
}

build_runtime() { PATH="$VENV/bin:$PATH" "$VENV/bin/python" "$ROOT/scripts/build_runtime.py" --native; }

# set_up base|test: everything up to a host that answers; "test" adds what the tests need.
set_up() {
  local python_hash rust_hash
  [ -x "$VENV/bin/python" ] || { say "Making the virtual environment in .venv"; make_venv; }
  python_hash=$(digest requirements/"$1".txt)
  step "requirements-$1" "$python_hash" "Installing the Python packages ($1)" install_requirements "$1"
  if [ "$1" = test ]; then
    step requirements-gateway "$(digest requirements/gateway.txt)" "Installing the gateway's packages" install_requirements gateway
    step requirements-formats "$(digest requirements/formats.txt)" "Installing torch, transformers and onnxruntime (2 GB to download)" install_formats
    [ -d "$ROOT/web/node_modules" ] || rm -f "$STAMPS/web"
    step web "$(digest web/package-lock.json)" "Installing what checks the page and its client" install_web
    step requirements-llama_cpp "$(digest requirements/llama_cpp.txt)" "Installing llama-cpp-python (on the runtime pack's libraries)" install_llama_cpp
  fi
  rust_hash=$(digest Cargo.toml Cargo.lock hardware rust model-bindings)
  if ! [ -f "$STAMPS/extension" ] || [ "$(cat "$STAMPS/extension")" != "$rust_hash" ]; then require_compilers; fi
  step extension "$rust_hash" "Building tabagent_model, the Rust extension (about two minutes the first time)" build_extension
  step host "$(digest pyproject.toml)" "Installing native_host" install_host
  build_runtime
}
