
// --- Photos and the camera
const SERVE = "Or serve the file's folder with \"python -m http.server 8000\" and open http://localhost:8000/" +
  location.pathname.split("/").pop() + ".";
let turn = 0, stream = null;

const say = (text) => { $("message").textContent = text; $("message").hidden = !text; };
const state = (name) => { document.body.dataset.state = name; };
const working = (text) => { $("working").textContent = text; $("working").hidden = !text; };

// A newer photo or camera ends what an older one began; `work` asks with its argument whether that happened.
async function begin(work) {
  stop();
  say("");
  const mine = turn;
  try {
    await work(() => mine === turn);
  } catch (error) {
    if (mine !== turn) return;
    stop();
    say(error.cause === "model" ? `The model doesn't run at this size (${error.message}). Choose a smaller one.` : error.message);
  }
}

function stop() {
  turn++;
  stream?.getTracks().forEach((track) => track.stop());
  stream = $("video").srcObject = null;
  $("camera").textContent = "Start camera";
  working("");
}

const open = (file) => begin(async (current) => {
  let photo;
  try {
    photo = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${file.name}: this browser can't read it as a picture. Choose a PNG, JPEG or WebP file.`);
  }
  if (!current()) return;
  keep(photo, photo.width, photo.height);
  photo.close();
  clear();
  show();
  await once(current);
});

async function once(current) {
  working("Segmenting …");
  const answer = await segment();
  if (!current()) return;
  last = answer;
  paint();
  rate(1000 / answer.time);
  working("");
}

const film = () => begin(async (current) => {
  const opened = await camera();
  if (!current()) return opened.getTracks().forEach((track) => track.stop());
  stream = opened;
  $("camera").textContent = "Stop camera";
  stream.getVideoTracks()[0].addEventListener("ended", () => { stop(); say("The camera was disconnected."); });
  const video = $("video"), ends = [performance.now()];
  video.srcObject = stream;
  await video.play();
  while (current()) {
    keep(video, video.videoWidth, video.videoHeight);
    const answer = await segment();
    if (!current()) return;
    last = answer;
    show(); // the frame that was segmented, not the newest
    paint();
    working("Live");
    ends.push(performance.now());
    if (ends.length > 10) ends.shift();
    rate(1000 * (ends.length - 1) / (ends.at(-1) - ends[0]));
  }
});

async function camera() {
  if (!navigator.mediaDevices?.getUserMedia)
    throw new Error(`This browser gives pages from disk no camera. Chrome, Edge and Firefox do. ${SERVE}`);
  const ideal = { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: ideal, audio: false });
  } catch (error) {
    const words = {
      NotAllowedError: `The camera was refused. Allow it for this page in the browser's settings; some browsers refuse it to files from disk. ${SERVE}`,
      NotFoundError: "No camera was found. Connect one and press Start camera again.",
      NotReadableError: "The camera doesn't answer; maybe another program uses it. Close that and press Start camera again.",
    };
    throw new Error(words[error.name] ?? `The camera can't be opened (${error.name}: ${error.message}).`);
  }
}

// --- The page
list();
look();
if (about.size) {
  $("size").replaceChildren(new Option(`${about.size[1]} × ${about.size[0]}, the model's`));
  $("size").disabled = true;
}
const ready = () => document.body.dataset.state === "ready";
$("choose").onclick = $("empty").onclick = () => ready() && $("file").click();
$("file").onchange = () => { open($("file").files[0]); $("file").value = ""; };
$("camera").onclick = () => (stream ? stop() : film());
$("size").onchange = () => { if (!stream && !$("picture").hidden) begin(once); };
$("opacity").oninput = $("view").onchange = look;
$("picture").onpointermove = $("picture").onpointerdown = point;
$("picture").onpointerleave = (event) => { if (event.pointerType === "mouse") { pointed = null; read(); } };
document.ondragover = (event) => { event.preventDefault(); $("stage").classList.add("over"); };
document.ondragleave = () => $("stage").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  if (ready() && event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
};
load().then(({ outputs }) => {
  $("view").hidden = $("sure").hidden = !outputs.includes("confidence");
  $("choose").disabled = $("camera").disabled = false;
  $("progress").textContent = "or start the camera";
  state("ready");
}, (error) => {
  $("invitation").textContent = "The model wasn't loaded";
  $("progress").textContent = "";
  say(error.message);
  state("failed");
});
