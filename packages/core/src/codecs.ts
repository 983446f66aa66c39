/**
 * Which codec a member sends. Everything of ours is negotiated once; a member says what it reads in its announcement, and each sender takes the
 * best that all the others read. A change needs no negotiation: the next frame is a key frame of the other codec.
 */
export type VideoCodec = "av1" | "vp9" | "vp8" | "h264";

/** Best first: by the quality that a bit buys, and H.264 where nothing else is. */
export const videoCodecs = ["av1", "vp9", "vp8", "h264"] as const satisfies readonly VideoCodec[];
/** What every browser has (RFC 7742 s.5), and what a member reads that has not said anything. */
export const baseCodec: VideoCodec = "vp8";

/** AV1 takes about twice the work of VP8 at each end: not where all of a meeting runs on a few cores. */
const coresForAv1 = 4;

export function isVideoCodec(name: string): name is VideoCodec {
  return videoCodecs.some((codec) => codec === name);
}

/** What of a browser's list is ours: the profiles in docs/protocol.md s.6, and their retransmissions. */
export function isOurs(codec: RTCRtpCodec): boolean {
  const parameters = codec.sdpFmtpLine ?? "";
  switch (codec.mimeType.toLowerCase()) {
    case "audio/opus":
    case "video/vp8":
    case "video/rtx":
      return true;
    case "video/vp9":
    case "video/av1":
      return !/(?:^|;)\s*profile(?:-id)?=[1-9]/.test(parameters);
    case "video/h264":
      return /packetization-mode=1/.test(parameters) && /profile-level-id=42e0/i.test(parameters);
    default:
      return false;
  }
}

export function codecName(codec: RTCRtpCodec): string {
  return codec.mimeType.replace(/^.*\//, "").toLowerCase();
}

/** Ours of what the browser reads and sends, best first. */
export function usableVideoCodecs(cores: number = globalThis.navigator.hardwareConcurrency): readonly VideoCodec[] {
  const names = (codecs: readonly RTCRtpCodec[] | undefined): ReadonlySet<string> =>
    new Set((codecs ?? []).filter(isOurs).map(codecName));
  const reads = names(RTCRtpReceiver.getCapabilities("video")?.codecs);
  const sends = names(RTCRtpSender.getCapabilities("video")?.codecs);
  return videoCodecs.filter((codec) => reads.has(codec) && sends.has(codec) && (codec !== "av1" || cores >= coresForAv1));
}

/**
 * The codec to send. `others` is what each of the others reads; null for one that came a moment ago and has not said it yet: for its sake
 * nothing gets worse, and nothing better either.
 */
export function chooseVideoCodec(
  own: readonly VideoCodec[],
  others: readonly (readonly VideoCodec[] | null)[],
  present: VideoCodec,
): VideoCodec {
  const allRead = (codec: VideoCodec): boolean => others.every((reads) => reads === null || reads.includes(codec));
  const best = videoCodecs.find((codec) => own.includes(codec) && allRead(codec)) ?? baseCodec;
  const waits = others.includes(null) && videoCodecs.indexOf(best) < videoCodecs.indexOf(present);
  return waits ? present : best;
}
