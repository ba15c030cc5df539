#!/usr/bin/env bash
# Makes .venv with Python 3.12, the locked dependencies and this project; does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMP=$VENV/.setup-stamp
readonly GL_PACKAGES=(libosmesa6 libegl1 libgl1-mesa-dri)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

# What is installed follows from these files; the editable install also holds this folder's path.
fingerprint() { { pwd; cat pyproject.toml requirements.lock scripts/setup.sh; } | sha256sum | cut -d' ' -f1; }

# Version managers put commands on PATH that only print an error, so a Python counts when it runs.
is_python312() { "$1" -c 'import ctypes, sqlite3, ssl, sys; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; }

installed_python() {
  local candidate
  for candidate in python3.12 python3 python \
    "$(pyenv prefix 3.12 2>/dev/null || true)/bin/python3.12" \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12; do
    if is_python312 "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

# Prints the command of a uv that runs: the one on PATH, or one installed by the given Python in a venv.
find_uv() {
  local python=$1 folder=$2
  if uv --version >/dev/null 2>&1; then
    echo uv
    return
  fi
  if ! "$folder/bin/uv" --version >/dev/null 2>&1; then
    if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
      "$python" -m venv "$folder" >&2 || fail \
        "$python cannot make a virtual environment." \
        "Install its venv module (Debian, Ubuntu: apt-get install python3-venv python3.12-venv) or uv, and run this again."
    fi
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2 \
      || fail "pip could not install uv; is the package registry within reach?"
  fi
  echo "$folder/bin/uv"
}

# Makes .venv unless it is there and runs; sets $uv.
make_environment() {
  if [ -e "$VENV/bin/python" ] && "$VENV/bin/python" -c '' 2>/dev/null; then
    is_python312 "$VENV/bin/python" || fail "$VENV holds another Python than 3.12; move it away and run this again."
    uv=$(find_uv "$VENV/bin/python" "$VENV")
    return
  fi
  local python
  python=$(installed_python)
  if [ -z "$python" ]; then
    say "no Python 3.12 runs here; asking uv for one"
    bootstrap=$(mktemp -d)
    trap 'rm -rf "$bootstrap"' EXIT
    uv=$(find_uv python3 "$bootstrap")
    python=$("$uv" python find 3.12 2>/dev/null) \
      || { "$uv" python install 3.12 && python=$("$uv" python find 3.12); } \
      || fail "no Python 3.12 found. Install one (apt-get install python3.12 python3.12-venv, pyenv install 3.12, or uv python install 3.12) and run this again."
  fi
  say "making $VENV with $python"
  if uv --version >/dev/null 2>&1; then
    uv venv --quiet --clear --python "$python" "$VENV"
  else
    rm -rf "$VENV"
  fi
  uv=$(find_uv "$python" "$VENV")
}

# Installs the lock's packages; $VENV/bin/uv is there afterwards, for packages that are wanted beside.
install_packages() {
  if [ ! -e "$VENV/bin/uv" ]; then ln -sf "$(command -v "$uv")" "$VENV/bin/uv"; fi
  say "installing $(wc -l <requirements.lock) packages"
  # The lock is complete, so nothing is left to resolve.
  "$uv" pip install --python "$VENV/bin/python" --no-deps --requirements requirements.lock
  "$uv" pip install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation --editable .
}

gl_works() {
  local backend
  for backend in egl osmesa; do
    MUJOCO_GL=$backend "$VENV/bin/python" - >/dev/null 2>&1 <<'PYTHON' && return 0
import mujoco
mujoco.GLContext(8, 8).make_current()
PYTHON
  done
  return 1
}

# Rendering needs Mesa's software GL (or a graphics driver).
install_gl() {
  if gl_works; then return; fi
  local as_root=()
  if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
  if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
    say "installing ${GL_PACKAGES[*]} for rendering"
    "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the package lists at hand"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${GL_PACKAGES[@]}" || true
  fi
  gl_works || fail \
    "no OpenGL that renders without a display: neither EGL nor OSMesa gives a context." \
    "Install one as root and run this again:" \
    "  Debian, Ubuntu: apt-get install ${GL_PACKAGES[*]}" \
    "  Fedora, RHEL:   dnf install mesa-libOSMesa mesa-libEGL mesa-dri-drivers"
}

# Otherwise the first simulation would compile; where this fails, it still does.
compile_simulator() {
  say "compiling the simulator's control loop"
  "$VENV/bin/python" -c 'from simulation.physics.control import compile_control_step as f; f()' 2>/dev/null \
    || say "that failed; the first simulation will try again and say why"
}

if [ "$(cat "$STAMP" 2>/dev/null)" = "$(fingerprint)" ]; then exit 0; fi
uv=
make_environment
install_packages
install_gl
compile_simulator
fingerprint >"$STAMP"
say "done"
