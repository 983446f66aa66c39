// The real satsumad on its own host of the test network.
import net from 'node:net';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { bridge, serverAddress, serverAddress6 } from './network.mjs';
import { eventually } from './person.mjs';

const root = path.resolve(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '../../..');
export const binary = process.env.SATSUMA_SERVER ?? path.join(root, 'build/release/apps/server/satsumad_hooks');
export const page = process.env.SATSUMA_WEB ?? path.join(root, 'packages/web/dist');

export class Server {
  constructor(folder, { web = page, port = 8443, environment = {}, options = [], everyAddress = false } = {}) {
    this.folder = folder;
    this.web = web;
    this.port = port;
    this.environment = environment;
    this.everyAddress = everyAddress;
    this.options = options;
    this.origin = `https://${serverAddress}:${port}`;
    this.origin6 = `https://[${serverAddress6}]:${port}`;
    this.logFile = path.join(folder, 'server.log');
    this.traceFile = path.join(folder, 'rooms.trace');
    fs.mkdirSync(folder, { recursive: true });
  }

  async start() {
    bridge();
    const log = fs.openSync(this.logFile, 'a');
    const listen = this.everyAddress ? '[::]' : serverAddress;
    const args = ['--listen', `${listen}:${this.port}`, '--web', this.web, '--data', path.join(this.folder, 'data'), ...this.options];
    this.process = spawn(binary, args, { stdio: ['ignore', log, log], env: { ...process.env, SATSUMA_ROOM_TRACE: this.traceFile, ...this.environment } });
    fs.closeSync(log);
    this.exited = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve({ code, signal })));
    let ended = null;
    void this.exited.then((how) => { ended = how; });
    await eventually('the server listens', async () => {
      if (ended) throw new Error(`it ended: ${JSON.stringify(ended)}\n${this.log().slice(-2000)}`);
      return this.accepts();
    }, 15_000, 100);
  }

  accepts() {
    return new Promise((resolve) => {
      const socket = net.connect(this.port, serverAddress, () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  }

  log() {
    return fs.readFileSync(this.logFile, 'utf8');
  }

  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  async stop() {
    if (this.process === undefined || this.process.exitCode !== null || this.process.signalCode !== null) return null;
    this.process.kill('SIGTERM');
    return this.exited;
  }

  /** A fresh room and its secret. */
  link(room = `room-${randomBytes(4).toString('hex')}`) {
    const secret = randomBytes(16).toString('base64url');
    const path = `/r/${room}#${secret}`;
    return { room, secret, url: `${this.origin}${path}`, url6: `${this.origin6}${path}`, withoutSecret: `${this.origin}/r/${room}` };
  }
}
