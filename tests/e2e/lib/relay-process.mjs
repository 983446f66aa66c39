// A bad network for datagrams between clients and the server, by seed. node relay-process.mjs FROM-ADDRESS TO-ADDRESS PORT SEED; the parent
// says { loss, upLoss, downLoss, reorder, duplicate, delay, outage, downRate }, fractions (upLoss, downLoss: of what goes to the server and to clients, besides), milliseconds each way,
// a boolean and bits a second to each client (0: as many as come), or { rebind }, and is told what became of the datagrams; of those to the server too how many repeated an RTP packet as it was, and how many were another under its number.
import dgram from 'node:dgram';

const [from, to, port, seed] = process.argv.slice(2);
const network = { loss: 0, upLoss: 0, downLoss: 0, reorder: 0, duplicate: 0, delay: 0, outage: false, downRate: 0 };
const counts = { passed: 0, lost: 0, reordered: 0, duplicated: 0, resent: 0, altered: 0, queueFull: 0 };
let state = Number(seed) >>> 0;
/** Mulberry32. */
const random = () => {
  state = (state + 0x6d2b79f5) >>> 0;
  let value = Math.imul(state ^ (state >>> 15), state | 1);
  value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
  return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
};

/** What waits in the path for longer is dropped. */
const maxQueueMs = 300;
/** When the way to each client is free again. */
const freeAt = new Map();
/** `send`, when the way to the client has taken the datagram; null if its queue is full. */
function atRate(client, bytes, send) {
  if (network.downRate === 0) return send;
  const now = performance.now();
  const free = Math.max(now, freeAt.get(client) ?? 0);
  if (free - now > maxQueueMs) return null;
  // IP's and UDP's headers count.
  const left = free + ((bytes + 28) * 8000) / network.downRate;
  freeAt.set(client, left);
  return () => setTimeout(send, left - now);
}

function pass(send, down = false) {
  // Always as many numbers, so that the fate of the n-th does not depend on the settings.
  const [loss, reorder, duplicate] = [random(), random(), random()];
  if (network.outage || loss < network.loss + (down ? network.downLoss : network.upLoss)) {
    counts.lost += 1;
    return;
  }
  counts.passed += 1;
  if (reorder < network.reorder) {
    counts.reordered += 1;
    setTimeout(send, 20 + network.delay);
  } else if (network.delay > 0) {
    setTimeout(send, network.delay);
  } else {
    send();
  }
  if (duplicate < network.duplicate) {
    counts.duplicated += 1;
    setTimeout(send, 5 + network.delay);
  }
}

/** The latest packets by their numbers, oldest first. */
const known = new Map();
function compare(client, datagram) {
  const isRtp = datagram.length >= 12 && datagram[0] >> 6 === 2 && (datagram[1] < 192 || datagram[1] >= 224);
  if (!isRtp) return;
  const number = `${client} ${datagram.readUInt32BE(8)} ${datagram.readUInt16BE(2)}`;
  const before = known.get(number);
  if (before === undefined) known.set(number, datagram);
  else if (before.equals(datagram)) counts.resent += 1;
  else counts.altered += 1;
  if (known.size > 4096) known.delete(known.keys().next().value);
}

const front = dgram.createSocket('udp4');
/** A socket of its own for each client, as behind a NAT. */
const clients = new Map();
front.on('message', (datagram, client) => {
  const name = `${client.address}:${client.port}`;
  let back = clients.get(name);
  if (back === undefined) {
    back = dgram.createSocket('udp4');
    clients.set(name, back);
    back.on('message', (answer) => {
      const send = atRate(name, answer.length, () => front.send(answer, client.port, client.address));
      if (send === null) counts.queueFull += 1;
      else pass(send, true);
    });
  }
  compare(name, datagram);
  pass(() => back.send(datagram, Number(port), to));
});
front.bind(Number(port), from, () => process.send({ ready: true }));
process.on('message', ({ id, set }) => {
  if (set.rebind) {
    // As when a router forgets: the server sees everybody come from another port.
    for (const back of clients.values()) back.close();
    clients.clear();
  }
  Object.assign(network, { ...set, rebind: undefined });
  process.send({ id, counts: { ...counts } });
});
process.on('disconnect', () => process.exit(0));
