# SPDX-License-Identifier: BSD-2-Clause
"""The backend tensorrt without a GPU: which engine it takes, what it refuses and how it says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clarivid.engines import EngineCache, Identity, Key, Profile
from clarivid.paths import checkout_dir

ROOT = checkout_dir()
FIND = ROOT / ".venv" / "build" / "csrc" / "backends" / "tensorrt" / "tests" / "find_engine" if ROOT else None
EMULATOR = ROOT / ".venv" / "build" / "emulator" if ROOT else None
NOT_FOUND, BACKEND = -2, -5
AUTO, FP32, FP16, INT8 = 0, 1, 2, 4

T4 = Identity(75, "Tesla T4", 40, 14914, 256, 4 << 20)
SMALL, LARGE = (1, 6, 360, 640), (1, 6, 1080, 1920)
KEY = Key("net", "a" * 64, "fp16", Profile(SMALL, SMALL, SMALL), "tensorrt", "10.14.1.48", T4, {"level": 5})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines", shared=[])


def put(cache: EngineCache, key: Key = KEY, parity: bool | None = True) -> Path:
    """An engine, with the result of its parity check (None: it was not made)."""
    entry, _ = cache.get(key, lambda: key.digest.encode(), {})
    if parity is not None:
        entry = cache.set_parity(entry, {"passed": parity})
    return entry.path


def find(cache: EngineCache, *shared: Path, **changes: Any) -> tuple[int, str]:
    """(precision, path) or (status, sentence)."""
    wanted = {
        "model": "net",
        "onnx": {"fp16": "a" * 64, "fp32": "b" * 64},
        "input": SMALL[1:],
        "precision": AUTO,
        "runtime": "tensorrt",
        "version": "10.14.1.48",
        "device": vars(T4),
        **changes,
    }
    path = cache.folder.parent / "wanted.json"
    path.write_text(json.dumps(wanted))
    assert FIND is not None
    done = subprocess.run(
        [FIND, path, *shared, cache.folder], capture_output=True, text=True, check=False, timeout=60
    )
    number, _, text = done.stdout.strip().partition(" ")
    return int(number), text


def test_what_python_writes_is_what_the_backend_reads(cache: EngineCache) -> None:
    """Both hash the same canonical JSON, names beyond ASCII included."""
    odd = replace(T4, name='Grafik "Ö" \\ 4µ')
    assert find(cache)[0] == NOT_FOUND
    path = put(cache)
    assert find(cache) == (FP16, str(path))
    other = put(cache, replace(KEY, device=odd))
    assert find(cache, device=vars(odd)) == (FP16, str(other))


def test_the_field_that_differs_is_named(cache: EngineCache) -> None:
    put(cache)
    for change, part in (
        ({"version": "10.15.0.1"}, "runtime_version is 10.14.1.48, 10.15.0.1 is loaded"),
        (
            {"device": vars(replace(T4, memory_mib=16000))},
            "this GPU is Tesla T4 (sm_75) (memory_mib is 14914, not 16000)",
        ),
        (
            {"device": vars(Identity(89, "NVIDIA L4", 58, 22491, 192, 50331648))},
            "this GPU is NVIDIA L4 (sm_89)",
        ),
        ({"onnx": {"fp16": "c" * 64}}, "onnx_sha256 differs: the model has changed"),
        ({"input": (6, 361, 640)}, "its profile takes tensors of 640x360, not 640x361"),
        ({"precision": FP32}, "precision is fp16"),
        ({"model": "other"}, "there is no engine of model other"),
    ):
        status, sentence = find(cache, **change)
        assert status == NOT_FOUND
        assert part in sentence
        assert "clarivid engines build" in sentence


def test_exact_size_and_fp16_go_first(cache: EngineCache) -> None:
    ranged = put(cache, replace(KEY, profile=Profile((1, 6, 16, 16), SMALL, LARGE)))
    assert find(cache) == (FP16, str(ranged))
    plain = put(cache, replace(KEY, precision="fp32", onnx_sha256="b" * 64))
    exact = put(cache)
    assert find(cache) == (FP16, str(exact))
    assert find(cache, precision=FP32) == (FP32, str(plain))
    assert find(cache, input=LARGE[1:]) == (FP16, str(ranged))


def test_a_picture_larger_than_every_profile_is_told_the_largest_part(cache: EngineCache) -> None:
    huge = (6, 2160, 3840)
    assert find(cache, input=huge, part=True) == (0, "0")
    put(cache)
    assert find(cache, input=huge, part=True) == (360, "640")
    assert find(cache, input=(6, 2160, 640), part=True) == (360, "640")
    assert find(cache, input=(6, 2160, 320), part=True) == (0, "0")  # that engine takes 360x640 only
    put(cache, replace(KEY, profile=Profile((1, 6, 16, 16), SMALL, LARGE)))
    assert find(cache, input=huge, part=True) == (1080, "1920")
    assert find(cache, input=(6, 2160, 320), part=True) == (1080, "320")
    assert find(cache, input=(6, 2160, 8), part=True) == (0, "0")
    assert find(cache, input=huge, part=True, version="9.0.0.1") == (0, "0")


def test_any_gpu_of_a_capability(cache: EngineCache) -> None:
    path = put(cache, replace(KEY, device=Identity(75)))
    assert find(cache) == (FP16, str(path))
    assert find(cache, device=vars(replace(T4, sm=86)))[0] == NOT_FOUND


def test_compatible_engines_run_where_others_do_not(cache: EngineCache) -> None:
    later, old = {"version": "10.16.0.9"}, {"version": "10.13.3.9"}
    a10 = Identity(86, "NVIDIA A10", 72, 22515, 384, 6 << 20)
    put(cache, KEY)
    assert find(cache, **later)[0] == NOT_FOUND
    wide = put(cache, replace(KEY, arguments={"version_compatible": True}))
    assert find(cache, **later) == (FP16, str(wide))
    assert find(cache)[1] != str(wide)  # one of this very release goes first
    assert "runtime_version is 10.14.1.48, 10.13.3.9 is loaded" in find(cache, **old)[1]
    assert find(cache, version="11.0.0.1")[0] == NOT_FOUND
    assert find(cache, lean=True) == (FP16, str(wide))
    wide.with_suffix(".json").unlink()
    assert "not built with --version-compatible, and libnvinfer_lean" in find(cache, lean=True)[1]
    assert find(cache, device=vars(a10))[0] == NOT_FOUND
    any_gpu = put(cache, replace(KEY, device=Identity(80), arguments={"hardware_compatible": True}))
    assert find(cache, device=vars(a10)) == (FP16, str(any_gpu))
    assert find(cache, device=vars(replace(T4, name="other")))[0] == NOT_FOUND  # older than Ampere
    exact = put(cache, replace(KEY, device=a10))
    assert find(cache, device=vars(a10)) == (FP16, str(exact))


def test_engines_of_tensorrt_for_rtx_are_named_as_such(cache: EngineCache) -> None:
    put(cache, replace(KEY, runtime="tensorrt-rtx", runtime_version="1.7.1.116", device=Identity(75)))
    assert "it is for tensorrt-rtx, not tensorrt" in find(cache)[1]


def test_auto_takes_only_what_passed_its_parity_check(cache: EngineCache) -> None:
    put(cache, parity=False)
    status, sentence = find(cache)
    assert (status, "failed its parity check" in sentence) == (NOT_FOUND, True)
    assert find(cache, precision=FP16)[0] == FP16  # asked for by name
    for precision, number in (("fp32", FP32), ("int8", INT8)):
        key = replace(KEY, precision=precision, onnx_sha256={"fp32": "b", "int8": "d"}[precision] * 64)
        if precision == "int8":
            key = replace(key, arguments={"made_of": "b" * 64})
        unproved = put(cache, key, parity=None)
        status, sentence = find(cache)
        assert status == NOT_FOUND
        assert "was never compared with the reference" in sentence
        assert "run 'clarivid parity net --backend tensorrt'" in sentence
        assert find(cache, precision=number) == (number, str(unproved))
    unproved.with_suffix(".json").unlink()
    put(cache, key, parity=True)
    assert find(cache)[0] == INT8


def test_a_form_of_another_version_of_the_model_is_refused(cache: EngineCache) -> None:
    """int8 and bf16 are no files of the bundle: their engines say which fp32 they were made of."""
    silent = replace(KEY, precision="int8", onnx_sha256="d" * 64)
    put(cache, silent)
    assert "the model has changed" in find(cache, precision=INT8)[1]
    made = put(cache, replace(silent, arguments={"made_of": "b" * 64}))
    assert find(cache, precision=INT8) == (INT8, str(made))
    retrained = {"fp16": "a" * 64, "fp32": "e" * 64}
    assert "the model has changed" in find(cache, precision=INT8, onnx=retrained)[1]


def test_a_model_whose_name_begins_alike_is_another_model(cache: EngineCache) -> None:
    put(cache, replace(KEY, model="net-small", precision="bf16", arguments={"made_of": "b" * 64}))
    status, sentence = find(cache)
    assert status == NOT_FOUND
    assert "net-small" not in sentence


def test_the_engine_that_comes_nearest_is_told_first(cache: EngineCache) -> None:
    others = [replace(T4, name=f"GPU {number}", sm=80 + number) for number in range(5)]
    for other in others:
        put(cache, replace(KEY, device=other, runtime_version="10.1.0.1", onnx_sha256="c" * 64))
    near = put(cache, replace(KEY, runtime_version="10.13.0.1"))
    assert f"({near.name}: runtime_version is 10.13.0.1" in find(cache)[1]


def test_the_remedy_builds_what_is_wanted(cache: EngineCache) -> None:
    build = "run 'clarivid engines build net --for this --runtime tensorrt --shapes 1280x720"
    assert f"{build}'" in find(cache, samples=2)[1]
    assert f"{build} --precision int8 --calibrate VIDEO'" in find(cache, samples=2, precision=INT8)[1]
    assert f"{build} --precision fp32'" in find(cache, samples=2, onnx={"fp32": "b" * 64})[1]
    assert f"{build} --version-compatible'" in find(cache, samples=2, lean=True)[1]


def test_a_changed_byte_is_never_loaded(cache: EngineCache) -> None:
    path = put(cache)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    status, sentence = find(cache)
    assert status == BACKEND
    assert str(path) in sentence
    assert "SHA-256" in sentence


@pytest.mark.parametrize(
    "lie",
    [
        lambda r: r["key"].update(runtime_version="10.14.1.49"),
        lambda r: r.update(key_sha256="0" * 64),
        lambda r: r["engine"].update(file="../net.engine"),
        lambda r: r.pop("key"),
        lambda r: r["key"].update(schema=2),
    ],
)
def test_a_sidecar_that_lies_is_named_and_passed_over(cache: EngineCache, lie: Any) -> None:
    path = put(cache).with_suffix(".json")
    record = json.loads(path.read_text())
    lie(record)
    path.write_text(json.dumps(record))
    status, sentence = find(cache)
    assert status == NOT_FOUND
    assert path.name in sentence
    path.write_text("{")
    assert "cannot be used" in find(cache)[1]


def test_what_everybody_may_write_is_refused(cache: EngineCache) -> None:
    path = put(cache)
    for victim in (cache.folder, path):
        victim.chmod(victim.stat().st_mode | 0o002)
        status, sentence = find(cache)
        assert status == BACKEND
        assert f"chmod o-w {victim}" in sentence
        victim.chmod(victim.stat().st_mode & ~0o002)
    assert find(cache)[0] == FP16


def test_a_shared_folder_goes_first(cache: EngineCache, tmp_path: Path) -> None:
    shared = EngineCache(tmp_path / "shared", shared=[])
    put(cache)
    path = put(shared)
    assert find(cache, shared.folder) == (FP16, str(path))
    assert find(cache, tmp_path / "nowhere")[0] == FP16


# ------------------------------------------------------------------------------------------------ the library

PROBE = """
import sys
from clarivid import doctor
part = next(part for part in doctor._library()[1] if part.name == "tensorrt")
print(part.ok, part.text)
"""


def probe(**environment: str) -> tuple[bool, str]:
    """What the backend says of itself, in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "CLARIVID_NVINFER")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    ok, _, text = done.stdout.strip().partition(" ")
    return ok == "True", text


def lean() -> Iterator[Path]:
    for entry in sys.path:
        yield from Path(entry or ".").glob("tensorrt_lean_libs/libnvinfer_lean.so.*")


def test_without_a_driver_it_says_so_before_it_touches_tensorrt() -> None:
    library = next(lean())
    ok, text = probe(CLARIVID_CUDA_DRIVER="/nonexistent/libcuda.so.1", CLARIVID_NVINFER=str(library))
    assert not ok
    assert text.startswith("backend tensorrt cannot start: no NVIDIA driver")


def test_with_a_driver_it_finds_tensorrt_or_says_how_to_get_it() -> None:
    driver = {"LD_LIBRARY_PATH": str(EMULATOR)}
    ok, text = probe(**driver, CLARIVID_NVINFER=str(next(lean())))
    assert ok
    assert text.startswith("TensorRT 10.")
    ok, text = probe(**driver, CLARIVID_NVINFER="/nonexistent/libnvinfer.so.10")
    assert not ok
    assert "CLARIVID_NVINFER" in text
    ok, text = probe(**driver, CLARIVID_NVINFER="libm.so.6")
    assert not ok
    assert "libm.so.6 is no TensorRT" in text


def test_other_libraries_are_refused_by_name() -> None:
    """A fake stands for releases that are not here; TensorRT for RTX is the real one."""
    assert FIND is not None
    fake = {
        "LD_LIBRARY_PATH": str(EMULATOR),
        "CLARIVID_NVINFER": str(FIND.parent / "fake" / "libnvinfer.so.10"),
    }
    for number, part in (
        ("110002", "is TensorRT 11.0.2, this build of clarivid runs TensorRT 10"),
        ("80601", "is TensorRT 8.6.1, this build"),
        ("100001", "is TensorRT 10.0.1, clarivid needs 10.1.0 or a later 10"),
    ):
        ok, text = probe(**fake, CLARIVID_FAKE_TENSORRT=number)
        assert (ok, part in text) == (False, True), text
    ok, text = probe(**fake, CLARIVID_FAKE_TENSORRT="101200")
    assert (ok, text) == (True, "TensorRT 10.12.0.48")
    rtx = next(
        path for entry in sys.path for path in Path(entry or ".").glob("tensorrt_rtx*/libtensorrt_rtx.so*")
    )
    ok, text = probe(LD_LIBRARY_PATH=str(EMULATOR), CLARIVID_NVINFER=str(rtx))
    assert not ok
    assert "is TensorRT for RTX 1.7.1, another library" in text


SESSION = """
import sys
from clarivid import _core
from clarivid.cuda import Device
from clarivid.engines import EngineCache, Key, Profile
from clarivid.engines.targets import this_machine
from clarivid.errors import Error
from clarivid.models import find_model
from clarivid.paths import sha256_of

shape, bundle, device = (1, 1, 50, 66), find_model("game_x2"), Device()
digest = sha256_of(bundle.folder / "model_fp16.onnx")
key = Key("game_x2", digest, "fp16", Profile(shape, shape, shape), "tensorrt", sys.argv[1], this_machine()[0],
          {"version_compatible": True})
EngineCache(shared=[]).get(key, lambda: b"ftrt" + bytes(1000), {})
try:
    _core.Session(_core.Model(str(bundle.folder)), _core.Format(66, 50, 2, range=1, memory=1), precision=2,
                  cuda=_core.CudaDevice(device.context, 0), backend="tensorrt")
except Error as error:
    print(error)
"""


def test_a_driver_that_the_real_tensorrt_cannot_use_is_a_sentence_and_no_crash(tmp_path: Path) -> None:
    """The real library on the emulator, which is no driver to it: what it gives then is no null pointer."""
    driver = {"LD_LIBRARY_PATH": str(EMULATOR), "CLARIVID_NVINFER": str(next(lean()))}
    version = probe(**driver)[1].split()[1]
    done = subprocess.run(
        [sys.executable, "-c", SESSION, version],
        env={**os.environ, **driver, "CLARIVID_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(f"TensorRT {version} does not start (")
    assert "CUDA" in done.stdout
