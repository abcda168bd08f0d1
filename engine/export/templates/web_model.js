"use strict";
const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const MOST_PIXELS = 2e6, LEAST_SIDE = 64;
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const frame = document.createElement("canvas"); // the photo, or what the camera saw last, at most MOST_PIXELS
const input = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
let worker = null, line = Promise.resolve(), last = null; // `last`: what the model gave last

function missing() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(new Uint8Array(SIMD)))
    return "This browser can't run the model: it has no WebAssembly with SIMD. Use Chrome or Edge 91, Firefox 113, Safari 16.4 or a newer one.";
  if (typeof DecompressionStream !== "function")
    return "This browser is too old for this page. Use Chrome or Edge 91, Firefox 113, Safari 16.4 or a newer one.";
  return "";
}

// One question after the other; the worker answers each.
function ask(question, moved) {
  const answer = line.then(() => new Promise((resolve, reject) => {
    const failed = (text) => reject(new Error(text, { cause: "model" }));
    worker.onmessage = ({ data }) => (data.error ? failed(data.error) : resolve(data));
    worker.onerror = (event) => failed(event.message || "this browser refuses workers to files from disk");
    worker.postMessage(question, moved);
  }));
  line = answer.catch(() => {});
  return answer;
}

function taken(id) {
  const text = $(id).textContent;
  $(id).remove();
  return text;
}

async function load() {
  const reason = missing();
  if (reason) throw new Error(reason);
  const code = URL.createObjectURL(new Blob([taken("worker")], { type: "text/javascript" }));
  worker = new Worker(code);
  return ask({ model: taken("model"), binary: taken("binary"), size: about.size ?? [96, 128] });
}

function keep(source, width, height) {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  frame.width = Math.max(1, Math.round(width * scale));
  frame.height = Math.max(1, Math.round(height * scale));
  const pen = frame.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, frame.width, frame.height);
}

function fitted() {
  if (about.size) return [about.size[1], about.size[0]];
  let scale = 1;
  if ($("size").value !== "own") {
    const box = $("size").value.split("x").map(Number);
    if (frame.height > frame.width) box.reverse();
    scale = Math.min(1, box[0] / frame.width, box[1] / frame.height);
  }
  return [frame.width, frame.height].map((side) => Math.max(LEAST_SIDE, Math.round(side * scale)));
}

// The frame at the model's size -> { width, height, time in ms, labels, confidence }
function segment() {
  const [width, height] = fitted();
  input.canvas.width = width;
  input.canvas.height = height;
  input.imageSmoothingQuality = "high";
  input.drawImage(frame, 0, 0, width, height);
  const rgba = input.getImageData(0, 0, width, height).data, pixels = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; j < pixels.length; i += 4, j += 3) {
    pixels[j] = rgba[i];
    pixels[j + 1] = rgba[i + 1];
    pixels[j + 2] = rgba[i + 2];
  }
  return ask({ pixels, width, height }, [pixels.buffer]);
}
