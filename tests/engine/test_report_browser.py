"""The report in a browser: it runs without errors or requests, sorts, enlarges, and hostile names stay text."""

import os
import shutil

import pytest

from tests.engine.test_report import HOSTILE, write

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; install it or set CHROMIUM")
    with playwright.sync_playwright() as api:
        opened = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    metrics = folder / "metrics.jsonl"
    lines = [f'{{"epoch": {i}, "train_loss": {2 / (i + 1)}, "mean_iou": {i / 9}}}\n' for i in range(8)]
    metrics.write_text("".join(lines))
    write(folder / "report.html", metrics=metrics)
    return folder / "report.html"


@pytest.fixture
def page(browser, report):
    """The open page; at the end there must have been no error, no dialog and no request but for the file itself."""
    opened, troubles = browser.new_page(), []
    opened.on("console", lambda message: troubles.append(message.text))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
    wanted = (report.as_uri(), "data:")
    opened.on("request", lambda request: request.url.startswith(wanted) or troubles.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    opened.close()
    assert troubles == []


def column(page, number: int) -> list[str]:
    return page.locator(f"#classes tbody tr > :nth-child({number})").all_inner_texts()


def test_table_sorts_with_absent_classes_last(page):
    head = page.locator("#classes thead button")
    shares = lambda: [float(text) for text in column(page, 2)[:3]]  # noqa: E731
    head.nth(1).click()
    assert shares() == sorted(shares(), reverse=True) and column(page, 1)[3] == "never seen"
    head.nth(1).press("Enter")
    assert shares() == sorted(shares()) and column(page, 1)[3] == "never seen"
    assert page.locator("#classes th[aria-sort=ascending]").inner_text() == "IoU %"
    head.nth(0).click()
    assert column(page, 1) == sorted(column(page, 1)) and len(column(page, 1)) == 4


def test_picture_enlarges_leafs_and_closes(page):
    page.locator(".panel").nth(1).click()
    large = page.locator("dialog[open] img")
    assert large.evaluate("i => i.naturalWidth") == 90 and large.get_attribute("alt").startswith("truth of frame0")
    page.keyboard.press("ArrowRight")
    assert large.get_attribute("alt").startswith("prediction of frame0")
    page.locator("dialog button", has_text="errors").click()
    assert page.locator("dialog [aria-pressed=true]").inner_text() == "errors"
    page.keyboard.press("ArrowRight")
    assert large.get_attribute("alt").startswith("input of frame0")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.locator(".panel").nth(4).click()
    page.locator("dialog button", has_text="Close").click()
    assert page.locator("dialog[open]").count() == 0


def test_matrix_tells_its_counts(page):
    page.locator(".cell").first.hover()
    assert page.locator(".readout").inner_text().startswith("sky predicted as sky: ")


def test_hostile_names_are_text_and_pictures_load(page):
    assert page.locator("h1").inner_text() == f"scores of {HOSTILE}" == page.title()
    assert page.locator("script").count() == 1
    for image in page.locator(".panel img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") == 90


def test_policy_stops_foreign_scripts_and_styles(browser, report, tmp_path):
    text = report.read_text().replace(
        "<main>", "<main><script>document.title = 'changed'</script><img src='http://127.0.0.1:9/x'>"
    )
    (tmp_path / "changed.html").write_text(text)
    opened, requests = browser.new_page(), []
    opened.on("requestfinished", lambda request: requests.append(request.url))
    opened.goto((tmp_path / "changed.html").as_uri())
    assert opened.title() != "changed" and not [url for url in requests if url.startswith("http")]
    opened.close()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_text_is_readable(browser, report, width, scheme):
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened.goto(report.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = (opened.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    levels = [sum(map(int, color[4:-1].split(","))) / 3 for color in (paper, ink)]
    assert abs(levels[0] - levels[1]) > 150 and (levels[0] > 128) == (scheme == "light")
    opened.close()
