/** Everything that the page and the engine's worker say to each other: one union for each direction. */
import type { ParticipantId, Source } from "./api.ts";
import type { Written } from "./chat.ts";
import { attempt, integer, object, oneOf, record, text } from "./check.ts";
import type { ClientControl, ServerControl } from "./control.ts";
import type { Announcement, SessionEvent } from "./session-events.ts";
import type { RoomSuite } from "./suites.ts";

export interface StartOptions {
  /** The address of our server, or a port to a signaling of one's own. */
  readonly signaling: string | MessagePort;
  readonly room: string;
  /** 16 bytes, or 0 if the link had none. */
  readonly secret: Uint8Array<ArrayBuffer>;
  readonly suite: RoomSuite;
  readonly displayName: string;
  readonly deviceIdentity: "persistent" | "temporary";
  /** Keep what the encoder gave, for the test that looks for it at the server. Debug pages only. */
  readonly recordEncoderOutput: boolean;
}

export type ToWorker =
  | { readonly type: "start"; readonly options: StartOptions }
  | { readonly type: "control"; readonly message: ClientControl }
  | { readonly type: "announce"; readonly state: Announcement }
  /** Tell the other members that we began to speak. */
  | { readonly type: "voice" }
  | ({ readonly type: "chat" } & Written)
  /** A peer connection is closed: its senders and receivers end. */
  | { readonly type: "close-connection"; readonly connection: number }
  /** `restartGaps`: measure the longest gaps anew from now. */
  | { readonly type: "counts"; readonly request: number; readonly restartGaps: boolean }
  | { readonly type: "recordings"; readonly request: number }
  /** The server does not answer on the present socket: make a new one. */
  | { readonly type: "reconnect" }
  | { readonly type: "leave" };

/** Which member's key decrypts what arrives on a slot; "the server says" does not occur here. */
export interface Proof {
  readonly connection: number;
  readonly mid: string;
  readonly incarnation: ParticipantId;
  readonly leaf: number;
  readonly source: Source;
}

export interface SenderCounts {
  readonly connection: number;
  readonly source: Source;
  /** Frames that came out of the encoder, whatever became of them. */
  readonly received: number;
  readonly protected: number;
  readonly dropped: number;
  /** Time in this worker for all of them, in ms: copies, key, encryption. */
  readonly spentMs: number;
}

export interface ReceiverCounts {
  readonly connection: number;
  readonly mid: string;
  readonly decrypted: number;
  /** Waited for their epoch's key, or for the server to say that the slot is their sender's, and were decrypted or given up later. */
  readonly held: number;
  /** Undecryptable: no key in time, an epoch that is over, or refused. */
  readonly dropped: number;
  /** Of these, those that authenticated under no key or were no frames of ours. */
  readonly refused: number;
  /** Of these, those that were not opened, being far from all others after many that were refused. */
  readonly passedOver: number;
  /** Of another member than the server said in time that the slot is for. */
  readonly misplaced: number;
  readonly duplicates: number;
  readonly keyFrameRequests: number;
  /** Time in this worker for all that arrived, in ms. */
  readonly spentMs: number;
  /** Longest time between two decrypted frames since it was last measured anew, in ms. */
  readonly longestGapMs: number;
}

export interface Counts {
  readonly senders: readonly SenderCounts[];
  readonly receivers: readonly ReceiverCounts[];
  readonly socketFrames: { readonly sent: number; readonly received: number };
}

/** A frame as the encoder made it: parts of it, to look for elsewhere. */
export interface EncoderRecording {
  readonly source: Source;
  readonly size: number;
  readonly head: string;
  readonly middle: string;
  readonly tail: string;
}

export type FromWorker =
  /** The worker listens: transforms may be made. */
  | { readonly type: "listening" }
  /** `attempt` counts from 1 since the last open socket. */
  | { readonly type: "socket"; readonly status: "connecting" | "open" | "closed"; readonly attempt: number; readonly code: number | null }
  | { readonly type: "control"; readonly message: ServerControl }
  | { readonly type: "session"; readonly event: SessionEvent }
  | { readonly type: "proof"; readonly proof: Proof }
  /** The first frame of a source on a connection was encrypted; `at` is on performance.timeOrigin + now(). */
  | { readonly type: "protecting"; readonly connection: number; readonly source: Source; readonly at: number }
  | { readonly type: "decrypting"; readonly at: number }
  /** Of what we wrote, by number: not sent, or not sent again to who was away. */
  | { readonly type: "chat-doubtful"; readonly numbers: readonly number[] }
  | { readonly type: "counts"; readonly request: number; readonly counts: Counts }
  | { readonly type: "recordings"; readonly request: number; readonly recordings: readonly EncoderRecording[] }
  | { readonly type: "failed"; readonly reason: string };

const toWorkerTypes = ["start", "control", "announce", "voice", "chat", "close-connection", "counts", "recordings", "reconnect", "leave"] as const;
const fromWorkerTypes = [
  "listening",
  "socket",
  "control",
  "session",
  "proof",
  "protecting",
  "decrypting",
  "chat-doubtful",
  "counts",
  "recordings",
  "failed",
] as const;

// Both ends are built from this file, so the tag is what can be wrong (a stray message of an extension, say); what came
// over the network was checked when it entered the worker.
export function isToWorker(value: unknown): value is ToWorker {
  return hasType(value, toWorkerTypes);
}

export function isFromWorker(value: unknown): value is FromWorker {
  return hasType(value, fromWorkerTypes);
}

function hasType(value: unknown, types: readonly string[]): boolean {
  const message = attempt(record, value);
  return message !== null && types.some((type) => type === message["type"]);
}

/** What an RTCRtpScriptTransform is made with. */
export type TransformOptions =
  | { readonly role: "sender"; readonly connection: number; readonly source: Source }
  | { readonly role: "receiver"; readonly connection: number; readonly mid: string; readonly kind: "audio" | "video" };

const connection = integer(0, Number.MAX_SAFE_INTEGER);
const senderOptions = object({ connection, source: oneOf("microphone", "camera", "screen") });
const receiverOptions = object({ connection, mid: text(16), kind: oneOf("audio", "video") });

export function parseTransformOptions(value: unknown): TransformOptions | null {
  const role = attempt(record, value)?.["role"];
  switch (role) {
    case "sender": {
      const options = attempt(senderOptions, value);
      return options === null ? null : { role, ...options };
    }
    case "receiver": {
      const options = attempt(receiverOptions, value);
      return options === null ? null : { role, ...options };
    }
    default:
      return null;
  }
}
