"""The web page that scripts/export.py writes, in a browser without a network."""

import os
import shutil
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.export.web import load_web_runtime, write_web
from scripts import export
from tests.conftest import make_scenes
from tests.engine.test_export_web import HEADER, PALETTE, embedded, toy

pytestmark = pytest.mark.slow
PACKAGE = Path(os.environ.get("FENET_ORT_WEB") or Path.home() / ".cache" / "fenet" / "onnxruntime-web")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
         "--use-fake-ui-for-media-stream"]  # fmt: skip
READ_LABELS = """() => {
  const { width, height } = document.getElementById("labels");
  const pen = new OffscreenCanvas(width, height).getContext("2d");
  pen.drawImage(document.getElementById("labels"), 0, 0);
  return [height, width, Array.from(pen.getImageData(0, 0, width, height).data)];
}"""
DROP = """(bytes) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([new Uint8Array(bytes)], "noise.png", { type: "image/png" }));
  return dropped;
}"""
SEND = """async (url) => {
  const images = new Promise((tell) => {
    Object.assign(new Image(), { onload: () => tell("loaded"), onerror: () => tell("refused"), src: url });
  });
  const socket = new Promise((tell) => {
    const opened = new WebSocket(url.replace("http", "ws"));
    opened.onopen = () => tell("opened");
    opened.onerror = () => tell("refused");
  });
  const code = `fetch("${url}").then(() => postMessage("sent"), () => postMessage("refused"))`;
  const worker = new Promise((tell) => {
    new Worker(URL.createObjectURL(new Blob([code]))).onmessage = ({ data }) => tell(data);
  });
  navigator.sendBeacon(url, "photo");
  const fetched = fetch(url, { method: "POST", body: "photo", mode: "no-cors" }).then(() => "sent", () => "refused");
  return Promise.all([images, socket, worker, fetched]);
}"""


@pytest.fixture(scope="module")
def runtime():
    if not PACKAGE.is_dir():
        pytest.skip(f"no package onnxruntime-web in {PACKAGE}; set FENET_ORT_WEB")
    return load_web_runtime(str(PACKAGE))


@pytest.fixture(scope="module")
def browser(runtime):
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; install it or set CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as api:
        opened = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=180_000)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def toy_page(runtime, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    write_web(toy(folder / "toy.onnx"), folder / "model.html", HEADER, runtime)
    return folder / "model.html"


@pytest.fixture
def visit(browser):
    """Opens a page without a network; at the end nothing was asked for but the file, and nothing went wrong."""
    contexts, troubles = [], []

    def opened(file: Path, script: str = "", **settings):
        context = browser.new_context(offline=True, **settings)
        context.set_default_timeout(180_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        known = (file.as_uri(), "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(known) or troubles.append(request.url))
        if script:
            page.add_init_script(script)
        page.goto(file.as_uri())
        page.locator("body:not([data-state=loading])").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def colours_of(page) -> np.ndarray:
    height, width, pixels = page.evaluate(READ_LABELS)
    return np.array(pixels, np.uint8).reshape(height, width, 4)[..., :3]


def picture(path: Path, height: int, width: int) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_every_pixel_reaches_the_model_as_it_is_in_the_file(visit, toy_page, tmp_path):
    pixels, page = picture(tmp_path / "noise.png", 70, 101), visit(toy_page, viewport={"width": 390, "height": 844})
    page.locator("#size").select_option("own")
    dropped = page.evaluate_handle(DROP, list((tmp_path / "noise.png").read_bytes()))
    page.dispatch_event("#stage", "drop", {"dataTransfer": dropped})
    page.locator("body[data-frames='1']").wait_for()
    assert np.array_equal(colours_of(page), np.array(PALETTE, np.uint8)[pixels.argmax(2)])
    assert page.locator("#mean").inner_text() == f"{100 * pixels.max(2).mean() / 255:.1f} %"
    assert page.locator("#legend span").all_inner_texts() == HEADER["classes"]["names"]
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    middle = pixels[35, 50].astype(int)
    words = f"{HEADER['classes']['names'][middle.argmax()]}, {100 * middle.max() / 255:.0f} % confident"
    assert page.locator("#readout").inner_text() == words
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("[value=confidence]").check(force=True)
    assert page.locator("#ramp").is_visible() and page.locator("#labels").is_hidden()
    (tmp_path / "text.png").write_text("no picture")
    page.locator("#file").set_input_files(tmp_path / "text.png")
    page.locator("#message").wait_for()
    assert "text.png: this browser can't read it as a picture" in page.locator("#message").inner_text()


def test_without_confidence_only_classes_are_shown(visit, runtime, tmp_path):
    header = HEADER | {"size": [64, 80]}
    write_web(toy(tmp_path / "toy.onnx", outputs=("labels",)), tmp_path / "model.html", header, runtime)
    picture(tmp_path / "noise.png", 240, 320)
    page = visit(tmp_path / "model.html")
    page.locator("#file").set_input_files(tmp_path / "noise.png")
    page.locator("body[data-frames='1']").wait_for()
    assert page.locator("#view").is_hidden() and page.locator("#sure").is_hidden()
    assert page.locator("#size").is_disabled() and page.locator("#pixels").inner_text() == "80 × 64"


def test_camera_runs_stops_and_is_missed_in_plain_words(visit, toy_page):
    page = visit(toy_page)
    page.locator("#camera").click()
    deadline = time.monotonic() + 120
    while int(page.get_attribute("body", "data-frames")) < 3 and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert float(page.locator("#rate").inner_text()) >= 1 and page.locator("#pixels").inner_text() == "320 × 180"
    page.locator("#camera").click()
    assert page.locator("#camera").inner_text() == "Start camera" and page.locator("#message").is_hidden()
    for name, words in (("NotAllowedError", "refused"), ("NotFoundError", "No camera was found")):
        failing = f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}'))"
        page = visit(toy_page, failing)
        page.locator("#camera").click()
        page.locator("#message").wait_for()
        assert words in page.locator("#message").inner_text()


def test_nothing_can_be_sent_from_the_page(browser, toy_page):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        page = browser.new_page()  # with a network
        page.goto(toy_page.as_uri())
        page.locator("body:not([data-state=loading])").wait_for()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert page.evaluate(SEND, url) == ["refused"] * 4
        with pytest.raises(TimeoutError):
            server.accept()
        page.close()


@pytest.mark.parametrize("engine", ["--no-enable-ssse3 --no-enable-sse4-1", "--jitless"])
def test_a_browser_without_simd_or_webassembly_is_told(browser, toy_page, engine):
    old = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, f"--js-flags={engine}"])
    page = old.new_page()
    page.goto(toy_page.as_uri())
    page.locator("body[data-state=failed]").wait_for()
    assert "no WebAssembly with SIMD. Use Chrome" in page.locator("#message").inner_text()
    assert page.locator("#choose").is_disabled() and page.locator("#camera").is_disabled()
    old.close()


def test_labels_are_those_of_onnx_runtime_in_python(visit, runtime, tmp_path):
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    photos = make_scenes(tmp_path / "data", 20, 120, 160) / "images" / "train"
    argv = ["--format", "web", "--calibration", str(photos), "--num_images", "2"]
    assert export.main([*argv, "--out", str(tmp_path), "--onnxruntime_web", str(PACKAGE)]) == 0
    file = tmp_path / "model.html"
    assert file.stat().st_size <= 30_000_000 and (tmp_path / "model.html.json").exists()
    session = onnxruntime.InferenceSession(embedded(file, "model"))
    page, same = visit(file), []
    page.locator("#size").select_option("own")
    palette = np.array(page.evaluate("JSON.parse(document.getElementById('about').textContent).palette"), np.uint8)
    for number, photo in enumerate(sorted(photos.glob("*.png"))[:20], 1):
        page.locator("#file").set_input_files(photo)
        page.locator(f"body[data-frames='{number}']").wait_for()
        labels = session.run(None, {"image": np.asarray(Image.open(photo).convert("RGB"))[None]})[0][0]
        same.append((colours_of(page) == palette[labels]).all(2).mean())
    assert len(same) == 20 and np.mean(same) >= 0.999 and page.locator("#sure").is_visible()
