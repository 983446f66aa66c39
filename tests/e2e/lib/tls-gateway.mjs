// A host before the server that lets pass what begins as TLS does, at one port, and nothing else: what the strictest networks do.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Host, serverAddress } from './network.mjs';

const program = fileURLToPath(new URL('tls-gateway-process.mjs', import.meta.url));
const files = ['hosts', 'resolv.conf'];

export class TlsGateway {
  constructor(port = 8443) {
    this.host = new Host({ families: [4, 6] });
    this.port = port;
    /** Firefox asks no TURN server inside TLS that has an address for a name. */
    this.name = 'meet.test';
    this.origin = `https://${this.name}:${port}`;
    /** For the server: it has no other addresses. */
    this.arguments = ['--public-address', this.host.address, '--public-address', this.host.address6, '--tls-name', this.name];
  }

  async start() {
    // Seen in our mount namespace alone. Whoever asks beyond the file is refused at once, instead of waiting for a name server that is not there.
    fs.writeFileSync('/run/hosts', `127.0.0.1 localhost\n${this.host.address} ${this.name}\n${this.host.address6} ${this.name}\n`);
    fs.writeFileSync('/run/resolv.conf', 'nameserver 127.0.0.1\n');
    for (const file of files) execFileSync('mount', ['--bind', `/run/${file}`, `/etc/${file}`], { stdio: 'inherit' });
    const [command, args] = this.host.command(process.execPath, program, '::', serverAddress, String(this.port));
    this.process = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    await new Promise((resolve) => this.process.once('message', resolve));
  }

  /** How many connections it let through, and how many it did not. */
  counts() {
    return new Promise((resolve) => {
      this.process.once('message', resolve);
      this.process.send('counts');
    });
  }

  /** The server's key, as Chromium's switches name it. */
  static keyOf(port = 8443) {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ host: serverAddress, port, rejectUnauthorized: false }, () => {
        const key = socket.getPeerX509Certificate().publicKey.export({ type: 'spki', format: 'der' });
        resolve(createHash('sha256').update(key).digest('base64'));
        socket.destroy();
      });
      socket.once('error', reject);
    });
  }

  stop() {
    if (this.process?.connected) this.process.disconnect();
    for (const file of files) execFileSync('umount', [`/etc/${file}`], { stdio: 'inherit' });
    this.host.remove();
  }
}
