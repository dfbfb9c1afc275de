# SPDX-License-Identifier: BSD-2-Clause
"""Minimal systems in folders, to try packages and images in: made by debootstrap, entered by chroot, as root.

Mirror, keyring and suites are those of this machine's apt. What is fetched is kept in the cache
(``rehearsal/``): the minimal system as one archive, packages as apt keeps them. Each command runs in its own
mount and process namespace: nothing stays mounted, and nothing goes on when it has ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from clarivid.errors import ToolError
from clarivid.packages import apt_mirror
from clarivid.paths import cache_dir

TOOLS = ("debootstrap", "unshare", "chroot", "mount", "tar")
# What a command sees: a /proc of its own processes, devices, apt's archives, and files of ours at /mnt.
_ENTER = """
set -e
mount -t proc proc "$1/proc"
for device in null zero full random urandom tty; do
    touch "$1/dev/$device" && mount --bind "/dev/$device" "$1/dev/$device"
done
mkdir -p "$1/dev/shm" "$1/mnt" && mount -t tmpfs tmpfs "$1/dev/shm"
mount --bind "$2" "$1/var/cache/apt/archives"
[ -z "$3" ] || mount --bind -o ro "$3" "$1/mnt"
root=$1 user=$4 folder=$5
shift 5
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check() -> None:
    """Raises :class:`ToolError` where chroots cannot be made."""
    if os.geteuid() != 0:
        raise ToolError("only root can make a chroot: run it with sudo")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise ToolError(f"{', '.join(missing)} is missing: apt-get install -y debootstrap")


def sources() -> str:
    """This machine's Debian archives, security updates among them, as one-line sources."""
    fields = "$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", fields], capture_output=True, text=True, check=True
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    found = {
        f"deb {row[2]} {row[3]} {row[4]}"
        for row in rows
        if len(row) == 5 and row[0] == "Packages" and row[1] == "Debian" and not row[2].startswith("file:")
    }
    return "".join(f"{line}\n" for line in sorted(found))


class Chroot:
    """One system; ``files`` of this machine are seen at /mnt, read only."""

    def __init__(self, root: Path, files: Path | None = None) -> None:
        self.root = root
        self.files = files
        self.archives = cache_dir() / "rehearsal" / "archives"
        (self.archives / "partial").mkdir(parents=True, exist_ok=True)

    def command(self, *words: str, user: str, folder: str, environment: Mapping[str, str]) -> list[str]:
        """The command that runs ``words`` in there."""
        return [
            *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
            *("env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"),
            *(f"{key}={value}" for key, value in environment.items()),
            *("/bin/sh", "-c", _ENTER, "enter", str(self.root), str(self.archives), str(self.files or "")),
            *(user, folder, *words),
        ]

    def files_of(self, name: str) -> Path:
        """What is /mnt/``name`` in there."""
        assert self.files is not None
        return self.files / name

    def start(
        self,
        *words: str,
        user: str = "root",
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        feed: bool = False,
    ) -> subprocess.Popen[str]:
        """Start a command; stdout and stderr are pipes, stdin too when it is fed."""
        return subprocess.Popen(
            self.command(*words, user=user, folder=folder, environment=environment or {}),
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip

    def run(
        self,
        *words: str,
        user: str = "root",
        folder: str = "/",
        environment: Mapping[str, str] | None = None,
        fails: bool = False,
    ) -> str:
        """Run a command and return what it printed; with ``fails`` it has to fail, and stderr is returned.

        Raises :class:`ToolError` with the end of what it said when it ends otherwise.
        """
        process = self.start(*words, user=user, folder=folder, environment=environment)
        printed, said = process.communicate()
        if (process.returncode != 0) != fails:
            raise ToolError(
                f"'{' '.join(words)}' {'did not fail' if fails else f'failed ({process.returncode})'}:\n"
                f"{(printed + said)[-3000:]}"
            )
        return said if fails else printed

    def sh(self, script: str, *, user: str = "root", folder: str = "/", fails: bool = False) -> str:
        """The same for a shell script."""
        return self.run("/bin/sh", "-euc", script, user=user, folder=folder, fails=fails)

    def write(self, path: str, text: str) -> None:
        """Write a file in there."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def minimal(suite: str) -> Path:
    """An archive of a minimal Debian, made once: debootstrap's minbase, with updates."""
    archive = cache_dir() / "rehearsal" / f"{suite}.tar"
    if archive.is_file():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        root = Path(folder) / "root"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", suite, str(root), apt_mirror()[0]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ToolError(f"debootstrap failed: {done.stdout[-1500:]}")
        system = Chroot(root)
        system.write("/etc/apt/sources.list", sources())
        system.sh("apt-get -q update && apt-get -qy upgrade && rm -rf /var/lib/apt/lists/*")
        shutil.rmtree(root / "var/cache/apt")  # debootstrap's own downloads
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        draft = Path(folder) / archive.name
        subprocess.run(["tar", "-C", str(root), "-cf", str(draft), "."], check=True)
        draft.rename(archive)
    return archive


def make(folder: Path, suite: str, files: Path | None = None) -> Chroot:
    """A fresh minimal system in an empty folder; it finds packages as this machine does."""
    check()
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-C", str(folder), "-xf", str(minimal(suite))], check=True)
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, folder / name.lstrip("/"))
    return Chroot(folder, files)
