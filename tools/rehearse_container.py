# SPDX-License-Identifier: BSD-2-Clause
"""packaging/Dockerfile, built and run by buildah; no registry is asked, the base is the minimal Debian."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import chroots
from clarivid.errors import ToolError
from clarivid.paths import cache_dir
from commits import ROOT
from rehearse_packages import FILTERS, framemd5, make_clips

Step = Callable[[str], AbstractContextManager[None]]
BASE = "localhost/minimal:bookworm"
IMAGE = "localhost/clarivid"
# What Debian's images for containers leave out of every package.
SLIM = (
    "path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\npath-exclude /usr/share/man/*\n"
)


class Buildah:
    """buildah with a store of its own."""

    def __init__(self, store: Path) -> None:
        if shutil.which("buildah") is None:
            raise ToolError("buildah is missing: apt-get install -y --no-install-recommends buildah")
        self.store = [
            "--root",
            str(store / "store"),
            "--runroot",
            str(store / "run"),
            "--storage-driver",
            "vfs",
        ]

    def __call__(self, command: str, *words: str | Path) -> str:
        done = subprocess.run(
            ["buildah", *self.store, command, *map(str, words)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ToolError(
                f"buildah {command} failed ({done.returncode}): {(done.stdout + done.stderr)[-3000:]}"
            )
        return done.stdout.strip()


def rehearse(work: Path, packages: Mapping[str, Path], step: Step) -> None:
    """Build, look at and run the image. Raises :class:`ToolError` at the first thing that does not hold."""
    files = work / "files"
    files.mkdir(parents=True)
    buildah = Buildah(work)
    with step("clips, and what our own FFmpeg makes of them"):
        expected = make_clips(files)
    with step("a base image of the minimal Debian, without a registry"):
        import_base(buildah, work)
    *_, context = packages.values()
    with step("packaging/Dockerfile"):
        build(buildah, context)
    with step("a package that was changed is refused"):
        tampered = work / "tampered"
        shutil.copytree(context, tampered)
        models = next(tampered.glob("clarivid-models*.deb"))
        models.write_bytes(models.read_bytes()[:-1] + b"x")
        try:
            build(buildah, tampered)
        except ToolError as error:
            if "FAILED" not in str(error):
                raise
        else:
            raise ToolError("the image was built from a package that is not what SHA256SUMS says")
    with step("the image: user, entry point, no packages in it, and our pictures to the bit"):
        image = json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]
        config = image["config"]
        if config["User"] != "10001":
            raise ToolError(f"the image runs as {config['User'] or 'root'}")
        name = buildah("from", IMAGE)

        def run(*words: str) -> str:
            return buildah(
                "run", "--isolation", "chroot", "--volume", f"{files}:/work/in:ro", name, "--", *words
            )

        if run("id", "-u") != "10001":
            raise ToolError("the image's commands run as another user")
        left = run(
            "sh",
            "-c",
            "find /packages /var/cache/apt /var/lib/apt/lists -type f -size +64k 2>/dev/null || true",
        )
        if left:
            raise ToolError(f"the image holds what only its making needed: {left}")
        got = run(
            *config["Entrypoint"], "-v", "error", "-i", "in/clip.mkv", "-vf", FILTERS, "-f", "framemd5", "-"
        )
        if framemd5(got) != expected:
            raise ToolError("the pictures are not those of our own FFmpeg")
        if "Enlarge video" not in run(*config["Entrypoint"], *config["Cmd"]):
            raise ToolError("the image's own command does not show the filter")
    with step("how large it is"):
        size = int(run("sh", "-c", "du -sxk / 2>/dev/null | cut -f1")) / 1024
        base = chroots.minimal("bookworm").stat().st_size / (1 << 20)
        print(f" {size:.0f} MiB, {base:.0f} of them the base;", end="")


def import_base(buildah: Buildah, work: Path) -> None:
    """The minimal system as an image, with the habits of Debian's own images."""
    chroot = chroots.make(work / "base", "bookworm")
    chroot.write("/etc/dpkg/dpkg.cfg.d/docker", SLIM)
    chroot.write("/etc/apt/apt.conf.d/docker", 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n')
    name = buildah("from", "scratch")
    buildah("add", "--quiet", name, chroot.root, "/")
    buildah("commit", "--quiet", name, BASE)
    buildah("rm", name)
    shutil.rmtree(chroot.root)


def build(buildah: Buildah, context: Path) -> None:
    """`docker build -f packaging/Dockerfile CONTEXT`; apt's archives are kept for the next time."""
    archives = cache_dir() / "rehearsal" / "archives"
    buildah(
        *("build", "--isolation", "chroot", "--build-arg", f"BASE={BASE}", "--tag", IMAGE),
        *(
            "--volume",
            f"{archives}:/var/cache/apt/archives",
            "--file",
            ROOT / "packaging/Dockerfile",
            context,
        ),
    )
