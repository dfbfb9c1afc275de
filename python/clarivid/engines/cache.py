# SPDX-License-Identifier: BSD-2-Clause
"""Where engines are kept: written once, whole or not at all, checked before every use.

::

    <folder>/game_x2-0123456789abcdef.engine      the runtime's bytes
    <folder>/game_x2-0123456789abcdef.json        sidecar: the key's fields, digests, who built it, parity
    <folder>/game_x2-0123456789abcdef.lock        held by the process that builds it; may be deleted any time
    <folder>/.tmp-<machine>-<pid>-*               being written
    <folder>/quarantine/<time>-<name>             what was found damaged

The sidecar is written last and an engine without one does not exist, so a process that is killed leaves
nothing that is served. A lock is the kernel's (flock): it ends with its process. On a network file system it
holds between machines when the system passes flock on (NFS since Linux 2.6.12).

An engine is code that the GPU's driver runs with this process's rights. Therefore folders and files that
anybody may write are refused, and the digest is compared before a runtime sees the bytes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarivid.engines.key import SCHEMA, Key, differences, digest_of
from clarivid.errors import DigestError, Error, InputError, ToolError
from clarivid.paths import cache_dir, sha256_of

ENGINE = ".engine"
SIDECAR = ".json"
LOCK = ".lock"
QUARANTINE = "quarantine"
SHARED = "CLARIVID_ENGINE_PATH"
_TEMPORARY = ".tmp-"
_STALE = 24 * 3600.0  # seconds after which a temporary file without a living process is litter

Say = Callable[[str], None]


def _say_nothing(_sentence: str) -> None:
    pass


@dataclass(frozen=True)
class Entry:
    """An engine that was found whole; ``sidecar`` is all that is known of it."""

    path: Path
    key: Key
    sidecar: Mapping[str, Any]
    writable: bool  # whether it lies in the writable layer

    @property
    def size(self) -> int:
        """Bytes of the engine."""
        return int(self.sidecar["engine"]["bytes"])

    @property
    def sha256(self) -> str:
        """Of the engine, in hexadecimal."""
        return str(self.sidecar["engine"]["sha256"])

    @property
    def created(self) -> float:
        """Seconds since the epoch."""
        return float(self.sidecar["created"])

    @property
    def parity(self) -> Mapping[str, Any] | None:
        """The result of the parity check on the engine's device; None when it was not made."""
        found: Mapping[str, Any] | None = self.sidecar.get("parity")
        return found


@dataclass(frozen=True)
class Fault:
    """Something in a cache's folder that is no good entry; ``problem`` is a sentence."""

    path: Path
    problem: str


class EngineCache:
    """The writable ``folder`` (the cache's ``engines/``), and read-only layers that are looked at first.

    ``shared``: folders, best first; None takes them from ``CLARIVID_ENGINE_PATH`` (':' between them). ``say``
    gets a sentence when something was found damaged, or is waited for. Safe from several processes.
    """

    def __init__(
        self, folder: Path | None = None, shared: Sequence[Path] | None = None, say: Say = _say_nothing
    ) -> None:
        self.folder = folder or cache_dir() / "engines"
        listed = os.environ.get(SHARED, "").split(os.pathsep)
        self.shared = [Path(name) for name in listed if name] if shared is None else list(shared)
        self._say = say

    # ------------------------------------------------------------------------------------------ finding

    def find(self, key: Key) -> Entry | None:
        """The entry of ``key``, its digest checked. What is damaged is reported and moved aside.

        Raises :class:`Error` when a folder or file may be written by anybody.
        """
        for folder in (*self.shared, self.folder):
            path = folder / (key.stem + ENGINE)
            writable = folder == self.folder
            if not path.with_suffix(SIDECAR).exists():
                continue
            _refuse_writable_by_all(folder)
            try:
                entry = read(path, writable)
                _same_key(key, entry)
                return entry
            except (DigestError, InputError) as error:
                if writable:
                    with self._locked(key.stem):
                        self._set_aside(path, str(error))
                else:
                    self._say(f"{error}; the shared folder is passed over")
        return None

    def get(self, key: Key, build: Callable[[], bytes], builder: Mapping[str, Any]) -> tuple[Entry, bool]:
        """The entry of ``key``, and whether it was built now.

        Processes that want the same entry at once wait for the one that builds it. ``build`` gives the
        engine; ``builder`` says in the sidecar what built it. Raises what ``build`` raises, and
        :class:`ToolError` when the disk is full or may not be written.
        """
        entry = self.find(key)
        if entry is not None:
            return entry, False
        self._prepare()
        with self._locked(key.stem):
            entry = self.find_locked(key)
            if entry is not None:
                return entry, False
            return self._store(key, build(), builder), True

    def find_locked(self, key: Key) -> Entry | None:
        """:meth:`find` in the writable layer, for who holds the entry's lock."""
        path = self.folder / (key.stem + ENGINE)
        if not path.with_suffix(SIDECAR).exists():
            return None
        try:
            entry = read(path, True)
            _same_key(key, entry)
        except (DigestError, InputError) as error:
            self._set_aside(path, str(error))
            return None
        return entry

    def entries(self) -> Iterator[Entry | Fault]:
        """Everything in all layers, sorted by name within each; engines are not hashed.

        A shared layer that is not there is a fault.
        """
        for folder in (*self.shared, self.folder):
            if not folder.is_dir():
                if folder in self.shared:  # a share that is not mounted; one's own is made when it is needed
                    yield Fault(
                        folder, f"{folder}, which {SHARED} names, is no folder: mount it, or leave it out"
                    )
                continue
            try:
                _refuse_writable_by_all(folder)
            except Error as error:
                yield Fault(folder, str(error))
                continue
            for sidecar in _named(folder, SIDECAR):
                path = sidecar.with_suffix(ENGINE)
                try:
                    yield read(path, folder == self.folder, hashed=False)
                except Error as error:
                    yield Fault(sidecar, str(error))

    def verify(self) -> tuple[list[Entry], list[Fault]]:
        """Good entries and faults of all layers, every engine hashed, nothing changed."""
        good, faults = [], []
        for found in self.entries():
            if isinstance(found, Fault):
                faults.append(found)
                continue
            try:
                good.append(read(found.path, found.writable))
            except Error as error:
                faults.append(Fault(found.path, str(error)))
        known = {entry.path for entry in good} | {fault.path for fault in faults}
        for folder in (*self.shared, self.folder):
            for path in _named(folder, ENGINE):
                if path not in known and not path.with_suffix(SIDECAR).exists():
                    faults.append(Fault(path, f"{path} has no sidecar: it was not finished, and is not used"))
        return good, faults

    # ------------------------------------------------------------------------------------------ changing

    def set_parity(self, entry: Entry, result: Mapping[str, Any]) -> Entry:
        """Records the parity check of an entry of the writable layer.

        Raises :class:`InputError` when that engine is gone or another has taken its place since.
        """
        with self._locked(entry.path.stem):
            now = read(entry.path, True, hashed=False)
            if now.sha256 != entry.sha256:
                raise InputError(f"the engine {entry.path} was built anew meanwhile: check it again")
            self.write_file(entry.path.with_suffix(SIDECAR), _json({**now.sidecar, "parity": dict(result)}))
        return read(entry.path, True, hashed=False)

    def prune(
        self,
        *,
        older_than: float | None = None,
        max_bytes: int | None = None,
        keep_versions: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> list[Entry | Fault]:
        """Removes entries of the writable layer, and the litter of killed processes; returns them.

        :param older_than: seconds since an entry was built or last used (its access time, where the file
            system keeps it).
        :param max_bytes: the oldest go until the rest is no larger.
        :param keep_versions: runtime -> version that is installed: entries of these runtimes that it does not
            run go.
        """
        gone: list[Entry | Fault] = []
        kept: list[Entry] = []
        now = time.time()
        for entry in [e for e in self.entries() if isinstance(e, Entry) and e.writable]:
            orphan = (
                keep_versions is not None
                and entry.key.runtime in keep_versions
                and not entry.key.runs_with(keep_versions[entry.key.runtime])
            )
            old = older_than is not None and now - _last_used(entry) > older_than
            (gone if orphan or old else kept).append(entry)
        if max_bytes is not None:
            total = sum(entry.size for entry in kept)
            for entry in sorted(kept, key=_last_used):
                if total <= max_bytes:
                    break
                total -= entry.size
                gone.append(entry)
        litter = list(self._litter())
        if not dry_run:
            for found in gone:
                assert isinstance(found, Entry)
                with self._locked(found.path.stem):
                    # The sidecar first: without it there is no entry.
                    for suffix in (SIDECAR, ENGINE):
                        found.path.with_suffix(suffix).unlink(missing_ok=True)
            for fault in litter:
                if fault.path.suffix != ENGINE or fault.path.name.startswith("."):
                    fault.path.unlink(missing_ok=True)
                    continue
                with self._locked(fault.path.stem):  # somebody may build it by now
                    if not fault.path.with_suffix(SIDECAR).exists():
                        fault.path.unlink(missing_ok=True)
            for path in self.folder.glob("*" + LOCK):
                if self._unlocked(path.stem):
                    with self._locked(path.stem):  # which removes it
                        pass
        return [*gone, *litter]

    def _litter(self) -> Iterator[Fault]:
        """Of processes that are gone: temporary files, engines whose sidecar never came."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob(_TEMPORARY + "*")):
            if time.time() - path.stat().st_mtime > _STALE or _is_of_the_dead(path.name):
                yield Fault(path, f"{path} was left by a process that was killed")
        for path in _named(self.folder, ENGINE):
            if not path.with_suffix(SIDECAR).exists() and self._unlocked(path.stem):
                yield Fault(path, f"{path} was not finished")

    # ------------------------------------------------------------------------------------------- writing

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        except OSError as error:
            raise ToolError(f"the engines' folder {self.folder} cannot be made: {error.strerror}") from error
        _refuse_writable_by_all(self.folder)

    def _store(self, key: Key, engine: bytes, builder: Mapping[str, Any]) -> Entry:
        path = self.folder / (key.stem + ENGINE)
        sidecar = {
            "schema": SCHEMA,
            "key": key.as_dict(),
            "key_sha256": key.digest,
            "engine": {
                "file": path.name,
                "bytes": len(engine),
                "sha256": hashlib.sha256(engine).hexdigest(),
            },
            "builder": {"host": socket.gethostname(), **builder},
            "created": time.time(),
            "parity": None,
        }
        self.write_file(path, engine)
        self.write_file(path.with_suffix(SIDECAR), _json(sidecar))
        return read(path, True)

    def write_file(self, path: Path, data: bytes) -> None:
        """``data`` at ``path``, on the disk when this returns, or nothing."""
        draft = self.folder / f"{_mark()}{os.getpid()}-{path.name}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
            _sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise ToolError(_cannot_write(path, len(data), error)) from error
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise

    def _set_aside(self, path: Path, problem: str) -> None:
        """Moves the files of a damaged entry to the quarantine."""
        quarantine = self.folder / QUARANTINE
        quarantine.mkdir(exist_ok=True, mode=0o755)
        prefix = f"{time.time_ns()}-"
        for suffix in (SIDECAR, ENGINE):
            found = path.with_suffix(suffix)
            with suppress(FileNotFoundError):
                found.replace(quarantine / (prefix + found.name))
        self._say(f"{problem}; it was moved to {quarantine} and will be built anew")

    @contextmanager
    def _locked(self, stem: str) -> Iterator[None]:
        path = self.folder / (stem + LOCK)
        while True:
            try:
                lock = path.open("w")
            except OSError as error:
                raise ToolError(
                    f"the lock {path} cannot be made: {error.strerror}; let this user write the folder, or "
                    "set CLARIVID_CACHE to one that it may write"
                ) from error
            with lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._say(f"another process is at work on {stem}; waiting for it")
                    fcntl.flock(lock, fcntl.LOCK_EX)
                # Whoever held it may have deleted the file: then this lock guards nothing.
                if _is_same_file(lock.fileno(), path):
                    try:
                        yield
                    finally:
                        path.unlink(missing_ok=True)
                    return

    def _unlocked(self, stem: str) -> bool:
        try:
            with (self.folder / (stem + LOCK)).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def read(path: Path, writable: bool, hashed: bool = True) -> Entry:
    """The entry whose engine lies at ``path``.

    Raises :class:`DigestError` when the engine is not the sidecar's, :class:`InputError` when the sidecar is
    damaged or contradicts itself, :class:`Error` when anybody may write one of the files. ``hashed`` False
    compares sizes only.
    """
    sidecar_path = path.with_suffix(SIDECAR)
    for file in (path, sidecar_path):
        if file.exists():
            _refuse_writable_by_all(file)
    try:
        sidecar = json.loads(sidecar_path.read_text("utf-8"))
        key = Key.from_dict(sidecar["key"])
        size, digest = int(sidecar["engine"]["bytes"]), str(sidecar["engine"]["sha256"])
        float(sidecar["created"])
        named, schema, claimed = sidecar["engine"]["file"], sidecar["schema"], sidecar["key_sha256"]
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise InputError(f"the sidecar {sidecar_path} cannot be read: {error}") from error
    if schema != SCHEMA:
        raise InputError(f"the sidecar {sidecar_path} has schema {schema}; this clarivid knows {SCHEMA}")
    if claimed != digest_of(sidecar["key"]) or named != path.name or key.stem != path.stem:
        raise InputError(f"the sidecar {sidecar_path} contradicts itself: it is that of another engine")
    try:
        found = path.stat().st_size
    except OSError as error:
        raise InputError(f"the engine {path} is missing, its sidecar is there") from error
    if found != size:
        raise DigestError(f"the engine {path} has {found} bytes, its sidecar says {size}")
    try:
        actual = sha256_of(path) if hashed else digest
    except OSError as error:
        raise InputError(f"the engine {path} cannot be read: {error.strerror}") from error
    if actual != digest:
        raise DigestError(f"the engine {path} has the SHA-256 {actual}, its sidecar says {digest}")
    return Entry(path, key, sidecar, writable)


def _same_key(wanted: Key, entry: Entry) -> None:
    different = differences(wanted, entry.key)
    if different:
        raise InputError(f"the engine {entry.path} is for another key: {'; '.join(different)}")


def _refuse_writable_by_all(path: Path) -> None:
    if path.stat().st_mode & stat.S_IWOTH:
        raise Error(
            f"{path} may be written by every user of this machine, and engines are code: "
            f"chmod o-w {path}, and have its engines verified or built anew"
        )


def _cannot_write(path: Path, size: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(path.parent).free
        return (
            f"there is no room for {path} ({size} bytes, {free} are free): {error.strerror}; make room, or "
            "set CLARIVID_CACHE to another disk"
        )
    return (
        f"{path} cannot be written: {error.strerror}; set CLARIVID_CACHE to a folder that this user may write"
    )


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _last_used(entry: Entry) -> float:
    with suppress(OSError):
        return max(entry.created, entry.path.stat().st_atime)
    return entry.created


def _named(folder: Path, suffix: str) -> list[Path]:
    """Files of that kind that are not just being written, sorted."""
    return sorted(path for path in folder.glob("*" + suffix) if not path.name.startswith("."))


def _mark() -> str:
    """What this machine's temporary files begin with."""
    return f"{_TEMPORARY}{socket.gethostname().replace('-', '_')}-"


def _is_of_the_dead(name: str) -> bool:
    """Whether a process of this machine wrote the temporary file and is gone. Of others nothing is known."""
    number = name.removeprefix(_mark()).split("-", 1)[0]
    return name.startswith(_mark()) and number.isdigit() and not Path(f"/proc/{number}").exists()


__all__ = ["SHARED", "EngineCache", "Entry", "Fault", "read"]
