# SPDX-License-Identifier: BSD-2-Clause
"""One HTML page with everything in it: no other file, no network, most of it readable without JavaScript.

All numbers come from :func:`clarivid.rd.report.summary`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from clarivid.pages import charts, fill
from clarivid.rd.pictures import Crop, crops
from clarivid.rd.plan import PLAIN
from clarivid.rd.report import anchor_of
from clarivid.rd.results import Results

Found = Mapping[str, Any]
MODE_NAMES = {"crf": "CRF", "abr": "two-pass bitrate"}
HEADLINE = ("vmaf", "vmaf_neg", "ssim", "ms_ssim", "psnr_y", "xpsnr")
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
STAR = "<sup>*</sup>"
FULL_COLOUR = 20.0  # per cent at which a cell has its full colour


def write(results: Results, found: Found, path: Path) -> Path:
    """Write the page. Raises :class:`ToolError` when a picture cannot be read back."""
    pictures = {source.name: crops(results, found, source) for source in results.plan.sources}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html(found, pictures), "utf-8")
    return path


def html(found: Found, pictures: Mapping[str, tuple[tuple[int, int, int], list[Crop]]]) -> str:
    """The page as text. ``pictures``: by clip, place and crops."""
    main = next(iter(found["gate"]["missed"]))
    parts = {
        "title": escape(f"{main}: rate-distortion"),
        "lead": _lead(found, main),
        "cards": _cards(found, main),
        "verdict": _verdict(found),
        "summary": _summary(found),
        "guards": _guards(found),
        "selectors": _selectors(found),
        "charts": _charts(found),
        "clip_table": _clip_tables(found),
        "clips": "".join(_clip(found, clip, *pictures[clip["name"]]) for clip in found["clips"]),
        "method": _method(found),
    }
    return fill("clarivid.rd", parts)


def _row(found: Found, variant: str, mode: str = "crf", **scope: str) -> Found:
    """One row of the means: over everything, or of one ``encoder``, ``clip`` or ``kind``."""
    wanted = (variant, mode, *(scope.get(key, "") for key in ("encoder", "clip", "kind")))
    keys = ("variant", "mode", "encoder", "clip", "kind")
    row: Found = next(row for row in found["means"] if tuple(row[key] for key in keys) == wanted)
    return row


def _per_cent(value: float | None, digits: int = 1) -> str:
    """With a real minus sign."""
    return "none" if value is None else f"{value:+.{digits}f}".replace("-", MINUS) + " %"


def _lead(found: Found, main: str) -> str:
    bd = _row(found, main)["bd"]
    first = next(iter(found["scores"]))
    score = "vmaf" if "vmaf" in bd else first
    value = bd[score]
    label = found["scores"][score]["label"]
    clips, kinds = found["clips"], dict.fromkeys(clip["kind"] for clip in found["clips"])
    names = ", ".join(f"{encoder['name']}" for encoder in found["encoders"])
    if value is None:
        claim = f"<strong>{escape(main)}</strong>: some curves gave no BD-rate for {label}."
    else:
        word = "fewer" if value < 0 else "more"
        amount = f"{abs(value):.1f} % {word} bits"
        claim = f"<strong>{escape(main)}</strong> needs <strong>{amount}</strong> at equal {label}."
    what = f"{len(clips)} clip{'s' * (len(clips) != 1)} ({', '.join(map(escape, kinds))}), {escape(names)}"
    return f"{claim} Mean over {what}; every score is against the untouched source."


def _cards(found: Found, main: str) -> str:
    bd, cards = _row(found, main)["bd"], []
    for score in [name for name in HEADLINE if name in found["scores"]]:
        entry, limit = found["scores"][score], found["gate"]["limits"].get(score)
        note = escape(entry["what"])
        state = ""
        if limit is not None:
            passed = bd[score] is not None and bd[score] <= limit
            state = " pass" if passed else " miss"
            note = f"{'passes' if passed else 'misses'} the gate's {_per_cent(limit, 0)}"
        cards.append(
            f'<li class="card{state}"><span class="name">{entry["label"]}</span>'
            f'<span class="figure">{_per_cent(bd[score])}</span><span class="note">{note}</span></li>'
        )
    return "".join(cards)


def _verdict(found: Found) -> str:
    items = []
    for variant, missed in found["gate"]["missed"].items():
        if missed:
            reasons = "".join(f"<li>{escape(text)}</li>" for text in missed)
            items.append(
                f'<details class="miss"><summary><b>{escape(variant)}</b> misses the gate</summary>'
                f"<ul>{reasons}</ul></details>"
            )
        else:
            items.append(f'<p class="pass"><b>{escape(variant)}</b> passes the gate</p>')
    return "".join(items)


def _cells(row: Found) -> str:
    """Table cells, tinted by gain or loss; the sign says it too."""
    cells = []
    for score, value in row["bd"].items():
        missing = row["missing"][score]
        hint = f' title="without {missing} curve(s) that gave no BD-rate: see the guards"' if missing else ""
        if value is None:
            cells.append(f'<td class="none"{hint}>none</td>')
            continue
        kind = "gain" if value < 0 else "loss"
        share = min(abs(value) / FULL_COLOUR, 1.0)
        star = STAR if missing else ""
        text = _per_cent(value)
        cells.append(f'<td class="{kind}" style="--share:{share:.2f}"{hint}>{text}{star}</td>')
    return "".join(cells)


def _table(head: Iterable[str], rows: Iterable[str], caption: str) -> str:
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    body = "".join(rows)
    if STAR in body:
        caption += "; * without the curves that gave no BD-rate"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _score_heads(found: Found) -> list[str]:
    return [
        f'<abbr title="{escape(entry["what"])}">{entry["label"]}</abbr>' for entry in found["scores"].values()
    ]


def _summary(found: Found) -> str:
    """Means over all encoders, then by encoder; one table a mode."""
    tables = []
    for mode in found["modes"]:
        rows = []
        for variant in found["gate"]["missed"]:
            scopes = ["", *(encoder["name"] for encoder in found["encoders"])]
            if not any((row["variant"], row["mode"]) == (variant, mode) for row in found["means"]):
                continue
            for scope in scopes:
                cells = _cells(_row(found, variant, mode, encoder=scope))
                name = escape(variant) if not scope else f'<span class="sub">{escape(scope)}</span>'
                kind = ' class="all"' if not scope else ""
                rows.append(f'<tr{kind}><th scope="row">{name}</th>{cells}</tr>')
        caption = f"Mean BD-rate against plain, {MODE_NAMES[mode]}"
        tables.append(_table(["variant", *_score_heads(found)], rows, caption))
    return "".join(tables)


def _guards(found: Found) -> str:
    drift = max(
        (abs(value), variant, clip["name"])
        for clip in found["clips"]
        for variant, facts in clip["variants"].items()
        for value in facts["drift"]
    )
    shares = [row["overlap"] for row in found["bd"] if not row["problem"]]
    facts = [
        f"Largest drift of a plane's mean: {drift[0]:.3f} code values "
        f"({escape(drift[1])}, {escape(drift[2])}).",
        f"{len(shares)} of {len(found['bd'])} pairs of curves gave a BD-rate"
        + (f"; the least overlap is {min(shares):.0%}." if shares else "."),
    ]
    parts = [f"<ul>{''.join(f'<li>{fact}</li>' for fact in facts)}</ul>"]
    for severity, title in (("fail", "Failed"), ("note", "Worth knowing")):
        own = [guard for guard in found["guards"] if guard["severity"] == severity]
        if not own:
            continue
        items = "".join(f"<li><b>{escape(g['variant'])}</b> {escape(g['sentence'])}</li>" for g in own)
        state = " open" if len(own) <= 6 else ""
        parts.append(
            f'<details class="{severity}"{state}><summary>{title} ({len(own)})</summary>'
            f"<ul>{items}</ul></details>"
        )
    return "".join(parts)


def _rows_of(found: Found) -> list[tuple[str, str]]:
    """Encoder and mode of each set of curves."""
    return [(encoder["name"], mode) for encoder in found["encoders"] for mode in found["modes"]]


def _selectors(found: Found) -> str:
    def select(name: str, label: str, options: Iterable[tuple[str, str]]) -> str:
        inner = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
        return f'<label>{label}<select id="pick-{name}">{inner}</select></label>'

    pairs = _rows_of(found)
    return (
        select("clip", "Clip", ((str(i), clip["name"]) for i, clip in enumerate(found["clips"])))
        + select("encoder", "Encoder", ((str(i), f"{e}, {MODE_NAMES[m]}") for i, (e, m) in enumerate(pairs)))
        + select("score", "Score", ((name, entry["label"]) for name, entry in found["scores"].items()))
    )


def _charts(found: Found) -> str:
    names = [variant["name"] for variant in found["variants"]]
    order = [PLAIN, *(name for name in names if name != PLAIN)]
    grouped: dict[tuple[str, str, str], list[Any]] = {}
    for point in found["points"]:
        grouped.setdefault((point["clip"], point["encoder"], point["mode"]), []).append(point)
    deltas = {
        (row["clip"], row["encoder"], row["mode"], row["variant"], row["score"]): row for row in found["bd"]
    }
    figures: list[str] = []
    for i, clip in enumerate(found["clips"]):
        for j, (encoder, mode) in enumerate(_rows_of(found)):
            own = grouped[clip["name"], encoder, mode]
            for score, entry in found["scores"].items():
                series, legend = [], []
                for style, variant in enumerate(order):
                    points = [
                        (p["kbps"], p["scores"][score], _hint(p, score, entry))
                        for p in own
                        if p["variant"] == variant
                    ]
                    series.append(charts.Series(style, points))
                    row = deltas.get((clip["name"], encoder, mode, variant, score))
                    legend.append(_legend(style, variant, row))
                drawing = charts.curves(series[::-1], entry["label"], entry["unit"], entry["digits"])
                title = f"{clip['name']}, {encoder}, {MODE_NAMES[mode]}: {entry['label']}"
                hidden = " hidden" if figures else ""
                figures.append(
                    f'<figure id="rd-{i}-{j}-{score}"{hidden}><figcaption>{escape(title)}</figcaption>'
                    f'{drawing}<ul class="legend">{"".join(legend)}</ul></figure>'
                )
    return "".join(figures)


def _hint(point: Found, score: str, entry: Found) -> str:
    what = "CRF" if point["mode"] == "crf" else "kbit/s asked:"
    value = f"{point['scores'][score]:.{entry['digits']}f} {entry['unit']}".strip()
    return (
        f"{point['variant']}, {what} {point['rate']:g}: {point['kbps']:.0f} kbit/s, {entry['label']} {value}"
    )


def _legend(style: int, variant: str, row: Found | None) -> str:
    value = ""
    if row is not None:
        text = "no BD-rate" if row["bd_rate"] is None else _per_cent(row["bd_rate"])
        hint = row["problem"] or f"overlap {row['overlap']:.0%}"
        value = f' <b title="{escape(hint)}">{text}</b>'
    return f"<li>{charts.swatch(style)}{escape(variant)}{value}</li>"


def _clip_tables(found: Found) -> str:
    """A clip's mean over encoders; a table a variant, the first one open."""
    tables = []
    for number, variant in enumerate(found["gate"]["missed"]):
        rows = []
        for clip in found["clips"]:
            cells = _cells(_row(found, variant, clip=clip["name"]))
            name = f"{escape(clip['name'])} <small>{escape(clip['kind'])}</small>"
            rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
        kinds = list(dict.fromkeys(clip["kind"] for clip in found["clips"]))
        for kind in kinds if len(kinds) < len(found["clips"]) else []:
            cells = _cells(_row(found, variant, kind=kind))
            rows.append(f'<tr class="all"><th scope="row">all {escape(kind)}</th>{cells}</tr>')
        table = _table(["clip", *_score_heads(found)], rows, f"{variant}, CRF, mean over encoders")
        state = " open" if number == 0 else ""
        tables.append(f"<details{state}><summary>{escape(variant)}</summary>{table}</details>")
    return "".join(tables)


def _clip(found: Found, clip: Found, place: tuple[int, int, int], shown: list[Crop]) -> str:
    main = next(iter(found["gate"]["missed"]))
    facts = clip["variants"][PLAIN]
    size = f"{facts['width']}{TIMES}{facts['height']}, {facts['frames']} frames, {facts['fps']:g} a second"
    cards = "".join(_crop(found, clip, crop, place) for crop in shown)
    encoder = found["encoders"][0]["name"]
    return (
        f'<section class="clip"><h3>{escape(clip["name"])} <small>{escape(clip["kind"])}, {size}</small></h3>'
        f"<p>Frame {place[0]}, where {escape(main)} changes most, enlarged twice. All but the source by "
        f"{escape(encoder)} at about the same bits.</p>"
        f'<div class="crops">{cards}</div>{_packets(found, clip["name"], main)}</section>'
    )


def _crop(found: Found, clip: Found, crop: Crop, place: tuple[int, int, int]) -> str:
    facts = "untouched"
    if crop.scores is not None:
        shown = [
            name for name in ("vmaf", "vmaf_neg", "ssim") if name in crop.scores and name in found["scores"]
        ]
        values = ", ".join(
            f"{found['scores'][n]['label']} {crop.scores[n]:.{min(found['scores'][n]['digits'], 4)}f}"
            for n in shown
        )
        facts = f"{crop.kbps:.0f} kbit/s (CRF {crop.rate:g})<br>{values}"
    text = f"{clip['name']}, frame {place[0]}: {crop.variant}"
    return (
        f'<figure><img src="{crop.uri}" alt="{escape(text)}" width="384" height="256">'
        f"<figcaption><b>{escape(crop.variant)}</b><span>{facts}</span></figcaption></figure>"
    )


def _packets(found: Found, clip: str, main: str) -> str:
    """Bits of each frame at the same CRF: where the saving comes from."""
    anchor = anchor_of(found, clip)
    key = (clip, anchor["encoder"], "crf", anchor["rate"])
    own = {
        p["variant"]: p["packets"]
        for p in found["points"]
        if (p["clip"], p["encoder"], p["mode"], p["rate"]) == key and p["variant"] in (PLAIN, main)
    }
    series = [
        charts.Series(style, [(n, size, "") for n, size in enumerate(own[name])])
        for style, name in enumerate((PLAIN, main))
    ]
    change = 100 * (sum(own[main]) / sum(own[PLAIN]) - 1)
    first = 100 * (own[main][0] / own[PLAIN][0] - 1)
    rest = 100 * (sum(own[main][1:]) / sum(own[PLAIN][1:]) - 1)
    title = f"Bytes of each frame, {anchor['encoder']}, both at CRF {anchor['rate']:g}"
    legend = "".join(f"<li>{charts.swatch(i)}{escape(name)}</li>" for i, name in enumerate((PLAIN, main)))
    return (
        f"<figure><figcaption>{escape(title)}: {_per_cent(change)} in all (first frame {_per_cent(first)}, "
        f"the others {_per_cent(rest)}). Quality differs here.</figcaption>{charts.steps(series, title)}"
        f'<ul class="legend">{legend}</ul></figure>'
    )


def _method(found: Found) -> str:
    def listing(pairs: Iterable[tuple[str, Any]]) -> str:
        return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in pairs) + "</dl>"

    variants = listing((v["name"], v["what"]) for v in found["variants"])
    encoders = listing((e["name"], "CRF " + ", ".join(f"{c:g}" for c in e["crf"])) for e in found["encoders"])
    seen: dict[tuple[str, str], list[str]] = {}
    for point in found["points"]:
        seen.setdefault((point["encoder"], point["mode"]), point["commands"])
    commands = "\n".join(line for lines in seen.values() for line in lines)
    machine = listing(found["machine"].items())
    return (
        f"<h3>Variants</h3>{variants}<h3>Encoders</h3>{encoders}"
        f"<h3>Encodes</h3><pre tabindex=0>{escape(commands)}</pre>"
        f"<h3>This report</h3><pre tabindex=0>{escape(found['command'])}</pre>"
        f"<h3>Versions</h3>{listing(found['versions'].items())}<h3>Machine</h3>{machine}"
        f"<p>{escape(found['date'])}</p>"
    )
