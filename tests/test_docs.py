# SPDX-License-Identifier: BSD-2-Clause
"""Every block of code in the pages is run, or says why not and is checked; the site builds offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import pytest
from click.testing import CliRunner

import filter_tools
from chromium import Browser
from clarivid import cli
from conftest import ROOT
from doc_blocks import Block, blocks, check_command, check_python, commands, split
from onnx_models import nearest_net

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = ("bash", "python", "yaml", "json")
SHOWN = ("text", "c")  # what a program says, drawings, layouts; the C header is the header
GUIDES = {
    "README.md", "quickstart.md", "filters.md", "python.md", "compare.md", "ffmpeg.md", "operating.md",
    "recipes.md",
}  # fmt: skip
RUN_ELSEWHERE = {"recipes.md": "test_ffmpeg_commands.py"}  # with more than that they run
LOOKS_RUN = re.compile(r"^(\$ |clarivid |ffmpeg -|\$F |pip |import |from \w+ import )", re.MULTILINE)


def run(*arguments: str | Path, **keywords: Any) -> None:
    subprocess.run([str(word) for word in arguments], check=True, timeout=120, **keywords)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for in.mp4 and the like: a third of a second of a small picture, with a tone."""
    folder = tmp_path_factory.mktemp("clips")
    ffmpeg = [str(filter_tools.built().ffmpeg), "-nostdin", "-v", "error", "-f", "lavfi", "-i"]
    picture = "testsrc2=s=192x112:r=30:d=0.34,format=yuv420p"
    run(*ffmpeg, picture, "-f", "lavfi", "-i", "sine=d=0.34", "-c:v", "libx264", "-crf", "18", "-c:a", "aac",
        folder / "in.mp4")  # fmt: skip
    for name in ("in.mkv", "original.mp4", "upscaled.mp4", "street.mp4", "other.mp4", "reference.mp4"):
        run(*ffmpeg[:-3], "-i", folder / "in.mp4", "-c", "copy", folder / name)
    hole = "color=black:s=192x112:r=30:d=0.34,drawbox=40:30:30:40:white:fill"
    run(*ffmpeg, hole, "-c:v", "libx264", folder / "mask.mkv")
    run(*ffmpeg, hole, "-frames:v", "1", folder / "mask.png")
    (folder / "boxes.txt").write_text("0 40 30 20 20\n5 42 30 20 20\n", encoding="utf-8")
    nearest_net(folder / "srv" / "nets" / "some_x4.onnx", 3, 4)
    (folder / "films").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(folder / "in.mp4", folder / "films" / name)
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clarivid` and `ffmpeg` as a reader has them. Lines of a page are alternatives: they write over OUT."""
    folder = tmp_path_factory.mktemp("bin")
    scripts = {
        "ffmpeg": f'exec "{filter_tools.built().ffmpeg}" -nostdin -v error -y "$@"\n',
        "clarivid": f'[ "$*" != "ffmpeg path" ] || {{ echo "{folder}/ffmpeg"; exit; }}\n'
        '[ "$1" != run ] || set -- "$@" --overwrite\n'
        f'exec "{sys.executable}" -m clarivid "$@"\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


class Page:
    """The folder in which a page's blocks are run one after the other, and its Python names."""

    def __init__(self, folder: Path, clips: Path, programs: Path) -> None:
        shutil.copytree(clips, folder)
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("CLARIVID_MODEL")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "F": str(programs / "ffmpeg"),
            "NO_COLOR": "1",
            "PIP_NO_INDEX": "1",
        }

    def bash(self, block: Block) -> None:
        lines = [
            line
            for line in commands(block.text)
            if not any(line.startswith(beginning) for beginning in block.skip_lines)
        ]
        script = "\n".join(lines).replace("/srv/", f"{self.folder}/srv/")
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    def python(self, block: Block) -> None:
        if block.before:
            exec(compile(block.before, f"before {block.name}", "exec"), self.names)
        # Lines as in the page, so that a traceback leads there.
        code = "\n" * block.line + block.text
        exec(compile(code, str(block.page), "exec"), self.names)

    def yaml(self, block: Block) -> None:
        from clarivid import Chain

        path = self.folder / (block.title or "block.yaml")
        path.write_text(block.text, encoding="utf-8")
        Chain.load(path)

    def json(self, block: Block) -> None:
        json.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_code_does_what_the_page_says(
    page: Path, clips: Path, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [block for block in BLOCKS if block.page == page and block.language in RUN and not block.skip]
    if not found or page.name in RUN_ELSEWHERE:
        return
    session = Page(tmp_path / "page", clips, programs)
    monkeypatch.chdir(session.folder)
    with patch.dict(os.environ):  # a page of Python may set variables
        for block in found:
            print(f"{block.name}:\n{block.text}")  # shown when it fails
            getattr(session, block.language)(block)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.skip or b.skip_lines], ids=lambda block: block.name)
def test_what_is_not_run_says_why_and_names_what_is_there(block: Block) -> None:
    assert len(block.skip or "".join(block.skip_lines.values())) > 10, f"{block.name} does not say why"
    if block.language == "python":
        check_python(block.before + block.text)
    if block.language == "bash":
        for line in commands(block.text):
            if block.skip or any(line.startswith(beginning) for beginning in block.skip_lines):
                for words in split(line):
                    check_command(words, ROOT)
        for beginning in block.skip_lines:
            assert any(line.startswith(beginning) for line in commands(block.text)), beginning


def test_nothing_is_left_out_unsaid() -> None:
    """Every block is run, marked, or plain text; and most blocks of the guides are run."""
    assert len(BLOCKS) > 40
    for block in BLOCKS:
        assert block.language in RUN + SHOWN, f"{block.name}: say what '{block.language}' is"
        if block.language == "text":
            assert not LOOKS_RUN.search(block.text), f"{block.name} is a program and says text"
    guides = [b for b in BLOCKS if b.page.name in GUIDES and b.language in RUN]
    done = [b for b in guides if not b.skip]
    assert len(done) > len(guides) / 2


def test_no_code_hides_in_indentation() -> None:
    """Blocks that are indented only would be run by nobody."""
    for page in PAGES:
        inside, before = False, ""
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if line.lstrip().startswith("```"):
                inside = not inside
            hidden = (
                not inside and before == "" and re.match(r" {4,}(clarivid|ffmpeg|\$F|import|pip|make) ", line)
            )
            assert not hidden, f"{page.name}:{number} is code without a fence"
            before = line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_targets_that_a_page_names_are_there(page: Path) -> None:
    """In prose, too: what stands in backticks."""
    text = page.read_text(encoding="utf-8")
    for name, sub in set(re.findall(r"`clarivid ([a-z]+)(?: ([a-z]+))?\b[^`\n]*`", text)):
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None, f"{page.name} names clarivid {name}"
        if isinstance(command, click.Group) and sub:
            assert sub in command.list_commands(click.Context(command)), f"{page.name} names {name} {sub}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)\b[^`]*`", text):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page.name} names make {target}"


def test_files_that_the_readme_links_to_are_there() -> None:
    """Links of the pages are checked by mkdocs, which takes a warning for an error."""
    for page in PAGES[:2]:
        for target in re.findall(r"\]\(([^)#:]+)[)#]", page.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page.name} links to {target}"


def test_exit_codes_are_those_of_the_help_and_of_the_program() -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    section = page.partition("## Exit codes")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\d+)` \|", section, flags=re.MULTILINE))
    helped = CliRunner().invoke(cli.cli, ["--help"]).output.partition("Exit codes:")[2]
    assert documented == set(re.findall(r"^ +(\d+) ", helped, flags=re.MULTILINE)) == {"0", "1", "2", "130"}
    assert {cli.EXIT_ERROR, cli.EXIT_INTERRUPTED} == {1, 130}  # test_cli.py runs into each of them


def _sources() -> str:
    """What a user runs: the package, the library and the filters."""
    sources = [
        path
        for folder, ends in (("python", (".py",)), ("csrc", (".cpp", ".h")), ("filters", (".c",)))
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in ends and "tests" not in path.parts and "emulator" not in path.parts
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    return re.sub(r'"\s*\n\s*f?"', "", text)  # sentences go over several lines


def test_environment_variables_are_those_that_the_program_reads() -> None:
    """The operators' page has every variable that a user may set, and none that nobody reads."""
    text = _sources()
    read = set(
        re.findall(r'(?:environ(?:\.get)?\W+|getenv\W+|environment\W+|_folders\W+)"(CLARIVID_[A-Z_]+)"', text)
    )
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(CLARIVID_\w+)`", page, flags=re.MULTILINE))
    assert documented >= read, f"undocumented: {read - documented}"
    assert all(f'"{name}"' in text for name in documented), "documented, and read by nobody"


def test_sentences_that_troubleshooting_explains_are_said_by_the_program() -> None:
    text = _sources()
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").partition("## Troubleshooting")[2]
    sentences = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(sentences) >= 8
    for sentence in sentences:
        for part in sentence.split("…"):
            assert part.strip(' "') in text, f"nobody says '{sentence}'"


class Links(HTMLParser):
    """What a browser would fetch by itself from a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.fetched.append(found.get("src") or "")
        if tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(found.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it: warnings are errors."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:1", "NO_COLOR": "1",
             "https_proxy": "http://127.0.0.1:1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_builds_without_a_network_and_fetches_nothing(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= 15
    for page in pages:
        links = Links()
        links.feed(page.read_text(encoding="utf-8"))
        away = [link for link in links.fetched if re.match(r"(https?:)?//", link)]
        assert not away, f"{page.name} fetches {away}"
    for file in [*site.rglob("*.css"), *site.rglob("*.js")]:
        away = re.findall(
            r"(?:url\(|import\(?|src=)['\"]?(?:https?:)?//[^'\") ]+", file.read_text(encoding="utf-8")
        )
        assert not away, f"{file.name} fetches {away}"
        assert "unpkg.com" not in file.read_text(encoding="utf-8")


def test_the_search_works_from_disk_and_asks_nobody(site: Path) -> None:
    with Browser() as browser:
        browser.open(site / "reference" / "python.html", "document.readyState == 'complete'")
        browser.click(".md-search__input")
        browser.value(
            "(() => { const query = document.querySelector('[data-md-component=search-query]');"
            " query.value = 'lookahead';"
            " for (const kind of ['input', 'keyup']) query.dispatchEvent(new Event(kind, {bubbles: true}));"
            " return 1 })()"
        )
        found = "[...document.querySelectorAll('.md-search-result__link')]"
        browser.wait(f"{found}.some(link => link.href.includes('inpaint'))")
        assert browser.problems == []
        assert [request for request in browser.requests if not request.startswith("file:")] == []


def test_every_page_is_reachable_and_every_public_name_has_its_place(site: Path) -> None:
    import clarivid

    index = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"{page.stem}.html" in index, f"{page.name} is not in the navigation"
    reference = (site / "reference" / "python.html").read_text(encoding="utf-8")
    missing = [
        name for name in clarivid.__all__ if not re.search(rf'id="clarivid\.[\w.]*\b{name}"', reference)
    ]
    assert not missing, f"not in docs/reference/python.md: {missing}"


def test_the_page_of_commands_has_every_command(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in cli.available():
        assert f'id="clarivid-{name}"' in page
