import type { ParticipantId, Source } from "./api.ts";

const participantPattern = /^[0-9a-f]{32}$/;

export function isParticipantId(value: string): value is ParticipantId {
  return participantPattern.test(value);
}

export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** In the order of the m-lines of the publishing connection (docs/protocol.md s.6). */
export const sources = ["microphone", "camera", "screen"] as const satisfies readonly Source[];

export function mediaKind(source: Source): "audio" | "video" {
  return source === "microphone" ? "audio" : "video";
}

/** The context of a sender's key (docs/protocol.md s.4). */
export function contextOf(source: Source): number {
  return sources.indexOf(source);
}

export function sourceOf(context: number): Source | null {
  return sources[context] ?? null;
}
