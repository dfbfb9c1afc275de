# SPDX-License-Identifier: BSD-2-Clause
"""Which options a libavfilter is configured with so that it has what the stock one has.

FFmpeg's configure says for each filter what it is made of (``zscale_filter_deps="libzimg const_nan"``). With
the list of filters that the stock ffmpeg has, and the options it was configured with, this gives the external
libraries that count; all others, encoders and devices for the most part, are nothing to libavfilter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from clarivid.ffmpeg.flags import OUR_FILTERS

_RELATIONS = ("deps", "select", "suggest", "deps_any")

# What configure works out in its code instead of in its tables.
_BY_CODE = {"spirv_compiler": ("libshaderc", "libglslang")}

# A library that is taken under another one's name, for those that are made with the latter.
_INSTEAD = {"libvpl": "libmfx"}

# Options of the stock one that change how libavfilter itself is compiled, licensed or named.
_KEPT = re.compile(
    r"--(prefix|libdir|shlibdir|incdir|datadir|extra-version|toolchain|arch|cpu|cc|optflags|extra-cflags|"
    r"extra-cxxflags|extra-ldflags|build-suffix)=|"
    r"--(enable-(gpl|version3|nonfree|shared|small|gray|hardcoded-tables|pic|lto)|"
    r"disable-(static|stripping|debug|optimizations|runtime-cpudetect|asm|x86asm|inline-asm|mmx|mmxext|sse\w*|"
    r"ssse3|avx\w*|fma[34]|xop|amd3dnow\w*|altivec|vsx|power8|neon|vfp\w*|armv\w+|msa|lsx|lasx|mips\w+))$"
)


@dataclass(frozen=True)
class Components:
    """What configure's tables say.

    ``relations`` by name; all names of ``external`` libraries, and of those that are taken without being
    asked for; FFmpeg's own ``libraries``, whose makeup is that of the stock ones.
    """

    relations: dict[str, dict[str, tuple[str, ...]]]
    external: frozenset[str]
    automatic: frozenset[str]
    libraries: frozenset[str]

    @classmethod
    def parse(cls, configure: str) -> Components:
        """Read FFmpeg's ``configure``."""
        relations: dict[str, dict[str, tuple[str, ...]]] = {
            name: {"deps_any": names} for name, names in _BY_CODE.items()
        }
        for name, relation, words in re.findall(
            rf'^(\w+?)_({"|".join(sorted(_RELATIONS, key=len, reverse=True))})="([^"]*)"', configure, re.M
        ):
            relations.setdefault(name, {})[relation] = tuple(words.split())
        own = re.search(r'^LIBRARY_LIST="([^"]*)"', configure, re.M)
        lists = {
            name: {word for word in words.split() if not word.startswith("$")}
            for name, words in re.findall(r'^((?:EXTERNAL|HWACCEL)\w*_LIST)="([^"]*)"', configure, re.M)
        }
        return cls(
            relations,
            frozenset().union(*lists.values()),
            frozenset().union(*(words for name, words in lists.items() if "AUTODETECT" in name)),
            frozenset(own[1].split() if own else ()),
        )

    def with_instead(self, name: str, other: str) -> Components:
        """The same where the external library ``other`` is there when ``name`` is."""
        relations = dict(self.relations)
        relations[other] = {"deps": (name,)}
        return replace(self, relations=relations, external=self.external - {other})

    def externals_of(self, filters: Iterable[str]) -> set[str]:
        """All external libraries that these filters may be made with."""
        seen: set[str] = set()
        waiting = [f"{name}_filter" for name in filters]
        for name in waiting:
            relations = self.relations.get(name, {})
            for relation in _RELATIONS:
                new = {word for word in relations.get(relation, ()) if word[0] != "!"} - seen - self.libraries
                seen |= new
                waiting += sorted(new)
        return seen & self.external

    def can_have(self, name: str, available: Collection[str], path: tuple[str, ...] = ()) -> bool:
        """Whether a filter (``zscale_filter``) or what it is made of can be had with these libraries."""
        if name in path or name in self.libraries:
            return True
        if name in self.external and name not in available:
            return False
        relations, further = self.relations.get(name, {}), (*path, name)
        needed = (*relations.get("deps", ()), *relations.get("select", ()))
        choice = relations.get("deps_any", ())
        return all(word[0] == "!" or self.can_have(word, available, further) for word in needed) and (
            not choice or any(self.can_have(word, available, further) for word in choice)
        )


@dataclass(frozen=True)
class Wanted:
    """What the stock libavfilter asks for.

    ``filters`` are its own, ``externals`` the libraries they are made with there; ``components`` tell which
    filters are lost without one.
    """

    components: Components
    filters: tuple[str, ...]
    externals: tuple[str, ...]
    stock_options: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, configure: str, options: Sequence[str], filters: Iterable[str]) -> Wanted:
        """From the source's configure, and the stock one's options and filters."""
        components = Components.parse(configure)
        filters = tuple(sorted(filters))
        given = {_name(option) for option in options if option.startswith("--enable-")}
        refused = {_name(option) for option in options if option.startswith("--disable-")}
        had = (given | components.automatic) - refused
        for name, other in _INSTEAD.items():
            if name in given:
                components = components.with_instead(name, other)
        named = sorted(components.externals_of(filters) & had)
        return cls(components, filters, tuple(named), tuple(options))

    def lost_without(self, missing: Collection[str]) -> dict[str, list[str]]:
        """The filters that cannot be had, and for each which of the missing libraries bring it."""
        available = set(self.externals) - set(missing)
        lost = [name for name in self.filters if not self.components.can_have(f"{name}_filter", available)]
        return {
            name: sorted(self.components.externals_of([name]) & set(missing))
            for name in lost
            if self.components.can_have(f"{name}_filter", self.externals)
        }

    def poorer_without(self, missing: Collection[str]) -> dict[str, list[str]]:
        """The filters that can be had with less in them (drawtext without libfribidi), and without what."""
        lost = self.lost_without(missing)
        rows = {name: sorted(self.components.externals_of([name]) & set(missing)) for name in self.filters}
        return {name: less for name, less in rows.items() if less and name not in lost}

    def flags(self, missing: Collection[str]) -> list[str]:
        """The options of configure, but for compilers and paths of ours."""
        lost = self.lost_without(missing)
        filters = [*(name for name in self.filters if name not in lost), *OUR_FILTERS]
        flags = [option for option in self.stock_options if _KEPT.match(option)]
        flags += ["--disable-autodetect", "--disable-everything", "--disable-doc", "--disable-programs"]
        flags += ["--enable-pthreads", f"--enable-filter={','.join(dict.fromkeys(filters))}"]
        flags += [f"--enable-{_option(name)}" for name in self.externals if name not in missing]
        if "--enable-shared" not in flags:
            flags += ["--enable-shared", "--disable-static"]
        return [*flags, "--enable-libclarivid"]

    def left_out(self) -> list[str]:
        """The stock one's options that are nothing to libavfilter, or that ours stand in for."""
        kept = {f"--enable-{_option(name)}" for name in self.externals}
        return [o for o in self.stock_options if not _KEPT.match(o) and o not in kept]


def _name(option: str) -> str:
    return option.partition("-")[2].partition("-")[2].partition("-")[2].partition("=")[0].replace("-", "_")


def _option(name: str) -> str:
    return name.replace("_", "-")


__all__ = ["Components", "Wanted"]
