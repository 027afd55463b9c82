# Shared by scripts/demo, scripts/test and scripts/check; sourced, never run. POSIX sh (macOS bash 3.2 too).
#
#   . scripts/_venv.sh && use_venv "dicom sign"
#
# makes .venv with the first Python >= 3.11 found, installs medaug with the extras asked for, at the
# versions of constraints.txt, and does nothing when all of that is there already. After it, $PYTHON is
# the environment's interpreter. MEDAUG_PYTHON names another interpreter to build the environment from.

ROOT=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"
STAMP="$VENV/.medaug-installed"

say() {
    printf '%s\n' "$*" >&2
}

is_new_enough() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Plain python3 first: it is the one that the machine's owner chose.
find_python() {
    for candidate in ${MEDAUG_PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    say "medaug needs Python 3.11 or newer (with the venv module), and found none."
    say "Install one from your system's packages or python.org, or name it: MEDAUG_PYTHON=/path/to/python3"
    return 1
}

# What the install depends on: the project table, the pins, the interpreter, and where the tree stands.
wanted_state() {
    "$PYTHON" - "$ROOT" <<'EOF'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
digest = hashlib.sha256(f"{root} {sys.version}".encode())
for name in ("pyproject.toml", "constraints.txt"):
    digest.update((root / name).read_bytes())
print(digest.hexdigest())
EOF
}

# The stamp's first line is the state, its second the extras that are installed.
stamp_line() {
    [ -f "$STAMP" ] && sed -n "$1p" "$STAMP"
}

contains() { # contains WORD in LIST
    case " $2 " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# What an extra brings with it, so that the demo after the tests has nothing to install.
with_implied() {
    list="$1"
    contains dev "$list" && list="$list test docs"
    contains test "$list" && list="$list dicom pacs policy sign"
    printf '%s' "$list"
}

is_installed() { # is_installed STATE EXTRAS
    [ "$(stamp_line 1)" = "$1" ] || return 1
    present=$(stamp_line 2)
    for extra in $2; do
        contains "$extra" "$present" || return 1
    done
}

# Whole: new enough, and its pip starts (not after a kill half-way, nor after the checkout was moved).
is_whole() {
    [ -x "$PYTHON" ] && is_new_enough "$PYTHON" && "$VENV/bin/pip" --version >/dev/null 2>&1
}

make_venv() {
    if is_whole; then
        return 0
    fi
    base=$(find_python) || return 1
    say "making .venv with $base ($("$base" --version 2>&1))"
    rm -rf "$VENV"
    "$base" -m venv "$VENV"
}

use_venv() { # use_venv "EXTRA EXTRA..."
    make_venv || return 1
    state=$(wanted_state) || return 1
    if is_installed "$state" "$1"; then
        return 0
    fi
    # Extras that are there already stay: the versions are pinned, so nothing is reinstalled or removed.
    extras=$(printf '%s\n' $(with_implied "$1 $(stamp_line 2)") | sort -u | tr '\n' ' ' | sed 's/ $//')
    joined=$(printf '%s' "$extras" | tr ' ' ',')
    say "installing medaug[$joined] into .venv at the versions of constraints.txt: once, some minutes"
    rm -f "$STAMP"
    # A person sees pip's progress; a log gets its errors only.
    if [ -t 2 ]; then quiet=""; else quiet="-qq"; fi
    # Build isolation does not see -c, so the pins are given by the environment, which it does see.
    (cd "$ROOT" && PIP_CONSTRAINT="$ROOT/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$PYTHON" -m pip install $quiet --editable ".[$joined]") || {
        say "the installation failed; without a network, see docs/how-to/offline-install.md"
        return 1
    }
    printf '%s\n%s\n' "$state" "$extras" >"$STAMP.part"
    mv "$STAMP.part" "$STAMP"
}
