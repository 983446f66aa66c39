import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeetingState } from "../src/api.ts";
import type { CaptureState } from "../src/capture.ts";
import { isParticipantId } from "../src/ids.ts";
import { parseRoomName } from "../src/link.ts";
import { canSend, type Change, codecsOfOthers, initialModel, type Model, reduce, view } from "../src/model.ts";
import { parseSessionEvent, type SessionEvent } from "../src/session-events.ts";

const ada = "aa".repeat(16);
const bo = "bb".repeat(16);
const cy = "cc".repeat(16);
const capture: CaptureState = {
  local: { microphone: { status: "off" }, camera: { status: "off" }, screen: { status: "off" } },
  devices: { available: [], chosen: { microphone: null, camera: null, speaker: null } },
  tracks: { microphone: null, camera: null, screen: null },
  cameraStream: null,
  screenStream: null,
};

function id(text: string) {
  assert.ok(isParticipantId(text));
  return text;
}

function start(): Model {
  const room = parseRoomName("test");
  assert.ok(room !== null);
  return initialModel(room, capture);
}

function event(value: unknown): SessionEvent {
  const parsed = parseSessionEvent(JSON.stringify(value));
  assert.ok(parsed !== null);
  return parsed;
}

function epoch(members: readonly string[], number = 0): SessionEvent {
  return event({
    type: "epoch",
    era: 0,
    epoch: number,
    self: 0,
    roster: members.map((member, leaf) => ({ leaf, incarnation: member, name: `name ${leaf}`, device: "d0", proof: "proven", self: leaf === 0 })),
    safety_number: "12345 67890 12345 67890 12345 67890",
    authenticator: "00ff10",
    previous: null,
    reason: { kind: number === 0 ? "entered" : "changed", joined: [], left: [] },
    committer: null,
    designated: 0,
  });
}

function after(model: Model, ...changes: readonly (Change | SessionEvent)[]): Model {
  return changes.reduce<Model>((before, change) => {
    const wrapped: Change = isSessionEvent(change) ? { type: "session", event: change, calendarMs: 5 } : change;
    return reduce(before, wrapped, 1);
  }, model);
}

function isSessionEvent(change: Change | SessionEvent): change is SessionEvent {
  return ["ready", "waiting", "epoch", "devices", "departed", "overdue", "present", "announcement", "keys", "rejoining", "error", "left"].includes(change.type) || (change.type === "stream" && "verdict" in change) || (change.type === "chat" && "incarnation" in change);
}

const ready = event({ type: "ready", incarnation: ada, resumed: false });
const resumed = event({ type: "ready", incarnation: ada, resumed: true });
const open: Change = { type: "socket", status: "open", attempt: 0 };
const connecting: Change = { type: "socket", status: "connecting", attempt: 1 };
const closed: Change = { type: "socket", status: "closed", attempt: 0 };
const status = (model: Model): MeetingState["connection"]["status"] => view(model).connection.status;

test("the way into a room: idle, connecting, waiting, in the room", () => {
  let model = start();
  assert.equal(status(model), "idle");
  model = after(model, connecting, open);
  assert.equal(status(model), "connecting");
  model = after(model, ready);
  assert.equal(status(model), "waiting");
  model = after(model, epoch([ada]));
  assert.equal(status(model), "in-room");
});

test("a lost connection is shown as reconnecting until the session resumed, and the participants stay", () => {
  let model = after(start(), connecting, open, ready, epoch([ada, bo]));
  model = after(model, closed);
  assert.equal(status(model), "reconnecting");
  model = after(model, connecting, open);
  assert.equal(status(model), "reconnecting");
  assert.equal(view(model).participants.length, 2);
  assert.equal(status(after(model, resumed)), "in-room");
});

test("no device is known before it was checked, and one that pretends to be another's never is", () => {
  const pending = event({ ...epoch([ada, bo]), roster: [ada, bo].map((incarnation, leaf) => ({ leaf, incarnation, name: "n", device: "", proof: "pending", self: leaf === 0 })) });
  const proofs = (model: Model): string[] => view(model).participants.map(({ device, deviceProof }) => `${deviceProof} ${device}`);
  let model = after(start(), connecting, open, ready, pending);
  assert.deepEqual(proofs(model), ["pending ", "pending "]);
  model = after(model, event({ type: "devices", checked: [{ incarnation: ada, device: "d0", proof: "proven" }] }));
  assert.deepEqual(proofs(model), ["proven d0", "pending "]);
  model = after(model, event({ type: "devices", checked: [{ incarnation: bo, device: "", proof: "refuted" }] }));
  assert.deepEqual(proofs(model), ["proven d0", "refuted "]);
});

test("what is shown of the choice who may know how loud the microphone is, is what the meeting goes by", () => {
  assert.equal(view(start()).audioLevels, "hidden");
  assert.equal(view(after(start(), { type: "audio-levels", levels: "told" })).audioLevels, "told");
});

test("left and failed are final", () => {
  const left = after(start(), connecting, event({ type: "left" }));
  assert.equal(status(after(left, connecting, ready)), "left");
  const failed = after(start(), event({ type: "error", code: 3, text: "No.", fatal: true }));
  assert.equal(status(after(failed, connecting, epoch([ada]))), "failed");
});

function stream(): MediaStream {
  return {} as unknown as MediaStream; // an identity is all that the model uses of it
}

const proof = (who: string, source: "camera" | "screen" = "camera"): Change => ({
  type: "proof",
  proof: { connection: 4, mid: "v0", incarnation: id(who), leaf: 1, source },
});
const slots = (sequence: number, who: string, source: "camera" | "screen" = "camera"): Change => ({
  type: "slots",
  sequence,
  slots: [{ mid: "v0", incarnation: id(who), source }],
  voices: 40,
});
const camera = (model: Model, who: string) => view(model).participants.find((one) => one.id === who)?.camera;

test("a stream is shown only when its frames decrypt with the key of the member that the slot is said to carry", () => {
  const media = stream();
  const inRoom = after(start(), connecting, open, ready, epoch([ada, bo]), { type: "subscription", connection: 4 }, { type: "stream", connection: 4, mid: "v0", stream: media });
  const claimed = after(inRoom, slots(1, bo));
  assert.equal(camera(claimed, bo)?.stream, null);
  assert.equal(camera(claimed, bo)?.proof, "none");
  const proven = after(claimed, proof(bo));
  assert.equal(camera(proven, bo)?.stream, media);
  assert.equal(camera(proven, bo)?.proof, "encrypted");
  // The server says the slot carries somebody else's, or another source: nobody's picture is shown under a wrong name.
  assert.equal(camera(after(claimed, proof(bo, "screen")), bo)?.stream, null);
  assert.equal(camera(after(proven, slots(2, ada)), bo)?.stream, null);
  assert.equal(camera(after(proven, { type: "slots", sequence: 2, slots: [], voices: 40 }), bo)?.stream, null);
});

test("an older mapping of slots does not replace a newer one", () => {
  const model = after(start(), { type: "subscription", connection: 4 }, slots(5, bo), slots(4, ada));
  assert.equal(model.slots.get("v0")?.incarnation, bo);
});

test("the mapping outlives a media connection, but not the incarnation", () => {
  const model = after(start(), connecting, ready, { type: "subscription", connection: 4 }, slots(5, bo), { type: "subscription", connection: 5 });
  assert.equal(model.slots.size, 1);
  assert.equal(after(model, resumed).slots.size, 1);
  const anew = after(model, ready);
  assert.equal(anew.slots.size, 0);
  assert.equal(after(anew, slots(1, ada)).slots.get("v0")?.incarnation, ada);
});

test("proofs and streams of a closed connection do not count", () => {
  const model = after(start(), { type: "subscription", connection: 5 }, proof(bo), { type: "stream", connection: 4, mid: "v0", stream: stream() });
  assert.equal(model.proofs.size, 0);
  assert.equal(model.streams.size, 0);
});

test("what a member announces and its connection are shown, and forgotten with it", () => {
  let model = after(
    start(),
    connecting,
    open,
    ready,
    epoch([ada, bo]),
    event({ type: "application", leaf: 1, incarnation: bo, text: '{"type":"state","microphone":true,"camera":false,"screen":false}' }),
    event({ type: "present", incarnation: bo, connected: false }),
  );
  const other = view(model).participants[1];
  assert.equal(other?.microphone.on, true);
  assert.equal(other?.camera.on, false);
  assert.equal(other?.connected, false);
  model = after(model, epoch([ada], 1));
  assert.equal(model.announced.size, 0);
  assert.equal(model.away.size, 0);
});

test("what the others read is what they announce; who says nothing about it reads VP8, whoever said nothing at all is not known yet", () => {
  const says = (video: string) => event({ type: "application", leaf: 1, incarnation: bo, text: `{"type":"state","microphone":true,"camera":false,"screen":false${video}}` });
  const entered = after(start(), connecting, open, ready, epoch([ada, bo]));
  assert.deepEqual(codecsOfOthers(entered), [null]);
  assert.deepEqual(codecsOfOthers(after(entered, says(',"video":["av2","vp9","vp8"]'))), [["vp9", "vp8"]]);
  assert.deepEqual(codecsOfOthers(after(entered, says(""))), [["vp8"]]);
  assert.deepEqual(codecsOfOthers(after(entered, event({ type: "departed", incarnation: bo, leaf: 1, name: "Bo", cause: "goodbye", committer: "" }))), []);
});

test("an application message that is not an announcement is passed over", () => {
  for (const text of ["", "null", "[]", '{"type":"state"}', '{"type":"dance","microphone":true,"camera":true,"screen":true}']) {
    assert.equal(parseSessionEvent(JSON.stringify({ type: "application", leaf: 1, incarnation: bo, text })), null, text);
  }
});

test("the safety number comes in groups, with all its bits and the time of its change", () => {
  const number = view(after(start(), epoch([ada]))).safetyNumber;
  assert.deepEqual(number?.groups, ["12345", "67890", "12345", "67890", "12345", "67890"]);
  assert.deepEqual([...(number?.qrBits ?? [])], [0, 255, 16]);
  assert.equal(number?.changedAt, 5);
  assert.equal(number?.previous, null);
});

test("why the server does not let us in for now is said until it does, on the way in and on the way back", () => {
  const full = event({ type: "error", code: 7, text: "The room is full. Try again later.", fatal: false });
  const said = (model: Model): string | null => {
    const { connection } = view(model);
    return connection.status === "connecting" || connection.status === "reconnecting" ? connection.said : null;
  };
  const turnedAway = after(start(), connecting, open, full, closed);
  assert.equal(said(turnedAway), "The room is full. Try again later.");
  assert.equal(said(after(turnedAway, connecting)), "The room is full. Try again later.");
  const inside = after(turnedAway, connecting, open, ready, epoch([ada, bo]));
  assert.equal(said(after(inside, closed)), "");
  assert.equal(said(after(inside, closed, connecting, open, full, closed)), "The room is full. Try again later.");
  assert.equal(said(after(turnedAway, connecting, closed)), "", "and no longer once a connection ended without a word");
  assert.equal(said(after(inside, closed, connecting, open, full, closed, connecting, open, closed)), "");
});

test("what the server says is bounded, without what turns a text around, and quoted where the page speaks", () => {
  const says = (text: string, code = 7, fatal = true): Model => after(start(), connecting, open, event({ type: "error", code, text, fatal }));
  const message = (model: Model): string => {
    const { connection } = view(model);
    return connection.status === "failed" ? connection.error.message : "";
  };
  assert.equal(message(says("Call \u202e12\u200b3\u2069\u0007 now")), "The server says: “\u2068Call 123 now\u2069”");
  assert.equal(message(says("x".repeat(1000))).length, "The server says: “\u2068\u2069”".length + 200);
  assert.equal(message(says("\u202e")), "The server refused the connection.");
  assert.equal(message(says("Could not make new keys.", 0)), "Could not make new keys.", "that is our own");
  assert.equal(message(says("anything", 11)), "This room uses another encryption than the link says.");
  assert.equal(says("\u202e" + "x".repeat(1000), 7, false).said, "x".repeat(200));
});

test("the notice of failed media goes when both connections work", () => {
  const notice = { code: "media-connection-failed", message: "m", advice: "a" } as const;
  const failed = after(start(), { type: "media", side: "publish", state: "failed" }, { type: "notice", notice, id: 1 });
  const half = after(failed, { type: "media", side: "publish", state: "connected" });
  assert.equal(half.notices.length, 1);
  assert.equal(after(half, { type: "media", side: "subscribe", state: "connected" }).notices.length, 0);
});

test("a notice replaces the one of the same kind and can be dismissed", () => {
  const notice = { code: "device-lost", message: "m", advice: "a" } as const;
  let model = after(start(), { type: "notice", notice, id: 1 }, { type: "notice", notice, id: 2 });
  assert.deepEqual(model.notices.map((one) => one.id), [2]);
  model = after(model, { type: "dismiss", id: 2 });
  assert.deepEqual(model.notices, []);
});

test("a stream with frames that its member did not sign is marked as forged, for good, and no other one is", () => {
  const stream = { getTracks: () => [] } as unknown as MediaStream;
  const judged = (verdict: string) => event({ type: `stream_${verdict}`, leaf: 1, incarnation: bo, context: 1 });
  const proof = { connection: 1, mid: "v0", incarnation: id(bo), leaf: 1, source: "camera" } as const;
  const shown = after(
    start(), connecting, open, ready, epoch([ada, bo]),
    { type: "subscription", connection: 1 },
    { type: "stream", connection: 1, mid: "v0", stream },
    { type: "slots", sequence: 1, slots: [{ mid: "v0", incarnation: id(bo), source: "camera" }], voices: 40 },
    { type: "proof", proof },
  );
  const camera = (model: Model) => view(model).participants[1]?.camera.proof;
  assert.equal(camera(after(shown, judged("confirmed"))), "encrypted");
  assert.equal(camera(after(shown, judged("unconfirmed"))), "encrypted");
  const forged = after(shown, judged("forged"));
  assert.equal(camera(forged), "forged");
  assert.equal(camera(after(forged, judged("confirmed"), epoch([ada, bo], 1))), "forged");
  assert.equal(view(forged).participants[1]?.microphone.proof, "none");
  assert.equal(after(forged, epoch([ada], 1)).forged.size, 0);
});

test("a change of keys that does not come is shown while one is in the room, and no longer than it lasts", () => {
  const late = event({ type: "overdue", overdue: true });
  const inside = after(start(), connecting, open, ready, epoch([ada, bo]));
  assert.equal(view(inside).overdue, false);
  assert.equal(view(after(inside, late)).overdue, true);
  assert.equal(view(after(inside, late, event({ type: "overdue", overdue: false }))).overdue, false);
  assert.equal(view(after(inside, late, closed)).overdue, false);
  const anew = event({ type: "rejoining", reason: "gone", delay_ms: 0, committer: "" });
  assert.equal(view(after(inside, late, anew, connecting, open, ready, epoch([ada]))).overdue, false);
});

test("whose commit did not work is told with the epoch that heals it, once", () => {
  const inside = after(start(), connecting, open, ready, epoch([ada, bo]));
  const blamed = (model: Model) => view(model).safetyNumber?.reason.blamed;
  const departs = (cause: string, committer: string) => event({ type: "departed", incarnation: bo, leaf: 1, name: "Bo", cause, committer });
  assert.deepEqual(blamed(inside), []);
  assert.deepEqual(blamed(after(inside, departs("goodbye", ""), epoch([ada], 1))), []);
  const reported = after(inside, departs("could_not_follow", "Mallory"), departs("could_not_follow", "Mallory"), epoch([ada], 1));
  assert.deepEqual(blamed(reported), ["Mallory"]);
  assert.deepEqual(blamed(after(reported, epoch([ada], 2))), []);
  assert.deepEqual(blamed(after(inside, departs("reported", ""), epoch([ada], 1))), ["Bo"]);
  const anew = event({ type: "rejoining", reason: "cannot_process", delay_ms: 0, committer: "Mallory" });
  assert.deepEqual(blamed(after(inside, anew, connecting, open, ready, epoch([ada]))), ["Mallory"]);
});

const chat = (sender: string, number: number, text: string): SessionEvent => event({ type: "application", incarnation: sender, text: JSON.stringify({ type: "chat", number, text }) });

test("what others write stands under their names, in its order, once, and stays when they leave", () => {
  const model = after(start(), open, ready, epoch([ada, bo]), chat(bo, 0, "hello"), { type: "chat", calendarMs: 6, number: 0, text: "hi" }, chat(bo, 1, "again"), chat(bo, 0, "hello"), epoch([ada], 1));
  const shown = view(model).chat.map(({ name, isSelf, text, at }) => ({ name, isSelf, text, at }));
  assert.deepEqual(shown, [
    { name: "name 1", isSelf: false, text: "hello", at: 5 },
    { name: "name 0", isSelf: true, text: "hi", at: 6 },
    { name: "name 1", isSelf: false, text: "again", at: 5 },
  ]);
});

test("of more messages than are kept the oldest go", () => {
  const members = [ada, ...["b", "c", "d", "e", "f", "1"].map((digit) => digit.repeat(32))];
  const many = members.slice(1).flatMap((member) => Array.from({ length: 90 }, (_, number) => chat(member, number, `message ${number}`)));
  const { chat: kept } = view(after(start(), open, ready, epoch(members), ...many));
  assert.equal(kept.length, 500);
  assert.equal(kept[0]?.text, "message 40");
});

test("one member who writes very much drives away no other's message, and nothing comes twice for it", () => {
  const flood = Array.from({ length: 500 }, (_, number) => chat(bo, number, `message ${number}`));
  const model = after(start(), open, ready, epoch([ada, bo, cy]), chat(cy, 0, "hello"), ...flood);
  const { chat: kept } = view(model);
  assert.equal(kept.length, 101);
  assert.deepEqual([kept[0]?.text, kept[1]?.text], ["hello", "message 400"]);
  assert.equal(view(after(model, chat(bo, 390, "message 390"))).chat.length, 101, "it was there, and went");
  assert.ok([...model.read.values()].every((numbers) => numbers.length <= 128));
  assert.deepEqual([...after(model, epoch([ada], 1)).read.keys()], [cy, bo]);
});

test("a message that the removal of its writer overtook stands under their name", () => {
  const left = after(start(), open, ready, epoch([ada, bo]), epoch([ada], 1));
  assert.equal(view(after(left, chat(bo, 0, "goodbye"))).chat[0]?.name, "name 1");
});

test("what is sent again and overtaken by the removal of its writer is shown once, as long as their name is known", () => {
  const left = after(start(), open, ready, epoch([ada, bo]), chat(bo, 0, "goodbye"), epoch([ada], 1));
  assert.equal(view(after(left, chat(bo, 0, "goodbye"))).chat.length, 1);
  const others = Array.from({ length: 100 }, (_, number) => number.toString(16).padStart(32, "0"));
  const all = after(left, epoch([ada, ...others], 2), ...others.map((other) => chat(other, 0, "hello")), epoch([ada], 3));
  assert.deepEqual([...all.read.keys()], others.slice(-64));
});

test("nothing can be written while who has left holds the keys, until the next epoch", () => {
  const inside = after(start(), open, ready, epoch([ada, bo]), event({ type: "keys", sending: { era: 0, epoch: 0 } }));
  assert.deepEqual([canSend(inside), view(inside).withheld], [true, false]);
  const stopped = after(inside, event({ type: "keys", sending: null }));
  assert.deepEqual([canSend(stopped), view(stopped).withheld], [false, true]);
  const next = after(stopped, epoch([ada], 1));
  assert.deepEqual([canSend(next), view(next).withheld], [true, false]);
  assert.equal(view(after(stopped, closed)).withheld, false);
});

test("what one wrote in the minute before one came back as somebody new may not have arrived, and neither what the engine could not send", () => {
  const own = (number: number, calendarMs: number): Change => ({ type: "chat", calendarMs, number, text: `own ${number}` });
  const inside = after(start(), open, ready, epoch([ada, bo]), own(0, 0), own(1, 50_000), chat(bo, 1, "theirs"), own(2, 60_000));
  const doubtful = (model: Model): string[] => view(model).chat.filter(({ isDoubtful }) => isDoubtful).map(({ text }) => text);
  assert.deepEqual(doubtful(inside), []);
  assert.deepEqual(doubtful(after(inside, { type: "chat-doubtful", numbers: [1] })), ["own 1"]);
  const anew = event({ type: "rejoining", reason: "gone", delay_ms: 0, committer: "" });
  const rejoining: Change = { type: "session", event: anew, calendarMs: 61_000 };
  assert.deepEqual(doubtful(after(inside, rejoining)), ["own 1", "own 2"]);
});
