
// --- What is seen
const opaque = ([red, green, blue]) => (255 << 24 | blue << 16 | green << 8 | red) >>> 0; // as little-endian bytes r, g, b, 255
const PALETTE = about.palette.map(opaque);
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const RAMP = Array.from({ length: 256 }, (_, i) => {
  const place = i / 64, low = Math.floor(place);
  return opaque(STOPS[low].map((one, k) => Math.round(one + (STOPS[low + 1][k] - one) * (place - low))));
});
let pointed = null; // where the pointer is, as fractions of the picture

function show() {
  const photo = $("photo");
  photo.width = frame.width;
  photo.height = frame.height;
  photo.getContext("2d").drawImage(frame, 0, 0);
  $("picture").style.setProperty("--aspect", frame.width / frame.height);
  $("empty").hidden = true;
  $("picture").hidden = false;
}

function clear() {
  last = null;
  $("labels").width = $("confidence").width = 1;
  read();
}

function paint() {
  const { width, height, time, labels, confidence } = last, counts = new Array(about.names.length).fill(0);
  draw("labels", (i) => { counts[labels[i]]++; return PALETTE[labels[i]]; });
  if (confidence) {
    draw("confidence", (i) => RAMP[Math.round(255 * confidence[i])]);
    $("mean").textContent = `${(100 * confidence.reduce((sum, one) => sum + one, 0) / confidence.length).toFixed(1)} %`;
  }
  counts.forEach((count, i) => {
    const percent = 100 * count / labels.length, row = $("legend").children[i];
    row.querySelector("b").textContent = percent >= 0.05 ? `${percent.toFixed(1)} %` : count ? "< 0.1 %" : "–";
    row.querySelector("u").style.width = `${percent}%`;
    row.classList.toggle("absent", !count);
  });
  $("time").textContent = `${time.toFixed(time < 100 ? 1 : 0)} ms`;
  $("pixels").textContent = `${width} × ${height}`;
  document.body.dataset.frames = Number(document.body.dataset.frames) + 1;
  read();
}

function draw(id, color) {
  const canvas = $(id), { width, height } = last, map = new ImageData(width, height), colors = new Uint32Array(map.data.buffer);
  for (let i = 0; i < colors.length; i++) colors[i] = color(i);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(map, 0, 0);
}

function rate(perSecond) {
  $("rate").textContent = perSecond.toFixed(perSecond < 10 ? 2 : 1);
}

function look() {
  const confident = document.querySelector("[name=shown]:checked").value === "confidence";
  $("labels").hidden = confident;
  $("confidence").hidden = $("ramp").hidden = !confident;
  $("labels").style.opacity = $("confidence").style.opacity = $("opacity").value / 100;
  $("percent").textContent = `${$("opacity").value} %`;
}

function point(event) {
  const box = $("picture").getBoundingClientRect();
  pointed = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  read();
}

// The class below the pointer
function read() {
  const inside = last && pointed && pointed.every((one) => one >= 0 && one < 1);
  const at = inside && Math.floor(pointed[1] * last.height) * last.width + Math.floor(pointed[0] * last.width);
  $("readout").hidden = !inside;
  [...$("legend").children].forEach((row, i) => row.classList.toggle("pointed", inside && i === last.labels[at]));
  if (!inside) return;
  const sure = last.confidence ? `, ${(100 * last.confidence[at]).toFixed(0)} % confident` : "";
  $("readout").replaceChildren(swatch(last.labels[at]), about.names[last.labels[at]] + sure);
}

function swatch(label, kind = "i") {
  const patch = document.createElement(kind);
  patch.style.background = `rgb(${about.palette[label]})`;
  return patch;
}

function list() {
  about.names.forEach((name, i) => {
    const row = document.createElement("li"), words = document.createElement("span"), part = document.createElement("b");
    words.textContent = name;
    part.textContent = "–";
    row.append(swatch(i), words, part, swatch(i, "u"));
    $("legend").append(row);
  });
}
