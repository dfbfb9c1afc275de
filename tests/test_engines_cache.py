# SPDX-License-Identifier: BSD-2-Clause
"""The cache of engines: whole or not at all, found by all, refused when anything is not as it was."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clarivid.engines import EngineCache, Entry, Fault, Identity, Key, Profile
from clarivid.engines.cache import read
from clarivid.errors import DigestError, Error, InputError, ModelError, ToolError
from engine_tools import KEY, SHAPE, edit, new_cache, put


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return new_cache(tmp_path)


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


def test_a_shared_layer_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    """A node's start-up check must not pass because there is nothing to check."""
    cache = EngineCache(tmp_path / "own", shared=[tmp_path / "share"])
    assert cache.find(KEY) is None
    good, faults = cache.verify()
    assert not good
    assert [fault.problem for fault in faults] == [
        f"{tmp_path / 'share'}, which CLARIVID_ENGINE_PATH names, is no folder: mount it, or leave it out"
    ]


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


def test_prune_of_orphans_keeps_what_the_installed_version_runs(cache: EngineCache) -> None:
    put(cache, replace(KEY, model="old", runtime_version="10.13"))
    put(cache, replace(KEY, model="wide", runtime_version="10.13", arguments={"version_compatible": True}))
    put(cache, replace(KEY, model="other", runtime="tensorrt-rtx", runtime_version="1.4"))
    put(cache, KEY)
    gone = cache.prune(keep_versions={"tensorrt": KEY.runtime_version})
    assert [entry.key.model for entry in gone if isinstance(entry, Entry)] == ["old"]


def test_prune_leaves_an_engine_that_is_finished_while_it_waits(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process left half of it; another builds it anew between prune's look and prune's hand."""
    half = cache.folder / (KEY.stem + ".engine")
    cache.folder.mkdir(parents=True)
    half.write_bytes(b"half")
    look = cache._litter

    def look_and_lose_the_race() -> Iterator[Fault]:
        found = list(look())
        put(cache)
        yield from found

    monkeypatch.setattr(cache, "_litter", look_and_lose_the_race)
    cache.prune()
    assert half.read_bytes() == b"engine"
    assert len(cache.verify()[0]) == 1


def test_a_check_of_an_engine_that_was_replaced_is_not_written_to_the_new_one(cache: EngineCache) -> None:
    entry = put(cache)
    for suffix in (".engine", ".json"):
        entry.path.with_suffix(suffix).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        cache.set_parity(entry, {"passed": True})
    assert not list(cache.entries())  # no sidecar without an engine
    other = put(cache, KEY, b"another engine")
    with pytest.raises(InputError, match="built anew meanwhile"):
        cache.set_parity(entry, {"passed": True})
    found = cache.find(KEY)
    assert found is not None
    assert (found.parity, found.sha256) == (None, other.sha256)


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
