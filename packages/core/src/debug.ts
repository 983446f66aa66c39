/** `window.satsumaDebug`, on pages with `?debug=1` only: what the end-to-end tests read. */
import type { MeetingState, MeetingStats } from "./api.ts";
import type { VideoCodec } from "./codecs.ts";
import type { Counts, EncoderRecording } from "./messages.ts";

export interface DebugHook {
  state(): MeetingState;
  stats(): Promise<MeetingStats>;
  /** With `record=1`: parts of the latest frames that the encoders made. */
  encoderOutput(): Promise<readonly EncoderRecording[]>;
  /** Send this codec, whatever the others read; null: what the room takes. */
  sendCodec(codec: VideoCodec | null): void;
  /** The worker's own counts. */
  counts(): Promise<Counts | null>;
  /** performance.timeOrigin + performance.now() at join(). */
  startedAt(): number | null;
}

export function installDebugHook(hook: DebugHook): void {
  Object.defineProperty(globalThis, "satsumaDebug", { value: hook, configurable: true });
}
