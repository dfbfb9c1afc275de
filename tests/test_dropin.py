# SPDX-License-Identifier: BSD-2-Clause
"""A drop-in fits the ffmpeg that is there, or is refused with the reason.

The ffmpeg of these tests is a few lines of C with shared libraries of its own; tests/test_dropin_stock.py has
the machine's.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clarivid.errors import Error, InputError, ToolError
from clarivid.ffmpeg import dropin, library
from clarivid.ffmpeg.dropin import stock as stocks
from dropin_stub import FILTERS, PATCH, ROWS, STOCK, Stub, c_string, compile_c

OURS = ("dnn_sr", "lowrank_pre", "mesh_inpaint")


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """An installed ffmpeg, its source, and filters and a patch that fit it; caches of their own."""
    monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))
    found = Stub(tmp_path / "machine")
    found.folder.mkdir()
    found.install().unpack()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(found.libraries))
    shared = tmp_path / "shared"
    for kind, name, text in (("filters", "vf_dnn_sr.c", "filter"), ("patches", "ffmpeg-5.1.patch", PATCH)):
        (shared / kind).mkdir(parents=True)
        (shared / kind / name).write_text(text)
    (shared / "models" / "net_x2").mkdir(parents=True)
    (shared / "models" / "net_x2" / "model.onnx").write_text("net")
    monkeypatch.setattr(library, "share_dirs", lambda kind: [shared / kind])
    monkeypatch.setattr(library, "keep_openvino", lambda _: None)
    (tmp_path / "clarivid.h").write_text("#define CLV_VERSION_MAJOR 0\n")
    (tmp_path / "libclarivid.so").write_bytes(b"library")
    own = library.Library(tmp_path / "clarivid.h", (tmp_path / "libclarivid.so",))
    monkeypatch.setattr(library.Library, "find", lambda: own)
    return found


def make(stub: Stub, **options: object) -> dropin.Dropin:
    """The drop-in for the stub, from its source."""
    return dropin.build(program=stub.program, source_path=stub.source, **options)  # type: ignore[arg-type]


def tree() -> Path:
    """The one tree of the cache."""
    (found,) = (Path(os.environ["CLARIVID_CACHE"]) / "dropin").glob("tree-*")
    return found


def output(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_starts_the_same_program_with_the_filters(stub: Stub) -> None:
    made = make(stub)
    assert not any(name in output(stub.program, "-filters") for name in OURS)
    assert all(name in output(made.ffmpeg, "-filters") for name in OURS)
    assert output(made.ffmpeg, "-version") == output(stub.program, "-version")
    assert all(name in output(made.run, stub.program, "-filters") for name in OURS)


def test_only_libavfilter_lies_on_the_library_path(stub: Stub) -> None:
    made = make(stub)
    path = output(made.run, "sh", "-c", "echo $LD_LIBRARY_PATH").strip()
    assert path == f"{made.root}/lib/avfilter:{stub.libraries}"
    assert [p.name for p in (made.root / "lib" / "avfilter").iterdir()] == ["libavfilter.so.8"]
    assert (made.root / "share/clarivid/models/net_x2/model.onnx").read_text() == "net"


def test_a_second_run_does_nothing(stub: Stub) -> None:
    made = make(stub)
    state = made.report.stat().st_mtime_ns
    assert make(stub) == made
    assert made.report.stat().st_mtime_ns == state
    assert len((tree() / "make.calls").read_text().splitlines()) == 1


def test_the_report_tells_what_was_compared(stub: Stub) -> None:
    made = make(stub)
    report = json.loads(made.report.read_text())
    assert report["passed"] is True
    assert report["filters_before"] == [*FILTERS[:10], "testsrc2", *FILTERS[10:]]
    assert report["filters_after"] == sorted([*report["filters_before"], *OURS])
    assert len(report["frames"]) == 12
    assert (report["exports_before"], report["exports_missing"]) == (2, [])
    assert report["bound"] == {"libavutil.so.57": 1}
    assert report["ours"] == dict.fromkeys(OURS, 4)
    text = (made.root / "report.md").read_text()
    assert "all checks passed" in text
    assert "Filters added: dnn_sr, lowrank_pre, mesh_inpaint." in text


@pytest.mark.parametrize(
    ("rows", "extra", "message"),
    [
        (ROWS, "", "lacks clarivid's own filters: dnn_sr"),
        (ROWS.partition(" ... ")[0], "", "lacks filters that the stock one has: testsrc2"),
        (ROWS.replace("bwdif             V->", "bwdif             VV->"), "", "outputs than before: bwdif"),
    ],
)
def test_what_does_less_than_the_stock_one_is_taken_away(
    stub: Stub, rows: str, extra: str, message: str
) -> None:
    stub.unpack(STOCK.replace("{rows}", c_string(rows)) + extra)
    with pytest.raises(ToolError, match=message) as caught:
        make(stub)
    home = Path(os.environ["CLARIVID_CACHE"]) / "dropin"
    assert not list(home.glob("*/dropin.json"))
    assert "NOT GOOD" in Path(str(caught.value).rpartition("report is ")[2]).read_text()


def test_a_symbol_that_is_gone_is_noticed(stub: Stub) -> None:
    text = (stub.source / "libavfilter" / "all.c").read_text()
    stub.unpack(text.partition("\n")[2].replace("av_buffersink_get_w", "av_something_else"))
    with pytest.raises(ToolError, match="exported symbols: av_buffersink_get_w@LIBAVFILTER_8"):
        make(stub)


def test_other_frames_than_before_are_noticed(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    from clarivid.ffmpeg.dropin import report

    run = report._run
    monkeypatch.setattr(
        report,
        "_run",
        lambda program, *rest: ("other", "") if "clarivid-" in program else run(program, *rest),
    )
    monkeypatch.setattr(report, "cases", lambda _: [report.Case("null", "null", frozenset())] * 12)
    with pytest.raises(ToolError, match="12 graphs of stock filters give something else: null"):
        make(stub)


def test_an_upgrade_of_ffmpeg_is_noticed_before_anything_starts(stub: Stub) -> None:
    made = make(stub)
    copy = stub.libraries / "libavfilter.so.8"
    built = copy.stat().st_mtime_ns
    os.utime(copy, (1, 1))  # a copied system: other times, the same bytes
    assert "dnn_sr" in output(made.ffmpeg, "-filters")
    stub.rows += " ... another          V->V       Of a later release.\n"
    stub.install()
    os.utime(copy, ns=(built, built + 1))  # even at once
    done = subprocess.run([made.ffmpeg, "-filters"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "libraries changed since this drop-in was built, for 5.1.9" in done.stderr
    assert "run 'clarivid ffmpeg dropin' again" in done.stderr
    with pytest.raises(
        ToolError, match=r"was built before that ffmpeg.*; run 'clarivid ffmpeg dropin' again"
    ):
        dropin.find(stub.program)
    stub.unpack()
    again = make(stub)
    assert again.root != made.root
    assert "another" in output(again.ffmpeg, "-filters")


def test_out_is_a_folder_that_may_be_moved(stub: Stub, tmp_path: Path) -> None:
    made = make(stub, out=tmp_path / "here")
    moved = made.root.rename(tmp_path / "elsewhere and apart")
    assert "dnn_sr" in output(moved / "bin" / "clarivid-ffmpeg", "-filters")
    link = tmp_path / "link"
    link.symlink_to(moved / "bin" / "clarivid-ffmpeg")
    assert "dnn_sr" in output(link, "-filters")


def test_out_replaces_a_dropin_and_nothing_else(stub: Stub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="is there and is no drop-in"):
        make(stub, out=out)
    (out / "letter.txt").unlink()
    made = make(stub, out=out)
    (tmp_path / "shared" / "models" / "net_x2" / "model.onnx").write_text("a better net")
    assert make(stub, out=out).root == made.root
    assert (out / "share/clarivid/models/net_x2/model.onnx").read_text() == "a better net"
    assert len((tree() / "configure.calls").read_text().splitlines()) == 1  # only linked and copied anew
    with pytest.raises(InputError, match="does not exist; make it first"):
        make(stub, out=tmp_path / "nowhere" / "out")


def test_remove_takes_everything_away(stub: Stub, tmp_path: Path) -> None:
    made = make(stub)
    assert dropin.find(stub.program) == made
    gone = dropin.remove(stub.program)
    assert made.root in gone
    home = Path(os.environ["CLARIVID_CACHE"]) / "dropin"
    assert [p.name for p in home.iterdir() if not p.name.startswith(".lock")] == []
    assert dropin.remove(stub.program) == []
    out = make(stub, out=tmp_path / "out").root
    assert dropin.remove(out=out) == [out]
    assert not out.exists()
    with pytest.raises(InputError, match="is no drop-in"):
        dropin.remove(out=stub.source)
    assert (stub.source / "RELEASE").exists()


def without_zimg(stub: Stub) -> None:
    """The stub's ffmpeg has zscale, from a library whose headers nobody has."""
    stub.rows += " ... nowhere           V->V       From afar.\n"
    stub.configuration += " --enable-libnowhere"
    stub.install().unpack()


def test_filters_that_cannot_be_had_are_named_before_the_build(stub: Stub) -> None:
    without_zimg(stub)
    with pytest.raises(ToolError) as caught:
        make(stub)
    text = str(caught.value)
    assert "1 of the filters that" in text
    assert "libnowhere (no package is known): nowhere" in text
    assert "--with-build-deps" in text
    assert "--allow-missing goes without" in text
    assert not list((Path(os.environ["CLARIVID_CACHE"]) / "dropin").glob("tree-*"))


def test_missing_filters_may_be_accepted(stub: Stub) -> None:
    without_zimg(stub)
    stub.unpack(STOCK.replace("{rows}", c_string(ROWS)[:-1] + "".join(
        f" ... {name:<17} V->V       Ours.\\n" for name in OURS) + '"'))  # fmt: skip
    made = make(stub, allow_missing=True)
    assert made.missing == ("nowhere",)
    assert "Filters missing: nowhere." in (made.root / "report.md").read_text()
    with pytest.raises(ToolError, match="1 of the filters"):
        make(stub)  # who does not say so gets it never
    assert "--enable-libnowhere" not in (tree() / "configure.arguments").read_text().split()


def test_configure_is_given_what_concerns_libavfilter(stub: Stub) -> None:
    stub.configuration = (
        "--prefix=/opt/x --extra-version=0+deb12u1 --enable-gpl --enable-libx264 --disable-sndio"
    )
    stub.install()
    make(stub)
    words = (tree() / "configure.arguments").read_text().split()
    assert {"--prefix=/opt/x", "--extra-version=0+deb12u1", "--enable-gpl", "--enable-libclarivid"} <= set(
        words
    )
    assert not [word for word in words if "x264" in word or "sndio" in word]
    (filters,) = [word for word in words if word.startswith("--enable-filter=")]
    assert filters.endswith(",vignette,w3fdif,yadif,dnn_sr,lowrank_pre,mesh_inpaint")
    assert stub.configuration in (tree() / "config.h").read_text()  # ffmpeg compares, and would warn


def static(stub: Stub) -> str:
    main = stub.folder / "static.c"
    main.write_text(
        '#include <stdio.h>\nint main(void) { puts("ffmpeg version 5.1.9 Copyright"); return 0; }\n'
    )
    compile_c(main, stub.program)
    return "is not linked with a shared libavfilter: it is static"


def stranger(stub: Stub) -> str:
    main = stub.folder / "stranger.c"
    main.write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    compile_c(main, stub.program)
    return "is not ffmpeg: it does not answer -version"


def script(stub: Stub) -> str:
    stub.program.write_text("#!/bin/sh\nexec ffmpeg\n")
    return "is a script; give the path of the ffmpeg that it starts"


def no_program(stub: Stub) -> str:
    stub.program.write_text("nothing of use, but long enough")
    return "is no program for Linux"


def other_machine(stub: Stub) -> str:
    data = bytearray(stub.program.read_bytes())
    data[18:20] = (22).to_bytes(2, "little")
    stub.program.unlink()
    stub.program.write_bytes(bytes(data))
    return f"is for s390x, and this machine is {platform.machine()}"


def other_series(stub: Stub) -> str:
    stub.version = "4.4.2-0ubuntu0.22.04.1"
    stub.install()
    return r"is FFmpeg 4.4.2-0ubuntu0.22.04.1, and clarivid has patches for releases of 5\.1"


def development(stub: Stub) -> str:
    stub.version = "N-109542-g2c0bbc1"
    stub.install()
    return "is FFmpeg N-109542-g2c0bbc1, and clarivid has patches for releases of"


def mixed(stub: Stub) -> str:
    stub.numbers = "  8. 44.100 /   8. 49.101"
    stub.install()
    return "was compiled with libavfilter 8.44.100 and runs with 8.49.101"


def gone(stub: Stub) -> str:
    stub.program.unlink()
    return "does not exist; give the path of an ffmpeg"


def folder(stub: Stub) -> str:
    stub.program.unlink()
    stub.program.mkdir()
    return "is a folder; give the path of an ffmpeg"


@pytest.mark.parametrize(
    "spoil",
    [static, stranger, script, no_program, other_machine, other_series, development, mixed, gone, folder],
)
def test_what_cannot_have_one_is_refused_with_the_reason(stub: Stub, spoil: Callable[[Stub], str]) -> None:
    message = spoil(stub)
    with pytest.raises(InputError, match=message):
        make(stub)
    assert not (Path(os.environ["CLARIVID_CACHE"]) / "dropin").exists()


def test_an_ffmpeg_of_no_package_needs_its_source(stub: Stub) -> None:
    with pytest.raises(InputError, match=r"is of no package of this distribution.*5\.1\.9 with --source"):
        dropin.build(program=stub.program)


def test_a_source_of_another_release_is_refused(stub: Stub) -> None:
    (stub.source / "RELEASE").write_text("5.1.8\n")
    with pytest.raises(InputError, match=r"is FFmpeg 5\.1\.8, and .* is 5\.1\.9"):
        make(stub)
    (stub.source / "RELEASE").write_text("5.1.9\n")
    (stub.source / "libavutil" / "version.h").write_text("#define LIBAVUTIL_VERSION_MINOR 99\n")
    with pytest.raises(InputError, match=r"the source's libavutil is 57\.99, and .* runs with 57\.28\.100"):
        make(stub)


def test_a_program_that_runs_with_a_dropin_is_told_so(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(stub)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{made.root}/lib/avfilter:{stub.libraries}")
    with pytest.raises(InputError, match="is running with a drop-in already"):
        stocks.inspect(stub.program)


def test_a_machine_without_ffmpeg_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stocks.shutil, "which", lambda _: None)
    monkeypatch.setattr(stocks.Path, "exists", lambda _: False)
    with pytest.raises(InputError, match="apt-get install ffmpeg"):
        stocks.locate(None)


def test_missing_tools_are_named_with_the_packages(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    from clarivid.ffmpeg.dropin import making

    which = making.shutil.which
    monkeypatch.setattr(making.shutil, "which", lambda name: None if name == "make" else which(name))
    with pytest.raises(ToolError, match=r"without make; .*apt-get install"):
        make(stub)


def test_two_at_once_end_with_the_same_one(stub: Stub) -> None:
    def one(_: int) -> dropin.Dropin | Error:
        try:
            return make(stub)
        except Error as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(one, range(3))
    assert isinstance(first, dropin.Dropin), first
    assert others == [first, first]
    assert len((tree() / "make.calls").read_text().splitlines()) == 1


def test_the_command_line_refuses_with_a_sentence(
    stub: Stub, clarivid: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    message = static(stub)
    done = clarivid("ffmpeg", "dropin", "--ffmpeg", str(stub.program))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clarivid: error: ")
    assert message in done.stderr
    done = clarivid("ffmpeg", "dropin", "--ffmpeg", str(stub.program), "--remove")
    assert (done.returncode, done.stdout) == (0, "there is nothing to remove\n")
