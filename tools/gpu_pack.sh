#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Collects what tools/gpu_check.sh needs on a bare GPU machine, which reaches no registry: run it here, take the
# folder along with the checkout, run gpu_check.sh there. A second run does only what is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
limit_mib=60

usage() {
    cat <<'TEXT'
usage: tools/gpu_pack.sh [--lean] [FOLDER]

Packs into FOLDER (default: out/gpu-pack, which git ignores):
  ffmpeg-*.tar.xz   FFmpeg's source, as Debian has it
  prefix.tar.xz     headers of Eigen, nlohmann_json, zimg, ffnvcodec and TensorRT; zimg's library; make, patch
                    and pkgconf, in case the machine has none of its own
  wheels/           the Python packages that ours cannot do without, in case they are missing there
  clips/            1080p H.264, 720p H.265 with 10 bits, and a small lossless one
  lean.tar.xz       with --lean: libnvinfer_lean, 13 MiB, which some tests of TensorRT ask for
  SHA256SUMS        of all of them; gpu_check.sh looks at it first
Checkout and pack together stay below 60 MiB; with --lean, below 80. TensorRT for RTX (62 MiB) and the full TensorRT
are not packed: where the machine has none, the tests that need one say so and are not counted as passed.

Environment:
  PYTHON            a Python with clarivid in it (else the checkout's .venv, which tools/setup.sh makes)
TEXT
}

die() {
    printf 'gpu_pack: %s\n' "$*" >&2
    exit 1
}

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

# Paths of what has to be fetched, one NAME=PATH a line; clarivid's own fetchers keep it in the cache.
fetch() {
    "$python" - <<'PY'
import tarfile

from clarivid import packages
from clarivid.errors import Error
from clarivid.ffmpeg import series, source

try:
    for name in ("libeigen3-dev", "nlohmann-json3-dev", "libzimg-dev", "libzimg2", "make", "patch", "pkgconf-bin",
                 "libpkgconf3"):
        print(f"{name}={packages.fetch_deb(name).root}")
    default = series.get(series.DEFAULT)
    headers = packages.fetch_deb("libffmpeg-nvenc-dev", suite=default.headers_suite)
    print(f"ffnvcodec={headers.root}/usr")
    print(f"ffnvcodec-version={headers.version.split('-')[0]}")
    ffmpeg = source.fetch(default, lambda line: None)
    print(f"ffmpeg-version={ffmpeg.version}")
    folder = next(path for path in ffmpeg.path.parents if (path / "archive").is_dir())
    archives = sorted((folder / "archive").glob("*.orig.tar.*"))
    print(f"ffmpeg={[path for path in archives if tarfile.is_tarfile(path)][0]}")
except Error as error:
    raise SystemExit(f"gpu_pack: {error}") from None
PY
}

# --- Parts of the pack. Each makes one file or folder below $pack, through a temporary name. ---

pack_ffmpeg() {
    local target=$pack/ffmpeg-${got[ffmpeg-version]}.tar.xz
    [[ -f $target ]] && cmp -s "${got[ffmpeg]}" "$target" && return
    rm -f "$pack"/ffmpeg-*.tar.xz
    cp "${got[ffmpeg]}" "$target.part"
    mv "$target.part" "$target"
}

pack_prefix() {
    local prefix=$work/prefix library name recipe
    recipe=$( (cat "${BASH_SOURCE[0]}" && printf '%s\n' "${got[@]}") | sha256sum)
    [[ -f $pack/prefix.tar.xz && -f $pack/.prefix && $(<"$pack/.prefix") == "$recipe" ]] && return
    mkdir -p "$prefix"/{bin,include/eigen3,lib/pkgconfig,share/licences}
    cp -r "${got[libeigen3-dev]}"/usr/include/eigen3/Eigen "$prefix/include/eigen3/"
    rm -rf "$prefix"/include/eigen3/Eigen/src/{Cholmod,Pardiso,PaStiX,KLU,SPQR,SuperLU,UmfPack}Support
    cp -r "${got[nlohmann-json3-dev]}/usr/include/nlohmann" "$prefix/include/"
    cp "${got[libzimg-dev]}"/usr/include/zimg*.h* "$prefix/include/"
    mkdir -p "$prefix/include/ffnvcodec"
    cp "${got[ffnvcodec]}"/include/ffnvcodec/*.h "$prefix/include/ffnvcodec/"
    mkdir -p "$prefix/tensorrt/include"
    cp "$(wheel_folder kernel_lens)"/include/tensorrt/*.h "$prefix/tensorrt/include/"
    library=$(find "${got[libzimg2]}/usr/lib" -name 'libzimg.so.2.*' -type f -print -quit)
    [[ -n $library ]] || die "the Debian package libzimg2 holds no libzimg.so.2; the distribution is another one"
    cp "$library" "$prefix/lib/libzimg.so.2"
    ln -s libzimg.so.2 "$prefix/lib/libzimg.so"
    # CMake's own way to describe a package, for the two that are nothing but headers.
    write_cmake_config Eigen3 3.4.0 Eigen3::Eigen include/eigen3
    write_cmake_config nlohmann_json 3.11.2 nlohmann_json::nlohmann_json include
    # shellcheck disable=SC2016 # pkg-config's variables, not the shell's
    printf '%s\n' 'prefix=${pcfiledir}/../..' '' 'Name: zimg' 'Description: colour and scaling' \
        'Version: 3.0.4' 'Libs: -L${prefix}/lib -lzimg' 'Cflags: -I${prefix}/include' >"$prefix/lib/pkgconfig/zimg.pc"
    # shellcheck disable=SC2016
    printf '%s\n' 'prefix=${pcfiledir}/../..' '' 'Name: ffnvcodec' 'Description: FFmpeg and NVIDIA'"'"'s codecs' \
        "Version: ${got[ffnvcodec-version]}" 'Cflags: -I${prefix}/include' >"$prefix/lib/pkgconfig/ffnvcodec.pc"
    cp "${got[make]}/usr/bin/make" "${got[patch]}/usr/bin/patch" "$prefix/bin/"
    cp "${got[pkgconf-bin]}/usr/bin/pkgconf" "$prefix/bin/"
    cp -L "$(find "${got[libpkgconf3]}/usr/lib" -name 'libpkgconf.so.3' -print -quit)" "$prefix/lib/"
    for name in libeigen3-dev nlohmann-json3-dev libzimg2 make patch pkgconf-bin libpkgconf3; do
        cp -L "${got[$name]}/usr/share/doc/$name/copyright" "$prefix/share/licences/$name" 2>/dev/null ||
            die "the Debian package $name has no copyright file; remove $(dirname "${got[$name]}") and try again"
    done
    tar -C "$work" --sort=name --owner=0 --group=0 --mtime=@0 -cf - prefix | xz -6 -T1 >"$pack/prefix.tar.xz.part"
    mv "$pack/prefix.tar.xz.part" "$pack/prefix.tar.xz"
    printf '%s\n' "$recipe" >"$pack/.prefix"
}

# write_cmake_config PACKAGE VERSION TARGET INCLUDE
write_cmake_config() {
    local folder=$work/prefix/share/cmake/$1
    mkdir -p "$folder"
    cat >"$folder/$1Config.cmake" <<CMAKE
get_filename_component(_prefix "\${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET $3)
  add_library($3 INTERFACE IMPORTED)
  set_target_properties($3 PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "\${_prefix}/$4")
endif()
CMAKE
    cat >"$folder/$1ConfigVersion.cmake" <<CMAKE
set(PACKAGE_VERSION $2)
if(NOT PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
CMAKE
}

# The wheels beside our Python that hold no code of ours: headers, and with --lean a library.
wheel_folder() {
    "$python" -c 'import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])' "$1" \
        2>/dev/null || die "$python has no package $1; run 'tools/setup.sh packages'"
}

pack_lean() {
    local library
    ((with_lean)) || { rm -f "$pack/lean.tar.xz" && return; }
    [[ ! -f $pack/lean.tar.xz ]] || return 0
    library=$(wheel_folder tensorrt_lean_libs)/libnvinfer_lean.so.10
    [[ -f $library ]] || die "there is no $library; run 'tools/setup.sh packages'"
    mkdir -p "$work/lean"
    cp -L "$library" "$work/lean/"
    tar -C "$work" --sort=name --owner=0 --group=0 --mtime=@0 -cf - lean | xz -9e -T1 >"$work/lean.tar.xz"
    mv "$work/lean.tar.xz" "$pack/lean.tar.xz"
}

pack_wheels() {
    local name wanted=()
    for name in pybind11 click rich markdown-it-py mdurl pygments; do # pure Python: they run on any version
        wanted+=("$(grep -ixE "$name==[^ ;]+" "$root/requirements.lock" || true)")
        [[ -n ${wanted[-1]} ]] || die "requirements.lock names no version of $name"
    done
    [[ -f $pack/wheels/.names && $(<"$pack/wheels/.names") == "${wanted[*]}" ]] && return
    rm -rf "$pack/wheels" "$work/wheels"
    "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary=:all: \
        --python-version 3.12 --dest "$work/wheels" "${wanted[@]}" ||
        die "pip could not download ${wanted[*]}; see what it said above"
    printf '%s\n' "${wanted[*]}" >"$work/wheels/.names"
    mv "$work/wheels" "$pack/wheels"
}

pack_clips() {
    "$python" - "$pack/clips" <<'PY'
"""Two coded clips and a lossless one; the folder is made as a whole."""
import subprocess
import sys
from pathlib import Path

from clarivid import clips
from clarivid.errors import Error

HD = ("clip-1080p-h264.mp4", "dog", "crop=1920:1080,format=yuv420p", 40)
SMALL = ("clip-720p-hevc10.mp4", "bunny", "crop=1280:720,format=yuv420p10le", 48)
CODECS = {
    HD[0]: ["-c:v", "libx264", "-preset", "medium", "-crf", "18", "-threads", "1"],
    SMALL[0]: ["-c:v", "libx265", "-preset", "medium", "-crf", "18", "-x265-params", "pools=1:log-level=error"],
}
out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


def make(name: str, *arguments: str) -> None:
    if (out / name).is_file():
        return
    part = out / f".part-{name}"
    command = [clips.encoder(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments, str(part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"gpu_pack: cannot make {name}: {done.stderr.strip().splitlines()[-1:]}")
    part.rename(out / name)


try:
    for name, clip, filters, frames in (HD, SMALL):
        source = clips.find_rd(clip).source_file()
        make(name, "-i", str(source), "-an", "-vf", filters, "-frames:v", str(frames), *CODECS[name])
    source = str(clips.find_rd("bunny").source_file())
    make("lossless-426x240.y4m", "-i", source, "-an", "-vf", "scale=426:240,format=yuv420p", "-frames:v", "12")
except Error as error:
    raise SystemExit(f"gpu_pack: {error}") from None
PY
}

main() {
    if [[ ${1:-} == --lean ]]; then
        with_lean=1 limit_mib=80
        shift
    fi
    case ${1:-} in
    -h | --help) usage && exit ;;
    -*) printf 'gpu_pack: there is no option "%s"; --help lists what there is.\n' "$1" >&2 && exit 2 ;;
    esac
    (($# <= 1)) || { usage >&2 && exit 2; }
    pack=$(realpath -ms -- "${1:-$root/out/gpu-pack}")
    python=${PYTHON:-$root/.venv/bin/python}
    local tool
    for tool in git xz tar cmp sha256sum; do
        command -v "$tool" >/dev/null || die "'$tool' is not installed"
    done
    "$python" -c 'import clarivid.clips' 2>/dev/null ||
        die "$python has no clarivid; run 'tools/setup.sh debian venv packages native' first, or name another with PYTHON"
    if [[ $pack == "$root"/* ]] && ! git -C "$root" check-ignore -q "$pack"; then
        die "$pack lies in the checkout where git would see it; take out/gpu-pack, or a folder outside"
    fi
    if [[ -d $pack && -n $(ls -A "$pack") && ! -f $pack/SHA256SUMS && ! -f $pack/.clarivid-gpu-pack ]]; then
        die "$pack holds other files; name an empty folder, or a pack of before"
    fi
    mkdir -p "$pack"
    touch "$pack/.clarivid-gpu-pack"
    work=$(mktemp -d "$pack/.work.XXXXXX")
    trap 'rm -rf "$work"' EXIT

    local list line
    list=$(fetch) || exit 1
    while IFS= read -r line; do got[${line%%=*}]=${line#*=}; done <<<"$list"
    pack_ffmpeg
    pack_prefix
    pack_wheels
    pack_lean
    pack_clips
    (cd "$pack" && find . -type f ! -name SHA256SUMS ! -name '.*' ! -path './.work*' -print0 | LC_ALL=C sort -z |
        xargs -0 sha256sum) >"$work/SHA256SUMS"
    mv "$work/SHA256SUMS" "$pack/SHA256SUMS"
    rm -rf "$work"

    local packed tracked part
    for part in "$pack"/*; do
        printf '  %-28s %s\n' "$(basename "$part")" "$(mib "$(du -sb "$part" | cut -f1)")"
    done
    packed=$(du -sb "$pack" | cut -f1)
    tracked=$(git -C "$root" ls-files -z | (cd "$root" && xargs -0 du -cb | awk '/\ttotal$/ { sum += $1 } END { print sum }'))
    printf '%s: %s; the checkout, weights included: %s\n' "$pack" "$(mib "$packed")" "$(mib "$tracked")"
    ((packed + tracked <= limit_mib << 20)) ||
        die "together that is more than $limit_mib MiB, which is what may travel; make the clips in tools/gpu_pack.sh shorter"
    printf 'Next, on the GPU machine: tools/gpu_check.sh --pack %s\n' "${pack#"$root/"}"
}

declare -A got=()
pack='' work='' python='' with_lean=0
main "$@"
