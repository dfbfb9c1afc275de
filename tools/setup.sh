#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes a checkout ready: Debian packages, .venv, Python packages, the native library, FFmpeg with our filters.
# Needs bash and apt to start with. Every step looks first whether it has anything to do, so a second run is
# quick. What can be made again lies in the cache, outside the checkout; only .venv lies inside.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python

usage() {
    cat <<'TEXT'
usage: tools/setup.sh [STEP...]

Without a STEP all of them run, in this order:
  debian     Debian packages (as root; otherwise prints the command to run)
  venv       .venv with Python 3.11 or newer
  packages   Python packages of requirements.lock
  native     the C++ library and the Python module, through scikit-build-core and CMake
  ffmpeg     FFmpeg with clarivid's filters

Only when they are named (`make test` does):
  browser    a Chromium, in which the tests open our HTML pages
  series     small builds of the other series of FFmpeg that the filters are for, for their tests
  stock      Debian's own ffmpeg, and a drop-in with the filters for it
  rehearsal  what `make rehearse` needs: debootstrap, buildah, lintian and others
  programs   a program of others that gets the filters by the drop-in: mpv

Environment:
  CLARIVID_CACHE    where logs and builds go (else $XDG_CACHE_HOME/clarivid, else ~/.cache/clarivid)
  PYTHON            the Python that makes .venv (else the first of python3, python3.13, ... that is new enough)
TEXT
}

# The same rule as clarivid.paths.cache_dir().
cache_dir() {
    if [[ -n ${CLARIVID_CACHE:-} ]]; then
        realpath -ms -- "${CLARIVID_CACHE/#\~/$HOME}"
    elif [[ ${XDG_CACHE_HOME:-} == /* ]]; then
        printf '%s\n' "$XDG_CACHE_HOME/clarivid"
    else
        printf '%s\n' "$HOME/.cache/clarivid"
    fi
}

cache=$(cache_dir)
# Two checkouts may share a cache: their builds and logs are told apart by the checkout's path.
key=$(printf '%s' "$root" | sha256sum | cut -c1-12)
build=$cache/build/native-$key
logs=$cache/logs

# --- Steps. For each: NAME_done (is there nothing to do?) and NAME_run (its output goes to a log). ---

declare -A title=(
    [debian]='Debian packages'
    [venv]='Python environment (.venv)'
    [packages]='Python packages'
    [native]='C++ library and Python module'
    [ffmpeg]='FFmpeg with our filters'
    [browser]='Chromium for the tests of pages'
    [series]='Other series of FFmpeg for the tests'
    [stock]="Debian's ffmpeg and a drop-in for it"
    [rehearsal]='Tools to rehearse a deployment'
    [programs]='Programs that use libavfilter'
)

debian_packages=(
    build-essential cmake ninja-build pkg-config nasm ccache git patch xz-utils dpkg-dev # to build
    python3 python3-venv python3-dev                                                     # .venv and its module
    libx264-dev libx265-dev libzimg-dev zlib1g-dev                                       # what our FFmpeg links with
    nlohmann-json3-dev                                                                   # card.json in the library
    libeigen3-dev                                                                        # csrc/mesh's solver
    clang-format-14 clang-tidy-14 shellcheck                                             # make lint
)

debian_missing() {
    local package
    for package in "${debian_packages[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

debian_done() {
    command -v dpkg-query >/dev/null || return 0 # not Debian: the compiler will say what it misses
    # One call for all of them; it fails when one is unknown to dpkg.
    local states
    states=$(dpkg-query -W -f '${db:Status-Status}\n' "${debian_packages[@]}" 2>/dev/null) &&
        [[ $(sort -u <<<"$states") == installed ]]
}

debian_run() {
    local missing
    mapfile -t missing < <(debian_missing)
    apt_install "${missing[@]}"
}

apt_install() {
    local command=(apt-get install -y --no-install-recommends "$@")
    if ((EUID != 0)); then
        echo "These Debian packages are missing, and only root can install them. Run this, then try again:"
        echo "  sudo ${command[*]}"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # Another apt may be at work: wait for it. Old package lists may name versions that are gone: update once.
    "${command[@]}" -o DPkg::Lock::Timeout=600 && return
    apt-get update
    "${command[@]}" -o DPkg::Lock::Timeout=600
}

venv_done() {
    [[ -x $venv/bin/pip ]] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

venv_run() {
    local candidate
    for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.1{3,2,1}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -m venv "$venv"
            return
        fi
    done
    echo "No Python 3.11 or newer with the venv module was found. Install one, or name it: PYTHON=/path/to/python3"
    return 1
}

packages_state() {
    "$python" -V
    sha256sum <"$root/requirements.lock"
    sha256sum <"$root/requirements-alone.lock"
}

packages_done() {
    [[ -f $venv/.clarivid-packages && $(packages_state) == "$(<"$venv/.clarivid-packages")" ]]
}

packages_run() {
    # pip first, alone: the pip that came with Python reads newer options of the lines below differently.
    "$python" -m pip install --no-input "$(grep '^pip==' "$root/requirements.lock")"
    "$python" -m pip install --no-input -r "$root/requirements.lock"
    "$python" -m pip install --no-input --no-deps -r "$root/requirements-alone.lock"
    packages_state >"$venv/.clarivid-packages"
}

native_state() {
    echo "$root $build"
    cat "$venv/.clarivid-packages" # another Python or OpenVINO needs another build
    (
        cd "$root"
        # What CMake reads or installs.
        find CMakeLists.txt pyproject.toml csrc filters patches models -type f -print0 2>/dev/null |
            LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum
}

native_done() {
    [[ -f $venv/.clarivid-native && -f $build/build.ninja && -x $venv/bin/clarivid &&
        $(native_state) == "$(<"$venv/.clarivid-native")" ]]
}

native_run() {
    local state openvino
    state=$(native_state) # before the build: a file edited meanwhile must not count as built
    openvino=$("$python" -c 'import importlib.util as u; print(u.find_spec("openvino").submodule_search_locations[0])')
    mkdir -p "$build"
    # Editable: Python sources are used where they lie. No isolation: the pinned pybind11 and OpenVINO are used.
    "$python" -m pip install --no-input --no-build-isolation --no-deps --verbose --editable "$root" \
        --config-settings=build-dir="$build" \
        --config-settings=cmake.define.OpenVINO_DIR="$openvino/cmake" \
        --config-settings=cmake.define.CLARIVID_BUILD_TESTS=ON \
        --config-settings=cmake.define.CLARIVID_WERROR=ON
    ln -sfn "$build" "$venv/build" # where the Makefile finds the test programs and compile_commands.json
    printf '%s\n' "$state" >"$venv/.clarivid-native"
}

ffmpeg_done() {
    "$python" -m clarivid ffmpeg path --series 7.1 >/dev/null 2>&1
}

ffmpeg_run() {
    "$python" -m clarivid ffmpeg build
}

browser_done() {
    local program
    for program in "${CHROMIUM:-}" chromium chromium-headless-shell chromium-shell google-chrome; do
        [[ -n $program ]] && command -v "$program" >/dev/null && return
    done
    return 1
}

browser_run() {
    apt_install chromium-headless-shell # 64 MB and what it links with; no window, no sound
}

rehearsal_done() {
    command -v debootstrap && command -v buildah && command -v lintian && command -v apt-ftparchive && command -v gpg
} >/dev/null

rehearsal_run() {
    apt_install debootstrap buildah lintian apt-utils gnupg # 70 MB, and 60 of Perl modules for lintian
}

other_series() {
    "$python" -c 'from clarivid.ffmpeg.series import OTHERS; print(*OTHERS)'
}

series_done() {
    local name
    for name in $(other_series); do
        "$python" -m clarivid ffmpeg path --series "$name" --checks >/dev/null 2>&1 || return
    done
}

series_run() {
    local name status=0
    for name in $(other_series); do # one that cannot be had keeps none of the others from being built
        "$python" -m clarivid ffmpeg build --series "$name" --checks || status=1
    done
    return "$status"
}

stock_done() {
    command -v ffmpeg >/dev/null && "$python" -m clarivid ffmpeg path --dropin >/dev/null 2>&1
}

stock_run() {
    # On a bare system 145 MB to fetch, 517 with all of its libraries. Headers for the drop-in, 54 MB, lie in the cache.
    [[ -x /usr/bin/ffmpeg ]] || apt_install ffmpeg
    "$python" -m clarivid ffmpeg dropin --with-build-deps
}

programs_done() {
    command -v mpv >/dev/null
}

programs_run() {
    apt_install mpv # 2 MB more than Debian's ffmpeg
}

# --- Running them. ---

job= # process group of the step that runs

interrupted() {
    [[ -z $job ]] || kill -TERM -- "-$job" 2>/dev/null || true
    printf '\nsetup: interrupted; run it again to go on.\n' >&2
    exit 130
}

# run_step NUMBER TOTAL NAME
run_step() {
    local log=$logs/setup-$key-$3.log start=$SECONDS status=0 line
    local head="[$1/$2] ${title[$3]} …"
    printf '%s' "$head"
    : >"$log" # the heartbeat reads it at once
    # Its own process group, so that Ctrl-C ends all of the step; without our lock, so that nothing it leaves
    # behind can hold it.
    set -m
    (
        set +m
        "$3_run"
    ) >>"$log" 2>&1 </dev/null 9>&- &
    job=$!
    set +m
    if [[ -t 1 ]]; then
        while kill -0 "$job" 2>/dev/null; do
            line=$(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c1-60)
            printf '\r\033[K%s %d s  \033[2m%s\033[0m' "$head" $((SECONDS - start)) "$line"
            sleep 0.5
        done
        printf '\r\033[K%s' "$head"
    fi
    wait "$job" || status=$?
    job=
    if ((status == 0)); then
        printf ' %d s\n' $((SECONDS - start))
        return
    fi
    printf ' failed after %d s\n' $((SECONDS - start))
    {
        printf 'setup: step "%s" failed. The last lines it wrote:\n' "${title[$3]}"
        # What pip says after a build's own error only hides it.
        sed '/error: subprocess-exited-with-error/,$d' "$log" | tail -n 15 | sed 's/^/  | /'
        printf 'The whole log: %s\n' "$log"
    } >&2
    exit 1
}

main() {
    local all=(debian venv packages native ffmpeg) steps=("$@") step number=0 idle=1
    for step in "${steps[@]}"; do
        case $step in
        -h | --help) usage && exit ;;
        debian | venv | packages | native | ffmpeg | browser | series | stock | programs | rehearsal) ;;
        *)
            printf 'setup: there is no step "%s"; tools/setup.sh --help lists them.\n' "$step" >&2
            exit 2
            ;;
        esac
    done
    ((${#steps[@]})) || steps=("${all[@]}")
    mkdir -p "$logs" "$cache/build"
    # One setup at a time in a checkout; a second one waits and then finds nothing to do.
    exec 9>"$cache/build/native-$key.lock"
    if ! flock -n 9; then
        echo 'setup: another setup of this checkout is running; waiting for it.'
        flock 9
    fi
    trap interrupted INT TERM
    for step in "${steps[@]}"; do
        number=$((number + 1))
        "${step}_done" && continue
        idle=0
        run_step "$number" "${#steps[@]}" "$step"
    done
    ((idle)) || echo 'setup: done.'
}

main "$@"
