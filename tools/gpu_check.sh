#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Builds and checks everything that runs on a GPU, on a machine that has little more than the GPU: CUDA 13's
# compiler, gcc, CMake, ninja, and python3 with PyTorch. What else is needed comes out of a pack that
# tools/gpu_pack.sh made on another machine. Nothing is installed outside the work folder.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
all_steps=(pack environment library ffmpeg kernels tests bench memcheck racecheck)
# Seconds that a step may take at most; and what it is left at least when those before it were slow.
declare -A limit=([pack]=30 [environment]=30 [library]=200 [ffmpeg]=150 [kernels]=90 [tests]=150 [bench]=150
    [memcheck]=75 [racecheck]=75)
declare -A least=([pack]=5 [environment]=5 [library]=90 [ffmpeg]=70 [kernels]=10 [tests]=40 [bench]=50
    [memcheck]=20 [racecheck]=20)

usage() {
    cat <<'TEXT'
usage: tools/gpu_check.sh [OPTION...] [STEP...]

Steps, all of them by default, in this order:
  pack          checks and unpacks what tools/gpu_pack.sh made
  environment   what this machine is
  library       builds the library, its checks and the Python module, for the GPU that was found
  ffmpeg        builds a trimmed FFmpeg with our filters, NVDEC and NVENC
  kernels       every kernel against its reference, on random pictures
  tests         pytest -m gpu tests/gpu
  bench         benchmarks/gpu
  memcheck      the kernels' checks again, small, in compute-sanitizer: no access out of bounds
  racecheck     likewise: no race in shared memory

  --pack DIR            the pack (default: out/gpu-pack)
  --out DIR             where results go (default: $OUT, else out/gpu)
  --work DIR            where things are built; kept, so that a second run is quick (default: out/gpu-work)
  --minutes N           all steps together (default: 9; with --emulated 60)
  --architectures LIST  what kernels are compiled for, such as "90" (default: the GPU here; without one, all)
  --emulated            on the CPU emulator instead of a GPU, with tiny pictures: tries out this script and the
                        tests. Its times say nothing about a GPU, and nothing of it is written as if it were one
Results: summary.json, bench.json, junit.xml, gpu_check.log. Exit code 0: all passed; 1: something failed;
2: wrong usage; 77: there is no GPU here, and what can be done without one passed.
TEXT
}

die() {
    printf 'gpu_check: %s\n' "$2" >&2
    exit "$1"
}

# --- Steps. Each runs in a shell of its own, in $root, with its output in a log; its last line tells why it
# --- failed, or what it did. Exit code 0: passed; 77: there was nothing to do, and the last line says why.

step_pack() {
    local key=$work/prefix/.key
    [[ -f $pack/SHA256SUMS ]] || {
        echo "$pack is no pack: it has no SHA256SUMS. Make one with tools/gpu_pack.sh and take it along."
        return 1
    }
    (cd "$pack" && sha256sum --check --quiet SHA256SUMS) || {
        echo "files in $pack are not those that were packed; take the folder along again"
        return 1
    }
    if ! cmp -s "$pack/SHA256SUMS" "$key"; then
        rm -rf "$work/prefix" "$work/wheels"
        # Python's own xz: the machine may have none.
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' \
            "$pack/prefix.tar.xz" "$work" || return 1
        rm -rf "$work/lean"
        [[ ! -f $pack/lean.tar.xz ]] || "$python" -c \
            'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$pack/lean.tar.xz" "$work" || return 1
        mkdir -p "$work/spare"
        cp "$pack/SHA256SUMS" "$key"
    fi
    local tool
    for tool in make patch; do
        command -v "$tool" >/dev/null || ln -sf "$work/prefix/bin/$tool" "$work/spare/$tool"
    done
    command -v pkg-config >/dev/null || ln -sf "$work/prefix/bin/pkgconf" "$work/spare/pkg-config"
    local wheel name
    for wheel in "$pack"/wheels/*.whl; do
        name=$(basename "$wheel")
        name=${name%%-*}
        "$python" -c "import ${name/markdown_it_py/markdown_it}" 2>/dev/null ||
            "$python" -m zipfile -e "$wheel" "$work/wheels" || return 1
    done
    echo "spare parts in use: $(cd "$work" && find spare wheels -mindepth 1 -maxdepth 1 ! -name '*-info' -printf '%f ')"
}

step_environment() {
    "$python" tools/gpu_report.py environment
}

step_library() {
    local arguments=(-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCLARIVID_BUILD_TESTS=ON -DCLARIVID_PYTHON=ON
        -DCLARIVID_OPENVINO=OFF -DCLARIVID_CUDA=ON "-DCMAKE_PREFIX_PATH=$work/prefix"
        "-DPython_EXECUTABLE=$(command -v "$python")"
        "-Dpybind11_DIR=$("$python" -c 'import pybind11; print(pybind11.get_cmake_dir())')")
    # Headers only: which libnvinfer there is, if any, shows when tests run.
    [[ ! -d $work/prefix/tensorrt ]] || arguments+=("-DTensorRT_ROOT=$work/prefix/tensorrt")
    [[ $architectures == all ]] || arguments+=("-DCLARIVID_CUDA_ARCHITECTURES=$architectures")
    grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt" || rm -rf "$build" # another checkout
    cmake -S . -B "$build" -G Ninja "${arguments[@]}" || {
        echo 'CMake could not configure the library; what it said is in gpu_check.log'
        return 1
    }
    cmake --build "$build" -j "$jobs" || {
        echo 'the library does not compile; see gpu_check.log'
        return 1
    }
    # The layout of a wheel: the Python sources with what CMake installs in their folder.
    mkdir -p "$site/clarivid"
    cp -r python/clarivid/. "$site/clarivid/"
    cmake --install "$build" --prefix "$site/clarivid" >/dev/null || return 1
    "$python" -c 'import clarivid._core as core; print(f"clarivid {core.version()} for", "'"$architectures"'")'
}

step_ffmpeg() {
    local source
    source=$(find "$pack" -maxdepth 1 -name 'ffmpeg-*.tar.xz' -print -quit)
    "$python" -m clarivid ffmpeg build --bare --source "$source" --codec-headers "$work/prefix" --jobs "$jobs" || {
        tail -n 40 "$work"/cache/logs/ffmpeg-*.log
        "$python" -m clarivid ffmpeg build --bare --source "$source" --codec-headers "$work/prefix" 2>&1 |
            grep -m1 error
        return 1
    }
    "$("$python" -m clarivid ffmpeg path --bare)" -hide_banner -version | head -n 1
}

# kernels [OPTION...]
kernels() {
    "$python" tools/gpu_kernels.py --build "$build" --seconds $((allowed - 2)) "$@"
}

step_kernels() { kernels; }

step_tests() {
    # xunit1 keeps what tests measure on the way: largest errors, PSNR.
    "$python" -m pytest -m gpu tests/gpu -p no:cacheprovider --durations=10 --junitxml="$out/junit.xml" \
        -o junit_family=xunit1
}

step_bench() {
    local budget=$((allowed - 20))
    "$python" benchmarks/gpu/run.py --seconds $((budget > 20 ? budget : 20)) --out "$out/bench.json"
}

step_memcheck() {
    if ((emulated)); then
        echo 'compute-sanitizer needs a GPU; the emulator has guard pages and a shuffled order of its own'
        return 77
    fi
    kernels --tool "${1:-memcheck}"
}

step_racecheck() { step_memcheck racecheck; }

# --- Running them. ---

job=

stop_job() {
    [[ -n $job ]] || return 0
    kill -TERM -- "-$job" 2>/dev/null
    sleep 0.5
    kill -KILL -- "-$job" 2>/dev/null
    job=
}

# What a step needs must have passed; prints the first that did not.
lacks() {
    local need
    case $1 in
    library) set -- pack ;;
    ffmpeg | kernels | bench | memcheck | racecheck) set -- library ;;
    tests) set -- library ffmpeg ;;
    *) set -- ;;
    esac
    for need in "$@"; do
        [[ ${result[$need]:-passed} == passed ]] || { echo "$need"; return; }
    done
}

# run_step NAME SECONDS-LEFT-FOR-LATER-STEPS
run_step() {
    local name=$1 log=$work/logs/$1.log start=$SECONDS code=0 said missing
    missing=$(lacks "$name")
    if [[ -n $missing ]]; then
        result[$name]=skipped
        report "$name" skipped 0 "step '$missing' did not pass"
        return
    fi
    if ((no_gpu)) && [[ $name =~ ^(kernels|tests|bench|memcheck|racecheck)$ ]]; then
        result[$name]=skipped
        report "$name" skipped 0 'there is no GPU here'
        return
    fi
    allowed=$((deadline - SECONDS - $2))
    ((allowed < limit[$name] * stretch)) || allowed=$((limit[$name] * stretch))
    ((allowed > 5)) || allowed=5
    printf '%-12s … ' "$name"
    set -m
    (
        set +m
        cd "$root" || exit 1
        "step_$name"
    ) >"$log" 2>&1 </dev/null &
    job=$!
    set +m
    while kill -0 "$job" 2>/dev/null && ((SECONDS - start < allowed)); do sleep 0.2; done
    if kill -0 "$job" 2>/dev/null; then
        stop_job
        code=124
    else
        wait "$job" || code=$?
        job=
    fi
    said=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1 | tr -d '\000-\010\013-\037' | cut -c1-300)
    case $code in
    0) result[$name]=passed ;;
    77) result[$name]=skipped ;;
    124) result[$name]=overdue said="stopped after $allowed s; the last line was: $said" ;;
    *) result[$name]=failed ;;
    esac
    report "$name" "${result[$name]}" $((SECONDS - start)) "$said"
}

# report NAME RESULT SECONDS SENTENCE
report() {
    printf '\r%-12s %-8s %4d s  %s\n' "$1" "$2" "$3" "$4"
    printf '%s\t%s\t%d\t%s\n' "$1" "$2" "$3" "${4//$'\t'/ }" >>"$work/steps.tsv"
    {
        printf '\n======== %s: %s after %d s\n' "$1" "$2" "$3"
        cat "$work/logs/$1.log" 2>/dev/null
    } >>"$out/gpu_check.log"
}

main() {
    local steps=() step index later
    while (($#)); do
        case $1 in
        -h | --help) usage && exit ;;
        --pack | --out | --work | --minutes | --architectures)
            (($# > 1)) || die 2 "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift
            ;;
        --emulated) emulated=1 ;;
        -*) die 2 "there is no option '$1'; --help lists what there is" ;;
        *)
            [[ " ${all_steps[*]} " == *" $1 "* ]] || die 2 "there is no step '$1'; --help lists them"
            steps+=("$1")
            ;;
        esac
        shift
    done
    ((${#steps[@]})) || steps=("${all_steps[@]}")
    pack=$(realpath -m -- "${pack:-$root/out/gpu-pack}")
    out=$(realpath -m -- "${out:-${OUT:-$root/out/gpu}}")
    work=$(realpath -m -- "${work:-$root/out/gpu-work}")
    minutes=${minutes:-$((emulated ? 60 : 9))}
    [[ $minutes =~ ^[1-9][0-9]*$ ]] || die 2 "--minutes is '$minutes'; it takes a whole number from 1 on"
    deadline=$((SECONDS + minutes * 60 - 15))
    stretch=$((minutes > 9 ? (minutes + 8) / 9 : 1))
    build=$work/build site=$work/site jobs=$(nproc)
    mkdir -p "$out" "$work/logs" "$work/spare" "$work/wheels" || die 1 "cannot write to $out and $work"
    rm -f "$out"/{summary.json,bench.json,junit.xml,gpu_check.log} "$work/steps.tsv" "$work"/logs/*.log
    : >"$work/steps.tsv"
    command -v "$python" >/dev/null || die 1 "there is no $python; name a Python 3.10 or newer with PYTHON=/path/to/python3"

    command -v nvcc >/dev/null || [[ ! -x /usr/local/cuda/bin/nvcc ]] || PATH=$PATH:/usr/local/cuda/bin
    PATH=$PATH:$work/spare
    export PATH CLARIVID_CACHE=$work/cache CLARIVID_GPU_PACK=$pack PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
    export PYTHONPATH=$site:$root/tests:$work/wheels${PYTHONPATH:+:$PYTHONPATH}
    export LD_LIBRARY_PATH=$work/prefix/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export CLARIVID_MODEL_PATH=$root/models CLARIVID_GPU_LEAN=$work/lean
    if ((emulated)); then
        export LD_LIBRARY_PATH=$build/emulator:$LD_LIBRARY_PATH CLARIVID_GPU_EMULATED=1
        echo 'gpu_check: on the emulator: this tries out the scripts; no figure is that of a GPU.'
    else
        export CLARIVID_GPU_REQUIRED=1 # a test that finds no device fails, and is not skipped
    fi
    # For whoever wants to go on by hand: `. out/gpu-work/environment`.
    declare -p PATH LD_LIBRARY_PATH "${!CLARIVID_@}" PYTHONPATH PYTHONDONTWRITEBYTECODE >"$work/environment"
    local found
    found=$("$python" "$root/tools/gpu_report.py" device 2>/dev/null) || found=
    if ((!emulated)) && [[ -z $found ]]; then
        no_gpu=1
        echo 'gpu_check: there is no NVIDIA GPU with a driver here: the pack and the builds are checked, nothing is run.'
    fi
    # A GPU that is newer than the compiler runs PTX, which is among all.
    if [[ -n $found ]] && ! nvcc --list-gpu-arch 2>/dev/null | grep -q "compute_$found\$"; then found=all; fi
    ((!emulated)) || found=${found:-90}
    architectures=${architectures:-${found:-all}}

    trap 'stop_job; exit 130' INT TERM
    for index in "${!steps[@]}"; do
        later=0
        for step in "${steps[@]:index+1}"; do later=$((later + least[$step] * stretch)); done
        run_step "${steps[index]}" "$later"
    done
    "$python" "$root/tools/gpu_report.py" summary --steps "$work/steps.tsv" --results "$out" --seconds "$SECONDS" ||
        die 1 'the summary could not be written'
    [[ ! " ${result[*]} " =~ \ (failed|overdue)\  ]] || exit 1
    ((!no_gpu)) || exit 77
}

declare -A result=()
pack='' out='' work='' minutes='' architectures='' build='' site='' python=${PYTHON:-python3}
emulated=0 no_gpu=0 deadline=0 allowed=0 jobs=1 stretch=1
main "$@"
