// Runs the model beside the page, which answers meanwhile. `ort` is ONNX Runtime Web, which stands above.
let session = null;

async function unpack(text) {
  const packed = atob(text), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function load({ model, binary, size: [height, width] }) {
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // a page from disk has no more
  ort.env.wasm.wasmBinary = await unpack(binary);
  const settings = { executionProviders: ["wasm"], logSeverityLevel: 3 }; // errors only
  session = await ort.InferenceSession.create(new Uint8Array(await unpack(model)), settings);
  const pixels = new Uint8Array(height * width * 3);
  await run({ pixels, width, height }); // browsers optimise WebAssembly that has run
  return { outputs: session.outputNames };
}

async function run({ pixels, width, height }) {
  const image = new ort.Tensor("uint8", pixels, [1, height, width, 3]), start = performance.now();
  const { labels, confidence } = await session.run({ image });
  return { width, height, time: performance.now() - start, labels: labels.data, confidence: confidence?.data };
}

onmessage = async ({ data }) => {
  try {
    postMessage(await (data.model ? load(data) : run(data)));
  } catch (error) {
    postMessage({ error: String(error.message ?? error) });
  }
};
