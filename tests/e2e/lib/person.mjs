// Someone with a browser on a host of their own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import fs from 'node:fs';
import { Host } from './network.mjs';

const driver = fileURLToPath(new URL('driver.mjs', import.meta.url));
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `probe` answers something true (and returns it); says what it last answered otherwise. */
export async function eventually(what, probe, timeoutMs = 30_000, everyMs = 250) {
  const end = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= end) assert.fail(`not within ${timeoutMs / 1000} s: ${what} (last: ${last instanceof Error ? last.message : JSON.stringify(last)})`);
    await sleep(everyMs);
  }
}

export class Person {
  static folder = '.';
  #process;
  #waiting = new Map();
  #next = 1;

  constructor(name, kind, hooks = {}) {
    this.name = name;
    this.kind = kind;
    this.hooks = { width: 320, height: 180, frameRate: 15, attachLateMs: 0, failOpen: false, family: 4, ...hooks };
    this.host = new Host({ families: [this.hooks.family] });
    this.gone = false;
  }

  async launch() {
    const [command, args] = this.host.command(process.execPath, driver);
    this.#process = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#process.on('message', ({ id, result, error }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(`${this.name} (${this.kind}): ${error}`));
    });
    this.#process.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${this.name}'s driver has ended`));
      this.#waiting.clear();
    });
    const { pid, version } = await this.call('launch', { browser: this.kind, hooks: this.hooks });
    this.pid = pid;
    this.version = version;
  }

  call(method, ...args) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.send({ id, method, args });
    });
  }

  evaluate(fn, ...args) {
    return this.call('evaluate', fn.toString(), args);
  }

  // --- what a person does -----------------------------------------------------------------------------------

  async open(link) {
    await this.call('open', link);
  }

  /** From the link to being in the room. */
  async enter(link) {
    await this.open(link);
    await this.join();
  }

  async join() {
    await this.call('fill', 'Your name', this.name, 30_000);
    await this.click('Join');
    await eventually(`${this.name} is in the room`, () => this.has('Leave', 'button', 1000));
  }

  click(name, role = 'button', timeout = 15_000) {
    return this.call('click', name, role, timeout);
  }

  has(name, role = 'button', timeout = 300) {
    return this.call('has', name, role, timeout);
  }

  /** Off with the browser's head: no goodbye, no closing of sockets by the page. */
  kill() {
    process.kill(this.pid, 'SIGKILL');
    this.gone = true;
  }

  async leave() {
    await this.click('Leave');
  }

  // --- what a person perceives ------------------------------------------------------------------------------

  /** How many remote pictures are in view and have changed since the last look. */
  async movingPictures(betweenMs = 500) {
    const look = () => this.evaluate(() => window.e2e.videos());
    const before = await look();
    await sleep(betweenMs);
    const after = await look();
    let moving = 0;
    for (const now of after) {
      const then = before.find((one) => one.id === now.id && one.visible);
      if (!now.remote || !now.visible || then === undefined) continue;
      const change = now.pixels.reduce((sum, value, index) => sum + Math.abs(value - then.pixels[index]), 0) / now.pixels.length;
      if (change > 0.2) moving += 1;
    }
    return moving;
  }

  async stats(type, kind) {
    const all = await this.evaluate(() => window.e2e.stats());
    return all.filter((entry) => entry.type === type && (kind === undefined || entry.kind === kind));
  }

  /** How many remote audio streams brought sound over the time, most of it not made up. */
  async audibleStreams(overMs = 1500) {
    const key = (entry) => `${entry.connection}/${entry.mid ?? ''}/${entry.ssrc}`;
    const before = new Map((await this.stats('inbound-rtp', 'audio')).map((entry) => [key(entry), entry]));
    await sleep(overMs);
    let audible = 0;
    for (const now of await this.stats('inbound-rtp', 'audio')) {
      const then = before.get(key(now));
      const packets = now.packetsReceived - (then?.packetsReceived ?? 0);
      const samples = (now.totalSamplesReceived ?? 0) - (then?.totalSamplesReceived ?? 0);
      const concealed = (now.concealedSamples ?? 0) - (then?.concealedSamples ?? 0);
      if (packets > overMs / 20 / 2 && samples > 0 && concealed < samples * 0.2) audible += 1;
    }
    return audible;
  }

  async framesDecoded() {
    return (await this.stats('inbound-rtp', 'video')).reduce((sum, entry) => sum + (entry.framesDecoded ?? 0), 0);
  }

  async seesAndHears(others, timeoutMs = 40_000) {
    await eventually(`${this.name} sees ${others} moving pictures`, async () => {
      const moving = await this.movingPictures();
      return moving === others ? true : Promise.reject(new Error(`${moving} move`));
    }, timeoutMs);
    await eventually(`${this.name} hears ${others}`, async () => {
      const audible = await this.audibleStreams();
      return audible === others ? true : Promise.reject(new Error(`${audible} audible`));
    }, timeoutMs);
  }

  /** The 30 digits on the screen, as they stand there. */
  async safetyNumber() {
    const shown = await this.evaluate(() => document.body.innerText);
    return /\b\d{5}(?:\s+\d{5}){5}\b/.exec(shown)?.[0].replace(/\s+/g, ' ') ?? null;
  }

  // --- afterwards -------------------------------------------------------------------------------------------

  async report(where) {
    if (this.gone) return;
    const base = path.join(where, `${this.name}-${this.kind}`);
    try {
      await this.call('screenshot', `${base}.png`);
      const text = await this.evaluate(() => document.body.innerText);
      fs.writeFileSync(`${base}.txt`, `${text}\n\n--- console ---\n${(await this.call('console')).join('\n')}\n`);
      fs.writeFileSync(`${base}.stats.json`, JSON.stringify(await this.evaluate(() => window.e2e.stats()), null, 1));
    } catch (error) {
      fs.writeFileSync(`${base}.txt`, String(error));
    }
  }

  async dispose() {
    if (this.#process?.connected) {
      if (!this.gone) await Promise.race([this.call('close').catch(() => {}), sleep(5000)]);
      this.#process.disconnect();
    }
    if (this.pid !== undefined) {
      try {
        process.kill(this.pid, 'SIGKILL');
      } catch {
        // it ended as it should
      }
    }
    this.host.remove();
  }
}
