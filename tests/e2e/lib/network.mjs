// A server's host and participants' hosts on one bridge, each in a network namespace. Runs inside tests/e2e/run's namespaces.
import { execFileSync } from 'node:child_process';

export const serverAddress = '10.90.0.1';
export const serverAddress6 = 'fd90::1';

const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] }).toString();

let count = 0;
let bridged = false;

/** The switch that all hosts are on; the server's address is its own. */
export function bridge() {
  if (bridged) return;
  // With an address of its own: a bridge that takes over a port's would let that host's packets in without being plugged in.
  ip('link', 'add', 'br0', 'address', '02:00:00:00:00:01', 'type', 'bridge');
  ip('addr', 'add', `${serverAddress}/24`, 'dev', 'br0');
  ip('addr', 'add', `${serverAddress6}/64`, 'dev', 'br0', 'nodad');
  ip('link', 'set', 'br0', 'up');
  bridged = true;
}

/** From now on no UDP datagram from the hosts arrives at the server, and nobody is told: what many companies' networks do. */
export function blockUdp() {
  bridge();
  // What is for this host itself is otherwise looked at first. Routing rules need no packet filter in the kernel.
  for (const family of ['-4', '-6']) {
    ip(family, 'rule', 'add', 'pref', '100', 'lookup', 'local');
    ip(family, 'rule', 'del', 'pref', '0');
    ip(family, 'rule', 'add', 'pref', '50', 'iif', 'br0', 'ipproto', 'udp', 'blackhole');
  }
}

export function allowUdp() {
  for (const family of ['-4', '-6']) ip(family, 'rule', 'del', 'pref', '50');
}

export class Host {
  /** With addresses of these families. */
  constructor({ families = [4] } = {}) {
    bridge();
    count += 1;
    this.name = `host${count}`;
    this.port = `veth${count}`; // the bridge's end of its cable
    this.address = `10.90.0.${10 + (count % 240)}`;
    this.address6 = `fd90::${(10 + count).toString(16)}`;
    ip('netns', 'add', this.name);
    ip('link', 'add', this.port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.name);
    ip('link', 'set', this.port, 'master', 'br0', 'up');
    // No link-local IPv6 address: it would come a second later, and browsers take that for a change of network.
    ip('-n', this.name, 'link', 'set', 'eth0', 'addrgenmode', 'none', 'up');
    ip('-n', this.name, 'link', 'set', 'lo', 'up');
    // Browsers ask the routing table which address is theirs. Nobody forwards what they would send there.
    if (families.includes(4)) {
      ip('-n', this.name, 'addr', 'add', `${this.address}/24`, 'dev', 'eth0');
      ip('-n', this.name, 'route', 'add', 'default', 'via', serverAddress);
    }
    if (families.includes(6)) {
      ip('-n', this.name, 'addr', 'add', `${this.address6}/64`, 'dev', 'eth0', 'nodad');
      ip('-n', this.name, '-6', 'route', 'add', 'default', 'via', serverAddress6);
    }
  }

  /** The command that runs `command` on this host. */
  command(command, ...args) {
    return ['ip', ['netns', 'exec', this.name, command, ...args]];
  }

  /** Packets go nowhere, and nobody is told: the cable stays plugged in. */
  cut() {
    this.#setPort('disabled');
  }

  mend() {
    this.#setPort('forwarding');
  }

  #setPort(state) {
    execFileSync('bridge', ['link', 'set', 'dev', this.port, 'state', state], { stdio: 'inherit' });
  }

  remove() {
    try {
      ip('link', 'del', this.port);
      ip('netns', 'del', this.name);
    } catch {
      // the whole network goes away at the end
    }
  }
}
