# SPDX-License-Identifier: BSD-2-Clause
"""``clarivid run``: what goes in, what comes out, and what is left when it does not work."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clarivid import CancelledError, Chain, chains, clips, ff, quality
from clarivid.chains.probe import exact_times
from clarivid.errors import InputError, ToolError
from clarivid.ffmpeg import find
from conftest import Run
from filter_cuda_tools import device, on_device

FRAMES = 30


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little over a second with sound."""
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x96:r=25", "-f", "lavfi"]
    command += ["-i", "sine=d=1.2", "-frames:v", str(FRAMES), "-c:v", "libx264", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    return path


def streams(path: Path) -> str:
    """What ffmpeg says about a file."""
    command = [clips.encoder(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def packets(path: Path) -> str:
    """Digests of the audio packets."""
    command = [
        clips.encoder(),
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0:a",
        "-c",
        "copy",
        "-f",
        "streamhash",
        "-",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_pictures_are_filtered_and_audio_is_copied(film: Path, tmp_path: Path, clarivid: Run) -> None:
    out = tmp_path / "out.mp4"
    done = clarivid("run", "scale=64:48", str(film), str(out))
    assert done.returncode == 0, done.stderr
    assert f"{out}: {FRAMES} frames" in done.stdout
    assert "64x48" in streams(out)
    assert packets(out) == packets(film)
    assert quality.frame_count(out) == FRAMES
    assert sorted(tmp_path.iterdir()) == [out], "a draft is left"
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


def test_python_draws_a_bar_where_there_is_a_terminal(film: Path, tmp_path: Path) -> None:
    script = f"import clarivid; clarivid.Chain(clarivid.ff.null()).run({str(film)!r}, 'o.mkv', progress=True)"
    words = ["script", "-qec", shlex.join([sys.executable, "-c", script]), "log"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"o\.mkv.*100 %.* fps", done.stdout)
    plain = subprocess.run([sys.executable, "-c", script.replace("o.mkv", "p.mkv")], cwd=tmp_path,
                           capture_output=True, check=True)  # fmt: skip
    assert not plain.stdout + plain.stderr


def test_progress_ends_at_the_whole_film(film: Path, tmp_path: Path) -> None:
    seen: list[chains.Progress] = []
    done = chains.run("null", film, tmp_path / "o.mkv", progress=seen.append)
    assert done.frames == FRAMES
    assert seen[-1].total == pytest.approx(1.2, abs=0.1)
    assert seen[-1].seconds == pytest.approx(seen[-1].total, abs=0.15)


def test_encoder_and_its_options_are_those_asked_for(film: Path, tmp_path: Path) -> None:
    chains.run("null", film, tmp_path / "o.mkv", video_codec="ffv1", video_options=["-slices", "4"])
    assert "Video: ffv1" in streams(tmp_path / "o.mkv")


def test_a_failure_carries_what_ffmpeg_said_and_leaves_nothing(film: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"No such filter: 'nosuch'"):
        chains.run("nosuch", film, tmp_path / "o.mp4")
    with pytest.raises(ToolError, match=r"(?s)ended with code .* on .*in.mp4; it said:.*Undefined constant"):
        chains.run("hue=s='a,b'", film, tmp_path / "o.mp4")
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_is_kept_unless_told_otherwise(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    out.write_bytes(b"precious")
    with pytest.raises(InputError, match=r"exists: name another output"):
        chains.run("null", film, out)
    with pytest.raises(ToolError):
        chains.run("nosuch", film, out, overwrite=True)
    assert out.read_bytes() == b"precious"
    chains.run("null", film, out, overwrite=True)
    assert quality.frame_count(out) == FRAMES


def test_bad_files_are_sentences(film: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.mp4 does not exist"):
        chains.run("null", tmp_path / "nowhere.mp4", tmp_path / "o.mp4")
    with pytest.raises(InputError, match=r"has no suffix"):
        chains.run("null", film, tmp_path / "o")
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        chains.run("null", film, tmp_path / "no" / "o.mp4")
    with pytest.raises(InputError, match=r"is an input"):
        chains.run("null", film, film, overwrite=True)


def test_encoders_options_are_keyword_arguments(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    done = Chain(ff.null()).run(film, out, video_codec="libx264", crf=40, preset="ultrafast", audio="flac")
    assert done.frames == FRAMES
    assert done.notes == ()
    assert "Audio: flac" in streams(out)
    small = Chain(ff.null()).run(film, out, crf=51, audio="none", overwrite=True)
    assert small.frames == FRAMES
    assert "Audio" not in streams(out)
    with pytest.raises(ToolError, match=r"the encoder libx264 has no option 'crff'"):
        Chain(ff.null()).run(film, out, crff=3, overwrite=True)
    with pytest.raises(InputError, match=r"the encoder has no option 'crf', and would go on without it"):
        Chain(ff.null()).run(film, out, video_codec="mpeg4", crf=3, overwrite=True)
    with pytest.raises(ToolError, match=r"no encoder 'libx265x' \(did you mean 'libx265'\?\)"):
        Chain(ff.null()).run(film, out, video_codec="libx265x", overwrite=True)
    for bad, sentence in [
        ({"video_codec": "copy"}, "has to be encoded"),
        ({"audio": "-i"}, "no name of an encoder"),
        ({"crf": [1]}, "neither text nor a number"),
        ({"hwaccel": "vaapi"}, "it is cuda"),
        ({"damaged": "accpt"}, r"did you mean 'accept'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            Chain(ff.null()).run(film, out, overwrite=True, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lowrnk_pre", r"this ffmpeg has no filter 'lowrnk_pre' \(did you mean 'lowrank_pre'\?\)"),
        ("null,scal=64:48", r"this ffmpeg has no filter 'scal' \(did you mean 'scale'\?\)"),
        ("scale=witdh=2", r"the filter scale has no option 'witdh' \(did you mean 'width'\?\)"),
        ("null,hwdownload,hue", r"null gives frames that hwdownload does not take: .* GPU memory"),
        ("format=gray,format=gray,hwdownload", r"format gives frames that hwdownload does not take"),
        ("trim=start=100", r"no frame came out of the chain"),
    ],
)
def test_a_chain_that_does_not_fit_is_a_sentence(
    film: Path, tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(ToolError, match=sentence) as caught:
        chains.run(text, film, tmp_path / "o.mp4")
    assert "\n" not in str(caught.value).partition("; ffmpeg ended with")[0]
    assert not list(tmp_path.iterdir())


@on_device
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{up},lowrank_pre=backend=cuda,hue=s=0", "lowrank_pre gives frames that hue does not take"),
        ("{up},lowrank_pre=backend=cuda", "lowrank_pre gives frames that the encoder does not take"),
        ("hwdownload,lowrank_pre", "the decoder gives frames that hwdownload does not take"),
    ],
)
def test_frames_on_a_gpu_and_a_filter_for_the_host_are_a_sentence(
    film: Path, tmp_path: Path, text: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (device() or {}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ToolError, match=sentence):
        chains.run(text.format(up="scale=64:48,format=nv12,hwupload_cuda"), film, tmp_path / "o.mp4")
    assert not list(tmp_path.iterdir())


def test_conversions_that_ffmpeg_makes_by_itself_are_told(film: Path, tmp_path: Path) -> None:
    done = chains.run("format=yuv444p,lowrank_pre=backend=cpu", film, tmp_path / "o.mp4")
    assert "ffmpeg converted frames from yuv444p to yuv420p" in done.notes


def test_a_mask_and_a_filter_that_takes_it_belong_together(film: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is in the chain 'null' 0 times"):
        chains.run("null", film, tmp_path / "o.mp4", mask=film)
    with pytest.raises(InputError, match=r"has rect, boxes or segment"):
        chains.run("mesh_inpaint=rect=1|2|3|4", film, tmp_path / "o.mp4", mask=film)
    with pytest.raises(InputError, match=r"needs to know what is to vanish: give a mask"):
        chains.run("mesh_inpaint", film, tmp_path / "o.mp4")


def encode(out: Path, *words: str) -> Path:
    subprocess.run([clips.encoder(), "-v", "error", "-y", *words, str(out)], check=True)
    return out


def test_files_without_a_picture_are_sentences(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "o.mp4"
    out.parent.mkdir()
    (tmp_path / "text.mp4").write_text("I am no film")
    with pytest.raises(InputError, match=r"text.mp4 is no video that ffmpeg reads.*: "):
        chains.run("null", tmp_path / "text.mp4", out)
    sound = encode(tmp_path / "sound.m4a", "-i", str(film), "-vn", "-c", "copy")
    with pytest.raises(InputError, match=r"sound.m4a has no video stream; it has audio \(aac\)"):
        chains.run("null", sound, out)
    with pytest.raises(InputError, match=r"is a folder"):
        chains.run("null", tmp_path, out)
    (tmp_path / "f.mp4").mkdir()
    with pytest.raises(InputError, match=r"is a folder: name a file"):
        chains.run("null", film, tmp_path / "f.mp4")
    with pytest.raises(InputError, match=r"\.xyz is no container that ffmpeg knows"):
        chains.run("null", film, out.with_suffix(".xyz"))
    with pytest.raises(ToolError, match=r"\.webm does not hold one of the streams: .*--video-codec"):
        chains.run("null", film, out.with_suffix(".webm"))
    with pytest.raises(ToolError, match=r"(?s)\.mp4 does not hold adpcm_ms: .*--audio aac"):
        chains.run("null", encode(tmp_path / "odd.mkv", "-i", str(film), "-c:a", "adpcm_ms"), out)
    old = encode(tmp_path / "old.avi", "-i", str(film), "-an", "-c:v", "msmpeg4v2")
    with pytest.raises(ToolError, match=r"no decoder for msmpeg4v2, .*ffmpeg build --full"):
        chains.run("null", old, out)
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize(
    ("suffix", "words"),
    [
        (".mkv", []),
        (".mp4", ["-movflags", "+faststart"]),
        (".ts", []),
        (".avi", ["-bf", "0"]),
        (".mp4", []),  # what says where things are lies at the end
    ],
)
def test_a_film_that_ends_in_the_middle_gives_nothing_unless_told_to(
    film: Path, tmp_path: Path, suffix: str, words: list[str]
) -> None:
    whole = encode(tmp_path / f"whole{suffix}", "-i", str(film), "-c:a", "copy", *words)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    out = tmp_path / "out" / "o.mkv"
    out.parent.mkdir()
    with pytest.raises(InputError, match=r"cut.* (ends in the middle|is cut off)"):
        chains.run("null", cut, out)
    assert not list(out.parent.iterdir())
    if words or suffix != ".mp4":
        done = chains.run("null", cut, out, damaged="accept")
        assert 0 < done.frames < FRAMES
        assert any("ends in the middle" in note for note in done.notes)
        assert quality.frame_count(out) == done.frames
    assert chains.run("null", whole, out, overwrite=True).frames == FRAMES


def test_a_disk_that_is_full_or_may_not_be_written_is_a_sentence(film: Path, tmp_path: Path) -> None:
    """In a mount namespace of its own, where a small tmpfs can be mounted without being root."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no mount namespaces (unshare -rm)")
    run = f"{sys.executable} -m clarivid run noise=alls=60:allf=t {film} {tmp_path}/o.mp4"
    for options, sentence in [
        ("size=64k", "no space is left for"),
        ("size=64k,ro", f"the folder {tmp_path} may not be written"),
    ]:
        mount = f"mount -t tmpfs -o {options} none {tmp_path}"
        script = f"{mount} && {{ {run}; code=$?; ls -A {tmp_path}; exit $code; }}"
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        assert f"clarivid: error: {sentence}" in done.stderr
        assert not done.stdout, "something is left"


def test_what_goes_with_the_picture_is_kept_or_told(film: Path, tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\nHello\n")
    (tmp_path / "meta").write_text(
        ";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n"
    )
    words = [
        "-i",
        str(film),
        "-i",
        str(tmp_path / "s.srt"),
        "-i",
        str(tmp_path / "meta"),
        "-map",
        "0",
        "-map",
        "1",
    ]
    words += ["-map_metadata", "2", "-metadata:s:v:0", "language=deu", "-c", "copy"]
    rich = encode(tmp_path / "rich.mkv", *words, "-aspect", "16:9", "-metadata:s:a:0", "language=fra")
    done = chains.run("null", rich, tmp_path / "o.mkv")
    said = streams(tmp_path / "o.mkv")
    for part in (
        "title           : A film",
        "Chapter #0:0",
        "(deu): Video",
        "(fra): Audio",
        "Subtitle: subrip",
    ):
        assert part in said
    assert "DAR 16:9" in said
    assert done.notes == ()
    done = chains.run("null", rich, tmp_path / "o.mp4")
    assert done.notes == ("stream 2, subtitle (subrip), is not written to .mp4",)
    assert "DAR 16:9" in streams(tmp_path / "o.mp4")


def test_streams_that_end_early_are_no_sign_of_damage(film: Path, tmp_path: Path) -> None:
    words = ["-i", str(film), "-t", "0.2", "-i", str(film), "-map", "0:v", "-map", "1:a", "-c", "copy"]
    quiet = encode(tmp_path / "quiet.mp4", *words)
    seen: list[chains.Progress] = []
    assert chains.run("null", quiet, tmp_path / "o.mp4", progress=seen.append).frames == FRAMES
    assert seen[-1].seconds == pytest.approx(FRAMES / 25, abs=0.1)
    (tmp_path / "font.ttf").write_bytes(b"no font")
    words = ["-i", str(film), "-attach", str(tmp_path / "font.ttf"), "-metadata:s:t", "mimetype=font/ttf"]
    font = encode(tmp_path / "font.mkv", *words, "-c", "copy")
    assert chains.run("null", font, tmp_path / "o.mkv").frames == FRAMES
    assert "font.ttf" in streams(tmp_path / "o.mkv")
    assert chains.run("null", font, tmp_path / "raw.h264", audio="none").frames == FRAMES


def times(path: Path) -> list[str]:
    command = [str(find().ffprobe), "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time"]
    done = subprocess.run([*command, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())


def test_frames_keep_their_times(film: Path, tmp_path: Path) -> None:
    uneven = "setpts='(N+0.3*mod(N,3))/25/TB',settb=1/90000"
    source = encode(tmp_path / "vfr.mp4", "-i", str(film), "-an", "-vf", uneven, "-fps_mode", "passthrough")
    assert len(times(source)) == FRAMES
    for codec, suffix in (("libx264", ".mp4"), ("libx265", ".mp4"), ("ffv1", ".mkv")):
        chains.run("null", source, tmp_path / f"{codec}{suffix}", video_codec=codec)
        got = [float(time) for time in times(tmp_path / f"{codec}{suffix}")]
        assert got == pytest.approx([float(time) for time in times(source)], abs=0.0006)
    chains.run("null", source, tmp_path / "o.avi", video_codec="mpeg4")
    assert quality.frame_count(tmp_path / "o.avi") == FRAMES


@pytest.mark.parametrize(
    ("version", "base"),
    [("5.1.9", "-1"), ("n6.0", "-1"), ("6.1.2-0+deb13u1", "filter"), ("9.0", "filter"), ("N-1-g1", "filter")],
)
def test_an_ffmpeg_that_knows_no_time_base_of_filters_is_not_asked_for_it(
    tmp_path: Path, version: str, base: str
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho 'ffmpeg version {version} Copyright (c) 2000-2026'\n")
    program.chmod(0o755)
    assert exact_times(program) == ("-enc_time_base:v", base)


def test_a_picture_that_is_turned_stays_upright(film: Path, tmp_path: Path) -> None:
    words = ["-display_rotation:v:0", "90", "-i", str(film), "-c", "copy"]
    turned = encode(tmp_path / "turned.mp4", *words)
    chains.run("null", turned, tmp_path / "o.mp4")
    said = streams(tmp_path / "o.mp4")
    assert "96x128" in said
    assert "rotation" not in said


def test_cuda_is_decoded_filtered_and_encoded_in_one_memory(
    film: Path, tmp_path: Path, clarivid: Run
) -> None:
    done = clarivid(
        "run", "dnn_sr=model=game_x2", str(film), str(tmp_path / "o.mp4"), "--hwaccel", "cuda", "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    assert f" -hwaccel cuda -hwaccel_output_format cuda -i file:{film} " in done.stdout
    assert "'[0:V:0]dnn_sr=model=game_x2[out]'" in done.stdout
    assert " -c:v h264_nvenc -c:a copy " in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_name_that_looks_like_something_else_is_a_file(film: Path, tmp_path: Path) -> None:
    odd = tmp_path / "-y: %d [a];'b.mp4"
    odd.write_bytes(film.read_bytes())
    assert chains.run("null", odd, tmp_path / "pipe:1.mp4").frames == FRAMES
    assert quality.frame_count(tmp_path / "pipe:1.mp4") == FRAMES


def test_a_run_that_is_cancelled_leaves_nothing(film: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    threading.Timer(0.6, cancel.set).start()
    with pytest.raises(CancelledError):
        Chain(ff.realtime(speed=0.02)).run(film, tmp_path / "o.mp4", cancel=cancel)
    assert not list(tmp_path.iterdir())


def test_the_result_can_be_had_as_json(film: Path, tmp_path: Path, clarivid: Run) -> None:
    path = tmp_path / "chain.yaml"
    Chain(ff.scale(64, 48)).save(path)
    done = clarivid("run", str(path), str(film), str(tmp_path / "o.mp4"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["out"], told["frames"], told["notes"]) == (str(tmp_path / "o.mp4"), FRAMES, [])
    path.write_text("version: 1\nchain:\n  - fliter: null\n")
    done = clarivid("run", str(path), str(film), str(tmp_path / "p.mp4"))
    assert done.returncode == 1
    assert (
        f"clarivid: error: {path}, line 3: a filter has no key 'fliter' (did you mean 'filter'?)"
        in done.stderr
    )


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_ffmpeg_and_leaves_nothing(
    film: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "clarivid",
        "run",
        "realtime=speed=0.02",
        str(film),
        str(tmp_path / "o.mp4"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        until = time.monotonic() + 20
        while not list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 130, messages
    assert not list(tmp_path.iterdir())


def test_a_mask_takes_an_object_away(film: Path, tmp_path: Path, clarivid: Run) -> None:
    mask = tmp_path / "mask.mkv"
    source = "color=black:s=128x96:r=25,drawbox=40:30:30:30:white:fill,format=gray"
    command = [clips.encoder(), "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(FRAMES)]
    subprocess.run([*command, "-c:v", "ffv1", str(mask)], check=True)
    out = tmp_path / "out.mkv"
    codec = ("--video-codec", "ffv1")
    done = clarivid("run", "mesh_inpaint=model=none", str(film), str(out), "--mask", str(mask), *codec)
    assert done.returncode == 0, done.stderr
    assert quality.frame_count(out) == FRAMES
    assert quality.compare(out, film).psnr_y < 45
