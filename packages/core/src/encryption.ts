/**
 * The encryption alone: a worker with MLS, the designated committer and the keys of frames, for connections and a signaling of one's own.
 *
 *   const encryption = new Encryption();
 *   await encryption.start({ room, secret, displayName, signaling: port });   // binary messages to and from an ordering of the room's entries
 *   const connection = new RTCPeerConnection(peerConfiguration({ iceServers }));
 *   const { sender } = connection.addTransceiver("video", { direction: "sendonly" });
 *   encryption.protect(sender, { connection: 1, source: "camera" });           // in the same turn; only then a description, and only then a track
 *   await sender.replaceTrack(camera);
 *   connection.ontrack = ({ receiver, transceiver, track }) =>
 *     encryption.unprotect(receiver, { connection: 1, mid: transceiver.mid, kind: track.kind });
 *
 * packages/example is a page that does this with two peer connections and no server.
 */
import type { RoomName, RoomSecret, Source } from "./api.ts";
import { EngineClient } from "./engine-client.ts";
import { decodeRoomSecret } from "./link.ts";
import type { Counts, Proof, TransformOptions } from "./messages.ts";
import { restrictCodecs } from "./peer.ts";
import type { SessionEvent } from "./session-events.ts";
import { type RoomSuite, standardSuite } from "./suites.ts";

export type { Counts, Proof } from "./messages.ts";
export type { RosterEntry, SessionEvent } from "./session-events.ts";
export { newRoomName, newRoomSecret } from "./link.ts";
export { type OrderingConnection, OrderingRoom } from "./ordering.ts";

export interface EncryptionOptions {
  readonly room: RoomName;
  /** What members prove to each other that they know; whoever orders the entries must not. */
  readonly secret: RoomSecret;
  readonly suite?: RoomSuite;
  readonly displayName: string;
  readonly deviceIdentity?: "persistent" | "temporary";
  /**
   * Uint8Arrays in both directions: the binary messages of docs/protocol.md s.2, in order and without loss. Its other end is a delivery service: ours,
   * `OrderingRoom` below, or another that appends to one log for all and lets one commit win in each
   * epoch. It need not follow the group's tree: welcomes carry it.
   */
  readonly signaling: MessagePort;
}

export type EncryptionEvent =
  /** Who is in the group, its safety number, who comes and goes. */
  | { readonly type: "session"; readonly event: SessionEvent }
  /** Frames on a stream decrypt with this member's key: show it under no other name. */
  | { readonly type: "proof"; readonly proof: Proof }
  /** The first frame of a source was encrypted. */
  | { readonly type: "protecting"; readonly connection: number; readonly source: Source }
  /** The worker is at its end, and its keys with it: close the connections and begin with a new Encryption. */
  | { readonly type: "failed"; readonly reason: string };

/** Chromium sends nothing without a transform on connections that are made with this. Every connection must be. */
export function peerConfiguration(configuration: RTCConfiguration = {}): RTCConfiguration {
  return { ...configuration, encodedInsertableStreams: true } as RTCConfiguration;
}

/** For both ends of a connection: only codecs whose frames can be encrypted as a whole. */
export { restrictCodecs };

export class Encryption {
  readonly #engine = new EngineClient();
  readonly #listeners = new Set<(event: EncryptionEvent) => void>();

  constructor() {
    this.#engine.listen((message) => {
      switch (message.type) {
        case "session":
          this.#tell({ type: "session", event: message.event });
          return;
        case "proof":
          this.#tell({ type: "proof", proof: message.proof });
          return;
        case "protecting":
          this.#tell({ type: "protecting", connection: message.connection, source: message.source });
          return;
        case "failed":
          this.#engine.terminate();
          this.#tell({ type: "failed", reason: message.reason });
          return;
        default: // what only our own signaling has
      }
    });
  }

  /** Resolves when transforms may be attached; membership comes later, as a session event. */
  async start(options: EncryptionOptions): Promise<void> {
    await this.#engine.listening;
    this.#engine.post(
      {
        type: "start",
        options: {
          signaling: options.signaling,
          room: options.room,
          secret: decodeRoomSecret(options.secret),
          suite: options.suite ?? standardSuite,
          displayName: options.displayName,
          deviceIdentity: options.deviceIdentity ?? "persistent",
          recordEncoderOutput: false,
        },
      },
      [options.signaling],
    );
  }

  /** In the turn in which the transceiver was made, before it has a track: later, browsers may have sent frames in the clear. Never taken off again. */
  protect(sender: RTCRtpSender, options: { readonly connection: number; readonly source: Source }): void {
    if (sender.track !== null) throw new Error("the sender has a track already: attach the transform first");
    sender.transform = this.#transform({ role: "sender", ...options });
  }

  /** In the turn of the track event. */
  unprotect(receiver: RTCRtpReceiver, options: { readonly connection: number; readonly mid: string; readonly kind: "audio" | "video" }): void {
    receiver.transform = this.#transform({ role: "receiver", ...options });
  }

  /** The connection is closed: its senders and receivers end. */
  closeConnection(connection: number): void {
    this.#engine.post({ type: "close-connection", connection });
  }

  subscribe(listener: (event: EncryptionEvent) => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener), { once: true });
  }

  /** How many frames of each stream came and what became of them; null when the worker does not answer. More frames sent than protected: stop. */
  counts(): Promise<Counts | null> {
    return this.#engine.counts();
  }

  /** Says goodbye to the group; "left" follows. */
  leave(): void {
    this.#engine.post({ type: "leave" });
  }

  /** Wipes everything that it holds. */
  close(): void {
    this.#engine.terminate();
  }

  #transform(options: TransformOptions): RTCRtpScriptTransform {
    return new RTCRtpScriptTransform(this.#engine.worker, options);
  }

  #tell(event: EncryptionEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
