# SPDX-License-Identifier: BSD-2-Clause
"""Engines: built once, found by all, served whole or not at all, refused when anything is not as it was."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from clarivid.cli.engines import command
from clarivid.engines import EngineCache, Entry, Fault, Identity, Key, Options, Profile, Runtime, targets
from clarivid.engines.cache import read
from clarivid.engines.quantise import in_bf16, quantise
from clarivid.engines.status import status
from clarivid.errors import BackendError, DigestError, Error, InputError, ModelError, ToolError
from clarivid.models import find_model
from clarivid.paths import sha256_of

SHAPE = (1, 6, 360, 640)
KEY = Key(
    "net",
    "0" * 64,
    "fp16",
    Profile(SHAPE, SHAPE, SHAPE),
    "tensorrt",
    "10.14.1",
    Identity(75, "Tesla T4", 40, 15109, 256, 4 << 20),
)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    said: list[str] = []
    made = EngineCache(tmp_path / "engines", shared=[], say=said.append)
    made.said = said  # type: ignore[attr-defined]
    return made


def put(cache: EngineCache, key: Key = KEY, engine: bytes = b"engine") -> Entry:
    entry, built = cache.get(key, lambda: engine, {"clarivid": "test"})
    assert built
    return entry


def edit(path: Path, change: Any) -> None:
    """Rewrites a sidecar."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


# ------------------------------------------------------------------------------------------------------ keys


def test_a_change_of_anything_makes_another_key() -> None:
    other = Profile(SHAPE, SHAPE, (1, 6, 720, 1280))
    changed = [
        replace(KEY, model="other"),
        replace(KEY, onnx_sha256="1" * 64),
        replace(KEY, precision="fp32"),
        replace(KEY, profile=other),
        replace(KEY, runtime="tensorrt-rtx"),
        replace(KEY, runtime_version="10.14.2"),
        replace(KEY, arguments={"level": 5}),
        *(
            replace(KEY, device=replace(KEY.device, **{name: value}))
            for name, value in {
                "sm": 80,
                "name": "Tesla T40",
                "multiprocessors": 48,
                "memory_mib": 22731,
                "bus_width": 384,
                "l2_bytes": 6 << 20,
            }.items()
        ),
    ]
    assert len({key.digest for key in [KEY, *changed]}) == len(changed) + 1
    assert Key.from_dict(json.loads(json.dumps(KEY.as_dict()))) == KEY


# ----------------------------------------------------------------------------------------------------- cache


def test_an_engine_is_built_once_and_found_again(cache: EngineCache) -> None:
    assert cache.find(KEY) is None
    entry = put(cache, engine=b"one")
    assert entry.path.name == f"net-{KEY.digest[:16]}.engine"
    assert entry.path.with_suffix(".json").is_file()
    again, built = cache.get(KEY, lambda: b"two", {})
    assert not built
    assert again.path.read_bytes() == b"one"
    assert cache.find(replace(KEY, runtime_version="10.15")) is None


def test_two_versions_of_a_runtime_live_side_by_side(cache: EngineCache) -> None:
    new = replace(KEY, runtime_version="11.0.0")
    put(cache, engine=b"old")
    put(cache, new, b"new")
    assert [cache.find(key).path.read_bytes() for key in (KEY, new)] == [b"old", b"new"]  # type: ignore[union-attr]
    gone = cache.prune(keep_versions={"tensorrt": "11.0.0"})
    assert [found.path.stem for found in gone] == [KEY.stem]
    assert cache.find(KEY) is None
    assert cache.find(new) is not None


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_flipped_bit_is_never_served(cache: EngineCache, at: int) -> None:
    entry = put(cache)
    data = bytearray(entry.path.read_bytes())
    data[at] ^= 1
    entry.path.write_bytes(data)
    good, faults = cache.verify()
    assert not good
    assert "SHA-256" in faults[0].problem
    again, built = cache.get(KEY, lambda: b"engine", {})
    assert built
    assert again.path.read_bytes() == b"engine"
    assert "moved to" in cache.said[0]  # type: ignore[attr-defined]
    aside = sorted(p.suffix for p in (cache.folder / "quarantine").iterdir())
    assert aside == [".engine", ".json"]


@pytest.mark.parametrize("keep", [0, 1, 40, 300])
def test_a_truncated_sidecar_is_moved_aside_and_the_engine_built_anew(cache: EngineCache, keep: int) -> None:
    entry = put(cache)
    sidecar = entry.path.with_suffix(".json")
    sidecar.write_bytes(sidecar.read_bytes()[:keep])
    assert "cannot be read" in cache.verify()[1][0].problem
    assert cache.find(KEY) is None
    assert put(cache).path == entry.path


@pytest.mark.parametrize(
    "lie",
    [
        lambda r: r["key"].update(runtime_version="99"),
        lambda r: r["key"]["device"].update(name="H100"),
        lambda r: r.update(key_sha256="0" * 64),
        lambda r: r["engine"].update(file="../other.engine"),
        lambda r: r["engine"].update(bytes=1),
        lambda r: r["engine"].update(sha256="0" * 64),
        lambda r: r["engine"].update(bytes="six"),
        lambda r: r.update(schema=2),
        lambda r: r["key"].update(extra=1),
        lambda r: r["key"].pop("precision"),
        lambda r: r.update(created=None),
    ],
)
def test_a_sidecar_that_lies_is_no_entry(cache: EngineCache, lie: Any) -> None:
    entry = put(cache)
    edit(entry.path.with_suffix(".json"), lie)
    assert len(cache.verify()[1]) == 1
    assert cache.find(KEY) is None
    assert cache.find(KEY) is None
    assert put(cache).path.read_bytes() == b"engine"


def test_an_entry_renamed_to_another_key_is_refused(cache: EngineCache) -> None:
    """Somebody copies the engine of one GPU to the name of another's."""
    entry = put(cache)
    other = replace(KEY, device=Identity(90, "NVIDIA H100 80GB HBM3"))
    for suffix in (".engine", ".json"):
        entry.path.with_suffix(suffix).rename(cache.folder / (other.stem + suffix))
    assert cache.find(other) is None
    assert put(cache, other, b"right").path.read_bytes() == b"right"


@pytest.mark.parametrize("what", ["folder", "engine", "sidecar"])
def test_what_everybody_may_write_is_refused(cache: EngineCache, what: str) -> None:
    entry = put(cache)
    path = {"folder": cache.folder, "engine": entry.path, "sidecar": entry.path.with_suffix(".json")}[what]
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(Error, match="chmod o-w"):
        cache.find(KEY)
    assert cache.verify()[1]
    path.chmod(path.stat().st_mode & ~0o002)
    assert cache.find(KEY) is not None


def test_a_shared_layer_is_read_and_never_written(tmp_path: Path) -> None:
    shared = EngineCache(tmp_path / "shared", shared=[])
    put(shared, engine=b"shared")
    before = sorted((p.name, p.stat().st_mtime_ns) for p in shared.folder.iterdir())
    cache = EngineCache(tmp_path / "own", shared=[shared.folder])
    entry, built = cache.get(KEY, lambda: b"own", {})
    assert not built
    assert not entry.writable
    assert not cache.folder.exists()
    assert sorted((p.name, p.stat().st_mtime_ns) for p in shared.folder.iterdir()) == before
    assert cache.prune(older_than=0) == []
    assert entry.path.exists()


def test_a_damaged_shared_entry_is_passed_over_and_left(tmp_path: Path) -> None:
    shared = EngineCache(tmp_path / "shared", shared=[])
    put(shared, engine=b"shared").path.write_bytes(b"shaped")
    said: list[str] = []
    cache = EngineCache(tmp_path / "own", shared=[shared.folder], say=said.append)
    entry, built = cache.get(KEY, lambda: b"own", {})
    assert built
    assert entry.path.read_bytes() == b"own"
    assert "passed over" in said[0]
    assert (shared.folder / entry.path.name).read_bytes() == b"shaped"
    assert cache.find(KEY).path == entry.path  # type: ignore[union-attr]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="cannot be made"):
        put(EngineCache(tmp_path / "file" / "engines", shared=[]))


def test_a_full_disk_leaves_nothing_half_written(cache: EngineCache) -> None:
    """The kernel refuses to write beyond a size, as a full disk does."""
    kept = put(cache)
    before = sorted(cache.folder.iterdir())
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            put(cache, replace(KEY, model="large"), bytes(1_000_000))
        except ToolError as error:
            os._exit(0 if "there is no room" in str(error) and "CLARIVID_CACHE" in str(error) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(cache.folder.iterdir()) == before
    assert read(kept.path, True).sha256 == kept.sha256


@pytest.mark.parametrize("failing", ["write of the engine", "write of the sidecar", "rename"])
def test_a_disk_that_fills_at_any_step_leaves_no_entry(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(cache, replace(KEY, model="first"))
    before = sorted(cache.folder.iterdir())
    syncs: list[int] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        syncs.append(descriptor)
        if len(syncs) == (1 if failing == "write of the engine" else 3):  # file, folder, file, folder
            full()
        real(descriptor)

    if failing == "rename":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(ToolError, match="no room"):
        put(cache)
    monkeypatch.undo()
    assert cache.find(KEY) is None
    # At most the engine without its sidecar, which is nothing to anybody and goes at the next prune.
    left = [p for p in cache.folder.iterdir() if p not in before]
    assert [p.suffix for p in left] in ([], [".engine"])
    cache.prune()
    assert sorted(cache.folder.iterdir()) == before


def _build_many(cache: EngineCache, numbers: range, started: Any = None) -> None:
    if started is not None:
        started.set()
    for number in numbers:
        key = replace(KEY, model=f"net{number}")
        cache.get(key, lambda number=number: bytes([number % 251]) * 300_000, {})


def test_a_process_killed_at_any_moment_leaves_only_whole_entries(cache: EngineCache) -> None:
    """Fifty times SIGKILL while engines are written; what was there before stays as it was."""
    kept = [put(cache, replace(KEY, model=f"kept{i}"), bytes([i]) * 1000) for i in range(5)]
    rng = random.Random(3)
    for round_ in range(50):
        started = FORK.Event()
        numbers = range(50 * round_, 50 * round_ + 50)
        process = FORK.Process(target=_build_many, args=(cache, numbers, started))
        process.start()
        started.wait()
        time.sleep(rng.random() * 0.1)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    good, faults = cache.verify()
    assert all("not finished" in fault.problem for fault in faults)
    assert {entry.path for entry in kept} <= {entry.path for entry in good}
    for entry in good:
        data = entry.path.read_bytes()
        expected = 1000 if entry.key.model.startswith("kept") else 300_000
        assert data == data[:1] * expected
    assert len(good) > 15  # the rounds did write
    cache.prune()
    assert cache.verify()[1] == []
    assert sorted(p.suffix for p in cache.folder.iterdir()) == sorted([".engine", ".json"] * len(good))
    _build_many(cache, range(20))  # no lock is left held


def _get_slowly(cache: EngineCache, counter: Path, results: Any) -> None:
    def build() -> bytes:
        with counter.open("a") as log:
            log.write("x")
        time.sleep(0.3)
        return b"engine"

    results.put(cache.get(KEY, build, {})[1])


def test_eight_processes_that_want_one_engine_build_it_once(cache: EngineCache, tmp_path: Path) -> None:
    results = FORK.Queue()
    processes = [
        FORK.Process(target=_get_slowly, args=(cache, tmp_path / "count", results)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(results.get() for _ in range(8)) == [False] * 7 + [True]
    assert (tmp_path / "count").read_text() == "x"


def test_a_builder_that_fails_leaves_nothing_and_blocks_nobody(cache: EngineCache) -> None:
    def fail() -> bytes:
        raise ModelError("no")

    with pytest.raises(ModelError):
        cache.get(KEY, fail, {})
    assert cache.verify() == ([], [])
    put(cache)


def test_prune_by_age_and_by_size(cache: EngineCache) -> None:
    entries = [put(cache, replace(KEY, model=f"net{i}"), bytes(1000)) for i in range(4)]
    for i, entry in enumerate(entries):
        moment = time.time() - 1000 + 100 * i
        edit(entry.path.with_suffix(".json"), lambda r, moment=moment: r.update(created=moment))
        os.utime(entry.path, (moment, moment))
    assert {g.path.name[:4] for g in cache.prune(older_than=850, dry_run=True)} == {"net0", "net1"}
    assert [g.path.name[:4] for g in cache.prune(max_bytes=3500)] == ["net0"]
    assert [g.path.name[:4] for g in cache.prune(older_than=850)] == ["net1"]
    assert sorted(e.key.model for e in cache.verify()[0]) == ["net2", "net3"]


def test_parity_is_kept_beside_the_engine(cache: EngineCache) -> None:
    entry = put(cache)
    assert entry.parity is None
    cache.set_parity(entry, {"passed": True, "psnr_db": 71.5})
    found = cache.find(KEY)
    assert found is not None
    assert found.parity == {"passed": True, "psnr_db": 71.5}


def test_a_missing_engine_is_named(cache: EngineCache) -> None:
    entry = put(cache)
    entry.path.unlink()
    with pytest.raises(InputError, match="is missing"):
        read(entry.path, True)
    assert isinstance(next(cache.entries()), Fault)
    entry.path.write_bytes(b"longer than it was")
    with pytest.raises(DigestError, match="bytes"):
        read(entry.path, True, hashed=False)


# ---------------------------------------------------------------------------------------------------- status


def test_status_tells_present_stale_and_missing(cache: EngineCache) -> None:
    model = find_model("lowrank_v1")
    onnx = sha256_of(model.folder / "model_fp16.onnx")
    t4, l4 = Identity(75, "Tesla T4", 40, 15109, 256, 4 << 20), Identity(89, "NVIDIA L4", 58, 22731, 192, 1)
    runtimes = {"tensorrt": "10.14.1", "tensorrt-rtx": "1.7"}

    def state(gpu: Identity) -> tuple[str, str]:
        row = status([gpu], [model], runtimes, cache)[0]
        assert bool(row.remedy) == (row.state != "present")
        return row.state, row.text

    assert state(t4)[0] == "missing"
    put(cache, replace(KEY, model="lowrank_v1"))
    assert state(t4) == ("stale", "the model has changed since")
    put(cache, replace(KEY, model="lowrank_v1", onnx_sha256=onnx, runtime_version="10.13"))
    put(cache, replace(KEY, model="lowrank_v1", onnx_sha256=onnx, device=l4, runtime_version="10.13"))
    assert state(l4) == ("stale", "tensorrt 10.13 built it, 10.14.1 is installed")
    put(cache, replace(KEY, model="lowrank_v1", onnx_sha256=onnx))
    assert state(t4)[0] == "present"
    assert state(replace(t4, memory_mib=16000))[0] == "missing"  # another SKU of the same capability
    put(
        cache,
        replace(
            KEY,
            model="lowrank_v1",
            onnx_sha256=onnx,
            device=Identity(89),
            runtime="tensorrt-rtx",
            runtime_version="1.7",
        ),
    )
    assert state(l4)[0] == "present"


# --------------------------------------------------------------------------------------------------- targets


def test_words_for_gpus() -> None:
    assert targets.devices("t4,L4,sm_90,sm75") == [Identity(75), Identity(89), Identity(90)]
    with pytest.raises(InputError, match="no GPU"):
        targets.devices("t5")


def test_words_for_sizes() -> None:
    model = find_model("game_x2")
    fixed, odd, dynamic = targets.profiles("720p,321x243,dynamic", model)
    assert fixed.best == SHAPE
    assert odd.best == (1, 6, 122, 161)
    assert dynamic.takes((1, 6, 1080, 1920))
    assert dynamic.takes((1, 6, 16, 16))
    assert not dynamic.takes((1, 6, 1081, 1920))
    with pytest.raises(InputError, match="no size"):
        targets.profiles("big", model)
    with pytest.raises(InputError, match="from 32 samples of height"):
        targets.profiles("640x20", model)


# --------------------------------------------------------------------------------------------------- runtime


@pytest.fixture(scope="module")
def rtx() -> Runtime:
    return Runtime("tensorrt-rtx")


def run_cli(home: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of the command."""
    environment = {**os.environ, "CLARIVID_CACHE": str(home)}
    environment.pop("CLARIVID_ENGINE_PATH", None)
    done = subprocess.run(
        [sys.executable, "-m", "clarivid", "engines", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def test_real_engines_are_built_listed_and_verified_without_a_gpu(rtx: Runtime, tmp_path: Path) -> None:
    words = ("build", "lowrank_v1", "--for", "t4,l4", "--shapes", "480p,dynamic", "--json")
    rows = json.loads(run_cli(tmp_path, *words, "--runtime", "tensorrt-rtx")[0])
    assert [row["device"] for row in rows] == ["any sm_75"] * 2 + ["any sm_89"] * 2
    assert all(row["built"] and row["runtime_version"] == rtx.version for row in rows)
    assert len({row["sha256"] for row in rows}) == 4
    for row in rows:
        path = Path(row["path"])
        assert path.parent == tmp_path / "engines"
        assert path.stat().st_size == row["bytes"] > 10_000
    again = json.loads(run_cli(tmp_path, *words)[0])
    assert not any(row["built"] for row in again)
    assert len(json.loads(run_cli(tmp_path, "list", "--json")[0])) == 4
    assert "4 engines are what" in run_cli(tmp_path, "verify")[0]

    victim = Path(rows[1]["path"])
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0x40
    victim.write_bytes(data)
    assert str(victim) in run_cli(tmp_path, "verify", code=1)[1]
    out, told = run_cli(tmp_path, *words)
    assert [row["built"] for row in json.loads(out)] == [False, True, False, False]
    assert "quarantine" in told
    run_cli(tmp_path, "verify")
    run_cli(tmp_path, "prune", "--older-than", "0m")
    assert json.loads(run_cli(tmp_path, "list", "--json")[0]) == []


def test_eight_commands_at_once_build_a_real_engine_once(tmp_path: Path) -> None:
    environment = {**os.environ, "CLARIVID_CACHE": str(tmp_path)}
    words = ["engines", "build", "lowrank_v1", "--for", "l4", "--shapes", "480p", "--json"]
    command = [sys.executable, "-m", "clarivid", *words]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    outputs = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * 8, outputs
    assert sorted(json.loads(out)[0]["built"] for out, _ in outputs) == [False] * 7 + [True]
    assert len({json.loads(out)[0]["sha256"] for out, _ in outputs}) == 1


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of a moving pattern."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path_factory.mktemp("video") / "pattern.mkv"
    source = "testsrc2=size=160x96:rate=8:duration=1"
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "ffv1", path],
        check=True,
    )
    return path


def test_int8_keeps_the_picture_and_is_built(video: Path, tmp_path: Path) -> None:
    words = ("build", "lowrank_v1", "--for", "l4", "--shapes", "480p", "--precision", "int8", "--json")
    row = json.loads(run_cli(tmp_path, *words, "--calibrate", str(video))[0])[0]
    assert row["precision"] == "int8"
    assert row["parity"]["passed"]
    assert row["parity"]["psnr_db"] > 50
    assert "--calibrate" in run_cli(tmp_path, *words, code=1)[1]
    assert "cannot read" in run_cli(tmp_path, *words, "--calibrate", str(tmp_path / "none.mp4"), code=1)[1]


def test_int8_weights_are_the_nearest_levels_and_the_base_is_exact(video: Path) -> None:
    """By the definition of symmetric quantisation, channel by channel."""
    onnx = pytest.importorskip("onnx")
    model = find_model("lowrank_v1")
    made = onnx.load_from_string(quantise(model, [video]).onnx)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    plain = onnx.load(str(model.onnx))
    for tensor in plain.graph.initializer:
        if f"{tensor.name}.int8" not in values:
            continue
        kernel = onnx.numpy_helper.to_array(tensor)
        scale = values[f"{tensor.name}.scale"].astype(np.float32)[:, None, None, None]
        error = np.abs(values[f"{tensor.name}.int8"] * scale - kernel)
        assert (error <= 0.501 * scale).all()
    last = made.graph.node[-1]
    assert last.op_type == "Add"
    assert "input" in last.input  # in fp16, not through the levels


def test_bf16_is_built_and_close(tmp_path: Path) -> None:
    import openvino as ov

    words = ("build", "lowrank_v1", "--for", "l4", "--shapes", "480p", "--precision", "bf16", "--json")
    assert json.loads(run_cli(tmp_path, *words)[0])[0]["precision"] == "bf16"
    model, core = find_model("lowrank_v1"), ov.Core()
    x = (np.random.default_rng(1).random((1, 6, 24, 40)) - 0.5).astype(np.float32)
    plain, rounded = (
        core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
            {"input": x, "strength": np.ones(1, np.float32)}
        )[0]
        for data in (model.onnx.read_bytes(), in_bf16(model))
    )
    error = np.sqrt(np.mean((plain - rounded) ** 2))
    assert 0 < error < 1e-3


def test_what_cannot_be_built_is_a_sentence(tmp_path: Path) -> None:
    for words, part in (
        (("game_x2", "--for", "h100"), "does not build for any sm_90"),
        (("game_x2", "--for", "voodoo"), "there is no GPU"),
        (("game_x2", "--for", "t4", "--shapes", "huge"), "there is no size"),
        (("nothing", "--for", "t4"), "nothing"),
    ):
        error = run_cli(tmp_path, "build", *words, "--runtime", "tensorrt-rtx", code=1)[1]
        assert part in error
        assert error.count("\n") <= 6
    assert not (tmp_path / "engines").exists() or not list((tmp_path / "engines").glob("*.engine"))
    assert "older-than" in run_cli(tmp_path, "prune", "--older-than", "soon", code=1)[1]


def test_tensorrt_builds_for_the_gpu_that_is_there_only(rtx: Runtime) -> None:
    class Here(Runtime):
        def __init__(self) -> None:
            self.name, self.version = "tensorrt", "10.14.1"

    exact = KEY.device
    assert Here().target(exact, Options()) == exact
    assert Here().target(exact, Options(hardware_compatible=True)) == Identity(75)
    with pytest.raises(InputError, match="on the GPU that it builds for"):
        Here().target(Identity(89), Options())
    assert rtx.target(exact, Options()) == Identity(75)


def test_a_runtime_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(InputError, match="no runtime"):
        Runtime("onnx")
    if not any(Path(entry, "tensorrt").is_dir() for entry in sys.path):
        with pytest.raises(BackendError, match="install"):
            Runtime("tensorrt")


def test_a_broken_onnx_is_a_sentence(rtx: Runtime) -> None:
    with pytest.raises(ModelError, match="cannot read the ONNX of net"):
        rtx.build(b"no net", "net", KEY.profile, Identity(89), Options())


def test_progress_reaches_the_end(rtx: Runtime) -> None:
    model = find_model("lowrank_v1")
    profile = targets.profiles("480p", model)[0]
    seen: list[tuple[str, int, int]] = []
    onnx = (model.folder / "model_fp16.onnx").read_bytes()
    engine, timing = rtx.build(
        onnx, model.name, profile, Identity(89), Options(), progress=lambda *step: seen.append(step)
    )
    assert len(engine) > 10_000
    assert timing == b""
    assert seen
    assert all(0 <= done <= total for _, done, total in seen)


def test_help_teaches() -> None:
    for words in ([], ["build"], ["list"], ["verify"], ["prune"]):
        result = CliRunner().invoke(command, [*words, "--help"])
        assert result.exit_code == 0
        assert "Example" in result.output
