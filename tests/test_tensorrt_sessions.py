# SPDX-License-Identifier: BSD-2-Clause
"""The backend tensorrt at work: engines found, loaded and run on pictures in device memory.

On the CPU emulator, with the fake libnvinfer.so.10 that csrc/backends/tensorrt/tests builds: its engines are
JSON, its net enlarges without interpolation. It is strict where TensorRT is silent: misuse ends the process.
Drivers and runtimes are found when a process starts, so this file runs itself in one that finds those.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clarivid.paths import checkout_dir

ROOT = checkout_dir() or Path()
BUILD = ROOT / ".venv" / "build"
EMULATOR = BUILD / "emulator"
FAKE = BUILD / "csrc" / "backends" / "tensorrt" / "tests" / "fake" / "libnvinfer.so.10"
INSIDE = "CLARIVID_FAKE_TENSORRT" in os.environ

if not INSIDE:

    @pytest.mark.skipif(not EMULATOR.is_dir(), reason="the emulator is not built (CLARIVID_CUDA)")
    @pytest.mark.parametrize("lazy", ["0", "1"], ids=["streams work at once", "streams work when waited for"])
    def test_all_of_this_file_on_the_emulator(lazy: str, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(EMULATOR),
                "CLARIVID_NVINFER": str(FAKE),
                "CLARIVID_CACHE": str(tmp_path),
                "CLARIVID_EMULATOR_LAZY": lazy,
                "CLARIVID_FAKE_TENSORRT": "101401",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
        assert "skipped" not in done.stdout

else:
    from clarivid import _core
    from clarivid.cuda import Device
    from clarivid.engines import EngineCache, Identity, Key, Profile
    from clarivid.engines.targets import this_machine
    from clarivid.errors import Error
    from clarivid.models import find_model
    from clarivid.paths import sha256_of
    from gpu import tools
    from onnx_models import random_net
    from sr_bundles import sr_bundle

    ERROR, WARNING, INFO, VERBOSE, DEBUG = range(5)
    WIDTH, HEIGHT = 66, 50
    FOLDED, LUMA = (1, 6, HEIGHT // 2, WIDTH // 2), (1, 1, HEIGHT, WIDTH)
    VALUES = int(np.prod(LUMA))
    fake = ctypes.CDLL(str(FAKE))

    def count(what: str) -> int:
        """Of the fake's objects or calls."""
        return int(fake.clarivid_fake_count(what.encode()))

    @pytest.fixture(scope="module")
    def device() -> Iterator[Device]:
        found = Device()
        yield found
        found.close()

    @pytest.fixture
    def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
        monkeypatch.setenv("CLARIVID_CACHE", str(tmp_path))
        return EngineCache(shared=[])

    @pytest.fixture(autouse=True)
    def nothing_is_left(device: Device) -> Iterator[None]:
        before = device.memory_info()[0]
        yield
        assert count("alive") == 0
        assert count("default") == 0, "TensorRT was given the default stream"
        assert device.memory_info()[0] == before

    def put(
        cache: EngineCache, model: str = "game_x2", arguments: dict[str, Any] | None = None, **changes: Any
    ) -> Path:
        """An engine for pictures of WIDTH x HEIGHT or the profile that ``changes`` give."""
        bundle = find_model(model)
        scale, shape = (1, FOLDED) if model == "lowrank_v1" else (2, LUMA)
        engine = {
            "fake": 1,
            "type": "f16",
            "scale": scale,
            "least": shape,
            "largest": shape,
            "weights": 4096,
            "activations": 64,
        }
        if scale == 1:
            engine["strength"] = "device"
        engine.update(changes)
        profile = Profile(tuple(engine["least"]), shape, tuple(engine["largest"]))  # type: ignore[arg-type]
        digest = sha256_of(bundle.folder / "model_fp16.onnx")
        target = this_machine()[0]
        if (arguments or {}).get("hardware_compatible"):
            target = Identity(86)
        key = Key(bundle.name, digest, "fp16", profile, "tensorrt", "10.14.1.48", target, arguments or {})
        entry, _ = cache.get(key, lambda: json.dumps(engine).encode(), {})
        return cache.set_parity(entry, {"passed": True}).path

    class Session:
        """A session on a stream; ``lines`` are (level, text)."""

        def __init__(self, device: Device, model: str = "game_x2", stream: int = 0, **options: Any) -> None:
            self.lines: list[tuple[int, str]] = []
            self.device = device
            lines = self.lines  # the model holds the function: no circle with this
            self.model = _core.Model(
                str(find_model(model).folder), lambda level, text: lines.append((level, text))
            )
            size = options.pop("size", (WIDTH, HEIGHT))
            look = _core.Format(*size, tools.FORMATS["nv12"], range=1, memory=1)
            where = _core.CudaDevice(device.context, stream)
            self.session = _core.Session(self.model, look, cuda=where, **{"backend": "tensorrt", **options})
            self.source = device.picture(*size, "nv12")
            self.result = device.picture(self.session.output.width, self.session.output.height, "nv12")

        def run(self, seed: int) -> None:
            """Enqueues a picture."""
            self.source.upload(tools.pack(tools.noise(WIDTH, HEIGHT, 8, seed), "nv12"))
            self.session.process(self.source.planes, self.result.planes)

        def check(self, seed: int, factor: float = 1.0) -> None:
            """That of ``seed`` came out as the fake's net has it; of nets on luma that is luma alone."""
            self.device.synchronise()
            got = tools.unpack(self.result.download(), "nv12")
            scale = got[0].shape[0] // HEIGHT
            planes = zip(got, tools.noise(WIDTH, HEIGHT, 8, seed), strict=True)
            for index, (plane, wanted) in enumerate(itertools.islice(planes, 1 if scale == 2 else 3)):
                centre = 125.5 if index == 0 else 128.0
                codes = np.floor(centre + factor * (wanted - centre) + 0.5).clip(0, 255)
                large = codes.repeat(scale, 0).repeat(scale, 1)
                allowed = 0 if factor == 1 else 1  # the factor rounds in fp16
                assert np.abs(plane - large).max() <= allowed

        def said(self, level: int) -> str:
            """All lines of that level."""
            return "\n".join(text for found, text in self.lines if found == level)

        def close(self) -> None:
            del self.session
            self.source.memory.free()
            self.result.memory.free()

    def refusal(device: Device, **options: Any) -> str:
        """The sentence."""
        with pytest.raises(Error) as caught:
            Session(device, **options)
        return str(caught.value)

    def test_the_picture_is_the_engines(device: Device, cache: EngineCache) -> None:
        path = put(cache)
        session = Session(device)
        session.run(1)
        session.check(1)
        assert f"engine {path}" in session.said(INFO)
        assert "TensorRT 10.14.1.48 (backend=tensorrt" in session.said(INFO)
        assert session.said(ERROR) == session.said(WARNING) == ""
        session.close()

    def test_memory_is_told_before_the_first_picture(device: Device, cache: EngineCache) -> None:
        put(cache, weights=3 << 20, activations=100)
        session = Session(device)
        line = next(text for level, text in session.lines if level == INFO and "for weights" in text)
        assert "takes 3.0 MiB of device memory for weights" in line
        assert f"{100 * VALUES / (1 << 20):.1f} MiB for activations of 1x1x50x66" in line
        assert "stay free" in line
        session.close()

    def test_from_the_second_picture_on_a_graph_is_replayed(device: Device, cache: EngineCache) -> None:
        put(cache)
        session, before = Session(device), count("enqueued")
        for seed in range(20):
            session.run(seed)
            session.check(seed)
        assert count("enqueued") - before == 2  # the warm-up, and what was recorded
        assert "is recorded as a CUDA graph" in session.said(VERBOSE)
        stats = session.session.device_stats
        assert (stats["copies_to_host"], stats["synchronisations"]) == (0, 0)
        session.close()

    def test_what_cannot_be_recorded_runs_all_the_same(device: Device, cache: EngineCache) -> None:
        put(cache, capture=False)
        session, before = Session(device), count("enqueued")
        for seed in range(4):
            session.run(seed)
            session.check(seed)
        assert count("enqueued") - before == 5  # one was tried and thrown away
        assert "cannot be recorded as a CUDA graph (cannot allocate while" in session.said(VERBOSE)
        assert session.said(ERROR) == ""
        session.close()

    def test_memory_is_constant(device: Device, cache: EngineCache) -> None:
        put(cache)
        session = Session(device)
        free = set()
        for seed in range(200):
            session.run(seed)
            if seed > 0:
                free.add(device.memory_info()[0])
        assert len(free) == 1
        session.check(199)
        session.close()

    def test_nets_on_one_stream_share_activations(device: Device, cache: EngineCache) -> None:
        put(cache, "lowrank_v1", activations=1000)
        put(cache, activations=2000)
        start = device.memory_info()[0]
        small = Session(device, "lowrank_v1")
        small.run(0)
        one = start - device.memory_info()[0]
        large = Session(device)
        assert "shared with the other nets on this stream" in large.said(INFO)
        for seed in range(
            6
        ):  # each run overwrites what the other left; the block has moved since small's graph
            small.run(seed)
            large.run(seed)
            small.check(seed, 0.5)
            large.check(seed)
        assert small.said(VERBOSE).count("is recorded as a CUDA graph") == 2
        both = start - device.memory_info()[0]
        assert both - one < 2000 * VALUES, "the smaller one's activations were kept"
        large.close()
        small.run(7)
        small.check(7, 0.5)
        small.close()

    def test_nets_on_different_streams_share_nothing(device: Device, cache: EngineCache) -> None:
        put(cache)
        streams = [device.stream(), device.stream()]
        sessions = [Session(device, stream=stream.handle) for stream in streams]
        assert not any("shared" in session.said(INFO) for session in sessions)
        for seed in range(3):
            for session in sessions:
                session.run(seed)
            for session in sessions:
                session.check(seed)
        for session in sessions:
            session.close()

    def test_threads_on_one_stream_do_not_mix_their_layers(device: Device, cache: EngineCache) -> None:
        put(cache, capture=False)
        put(cache, "lowrank_v1", capture=False)
        sessions = [Session(device), Session(device, "lowrank_v1")]

        def work(session: Session) -> None:
            for seed in range(40):
                session.run(seed)

        threads = [threading.Thread(target=work, args=[session]) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sessions[0].check(39)
        sessions[1].check(39, 0.5)
        for session in sessions:
            session.close()

    @pytest.mark.parametrize("place", ["device", "host"])
    def test_strength_lies_where_the_engine_wants_it(device: Device, cache: EngineCache, place: str) -> None:
        put(cache, "lowrank_v1", strength=place)
        session = Session(device, "lowrank_v1", strength=0.5)
        for seed in range(3):
            session.run(seed)
            session.check(seed, 0.75)
        session.close()

    def test_what_is_no_net_of_ours_is_refused(device: Device, cache: EngineCache) -> None:
        for change, words in (
            ({"format": "chw16"}, "not stored row by row, channel by channel (Channel major FP16)"),
            ({"io_type": "bf16"}, 'its tensor "input" is bf16, not f32 or f16'),
            ({"input": "image"}, 'it has the input "image"'),
            ({"fake": 2}, "refuses the engine"),
            ({"host_code": True}, "engines with host code are not allowed"),
            (
                {"largest": (1, 1, 50, 68), "least": (1, 1, 50, 68)},
                "its profile takes tensors of 68x50, not 66x50",
            ),
        ):
            path = put(cache, **change)
            sentence = refusal(device)
            assert words in sentence
            assert path.name in sentence
            assert "clarivid engines build game_x2" in sentence
            path.with_suffix(".json").unlink()

    def test_a_profile_that_the_sidecar_does_not_tell_is_refused(device: Device, cache: EngineCache) -> None:
        sidecar = put(cache).with_suffix(".json")
        record = json.loads(sidecar.read_text())
        engine = {**json.loads(sidecar.with_suffix(".engine").read_bytes()), "largest": (1, 1, 50, 64)}
        key = Key.from_dict(record["key"])
        sidecar.unlink()
        cache.set_parity(cache.get(key, lambda: json.dumps(engine).encode(), {})[0], {"passed": True})
        sentence = refusal(device)
        assert "does not take a tensor of 1x1x50x66 (the shape satisfies no optimization profile)" in sentence

    def test_code_for_the_host_is_let_in_where_it_was_asked_for(device: Device, cache: EngineCache) -> None:
        put(cache, arguments={"version_compatible": True}, host_code=True)
        session = Session(device)
        session.run(0)
        session.check(0)
        session.close()

    def test_an_engine_for_all_gpus_from_ampere_on_runs_here(device: Device, cache: EngineCache) -> None:
        path = put(cache, arguments={"hardware_compatible": True})
        session = Session(device)
        session.run(0)
        session.check(0)
        assert path.name in session.said(INFO)
        session.close()

    def test_no_room_is_told_in_bytes(device: Device, cache: EngineCache) -> None:
        total = device.memory_info()[1]
        put(cache, activations=total // VALUES)
        asked = total // VALUES * VALUES
        sentence = refusal(device)
        assert (
            f"needs {asked} bytes of device memory for the activations of 1 picture of 1x1x50x66" in sentence
        )
        assert f"of {total} are free: take smaller tiles (tile=" in sentence

    def test_what_does_not_fit_whole_is_done_in_tiles(device: Device, cache: EngineCache) -> None:
        total = device.memory_info()[1]
        put(cache, "lowrank_v1", least=(1, 6, 8, 8), activations=total // int(np.prod(FOLDED)))
        session = Session(device, "lowrank_v1")
        for seed in range(3):
            session.run(seed)
            session.check(seed, 0.5)
        assert "tiles of" in session.said(INFO)
        assert "bytes of device memory for the activations" in session.said(INFO)
        session.close()
        assert "bytes of device memory" in refusal(device, model="lowrank_v1", tile="none")

    def test_what_is_larger_than_every_profile_is_done_in_tiles(device: Device, cache: EngineCache) -> None:
        put(cache, "lowrank_v1", least=(1, 6, 8, 8), largest=(1, 6, 20, 28))
        session = Session(device, "lowrank_v1")
        for seed in range(3):
            session.run(seed)
            session.check(seed, 0.5)
        assert "no engine takes a tensor of 1x6x25x33, the largest takes 1x6x20x28" in session.said(INFO)
        session.close()

    def test_no_room_leaves_the_others_at_work(device: Device, cache: EngineCache) -> None:
        put(cache, "lowrank_v1")
        put(cache, activations=device.memory_info()[1] // VALUES)
        session = Session(device, "lowrank_v1")
        session.run(0)
        assert "bytes of device memory" in refusal(device)
        session.run(1)
        session.check(1, 0.5)
        session.close()

    def test_a_failed_run_is_an_error_with_tensorrts_words(device: Device, cache: EngineCache) -> None:
        put(cache, fail="cask error: misaligned")
        session = Session(device)
        for _ in range(2):
            with pytest.raises(Error, match=r"TensorRT failed on model game_x2 \(cask error: misaligned\)"):
                session.run(0)
        assert session.said(ERROR).count("TensorRT: cask error: misaligned") == 2
        session.close()

    @pytest.mark.parametrize(
        ("severity", "level"), [(0, ERROR), (1, ERROR), (2, WARNING), (3, VERBOSE), (4, DEBUG)]
    )
    def test_every_line_of_tensorrt_comes_at_its_level(
        device: Device, cache: EngineCache, severity: int, level: int
    ) -> None:
        put(cache, say=[severity, "what there is to say"])
        first = Session(device)
        second = Session(device)
        for session in (first, second):
            assert session.said(level).split("\n").count("TensorRT: what there is to say") == 1
        first.close()  # the logger that TensorRT got first serves on
        third = Session(device)
        assert "TensorRT: what there is to say" in third.said(level)
        second.close()
        third.close()

    def test_auto_takes_the_engine_when_there_is_one(device: Device, cache: EngineCache) -> None:
        session = Session(device, backend="auto")
        assert "backend=cuda" in session.said(INFO)
        session.close()
        put(cache)
        session = Session(device, backend="auto")
        assert "backend=tensorrt, chosen because there is an engine for this GPU" in session.said(INFO)
        session.close()

    def test_what_keeps_auto_from_the_engine_is_told_to_who_asks(device: Device, cache: EngineCache) -> None:
        path = put(cache)
        entry = next(entry for entry in cache.entries() if entry.path == path)
        cache.set_parity(entry, {"passed": False})  # type: ignore[arg-type]
        session = Session(device, backend="auto")
        assert "backend=cuda" in session.said(INFO)
        told = session.said(VERBOSE)
        assert told.count("backend tensorrt cannot take a tensor of 1x1x50x66: there is no engine") == 1
        assert "it failed its parity check, and precision=auto takes none that did" in told
        session.close()

    @pytest.mark.parametrize(("layout", "channels"), [("y", 1), ("rgb", 3)])
    def test_a_single_onnx_file_runs_through_its_own_engine(
        device: Device, cache: EngineCache, tmp_path: Path, layout: str, channels: int
    ) -> None:
        path = random_net(tmp_path / f"{layout}.onnx", channels, 2)
        shape = (1, channels, HEIGHT, WIDTH)
        engine = {"fake": 1, "type": "f32", "channels": channels, "scale": 2, "least": shape,
                  "largest": shape, "weights": 64, "activations": 64}  # fmt: skip
        key = Key(layout, "0" * 64, "fp32", Profile(shape, shape, shape), "tensorrt", "10.14.1.48",
                  this_machine()[0], {"made_of": sha256_of(path)})  # fmt: skip
        cache.get(key, lambda: json.dumps(engine).encode(), {})

        def session() -> _core.Session:
            where = _core.CudaDevice(device.context, 0)
            look = _core.Format(WIDTH, HEIGHT, tools.FORMATS["nv12"], range=1, memory=1)
            return _core.Session(_core.Model(str(path)), look, backend="tensorrt", precision=1, cuda=where)

        source = device.picture(WIDTH, HEIGHT, "nv12")
        result = device.picture(2 * WIDTH, 2 * HEIGHT, "nv12")
        levels = [
            np.full(plane.shape, 90 + 20 * i, np.uint8)
            for i, plane in enumerate(tools.noise(WIDTH, HEIGHT, 8, 0))
        ]
        source.upload(tools.pack(levels, "nv12"))
        made = session()
        made.process(source.planes, result.planes)
        device.synchronise()
        for plane, level in zip(tools.unpack(result.download(), "nv12"), (90, 110, 130), strict=True):
            assert (plane == level).all()
        del made
        source.memory.free()
        result.memory.free()
        random_net(path, channels, 3)  # another net in the same file
        with pytest.raises(Error, match="the model has changed since"):
            session()

    def test_without_a_fitting_engine_the_field_is_named(device: Device, cache: EngineCache) -> None:
        put(cache)
        assert "its profile takes tensors of 66x50, not 64x50" in refusal(device, size=(64, 50))
        assert "its profile takes tensors of 66x50, not 68x50" in refusal(device, size=(68, 50), tile="none")

    def test_a_larger_picture_is_cut_where_the_net_allows_it(
        device: Device, cache: EngineCache, tmp_path: Path
    ) -> None:
        put(cache)
        session = Session(device, size=(68, 50))
        assert "that overlap by 11, chosen because no engine takes" in session.said(INFO)
        session.close()
        gated = str(sr_bundle(tmp_path / "gated", attention=True))
        put(cache, gated)
        larger = refusal(device, model=gated, size=(68, 50))
        assert "no engine takes a tensor of 1x1x50x68, the largest takes 1x1x50x66" in larger
        assert "clarivid engines build gated --for this --shapes 68x50" in larger
