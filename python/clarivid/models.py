# SPDX-License-Identifier: BSD-2-Clause
"""Model bundles: find, read, validate and verify them. docs/models.md describes the format.

A bundle is a folder ``<name>/`` with ``card.json``, ``model.onnx`` and whatever else the card lists. This
module reads cards and digests only; it needs neither PyTorch nor an inference runtime.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarivid import paths
from clarivid.errors import DigestError, ModelError

CARD = "card.json"
ONNX = "model.onnx"
ONNX_HALF = "model_fp16.onnx"
WEIGHTS = "weights.safetensors"
PERCEPTUAL = "perceptual"  # key of the card of a bundle with a second set of weights, which is in these files
PERCEPTUAL_ONNX = "model_perceptual.onnx"
PERCEPTUAL_WEIGHTS = "weights_perceptual.safetensors"
SCHEMA = 1
LAYOUTS = ("yuv420_s2d", "yuv420_s2d_mask", "y", "rgb")
# The layouts yuv420_s2d* have exactly one normalisation; the others take values in 0..1 and need not say so.
NORMALISATION = "ycbcr_unit_centred"

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Model:
    """One bundle whose card has been read and validated; its files have not been verified yet."""

    folder: Path
    card: dict[str, Any]

    @property
    def name(self) -> str:
        """The name in the card, which is the one for ``model=``."""
        return str(self.card["name"])

    @property
    def task(self) -> str:
        """``"sr"``, ``"lowrank"``, ``"inpaint"``, ``"segment"``."""
        return str(self.card["task"])

    @property
    def layout(self) -> str:
        """One of :data:`LAYOUTS`: what the net's tensors hold."""
        return str(self.card["layout"])

    @property
    def scale(self) -> int:
        """Output width / input width."""
        return int(self.card["scale"])

    @property
    def has_strength(self) -> bool:
        """Whether the net takes ``strength=``."""
        return "strength" in self.card.get("controls", {})

    @property
    def has_sharpness(self) -> bool:
        """Whether there is a second set of weights, which ``sharpness=`` mixes in."""
        return PERCEPTUAL in self.card

    @property
    def sharpness(self) -> float:
        """What its weights were mixed with (:func:`clarivid.blend.blended`)."""
        return 0.0

    @property
    def onnx(self) -> Path:
        """The f32 ONNX file."""
        return self.folder / ONNX

    @property
    def source(self) -> Path:
        """What the library opens."""
        return self.folder

    @property
    def files(self) -> dict[str, str]:
        """File name -> its SHA-256 in hexadecimal, as the card says."""
        return {name: str(entry["sha256"]) for name, entry in self.card["files"].items()}


def search_path() -> list[Path]:
    """Return the folders that are searched for a model's name, first match wins.

    The folders of ``CLARIVID_MODEL_PATH`` (':' between them), the checkout's ``models/`` when the package
    runs from one, and ``share/clarivid/models`` of the installed package. Missing folders are included.
    """
    folders = [Path(entry) for entry in os.environ.get("CLARIVID_MODEL_PATH", "").split(os.pathsep) if entry]
    root = paths.checkout_dir()
    if root is not None:
        folders.append(root / "models")
    folders += [prefix / "share" / "clarivid" / "models" for prefix in paths.prefix_dirs()]
    return list(dict.fromkeys(folders))


def bundle_folders() -> Iterator[Path]:
    """Yield the folders that hold a card, each name once, in the order of the search path."""
    seen: set[str] = set()
    for parent in search_path():
        if not parent.is_dir():
            continue
        for folder in sorted(parent.iterdir()):
            if folder.name not in seen and (folder / CARD).is_file():
                seen.add(folder.name)
                yield folder


def list_models() -> list[Model]:
    """Return every bundle on the search path, by name.

    :raises ModelError: a card cannot be read; the sentence names the file and the key.
    """
    return sorted((load_model(folder) for folder in bundle_folders()), key=lambda model: model.name)


def model_names() -> list[str]:
    """Return the names of the bundles on the search path, without reading their cards."""
    return sorted(folder.name for folder in bundle_folders())


def find_model(name: str | os.PathLike[str]) -> Model:
    """Find a bundle by name, or read the one at a path.

    :param name: a bundle's name, or the path of its folder, card or ``model.onnx``. As in ``model=`` of the
        filter, text with a ``/`` or ending in ``.onnx`` is a path.
    :raises ModelError: there is none; the sentence says where it looked.
    """
    text = os.fspath(name)
    if "/" in text or text.endswith(".onnx") or not isinstance(name, str):
        return load_model(Path(text))
    if not text:
        raise ModelError("No model is named; give a name such as game_x2, or a path.")
    for folder in search_path():
        if (folder / text / CARD).is_file():
            return load_model(folder / text)
    looked = ", ".join(str(folder) for folder in search_path())
    names = ", ".join(model_names()) or "none"
    raise ModelError(
        f'Model "{text}" is not in {looked}. Known models: {names}. '
        "CLARIVID_MODEL_PATH adds folders to search; a path with a '/' is taken as it is."
    )


def load_model(path: Path) -> Model:
    """Read and validate the card of the bundle at ``path``: its folder, its card or its ``model.onnx``.

    :raises ModelError: no bundle is there or its card is wrong; the sentence names the file and the key.
    """
    if not path.exists():
        raise ModelError(f"Model {path} does not exist.")
    folder = path if path.is_dir() else path.parent
    card_path = folder / CARD
    if path.suffix == ".onnx" and path.name != ONNX:
        raise ModelError(f"{path} is a bare ONNX file: it has no card to read. Name a bundle's folder.")
    if not card_path.is_file():
        raise ModelError(f"{folder} holds no {CARD}: it is not a model bundle.")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{card_path} cannot be read as JSON ({error}). Copy the bundle again.") from error
    validate_card(card, card_path)
    return Model(folder=folder.absolute(), card=card)


def _fail(path: Path, key: str, value: object, wanted: str) -> ModelError:
    shown = "missing" if value is None else json.dumps(value, default=str)
    return ModelError(f'{path}: "{key}" is {shown}; it must be {wanted}.')


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def validate_card(card: object, path: Path) -> None:
    """Check a card against schema 1 (docs/models.md).

    :param card: the parsed JSON.
    :param path: where it came from, for the sentence.
    :raises ModelError: names the file, the key, its value and what it must be.
    """
    if not isinstance(card, dict):
        raise ModelError(f"{path} holds no JSON object. Copy the bundle again.")
    schema = card.get("schema")
    if not isinstance(schema, int) or not _is_int(schema, 1, 1 << 20):
        raise _fail(path, "schema", schema, str(SCHEMA))
    if schema > SCHEMA:
        raise ModelError(f"{path} has schema {schema}; this version reads up to {SCHEMA}. Update clarivid.")
    for key in ("name", "task"):
        if not isinstance(card.get(key), str) or not card[key]:
            raise _fail(path, key, card.get(key), "text")
    if card.get("layout") not in LAYOUTS:
        raise _fail(path, "layout", card.get("layout"), "one of " + ", ".join(LAYOUTS))
    if (card["task"] == "inpaint") != (card["layout"] == "yuv420_s2d_mask"):
        raise ModelError(
            f'{path}: "task" is {json.dumps(card["task"])} and "layout" {json.dumps(card["layout"])}; the '
            'task "inpaint" and the layout "yuv420_s2d_mask" belong together.'
        )
    if card["task"] == "segment" and card["layout"] != "rgb":
        raise _fail(path, "layout", card["layout"], '"rgb" for the task "segment"')
    if card["layout"].startswith("yuv420_s2d") and card.get("normalisation") != NORMALISATION:
        raise _fail(path, "normalisation", card.get("normalisation"), f'"{NORMALISATION}"')
    if not _is_int(card.get("scale"), 1, 4):
        raise _fail(path, "scale", card.get("scale"), "an integer of 1..4")
    _validate_files(card.get("files"), path)
    picture = card.get("input", {})
    if not isinstance(picture, dict):
        raise _fail(path, "input", picture, "an object")
    for key, high in (("multiple_of", 1024), ("min_width", 32768), ("min_height", 32768)):
        if not _is_int(picture.get(key, 1), 1, high):
            raise _fail(path, f"input.{key}", picture[key], f"an integer of 1..{high}")
    for key in ("best_size", "width", "height"):
        if key in picture and not _is_int(picture[key], 16, 4096):
            raise _fail(path, f"input.{key}", picture[key], "an integer of 16..4096, or absent")
    for key in ("parameters", "receptive_field"):
        if key in card and not _is_int(card[key], 0, 1 << 40):
            raise _fail(path, key, card[key], "a whole number, or absent")
    for key in ("architecture", "controls", "training", "scores", "parity", PERCEPTUAL):
        if not isinstance(card.get(key, {}), dict):
            raise _fail(path, key, card[key], "an object, or absent")
    if PERCEPTUAL in card:
        needed = [PERCEPTUAL_ONNX, *([PERCEPTUAL_WEIGHTS] if WEIGHTS in card["files"] else [])]
        for name in needed:
            if name not in card["files"]:
                raise _fail(path, f"files.{name}", None, f'there, because the card has "{PERCEPTUAL}"')


def _validate_files(files: object, path: Path) -> None:
    if not isinstance(files, dict) or ONNX not in files:
        raise _fail(path, "files", files, f"an object that lists {ONNX}")
    for name, entry in files.items():
        if "/" in name or name in ("", ".", ".."):
            raise ModelError(f'{path}: "files" names "{name}", which is no plain file name.')
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise _fail(path, f"files.{name}.sha256", digest, "64 hexadecimal digits in lower case")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hexadecimal.

    :raises ModelError: the file is missing or cannot be read.
    """
    try:
        return paths.sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}). Install the bundle again.") from error


def verify_model(model: Model) -> None:
    """Recompute the digest of every file that the card lists.

    :raises DigestError: a file is not the one that was recorded.
    :raises ModelError: a file is missing or cannot be read.
    """
    for name, wanted in model.files.items():
        path = model.folder / name
        found = file_digest(path)
        if found != wanted:
            raise DigestError(
                f"{path} has SHA-256 {found} but its card says {wanted}: the file is damaged or was changed. "
                "Install the bundle again."
            )


__all__ = [
    "LAYOUTS",
    "SCHEMA",
    "Model",
    "bundle_folders",
    "file_digest",
    "find_model",
    "list_models",
    "load_model",
    "model_names",
    "search_path",
    "validate_card",
    "verify_model",
]
