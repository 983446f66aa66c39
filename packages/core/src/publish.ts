/**
 * The publishing connection. Order matters, since browsers send plaintext when a transform comes too late: transceiver
 * without track, transform in the same turn, offer, and only then a track. A transform is never removed.
 */
import type { Source } from "./api.ts";
import { mediaKind, sources } from "./ids.ts";
import type { TransformOptions } from "./messages.ts";
import { newPeerConnection, nextConnectionNumber, restrictCodecs, sdpLine, withAllowedExtensions } from "./peer.ts";

const maxBitrate: Readonly<Record<Source, number>> = { microphone: 48_000, camera: 1_200_000, screen: 2_500_000 };

export class PublishConnection {
  readonly number = nextConnectionNumber();
  readonly #connection = newPeerConnection();
  readonly #senders: ReadonlyMap<Source, RTCRtpSender>;
  readonly #stopped = new Set<Source>();

  constructor(worker: Worker, onState: (state: RTCPeerConnectionState) => void) {
    this.#senders = new Map(sources.map((source) => [source, this.#addSender(worker, source)]));
    this.#connection.onconnectionstatechange = () => onState(this.#connection.connectionState);
  }

  get state(): RTCPeerConnectionState {
    return this.#connection.connectionState;
  }

  /** With new ICE credentials when it is not the first. */
  async offer(): Promise<string> {
    const isFirst = this.#connection.localDescription === null;
    const offer = await this.#connection.createOffer({ iceRestart: !isFirst });
    await this.#connection.setLocalDescription(offer);
    return this.#connection.localDescription?.sdp ?? "";
  }

  /** False for the answer of a server that started anew: it needs a new connection. */
  canContinueWith(answer: string): boolean {
    const before = this.#connection.remoteDescription?.sdp;
    return before === undefined || sdpLine(before, "a=fingerprint:") === sdpLine(answer, "a=fingerprint:");
  }

  async accept(sdp: string): Promise<void> {
    await this.#connection.setRemoteDescription({ type: "answer", sdp: withAllowedExtensions(sdp) });
  }

  async setTrack(source: Source, track: MediaStreamTrack | null): Promise<void> {
    const sender = this.#senders.get(source);
    const wanted = this.#stopped.has(source) ? null : track;
    if (sender === undefined || sender.track === wanted || this.#connection.connectionState === "closed") return;
    await sender.replaceTrack(wanted);
  }

  /** The watchdog's: this source never sends again on this connection. */
  async stop(source: Source): Promise<void> {
    this.#stopped.add(source);
    await this.setTrack(source, null);
  }

  /** Of each source's outgoing stream, as far as the browser has them. */
  async outbound(): Promise<ReadonlyMap<Source, RTCOutboundRtpStreamStats>> {
    const found = new Map<Source, RTCOutboundRtpStreamStats>();
    for (const [source, sender] of this.#senders) {
      for (const report of (await sender.getStats()).values() as Iterable<RTCStats>) {
        if (isOutbound(report)) found.set(source, report);
      }
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
      sendEncodings: [{ maxBitrate: maxBitrate[source] }],
    });
    const options: TransformOptions = { role: "sender", connection: this.number, source };
    transceiver.sender.transform = new RTCRtpScriptTransform(worker, options);
    restrictCodecs(transceiver, mediaKind(source));
    return transceiver.sender;
  }
}

function isOutbound(report: RTCStats): report is RTCOutboundRtpStreamStats {
  return report.type === "outbound-rtp";
}

/** More left than the worker encrypted: something went out in the clear. Frames for video; for audio each is a packet. */
export function outranWorker(source: Source, stats: RTCOutboundRtpStreamStats, protectedFrames: number): boolean {
  const sent = mediaKind(source) === "video" ? stats.framesSent : stats.packetsSent;
  return (sent ?? 0) > protectedFrames;
}
