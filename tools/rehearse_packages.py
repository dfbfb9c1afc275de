# SPDX-License-Identifier: BSD-2-Clause
"""The life of clarivid's packages on a node: from a signed repository to a purge, with jobs that run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import chroots
from chroots import Chroot
from clarivid import ffmpeg
from clarivid.errors import ToolError
from commits import ROOT

Step = Callable[[str], AbstractContextManager[None]]
OURS = ("clarivid-dropin", "clarivid-models", "libclarivid0.1")
FILTERS = "lowrank_pre,dnn_sr=model=game_x2:precision=fp32"
MODEL = "/usr/share/clarivid/models/game_x2/model.onnx"
# What apt and dpkg write for themselves.
_THEIRS = re.compile(r"^/(proc|sys|dev|mnt|tmp|run|var/(lib/(apt|dpkg)|cache|log)|etc/ld\.so\.cache)(/|$)")
# It starts before it has seen all of its input, and writes each line at once.
_JOB = (
    "clarivid-ffmpeg -v error -probesize 40k -analyzeduration 400k -i pipe:0 "
    f"-an -vf {FILTERS} -flush_packets 1 -f framemd5 -y /var/tmp/job.md5"
)


def rehearse(work: Path, packages: Mapping[str, Path], step: Step) -> None:
    """All of it. Raises :class:`ToolError` at the first thing that does not hold."""
    old, new = packages
    files = work / "files"
    files.mkdir(parents=True)
    files.chmod(0o755)
    with step("clips, and what our own FFmpeg makes of them"):
        expected = make_clips(files)
    with step("a repository that is signed with a new key, by the commands of docs/deploy.md"):
        publish(files / "repository", packages)
    with step("a node: minimal Debian with the distribution's ffmpeg"):
        node = chroots.make(work / "node", "bookworm", files)
        node.sh("apt-get -q update && apt-get -qy install --no-install-recommends ffmpeg")
    with step("apt takes the repository with its key, and without it does not"):
        trust(node)
        before = everything(node)
    with step(f"apt installs {old}, with what it depends on"):
        install(node, old)
    with step("nobody, without a home, gets our FFmpeg's pictures to the bit; ffmpeg itself is as it was"):
        works(node, expected)
    with step("a damaged model: dpkg and the filter say so, a reinstall mends it"):
        damage(node, expected)
    with step(
        f"upgrade to {new} while a job runs; it goes on, through a change of size, to the same pictures"
    ):
        upgrade_under_a_job(node, files, new)
    with step("what was installed then is the new version, whole"):
        works(node, expected)
        check_version(node, new)
    with step("a newer ffmpeg in the archive is kept back by apt, with the reason"):
        keeps_ffmpeg_back(node, files)
    with step(f"back to {old}"):
        install(node, old, "--allow-downgrades")
        works(node, expected)
    with step("removed and purged: not a file is left"):
        node.sh(f"apt-get -qy purge {' '.join(OURS)}")
        left = everything(node) ^ before
        if left:
            raise ToolError(f"left behind or gone: {', '.join(sorted(left)[:10])}")
        node.run("ffmpeg", "-v", "error", "-i", "/mnt/clip.mkv", "-f", "null", "-")


def make_clips(folder: Path) -> str:
    """clip.mkv, and job.ts of two sizes; what the filters of our own FFmpeg make of the first."""
    stock = ["ffmpeg", "-v", "error", "-nostdin", "-y"]

    def make(name: str, size: str, seconds: int) -> Path:
        source = f"testsrc2=size={size}:rate=25:duration={seconds}"
        subprocess.run(
            [*stock, "-f", "lavfi", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "25",
             str(folder / name)], check=True,
        )  # fmt: skip
        return folder / name

    clip = make("clip.mkv", "192x108", 1)
    make("first.ts", "160x96", 4)
    make("second.ts", "192x108", 4)
    ours = str(ffmpeg.find(series="7.1").ffmpeg)
    done = subprocess.run(
        [ours, "-v", "error", "-i", str(clip), "-vf", FILTERS, "-f", "framemd5", "-"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return framemd5(done.stdout)


def framemd5(text: str) -> str:
    """The frames' digests, without headers that name the muxer's release."""
    found = [line.rsplit(",", 1)[-1].strip() for line in text.splitlines() if not line.startswith("#")]
    if not found:
        raise ToolError("no frame came out")
    return "\n".join(found)


def page_block(title: str) -> str:
    """The commands of docs/deploy.md that have this title."""
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    found = re.search(rf'^```bash title="{title}"\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ToolError(f'docs/deploy.md has no block with the title "{title}"')
    return found[1]


def publish(folder: Path, packages: Mapping[str, Path]) -> None:
    """A repository of all versions, signed with a key that was made for it."""
    folder.mkdir()
    for source in packages.values():
        for package in source.glob("*.deb"):
            shutil.copy(package, folder)
    home = folder.parent.parent / "keys"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home), "KEY": "rehearsal@clarivid.invalid"}
    try:
        subprocess.run(
            ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", environment["KEY"]],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", page_block("repository")],
            cwd=folder.parent, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ToolError(f"the commands of docs/deploy.md failed: {done.stderr[-2000:]}")
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)


def trust(node: Chroot) -> None:
    """Without the key apt refuses, and a package that was changed after the signature, too."""
    node.write("/etc/apt/sources.list.d/clarivid.list", "deb [trusted=no] file:/mnt/repository ./\n")
    said = node.sh("apt-get -q update 2>&1 >/dev/null | tee /dev/stderr; exit 100", fails=True)
    if "NO_PUBKEY" not in said and "not signed" not in said:
        raise ToolError(f"apt did not mind a key that it does not know: {said}")
    shutil.copy(node.files_of("repository/clarivid.gpg"), node.root / "etc/apt/keyrings/clarivid.gpg")
    node.write(
        "/etc/apt/sources.list.d/clarivid.list",
        "deb [signed-by=/etc/apt/keyrings/clarivid.gpg] file:/mnt/repository ./\n",
    )
    node.sh("apt-get -q update")


def install(node: Chroot, version: str, *options: str) -> None:
    """All our packages of one version."""
    wanted = " ".join(f"{name}={version}" for name in OURS)
    node.sh(f"apt-get -qy install --no-install-recommends {' '.join(options)} {wanted}")
    check_version(node, version)


def check_version(node: Chroot, version: str) -> None:
    """Which version is there, and that not a byte of it was changed."""
    for name in OURS:
        found = node.run("dpkg-query", "-W", "-f", "${Version}", name)
        if found != version:
            raise ToolError(f"{name} is {found} instead of {version}")
        changed = node.run("dpkg", "--verify", name)
        if changed:
            raise ToolError(f"{name} is not what it was: {changed}")


def works(node: Chroot, expected: str) -> None:
    """The filters' pictures, as a user without rights; the stock ffmpeg is what it was."""
    command = ("-v", "error", "-i", "/mnt/clip.mkv", "-vf", FILTERS, "-f", "framemd5", "-")
    got = framemd5(node.run("clarivid-ffmpeg", *command, user="nobody"))
    if got != expected:
        raise ToolError("the pictures are not those of our own FFmpeg")
    said = node.run("ffmpeg", *command, user="nobody", fails=True)
    if "No such filter" not in said:
        raise ToolError(f"the distribution's ffmpeg is changed: {said}")
    out = "-c:v libx264 -crf 23 -c:a copy -y /var/tmp/out.mkv"
    node.sh(f"clarivid-ffmpeg -v error -i /mnt/clip.mkv -vf {FILTERS} {out}", user="nobody")
    size = node.sh("clarivid-ffprobe -v error -show_entries stream=width,height -of csv=p=0 /var/tmp/out.mkv")
    node.sh("rm /var/tmp/out.mkv")
    if size.strip() != "384,216":
        raise ToolError(f"192x108 doubled is {size}")


def damage(node: Chroot, expected: str) -> None:
    """One byte of a model is flipped."""
    path = node.root / MODEL.lstrip("/")
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    told = node.sh("dpkg --verify clarivid-models 2>&1 || true")
    if MODEL not in told:
        raise ToolError(f"dpkg --verify did not see it: {told}")
    said = node.run(
        *("clarivid-ffmpeg", "-v", "error", "-i", "/mnt/clip.mkv", "-vf", FILTERS, "-f", "null", "-"),
        fails=True,
    )
    if "damaged" not in said:
        raise ToolError(f"the filter did not say that its model is damaged: {said}")
    node.sh("apt-get -qy install --reinstall clarivid-models")
    works(node, expected)


def upgrade_under_a_job(node: Chroot, files: Path, version: str) -> None:
    """Half of a stream, the upgrade, and the other half, of another size: a new graph after the upgrade."""
    whole = (files / "first.ts").read_bytes(), (files / "second.ts").read_bytes()

    def job(between: Callable[[], None]) -> str:
        process = node.start("/bin/sh", "-c", _JOB, feed=True)
        assert process.stdin is not None
        try:
            write_all(process.stdin.fileno(), whole[0])
            between()
            if process.poll() is not None:
                raise ToolError(f"the job ended early: {process.communicate()[1]}")
            write_all(process.stdin.fileno(), whole[1])
            _, said = process.communicate()
        finally:
            process.kill()
        if process.returncode != 0:
            raise ToolError(f"the job failed with {process.returncode}: {said[-2000:]}")
        return framemd5((node.root / "var/tmp/job.md5").read_text("utf-8"))

    def wait_for_frames() -> None:
        output = node.root / "var/tmp/job.md5"
        limit = time.monotonic() + 60
        while not (output.is_file() and output.stat().st_size > 2000):
            if time.monotonic() > limit:
                raise ToolError("the job wrote nothing within a minute")
            time.sleep(0.2)

    alone = job(lambda: None)
    (node.root / "var/tmp/job.md5").unlink()

    def upgrade() -> None:
        wait_for_frames()
        install(node, version)

    if job(upgrade) != alone:
        raise ToolError("the job that ran through the upgrade made other pictures")
    (node.root / "var/tmp/job.md5").unlink()


def keeps_ffmpeg_back(node: Chroot, files: Path) -> None:
    """An archive with a later ffmpeg, which is empty: it is never installed."""
    current = node.run("dpkg-query", "-W", "-f", "${Version}", "ffmpeg")
    folder = files / "later"
    (folder / "x/DEBIAN").mkdir(parents=True)
    (folder / "x/DEBIAN/control").write_text(
        f"Package: ffmpeg\nVersion: {current}.1\nArchitecture: amd64\nMaintainer: x <x@x.invalid>\n"
        "Description: later\n",
        encoding="utf-8",
    )
    subprocess.run(
        "dpkg-deb -b x ffmpeg.deb && rm -r x && apt-ftparchive packages . > Packages",
        shell=True, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    source = "/etc/apt/sources.list.d/later.list"
    node.write(source, "deb [trusted=yes] file:/mnt/later ./\n")
    node.sh("apt-get -q update")
    told = node.sh("apt-get -s upgrade")
    node.sh(f"rm {source} && apt-get -q update")
    if not re.search(r"kept back:\n(  .*)*\bffmpeg\b", told) or "Inst ffmpeg" in told or "Remv" in told:
        raise ToolError(f"apt would have taken a newer ffmpeg: {told}")


def write_all(file: int, data: bytes) -> None:
    """Into a pipe, as its reader takes it."""
    while data:
        data = data[os.write(file, data) :]


def everything(node: Chroot) -> set[str]:
    """All paths of the node, but for what apt and dpkg keep."""
    found = node.run("find", "/", "-xdev").splitlines()
    return {path for path in found if not _THEIRS.match(path)}
