/** Media control: the text frames between client and server (docs/protocol.md s.6). */
import type { ParticipantId, Source } from "./api.ts";
import { arrayOf, CheckError, integer, matching, nullable, object, oneOf, record, text } from "./check.ts";
import { isParticipantId } from "./ids.ts";

const maxFrameLength = 64 * 1024;
const maxSlots = 1024;
const maxId = 2 ** 31;

export type ClientControl =
  | { readonly type: "publish"; readonly id: number; readonly sdp: string }
  | { readonly type: "restart"; readonly id: number; readonly sdp: string }
  | { readonly type: "sources"; readonly active: readonly Source[] }
  | { readonly type: "subscribe"; readonly id: number }
  | { readonly type: "answer"; readonly revision: number; readonly sdp: string }
  | { readonly type: "key_frame"; readonly mid: string };

/** A slot of the subscribing connection and what the server says it carries. The worker's proof is what counts. */
export interface Slot {
  readonly mid: string;
  readonly incarnation: ParticipantId;
  readonly source: Source | "screen_audio";
}

export type ServerControl =
  | { readonly type: "published"; readonly id: number; readonly sdp: string }
  | { readonly type: "offer"; readonly revision: number; readonly sdp: string }
  | { readonly type: "slots"; readonly sequence: number; readonly slots: readonly Slot[] }
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
const slots = object({ sequence: integer(0, Number.MAX_SAFE_INTEGER), slots: arrayOf(slot, maxSlots) });
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
    case "error":
      return { type, ...failure(value) };
    default:
      if (typeof type !== "string") throw new CheckError("a message without type");
      return null;
  }
}
