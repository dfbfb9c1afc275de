# SPDX-License-Identifier: BSD-2-Clause
"""The clarivid.pc beside the library: what compiles with it, wherever the folder lies."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import clarivid
from clarivid.ffmpeg import library, patching
from clarivid.paths import cache_dir
from ffmpeg_series import not_here

PROGRAM = """
#include <clarivid/clarivid.h>
#include <stdio.h>

int main(void)
{
    clv_context *context = clv_context_create(NULL, NULL);
    const int is_there = context != NULL;

    clv_context_destroy(&context);
    printf("%s %d\\n", clv_version_string(), is_there);
    return 0;
}
"""


def pkg_config(folder: Path, *words: str) -> list[str]:
    """What pkg-config says of clarivid, as the words of a command line."""
    done = subprocess.run(
        ["pkg-config", *words, "clarivid"],
        env={**os.environ, "PKG_CONFIG_PATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout)


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A copy of library, header and clarivid.pc in another folder; its clarivid.pc's folder."""
    lib = library.Library.find()
    prefix = tmp_path / "elsewhere"
    library.copy_if_changed([lib.header], prefix / "include" / "clarivid")
    library.copy_if_changed(lib.files, prefix / "lib")
    library.copy_if_changed([patching.pkg_config_folder() / "clarivid.pc"], prefix / "lib" / "pkgconfig")
    return prefix / "lib" / "pkgconfig"


def test_a_program_is_compiled_by_it_and_starts_wherever_the_folder_lies(moved: Path, tmp_path: Path) -> None:
    (tmp_path / "program.c").write_text(PROGRAM, "utf-8")
    # FFmpeg's configure knows no spaces in paths; pkg-config does.
    moved = moved.parents[1].rename(tmp_path / "another place") / "lib" / "pkgconfig"
    flags = pkg_config(moved, "--cflags", "--libs")
    subprocess.run(["gcc", "program.c", "-o", "program", *flags], cwd=tmp_path, check=True)
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [tmp_path / "program"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"{clarivid.__version__} 1\n"), done.stderr
    assert pkg_config(moved, "--modversion") == [clarivid.__version__]


def test_a_patched_ffmpeg_configures_with_it(moved: Path, tmp_path: Path) -> None:
    source = next((cache_dir() / "packages").glob("debsrc-ffmpeg-*-7.1/tree/ffmpeg-*"), None)
    if source is None:
        not_here("7.1", "the source of FFmpeg 7.1 is not fetched: 'clarivid ffmpeg build' does it")
    tree = Path(shutil.copytree(source, tmp_path / "ffmpeg", symlinks=True))
    patching.plan(tree).carry_out()
    done = subprocess.run(
        ["./configure", "--disable-everything", "--disable-autodetect", "--disable-doc", "--disable-programs",
         "--disable-x86asm", "--disable-network", "--enable-libclarivid",
         "--enable-filter=dnn_sr,lowrank_pre,mesh_inpaint"],
        cwd=tree, env={**os.environ, "PKG_CONFIG_PATH": str(moved)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    components = (tree / "config_components.h").read_text("utf-8")
    for name in ("DNN_SR", "LOWRANK_PRE", "MESH_INPAINT"):
        assert re.search(rf"^#define CONFIG_{name}_FILTER 1$", components, re.MULTILINE)
    assert "-l:libclarivid.so" in (tree / "ffbuild" / "config.mak").read_text("utf-8")
