/** What the WASM session tells, as checked values (apps/wasm/README.md, "Events"). */
import type { ParticipantId } from "./api.ts";
import { cleanChat, maxChatLength, type Written } from "./chat.ts";
import { arrayOf, attempt, boolean, CheckError, integer, matching, nullable, object, oneOf, record, text } from "./check.ts";
import { baseCodec, isVideoCodec, type VideoCodec } from "./codecs.ts";
import { isParticipantId } from "./ids.ts";

const maxMembers = 4096;
const maxName = 256; // UTF-16 units; 64 bytes of UTF-8 on the wire
const leafIndex = integer(0, 2 ** 32 - 1);
const counter = integer(0, Number.MAX_SAFE_INTEGER);

export interface RosterEntry {
  readonly leaf: number;
  readonly incarnation: ParticipantId;
  readonly name: string;
  /** Empty unless proven. */
  readonly device: string;
  readonly proof: "pending" | "proven" | "refuted";
  readonly self: boolean;
}

/** What a member says about its own sources (docs/protocol.md s.5). */
export interface Announcement {
  readonly microphone: boolean;
  readonly camera: boolean;
  readonly screen: boolean;
  /** The codecs that it reads. */
  readonly video: readonly VideoCodec[];
}

const deviceProof = oneOf("pending", "proven", "refuted");
const rosterEntry = object({
  leaf: leafIndex,
  incarnation: matching(isParticipantId),
  name: text(maxName),
  device: text(128),
  proof: deviceProof,
  self: boolean,
});
const devices = object({ checked: arrayOf(object({ incarnation: matching(isParticipantId), device: text(128), proof: deviceProof }), maxMembers) });
const ready = object({ incarnation: matching(isParticipantId), resumed: boolean });
const waiting = object({ reason: oneOf("no_secret", "not_admitted", "empty") });
const epoch = object({
  era: counter,
  epoch: counter,
  self: leafIndex,
  roster: arrayOf(rosterEntry, maxMembers),
  safety_number: text(64),
  authenticator: text(256),
  previous: nullable(text(64)),
  reason: object({
    kind: oneOf("entered", "changed", "refreshed", "new_era"),
    joined: arrayOf(text(maxName), maxMembers),
    left: arrayOf(text(maxName), maxMembers),
  }),
  designated: nullable(leafIndex),
});
const departed = object({
  incarnation: matching(isParticipantId),
  name: text(maxName),
  cause: oneOf("goodbye", "lost", "stalled", "could_not_follow", "reported"),
  committer: text(maxName),
});
const overdue = object({ overdue: boolean });
const present = object({ incarnation: matching(isParticipantId), connected: boolean });
const application = object({ incarnation: matching(isParticipantId), text: text(16 * 1024) });
const keys = object({ sending: nullable(object({ era: counter, epoch: counter })) });
const stream = object({ incarnation: matching(isParticipantId), context: integer(0, 3) });
const rejoining = object({ reason: text(64), committer: text(maxName) });
const failure = object({ code: integer(-(2 ** 31), 2 ** 31), text: text(1024), fatal: boolean });
const voice = object({ type: oneOf("voice") });
const chat = object({ type: oneOf("chat"), number: counter, text: text(maxChatLength) });
const announcement = object({ type: oneOf("state"), microphone: boolean, camera: boolean, screen: boolean, video: nullable(arrayOf(text(16), 16)) });

export type SessionEvent =
  | ({ readonly type: "ready" } & ReturnType<typeof ready>)
  | ({ readonly type: "waiting" } & ReturnType<typeof waiting>)
  | ({ readonly type: "epoch" } & ReturnType<typeof epoch>)
  /** Of these it is known now which device they are, or that they are not the one that they claim to be. */
  | ({ readonly type: "devices" } & ReturnType<typeof devices>)
  | ({ readonly type: "departed" } & ReturnType<typeof departed>)
  | ({ readonly type: "overdue" } & ReturnType<typeof overdue>)
  | ({ readonly type: "present" } & ReturnType<typeof present>)
  | { readonly type: "announcement"; readonly incarnation: ParticipantId; readonly announcement: Announcement }
  /** A member says that it began to speak. */
  | { readonly type: "voice"; readonly incarnation: ParticipantId }
  /** A member wrote something; the same number again is the same message again. */
  | ({ readonly type: "chat"; readonly incarnation: ParticipantId } & Written)
  | ({ readonly type: "keys" } & ReturnType<typeof keys>)
  /** Whether what is received of a stream is what its sender signed; "forged" stays. */
  | ({ readonly type: "stream"; readonly verdict: "confirmed" | "unconfirmed" | "forged" } & ReturnType<typeof stream>)
  | ({ readonly type: "rejoining" } & ReturnType<typeof rejoining>)
  | ({ readonly type: "error" } & ReturnType<typeof failure>)
  | { readonly type: "left" };

/** Null for what this version does not know; throws CheckError for a known type that is not as written down. */
export function parseSessionEvent(json: string): SessionEvent | null {
  const value: unknown = JSON.parse(json);
  const type = record(value)["type"];
  switch (type) {
    case "ready":
      return { type, ...ready(value) };
    case "waiting":
      return { type, ...waiting(value) };
    case "epoch":
      return { type, ...epoch(value) };
    case "devices":
      return { type, ...devices(value) };
    case "departed":
      return { type, ...departed(value) };
    case "overdue":
      return { type, ...overdue(value) };
    case "present":
      return { type, ...present(value) };
    case "application": {
      const message = application(value);
      return parseMessage(message.incarnation, message.text);
    }
    case "keys":
      return { type, ...keys(value) };
    case "stream_confirmed":
      return { type: "stream", verdict: "confirmed", ...stream(value) };
    case "stream_unconfirmed":
      return { type: "stream", verdict: "unconfirmed", ...stream(value) };
    case "stream_forged":
      return { type: "stream", verdict: "forged", ...stream(value) };
    case "rejoining":
      return { type, ...rejoining(value) };
    case "error":
      return { type, ...failure(value) };
    case "left":
      return { type };
    default:
      if (typeof type !== "string") throw new CheckError("an event without type");
      return null;
  }
}

/** Another member wrote this: anything may stand in it. */
function parseMessage(incarnation: ParticipantId, json: string): SessionEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return null;
  }
  if (attempt(voice, value) !== null) return { type: "voice", incarnation };
  const written = attempt(chat, value);
  if (written !== null) {
    // The sender's program should have done it, and may be anybody's.
    const clean = cleanChat(written.text);
    return clean === "" ? null : { type: "chat", incarnation, number: written.number, text: clean };
  }
  const content = parseAnnouncement(value);
  return content === null ? null : { type: "announcement", incarnation, announcement: content };
}

function parseAnnouncement(value: unknown): Announcement | null {
  const content = attempt(announcement, value);
  if (content === null) return null;
  const { microphone, camera, screen } = content;
  // Later versions may know more codecs, earlier ones say nothing.
  return { microphone, camera, screen, video: content.video?.filter(isVideoCodec) ?? [baseCodec] };
}

export function writeAnnouncement(state: Announcement): string {
  return JSON.stringify({ type: "state", microphone: state.microphone, camera: state.camera, screen: state.screen, video: state.video });
}

export function writeChat({ number, text: words }: Written): string {
  return JSON.stringify({ type: "chat", number, text: words });
}

export const voiceMessage = JSON.stringify({ type: "voice" });
