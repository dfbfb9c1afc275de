# SPDX-License-Identifier: BSD-2-Clause
"""The machine's own archives, as apt is configured with them, are read in both of apt's formats."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clarivid import apt, packages
from clarivid.errors import ToolError

LINES = """\
# deb http://mirror.example/old old main
deb http://mirror.example/debian trixie main contrib  # ours
deb-src [signed-by=/keys/a.gpg arch=amd64,arm64] http://mirror.example/debian/ trixie main
deb cdrom:[Debian 13]/ trixie main
"""

DEB822 = """\
Types: deb
URIs: http://archive.example/ubuntu
Suites: noble noble-updates
# a remark
Components: main universe
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFufwdoBEADv
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://archive.example/off
Suites: noble
Components: main
"""


def test_entries_of_one_line_are_read() -> None:
    first, second, third = apt.parse_lines(LINES)
    assert first == {
        "types": "deb",
        "uris": "http://mirror.example/debian",
        "suites": "trixie",
        "components": "main contrib",
    }
    assert second["signed-by"] == "/keys/a.gpg"
    assert second["architectures"] == "amd64 arm64"
    assert third["uris"].startswith("cdrom:")


def test_entries_of_several_lines_keep_their_keys_and_those_switched_off_are_left_out() -> None:
    (entry,) = apt.parse_deb822(DEB822)
    assert entry["suites"] == "noble noble-updates"
    text = apt.write_deb822([entry, dict(entry)], "deb deb-src")
    assert text.count("Types: deb deb-src\n") == 1, "the same archive twice is one"
    assert " mQINBFufwdoBEADv\n -----END PGP PUBLIC KEY BLOCK-----\n" in text
    assert apt.parse_deb822(text) == [{**entry, "types": "deb deb-src"}]


def test_media_that_somebody_has_to_insert_are_no_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources.list").write_text(LINES)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "ubuntu.sources").write_text(DEB822)
    (tmp_path / "parts" / "ignored.txt").write_text(LINES)
    said = f"L='{tmp_path}/sources.list'\nP='{tmp_path}/parts/'\n"
    monkeypatch.setattr(apt, "_read", lambda _: said)
    assert [entry["uris"].rstrip("/") for entry in apt.own_sources()] == [
        "http://mirror.example/debian",
        "http://mirror.example/debian",
        "http://archive.example/ubuntu",
    ]


def test_only_archives_of_whoever_publishes_the_package_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(command: list[str]) -> str:
        if "madison" in command:
            return " libavfilter8 | 7:5.1.9 | http://d.example/debian bookworm/main amd64 Packages\n"
        return (
            "Debian|http://d.example/debian/\nDebian|http://d.example/security/\nOthers|http://o.example/x/\n"
        )

    monkeypatch.setattr(apt, "_read", read)
    places = ("http://d.example/debian", "http://d.example/security/", "http://o.example/x")
    entries = [{"uris": uri} for uri in places]
    assert apt.of_distribution(entries, "libavfilter8") == entries[:2]
    monkeypatch.setattr(apt, "_read", lambda _: "")
    assert apt.of_distribution(entries, "libavfilter8") == entries  # no lists that would tell


def test_packages_are_known_however_apt_pads_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "libass-dev | 1:0.17.1-1+deb12u1 | http://d.example/debian bookworm/main amd64 Packages\n"
        "    lv2-dev |     1.18.4-2 | http://d.example/debian bookworm/main amd64 Packages\n"
        "  ffmpeg | 7:5.1.9 | http://d.example/debian bookworm/main Sources\n"
    )
    monkeypatch.setattr(apt, "_run", lambda *_: subprocess.CompletedProcess([], 0, said, ""))
    archive = apt.Archive(tmp_path, ())
    assert archive.known(["ffmpeg", "libass-dev", "lv2-dev", "nothing"]) == ["libass-dev", "lv2-dev"]


def test_a_machine_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
    monkeypatch.setattr(apt.shutil, "which", lambda _: None)
    with pytest.raises(ToolError, match="no apt on this machine"), apt.archive("ffmpeg"):
        pass


def test_a_source_package_has_the_patches_of_the_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Format 3.0 (quilt): what upstream has, then debian/, then the patches in their order."""
    if shutil.which("patch") is None:
        pytest.skip("patch is not installed")
    upstream, debian = tmp_path / "player-1.2", tmp_path / "debian"
    upstream.mkdir()
    (upstream / "a.c").write_text("one\n")
    (debian / "patches").mkdir(parents=True)
    (debian / "patches" / "series").write_text("# in this order\nfirst.patch -p1\n\nsecond.patch\n")
    for name, old, new in (("first", "one", "two"), ("second", "two", "three")):
        text = f"--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-{old}\n+{new}\n"
        (debian / "patches" / f"{name}.patch").write_text(text)

    class Archive:
        def source(self, name: str, version: str, into: Path) -> None:
            assert (name, version) == ("player", "1:1.2-3")
            tar = ["tar", "-C", str(tmp_path), "-cJf"]
            subprocess.run([*tar, str(into / "player_1.2.orig.tar.xz"), "player-1.2"], check=True)
            subprocess.run([*tar, str(into / "player_1.2-3.debian.tar.xz"), "debian"], check=True)
            (into / "player_1.2-3.dsc").write_text("Format: 3.0 (quilt)\n")

    class Archives:
        def __enter__(self) -> Archive:
            return Archive()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(apt, "archive", lambda _: Archives())
    found = packages.fetch_patched_source("player", "1:1.2-3", "libplayer1")
    assert (found.root / "player-1.2" / "a.c").read_text() == "three\n"
    monkeypatch.setattr(apt, "archive", lambda _: pytest.fail("fetched twice"))
    assert packages.fetch_patched_source("player", "1:1.2-3", "libplayer1") == found
