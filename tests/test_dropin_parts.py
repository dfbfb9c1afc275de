# SPDX-License-Identifier: BSD-2-Clause
"""What libavfilter is configured with, and the development files that are fetched for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clarivid.ffmpeg.dropin import build_deps
from clarivid.ffmpeg.dropin.cases import cases
from clarivid.ffmpeg.dropin.configuration import Wanted
from clarivid.ffmpeg.dropin.externals import EXTERNALS

CONFIGURE = """\
LIBRARY_LIST="
    avcodec
    avfilter
"
EXTERNAL_LIBRARY_GPL_LIST="
    libvidstab
"
EXTERNAL_LIBRARY_LIST="
    $EXTERNAL_LIBRARY_GPL_LIST
    libass
    libfribidi
    libfreetype
    libglslang
    libshaderc
    libsoxr
    libx264
    libzimg
"
HWACCEL_AUTODETECT_LIBRARY_LIST="
    ffnvcodec
    vulkan
    videotoolbox
"
cuda_deps="ffnvcodec"
avcodec_suggest="libsoxr videotoolbox"
ass_filter_deps="libass"
drawtext_filter_deps="libfreetype"
drawtext_filter_suggest="libfribidi"
hwupload_cuda_filter_deps="ffnvcodec"
spp_filter_deps="gpl avcodec"
scale_vulkan_filter_deps="vulkan spirv_compiler"
yadif_cuda_filter_deps="!small cuda"
zscale_filter_deps="libzimg const_nan"
"""
FILTERS = ("ass", "drawtext", "scale_vulkan", "spp", "yadif_cuda", "zscale")


def wanted(options: str, *filters: str) -> Wanted:
    return Wanted.of(CONFIGURE, options.split(), filters or FILTERS)


ALL = " ".join(f"--enable-lib{name}" for name in ["ass", "freetype", "fribidi", "glslang", "zimg", "x264"])


def test_the_external_libraries_are_those_of_its_filters_and_no_others() -> None:
    assert wanted(ALL).externals == (
        "ffnvcodec", "libass", "libfreetype", "libfribidi", "libglslang", "libzimg", "vulkan",
    )  # fmt: skip
    assert wanted(ALL, "zscale").externals == ("libzimg",)
    assert wanted(ALL + " --disable-vulkan", "scale_vulkan").externals == ("libglslang",)
    assert wanted(ALL, "spp").externals == ()  # libavcodec's are made for libavcodec


def test_a_library_that_stands_in_for_another_one_counts() -> None:
    configure = CONFIGURE.replace("    libzimg\n", "    libzimg\n    libmfx\n    libvpl\n", 1)
    configure += 'vpp_qsv_filter_deps="libmfx"\n'
    found = Wanted.of(configure, ["--enable-libvpl", "--disable-libmfx"], ["vpp_qsv"])
    assert found.externals == ("libvpl",)
    assert found.lost_without(["libvpl"]) == {"vpp_qsv": ["libvpl"]}
    assert Wanted.of(configure, ["--enable-libmfx"], ["vpp_qsv"]).externals == ("libmfx",)


def test_a_filter_is_lost_with_any_library_that_it_needs() -> None:
    found = wanted(ALL)
    assert found.lost_without([]) == {}
    assert found.lost_without(["libzimg"]) == {"zscale": ["libzimg"]}
    assert found.lost_without(["ffnvcodec"]) == {"yadif_cuda": ["ffnvcodec"]}
    assert found.lost_without(["libglslang"]) == {"scale_vulkan": ["libglslang"]}
    assert wanted(ALL + " --enable-libshaderc").lost_without(["libglslang"]) == {}  # the other one does


def test_a_filter_that_can_do_with_less_is_told_apart_from_a_lost_one() -> None:
    found = wanted(ALL)
    assert found.poorer_without(["libfribidi"]) == {"drawtext": ["libfribidi"]}
    assert found.lost_without(["libfribidi"]) == {}
    assert found.poorer_without(["libfreetype"]) == {}


def test_options_that_change_the_code_stay_and_others_are_named() -> None:
    found = wanted(ALL + " --toolchain=hardened --cpu=x86-64-v2 --enable-gnutls --disable-mmx --enable-gpl")
    flags = found.flags(["libzimg"])
    assert {"--toolchain=hardened", "--cpu=x86-64-v2", "--disable-mmx", "--enable-gpl"} <= set(flags)
    assert "--enable-libass" in flags
    assert "--enable-libzimg" not in flags
    assert "--enable-ffnvcodec" in flags
    (filters,) = [flag for flag in flags if flag.startswith("--enable-filter=")]
    assert filters == (
        "--enable-filter=ass,drawtext,scale_vulkan,spp,yadif_cuda,dnn_sr,lowrank_pre,mesh_inpaint"
    )
    assert found.left_out() == ["--enable-libx264", "--enable-gnutls"]


def test_graphs_need_only_filters_that_are_there() -> None:
    found = [case.shown for case in cases(["testsrc2", "format", "hue", "split", "palettegen", "paletteuse"])]
    assert found == ["hue=h=40:s=1.2", "split[a][b];[a]palettegen[p];[b][p]paletteuse"]


def test_packages_are_named_as_apt_takes_them() -> None:
    names = build_deps.packages_of(EXTERNALS)
    assert "libass-dev" in names
    assert all(name == name.lower() and " " not in name for name in names)


def make_deb(folder: Path) -> Path:
    """A package with a header, a .pc file, and a link to a library that is installed already."""
    root = folder / "pack"
    libraries = root / "usr/lib" / build_deps._triplet()
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: libass-dev\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example>\nDescription: x\n"
    )
    (libraries / "pkgconfig").mkdir(parents=True)
    (libraries / "pkgconfig" / "libass.pc").write_text(
        "prefix=/usr\nlibdir=${prefix}/lib\nName: libass\nDescription: x\nVersion: 0.17.1\n"
        "Libs: -L/usr/lib/there -lass\nCflags: -I${prefix}/include -I/usr/include/more\n"
    )
    (root / "usr/include").mkdir(parents=True)
    (root / "usr/include" / "ladspa.h").write_text("/* */\n")
    installed = next(Path("/usr/lib").glob("*/libc.so.6"))
    (libraries / "libass.so").symlink_to(os.path.relpath(installed, "/usr/lib/" + build_deps._triplet()))
    (libraries / "libabs.so").symlink_to("/usr/include/ladspa.h")
    deb = folder / "libass-dev_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", str(root), str(deb)], check=True, capture_output=True)
    return deb


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="for Debian")
def test_fetched_development_files_are_found_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deb = make_deb(tmp_path)
    monkeypatch.setitem(EXTERNALS, "ladspa", build_deps.External(("ladspa-sdk",), header="ladspa.h"))

    class Archive:
        asked = 0

        def known(self, packages: list[str]) -> list[str]:
            return [name for name in packages if name == "libass-dev"]

        def plan(self, packages: list[str]) -> list[str]:
            return [f"{name} 1" for name in packages]

        def missing(self, packages: list[str], into: Path) -> list[Path]:
            self.asked += 1
            into.mkdir()
            return [Path(shutil.copy(deb, into))]

    archive = Archive()
    said: list[str] = []
    names = ["libass", "ladspa"]
    home = tmp_path / "cache"
    assert build_deps.fetched_before(names, home) is None
    headers = build_deps.fetch(names, archive, home, said.append)  # type: ignore[arg-type]
    assert headers.root is not None
    assert headers.missing([*names, "unheard_of"]) == ["unheard_of"]
    assert "nothing was installed" in said[0]
    text = next(headers.root.rglob("libass.pc")).read_text()
    assert f"prefix={build_deps.LINK}/usr\n" in text
    assert f"-L{build_deps.LINK}/usr/lib/there" in text
    assert f"-I{build_deps.LINK}/usr/include/more" in text
    assert next(headers.root.rglob("libass.so")).exists(), "leads to what is installed"
    assert next(headers.root.rglob("libabs.so")).readlink().parts[0] == "..", "leads into the folder"
    assert build_deps.fetched_before(names, home) == headers
    assert build_deps.fetched_before([*names, "libzmq_of_nobody"], home) is None
    assert build_deps.fetch(names, archive, home, said.append) == headers  # type: ignore[arg-type]
    assert archive.asked == 1
    (headers.root / "system.txt").write_text("ID=another\n")
    assert build_deps.fetched_before(names, home) is None
