# SPDX-License-Identifier: BSD-2-Clause
"""The wheel: holds what it needs and nothing of this machine, and works in an empty environment elsewhere.

Its dependencies come from this environment without a network: what the base package requires, and what that
requires, is linked into the empty one, and nothing else is. So torch, or anything of an extra, is not there.
"""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import filter_tools
from clarivid.paths import cache_dir
from doc_blocks import blocks
from test_ffmpeg_patch import make_tree

elffile = pytest.importorskip("elftools.elf.elffile")

# Of the system, in every manylinux image, and OpenVINO's own, which its wheel brings.
FOREIGN = re.compile(r"^(ld-linux-.*|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+|openvino))\.so")
PLACES = re.compile(rb"/(?:root|home|tmp|work|build|opt)/[\w.+/-]{2,}")
WHEEL_MIB = 40


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, made as `make wheel` makes it."""
    if not (root / ".venv" / "build" / "CMakeCache.txt").is_file():
        pytest.skip("there is no CMake build of this checkout: run 'make setup'")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, str(root / "tools" / "wheel.py"), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def closure(site: Path, extra: str) -> Iterator[metadata.Distribution]:
    """The packages that `pip install clarivid`, with an extra or without, brings."""
    waiting, seen = ["clarivid"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name == "clarivid":  # as the wheel says it
            (found,) = site.glob("clarivid-*.dist-info")
            distribution: metadata.Distribution = metadata.Distribution.at(found)
        else:
            distribution = metadata.distribution(name)
            yield distribution
        for text in distribution.requires or []:
            requirement = Requirement(text)
            wanted = extra if name == "clarivid" else ""
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                waiting.append(requirement.name)


def bring(site: Path, extra: str = "") -> None:
    """Link what clarivid requires into an environment."""
    for distribution in closure(site, extra):
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            if not (site / top).exists() and not top.endswith(".pth") and top != "__pycache__":
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an empty environment outside the checkout, with the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run(
        [*(sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input"),
         *("--no-index", "--no-deps", "--quiet", "--disable-pip-version-check", str(wheel))],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    bring(site)
    return python


def call(python: Path, *arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run the environment's Python, which sees neither checkout nor this environment."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("CLARIVID_", "PYTHON", "VIRTUAL"))
    }
    return subprocess.run(
        [str(python), *arguments],
        cwd=cache,
        env={**environment, "CLARIVID_CACHE": str(cache), "PATH": f"{python.parent}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_carries_library_backends_filters_patches_models_types_and_licences(
    contents: dict[str, bytes],
) -> None:
    for name in (
        *(f"lib/libclarivid_{backend}.so" for backend in ("cpu", "cuda", "dummy", "openvino")),
        "include/clarivid/clarivid.h",
        "lib/pkgconfig/clarivid.pc",
        "share/clarivid/filters/vf_dnn_sr.c",
        "share/clarivid/patches/ffmpeg-7.1.patch",
        *(
            f"share/clarivid/models/game_x2/{file}"
            for file in ("model.onnx", "weights.safetensors", "card.json")
        ),
        "_core.pyi",
        "py.typed",
    ):
        assert f"clarivid/{name}" in contents
    assert len([name for name in contents if name.startswith("clarivid/lib/libclarivid.so")]) == 1
    licences = {name.partition("/licenses/")[2] for name in contents if "/licenses/" in name}
    assert {"LICENSE", "LICENSE-THIRD-PARTY", "filters/LICENSE"} <= licences


def test_every_module_and_every_file_beside_a_module_is_there(root: Path, contents: dict[str, bytes]) -> None:
    here = subprocess.run(
        ["git", "-C", str(root), "ls-files", "python/clarivid"], capture_output=True, text=True, check=False
    ).stdout.split()
    if not here:
        pytest.skip("the checkout is no git repository")
    missing = {path.removeprefix("python/") for path in here if (root / path).is_file()} - set(contents)
    assert not missing


def test_nothing_of_tests_or_tools_or_this_machine_is_in_it(contents: dict[str, bytes], wheel: Path) -> None:
    assert {name.split("/")[0] for name in contents if "dist-info" not in name} == {"clarivid"}
    strange = [
        name
        for name in contents
        if re.search(r"(^|/)(tests?|__pycache__|build)/|\.(py[co]|a|o|cu|cpp)$|emulator|libcuda\.so", name)
    ]
    assert not strange
    places = {
        name: PLACES.findall(data)[:3]
        for name, data in contents.items()
        if name.endswith(".so") or ".so." in name
    }
    assert not {name: found for name, found in places.items() if found}
    assert wheel.stat().st_size < WHEEL_MIB << 20


def test_libraries_look_for_others_beside_themselves_only(contents: dict[str, bytes], tmp_path: Path) -> None:
    libraries = {name: data for name, data in contents.items() if name.endswith(".so") or ".so." in name}
    assert len(libraries) >= 6
    ours = {Path(name).name for name in libraries}
    for name, data in libraries.items():
        path = tmp_path / Path(name).name
        path.write_bytes(data)
        with path.open("rb") as stream:
            tags = list(elffile.ELFFile(stream).get_section_by_name(".dynamic").iter_tags())
            for tag in tags:
                if tag.entry.d_tag in ("DT_RUNPATH", "DT_RPATH"):
                    found = getattr(tag, "runpath", None) or tag.rpath
                    assert all(part.startswith("$ORIGIN") for part in found.split(":")), name
                if tag.entry.d_tag == "DT_NEEDED":
                    assert tag.needed in ours or FOREIGN.match(tag.needed), f"{name} needs {tag.needed}"


def test_its_tag_says_which_linux_it_runs_on(wheel: Path) -> None:
    assert re.search(r"-cp3\d+-cp3\d+-manylinux_2_\d+_\w+\.whl$", wheel.name)


def test_the_base_needs_neither_torch_nor_cuda(contents: dict[str, bytes]) -> None:
    (name,) = (name for name in contents if name.endswith("dist-info/METADATA"))
    message = email.message_from_bytes(contents[name])
    requires = [Requirement(text) for text in message.get_all("Requires-Dist", [])]
    base = {r.name for r in requires if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert {"numpy", "openvino", "click", "rich"} <= base
    assert not {name for name in base if re.search("torch|cuda|nvidia|tensorrt|onnx", name)}
    assert {"train", "tensorrt", "dev", "docs"} <= set(message.get_all("Provides-Extra", []))


def test_commands_work_in_an_empty_environment(elsewhere: Path, tmp_path: Path) -> None:
    version = call(elsewhere, "-m", "clarivid", "--version", cache=tmp_path)
    assert version.stdout.startswith("clarivid "), version.stderr
    models = call(elsewhere.parent / "clarivid", "models", "list", "--json", cache=tmp_path)
    rows = json.loads(models.stdout)
    assert {"game_x2", "natural_x2", "game_x2_fast", "natural_x2_fast", "lowrank_v1"} <= {
        row["name"] for row in rows
    }
    assert all(Path(row["folder"]).is_relative_to(elsewhere.parent.parent) for row in rows)
    assert call(elsewhere, "-m", "clarivid", "models", "verify", cache=tmp_path).returncode == 0
    doctor = json.loads(call(elsewhere, "-m", "clarivid", "doctor", "--json", cache=tmp_path).stdout)
    assert doctor["library"]["ok"], doctor["library"]
    assert {part["name"] for part in doctor["backends"] if part["ok"]} >= {"cpu", "openvino", "dummy"}
    assert doctor["packages"]["torch"] is None


def test_a_picture_doubles_in_an_empty_environment(elsewhere: Path, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, clarivid\n"
        "sizes = (48, 64, 90), (24, 32, 128), (24, 32, 128)\n"
        "planes = [np.full((h, w), value, np.uint8) for h, w, value in sizes]\n"
        "y, u, v = clarivid.SuperResolution('game_x2', precision='fp32')(planes)\n"
        "assert (y.shape, u.shape) == ((96, 128), (48, 64)), y.shape\n"
        "assert abs(float(np.asarray(y).mean()) - 90) < 2\n"
        "same = clarivid.LowrankPre(backend='cpu')(planes)\n"
        "assert same[0].shape == (48, 64)\n"
        "assert 'torch' not in sys.modules\n"
        "print(clarivid.__file__)\n"
    )
    done = call(elsewhere, "-c", code, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(elsewhere.parent.parent)


def test_ffmpeg_can_be_built_from_it_alone(elsewhere: Path, tmp_path: Path, root: Path) -> None:
    path = call(elsewhere, "-m", "clarivid", "ffmpeg", "path", cache=tmp_path)
    assert path.returncode == 1
    assert "clarivid ffmpeg build" in path.stderr
    code = (
        "from pathlib import Path\n"
        "from clarivid.ffmpeg import library\n"
        "lib = library.Library.find()\n"
        "files = [lib.header, *lib.files, *library.shared_files('filters', '*.[ch]'), "
        "*library.shared_files('patches'), *library.model_folders()]\n"
        "lib.write_prefix(Path('prefix'))\n"
        "print(*files, sep='\\n')\n"
    )
    plan = call(elsewhere, "-c", code, cache=tmp_path)
    assert plan.returncode == 0, plan.stderr
    found = [Path(line) for line in plan.stdout.split()]
    assert all(file.is_relative_to(elsewhere.parent.parent) for file in found)
    names = {file.name for file in found}
    assert {file.name for file in (root / "filters").glob("*.[ch]")} <= names
    assert {file.name for file in (root / "patches").iterdir()} <= names
    # What FFmpeg's linker asks for is there although a wheel holds no links.
    assert (tmp_path / "prefix" / "lib" / "libclarivid.so").resolve().is_file()
    program = tmp_path / "program.c"
    program.write_text(
        "#include <clarivid/clarivid.h>\nint main(void) { return clv_version_string()[0] != '0'; }\n", "utf-8"
    )
    prefix = tmp_path / "prefix"
    subprocess.run(
        [*("cc", str(program), f"-I{prefix}/include", f"-L{prefix}/lib", "-lclarivid"),
         *(f"-Wl,-rpath,{prefix}/lib", "-o", str(tmp_path / "program"))],
        check=True,
    )  # fmt: skip
    assert subprocess.run([str(tmp_path / "program")], check=False).returncode == 0


def test_a_source_of_ffmpeg_is_patched_from_it_alone(elsewhere: Path, tmp_path: Path, root: Path) -> None:
    tree = make_tree(tmp_path / "ffmpeg", "7.1")
    done = call(elsewhere, "-m", "clarivid", "ffmpeg", "patch", str(tree), cache=tmp_path)
    assert done.returncode == 0, done.stderr
    ours, theirs = tree / "libavfilter" / "vf_dnn_sr.c", root / "filters" / "vf_dnn_sr.c"
    assert ours.read_bytes() == theirs.read_bytes()
    assert "libclarivid" in (tree / "configure").read_text(encoding="utf-8")


def test_the_quick_start_runs_as_written(elsewhere: Path, tmp_path: Path, root: Path) -> None:
    """In the empty environment, with the ffmpeg that is there: the wheel holds what that was built from."""
    (site,) = (elsewhere.parent.parent / "lib").glob("python*/site-packages")
    bring(site, "compare")
    built = filter_tools.built()
    (tmp_path / "page").mkdir()
    made = filter_tools.run(
        *("-f", "lavfi", "-i", "testsrc2=s=192x112:r=30:d=0.34", "-f", "lavfi", "-i", "sine=d=0.34"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", tmp_path / "page" / "in.mp4"),
    )
    assert made.returncode == 0
    ran = 0
    for block in blocks(root / "docs" / "quickstart.md"):
        if block.skip:
            continue
        program = {"bash": ["bash", "-eu", "-c"], "python": [str(elsewhere), "-c"]}[block.language]
        text = block.text
        for name in re.findall(r"\bclarivid run .* (\w+\.mp4)\b|-c:a copy (\w+\.mp4)", text):
            (tmp_path / "page" / "".join(name)).unlink(missing_ok=True)
        done = subprocess.run(
            [*program, text],
            cwd=tmp_path / "page",
            env={"CLARIVID_CACHE": str(cache_dir()), "HOME": str(tmp_path),
                 "PATH": f"{elsewhere.parent}:/usr/bin:/bin"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        ran += 1
    assert ran >= 5
    assert (tmp_path / "page" / "compare.html").stat().st_size > 100_000
    path = call(elsewhere, "-m", "clarivid", "ffmpeg", "path", cache=cache_dir())
    assert Path(path.stdout.strip()) == built.ffmpeg


def test_what_an_extra_brings_is_named_when_it_is_missing(elsewhere: Path, tmp_path: Path) -> None:
    done = call(elsewhere, "-m", "clarivid", "export", "x.pt", "--name", "x", "--out", "x", cache=tmp_path)
    assert done.returncode == 1
    assert "pip install 'clarivid[train]'" in done.stderr
