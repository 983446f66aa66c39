/** Media control: the text frames between client and server (docs/protocol.md s.6). */
import type { ParticipantId, Source } from "./api.ts";
import { arrayOf, boolean, CheckError, integer, matching, nullable, object, oneOf, record, text } from "./check.ts";
import { isParticipantId } from "./ids.ts";

const maxFrameLength = 64 * 1024;
const maxSlots = 1024;
/** Microphones that each is sent at most, unless the server says that it is fewer. */
export const mostVoices = 40;
const maxId = 2 ** 31;

export type ClientControl =
  | { readonly type: "publish"; readonly id: number; readonly sdp: string }
  | { readonly type: "restart"; readonly id: number; readonly sdp: string }
  | { readonly type: "sources"; readonly active: readonly Source[] }
  | { readonly type: "subscribe"; readonly id: number }
  | { readonly type: "answer"; readonly revision: number; readonly sdp: string }
  | { readonly type: "key_frame"; readonly mid: string }
  | { readonly type: "view"; readonly tiles: readonly TileView[]; readonly speakers?: SpeakersView }
  | { readonly type: "voices"; readonly of: readonly ParticipantId[] };

/** A slot that is on the screen, or a picture that would be if it had one, and how high, in device pixels. */
export type TileView =
  | { readonly mid: string; readonly height: number }
  | { readonly incarnation: ParticipantId; readonly source: Source; readonly height: number };

/** The cameras of so many who spoke last, and every screen, so high. */
export interface SpeakersView {
  readonly count: number;
  readonly height: number;
}

/** A slot of the subscribing connection and what the server says it carries. The worker's proof is what counts. */
export interface Slot {
  readonly mid: string;
  readonly incarnation: ParticipantId;
  readonly source: Source | "screen_audio";
}

/** How the path from the server to us does, as the server estimates it. */
export interface PathReport {
  readonly bitrate_kbps: number;
  readonly used_kbps: number;
  readonly wanted_kbps: number;
  readonly loss_percent: number;
  readonly round_trip_ms: number;
  readonly limited_by: "" | "delay" | "loss";
  readonly slots: readonly {
    readonly mid: string;
    readonly paused: boolean;
    readonly layer: number;
    readonly layers: number;
    readonly temporal: number;
    readonly limited_by: "" | "view" | "bandwidth" | "publisher";
  }[];
}

/** With what the server may be used as a TURN server, at the page's own port. */
export interface TurnCredentials {
  readonly username: string;
  readonly credential: string;
}

export type ServerControl =
  | { readonly type: "layers"; readonly source: Source | "screen_audio"; readonly active: readonly boolean[] }
  | ({ readonly type: "path" } & PathReport)
  | { readonly type: "published"; readonly id: number; readonly sdp: string }
  | { readonly type: "offer"; readonly revision: number; readonly sdp: string }
  | { readonly type: "slots"; readonly sequence: number; readonly slots: readonly Slot[]; readonly voices: number }
  | ({ readonly type: "turn" } & TurnCredentials)
  | { readonly type: "error"; readonly id: number | null; readonly code: string; readonly message: string };

const id = integer(1, maxId);
const sdp = text(maxFrameLength);
const published = object({ id, sdp });
const offer = object({ revision: integer(0, Number.MAX_SAFE_INTEGER), sdp });
const slot = object({
  mid: text(16),
  incarnation: matching(isParticipantId),
  source: oneOf("microphone", "camera", "screen", "screen_audio"),
});
const voices = integer(1, mostVoices);
const slots = object({
  sequence: integer(0, Number.MAX_SAFE_INTEGER),
  slots: arrayOf(slot, maxSlots),
  voices: (value) => (value === undefined ? mostVoices : voices(value)),
});
const layers = object({ source: oneOf("microphone", "camera", "screen", "screen_audio"), active: arrayOf(boolean, 4) });
const count = integer(0, 2 ** 32 - 1);
const path = object({
  bitrate_kbps: count,
  used_kbps: count,
  wanted_kbps: count,
  loss_percent: integer(0, 100),
  round_trip_ms: count,
  limited_by: oneOf("", "delay", "loss"),
  slots: arrayOf(
    object({
      mid: text(16),
      paused: boolean,
      layer: integer(0, 4),
      layers: integer(1, 4),
      temporal: integer(0, 8),
      limited_by: oneOf("", "view", "bandwidth", "publisher"),
    }),
    maxSlots,
  ),
});
const turn = object({ username: text(128), credential: text(128) });
const failure = object({ id: nullable(id), code: text(64), message: text(1024) });

/** Null for a type that this version does not know; throws CheckError for anything else that is not as written down. */
export function parseServerControl(frame: string): ServerControl | null {
  if (frame.length > maxFrameLength) throw new CheckError("frame too long");
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    throw new CheckError("not JSON");
  }
  const type = record(value)["type"];
  switch (type) {
    case "published":
      return { type, ...published(value) };
    case "offer":
      return { type, ...offer(value) };
    case "slots":
      return { type, ...slots(value) };
    case "layers":
      return { type, ...layers(value) };
    case "path":
      return { type, ...path(value) };
    case "turn":
      return { type, ...turn(value) };
    case "error":
      return { type, ...failure(value) };
    default:
      if (typeof type !== "string") throw new CheckError("a message without type");
      return null;
  }
}
