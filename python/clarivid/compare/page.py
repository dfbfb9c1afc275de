# SPDX-License-Identifier: BSD-2-Clause
"""One HTML page with everything in it: no other file, no network.

All numbers come from :func:`clarivid.compare.numbers.summary`; ``page.js`` moves what is here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clarivid.compare.embed import Embedded, embed
from clarivid.compare.numbers import LOW, ROLES, per_frame, per_second
from clarivid.compare.pictures import HEAT, HEAT_TOP, Shown
from clarivid.outputs import write_whole
from clarivid.pages import charts, fill
from clarivid.rd.scores import SCORES as KNOWN

if TYPE_CHECKING:
    from clarivid.compare import Comparison

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
STYLES = {"a": 1, "b": 2, "reference": 0}  # colours of the charts
WHOLE_SECONDS = 10.0  # a clip at least so long shows its bits by the second first


def write(found: Comparison, shown: Sequence[Shown], path: Path) -> Path:
    """Write the page; it appears when it is complete."""
    write_whole(path, html(found, shown).encode("utf-8"))
    return path


def html(found: Comparison, shown: Sequence[Shown]) -> str:
    """The page as text."""
    numbers = found.summary()
    labels = list(found.files)
    judged = [0, 1] if found.reference else [1]
    pictures = embed(shown, labels, judged)
    canvas = numbers["canvas"]
    ratio = canvas["width"] / canvas["height"]
    plots: dict[str, Any] = {}
    parts = {
        "title": f"{escape(labels[0])} and {escape(labels[1])}",
        "lead": _lead(numbers),
        "cards": _cards(numbers),
        "notes": _notes(numbers["notes"]),
        "shape": f"aspect-ratio: {canvas['width']} / {canvas['height']}; max-width: calc(86vh * {ratio:.4f})",
        "left_options": _options(labels, 0),
        "right_options": _options(labels, 1),
        "ramp": f"background: linear-gradient(90deg, {', '.join(HEAT)})",
        "top": str(HEAT_TOP),
        "map_what": f"how far each is from the {escape(found.reference)}"
        if found.reference
        else f"how far {escape(labels[1])} is from {escape(labels[0])}",
        "strip": _strip(shown, pictures, numbers),
        "panels": "".join(
            '<figure><canvas role="img" tabindex="0"></canvas>'
            f"<figcaption><b>{escape(label)}</b><span></span></figcaption></figure>"
            for label in labels
        ),
        "fidelity": _fidelity(pictures.quality, numbers),
        "against": _against(numbers),
        "score_table": _score_table(numbers),
        "charts": _score_charts(numbers, plots),
        "bits": _bits(found, numbers, plots),
        "files": _files(numbers),
        "method": _method(numbers),
        "store": pictures.store,
        "data": _data(numbers, shown, pictures, labels, judged, plots),
    }
    return fill("clarivid.compare", parts)


def _signed(value: float, digits: int) -> str:
    """With a real minus sign; a change that rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if float(text) == 0 else text.replace("-", MINUS)


def _judged(numbers: dict[str, Any]) -> list[str]:
    return list(numbers["scores"])


def _digits(name: str) -> int:
    """As in cards and tables: what a reader can use."""
    return min(KNOWN[name].digits, 4 if name == "ssim" else 2)


def _lead(numbers: dict[str, Any]) -> str:
    a, b = (escape(numbers["files"][role]["label"]) for role in ("a", "b"))
    bits = numbers["bits"]
    if bits is None:
        rate = ""
    elif abs(bits) < 0.05:
        rate = " at the same bitrate"
    else:
        rate = f" with <strong>{abs(bits):.1f} % {'fewer' if bits < 0 else 'more'} bits</strong>"
    if not any(numbers["difference"]):
        return f"The luma of {a} and {b} is the same in every frame that was compared{rate}."
    name = next(iter(numbers["scores"]["b"]))
    label, digits = KNOWN[name].label, _digits(name)
    value = numbers["scores"]["b"][name]["mean"]
    unit = f" {KNOWN[name].unit}".rstrip()
    if numbers["against"] == "a":
        return (
            f"<strong>{b}</strong> has {label} <strong>{value:.{digits}f}{unit}</strong> against {a}{rate}."
        )
    change = value - numbers["scores"]["a"][name]["mean"]
    side = "above" if change >= 0 else "below"
    return (
        f"<strong>{b}</strong> is <strong>{abs(change):.{digits}f}{unit} {label} {side}</strong> "
        f"<strong>{a}</strong>{rate}, both against the reference."
    )


def _cards(numbers: dict[str, Any]) -> str:
    cards = []
    for name, own in numbers["scores"]["b"].items():
        known, digits = KNOWN[name], _digits(name)
        mean = f"{own['mean']:.{digits}f}"
        if numbers["against"] == "a":
            low = f"worst {LOW} %: {own['low']:.{digits}f}"
            cards.append(_card("", known.label, f"{mean} {known.unit}".strip(), low))
            continue
        before = numbers["scores"]["a"][name]["mean"]
        change = own["mean"] - before
        state = "" if abs(change) < 0.5 * 10**-digits else (" gain" if change > 0 else " loss")
        note = f"{before:.{digits}f} \N{RIGHTWARDS ARROW} {mean}"
        cards.append(_card(state, known.label, f"{_signed(change, digits)} {known.unit}".strip(), note))
    if numbers["bits"] is not None:
        rates = [f"{numbers['files'][role]['compared_kbps']:,.0f}" for role in ("a", "b")]
        note = " \N{RIGHTWARDS ARROW} ".join(rates) + " kbit/s"
        state = "" if abs(numbers["bits"]) < 0.05 else (" gain" if numbers["bits"] < 0 else " loss")
        cards.append(_card(state, "Bits", f"{_signed(numbers['bits'], 1)} %", note))
    return "".join(cards)


def _card(state: str, name: str, figure: str, note: str) -> str:
    return (
        f'<li class="card{state}"><span class="name">{name}</span><span class="figure">{figure}</span>'
        f'<span class="note">{note}</span></li>'
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<div class="notes" role="note">{"".join(f"<p>{escape(note)}</p>" for note in notes)}</div>'


def _options(labels: Sequence[str], chosen: int) -> str:
    return "".join(
        f'<option value="{k}"{" selected" if k == chosen else ""}>{escape(label)}</option>'
        for k, label in enumerate(labels)
    )


def _title(one: Shown, numbers: dict[str, Any]) -> str:
    pair = one.chosen.pair
    return f"frame {numbers['paired']['frames']['a'][pair]}, {numbers['paired']['times'][pair]:.2f} s"


def _strip(shown: Sequence[Shown], pictures: Embedded, numbers: dict[str, Any]) -> str:
    b = escape(numbers["files"]["b"]["label"])
    return "".join(
        f'<button type="button" aria-pressed="false"><img src="{uri}" alt="{b}"><span>{_title(one, numbers)}'
        f"</span><small>{one.chosen.why}</small></button>"
        for one, uri in zip(shown, pictures.thumbnails, strict=True)
    )


def _fidelity(quality: int | None, numbers: dict[str, Any]) -> str:
    size = f"{numbers['canvas']['width']}{TIMES}{numbers['canvas']['height']}"
    if quality is None:
        return f"Pictures have {size} samples and are embedded without loss. Scores are of the files."
    return (
        f"Pictures have {size} samples. They are embedded at WebP quality {quality} to keep this page small, "
        "but the numbered places and the differences are made of the decoded frames: the places lie over the "
        "frames without loss. Scores are of the files."
    )


def _against(numbers: dict[str, Any]) -> str:
    files = numbers["files"]
    if numbers["against"] == "a":
        text = f"{escape(files['b']['label'])} is judged against {escape(files['a']['label'])}"
    else:
        text = "Both are judged against the reference"
    low = f"the worst {LOW} % are the mean of that share of frames, the ones with the lowest scores"
    return (
        f"{text}, frame by frame, in luma; {low}. Point at a chart for values, click for the nearest picture."
    )


def _score_table(numbers: dict[str, Any]) -> str:
    roles = _judged(numbers)
    names = {role: escape(numbers["files"][role]["label"]) for role in roles}
    head = ["score", *(f"{names[r]}, mean" for r in roles)]
    head += [f"{names[r]}, worst {LOW} %" for r in roles] + [f"{names[r]}, least" for r in roles]
    rows = []
    for name in numbers["scores"]["b"]:
        known, digits = KNOWN[name], _digits(name)
        own = [numbers["scores"][role][name] for role in roles]
        cells = [f"<td>{entry[key]:.{digits}f}</td>" for key in ("mean", "low", "least") for entry in own]
        label = f'<abbr title="{escape(known.what)}">{known.label}</abbr> <small>{known.unit}</small>'
        rows.append(f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>')
    return _table(head, rows, "Scores over all frames that were compared")


def _table(head: Iterable[str], rows: Iterable[str], caption: str) -> str:
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _plot(identity: str, title: str, drawing: str, roles: Iterable[str], numbers: dict[str, Any]) -> str:
    legend = "".join(
        f"<li>{_swatch(STYLES[role])}{escape(numbers['files'][role]['label'])}</li>" for role in roles
    )
    return (
        f'<figure class="plot" id="{identity}"><figcaption><b>{title}</b><output></output></figcaption>'
        f'{drawing}<ul class="legend">{legend}</ul></figure>'
    )


def _swatch(style: int) -> str:
    return (
        f'<svg class="swatch" viewBox="0 0 28 14" aria-hidden="true"><g class="s{style}">'
        '<polyline points="1,7 27,7"/></g></svg>'
    )


def _score_charts(numbers: dict[str, Any], plots: dict[str, Any]) -> str:
    roles, times, figures = _judged(numbers), numbers["paired"]["times"], []
    for name in numbers["scores"]["b"]:
        known = KNOWN[name]
        values = {role: numbers["scores"][role][name]["values"] for role in roles}
        series = [
            charts.Series(STYLES[role], [(t, v, "") for t, v in zip(times, values[role], strict=True)])
            for role in roles
        ]
        drawing = charts.timeline(series, known.label, known.unit, known.digits)
        figures.append(_plot(f"plot-{name}", known.label, drawing, roles, numbers))
        plots[f"plot-{name}"] = {
            "times": False,
            "unit": known.unit,
            "digits": known.digits,
            "series": [[numbers["files"][role]["label"], values[role]] for role in roles],
        }
    return "".join(figures)


def _bits(found: Comparison, numbers: dict[str, Any], plots: dict[str, Any]) -> str:
    media = dict(zip(numbers["files"], found.files.values(), strict=True))
    long = media["a"].seconds >= WHOLE_SECONDS
    kinds = {
        "second": ("Bitrate", "kbit/s", per_second, False),
        "frame": ("Bits", "kbit", per_frame, True),
    }
    roles = ["a", "b"]
    buttons, figures = "", ""
    for kind, (title, unit, rows_of, log) in kinds.items():
        rows = {role: [(round(t, 4), round(v, 3)) for t, v in rows_of(media[role])] for role in roles}
        drawn = {role: [(t, max(v, 0.001) if log else v, "") for t, v in rows[role]] for role in roles}
        drawing = charts.timeline(
            [charts.Series(STYLES[role], drawn[role]) for role in roles],
            title,
            unit,
            0,
            stepped=True,
            log=log,
        )
        shown = (kind == "second") == long
        figure = _plot(f"plot-{kind}", f"{title} of each {kind}", drawing, roles, numbers)
        figures += f'<div id="by-{kind}"{"" if shown else " hidden"}>{figure}</div>'
        buttons += (
            f'<button type="button" data-rate="by-{kind}" aria-pressed="{"true" if shown else "false"}">each '
            f"{kind}</button>"
        )
        plots[f"plot-{kind}"] = {
            "times": True,
            "unit": unit,
            "digits": 1,
            "series": [[numbers["files"][role]["label"], rows[role]] for role in roles],
        }
    head = ["", "kbit/s, compared part", "kbit/s", "video bytes", "file bytes"]
    table = [
        f'<tr><th scope="row">{escape(entry["label"])}</th>'
        f"<td>{entry['compared_kbps']:,.1f}</td><td>{entry['kbps']:,.1f}</td>"
        f"<td>{entry['video_bytes']:,}</td><td>{entry['file_bytes']:,}</td></tr>"
        for entry in numbers["files"].values()
    ]
    caption = "Video bytes are those of the stream's packets, without container and sound"
    return f'{_table(head, table, caption)}<div class="bar">{buttons}</div>{figures}'


def _files(numbers: dict[str, Any]) -> str:
    head = ["", "file", "size", "frames", "a second", "seconds", "stream"]
    rows = [
        f'<tr><th scope="row">{escape(entry["label"])}</th>'
        f'<td class="text">{escape(Path(entry["path"]).name)}</td>'
        f"<td>{entry['width']}{TIMES}{entry['height']}</td><td>{entry['frames']:,}</td>"
        f"<td>{entry['fps']:.6g}</td><td>{entry['seconds']:.2f}</td>"
        f'<td class="text">{escape(entry["codec"])}</td></tr>'
        for entry in numbers["files"].values()
    ]
    return _table(head, rows, "As ffmpeg reads them")


def _method(numbers: dict[str, Any]) -> str:
    canvas, paired = numbers["canvas"], numbers["paired"]
    by_time = "their time, each with the nearest of the other file"
    how = "their number" if paired["by"] == "number" else by_time
    size = f"{canvas['width']}{TIMES}{canvas['height']} {escape(canvas['pix_fmt'])}"
    scores = "".join(
        f"<dt>{KNOWN[name].label}</dt><dd>{escape(KNOWN[name].what)}</dd>" for name in numbers["scores"]["b"]
    )
    return (
        f"<p>{paired['pairs']:,} pairs of frames, paired by {how}. Every frame was brought to {size} of "
        f"limited range before libvmaf scored it, by ffmpeg's {escape(canvas['scaler'])} scaler where its "
        "size differed. Frames to look at: half of them where the luma of the two differs most, others evenly"
        " spaced. Places: the parts of a frame that differ most and do not overlap.</p>"
        f"<dl>{scores}</dl>"
    )


def _tag(numbers: dict[str, Any], role: str, pair: int) -> str:
    """A file's name and its first score in a frame, for the corner of the picture."""
    label: str = numbers["files"][role]["label"]
    for name, own in numbers["scores"].get(role, {}).items():
        value = f"{KNOWN[name].label} {own['values'][pair]:.{_digits(name)}f} {KNOWN[name].unit}"
        return f"{label}: {value}".strip()
    return label


def _data(
    numbers: dict[str, Any],
    shown: Sequence[Shown],
    pictures: Embedded,
    labels: Sequence[str],
    judged: Sequence[int],
    plots: dict[str, Any],
) -> str:
    """What the script needs, as JSON that may stand in a page."""
    frames = [
        {
            "pair": one.chosen.pair,
            "time": numbers["paired"]["times"][one.chosen.pair],
            "text": f"{_title(one, numbers)}: {one.chosen.why}",
            "tags": [_tag(numbers, role, one.chosen.pair) for role in numbers["files"]],
            "places": [[p.x, p.y, p.width, p.height, round(p.difference, 2)] for p in one.places],
        }
        for one in shown
    ]
    worst = max(range(len(shown)), key=lambda n: numbers["difference"][shown[n].chosen.pair])
    data = {
        "labels": list(labels),
        "width": numbers["canvas"]["width"],
        "height": numbers["canvas"]["height"],
        "lossless": pictures.quality is None,
        "maps": list(judged),
        "first": worst,
        "frames": frames,
        "times": numbers["paired"]["times"],
        "numbers": numbers["paired"]["frames"]["a"],
        "plots": plots,
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


__all__ = ["ROLES", "html", "write"]
