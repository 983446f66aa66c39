// Runs on a participant's host and drives one browser for a Person, by messages { id, method, args }.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { installPageHooks } from './page-hooks.mjs';

const chromiumFlags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream=fps=30', '--autoplay-policy=no-user-gesture-required',
  '--auto-select-desktop-capture-source=Entire screen', '--disable-features=WebRtcHideLocalIpsWithMdns',
  // A page in the background counts as one in front: nobody looks at any of them.
  '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows', '--disable-renderer-backgrounding',
];
const firefoxPreferences = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'toolkit.telemetry.enabled': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'media.gmp-manager.url': '',
  'media.gmp-manager.updateEnabled': false,
  'app.update.auto': false,
  'app.normandy.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/',
  'extensions.systemAddon.update.enabled': false,
  'dom.min_background_timeout_value': 4,
};

// What a page's own exceptions do not reach: Chromium opens connections to TURN servers elsewhere. Firefox's reach all.
const trusting = ({ trustedKey }) => (trustedKey === undefined ? [] : [`--ignore-certificate-errors-spki-list=${trustedKey}`]);

let browser;
let page;
let hooks;
const console_ = [];

const note = (line) => {
  console_.push(line);
  if (console_.length > 500) console_.shift();
};

async function openPage(options) {
  page = await browser.newPage();
  page.on('console', (message) => note(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => note(`uncaught: ${error?.stack ?? error}`));
  await page.evaluateOnNewDocument(installPageHooks, options.hooks);
}

async function one(name, role, timeout) {
  const selector = `aria/${name}${role ? `[role="${role}"]` : ''}`;
  return page.waitForSelector(selector, { timeout });
}

const methods = {
  async launch(options) {
    const common = { headless: true, acceptInsecureCerts: true, defaultViewport: { width: 1100, height: 720 }, protocolTimeout: 60_000, timeout: 60_000 };
    browser = options.browser === 'firefox'
      ? await puppeteer.launch({ ...common, browser: 'firefox', executablePath: '/usr/bin/firefox-esr', extraPrefsFirefox: firefoxPreferences })
      : await puppeteer.launch({ ...common, browser: 'chrome', executablePath: '/usr/bin/chromium', args: [...chromiumFlags, ...trusting(options.hooks)] });
    hooks = options;
    return { pid: browser.process().pid, version: await browser.version() };
  },
  async open(url) {
    // A visit of its own each time, whatever was open before.
    const before = page;
    await openPage(hooks);
    await before?.close();
    await page.goto(url, { waitUntil: 'load', timeout: 30_000 });
  },
  /** A folder's files on this host's own 127.0.0.1, which is a secure context. */
  async serve(folder) {
    const types = { html: 'text/html', js: 'text/javascript', css: 'text/css', wasm: 'application/wasm' };
    const server = http.createServer((request, response) => {
      const file = path.join(folder, path.normalize(new URL(request.url, 'http://x').pathname).replace(/\/$/, '/index.html'));
      fs.readFile(file, (error, bytes) => {
        response.writeHead(error ? 404 : 200, { 'content-type': types[path.extname(file).slice(1)] ?? 'application/octet-stream' });
        response.end(bytes);
      });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${server.address().port}/`;
  },
  async reload() {
    await page.reload({ waitUntil: 'load', timeout: 30_000 });
  },
  async has(name, role, timeout) {
    try {
      await one(name, role, timeout);
      return true;
    } catch {
      return false;
    }
  },
  async click(name, role, timeout) {
    const element = await one(name, role, timeout);
    await element.click();
  },
  async press(key) {
    await page.keyboard.press(key);
  },
  async fill(name, text, timeout) {
    const element = await one(name, 'textbox', timeout);
    await element.evaluate((input) => input.select());
    await element.type(text);
  },
  async text(name, role, timeout) {
    const element = await one(name, role, timeout);
    return element.evaluate((node) => node.innerText ?? node.textContent);
  },
  async evaluate(source, args) {
    return page.evaluate(`(${source})(...${JSON.stringify(args)})`);
  },
  async screenshot(path) {
    fs.writeFileSync(path, await page.screenshot({ type: 'png' }));
  },
  async viewport(width, height, dark) {
    await page.setViewport({ width, height });
    if (dark !== undefined) await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
  },
  async console() {
    return console_;
  },
  async close() {
    await browser.close();
  },
};

process.on('message', async ({ id, method, args }) => {
  try {
    process.send({ id, result: await methods[method](...args) });
  } catch (error) {
    process.send({ id, error: `${method}(${args.map((a) => JSON.stringify(a)?.slice(0, 80)).join(', ')}): ${error?.message ?? error}` });
  }
});
process.on('disconnect', () => process.exit(0));
