"""The page of results: its figures are those of the JSON, it needs no network, and in a browser it loads and its sliders move."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import HERE
from PIL import Image

from presage.bench.reports import lossless as lossless_report
from presage.codec.cli.main import main
from presage.codec.cli.tools import write_archive_page

pytest.importorskip("plotly", reason="reports need plotly")
pytest.importorskip("jinja2", reason="reports need jinja2")

RECORDED = HERE.parent / "bench" / "recorded"
RESULTS = [
    RECORDED / f"{name}.json"
    for name in ("kodak-lossless", "kodak-lossy", "kodak-anytime", "jpeg-camera", "calls-cifar10", "codes-cifar10")
]
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
MANIFEST: list[dict[str, Any]] = [
    {"presage": "archive", "version": 1},
    {"path": "a", "kind": "folder"},
    {"path": "a/<b>.jpg", "kind": "file", "bytes": 1000, "stored_bytes": 700, "result": "coded", "format": "JPEG", "coding": "JPEG"}
    | {"width": 100, "height": 50, "seconds": 0.5, "model": "jpeg-1"},
    {"path": "c.png", "kind": "file", "bytes": 9, "stored_bytes": 9, "result": "copied", "format": "PNG", "why": "it would be larger"},
    {"path": "old.png", "kind": "file", "bytes": 5, "stored_bytes": 5, "result": "copied"},
    {"path": "old.png", "kind": "gone"},
    {"path": "c.png", "kind": "file", "bytes": 2000, "stored_bytes": 2100, "result": "copied", "format": "PNG", "why": "broken"},
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", "report", *map(str, arguments)])


def manifest(folder: Path) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in MANIFEST) + '{"path": "torn')
    return path


def data_of(page: Path) -> list[dict[str, Any]]:
    """What the page's script reads."""
    found = DATA.search(page.read_text())
    assert found is not None
    data: list[dict[str, Any]] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything that there is."""
    folder = tmp_path_factory.mktemp("report")
    with Image.open(HERE.parent / "samples" / "kodim23.png") as image:
        image.crop((200, 100, 296, 196)).save(folder / "photo.png")
    page = folder / "report.html"
    done = run(*RESULTS, manifest(folder), "--picture", folder / "photo.png", "--bpp", 1.5, "--threads", 1, "-o", page)
    assert done.exit_code == 0, done.output
    return page


def test_figures_are_those_of_the_results(report: Path) -> None:
    text, sections = report.read_text(), data_of(report)
    lossy = json.loads(RESULTS[1].read_text())
    traces = {trace["name"]: trace for trace in sections[1]["charts"][0]["data"]}
    assert traces.keys() == lossy["curves"].keys()
    for name, curve in lossy["curves"].items():
        assert traces[name]["x"] == [point["bpp"] for point in curve]
        assert traces[name]["y"] == [point["psnr"] for point in curve]
    lossless = json.loads(RESULTS[0].read_text())
    points = {trace["name"]: (trace["x"], trace["y"]) for trace in sections[0]["charts"][1]["data"]}
    measured = {name: mean for name, mean in lossless["mean"].items() if mean["decode_s"] is not None}
    assert points == {name: ([mean["decode_s"]], [mean["bpsp"]]) for name, mean in measured.items()}
    for mean in lossless["mean"].values():
        assert f"<td>{lossless_report.BPSP.format(mean['bpsp'])}</td>" in text
    assert len(sections) == len(RESULTS) + 2


def test_pictures_and_cuts_are_measured(report: Path) -> None:
    section = data_of(report)[-1]
    shown = {picture["name"]: picture["facts"] for picture in section["pairs"][0]["shown"]}
    assert {"the photograph", "presage", "jpeg"} <= shown.keys()
    for name, facts in shown.items():
        if name != "the photograph":
            assert int(facts.split()[0].replace(",", "")) <= 1.5 * 96 * 96 / 8
    for file in section["cuts"][0]["files"]:
        sizes = [cut["bytes"] for cut in file["cuts"]]
        decibels = [float(cut["facts"].split()[-2]) for cut in file["cuts"]]
        assert sizes == sorted(sizes)
        assert len(sizes) > 3
        assert decibels[-1] > decibels[0] + 2
        assert all(cut["picture"].startswith("data:image/webp;base64,") for cut in file["cuts"])


def test_an_archive(tmp_path: Path) -> None:
    page = tmp_path / "archive.html"
    write_archive_page(manifest(tmp_path), page, False)
    text = page.read_text()
    for figure in ("<b>2</b>", "<b>3,000</b>", "<b>2,800</b>", "<b>93.3%</b>", "a/&lt;b&gt;.jpg", "broken"):
        assert figure in text, figure
    assert "<b>.jpg" not in text
    assert "old.png" not in text
    bars = {trace["name"]: dict(zip(trace["x"], trace["y"], strict=True)) for trace in data_of(page)[0]["charts"][0]["data"]}
    assert bars == {"before": {"PNG, copied": 2000, "JPEG, JPEG": 1000}, "after": {"PNG, copied": 2100, "JPEG, JPEG": 700}}


def test_archives_make_their_page(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "notes.txt").write_text("no picture")
    names = [str(tmp_path / name) for name in ("tree", "kept", "page.html")]
    archive = ["archive", names[0], "-o", names[1], "-j", "1", "--report", names[2]]
    assert CliRunner().invoke(main, archive).exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert "notes.txt" in page
    again = CliRunner().invoke(main, archive)
    assert again.exit_code != 0
    assert "page.html" in again.output
    assert CliRunner().invoke(main, [*archive, "-f"]).exit_code == 0


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    for name, content in (
        ("a.json", "{"),
        ("b.json", "[]"),
        ("c.json", '{"a": 1}'),
        ("d.jsonl", "{}\n"),
        ("e.json", '{"mean": 1, "relative_to_jxl9": 2}'),
    ):
        (tmp_path / name).write_text(content)
        done = run(tmp_path / name, "-o", tmp_path / "page.html")
        assert done.exit_code == 1, name
        assert name.split(".")[0] in done.output
        assert not (tmp_path / "page.html").exists()
    assert run("-o", tmp_path / "page.html").exit_code == 2
    (tmp_path / "page.html").write_text("mine")
    assert "-f" in run(RESULTS[0], "-o", tmp_path / "page.html").output
    assert (tmp_path / "page.html").read_text() == "mine"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser without a network; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    with playwright.sync_playwright() as running:
        try:
            opened = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


def opened(browser: Any, page: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page in a window, and what went wrong in it."""
    window = browser.new_context(offline=True, **options).new_page()
    wrong: list[str] = []
    window.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    window.on("pageerror", lambda error: wrong.append(str(error)))
    window.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None)
    window.goto(page.as_uri())
    window.wait_for_selector("html[data-ready=yes]")
    return window, wrong


def test_in_a_browser(browser: Any, report: Path) -> None:
    window, wrong = opened(browser, report, viewport={"width": 1200, "height": 900})
    sections = data_of(report)
    assert window.locator(".chart svg.main-svg").count() >= sum(len(section["charts"]) for section in sections)
    drawn = window.evaluate("document.getElementById('chart-section-1-0').data.map(trace => [trace.name, [...trace.y]])")
    assert dict(drawn) == {trace["name"]: trace["y"] for trace in sections[1]["charts"][0]["data"]}

    slider = window.locator(".pair input")
    slider.fill("20")
    assert "80%" in window.locator(".pair .above").evaluate("image => image.style.clipPath")
    slider.press("ArrowRight")
    assert "79%" in window.locator(".pair .above").evaluate("image => image.style.clipPath")
    shown = sections[-1]["pairs"][0]["shown"]
    window.locator(".pair .right").select_option(shown[-1]["name"])
    assert window.locator(".right-facts").inner_text() == f"right: {shown[-1]['facts']}"
    assert window.locator(".pair .below").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96

    for number, file in enumerate(sections[-1]["cuts"][0]["files"]):
        window.locator(".cut select").select_option(index=number)
        for place in (0, len(file["cuts"]) - 1, 2):
            window.locator(".cut input").fill(str(place))
            assert window.locator(".cut .facts").inner_text() == file["cuts"][place]["facts"]
            assert window.locator(".cut img").get_attribute("src") == file["cuts"][place]["picture"]
    assert not wrong


def test_tables_sort(browser: Any, report: Path) -> None:
    window, wrong = opened(browser, report)
    table = window.locator("#section-0 table").first
    cells = table.locator("tbody tr td:nth-child(2)")
    button = table.locator("th:nth-child(2) button")
    button.click()
    rising = [float(text) for text in cells.all_inner_texts()]
    assert rising == sorted(rising)
    assert len(set(rising)) > 2
    button.click()
    assert [float(text) for text in cells.all_inner_texts()] == rising[::-1]
    assert table.locator("th:nth-child(2)").get_attribute("aria-sort") == "descending"
    assert not wrong


def test_telephone_and_dark(browser: Any, report: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        window, wrong = opened(browser, report, viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
        assert window.evaluate("document.documentElement.scrollWidth") <= 390
        assert not wrong
        colours.append(window.evaluate("[getComputedStyle(document.body).backgroundColor, document.querySelector('.xtitle').style.fill]"))
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]


def test_an_archive_in_a_browser(browser: Any, tmp_path: Path) -> None:
    write_archive_page(manifest(tmp_path), tmp_path / "archive.html", False)
    window, wrong = opened(browser, tmp_path / "archive.html")
    assert window.locator(".sums b").first.inner_text() == "2"
    assert window.locator("td", has_text="a/<b>.jpg").count() == 1
    assert not wrong
