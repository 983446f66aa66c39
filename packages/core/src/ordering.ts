/**
 * The ordering of one room's entries, in memory: what a signaling of one's own has to do for MLS (docs/protocol.md s.2, and no more of it than that).
 * It holds no key and is trusted with nothing but the order: members check signatures, admission and secrets themselves. It does not check what the
 * server's gate checks, knows no second room and forgets nothing, so it is for a few members that trust each other not to flood it.
 */
import { fromHex } from "./ids.ts";

type Id = string; // an incarnation, 32 hex digits

/** Reads the TLS presentation language; throws at the end of the bytes. */
class Reader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #at = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(size: number): Uint8Array<ArrayBuffer> {
    if (size > this.left) throw new RangeError("a message ends too early");
    this.#at += size;
    return this.#bytes.slice(this.#at - size, this.#at);
  }

  number(size: number): number {
    return this.take(size).reduce((value, byte) => value * 256 + byte, 0);
  }

  /** RFC 9420 s.2.1.2: the first two bits say how long the length is. */
  vector(): Uint8Array<ArrayBuffer> {
    const first = this.number(1);
    const size = 2 ** (first >> 6);
    if (size > 4) throw new RangeError("a length that is not allowed");
    return this.take((first & 63) * 256 ** (size - 1) + (size > 1 ? this.number(size - 1) : 0));
  }
}

class Writer {
  readonly #parts: Uint8Array[] = [];

  bytes(part: Uint8Array): this {
    this.#parts.push(part);
    return this;
  }

  number(value: number, size: number): this {
    const part = new Uint8Array(size);
    for (let at = size - 1, rest = value; at >= 0; at -= 1, rest = Math.floor(rest / 256)) part[at] = rest % 256;
    return this.bytes(part);
  }

  vector(content: Uint8Array): this {
    if (content.length < 64) this.number(content.length, 1);
    else if (content.length < 16_384) this.number(0x4000 + content.length, 2);
    else this.number(0x8000_0000 + content.length, 4);
    return this.bytes(content);
  }

  done(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

const toHex = (bytes: Uint8Array): Id => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const ids = (list: Iterable<Id>): Uint8Array => [...list].reduce((out, id) => out.bytes(fromHex(id)), new Writer()).done();

/** The signature key of a KeyPackage (RFC 9420 s.10), which is read to its end. */
function readKeyPackage(reader: Reader): Uint8Array<ArrayBuffer> {
  reader.take(4); // version, cipher suite
  reader.vector(); // init key
  reader.vector(); // leaf: encryption key
  const signatureKey = reader.vector();
  reader.take(2); // credential: a basic one, and its identity
  reader.vector();
  for (let list = 0; list < 5; list += 1) reader.vector(); // capabilities
  if (reader.number(1) !== 1) throw new RangeError("a leaf that does not come from a key package");
  reader.take(16); // lifetime
  for (let rest = 0; rest < 4; rest += 1) reader.vector(); // leaf: extensions, signature; package: extensions, signature
  return signatureKey;
}

/** s.3 of the protocol: an incarnation is named by its signature key. */
async function incarnationOf(signatureKey: Uint8Array<ArrayBuffer>): Promise<Id> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", signatureKey)).subarray(0, 16));
}

/** Whom a commit (a PublicMessage, RFC 9420 s.6.2) takes out, by leaf, and whom it lets in, in this order. */
function readCommit(message: Uint8Array<ArrayBuffer>): { readonly removed: readonly number[]; readonly added: readonly Uint8Array<ArrayBuffer>[] } {
  const reader = new Reader(message);
  reader.take(4); // version, wire format
  reader.vector(); // group id
  reader.take(8 + 1 + 4); // epoch, sender: a member
  reader.vector(); // authenticated data
  reader.take(1); // content type: commit
  const proposals = new Reader(reader.vector());
  const removed: number[] = [];
  const added: Uint8Array<ArrayBuffer>[] = [];
  while (proposals.left > 0) {
    if (proposals.number(1) !== 1) throw new RangeError("a proposal that is not there by value");
    const type = proposals.number(2);
    if (type === 1) added.push(readKeyPackage(proposals));
    else if (type === 3) removed.push(proposals.number(4));
    else throw new RangeError("a proposal that is neither an add nor a remove");
  }
  return { removed, added };
}

interface Group {
  readonly era: number;
  epoch: number;
  /** By leaf; null: blank. */
  leaves: (Id | null)[];
  /** Oldest admission first. */
  members: Id[];
}

interface Member {
  readonly joinedAt: number;
  readonly snapshot: Uint8Array<ArrayBuffer>;
  send: ((bytes: Uint8Array<ArrayBuffer>) => void) | null;
}

export interface OrderingConnection {
  receive(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

const reasons = { notPresentEpoch: 1, notMember: 2, invalid: 3 } as const;
const graceMs = 10_000;

export class OrderingRoom {
  /** Each as written in `entry`. */
  readonly #log: Uint8Array<ArrayBuffer>[] = [];
  /** Of the log until now: members compare it, so that all were shown the same. */
  #digest = new Uint8Array(32);
  /** Who made the commit at an index. */
  readonly #committers = new Map<number, Id>();
  readonly #members = new Map<Id, Member>();
  readonly #gone = new Set<Id>();
  readonly #waiting = new Map<Id, Uint8Array<ArrayBuffer>>();
  #group: Group | null = null;
  #work: Promise<void> = Promise.resolve();

  /** `send` gets what is for this client; messages of all clients are taken one after the other. */
  connect(send: (bytes: Uint8Array<ArrayBuffer>) => void): OrderingConnection {
    let who: Id | null = null;
    const next = (step: () => Promise<void> | void): void => {
      this.#work = this.#work.then(step).catch(() => undefined); // nobody is hurt by a message that cannot be read but its sender
    };
    return {
      receive: (bytes) =>
        next(async () => {
          if (bytes[0] === 1) who = await this.#handleHello(new Reader(bytes.slice(1)), send);
          else if (who !== null) await this.#handleMessage(who, bytes);
        }),
      close: () =>
        next(async () => {
          if (who !== null) await this.#leave(who, 2);
        }),
    };
  }

  async #handleHello(reader: Reader, send: (bytes: Uint8Array<ArrayBuffer>) => void): Promise<Id | null> {
    reader.take(2);
    reader.vector();
    const keyPackage = reader.vector();
    reader.take(16);
    const cursor = reader.number(8);
    const packaged = new Reader(keyPackage);
    packaged.take(4); // MLSMessage: version, wire format
    const who = await incarnationOf(readKeyPackage(packaged));
    if (this.#gone.has(who)) {
      send(new Writer().number(69, 1).number(4, 2).vector(new Uint8Array()).done());
      return null;
    }
    const known = this.#members.get(who);
    const isNew = known === undefined;
    const member = known ?? { joinedAt: this.#log.length, snapshot: this.#snapshot(), send };
    member.send = send;
    this.#members.set(who, member);
    if (isNew) {
      this.#waiting.set(who, keyPackage);
      await this.#append(this.#entry(1).bytes(fromHex(who)).vector(keyPackage), who);
    }
    const resumed = !isNew && cursor > member.joinedAt;
    const empty = new Writer().number(0, 17).number(0, 2).number(0, 32).number(0, 1).done();
    const ready = new Writer().number(65, 1).number(resumed ? 1 : 0, 1).number(this.#log.length, 8).number(graceMs, 4);
    send(ready.bytes(resumed ? empty : member.snapshot).done());
    for (const entry of this.#log.slice(resumed ? cursor : member.joinedAt)) send(new Writer().number(66, 1).bytes(entry).done());
    return who;
  }

  async #handleMessage(who: Id, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const reader = new Reader(bytes.slice(1));
    switch (bytes[0]) {
      case 3:
        await this.#handleGenesis(who, reader.vector());
        return;
      case 4:
        await this.#handleCommit(who, reader.number(8), reader.number(8), reader.vector(), reader.vector());
        return;
      case 5: {
        const to = new Reader(reader.vector());
        const meant = new Set<Id>();
        while (to.left > 0) meant.add(toHex(to.take(16)));
        const relayed = new Writer().number(68, 1).bytes(fromHex(who)).vector(reader.vector()).done();
        for (const other of this.#group?.members ?? []) {
          if (other !== who && (meant.size === 0 || meant.has(other))) this.#members.get(other)?.send?.(relayed.slice());
        }
        return;
      }
      case 6:
        await this.#leave(who, 1);
        return;
      case 7: {
        const committer = this.#committers.get(reader.number(8));
        if (committer !== undefined) await this.#leave(who, 4, committer);
        return;
      }
      default: // acknowledgements: nothing is ever forgotten here
    }
  }

  async #handleGenesis(who: Id, groupInfo: Uint8Array): Promise<void> {
    const isTaken = this.#group?.members.some((member) => !this.#gone.has(member)) === true;
    if (isTaken || !this.#waiting.has(who)) {
      this.#reject(who, 0, 0, isTaken ? reasons.notPresentEpoch : reasons.notMember);
      return;
    }
    this.#group = { era: this.#log.length, epoch: 0, leaves: [who], members: [who] };
    this.#waiting.delete(who);
    await this.#append(this.#entry(3).bytes(fromHex(who)).vector(groupInfo));
  }

  async #handleCommit(who: Id, era: number, epoch: number, commit: Uint8Array<ArrayBuffer>, welcome: Uint8Array): Promise<void> {
    const group = this.#group;
    // Compare and set: the first for an epoch wins, and everybody reads the winner's.
    if (group === null || group.era !== era || group.epoch !== epoch) return this.#reject(who, era, epoch, reasons.notPresentEpoch);
    if (!group.members.includes(who) || this.#gone.has(who)) return this.#reject(who, era, epoch, reasons.notMember);
    let change: ReturnType<typeof readCommit>;
    try {
      change = readCommit(commit);
    } catch {
      return this.#reject(who, era, epoch, reasons.invalid);
    }
    const leaves = group.leaves.map((member, leaf) => (change.removed.includes(leaf) ? null : member));
    const added = await Promise.all(change.added.map(incarnationOf));
    for (const member of added) {
      const blank = leaves.indexOf(null);
      leaves[blank < 0 ? leaves.length : blank] = member; // RFC 9420 s.12.1.1: the leftmost blank leaf
      this.#waiting.delete(member);
    }
    group.epoch += 1;
    group.leaves = leaves;
    group.members = [...group.members.filter((member) => leaves.includes(member)), ...added];
    this.#committers.set(this.#log.length, who);
    await this.#append(this.#entry(4).number(era, 8).number(epoch, 8).bytes(fromHex(who)).vector(commit).vector(welcome));
  }

  async #leave(who: Id, cause: number, committer: Id | null = null): Promise<void> {
    if (this.#gone.has(who) || !this.#members.has(who)) return;
    this.#gone.add(who);
    this.#waiting.delete(who);
    this.#members.delete(who);
    await this.#append(this.#entry(2).bytes(fromHex(who)).number(cause, 1).bytes(committer === null ? new Uint8Array() : fromHex(committer)));
  }

  #reject(who: Id, era: number, epoch: number, reason: number): void {
    this.#members.get(who)?.send?.(new Writer().number(67, 1).number(era, 8).number(epoch, 8).number(reason, 1).done());
  }

  #entry(type: number): Writer {
    return new Writer().number(this.#log.length, 8).number(type, 1);
  }

  async #append(writer: Writer, except: Id | null = null): Promise<void> {
    const bytes = writer.done();
    this.#log.push(bytes);
    const text = new TextEncoder().encode("satsuma log 1");
    this.#digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new Writer().bytes(text).bytes(this.#digest).bytes(bytes).done()));
    const entry = new Writer().number(66, 1).bytes(bytes).done();
    for (const [who, member] of this.#members) if (who !== except) member.send?.(entry.slice()); // theirs, to transfer
  }

  #snapshot(): Uint8Array<ArrayBuffer> {
    const group = this.#group;
    const members = group?.members ?? [];
    const waiting = [...this.#waiting].reduce((out, [who, keyPackage]) => out.bytes(fromHex(who)).vector(keyPackage), new Writer());
    const out = new Writer().number(group === null ? 0 : 1, 1).number(group?.era ?? 0, 8).number(group?.epoch ?? 0, 8);
    return out.vector(ids(members)).vector(ids(members.filter((member) => this.#gone.has(member)))).bytes(this.#digest).vector(waiting.done()).done();
  }
}
