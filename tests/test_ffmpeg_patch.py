# SPDX-License-Identifier: BSD-2-Clause
"""`clarivid ffmpeg patch`: the filters go into a source tree, stay up to date, and come out without a trace.

The trees are cut down to what the patches touch, from the sources of the builds where they were fetched; a
tree that a patch was made for is what its own context lines say.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clarivid.cli.ffmpeg import command
from clarivid.errors import Error, InputError, ToolError
from clarivid.ffmpeg import library, patching
from clarivid.ffmpeg.series import SERIES, closest, of
from ffmpeg_series import misfit

FILTERS = sorted(path.name for path in library.shared_files("filters", "*.[ch]"))


def make_tree(root: Path, series: str, release: str | None = None) -> Path:
    """A tree with the places that the patch of a series looks for, and lines between them."""
    text = library.shared_files("patches", f"ffmpeg-{series}.patch")[0].read_text("utf-8")
    for part in re.split(r"^--- a/", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        lines: list[str] = []
        for hunk in re.split(r"^@@ -", body, flags=re.MULTILINE)[1:]:
            head, _, content = hunk.partition("\n")
            start = int(head.split(",")[0])
            lines += [f"# line {number}" for number in range(len(lines) + 1, start)]
            lines += [line[1:] for line in content.splitlines() if line[:1] == " "]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", "utf-8")
    (root / "RELEASE").write_text(f"{release or series + '.1'}\n", "utf-8")
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, ["patch", *map(str, arguments)])


@pytest.mark.parametrize("series", SERIES)
def test_the_filters_go_in_once_and_come_out_without_a_trace(tmp_path: Path, series: str) -> None:
    tree = make_tree(tmp_path, series)
    before = contents(tree)
    patching.plan(tree).carry_out()
    after = contents(tree)
    assert {f"libavfilter/{name}" for name in FILTERS} <= after.keys()
    for name in ("dnn_sr", "lowrank_pre", "mesh_inpaint"):
        assert f"ff_vf_{name};" in after["libavfilter/allfilters.c"].decode()
        assert f"vf_{name}.o" in after["libavfilter/Makefile"].decode()
        assert f'{name}_filter_deps="libclarivid"' in after["configure"].decode()
        assert any(b'"%s", "drain"' % name.encode() in text for text in after.values())
    assert patching.plan(tree).is_done
    patching.plan(tree).carry_out()
    assert contents(tree) == after
    patching.plan(tree, reverse=True).carry_out()
    assert contents(tree) == before
    assert patching.plan(tree, reverse=True).is_done


@pytest.mark.parametrize("series", [name for name, one in SERIES.items() if one.tested])
def test_the_patch_fits_the_real_source_to_the_line(series: str) -> None:
    assert misfit(series) == ""


def test_check_changes_nothing_and_tells(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "7.1")
    before = contents(tree)
    asked = call(tree, "--check")
    assert asked.exit_code == 1
    assert "would apply ffmpeg-7.1.patch" in asked.output
    assert "would write libavfilter/vf_dnn_sr.c" in asked.output
    assert contents(tree) == before
    done = call(tree)
    assert done.exit_code == 0, done.output
    assert "--enable-libclarivid" in done.output
    again = call(tree, "--check")
    assert (again.exit_code, "nothing to do" in again.output) == (0, True)


def test_a_tree_patched_by_an_earlier_clarivid_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree(tmp_path / "tree", "7.1")
    fresh = make_tree(tmp_path / "fresh", "7.1")
    patching.plan(fresh).carry_out()
    old = tmp_path / "old"
    (old / "filters").mkdir(parents=True)
    (old / "patches").mkdir()
    text = library.shared_files("patches", "ffmpeg-7.1.patch")[0].read_text("utf-8")
    (old / "patches" / "ffmpeg-7.1.patch").write_text(
        text.replace("clarivid >= 0.1", "clarivid >= 0.0"), "utf-8"
    )
    (old / "filters" / "vf_dnn_sr.c").write_text("/* an earlier one */\n", "utf-8")
    (old / "filters" / "vf_gone.c").write_text("/* a filter that is no more */\n", "utf-8")
    with monkeypatch.context() as earlier:
        earlier.setattr(library, "share_dirs", lambda kind: [old / kind])
        patching.plan(tree).carry_out()
    assert b"clarivid >= 0.0" in contents(tree)["configure"]
    patching.plan(tree).carry_out()
    assert contents(tree) == contents(fresh)


def test_a_tree_that_was_patched_by_hand_is_adopted(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "8.1")
    patch = library.shared_files("patches", "ffmpeg-8.1.patch")[0]
    subprocess.run(["patch", "-p1", "-s", "-i", str(patch.absolute())], cwd=tree, check=True)
    plan = patching.plan(tree)
    assert plan.apply is None
    assert {path.name for path in plan.write} == set(FILTERS)
    plan.carry_out()
    assert patching.plan(tree).is_done


def test_edited_files_of_ours_are_kept_unless_forced(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "7.1")
    patching.plan(tree).carry_out()
    mine = tree / "libavfilter" / "vf_dnn_sr.c"
    mine.write_text(mine.read_text("utf-8") + "/* mine */\n", "utf-8")
    before = contents(tree)
    for reverse in (False, True):
        with pytest.raises(InputError, match=r"vf_dnn_sr\.c in .* is not as clarivid wrote it.*--force"):
            patching.plan(tree, reverse=reverse)
    assert contents(tree) == before
    patching.plan(tree, force=True).carry_out()
    assert "/* mine */" not in mine.read_text("utf-8")


def test_a_file_of_that_name_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "7.1")
    (tree / "libavfilter" / "compat.h").write_text("/* another's */\n", "utf-8")
    for force in (False, True):
        with pytest.raises(InputError, match=r"its own libavfilter/compat\.h"):
            patching.plan(tree, force=force)


def test_a_tree_that_the_patch_does_not_fit_is_left_alone(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "9.0")
    (tree / "libavfilter" / "Makefile").write_text("# something else\n", "utf-8")
    before = contents(tree)
    with pytest.raises(ToolError, match=r"does not fit .*FAILED.*Nothing was changed"):
        patching.plan(tree)
    assert contents(tree) == before


def test_an_unknown_release_names_what_is_known_and_takes_the_closest_by_force(tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "7.1", "7.0.2")
    with pytest.raises(InputError, match=r"FFmpeg 7\.0\.2.*5\.1, 6\.1, 7\.1, 8\.1, 9\.0; --force.*6\.1"):
        patching.plan(tree)
    (tree / "RELEASE").write_text("8.0\n", "utf-8")
    plan = patching.plan(tree, force=True)
    assert plan.apply is not None
    assert plan.apply.name == "ffmpeg-7.1.patch"
    assert "unknown" in plan.notes[0]


@pytest.mark.parametrize("missing", ["RELEASE", "configure", "."])
def test_what_is_no_source_of_ffmpeg_is_refused(tmp_path: Path, missing: str) -> None:
    tree = make_tree(tmp_path / "tree", "7.1")
    if missing == ".":
        tree = tmp_path / "nowhere"
    else:
        (tree / missing).unlink()
    with pytest.raises(Error, match="is not FFmpeg's source"):
        patching.plan(tree)


def test_releases_belong_to_their_series() -> None:
    assert [
        one.name if (one := of(version)) else None for version in ("7.1", "7.1.5", "n7.1.2", "7.1.git")
    ] == ["7.1"] * 4
    assert of("7.10.2") is None
    assert of("8.0") is None
    assert [closest(version).name for version in ("4.4", "6.0", "7.0", "8.0", "10.0")] == [
        "5.1", "5.1", "6.1", "7.1", "9.0",
    ]  # fmt: skip
