#!/usr/bin/env bash
# Makes .venv with what requirements.lock pins and the checkout itself, editable.
# Does nothing when the last run already did it for the same lock, project, folder and Python.
#   PYTHON        interpreter to use (default: the first of python3, python3.13 ... that is new enough)
#   LANNER_INDEX  package index to use instead of the default one (for machines behind a mirror)
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
new_enough() { "$1" -c 'import sys; sys.exit(not sys.version_info >= (3, 11))' 2>/dev/null; }

find_python() {
    local name
    if [[ -n ${PYTHON:-} ]]; then
        if new_enough "$PYTHON"; then command -v "$PYTHON"; return; fi
        say "$PYTHON is not Python 3.11 or newer; name another: make PYTHON=/path/to/python3"
        return 1
    fi
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        if new_enough "$name"; then command -v "$name"; return; fi
    done
    say "no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python3"
    return 1
}

# What was installed depends on these; the folder because an editable install holds its path.
key() {
    pwd -P
    .venv/bin/python -c 'import sys; print(sys.version)'
    cat requirements.lock pyproject.toml hatch_build.py scripts/bootstrap.sh
}
fingerprint() { key | sha256sum | cut -d' ' -f1; }

stamp=.venv/.lanner-setup
if new_enough .venv/bin/python && [[ -f $stamp && $(<"$stamp") == "$(fingerprint)" ]]; then
    exit 0
fi

# Settings of this user or machine (extra indexes, local wheels, constraints) would change what
# the lock means. Certificates and the cache's place stay.
certificate=${PIP_CERT:-}
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep -E '^PIP_' || true)
while IFS= read -r name; do unset "$name"; done < <(
    compgen -e | grep -E '^UV_' |
        grep -vxE 'UV_(CACHE_DIR|HTTP_TIMEOUT|LINK_MODE|NATIVE_TLS|SYSTEM_CERTS|OFFLINE)' || true
)
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX
export PIP_CONFIG_FILE=/dev/null
index=${LANNER_INDEX:-}

if ! new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
            say "this Python has no venv; installing $package"
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
        else
            say "this Python has no venv; run: sudo apt install $package"
            exit 1
        fi
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

if ! .venv/bin/python -m uv --version >/dev/null 2>&1; then
    say "installing uv"
    .venv/bin/python -m pip --isolated --disable-pip-version-check install --quiet \
        ${certificate:+--cert "$certificate"} ${index:+--index-url "$index"} uv
fi

# Hard links save gigabytes, but only work inside one file system.
cache=$(.venv/bin/python -m uv --no-config cache dir)
mkdir -p "$cache"
if [[ -z ${UV_LINK_MODE:-} && $(stat -c %d "$cache") != "$(stat -c %d .venv)" ]]; then
    export UV_LINK_MODE=copy
fi

say "installing what requirements.lock pins (a first time downloads about 3 GB)"
# Compiled now: where nothing may be written later, as in many containers, every run would compile
# thousands of modules anew.
install=(.venv/bin/python -m uv --no-config pip install --quiet --compile-bytecode --python .venv/bin/python
         ${index:+--default-index "$index"})
"${install[@]}" -r requirements.lock
"${install[@]}" --no-deps --editable .
.venv/bin/python -m compileall -q lanner server postprocess detectors tiling
say "compiling inner loops"
warm='from lanner.inference.warm import warm; [warm(name, "cpu") for name in ("aircraft", "roads")]'
.venv/bin/python -c "$warm" || say "the first run of each detector will compile them"
fingerprint >"$stamp"
say "done"
