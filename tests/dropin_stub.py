# SPDX-License-Identifier: BSD-2-Clause
"""A tiny ffmpeg with shared libraries, and a source that libavfilter can be built from in no time."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

MAIN = r"""
#include <stdio.h>
#include <string.h>
const char *avfilter_rows(void);
int av_number(void);
int main(int count, char **words) {
    int version = 0, filters = 0, md5 = 0, graph = 0;
    for (int i = 1; i < count; i++) {
        version |= !strcmp(words[i], "-version");
        filters |= !strcmp(words[i], "-filters");
        md5 |= !strcmp(words[i], "framemd5");
        graph |= !strcmp(words[i], "-filter_complex");
    }
    if (version)
        puts("%(banner)s");
    if (filters)
        printf("Filters:\n  T.. = Timeline support\n%%s", avfilter_rows());
    if (md5)
        printf("#format: frame checksums\n0, 0, 0, 1, 4, %%d\n", av_number());
    if (graph)
        for (int i = 0; i < 4; i++)
            fprintf(stderr, "[Parsed_showinfo_2 @ 0x0] n:%%4d pts: 0\n", i);
    return 0;
}
"""

# As many that are alone in a graph of dropin.cases as have to be compared.
FILTERS = [
    "bilateral", "bwdif", "deband", "edgedetect", "estdif", "format", "hqdn3d", "kerndeint", "smartblur",
    "sobel", "vignette", "w3fdif", "yadif",
]  # fmt: skip
ROWS = "".join(f" T.C {name:<17} V->V       A filter.\n" for name in FILTERS)
ROWS += " ... testsrc2          |->V       A pattern.\n"
STOCK = (
    "const char *avfilter_rows(void) { return {rows}; }\n"
    "int av_buffersink_get_w(void) { return av_number(); }\n"
)

# What an FFmpeg's configure says, and does: a word for each call, and a config.h.
CONFIGURE = """\
#!/bin/sh
LIBRARY_LIST="
    avfilter
    avutil
"
EXTERNAL_LIBRARY_LIST="
    libzimg
    libnowhere
"
EXTERNAL_AUTODETECT_LIBRARY_LIST="
    zlib
"
zscale_filter_deps="libzimg"
nowhere_filter_deps="libnowhere"
echo call >> configure.calls
printf '%s\\n' "$@" > configure.arguments
echo '#define FFMPEG_CONFIGURATION "ours"' > config.h
"""

MAKEFILE = """\
libavfilter/libavfilter.so.8: libavfilter/all.c
\t@echo call >> make.calls
\t@printf "CC\\t%s\\n" $@
\tgcc -shared -fPIC -Wl,-soname,libavfilter.so.8 -Wl,--version-script=libavfilter/libavfilter.v \\
\t    -o $@ libavfilter/all.c -Llibavutil -lavutil
"""

SCRIPT = "LIB%s_%d { global: av*; local: *; };\n"

PATCH = """\
--- a/libavfilter/all.c
+++ b/libavfilter/all.c
@@ -1 +1,2 @@
+#define PATCHED
 /* filters */
"""

OURS = "".join(f" ... {name:<17} V->V       Ours.\\n" for name in ("dnn_sr", "lowrank_pre", "mesh_inpaint"))


def c_string(text: str) -> str:
    """``text`` as a literal of C."""
    return '"' + text.replace("\n", "\\n") + '"'


@dataclass
class Stub:
    """The files: ``program`` an ffmpeg, ``source`` the folder it was built from, ``libraries`` its own."""

    folder: Path
    version: str = "5.1.9"
    numbers: str = "  8. 44.100 /   8. 44.100"
    rows: str = ROWS
    configuration: str = "--prefix=/usr --enable-gpl --enable-libx264"
    number: int = 7
    program: Path = field(init=False)
    source: Path = field(init=False)
    libraries: Path = field(init=False)

    def __post_init__(self) -> None:
        self.program = self.folder / "bin" / "ffmpeg"
        self.libraries = self.folder / "lib"
        self.source = self.folder / "ffmpeg-5.1.9"

    def banner(self) -> str:
        """What it answers to -version."""
        return (
            f"ffmpeg version {self.version} Copyright (c) 2000-2026 the FFmpeg developers\n"
            f"built with gcc 12\nconfiguration: {self.configuration}\n"
            f"libavutil      57. 28.100 /  57. 28.100\nlibavfilter    {self.numbers}\n"
        )

    def install(self) -> Stub:
        """Compile program and libraries."""
        self.libraries.mkdir(parents=True, exist_ok=True)
        self.program.parent.mkdir(exist_ok=True)
        self.library("avutil", 57, f"int av_number(void) {{ return {self.number}; }}\n")
        text = STOCK.replace("{rows}", c_string(self.rows))
        self.library("avfilter", 8, text, "-lavutil")
        main = self.folder / "main.c"
        main.write_text(MAIN % {"banner": self.banner().replace("\n", "\\n")})
        compile_c(
            main, self.program, f"-L{self.libraries}", "-lavfilter", "-lavutil",
            f"-Wl,--disable-new-dtags,-rpath-link,{self.libraries}",
        )  # fmt: skip
        return self

    def library(self, name: str, major: int, text: str, *flags: str) -> Path:
        """Compile one shared library, with versions on its symbols."""
        source = self.folder / f"{name}.c"
        source.write_text(text)
        script = self.folder / f"{name}.v"
        script.write_text(SCRIPT % (name.upper(), major))
        path = self.libraries / f"lib{name}.so.{major}"
        path.unlink(missing_ok=True)
        compile_c(
            source, path, "-shared", "-fPIC", f"-Wl,-soname,lib{name}.so.{major}",
            f"-Wl,--version-script={script}", f"-L{self.libraries}", *flags,
        )  # fmt: skip
        link = self.libraries / f"lib{name}.so"
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        return path

    def unpack(self, body: str | None = None) -> Path:
        """Write the source: ``body`` is the C of its libavfilter, which has our filters without it."""
        rows = c_string(self.rows)[:-1] + OURS + '"'
        body = body if body is not None else STOCK.replace("{rows}", rows)
        for name, major, minor in (("avfilter", 8, 44), ("avutil", 57, 28)):
            folder = self.source / f"lib{name}"
            folder.mkdir(parents=True, exist_ok=True)
            upper = f"LIB{name.upper()}_VERSION"
            (folder / "version_major.h").write_text(f"#define {upper}_MAJOR {major}\n")
            (folder / "version.h").write_text(f"#define {upper}_MINOR  {minor}\n#define {upper}_MICRO 100\n")
        (self.source / "RELEASE").write_text(f"{self.version}\n")
        (self.source / "configure").write_text(CONFIGURE)
        (self.source / "configure").chmod(0o755)
        (self.source / "Makefile").write_text(MAKEFILE)
        (self.source / "libavfilter" / "libavfilter.v").write_text(SCRIPT % ("AVFILTER", 8))
        # Our own file is patched, and calls into libavutil so that it is bound to it.
        (self.source / "libavfilter" / "all.c").write_text(
            "/* filters */\nint av_number(void);\nint avfilter_use(void);\n" + body
        )
        return self.source


def compile_c(source: Path, into: Path, *flags: str) -> None:
    """Run gcc."""
    command = ["gcc", "-w", "-o", str(into), str(source), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


__all__ = ["FILTERS", "OURS", "PATCH", "ROWS", "STOCK", "Stub", "c_string", "compile_c"]
