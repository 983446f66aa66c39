/**
 * The way of every media frame through the module. Fails closed: what cannot be encrypted is dropped, what cannot be
 * decrypted never reaches a decoder. One copy into the module's memory and one out of it; two buffers serve all streams.
 */
import type { Source } from "../api.ts";
import { contextOf, mediaKind } from "../ids.ts";
import type { EncoderRecording, ReceiverCounts, SenderCounts } from "../messages.ts";
import { code, frameKind, shell, type WasmModule, type WasmSession } from "./module.ts";

export type Frame = RTCEncodedVideoFrame | RTCEncodedAudioFrame;
export type FrameSink = (frame: Frame) => void;

const initialBufferBytes = 256 * 1024;
/** A 4K key frame is about 1 MB. */
const maxFrameBytes = 4 * 1024 * 1024;
/** Frames that wait for the key of their epoch, or for the slot to be their sender's; about a second of audio. */
const maxHeldFrames = 64;
const maxHeldMs = 1000;
/** A browser that sends does not listen for 300 ms after a request that it heard. */
const minKeyFrameRequestIntervalMs = 350;
/** No camera is as slow. */
const silenceIsGapMs = 1000;
const maxRecordings = 4000;

/** The module's two frame buffers, shared by all streams since every call is synchronous. */
export class FrameBuffers {
  readonly #module: WasmModule;
  #size = 0;
  #input = 0;
  #output = 0;

  constructor(module: WasmModule) {
    this.#module = module;
    this.#allocate(initialBufferBytes);
  }

  get input(): number {
    return this.#input;
  }

  get output(): number {
    return this.#output;
  }

  /** Of each of the two. */
  get capacity(): number {
    return this.#size;
  }

  /** Copies `data` to `input`; false if it is larger than any frame. */
  load(data: ArrayBuffer): boolean {
    if (data.byteLength > maxFrameBytes) return false;
    if (this.#module.protectedSize(data.byteLength) > this.#size) this.#allocate(this.#module.protectedSize(data.byteLength) * 2);
    this.#module.memory.set(new Uint8Array(data), this.#input);
    return true;
  }

  /** A copy of what is at `output`. */
  take(size: number): ArrayBuffer {
    return this.#module.memory.slice(this.#output, this.#output + size).buffer;
  }

  #allocate(size: number): void {
    if (this.#size > 0) {
      this.#module.free(this.#input, this.#size);
      this.#module.free(this.#output, this.#size);
    }
    this.#size = size;
    this.#input = this.#module.allocate(size);
    this.#output = this.#module.allocate(size);
  }
}

const microseconds = (): number => Math.floor(performance.now() * 1000);

function isVideo(frame: Frame): frame is RTCEncodedVideoFrame {
  return "type" in frame && (frame.type === "key" || frame.type === "delta" || frame.type === "empty");
}

/** What the frame is to the module; null if it is of a codec that has no shell here, and so must not leave. */
export function kindOf(frame: Frame, media: "audio" | "video"): number | null {
  if (media === "audio") return isVideo(frame) ? null : frameKind.opus;
  if (!isVideo(frame) || frame.type === "empty") return null;
  const isKey = frame.type === "key";
  // Asked of each frame: the codec changes between two of them when the room's does.
  switch (frame.getMetadata().mimeType?.toLowerCase()) {
    case "video/vp8":
      return isKey ? frameKind.vp8Key : frameKind.vp8Delta;
    case "video/vp9":
      return frameKind.vp9;
    case "video/av1":
      return isKey ? frameKind.av1Key : frameKind.av1Delta;
    case "video/h264":
      return isKey ? frameKind.h264Key : frameKind.h264Delta;
    default:
      return null;
  }
}

export class FrameRecorder {
  readonly #recordings: EncoderRecording[] = [];

  add(source: Source, data: ArrayBuffer): void {
    if (this.#recordings.length >= maxRecordings) this.#recordings.shift();
    const bytes = new Uint8Array(data);
    const middle = bytes.length >> 1;
    this.#recordings.push({
      source,
      size: bytes.length,
      head: hex(bytes.subarray(0, 32)),
      middle: hex(bytes.subarray(middle, middle + 32)),
      tail: hex(bytes.subarray(-32)),
    });
  }

  get recordings(): readonly EncoderRecording[] {
    return this.#recordings;
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class FrameSender {
  readonly connection: number;
  readonly source: Source;
  readonly #module: WasmModule;
  readonly #buffers: FrameBuffers;
  readonly #recorder: FrameRecorder | null;
  readonly #handle: number;
  #open = true;
  #received = 0;
  #protected = 0;
  #dropped = 0;
  #spentMs = 0;

  constructor(
    session: WasmSession,
    buffers: FrameBuffers,
    recorder: FrameRecorder | null,
    connection: number,
    source: Source,
  ) {
    this.connection = connection;
    this.source = source;
    this.#module = session.module;
    this.#buffers = buffers;
    this.#recorder = recorder;
    this.#handle = session.module.call.satsuma_sender_new(session.handle, contextOf(source));
  }

  get counts(): SenderCounts {
    return {
      connection: this.connection,
      source: this.source,
      received: this.#received,
      protected: this.#protected,
      dropped: this.#dropped,
      spentMs: this.#spentMs,
    };
  }

  /** Gives `deliver` the frame encrypted, or nothing at all; says which. */
  handleFrame(frame: Frame, deliver: FrameSink): boolean {
    const begin = performance.now();
    this.#received += 1;
    const kind = kindOf(frame, mediaKind(this.source));
    if (kind === null || !this.#open) {
      this.#dropped += 1;
      return false;
    }
    this.#recorder?.add(this.source, frame.data);
    const { data } = frame;
    const buffers = this.#buffers;
    const size = buffers.load(data)
      ? this.#module.call.satsuma_frame_protect(this.#handle, kind, buffers.input, data.byteLength, buffers.output, buffers.capacity, microseconds())
      : code.noSpace;
    if (size < 0) {
      this.#dropped += 1;
      return false;
    }
    frame.data = buffers.take(size);
    this.#protected += 1;
    this.#spentMs += performance.now() - begin;
    deliver(frame);
    return true;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#module.call.satsuma_sender_free(this.#handle);
  }
}

/** Who sent the frame that was decrypted last: the leaf, and the epoch in which it had that leaf. False refuses the frame: nobody is known who could have sent it here. */
export type DecryptedHandler = (receiver: FrameReceiver, leaf: number, context: number, epoch: number) => boolean;

interface HeldFrame {
  readonly frame: Frame;
  readonly since: number;
  /** Of another member than the slot's, as far as we know; holds nothing back. */
  misplaced: boolean;
}

type Fate = "done" | "unknown-key" | "misplaced";

export class FrameReceiver {
  readonly connection: number;
  readonly mid: string;
  readonly #media: "audio" | "video";
  readonly #module: WasmModule;
  readonly #buffers: FrameBuffers;
  readonly #session: WasmSession;
  #handle: number;
  readonly #requestKeyFrame: () => void;
  readonly #onDecrypted: DecryptedHandler;
  #open = true;
  /** In the order in which they came. */
  #held: HeldFrame[] = [];
  /** For a key, and with it all that comes, so that the decoder gets it in order. */
  #waits = false;
  #leaf: number | null = null;
  #deliver: FrameSink | null = null;
  #gap = false;
  #lastKeyFrameRequest = -Infinity;
  #lastDecrypted: number | null = null;
  #counts = { decrypted: 0, held: 0, dropped: 0, refused: 0, passedOver: 0, misplaced: 0, duplicates: 0, keyFrameRequests: 0, spentMs: 0, longestGapMs: 0 };

  constructor(
    session: WasmSession,
    buffers: FrameBuffers,
    slot: { readonly connection: number; readonly mid: string; readonly kind: "audio" | "video" },
    requestKeyFrame: () => void,
    onDecrypted: DecryptedHandler,
  ) {
    this.connection = slot.connection;
    this.mid = slot.mid;
    this.#media = slot.kind;
    this.#session = session;
    this.#module = session.module;
    this.#buffers = buffers;
    this.#requestKeyFrame = requestKeyFrame;
    this.#onDecrypted = onDecrypted;
    this.#handle = session.module.call.satsuma_receiver_new(session.handle);
  }

  readCounts(now: number, restartGap: boolean): ReceiverCounts {
    this.#noteGap(now);
    const counts = { connection: this.connection, mid: this.mid, ...this.#counts };
    if (restartGap) this.#counts.longestGapMs = 0;
    return counts;
  }

  /** The slot carries something else from now on: what one member's forgeries took on it is not the next one's loss. */
  renew(): void {
    if (!this.#open) return;
    this.#module.call.satsuma_receiver_free(this.#handle);
    this.#handle = this.#module.call.satsuma_receiver_new(this.#session.handle);
    if (this.#leaf !== null) this.openOnly(this.#leaf);
    this.#gap = true; // unless it begins with a key frame
  }

  /** Frames of the member at `leaf`, or of `nobody` while that is not known. Before, everybody's. */
  openOnly(leaf: number): void {
    if (!this.#open) return;
    this.#leaf = leaf;
    this.#module.call.satsuma_receiver_set_leaf(this.#handle, leaf);
  }

  handleFrame(frame: Frame, now: number, deliver: FrameSink): void {
    this.#deliver = deliver;
    const fate = this.#waits ? "unknown-key" : this.#tryFrame(frame, now, deliver);
    if (fate !== "done") this.#hold(frame, now, fate);
  }

  /** Keys came, or the slot is another's, or time passed. */
  handleHeld(now: number): void {
    const deliver = this.#deliver;
    if (deliver === null || this.#held.length === 0) return;
    this.#waits = false;
    this.#held = this.#held.filter((held) => {
      if (this.#waits) return true;
      const fate = this.#tryFrame(held.frame, now, deliver);
      held.misplaced = fate === "misplaced";
      if (fate === "done") return false;
      if (now - held.since >= maxHeldMs) {
        this.#giveUp(held);
        return false;
      }
      this.#waits = fate === "unknown-key";
      return true;
    });
  }

  /** When `handleHeld` should be called even if no key came. */
  get deadline(): number | null {
    const first = this.#held[0];
    return first === undefined ? null : first.since + maxHeldMs;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#held = [];
    this.#waits = false;
    this.#module.call.satsuma_receiver_free(this.#handle);
  }

  #hold(frame: Frame, now: number, fate: Exclude<Fate, "done">): void {
    const first = this.#held[0];
    if (first !== undefined && this.#held.length >= maxHeldFrames) {
      this.#held.shift();
      this.#giveUp(first);
    }
    this.#held.push({ frame, since: now, misplaced: fate === "misplaced" });
    this.#waits ||= fate === "unknown-key";
    this.#counts.held += 1;
  }

  // What is of another member leaves no gap in what the slot carries.
  #giveUp(held: HeldFrame): void {
    if (held.misplaced) this.#counts.misplaced += 1;
    else this.#dropAfterGap();
  }

  #tryFrame(frame: Frame, now: number, deliver: FrameSink): Fate {
    if (!this.#open) return "done";
    const begin = performance.now();
    const framing = this.#media === "audio" ? shell.none : shell.video;
    const { data } = frame;
    const { call } = this.#module;
    const buffers = this.#buffers;
    const size = buffers.load(data)
      ? call.satsuma_frame_unprotect(this.#handle, framing, buffers.input, data.byteLength, buffers.output, buffers.capacity, microseconds())
      : code.malformed;
    if (size < 0) return this.#handleFailure(size, now);
    const leaf = call.satsuma_receiver_last_leaf(this.#handle);
    const context = call.satsuma_receiver_last_context(this.#handle);
    if (!this.#onDecrypted(this, leaf, context, call.satsuma_receiver_last_epoch(this.#handle))) {
      this.#counts.refused += 1;
      this.#dropAfterGap();
      return "done";
    }
    this.#noteGap(now);
    // Frames that the network kept leave no trace here but the time. (A screen may rest for longer.)
    if (context === contextOf("camera") && this.#lastDecrypted !== null && now - this.#lastDecrypted >= silenceIsGapMs) this.#gap = true;
    this.#lastDecrypted = now;
    this.#counts.decrypted += 1;
    frame.data = buffers.take(size);
    this.#counts.spentMs += performance.now() - begin;
    deliver(frame);
    if (this.#media === "video") this.#mendGap(frame, now);
    return "done";
  }

  #handleFailure(failure: number, now: number): Fate {
    switch (failure) {
      case code.unknownKey:
        return "unknown-key";
      case code.wrongLine:
        return "misplaced";
      case code.replayed: // padding probes repeat whole frames
        this.#counts.duplicates += 1;
        return "done";
      case code.forged:
      case code.malformed:
        this.#counts.refused += 1;
        this.#dropAfterGap();
        return "done";
      case code.passedOver:
        this.#counts.passedOver += 1;
        // It may have been a key frame, and the next that is let through may be seconds away.
        if (this.#media === "video" && !this.#gap) this.#askForKeyFrame(now);
        this.#dropAfterGap();
        return "done";
      default:
        this.#dropAfterGap();
        return "done";
    }
  }

  #dropAfterGap(): void {
    this.#counts.dropped += 1;
    this.#gap = true;
  }

  // The decoder itself would wait for seconds before it asks.
  #mendGap(frame: Frame, now: number): void {
    if (!this.#gap) return;
    const shellSays = this.#module.call.satsuma_receiver_last_is_key(this.#handle);
    if (shellSays === 1 || (shellSays < 0 && isVideo(frame) && frame.type === "key")) {
      this.#gap = false;
      return;
    }
    this.#askForKeyFrame(now);
  }

  #askForKeyFrame(now: number): void {
    if (now - this.#lastKeyFrameRequest < minKeyFrameRequestIntervalMs) return;
    this.#lastKeyFrameRequest = now;
    this.#counts.keyFrameRequests += 1;
    this.#requestKeyFrame();
  }

  #noteGap(now: number): void {
    if (this.#lastDecrypted === null) return;
    this.#counts.longestGapMs = Math.max(this.#counts.longestGapMs, Math.round(now - this.#lastDecrypted));
  }
}
