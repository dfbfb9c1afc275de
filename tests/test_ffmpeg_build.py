# SPDX-License-Identifier: BSD-2-Clause
"""Building FFmpeg: what is done, what is not done twice, and what is said when it fails.

A stub source stands in for FFmpeg, so that a build takes a moment; the tests at the end look at the real one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import filter_tools as tools
from clarivid import ffmpeg, packages
from clarivid.errors import DigestError, Error, InputError, ToolError
from clarivid.ffmpeg import builder, codec_headers, library, series, source
from clarivid.ffmpeg.flags import configure_flags

CONFIGURE = """#!/bin/sh
echo configured >> configure.calls
echo "$@" > configure.arguments
for word in "$@"; do
    case $word in --pkg-config=*) tool=${word#*=} ;; esac
done
${tool:-pkg-config} --version || exit 6
${tool:-pkg-config} --exists --print-errors "clarivid >= 0.1" || exit 7
${tool:-pkg-config} --cflags clarivid ffnvcodec > configure.cflags || exit 7
${tool:-pkg-config} --libs clarivid | grep lclarivid || exit 8
test -f "$(${tool:-pkg-config} --variable=includedir ffnvcodec)/ffnvcodec/nvEncodeAPI.h" || exit 9
"""

MAKEFILE = """all: ffmpeg ffprobe
ffmpeg: libavfilter/vf_dnn_sr.c
\t@printf "%s\\t%s\\n" LD $@; echo $@ >> make.calls
\t@/bin/echo '#!/bin/sh' > $@; chmod +x $@
\t@echo 'for f in dnn_sr lowrank_pre mesh_inpaint; do echo .. $$f V; done' >> $@
ffprobe:
\t@printf "%s\\t%s\\n" LD $@; printf '#!/bin/sh\\n' > $@; chmod +x $@
"""

PATCH = """--- a/libavfilter/allfilters.c
+++ b/libavfilter/allfilters.c
@@ -1 +1,2 @@
 line
+patched
"""


HEADERS = codec_headers.CodecHeaders(
    tuple((f"{name}.h", b"header") for name in ("dynlink_cuda", "nvEncodeAPI")), "12.1.14.0"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Stub builds go into a cache of their own; tests of the real ffmpeg look into the user's."""
    if "real" not in request.node.name:
        monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source folder that configures and builds like FFmpeg, with filters and a patch that fit it."""
    root = tmp_path / "ffmpeg-7.1.9"
    (root / "libavfilter").mkdir(parents=True)
    (root / "RELEASE").write_text("7.1.9\n")
    (root / "configure").write_text(CONFIGURE)
    (root / "configure").chmod(0o755)
    (root / "Makefile").write_text(MAKEFILE)
    (root / "libavfilter" / "allfilters.c").write_text("line\n")
    shared = tmp_path / "shared"
    for kind, name, text in (("filters", "vf_dnn_sr.c", "filter"), ("patches", "ffmpeg-7.1.patch", PATCH)):
        (shared / kind).mkdir(parents=True)
        (shared / kind / name).write_text(text)
    (shared / "models" / "net_x2").mkdir(parents=True)
    (shared / "models" / "net_x2" / "model.onnx").write_text("net")
    monkeypatch.setattr(library, "share_dirs", lambda kind: [shared / kind])
    monkeypatch.setattr(codec_headers, "fetch", lambda _: HEADERS)
    return root


def tree() -> Path:
    """The one tree of the cache."""
    (found,) = (Path(os.environ["CLARIVID_CACHE"]) / "ffmpeg").glob("tree-*")
    return found


def calls(name: str) -> int:
    """How often the stub's configure or make did something."""
    return len((tree() / f"{name}.calls").read_text().splitlines())


def test_a_build_is_found_and_not_done_twice(stub: Path) -> None:
    with pytest.raises(ToolError, match="not built yet; run 'clarivid ffmpeg build'"):
        ffmpeg.find()
    built = ffmpeg.build(source_path=stub)
    assert built.version == "7.1.9"
    assert built.ffmpeg.is_file()
    assert built.ffprobe.is_file()
    assert ffmpeg.find() == built
    assert ffmpeg.build(source_path=stub) == built
    assert (calls("configure"), calls("make")) == (1, 1)
    assert (tree() / "libavfilter" / "allfilters.c").read_text() == "line\npatched\n"
    assert (stub / "libavfilter" / "allfilters.c").read_text() == "line\n"


def test_an_edited_filter_is_compiled_without_configuring_again(stub: Path, tmp_path: Path) -> None:
    first = ffmpeg.build(source_path=stub)
    (tmp_path / "shared" / "filters" / "vf_dnn_sr.c").write_text("another filter")
    with pytest.raises(ToolError, match=r"built before the filters.*changed"):
        ffmpeg.find()
    second = ffmpeg.build(source_path=stub)
    assert second.root != first.root
    assert first.ffmpeg.is_file()  # who runs it goes on
    assert (calls("configure"), calls("make")) == (1, 2)


def test_an_edited_model_compiles_nothing(stub: Path, tmp_path: Path) -> None:
    ffmpeg.build(source_path=stub)
    (tmp_path / "shared" / "models" / "net_x2" / "model.onnx").write_text("a better net")
    built = ffmpeg.build(source_path=stub)
    assert (built.root / "share/clarivid/models/net_x2/model.onnx").read_text() == "a better net"
    assert (calls("configure"), calls("make")) == (1, 1)


def test_trimmed_and_full_builds_live_side_by_side(stub: Path) -> None:
    full = ffmpeg.build(source_path=stub, kind="full")
    assert ffmpeg.find() == full  # the only one
    trimmed = ffmpeg.build(source_path=stub)
    assert ffmpeg.find() == trimmed
    assert ffmpeg.find(kind="full") == full
    assert (full.kind, trimmed.kind) == ("full", "transcode")


def test_a_build_needs_nothing_outside_the_cache(stub: Path) -> None:
    built = ffmpeg.build(source_path=stub)
    for path in built.root.rglob("*"):
        assert path.exists(), f"{path} leads nowhere"
        assert path.resolve().is_relative_to(os.environ["CLARIVID_CACHE"]), path
    assert list((built.root / "lib").glob("libclarivid.so*"))
    assert list((built.root / "lib" / "openvino").glob("libopenvino.so*"))


@pytest.mark.parametrize(
    ("file", "text", "step"),
    [
        ("configure", "#!/bin/sh\necho no compiler here\nexit 3\n", "configure"),
        ("Makefile", "all:\n\techo no compiler here; exit 3\n", "compile"),
        ("libavfilter/allfilters.c", "", "apply the patch"),
    ],
    ids=["configure", "make", "patch"],
)
def test_a_failure_names_the_step_and_the_log_and_leaves_nothing_half_done(
    stub: Path, file: str, text: str, step: str
) -> None:
    sound = (stub / file).read_text()
    (stub / file).write_text(text)
    with pytest.raises(ToolError, match=f"step '{step}' failed") as caught:
        ffmpeg.build(source_path=stub)
    log = re.search(r"whole log is (\S+\.log)", str(caught.value))
    assert log is not None
    assert Path(log[1]).is_file()
    if step != "apply the patch":
        assert "| no compiler here" in str(caught.value)
    with pytest.raises(ToolError, match="not built yet"):
        ffmpeg.find()
    (stub / file).write_text(sound)
    assert ffmpeg.build(source_path=stub).ffmpeg.is_file()
    assert not list((Path(os.environ["CLARIVID_CACHE"]) / "ffmpeg").glob(".*.*"))


def test_a_failed_configure_runs_again(stub: Path) -> None:
    (stub / "configure").write_text(CONFIGURE + "test -e allowed\n")
    with pytest.raises(ToolError, match="step 'configure' failed"):
        ffmpeg.build(source_path=stub)
    (tree() / "allowed").touch()
    assert ffmpeg.build(source_path=stub).ffmpeg.is_file()


def test_a_program_that_does_not_start_is_not_kept(stub: Path) -> None:
    makefile = stub / "Makefile"
    makefile.write_text(makefile.read_text().replace("for f in", "exit 9; for f in"))
    with pytest.raises(ToolError, match="step 'check' failed"):
        ffmpeg.build(source_path=stub)
    with pytest.raises(ToolError, match="not built yet"):
        ffmpeg.find()


def test_two_builds_at_once_do_the_work_once(stub: Path) -> None:
    results: list[ffmpeg.Built | Error] = []

    def work() -> None:
        try:
            results.append(ffmpeg.build(source_path=stub))
        except Error as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert isinstance(results[0], ffmpeg.Built)
    assert (calls("configure"), calls("make")) == (1, 1)


def test_progress_counts_what_make_does(stub: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    ffmpeg.build(source_path=stub, progress=lambda *step: seen.append(step))
    assert [step for step, _, _ in seen if step in {"configure", "compile"}]
    assert seen[-1] == ("compile", 2, 2)
    assert ("compile", 1, 2) in seen


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(folder, folder.name)
    return archive


def test_a_tarball_is_a_source_too(stub: Path, tmp_path: Path) -> None:
    archive = pack(stub, tmp_path / "source.tar.xz")
    assert ffmpeg.build(source_path=archive).version == "7.1.9"


def test_what_an_earlier_build_left_in_a_source_folder_is_not_taken(stub: Path) -> None:
    (stub / "libavformat").mkdir()
    (stub / "libavformat" / "packet_list.c").write_text("a source of FFmpeg's, of 9.0")
    before = source.open_source(stub).digest
    (stub / "libavfilter" / "vf_dnn_sr.o").write_text("object")
    (stub / "libavfilter" / "filter_list.c").write_text("made by configure")
    (stub / "config.h").write_text("of another build")
    assert source.open_source(stub).digest == before
    ffmpeg.build(source_path=stub)
    assert not (tree() / "config.h").exists()
    assert not (tree() / "libavfilter" / "filter_list.c").exists()
    assert (tree() / "libavformat" / "packet_list.c").exists()
    assert not (tree() / "libavfilter" / "vf_dnn_sr.o").exists()


def no_release(root: Path) -> None:
    (root / "RELEASE").unlink()


def other_series(root: Path) -> None:
    (root / "RELEASE").write_text("7.10.2\n")


@pytest.mark.parametrize(
    ("spoil", "message"), [(no_release, "no file RELEASE"), (other_series, "is FFmpeg 7.10.2, but")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_source_that_is_none_is_refused(
    stub: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str, packed: bool
) -> None:
    spoil(stub)
    with pytest.raises(InputError, match=message):
        ffmpeg.build(source_path=pack(stub, tmp_path / "source.tar.xz") if packed else stub)


def test_a_file_that_is_no_tarball_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source.tar.xz").write_bytes(b"\xfd7zXZ\0 and then nothing of use")
    with pytest.raises(InputError, match=r"cannot read .*source\.tar\.xz"):
        ffmpeg.build(source_path=tmp_path / "source.tar.xz")
    with pytest.raises(InputError, match="does not exist"):
        ffmpeg.build(source_path=tmp_path / "nowhere")


def fetched(monkeypatch: pytest.MonkeyPatch, root: Path, version: str, sha256: str) -> list[str]:
    """Let the Debian archive carry this, and call fetch(); what it says to the user comes back."""
    package = packages.Package("debsrc", "ffmpeg", version, root, sha256, None)
    monkeypatch.setattr(packages, "fetch_debian_source", lambda *_, **__: package)
    said: list[str] = []
    source.fetch(series.get("7.1"), said.append)
    return said


def test_the_archive_may_move_within_the_series_and_that_is_said(
    stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = series.get("7.1").sha256
    assert known is not None
    assert fetched(monkeypatch, stub.parent, "7:7.1.5-0+deb13u1", known) == []
    (note,) = fetched(monkeypatch, stub.parent, "7:7.1.9-0+deb13u1", "0" * 64)
    assert "7.1.9" in note
    assert "7.1.5" in note


def test_a_known_release_with_another_digest_is_refused(stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DigestError, match="expected de668509"):
        fetched(monkeypatch, stub.parent, "7.1.5", hashlib.sha256(b"evil").hexdigest())


def test_another_series_in_the_archive_is_refused_with_the_remedy(
    stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ToolError, match="--source"):
        fetched(monkeypatch, stub.parent, "7:8.0.1-1", "0" * 64)


def test_missing_tools_are_named_with_the_packages(monkeypatch: pytest.MonkeyPatch, stub: Path) -> None:
    which = shutil.which
    monkeypatch.setattr(builder.shutil, "which", lambda name: None if name == "nasm" else which(name))
    with pytest.raises(ToolError, match=r"without nasm; .*apt-get install .*nasm"):
        ffmpeg.build(source_path=stub)


def test_a_bare_build_needs_no_external_library_no_assembler_and_no_pkg_config(
    monkeypatch: pytest.MonkeyPatch, stub: Path
) -> None:
    which = shutil.which
    gone = {"nasm", "pkg-config"}
    monkeypatch.setattr(builder.shutil, "which", lambda name: None if name in gone else which(name))
    built = ffmpeg.build(source_path=stub, bare=True)
    assert (built.bare, ffmpeg.find(), ffmpeg.find(bare=True)) == (True, built, built)
    arguments = (tree() / "configure.arguments").read_text().split()
    assert {"--disable-x86asm", "--enable-ffnvcodec", "--enable-libclarivid"} <= set(arguments)
    assert not [word for word in arguments if re.search(r"--enable-(libx26|libzimg|zlib)", word)]
    with pytest.raises(ToolError, match="run 'clarivid ffmpeg build --full --bare'"):
        ffmpeg.find(kind="full", bare=True)


def headers_folder(folder: Path, version: str = "12.1.14.0", without: str = "") -> Path:
    """A source of nv-codec-headers."""
    inside = folder / "nv-codec-headers" / "include" / "ffnvcodec"
    inside.mkdir(parents=True)
    for name in ("nvEncodeAPI", "dynlink_cuda", "dynlink_cuviddec", "dynlink_nvcuvid", "dynlink_loader"):
        if name != without:
            (inside / f"{name}.h").write_text(f"/* {name} */")
    (folder / "nv-codec-headers" / "ffnvcodec.pc.in").write_text(f"prefix=@@PREFIX@@\nVersion: {version}\n")
    return folder / "nv-codec-headers"


@pytest.mark.parametrize("packed", [False, True])
def test_the_codec_headers_may_be_given_as_a_folder_or_a_tarball(
    stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(codec_headers, "fetch", lambda _: pytest.fail("fetched although given"))
    headers = headers_folder(tmp_path)
    ffmpeg.build(source_path=stub, headers_path=pack(headers, tmp_path / "h.tar.xz") if packed else headers)
    prefix = tree() / "clarivid-prefix"
    assert (prefix / "include/ffnvcodec/nvEncodeAPI.h").read_text() == "/* nvEncodeAPI */"
    assert "Version: 12.1.14.0" in (prefix / "lib/pkgconfig/ffnvcodec.pc").read_text()


@pytest.mark.parametrize(
    ("version", "without", "message"),
    [("12.0.16.1", "", "are ffnvcodec 12.0.16.1, but"), ("12.1.14.0", "dynlink_cuda", "no dynlink_cuda.h;")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_codec_headers_that_are_none_are_refused(
    stub: Path, tmp_path: Path, version: str, without: str, message: str, packed: bool
) -> None:
    headers = headers_folder(tmp_path, version, without)
    with pytest.raises(InputError, match=message):
        ffmpeg.build(
            source_path=stub, headers_path=pack(headers, tmp_path / "h.tar.xz") if packed else headers
        )
    with pytest.raises(InputError, match="nowhere' does not exist; give the folder or tarball"):
        ffmpeg.build(source_path=stub, headers_path=tmp_path / "nowhere")


def test_no_build_is_nonfree_by_default() -> None:
    for kind in ("transcode", "full", "checks"):
        for bare in (False, True):
            flags = configure_flags(kind, bare)
            assert "--enable-gpl" in flags
            assert not [flag for flag in flags if "nonfree" in flag]


def test_the_command_line_says_where_it_is_or_what_to_do(
    clarivid: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = clarivid("ffmpeg", "path", CLARIVID_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("clarivid: error: FFmpeg with clarivid's filters is not built yet")
    done = clarivid("ffmpeg", "build", "--source", str(tmp_path), CLARIVID_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert "is not FFmpeg's source" in done.stderr


def test_the_real_ffmpeg_finds_its_library_beside_it() -> None:
    built = tools.built()
    dynamic = subprocess.run(
        ["readelf", "-d", str(built.ffmpeg)], capture_output=True, text=True, check=True
    ).stdout
    assert "[$ORIGIN/../lib]" in dynamic
    assert "libclarivid.so" in dynamic
    linked = subprocess.run(["ldd", str(built.ffmpeg)], capture_output=True, text=True, check=True).stdout
    assert f"{built.root}/bin/../lib/libclarivid.so" in linked


def test_the_real_ffmpeg_is_free_and_has_what_a_transcode_needs(
    clarivid: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert "nonfree" not in tools.run("-L").stdout.decode()
    encoders = tools.run("-encoders").stdout.decode()
    assert all(name in encoders for name in ("libx264", "libx265", "h264_nvenc", "hevc_nvenc"))
    decoders = tools.run("-decoders").stdout.decode()
    assert all(name in decoders for name in ("h264_cuvid", "hevc_cuvid"))
    assert "cuda" in tools.run("-hwaccels").stdout.decode().split()
    filters = tools.run("-filters").stdout.decode()
    assert all(f" {name} " in filters for name in ("hwupload_cuda", "hwupload", "hwdownload"))
    assert clarivid("ffmpeg", "path").stdout == f"{tools.built().ffmpeg}\n"
