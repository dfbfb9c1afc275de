# SPDX-License-Identifier: BSD-2-Clause
"""The Debian packages: what is in them, what they need, that they work where they are put, and how they go.

They are made as `make deb` makes them, but for the compression, and installed into folders, so that nothing
of this machine changes. A node that is a system of its own is rehearsed by `make rehearse`.
"""

from __future__ import annotations

import configparser
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import filter_tools
from clarivid.errors import Error
from clarivid.ffmpeg import dropin as dropins
from conftest import ROOT
from doc_blocks import blocks

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("dpkg-deb", "dpkg-gencontrol"))), reason="dpkg-dev is not installed"
)
PLACES = re.compile(rb"(?<![\w.])/(?:root|home|tmp|work|build|opt)/[\w.+/-]{2,}")
# Of lintian's: the maintainer has no address, and tests have no time to compress.
LEFT_OUT = "bogus-mail-host,uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball"
OLD, NEW = "0.1.0~test1", "0.1.0~test2"


def call(*words: str | Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


def build(out: Path, version: str, *options: str) -> dict[str, Path]:
    """Packages by their names."""
    tool = ROOT / "tools" / "deb.py"
    call(sys.executable, tool, "--out", out, "--version", version, "--compression", "none", *options)
    return {path.name.partition("_")[0]: path for path in sorted(out.glob("*.deb"))}


def dropin() -> Path | None:
    """The drop-in that the cache has for this machine's ffmpeg (`tools/setup.sh stock` makes it)."""
    try:
        return dropins.find().root
    except Error:
        return None


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = dropin()
    return build(tmp_path_factory.mktemp("deb"), OLD, *([] if made is None else ["--dropin", str(made)]))


@pytest.fixture(scope="module")
def library(packages: dict[str, Path]) -> str:
    """The name of the library's package."""
    (name,) = (name for name in packages if re.fullmatch(r"libclarivid\d.*", name))
    return name


@pytest.fixture(scope="module")
def trees(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each package unpacked in a folder of its own, with its control files in DEBIAN."""
    folder = tmp_path_factory.mktemp("trees")
    for name, path in packages.items():
        call("dpkg-deb", "--raw-extract", path, folder / name)
    return {name: folder / name for name in packages}


@pytest.fixture(scope="module")
def node(packages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them unpacked over each other, as on a machine."""
    folder = tmp_path_factory.mktemp("node")
    for path in packages.values():
        call("dpkg-deb", "--extract", path, folder)
    return folder


def control(tree: Path) -> dict[str, str]:
    """The fields of a package."""
    text = (tree / "DEBIAN" / "control").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+): (.*(?:\n .*)*)", text, re.MULTILINE))


def files(tree: Path) -> list[str]:
    """The paths in a package that are no folders."""
    found = (path for path in tree.rglob("*") if not path.is_dir() or path.is_symlink())
    return sorted(str(path.relative_to(tree)) for path in found if "DEBIAN" not in path.parts)


def triplet() -> str:
    return call("dpkg-architecture", "-qDEB_HOST_MULTIARCH").stdout.strip()


def test_the_library_has_its_backends_and_openvino_in_a_folder_of_its_own(
    trees: dict[str, Path], library: str
) -> None:
    lib = f"usr/lib/{triplet()}"
    found = files(trees[library])
    abi = library.removeprefix("libclarivid")
    assert f"{lib}/libclarivid.so.{abi}" in found
    assert {f"{lib}/clarivid/libclarivid_{name}.so" for name in ("cpu", "openvino")} <= set(found)
    assert any(re.match(rf"{lib}/clarivid/openvino/libopenvino\.so\.\d+$", path) for path in found)
    assert not [path for path in found if "dummy" in path], "the backend for tests is no user's"
    # The linker's cache is told; nothing but libclarivid is on the system's library path.
    assert (trees[library] / "DEBIAN" / "triggers").read_text("utf-8") == "activate-noawait ldconfig\n"
    assert [path for path in found if Path(path).parent == Path(lib)] == [f"{lib}/libclarivid.so.{abi}"]


def test_models_come_in_a_package_for_every_architecture(trees: dict[str, Path]) -> None:
    tree = trees["clarivid-models"]
    assert control(tree)["Architecture"] == "all"
    for bundle in (ROOT / "models").iterdir():
        card = json.loads((tree / "usr/share/clarivid/models" / bundle.name / "card.json").read_text("utf-8"))
        for name, entry in card["files"].items():
            data = (tree / "usr/share/clarivid/models" / bundle.name / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]


def test_dependencies_are_those_of_the_binaries_and_of_one_version(
    trees: dict[str, Path], library: str
) -> None:
    needs = control(trees[library])["Depends"]
    assert re.search(r"libc6 \(>= 2\.\d+\)", needs)
    assert re.search(r"libstdc\+\+6 \(>= \d+", needs)
    assert f"clarivid-models (= {OLD})" in needs
    assert not re.search(r"openvino|tbb|zimg|cuda|nvinfer|python", needs), (
        "those are included, or opened on demand"
    )
    assert f"{library} (= {OLD})" in control(trees["libclarivid-dev"])["Depends"]
    # Whoever links with the library gets a dependency on this version or a later one.
    assert (trees[library] / "DEBIAN" / "shlibs").read_text("utf-8").split(None, 3)[2:] == [
        library,
        f"(>= {OLD})\n",
    ]


def test_every_file_is_roots_listed_in_md5sums_and_of_nobodys_machine(
    trees: dict[str, Path], packages: dict[str, Path]
) -> None:
    for name, tree in trees.items():
        listing = call("dpkg-deb", "--contents", packages[name]).stdout.splitlines()
        assert all(" root/root " in line for line in listing)
        modes = {line.split()[0] for line in listing}
        assert modes <= {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}
        sums = dict(
            reversed(line.split("  ", 1))
            for line in (tree / "DEBIAN" / "md5sums").read_text("utf-8").splitlines()
        )
        real = [path for path in files(tree) if not (tree / path).is_symlink()]
        assert sorted(sums) == real
        assert all(hashlib.md5((tree / path).read_bytes()).hexdigest() == sums[path] for path in real)
        ours = [path for path in real if "/openvino/" not in path]
        assert not {path: found for path in ours if (found := PLACES.findall((tree / path).read_bytes()))}


def test_licences_of_all_that_is_in_it_stand_in_every_package(trees: dict[str, Path], library: str) -> None:
    for name, tree in trees.items():
        text = (tree / "usr/share/doc" / name / "copyright").read_text(encoding="utf-8")
        assert text.startswith("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n")
        named = set(re.findall(r"^License: (.*)$", text, re.MULTILINE))
        assert {"BSD-2-Clause", "Apache-2.0", "LGPL-2.1+", "GPL-2+"} <= named
        assert "@" not in text
        assert "Redistributions of source code must retain" in text
    notices = [path for path in files(trees[library]) if "OpenVINO-" in path]
    assert len(notices) == 3, "OpenVINO's, oneDNN's and oneTBB's lists of what they hold of others"


def test_equal_sources_give_equal_packages(packages: dict[str, Path], tmp_path: Path) -> None:
    made = dropin()
    again = build(tmp_path / "again", OLD, *([] if made is None else ["--dropin", str(made)]))
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in again.items()} == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in packages.items()
    }
    sums = (tmp_path / "again" / "SHA256SUMS").read_text(encoding="utf-8")
    assert sums.count("\n") == len(again)
    call("sh", "-c", f"cd '{tmp_path}/again' && sha256sum --strict --check SHA256SUMS")


def test_a_version_of_a_later_commit_is_newer_and_a_release_newer_still() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from commits import debian_version
    finally:
        sys.path.pop(0)
    version = debian_version()
    release = version.partition("~")[0]
    assert re.fullmatch(r"[\d.]+(~git\d{8}\.\d{6}\.[0-9a-f]{7,})?", version)
    later = re.sub(r"git\d{8}", "git20991231", version)
    for older, newer in ((version, later), (later, f"{release}.1")):
        call("dpkg", "--compare-versions", older, "lt", newer)
    call("dpkg", "--compare-versions", version, "le", release)


def test_lintian_has_nothing_to_say(packages: dict[str, Path]) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    options = ("--fail-on", "error,warning", "--suppress-tags", LEFT_OUT)
    done = call("lintian", *options, *packages.values(), check=False)
    assert (done.returncode, done.stdout) == (0, "")


class Library:
    """The library of an unpacked node, in this process."""

    def __init__(self, node: Path, name: str) -> None:
        abi = name.removeprefix("libclarivid")
        self.so = ctypes.CDLL(str(node / "usr/lib" / triplet() / f"libclarivid.so.{abi}"))
        self.so.clv_context_create.restype = ctypes.c_void_p
        self.so.clv_last_error.restype = ctypes.c_size_t
        self.context = ctypes.c_void_p(self.so.clv_context_create(None, None))

    def said(self) -> str:
        text = ctypes.create_string_buffer(2000)
        self.so.clv_last_error(self.context, text, ctypes.c_size_t(len(text)))
        return text.value.decode()

    def probe(self, backend: str) -> str:
        text = ctypes.create_string_buffer(2000)
        done = self.so.clv_backend_probe(self.context, backend.encode(), text, ctypes.c_size_t(len(text)))
        return text.value.decode() if done == 0 else self.said()

    def open(self, model: str) -> str:
        found = ctypes.c_void_p()
        done = self.so.clv_model_open(self.context, model.encode(), ctypes.byref(found))
        return "" if done == 0 else self.said()


def probe_and_open(node: Path, name: str, models: list[str]) -> dict[str, Any]:
    """What the library of a node says, asked in a process of its own: this one may have another."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import test_packaging as t\n"
        "lib = t.Library(t.Path(sys.argv[2]), sys.argv[3])\n"
        "print(json.dumps({**{b: lib.probe(b) for b in ('cpu', 'openvino')}, "
        "**{m: lib.open(m) for m in sys.argv[4:]}}))\n"
    )
    done = call(sys.executable, "-c", code, ROOT / "tests", node, name, *models)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_library_finds_backends_openvino_and_models_where_the_packages_put_them(
    node: Path, library: str
) -> None:
    said = probe_and_open(node, library, ["game_x2", "lowrank_v1", "inpaint_v1", "no_such_model"])
    assert said["cpu"].startswith("clarivid's kernels")
    assert said["openvino"].startswith("OpenVINO 20")
    assert [said[name] for name in ("game_x2", "lowrank_v1", "inpaint_v1")] == ["", "", ""]
    assert f"is not in {node}/usr/share/clarivid/models:" in said["no_such_model"]


def test_a_damaged_model_is_refused_with_its_path(node: Path, library: str, tmp_path: Path) -> None:
    copy = tmp_path / "node"
    shutil.copytree(node, copy, symlinks=True)
    model = copy / "usr/share/clarivid/models/game_x2/model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    said = probe_and_open(copy, library, ["game_x2", "natural_x2"])
    assert str(model) in said["game_x2"]
    assert "is damaged or was changed" in said["game_x2"]
    assert said["natural_x2"] == ""


def test_a_c_program_is_built_with_pkg_config_alone(node: Path, tmp_path: Path) -> None:
    lib = node / "usr/lib" / triplet()
    environment = {"PKG_CONFIG_PATH": str(lib / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(node)}
    flags = call("pkg-config", "--cflags", "--libs", "clarivid", **environment).stdout.split()
    if not any(flag.startswith("-L") for flag in flags):
        flags.append(f"-L{lib}")  # pkg-config leaves out what it takes for the system's own folder
    if not any(flag.startswith("-I") for flag in flags):
        flags.append(f"-I{node}/usr/include")
    program = tmp_path / "program.c"
    program.write_text(
        "#include <clarivid/clarivid.h>\n#include <stdio.h>\n"
        "int main(void) { puts(clv_version_string()); return 0; }\n",
        encoding="utf-8",
    )
    call("cc", program, *flags, "-o", tmp_path / "program")
    done = call(tmp_path / "program", LD_LIBRARY_PATH=str(lib))
    version = re.search(r"^Version: (\S+)", (lib / "pkgconfig/clarivid.pc").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert done.stdout.strip() == version[1]


def test_the_filters_and_patches_of_the_development_package_are_those_of_the_sources(node: Path) -> None:
    share = node / "usr/share/clarivid"
    for kind, pattern in (("filters", "*.[ch]"), ("patches", "*.patch")):
        expected = {path.name: path.read_bytes() for path in (ROOT / kind).glob(pattern)}
        assert {path.name: path.read_bytes() for path in (share / kind).iterdir()} == expected


def needs_dropin(packages: dict[str, Path]) -> None:
    if "clarivid-dropin" not in packages:
        why = "there is no drop-in for this machine's ffmpeg: run 'tools/setup.sh stock'"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


FILTERS = "lowrank_pre,dnn_sr=model=game_x2:precision=fp32"


def pictures(program: Path | str, clip: Path, **environment: str) -> list[str]:
    """Digests of what an ffmpeg with the filters makes of a clip."""
    done = call(program, "-v", "error", "-i", clip, "-vf", FILTERS, "-f", "framemd5", "-", **environment)
    found = [line.split(",")[-1] for line in done.stdout.splitlines() if not line.startswith("#")]
    assert found
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mkv"
    filter_tools.run("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.2", "-c:v", "libx264", path)
    return path


def test_the_distributions_ffmpeg_gets_the_filters_from_the_package_and_our_pictures(
    packages: dict[str, Path], node: Path, clip: Path
) -> None:
    needs_dropin(packages)
    lib = node / "usr/lib" / triplet()
    # Where it is installed the linker's cache leads to the library.
    installed = {"LD_LIBRARY_PATH": str(lib)}
    assert pictures(node / "usr/bin/clarivid-ffmpeg", clip, **installed) == pictures(
        str(filter_tools.built().ffmpeg), clip
    )
    any_program = call(node / "usr/bin/clarivid-run", "ffmpeg", "-hide_banner", "-filters", **installed)
    assert {"dnn_sr", "lowrank_pre", "mesh_inpaint"} <= set(any_program.stdout.split())
    assert "dnn_sr" not in call("ffmpeg", "-hide_banner", "-filters").stdout


def test_the_drop_in_depends_on_the_very_ffmpeg_and_library_that_it_was_built_for(
    packages: dict[str, Path], trees: dict[str, Path], library: str
) -> None:
    needs_dropin(packages)
    needs = control(trees["clarivid-dropin"])["Depends"].split(", ")
    version = call("dpkg-query", "-W", "-f", "${Version}", "ffmpeg").stdout
    assert {f"ffmpeg (= {version})", f"{library} (= {OLD})"} <= set(needs)
    found = files(trees["clarivid-dropin"])
    # It replaces nothing: no name of the distribution's is among its own.
    assert not [path for path in found if "clarivid" not in path]
    assert {
        "usr/bin/clarivid-ffmpeg",
        "usr/bin/clarivid-run",
        "usr/share/man/man1/clarivid-ffmpeg.1.gz",
    } <= set(found)
    assert not [path for path in found if "libclarivid" in path], "the library is that of its package"


def test_a_folder_that_is_no_drop_in_is_refused_in_a_sentence(tmp_path: Path) -> None:
    tool = ROOT / "tools" / "deb.py"
    done = call(sys.executable, tool, "--out", tmp_path / "out", "--dropin", tmp_path, check=False)
    assert done.returncode == 1
    assert f"'{tmp_path}' is no drop-in" in done.stderr
    assert not list(tmp_path.rglob("*.deb"))


def test_a_folder_of_the_cache_runs_elsewhere_without_cache_or_python(tmp_path: Path, clip: Path) -> None:
    (block,) = (found for found in blocks(ROOT / "docs/deploy.md") if found.title == "folder")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "clarivid").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clarivid "$@"\n', encoding="utf-8")
    (bin_ / "clarivid").chmod(0o755)
    script = f"cd '{tmp_path}'\n{block.text}"
    call("bash", "-euo", "pipefail", "-c", script, PATH=f"{bin_}:{os.environ['PATH']}")
    there = tmp_path / "opt"
    there.mkdir()
    call("tar", "-C", there, "-xf", tmp_path / "clarivid.tar")
    (program,) = there.glob("ffmpeg/*/bin/ffmpeg")
    elsewhere = {"CLARIVID_CACHE": "/nonexistent", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    assert pictures(program, clip, **elsewhere) == pictures(str(filter_tools.built().ffmpeg), clip)


class Root:
    """A folder that dpkg treats as a machine of its own, with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("info", "updates", "triggers"):
            (folder / "var/lib/dpkg" / name).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()

    def dpkg(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return call(
            *(
                "dpkg",
                f"--root={self.folder}",
                "--force-depends",
                "--force-not-root",
                "--force-script-chrootless",
            ),
            *(f"--log={self.folder}/log", *words),
            check=check,
        )

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if "var" not in path.relative_to(self.folder).parts and path.name != "log"
        }


@pytest.mark.skipif(os.geteuid() != 0, reason="dpkg gives files to root: only root can")
def test_upgrade_under_a_running_process_rollback_verification_and_purge(
    packages: dict[str, Path], library: str, tmp_path: Path
) -> None:
    newer = build(tmp_path / "new", NEW)
    root = Root(tmp_path / "root")
    before = root.files()
    root.dpkg("--install", *packages.values())
    for name in packages:
        assert root.dpkg("--verify", name).stdout == ""

    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_packaging as t\n"
        "lib = t.Library(t.Path(sys.argv[2]), sys.argv[3])\n"
        "print(lib.probe('cpu'), flush=True)\n"
        "sys.stdin.readline()\n"
        "print(lib.probe('cpu'), lib.open('game_x2'), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT / "tests"), str(root.folder), library],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("clarivid's kernels")
    mapped = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    assert f"{root.folder}/usr/lib/{triplet()}/libclarivid.so" in mapped
    root.dpkg("--install", *newer.values())
    # Files were replaced by new ones; the process has the old ones, and whole.
    assert "(deleted)" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    rest, said = process.communicate("\n", timeout=60)
    assert (process.returncode, rest.strip()) == (0, first.strip()), said

    def version() -> str:
        return root.dpkg("--status", library).stdout.partition("\nVersion: ")[2].partition("\n")[0]

    assert version() == NEW
    root.dpkg("--install", *packages.values())  # a rollback is an installation, with a warning
    assert version() == OLD

    model = root.folder / "usr/share/clarivid/models/game_x2/model.onnx"
    model.write_bytes(b"not what was installed")
    assert (
        "/usr/share/clarivid/models/game_x2/model.onnx"
        in root.dpkg("--verify", "clarivid-models", check=False).stdout
    )
    root.dpkg("--purge", *packages)
    assert root.files() - before <= {"usr", "var"}


def unit() -> configparser.RawConfigParser:
    """The example of a systemd unit; keys that stand more than once are read as the last."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(ROOT / "packaging/examples/clarivid-transcode@.service", encoding="utf-8")
    return parser


def test_the_systemd_unit_is_valid_and_limits_memory_and_cores(tmp_path: Path) -> None:
    service = unit()["Service"]
    assert {"MemoryMax", "AllowedCPUs"} <= set(service)
    assert service["OOMPolicy"] == "stop"
    assert service["User"] != "root"
    # What a net computes is compiled while it runs.
    assert "MemoryDenyWriteExecute" not in service
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "clarivid-ffmpeg"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    text = (ROOT / "packaging/examples/clarivid-transcode@.service").read_text(encoding="utf-8")
    text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)
    copy = tmp_path / "clarivid-transcode@.service"
    copy.write_text(text.replace("/usr/bin/clarivid-ffmpeg", str(program)), encoding="utf-8")
    done = call("systemd-analyze", "verify", copy, check=False)
    assert (done.returncode, done.stdout, done.stderr.replace("\n", "")) == (0, "", "")


@pytest.mark.parametrize("result", ["success", "exit-code", "oom-kill"])
def test_the_unit_leaves_a_whole_file_or_none(result: str, tmp_path: Path) -> None:
    """Its last command, as systemd would run it."""
    command = unit()["Service"]["ExecStopPost"].replace("/srv/out", str(tmp_path)).replace("%i", "film.mkv")
    command = command.replace("$$", "$")
    (tmp_path / ".film.mkv.part").write_bytes(b"film")
    call("sh", "-c", command, SERVICE_RESULT=result)
    assert [path.name for path in tmp_path.iterdir()] == (["film.mkv"] if result == "success" else [])


def test_the_units_command_line_runs(tmp_path: Path) -> None:
    """With our own ffmpeg in place of the drop-in."""
    service = unit()["Service"]
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    filter_tools.run(
        *("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.2", "-c:v", "libx264", tmp_path / "in" / "film.mkv")
    )
    words = service["ExecStart"].replace("/srv", str(tmp_path)).replace("%i", "film.mkv")
    words = words.replace("/usr/bin/clarivid-ffmpeg", str(filter_tools.built().ffmpeg))
    values = dict(text.split("=", 1) for text in re.findall(r'"([^"]*)"', service["Environment"]))
    call("bash", "-euc", words.replace("${FILTERS}", '"$FILTERS"'), **values)
    made = tmp_path / "out" / ".film.mkv.part"
    ask = ("-v", "error", "-show_entries", "stream=width", "-of", "csv=p=0")
    done = call(filter_tools.built().ffprobe, *ask, made)
    assert done.stdout.strip() == "192"


def test_the_dockerfile_passes_its_linter_and_copies_what_make_deb_writes() -> None:
    path = ROOT / "packaging/Dockerfile"
    text = path.read_text(encoding="utf-8")
    for pattern in re.findall(r"/packages/(\S+\.deb)", text):
        assert re.match(r"(libclarivid\[0-9\]|clarivid-)\*\.deb", pattern)
    assert re.search(r"^USER [1-9]\d*$", text, re.MULTILINE), "not root, and a number: Kubernetes checks that"
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.is_file():
        pytest.skip("hadolint is not installed")
    done = call(hadolint, "--no-color", path, check=False)
    assert (done.returncode, done.stdout) == (0, "")
