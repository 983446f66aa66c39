/** Sessions of the real module that meet without a server. */
import assert from "node:assert/strict";
import { type WasmModule, WasmSession } from "../src/engine/module.ts";
import { OrderingRoom } from "../src/ordering.ts";
import { parseSessionEvent, type SessionEvent } from "../src/session-events.ts";

/** A session with its run loop, in a room that is ordered without a server. */
export class Peer {
  readonly session: WasmSession;
  readonly events: SessionEvent[] = [];
  /** What others say waits. */
  deaf = false;
  readonly #waiting: Uint8Array<ArrayBuffer>[] = [];
  readonly #connection: ReturnType<OrderingRoom["connect"]>;

  constructor(session: WasmSession, room: OrderingRoom) {
    this.session = session;
    this.#connection = room.connect((bytes) => {
      this.#waiting.push(bytes);
      this.pump();
    });
    session.putTreeInWelcomes();
    session.connected();
    this.pump();
  }

  pump(): void {
    while (!this.deaf && this.#waiting.length > 0) {
      const [bytes] = this.#waiting.splice(0, 1);
      if (bytes !== undefined) this.session.frame(bytes);
    }
    for (let output = this.session.poll(); output !== null; output = this.session.poll()) {
      if (output.kind === "binary") this.#connection.receive(output.bytes);
      if (output.kind === "event") {
        const event = parseSessionEvent(output.json);
        if (event !== null) this.events.push(event);
      }
    }
  }

  leave(): void {
    this.session.leave();
    this.pump();
    this.#connection.close();
  }

  get epoch(): Extract<SessionEvent, { type: "epoch" }> | undefined {
    return this.events.filter((event) => event.type === "epoch").at(-1);
  }

  get people(): readonly string[] {
    return this.epoch?.roster.map(({ name }) => name) ?? [];
  }
}

export async function until(what: string, peers: readonly Peer[], done: () => boolean): Promise<void> {
  for (let round = 0; round < 400; round += 1) {
    if (done()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
    for (const { session } of peers) if (session.nextTimeoutMs() === 0) session.timeout();
    for (const peer of peers) peer.pump();
  }
  assert.fail(what);
}

/** Ada and Bo in a room, and how others enter it. */
export async function callOfTwo(module: WasmModule): Promise<{ ada: Peer; bo: Peer; enter: (name: string, seed: number) => Peer }> {
  const room = new OrderingRoom();
  const enter = (name: string, seed: number): Peer =>
    new Peer(new WasmSession(module, { room: "demo", secret: new Uint8Array(16).fill(7), deviceSeed: new Uint8Array(32).fill(seed), name }), room);
  const ada = enter("Ada", 1);
  await until("Ada begins", [ada], () => ada.people.length === 1);
  const bo = enter("Bo", 2);
  await until("Bo is let in", [ada, bo], () => ada.people.length === 2 && bo.people.length === 2);
  return { ada, bo, enter };
}
