/** The subscribing connection: the server offers slots, each gets its transform in the turn of its track event. */
import type { TurnCredentials } from "./control.ts";
import type { TransformOptions } from "./messages.ts";
import { newPeerConnection, nextConnectionNumber, sdpLine, shortenedAnswer } from "./peer.ts";

export class SubscribeConnection {
  readonly number = nextConnectionNumber();
  readonly hasTurn: boolean;
  readonly #connection: RTCPeerConnection;
  readonly #fingerprint: string | null;
  readonly #loudness = new Map<string, { readonly energy: number; readonly seconds: number }>();

  constructor(
    worker: Worker,
    firstOffer: string,
    onTrack: (mid: string, stream: MediaStream) => void,
    turn: TurnCredentials | null,
    onState: (state: RTCPeerConnectionState) => void,
  ) {
    this.hasTurn = turn !== null;
    this.#connection = newPeerConnection(turn);
    this.#fingerprint = serverFingerprint(firstOffer);
    this.#connection.ontrack = ({ transceiver, receiver, track }) => {
      const mid = transceiver.mid ?? "";
      const kind = track.kind === "audio" ? "audio" : "video";
      const options: TransformOptions = { role: "receiver", connection: this.number, mid, kind };
      receiver.transform = new RTCRtpScriptTransform(worker, options);
      onTrack(mid, new MediaStream([track]));
    };
    this.#connection.onconnectionstatechange = () => onState(this.#connection.connectionState);
  }

  get state(): RTCPeerConnectionState {
    return this.#connection.connectionState;
  }

  /** False for the offer of a server that started anew: it needs a new connection. */
  canContinueWith(offer: string): boolean {
    return this.#fingerprint === serverFingerprint(offer) && this.#connection.connectionState !== "closed";
  }

  async answer(offer: string): Promise<string> {
    await this.#connection.setRemoteDescription({ type: "offer", sdp: offer });
    await this.#connection.setLocalDescription(await this.#connection.createAnswer());
    return shortenedAnswer(this.#connection.localDescription?.sdp ?? "");
  }

  /** By mid. */
  async inbound(): Promise<ReadonlyMap<string, RTCInboundRtpStreamStats>> {
    const found = new Map<string, RTCInboundRtpStreamStats>();
    for (const transceiver of this.#connection.getTransceivers()) {
      if (transceiver.mid === null) continue;
      for (const report of (await transceiver.receiver.getStats()).values() as Iterable<RTCStats>) {
        if (isInbound(report)) found.set(transceiver.mid, report);
      }
    }
    return found;
  }

  /** How loud what came over these lines has been since the last call, 0 to 1, by mid. */
  async levels(mids: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    const wanted = this.#connection.getTransceivers().filter(({ mid }) => mid !== null && mids.has(mid));
    const reports = await Promise.all(wanted.map(({ receiver }) => receiver.getStats()));
    for (const [index, { mid }] of wanted.entries()) {
      for (const report of (reports[index]?.values() ?? []) as Iterable<RTCStats>) {
        if (mid === null || !isInbound(report)) continue;
        const now = { energy: report.totalAudioEnergy ?? 0, seconds: report.totalSamplesDuration ?? 0 };
        const before = this.#loudness.get(mid);
        this.#loudness.set(mid, now);
        const seconds = before === undefined ? 0 : now.seconds - before.seconds;
        found.set(mid, before === undefined || seconds <= 0 ? 0 : Math.sqrt(Math.max(0, now.energy - before.energy) / seconds));
      }
    }
    return found;
  }

  close(): void {
    this.#connection.ontrack = null;
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }
}

function isInbound(report: RTCStats): report is RTCInboundRtpStreamStats {
  return report.type === "inbound-rtp";
}

function serverFingerprint(sdp: string): string | null {
  return sdpLine(sdp, "a=fingerprint:");
}
