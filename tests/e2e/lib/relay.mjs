// A host between the participants and the server, through which media must go: the server names this host's address as its own.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Host, serverAddress } from './network.mjs';

const program = fileURLToPath(new URL('relay-process.mjs', import.meta.url));

export class Relay {
  static mediaPort = 40_000;
  #waiting = new Map();
  #next = 1;

  constructor(seed) {
    this.host = new Host();
    this.seed = seed;
    /** For the server. */
    this.arguments = ['--public-address', this.host.address, '--media-port', String(Relay.mediaPort)];
  }

  async start() {
    const [command, args] = this.host.command(process.execPath, program, this.host.address, serverAddress, String(Relay.mediaPort), String(this.seed));
    this.process = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    await new Promise((resolve) => {
      this.process.on('message', (message) => {
        if (message.ready) resolve();
        else this.#waiting.get(message.id)?.(message.counts);
      });
    });
  }

  /** From now on; answers what became of the datagrams until now. */
  set(network) {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.process.send({ id, set: network });
    });
  }

  stop() {
    if (this.process?.connected) this.process.disconnect();
    this.host.remove();
  }
}
