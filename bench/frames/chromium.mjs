// In Chromium: what bench_frames prints, and the time for each frame in the worker, with two peers in a page (packages/example/bench.html), encrypted
// and with transforms that only copy.
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../../tests/e2e/package.json', import.meta.url));
const puppeteer = (await import(require.resolve('puppeteer-core'))).default;
const folder = fileURLToPath(new URL('../../packages/example/dist', import.meta.url));
const program = fileURLToPath(new URL('../../build/wasm/bench/frames/bench_frames.wasm', import.meta.url));
const quick = process.argv.includes('--quick');
const seconds = quick ? 4 : 10;
const types = { html: 'text/html', js: 'text/javascript', css: 'text/css', wasm: 'application/wasm' };
const server = http.createServer((request, response) => {
  const asked = path.normalize(new URL(request.url, 'http://x').pathname);
  const file = asked === '/bench_frames.wasm' ? program : path.join(folder, asked);
  fs.readFile(file, (error, bytes) => {
    // Cross-origin isolation: the clock is finer then.
    response.writeHead(error ? 404 : 200, {
      'content-type': types[path.extname(file).slice(1)] ?? 'application/octet-stream',
      'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp', 'cross-origin-resource-policy': 'same-origin',
    });
    response.end(bytes);
  });
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const browser = await puppeteer.launch({
  executablePath: '/usr/bin/chromium', protocolTimeout: 900_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns', '--disable-dev-shm-usage'],
});

/** In a worker of the page: a WASI program that writes to its standard output and asks for the time. Resolves to what it wrote. */
function runProgram(url, args) {
  const inWorker = async ({ data: { url, args } }) => {
    const module = await WebAssembly.compileStreaming(fetch(url));
    const text = [];
    const decoder = new TextDecoder();
    const encoded = args.map((argument) => new TextEncoder().encode(`${argument}\0`));
    let memory;
    const view = () => new DataView(memory.buffer);
    const known = {
      args_sizes_get: (count, size) => (view().setUint32(count, encoded.length, true), view().setUint32(size, encoded.reduce((sum, one) => sum + one.length, 0), true), 0),
      args_get: (pointers, bytes) => {
        for (const one of encoded) {
          view().setUint32(pointers, bytes, true);
          new Uint8Array(memory.buffer).set(one, bytes);
          pointers += 4;
          bytes += one.length;
        }
        return 0;
      },
      environ_sizes_get: (count, size) => (view().setUint32(count, 0, true), view().setUint32(size, 0, true), 0),
      clock_time_get: (clock, precision, out) => (view().setBigUint64(out, BigInt(Math.round(performance.now() * 1e6)), true), 0),
      random_get: (bytes, size) => (crypto.getRandomValues(new Uint8Array(memory.buffer, bytes, size)), 0),
      fd_write: (fd, vectors, count, out) => {
        let written = 0;
        for (let i = 0; i < count; ++i) {
          const size = view().getUint32(vectors + 8 * i + 4, true);
          text.push(decoder.decode(new Uint8Array(memory.buffer, view().getUint32(vectors + 8 * i, true), size), { stream: true }));
          written += size;
        }
        view().setUint32(out, written, true);
        return 0;
      },
      fd_prestat_get: () => 8, // EBADF: no files
      proc_exit: (code) => { throw new Error(`it ended with ${code}: ${text.join('')}`); },
    };
    const imports = Object.fromEntries(WebAssembly.Module.imports(module).map(({ name }) => [name, known[name] ?? (() => 0)]));
    const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: imports });
    memory = instance.exports.memory;
    instance.exports._start();
    postMessage(text.join(''));
  };
  const worker = new Worker(URL.createObjectURL(new Blob([`onmessage = ${inWorker}`], { type: 'text/javascript' })));
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    addEventListener('unhandledrejection', ({ reason }) => reject(reason));
    worker.postMessage({ url: new URL(url, location).href, args });
  });
}

const version = (await browser.version()).replace(/^[^/]*\//, '');
{
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/bench.html`);
  const text = await page.evaluate(`(${runProgram})('/bench_frames.wasm', ${JSON.stringify(["bench_frames", ...process.argv.slice(2)])})`);
  if (!/^Keys a million frames ahead/m.test(text)) throw new Error(`the program did not come to its end:\n${text}`);
  console.log(`WebAssembly, Chromium ${version}\n${text}`);
  await page.close();
}
console.log(`Chromium ${version}, VP8 320x180 at 15 a second, ms for each frame in the worker (mean over both ends)`);
console.log('streams  transform           frames   mean ms   jitter buffer ms');
for (const streams of [1, 4, 16]) {
  for (const how of ['pipe', 'writer', 'encrypted']) {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/bench.html`);
    const { frames, meanMs, jitterBufferMs } = await page.evaluate((...args) => window.bench(...args), streams, seconds, how);
    if (frames === 0) throw new Error('no frame passed: the two peers did not connect');
    const name = { pipe: 'copies (two pipes)', writer: 'copies (one pipe)', encrypted: 'encrypts' }[how];
    console.log(`${String(streams).padStart(7)}  ${name.padEnd(18)} ${String(frames).padStart(7)} ${meanMs.toFixed(4).padStart(9)} ${jitterBufferMs.toFixed(1).padStart(12)}`);
    await page.close();
  }
}
await browser.close();
server.close();
