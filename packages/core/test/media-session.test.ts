import assert from "node:assert/strict";
import { test } from "node:test";
import type { NoticeCode, Source } from "../src/api.ts";
import type { ClientControl } from "../src/control.ts";
import { sources } from "../src/ids.ts";
import { MediaSession, type MediaSessionPort } from "../src/media-session.ts";
import type { Counts } from "../src/messages.ts";

const levels = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const answer = "v=0\r\na=fingerprint:sha-256 00\r\n";

/** A browser's: what it sends and what it counts is the test's to say. */
class FakeSender {
  transform: unknown = null;
  track: unknown = null;
  framesSent = 0;
  encodings: RTCRtpEncodingParameters[] = [];
  async replaceTrack(track: unknown): Promise<void> {
    this.track = track;
  }
  async getStats(): Promise<Map<string, object>> {
    return new Map([["o", { id: "o", ssrc: 1, type: "outbound-rtp", timestamp: performance.now(), framesSent: this.framesSent, packetsSent: this.framesSent }]]);
  }
  getParameters(): object {
    return { encodings: structuredClone(this.encodings), codecs: [] };
  }
  async setParameters({ encodings }: RTCRtpSendParameters): Promise<void> {
    await new Promise((resolve) => void realTimeout(resolve, 1));
    this.encodings = encodings;
  }
}

class FakeConnection {
  static readonly all: FakeConnection[] = [];
  readonly configuration: RTCConfiguration;
  readonly transceivers: { sender: FakeSender; setCodecPreferences: () => void }[] = [];
  connectionState = "new";
  refuses = 0; // so many offers
  localDescription: { sdp: string } | null = null;
  remoteDescription: { sdp: string } | null = null;
  onconnectionstatechange: (() => void) | null = null;
  constructor(configuration: RTCConfiguration) {
    this.configuration = configuration;
    FakeConnection.all.push(this);
  }
  get hasTurn(): boolean {
    return this.configuration.iceServers?.length === 1;
  }
  become(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
  addTransceiver(): object {
    const transceiver = { sender: new FakeSender(), setCodecPreferences: () => undefined };
    this.transceivers.push(transceiver);
    return transceiver;
  }
  getTransceivers(): readonly object[] {
    return this.transceivers;
  }
  async createOffer(): Promise<object> {
    return { type: "offer", sdp: `v=0\r\nm=audio 9\r\n${levels}\r\n` };
  }
  async createAnswer(): Promise<object> {
    return { type: "answer", sdp: "v=0\r\n" };
  }
  async setLocalDescription(description: { sdp: string }): Promise<void> {
    this.localDescription = description.sdp.includes(levels) ? description : { sdp: `${description.sdp}${levels}\r\n` };
  }
  async setRemoteDescription(description: { sdp: string }): Promise<void> {
    if (this.refuses-- > 0) throw new Error("no");
    this.remoteDescription = description;
  }
  close(): void {
    this.connectionState = "closed";
  }
}

Object.assign(globalThis, {
  RTCPeerConnection: FakeConnection,
  location: { hostname: "meet.test", port: "" },
  RTCRtpReceiver: { getCapabilities: () => ({ codecs: [] }) },
  RTCRtpScriptTransform: class {},
});

const realTimeout = setTimeout;
const settled = (): Promise<void> => new Promise((resolve) => void realTimeout(resolve, 5));

/** Time that passes when told to, for what the session waits for. */
class Clock {
  readonly #real = [globalThis.setTimeout, globalThis.clearTimeout] as const;
  readonly #waiting = new Map<number, { readonly at: number; readonly call: () => void }>();
  #now = 0;
  #last = 0;

  constructor() {
    const set = (call: () => void, after = 0): number => {
      this.#last += 1;
      this.#waiting.set(this.#last, { at: this.#now + after, call });
      return this.#last;
    };
    Object.assign(globalThis, { setTimeout: set, clearTimeout: (id: number) => this.#waiting.delete(id) });
  }

  async pass(ms: number): Promise<void> {
    this.#now += ms;
    for (const [id, { at, call }] of [...this.#waiting]) if (at <= this.#now && this.#waiting.delete(id)) call();
    await settled();
  }

  stop(): void {
    [globalThis.setTimeout, globalThis.clearTimeout] = this.#real;
  }
}

/** Runs it by a clock of its own. */
async function byClock(run: (clock: Clock, page: Page) => Promise<void>): Promise<void> {
  const clock = new Clock();
  const page = new Page();
  try {
    await run(clock, page);
  } finally {
    page.session.close();
    clock.stop();
  }
}

class Page {
  told = false;
  readonly sent: ClientControl[] = [];
  readonly notices: NoticeCode[] = [];
  readonly stopped: Set<Source>;
  readonly session: MediaSession;

  constructor(stopped = new Set<Source>()) {
    this.stopped = stopped;
    const port: Partial<MediaSessionPort> = {
      worker: {} as Worker,
      tellsLevels: () => this.told,
      send: (message) => void this.sent.push(message),
      onSilence: () => undefined,
      closeConnection: () => undefined,
      onSubscription: () => undefined,
      onState: () => undefined,
      onNotice: ({ code }) => void this.notices.push(code),
      onNewPublication: () => undefined,
    };
    this.session = new MediaSession(port as MediaSessionPort, stopped);
  }

  get connection(): FakeConnection {
    const last = FakeConnection.all.at(-1);
    assert.ok(last !== undefined);
    return last;
  }

  camera(): FakeSender {
    const transceiver = this.connection.transceivers[sources.indexOf("camera")];
    assert.ok(transceiver !== undefined);
    return transceiver.sender;
  }

  /** The offers that were made, as what they ask for and whether they tell how loud the microphone is. */
  get offers(): readonly string[] {
    return this.sent.flatMap((message) => ("sdp" in message ? [`${message.type}${message.sdp.includes(levels) ? " with levels" : ""}`] : []));
  }

  async offerSlots(revision: number): Promise<FakeConnection> {
    this.session.handleControl({ type: "offer", revision, sdp: answer });
    await settled();
    return this.connection;
  }

  async publishWhereTurnIs(): Promise<FakeConnection> {
    this.session.handleControl({ type: "turn", username: "1:a", credential: "b" });
    await this.publish();
    return this.connection;
  }

  async publish(): Promise<void> {
    this.session.handleReady(true);
    await settled();
    const offer = this.sent.find((message) => message.type === "publish");
    assert.ok(offer?.type === "publish");
    this.session.handleControl({ type: "published", id: offer.id, sdp: answer });
    await settled();
  }
}

test("the server is told how loud the microphone is by another offer, and told no more at once, by the end of the connection, whatever the server does", async () => {
  const page = new Page();
  await page.publish();
  const connection = page.connection;
  page.told = true;
  page.session.handleTellsLevels();
  await settled();
  assert.deepEqual(page.offers, ["publish", "restart with levels"]);
  assert.equal(page.connection, connection);
  page.told = false; // before the server has answered
  page.session.handleTellsLevels();
  assert.equal(connection.connectionState, "closed");
  await settled();
  assert.deepEqual(page.offers.slice(2), ["publish"]);
  page.session.close();
});

test("... also while the server is away", async () => {
  const page = new Page();
  page.told = true;
  await page.publish();
  const connection = page.connection;
  page.session.handleNotReady();
  page.told = false;
  page.session.handleTellsLevels();
  assert.equal(connection.connectionState, "closed");
  await settled();
  assert.deepEqual(page.offers, ["publish with levels"]);
  page.session.handleReady(false);
  await settled();
  assert.deepEqual(page.offers, ["publish with levels", "publish"]);
  page.session.close();
});

test("a choice that is taken back while the server is away costs no connection", async () => {
  const page = new Page();
  await page.publish();
  page.session.handleNotReady();
  for (const told of [true, false]) {
    page.told = told;
    page.session.handleTellsLevels();
  }
  assert.equal(page.connection.connectionState, "new");
  page.session.close();
});

const track = { getSettings: () => ({ width: 640, height: 480 }) } as MediaStreamTrack;
const none: Counts = { senders: [], slots: [] } as unknown as Counts;

test("what left unencrypted once is not sent with another engine either", async () => {
  const page = new Page();
  await page.publish();
  page.session.setTracks({ microphone: null, camera: track, screen: null }, ["camera"]);
  await settled();
  assert.equal(page.camera().track, track);
  page.camera().framesSent = 1;
  await page.session.checkNothingUnprotected(async () => none);
  await settled();
  assert.deepEqual([page.notices, page.camera().track, [...page.stopped]], [["media-stopped-unencrypted"], null, ["camera"]]);
  page.session.close();

  const after = new Page(page.stopped);
  await after.publish();
  after.session.setTracks({ microphone: null, camera: track, screen: null }, ["camera"]);
  await settled();
  assert.equal(after.camera().track, null);
  assert.deepEqual(after.sent.filter(({ type }) => type === "sources"), [{ type: "sources", active: [] }]);
  after.session.close();
});

test("of a camera that became smaller the sizes that are left are sent, though people watched another before", async () => {
  const page = new Page();
  await page.publish();
  page.camera().encodings = [4, 2, 1].map((scaleResolutionDownBy) => ({ scaleResolutionDownBy, active: true }));
  page.session.handleControl({ type: "layers", source: "camera", active: [false, false, true] });
  page.session.setTracks({ microphone: null, camera: track, screen: null }, ["camera"]);
  await settled();
  await settled();
  assert.equal(page.camera().track, track);
  const sizes = page.camera().encodings.map(({ scaleResolutionDownBy, active }) => ({ scaleResolutionDownBy, active }));
  assert.deepEqual(sizes, [
    { scaleResolutionDownBy: 2, active: true },
    { scaleResolutionDownBy: 1, active: true },
    { scaleResolutionDownBy: 1, active: true },
  ]);
  page.session.close();
});

test("an engine that does not answer accuses nobody, however many frames the browser counts, and the next that does is listened to", async () => {
  const page = new Page();
  await page.publish();
  const look = async (framesSent: number, counts: Counts | null): Promise<number> => {
    page.camera().framesSent = framesSent;
    await page.session.checkNothingUnprotected(async () => counts);
    return page.notices.length;
  };
  for (let seconds = 1; seconds < 8; seconds += 1) assert.equal(await look(15 * seconds, null), 0);
  assert.equal(await look(120, none), 1);
  page.session.close();
});

test("where nothing connects, both connections are tried inside TLS after two seconds, whatever one of them and the server do meanwhile", () =>
  byClock(async (clock, page) => {
    const publish = await page.publishWhereTurnIs();
    const subscribe = await page.offerSlots(1);
    assert.notEqual(subscribe, publish);
    for (const connection of [publish, subscribe]) connection.become("connecting");
    await clock.pass(1900);
    await page.offerSlots(2); // somebody came
    const offered = page.sent.length;
    await clock.pass(100);
    assert.deepEqual([publish.connectionState, subscribe.connectionState], ["closed", "closed"]);
    assert.deepEqual(page.sent.slice(offered).map(({ type }) => type).sort(), ["publish", "subscribe"]);
    assert.ok(page.connection.hasTurn);
  }));

test("... and also one that began before the other was found to need it, and was asked for a change of its state later", () =>
  byClock(async (clock, page) => {
    const publish = await page.publishWhereTurnIs();
    publish.become("connecting");
    await clock.pass(1000);
    const subscribe = await page.offerSlots(1);
    await clock.pass(1000);
    const inside = page.connection;
    assert.ok(inside !== subscribe && inside.hasTurn && !subscribe.hasTurn);
    subscribe.become("connecting");
    inside.become("connected");
    await clock.pass(2000);
    assert.equal(subscribe.connectionState, "closed");
  }));

test("a connection that could not answer one offer and answers the next is not given up", () =>
  byClock(async (clock, page) => {
    await page.publish();
    const subscribe = await page.offerSlots(1);
    subscribe.become("connected");
    subscribe.refuses = 1;
    await page.offerSlots(2);
    await page.offerSlots(3);
    assert.deepEqual(page.sent.flatMap((message) => (message.type === "answer" ? [message.revision] : [])), [1, 3]);
    await clock.pass(1000);
    assert.equal(subscribe.connectionState, "connected");
    subscribe.refuses = 1;
    await page.offerSlots(4);
    await clock.pass(1000);
    assert.equal(subscribe.connectionState, "closed", "where none comes it is tried anew");
  }));
