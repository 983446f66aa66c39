/**
 * The publishing connection. Order matters, since browsers send plaintext when a transform comes too late: transceiver
 * without track, transform in the same turn, offer, and only then a track. A transform is never removed.
 */
import type { Source } from "./api.ts";
import { baseCodec, codecName, isOurs, type VideoCodec } from "./codecs.ts";
import type { TurnCredentials } from "./control.ts";
import { mediaKind, sources } from "./ids.ts";
import type { TransformOptions } from "./messages.ts";
import { newPeerConnection, nextConnectionNumber, offerAudioLevel, offerDependencyDescriptor, restrictCodecs, sdpLine, withAllowedExtensions, withResentSound } from "./peer.ts";

/** TypeScript's DOM library does not know it yet. */
interface EncodingWithCodec extends RTCRtpEncodingParameters {
  codec?: RTCRtpCodec;
}

/** Chromium's choice of layers within a stream. */
interface LayeredEncoding extends RTCRtpEncodingParameters {
  scalabilityMode?: string;
}

/**
 * The camera in three sizes, smallest first, of which the server sends each member the one that its screen and path have room for. Where the browser
 * cannot say which layer a packet belongs to in every codec, one size.
 */
const simulcast: readonly LayeredEncoding[] = [
  { rid: "q", scalabilityMode: "L1T3" },
  { rid: "h", scalabilityMode: "L1T3" },
  { rid: "f", scalabilityMode: "L1T3" },
];
/**
 * Of a small camera Chromium encodes fewer sizes, and then the first of the list: two below 960 × 540, one below 480 × 270. So that the whole picture is among
 * them, they are shrunk less, and each has the bitrate of its size.
 */
export function cameraSizes(width: number | undefined, height: number | undefined): readonly { readonly scaleResolutionDownBy: number; readonly maxBitrate: number }[] {
  const pixels = (width ?? Infinity) * (height ?? Infinity);
  const count = pixels >= 960 * 540 ? 3 : pixels >= 480 * 270 ? 2 : 1;
  const bitrates = count === 1 ? [450_000] : [150_000, 450_000, 1_200_000].slice(3 - count);
  return bitrates.map((maxBitrate, index) => ({ scaleResolutionDownBy: 2 ** (count - 1 - index), maxBitrate }));
}

const hasSimulcast = "setHeaderExtensionsToNegotiate" in (globalThis.RTCRtpTransceiver?.prototype ?? {});

const maxBitrate: Readonly<Record<Source, number>> = { microphone: 48_000, camera: 1_200_000, screen: 2_500_000 };

export class PublishConnection {
  readonly number = nextConnectionNumber();
  readonly hasTurn: boolean;
  readonly #connection: RTCPeerConnection;
  readonly #senders: ReadonlyMap<Source, RTCRtpSender>;
  readonly #stopped = new Set<Source>();
  readonly #sent = new SentTotals();
  #codec: VideoCodec = baseCodec;
  #changes: Promise<void> = Promise.resolve();
  readonly #tellsLevels: () => boolean;
  #offersLevels = false;

  /** `tellsLevels`: the server may know how loud the microphone is, and so who speaks (RFC 6464). */
  constructor(worker: Worker, tellsLevels: () => boolean, turn: TurnCredentials | null, onState: (state: RTCPeerConnectionState) => void) {
    this.#tellsLevels = tellsLevels;
    this.hasTurn = turn !== null;
    this.#connection = newPeerConnection(turn);
    this.#senders = new Map(sources.map((source) => [source, this.#addSender(worker, source)]));
    this.#connection.onconnectionstatechange = () => onState(this.#connection.connectionState);
  }

  get state(): RTCPeerConnectionState {
    return this.#connection.connectionState;
  }

  /** It has offered them, and a server that took the offer gets them until the connection is closed: only its answer to another offer would end that. */
  get offersLevels(): boolean {
    return this.#offersLevels;
  }

  /** With new ICE credentials when it is not the first. */
  async offer(): Promise<string> {
    this.#offersLevels ||= this.#tellsLevels();
    const isFirst = this.#connection.localDescription === null;
    const microphone = this.#connection.getTransceivers().find(({ sender }) => sender === this.#senders.get("microphone"));
    if (this.#offersLevels && microphone !== undefined) offerAudioLevel(microphone);
    const offer = await this.#connection.createOffer({ iceRestart: !isFirst });
    const resending = withResentSound(offer.sdp ?? "");
    await this.#connection.setLocalDescription({ type: "offer", sdp: resending }).catch(() => this.#connection.setLocalDescription(offer));
    return withAllowedExtensions(this.#connection.localDescription?.sdp ?? "", this.#offersLevels);
  }

  /** False for the answer of a server that started anew: it needs a new connection. */
  canContinueWith(answer: string): boolean {
    const before = this.#connection.remoteDescription?.sdp;
    return before === undefined || sdpLine(before, "a=fingerprint:") === sdpLine(answer, "a=fingerprint:");
  }

  async accept(sdp: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "answer", sdp: withAllowedExtensions(sdp, this.#offersLevels) });
    await this.#applyCodec();
  }

  /** From the next frame on, which is a key frame. */
  async setVideoCodec(codec: VideoCodec): Promise<void> {
    if (this.#codec === codec) return;
    this.#codec = codec;
    await this.#applyCodec();
  }

  /** Which of the source's streams somebody watches; the others are not encoded. */
  setLayers(source: Source, active: readonly boolean[]): Promise<void> {
    return this.#change(source, async (sender) => {
      const parameters = sender.getParameters();
      if (parameters.encodings.length !== active.length || this.#stopped.has(source)) return;
      parameters.encodings.forEach((encoding, index) => (encoding.active = active[index] ?? true));
      await sender.setParameters(parameters).catch(() => undefined);
    });
  }

  async #applyCodec(): Promise<void> {
    for (const source of sources) {
      if (mediaKind(source) !== "video") continue;
      await this.#change(source, async (sender) => {
        if (this.#connection.remoteDescription === null) return;
        const parameters = sender.getParameters();
        // Of what was negotiated: Firefox compares the format parameters too, which are not those of its capabilities any more.
        const wanted = parameters.codecs.find((codec) => isOurs(codec) && codecName(codec) === this.#codec);
        if (wanted === undefined) return;
        for (const encoding of parameters.encodings as EncodingWithCodec[]) encoding.codec = wanted;
        // A browser that cannot goes on with what was negotiated first, which everybody reads.
        await sender.setParameters(parameters).catch(() => undefined);
      });
    }
  }

  setTrack(source: Source, track: MediaStreamTrack | null): Promise<void> {
    return this.#change(source, async (sender) => {
      // Without a transform Firefox would send the frames as they are. It stands there since the sender was made; should it not, nothing leaves.
      const wanted = (): MediaStreamTrack | null => (this.#stopped.has(source) || sender.transform == null ? null : track);
      if (sender.track === wanted()) return;
      if (source === "camera" && track !== null) await setSizes(sender, track.getSettings());
      await sender.replaceTrack(wanted());
    });
  }

  /** The watchdog's: this source never sends again on this connection. */
  async stop(source: Source): Promise<void> {
    this.#stopped.add(source);
    // At once, whatever other change is still under way.
    if (this.#connection.connectionState !== "closed") await this.#senders.get(source)?.replaceTrack(null);
    // Without a track Firefox would go on with a black picture each second.
    await this.#change(source, async (sender) => {
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) encoding.active = false;
      await sender.setParameters(parameters).catch(() => undefined);
    });
  }

  /** One at a time: each begins with what the one before has left. */
  #change(source: Source, work: (sender: RTCRtpSender) => Promise<void>): Promise<void> {
    const done = this.#changes.then(async () => {
      const sender = this.#senders.get(source);
      if (sender !== undefined && this.#connection.connectionState !== "closed") await work(sender);
    });
    this.#changes = done.catch(() => undefined);
    return done;
  }

  /** Of each source's outgoing stream, as far as the browser has them; with what was sent in all, in whatever codec. */
  async outbound(): Promise<ReadonlyMap<Source, Outbound>> {
    const found = new Map<Source, Outbound>();
    for (const [source, sender] of this.#senders) {
      const reports = await sender.getStats();
      let bytes = 0;
      for (const report of reports.values() as Iterable<RTCStats>) {
        if (!isOutbound(report)) continue;
        this.#sent.note(source, report);
        bytes += report.bytesSent ?? 0;
        // Of several streams the largest speaks for all.
        const largest = found.get(source)?.stats;
        if (largest !== undefined && (largest.frameWidth ?? 0) > (report.frameWidth ?? 0)) continue;
        const codec = report.codecId === undefined ? undefined : (reports.get(report.codecId) as { mimeType?: string } | undefined);
        found.set(source, { stats: report, sent: 0, bytes: 0, codec: codec?.mimeType ?? null });
      }
      const all = found.get(source);
      if (all !== undefined) found.set(source, { ...all, sent: this.#sent.of(source), bytes });
    }
    return found;
  }

  close(): void {
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }

  #addSender(worker: Worker, source: Source): RTCRtpSender {
    const transceiver = this.#connection.addTransceiver(mediaKind(source), {
      direction: "sendonly",
      sendEncodings: source === "camera" && hasSimulcast ? cameraSizes(undefined, undefined).map((size, index) => ({ ...simulcast[index], ...size })) : [{ maxBitrate: maxBitrate[source] }],
    });
    const options: TransformOptions = { role: "sender", connection: this.number, source };
    transceiver.sender.transform = new RTCRtpScriptTransform(worker, options);
    restrictCodecs(transceiver, mediaKind(source));
    if (mediaKind(source) === "video") offerDependencyDescriptor(transceiver);
    return transceiver.sender;
  }
}

/** All that are encoded are on: which of them are wanted was said of others. */
async function setSizes(sender: RTCRtpSender, { width, height }: MediaTrackSettings): Promise<void> {
  const parameters = sender.getParameters();
  if (parameters.encodings.length !== simulcast.length) return; // it is sent in one size, or in layers of one stream
  const wanted = cameraSizes(width, height);
  if (wanted.every(({ scaleResolutionDownBy }, index) => parameters.encodings[index]?.scaleResolutionDownBy === scaleResolutionDownBy)) return;
  wanted.forEach((size, index) => Object.assign(parameters.encodings[index] ?? {}, size, { active: true }));
  await sender.setParameters(parameters).catch(() => undefined);
}

function isOutbound(report: RTCStats): report is RTCOutboundRtpStreamStats {
  return report.type === "outbound-rtp";
}

export interface Outbound {
  readonly stats: RTCOutboundRtpStreamStats;
  readonly sent: number;
  /** Of all its streams. */
  readonly bytes: number;
  readonly codec: string | null;
}

/** How much each source has sent. The browser's own counts begin anew with each stream, in Firefox with each codec too. */
export class SentTotals {
  readonly #sources = new Map<Source, Map<string, { before: number; last: number; timestamp: number }>>();

  /** Frames for video; for audio each is a packet, and what went a second time is the one that was counted. */
  note(source: Source, stats: RTCOutboundRtpStreamStats): void {
    const streams = this.#sources.get(source) ?? new Map<string, { before: number; last: number; timestamp: number }>();
    this.#sources.set(source, streams);
    const count = (mediaKind(source) === "video" ? stats.framesSent : (stats.packetsSent ?? 0) - (stats.retransmittedPacketsSent ?? 0)) ?? 0;
    const key = `${stats.id}/${stats.ssrc}`;
    const known = streams.get(key) ?? { before: 0, last: 0, timestamp: 0 };
    if (stats.timestamp < known.timestamp) return; // two ask at a time, and an older answer is no new beginning
    const before = count < known.last ? known.before + known.last : known.before;
    streams.set(key, { before, last: count, timestamp: stats.timestamp });
  }

  of(source: Source): number {
    return [...(this.#sources.get(source)?.values() ?? [])].reduce((sum, stream) => sum + stream.before + stream.last, 0);
  }
}
