// The time for each frame in the worker, in Chromium: two peers in a page (packages/example/bench.html), encrypted and with transforms that only copy.
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../../tests/e2e/package.json', import.meta.url));
const puppeteer = (await import(require.resolve('puppeteer-core'))).default;
const folder = fileURLToPath(new URL('../../packages/example/dist', import.meta.url));
const seconds = process.argv.includes('--quick') ? 4 : 10;
const types = { html: 'text/html', js: 'text/javascript', css: 'text/css', wasm: 'application/wasm' };
const server = http.createServer((request, response) => {
  const file = path.join(folder, path.normalize(new URL(request.url, 'http://x').pathname));
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
  executablePath: '/usr/bin/chromium', protocolTimeout: 120_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns', '--disable-dev-shm-usage'],
});
console.log(`Chromium ${(await browser.version()).replace(/^[^/]*\//, '')}, VP8 320x180 at 15 a second, ms for each frame in the worker (mean over both ends)`);
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
