/** What a test can ask for in the page's address, with `?debug=1`; without it nothing here has any effect. */
import type { VideoSize } from "./capture.ts";
import { isVideoCodec, type VideoCodec } from "./codecs.ts";

export interface DebugOptions {
  readonly enabled: boolean;
  /** `video=320x180`: the size of the camera's picture. */
  readonly videoSize: VideoSize | null;
  /** `record=1`: keep parts of what the encoders made, to look for them at the server. */
  readonly recordEncoderOutput: boolean;
  /** `reads=vp9,vp8`: say that only these are read. */
  readonly reads: readonly VideoCodec[] | null;
}

const none: DebugOptions = { enabled: false, videoSize: null, recordEncoderOutput: false, reads: null };

export function debugOptions(search: string = globalThis.location.search): DebugOptions {
  const parameters = new URLSearchParams(search);
  if (parameters.get("debug") !== "1") return none;
  const [, width, height] = /^(\d{2,4})x(\d{2,4})$/.exec(parameters.get("video") ?? "") ?? [];
  return {
    enabled: true,
    videoSize: width === undefined || height === undefined ? null : { width: Number(width), height: Number(height) },
    recordEncoderOutput: parameters.get("record") === "1",
    reads: parameters.get("reads")?.split(",").filter(isVideoCodec) ?? null,
  };
}
