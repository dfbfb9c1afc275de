# SPDX-License-Identifier: BSD-2-Clause
"""The class :class:`Chain`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from clarivid.chains.escape import Words, read_graph
from clarivid.chains.filter import Filter
from clarivid.errors import InputError

if TYPE_CHECKING:
    import threading

    from clarivid.chains.runner import Done, Progress
    from clarivid.video_io import ChainFrames

MASKED = "mesh_inpaint"  # the filter that a mask is the second input of
_OWN_MASKS = ("rect", "boxes", "segment")  # its options with which it has no second input
_PICTURE, _MASK, _BETWEEN, _OUT = "0:V:0", "1:V:0", "picture", "out"


@runtime_checkable
class Node(Protocol):
    """What a chain is made of: a :class:`Filter`, or an object that an ffmpeg filter stands for."""

    def to_filter(self) -> Filter: ...


class Chain:
    """Filters in a row, our own and others of FFmpeg; immutable.

        chain = Chain(SuperResolution("game_x2"), ff.scale(1280, -2), LowrankPre(strength=0.8))
        chain.run("in.mp4", "out.mp4", crf=21)

    Two chains are equal when ffmpeg reads the same from them. ``chain | other`` is a longer one.

    Args:
        nodes: filters (:class:`clarivid.Filter`, ``clarivid.ff``), objects with ``to_filter()``
            (:class:`clarivid.SuperResolution`, :class:`clarivid.LowrankPre`, :class:`clarivid.Inpainter`), or
            chains, which are put in as what they consist of.

    Raises:
        clarivid.InputError: there is none, or something is no filter.
    """

    __slots__ = ("_filters", "_nodes")

    def __init__(self, *nodes: Node | Chain) -> None:
        found: list[Node] = []
        for node in nodes:
            if isinstance(node, Chain):
                found += node.nodes
            elif isinstance(node, Node) and not isinstance(node, type):
                found.append(node)
            else:
                raise InputError(
                    f"{node!r} is no filter: give objects such as SuperResolution(...), ff.scale(...), "
                    "or read text by Chain.from_ffmpeg"
                )
        if not found:
            raise InputError("a chain has one filter at least: Chain(ff.null()) changes nothing")
        self._nodes = tuple(found)
        self._filters = tuple(node.to_filter() for node in found)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The objects that it was made of."""
        return self._nodes

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The filters that they stand for."""
        return self._filters

    def __or__(self, other: Node | Chain) -> Chain:
        return Chain(self, other) if isinstance(other, Chain | Node) else NotImplemented

    def __ror__(self, other: Node) -> Chain:
        return Chain(other, self) if isinstance(other, Node) else NotImplemented

    def __len__(self) -> int:
        return len(self._filters)

    def __iter__(self) -> Iterator[Filter]:
        return iter(self._filters)

    def __eq__(self, other: object) -> bool:
        return self._filters == other._filters if isinstance(other, Chain) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._filters)

    def __repr__(self) -> str:
        return f"Chain({', '.join(repr(one) for one in self._filters)})"

    def __str__(self) -> str:
        """Its filters as ffmpeg's ``-vf`` has them, also when one needs a second input."""
        return ",".join(str(one) for one in self._filters)

    @property
    def needs_mask(self) -> bool:
        """Whether a ``mesh_inpaint`` in it takes its masks from a second input."""
        return bool(self._masked())

    def _masked(self) -> list[int]:
        """Where the filters with a second input stand."""
        return [
            index
            for index, one in enumerate(self._filters)
            if one.kind == MASKED and not any(key.removeprefix("/") in _OWN_MASKS for key in one.options)
        ]

    def to_ffmpeg(self, graph: bool = False) -> str:
        """What ffmpeg's ``-vf`` takes; with ``graph``, what ``-filter_complex`` takes.

        A graph begins at ``[0:V:0]``, the first input's first video stream that is no cover picture, and ends
        at ``[out]``. ``mesh_inpaint`` without ``rect``, ``boxes`` or ``segment`` is given ``[1:V:0]``, the
        second input's, as its masks.

        Raises:
            clarivid.InputError: such a filter is in the chain and ``graph`` is False, or it is there twice.
        """
        places = self._masked()
        if len(places) > 1:
            raise InputError(
                f"a mask goes into {MASKED}, which is in the chain {len(places)} times: have it once"
            )
        if not graph:
            if places:
                raise InputError(
                    f"{MASKED} takes its masks from a second input, which -vf has not: use -filter_complex "
                    "(graph=True), or give it rect, boxes or segment"
                )
            return str(self)
        texts = [str(one) for one in self._filters]
        if not places:
            return f"[{_PICTURE}]{','.join(texts)}[{_OUT}]"
        before, rest = ",".join(texts[: places[0]]), ",".join(texts[places[0] :])
        if not before:
            return f"[{_PICTURE}][{_MASK}]{rest}[{_OUT}]"
        return f"[{_PICTURE}]{before}[{_BETWEEN}];[{_BETWEEN}][{_MASK}]{rest}[{_OUT}]"

    @classmethod
    def from_ffmpeg(cls, text: str) -> Chain:
        """The chain that ``-vf`` would read from ``text``, or that :meth:`to_ffmpeg` wrote. Opens no model.

        Raises:
            clarivid.InputError: it is no chain, or an option of our filters is none.
        """
        chains = read_graph(text)
        if any(words.before or words.after for chain in chains for words in chain) or len(chains) > 1:
            chains = [_straightened(text, chains)]
        return cls(*(Filter.of(words) for words in chains[0]))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write it as YAML, for :meth:`load` and ``clarivid run``.

        Raises:
            clarivid.InputError: the file is there and ``overwrite`` is False, or its folder takes none.
            clarivid.ToolError: it cannot be written to its end.
        """
        from clarivid.chains import schema

        schema.save(self, Path(path), overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Chain:
        """The chain in a YAML file. Opens no model.

        Raises:
            clarivid.InputError: naming file, line and key of what cannot be.
        """
        from clarivid.chains import schema

        return cls(*schema.load(Path(path)))

    def run(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        mask: str | os.PathLike[str] | None = None,
        video_codec: str | None = None,
        video_options: Mapping[str, object] | None = None,
        audio: str = "copy",
        hwaccel: str | None = None,
        damaged: str = "error",
        overwrite: bool = False,
        progress: Progress | bool | None = None,
        cancel: threading.Event | None = None,
        **encoder: object,
    ) -> Done:
        """Run a file through the chain, with the ffmpeg that ``clarivid ffmpeg build`` made.

        The picture's streams of sound, the chapters and the tags are kept; subtitles too where the container
        takes them. ``progress=True`` draws a bar on stderr where that is a terminal. See
        :func:`clarivid.chains.run` for each argument.

            chain.run("in.mp4", "out.mp4", video_codec="libx264", crf=21, preset="slow", audio="copy")

        Raises:
            clarivid.InputError: files, options or the chain cannot be.
            clarivid.ToolError: ffmpeg failed; its last lines are in the message.
        """
        from clarivid.bars import film
        from clarivid.chains.runner import run

        with film(Path(out).name) if progress is True else nullcontext(progress or None) as tell:
            return run(
                self,
                Path(source),
                Path(out),
                mask=None if mask is None else Path(mask),
                video_codec=video_codec,
                video_options={**(video_options or {}), **encoder} if video_options or encoder else None,
                audio=audio,
                hwaccel=hwaccel,
                damaged=damaged,
                overwrite=overwrite,
                progress=tell,
                cancel=cancel,
            )

    def frames(
        self,
        source: str | os.PathLike[str],
        *,
        mask: str | os.PathLike[str] | None = None,
        damaged: str = "error",
        ffmpeg: str | os.PathLike[str] | None = None,
    ) -> ChainFrames:
        """The frames of a file after the chain, one by one: see :func:`clarivid.video_io.chain_frames`."""
        from clarivid.video_io import chain_frames

        return chain_frames(self, source, mask=mask, damaged=damaged, ffmpeg=ffmpeg)


def _straightened(text: str, chains: list[list[Words]]) -> list[Words]:
    """The filters of a graph whose links make a row, as :meth:`Chain.to_ffmpeg` writes them."""
    refusal = InputError(
        f"'{text}' is a graph, not a chain: filters are joined by commas; for more, call the ffmpeg that "
        "'clarivid ffmpeg path' prints, with -filter_complex"
    )
    found: list[Words] = []
    for chain in chains:
        # Labels inside of a chain are links that go elsewhere.
        if any(words.after for words in chain[:-1]) or any(words.before for words in chain[1:]):
            raise refusal
        first = chain[0]
        if found:
            link = found[-1].after
            if len(link) != 1 or first.before[:1] != link:
                raise refusal
        elif first.before and first.before[0] not in ("in", "0:v", "0:v:0", "0:V", _PICTURE):
            raise refusal
        if first.before[1:] not in ((), ("1:v",), ("1:v:0",), ("1:V",), (_MASK,)):
            raise refusal
        if first.before[1:] and first.name.partition("@")[0] != MASKED:
            raise refusal
        found += chain
    if len(found[-1].after) > 1:
        raise refusal
    return found


__all__ = ["MASKED", "Chain", "Node"]
