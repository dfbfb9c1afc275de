# SPDX-License-Identifier: BSD-2-Clause
"""The external libraries that FFmpeg's filters are made with, and how to see whether they can be had."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class External:
    """One of them: what shows that its development files are there, and the packages that bring them.

    ``modules`` are pkg-config's names, ``header`` a header that has to be found, ``program`` one to run;
    ``cplusplus``: it is linked with the C++ library, which not every machine with a C compiler has.
    ``packages`` are those of Debian and Ubuntu.
    """

    packages: tuple[str, ...]
    modules: tuple[str, ...] = ()
    header: str = ""
    program: str = ""
    cplusplus: bool = False


EXTERNALS: dict[str, External] = {
    "cuda_llvm": External(("clang",), program="clang"),
    "ffnvcodec": External(("libffmpeg-nvenc-dev",), ("ffnvcodec",)),
    "frei0r": External(("frei0r-plugins-dev",), header="frei0r.h"),
    "ladspa": External(("ladspa-sdk",), header="ladspa.h"),
    "lcms2": External(("liblcms2-dev",), ("lcms2",)),
    "libass": External(("libass-dev",), ("libass",)),
    "libbs2b": External(("libbs2b-dev",), ("libbs2b",)),
    "libflite": External(("flite1-dev",), header="flite/flite.h"),
    "libfontconfig": External(("libfontconfig-dev",), ("fontconfig",)),
    "libfreetype": External(("libfreetype-dev",), ("freetype2",)),
    "libfribidi": External(("libfribidi-dev",), ("fribidi",)),
    "libglslang": External(
        ("glslang-dev", "spirv-tools", "g++"),
        header="glslang/Include/glslang_c_interface.h",
        cplusplus=True,
    ),
    "libharfbuzz": External(("libharfbuzz-dev",), ("harfbuzz",)),
    "liblensfun": External(("liblensfun-dev",), ("lensfun",)),
    "libmfx": External(("libmfx-dev",), ("libmfx",)),
    "libmysofa": External(("libmysofa-dev",), ("libmysofa",)),
    "libopencv": External(("libopencv-dev",), ("opencv4",)),
    "libopenvino": External(("libopenvino-dev",), ("openvino",)),
    "libplacebo": External(("libplacebo-dev",), ("libplacebo",)),
    "libqrencode": External(("libqrencode-dev",), ("libqrencode",)),
    "libquirc": External(("libquirc-dev",), header="quirc.h"),
    "librubberband": External(("librubberband-dev",), ("rubberband",)),
    "libshaderc": External(("libshaderc-dev",), ("shaderc",)),
    "libtesseract": External(("libtesseract-dev",), ("tesseract",)),
    "libvidstab": External(("libvidstab-dev",), ("vidstab",)),
    "libvmaf": External(("libvmaf-dev",), ("libvmaf",)),
    "libvpl": External(("libvpl-dev",), ("vpl",)),
    "libzimg": External(("libzimg-dev",), ("zimg",)),
    "libzmq": External(("libzmq3-dev",), ("libzmq",)),
    "lv2": External(("lv2-dev", "liblilv-dev"), ("lilv-0",)),
    "opencl": External(("ocl-icd-opencl-dev", "opencl-headers"), header="CL/cl.h"),
    "pocketsphinx": External(("libpocketsphinx-dev",), ("pocketsphinx",)),
    "vaapi": External(("libva-dev",), ("libva",)),
    "vulkan": External(("libvulkan-dev",), ("vulkan",)),
}
"""By the names of FFmpeg's configure."""

__all__ = ["EXTERNALS", "External"]
