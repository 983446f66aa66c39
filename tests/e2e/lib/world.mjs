// A server and the people of one scenario; everything ends with it, and what they saw is kept if it failed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Host } from './network.mjs';
import { Person } from './person.mjs';
import { Relay } from './relay.mjs';
import { Server } from './server.mjs';
import { TlsGateway } from './tls-gateway.mjs';

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '../../..');
const results = path.join(root, 'build/e2e');
const replay = process.env.SATSUMA_REPLAY ?? path.join(root, 'build/release/sim/explore/satsuma_replay');

class World {
  people = [];
  hosts = [];
  constructor(folder) {
    this.folder = folder;
  }

  async server(options) {
    this.theServer = new Server(path.join(this.folder, 'server'), options);
    await this.theServer.start();
    return this.theServer;
  }

  /** A bad network between the people and the server's media, by seed; before the server. */
  async relay(seed) {
    this.theRelay = new Relay(seed);
    await this.theRelay.start();
    return this.theRelay;
  }

  /** A network that lets nothing but TLS pass; before the server. */
  async tlsGateway() {
    this.theGateway = new TlsGateway();
    await this.theGateway.start();
    return this.theGateway;
  }

  /** For whoever is no person with a browser. */
  host(options) {
    const host = new Host(options);
    this.hosts.push(host);
    return host;
  }

  async person(name, kind, hooks) {
    const person = new Person(name, kind, hooks);
    this.people.push(person);
    await person.launch();
    return person;
  }

  /** What the server wrote down must be a behaviour of the specification, followed in the explorer's world. */
  checkTrace() {
    const trace = this.theServer?.traceFile;
    if (trace === undefined || !fs.existsSync(trace)) return;
    const lines = fs.readFileSync(trace, 'utf8').split('\n');
    const decided = lines.filter((line) => line.startsWith('entry '));
    if (decided.length === 0) return; // nobody came in
    if (!fs.existsSync(replay)) {
      if (process.env.SATSUMA_REPLAY !== undefined) throw new Error(`${replay} is missing`);
      console.warn(`the trace is not followed: ninja -C build/release satsuma_replay`);
      return;
    }
    execFileSync(replay, [trace], { stdio: 'pipe' });
    // A call in which nobody founded the group must be refused: the check can fail.
    const genesis = lines.findIndex((line) => /^entry \S+ \d+ genesis /.test(line));
    if (genesis < 0 || lines[genesis] === decided.at(-1)) return;
    const doctored = path.join(this.folder, 'doctored.trace');
    fs.writeFileSync(doctored, lines.toSpliced(genesis, 1).join('\n'));
    assert.throws(() => execFileSync(replay, [doctored], { stdio: 'pipe' }), 'a doctored trace was accepted');
    fs.rmSync(doctored);
  }

  async end(failed) {
    if (failed) for (const person of this.people) await person.report(this.folder);
    await Promise.all(this.people.map((person) => person.dispose()));
    for (const host of this.hosts) host.remove();
    await this.theServer?.stop();
    this.theRelay?.stop();
    this.theGateway?.stop();
    if (!failed) this.checkTrace();
  }
}

/** scenario('two people meet', async (world, leaveOut) => ...); leaveOut(why), and return, where the machine cannot do it. */
export function scenario(title, body, { timeout = 240_000, skip = false } = {}) {
  const folder = path.join(results, title.replace(/[^a-z0-9]+/gi, '-').slice(0, 60));
  test(title, { timeout, skip }, async (running) => {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    const world = new World(folder);
    let failed = true;
    try {
      await body(world, (why) => running.skip(why));
      failed = false;
    } finally {
      await world.end(failed);
    }
  });
}
