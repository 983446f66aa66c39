/**
 * What runs in the worker: the module, the WebSocket, the timers and every frame. It is the only place that holds keys,
 * and the only one that says who sent what.
 */
import type { ParticipantId } from "../api.ts";
import { ChatOutbox, type Written } from "../chat.ts";
import { CheckError, unreachable } from "../check.ts";
import { parseServerControl, type Slot } from "../control.ts";
import { mediaKind, sourceOf } from "../ids.ts";
import type { Counts, EncoderRecording, FromWorker, Proof, StartOptions, ToWorker, TransformOptions } from "../messages.ts";
import { type Announcement, parseSessionEvent, type SessionEvent, voiceMessage, writeAnnouncement, writeChat } from "../session-events.ts";
import { suiteNumber } from "../suites.ts";
import { persistentDeviceSeed, temporaryDeviceSeed } from "./device-seed.ts";
import { type Frame, FrameBuffers, FrameReceiver, FrameRecorder, FrameSender, type FrameSink } from "./frames.ts";
import { nobody, type WasmModule, WasmSession } from "./module.ts";
import { PortSocket } from "./port-socket.ts";
import { ReconnectingSocket, type SocketListener } from "./socket.ts";

/** After a message that we cannot read. */
const unreadableDelayMs = 2000;
const closeReplaced = 4409;
/** docs/protocol.md, bounds. */
const maxSocketFrameBytes = 384 * 1024;
/** The present epoch and the 64 before it whose frames still decrypt, for ten seconds. */
const maxRosters = 65;
/** Attached while the module still loads. */
const maxEarlyTransforms = 256;

/** The part of RTCRtpScriptTransformer that we use; TypeScript's DOM library does not know it in workers. */
export interface Transformer {
  readonly readable: ReadableStream<Frame>;
  readonly writable: WritableStream<Frame>;
  sendKeyFrameRequest(): Promise<unknown>;
}

type SignalingSocket = ReconnectingSocket | PortSocket;

function signalingSocket(to: string | MessagePort, listener: SocketListener): SignalingSocket {
  return typeof to === "string" ? new ReconnectingSocket(to, listener) : new PortSocket(to, listener);
}

interface Running {
  readonly session: WasmSession;
  readonly socket: SignalingSocket;
  readonly buffers: FrameBuffers;
  readonly recorder: FrameRecorder | null;
}

export class Engine {
  readonly #module: Promise<WasmModule>;
  readonly #post: (message: FromWorker) => void;
  #running: Running | null = null;
  #failed = false;
  #entered = false;
  /** The server answered our hello on the present connection. */
  #greeted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heldTimer: ReturnType<typeof setTimeout> | undefined;
  #announcement: Announcement | null = null;
  /** Who has come in and is not told yet. */
  readonly #newcomers = new Set<ParticipantId>();
  #newcomersTimer: ReturnType<typeof setTimeout> | undefined;
  #announceTimer: ReturnType<typeof setTimeout> | undefined;
  /** It could not be sent: there was no connection, or the next epoch had to be waited for. */
  #announcementDue = false;
  readonly #outbox = new ChatOutbox();
  #outboxTimer: ReturnType<typeof setTimeout> | undefined;
  #era: number | null = null;
  /** Who had which leaf in the latest epochs, oldest first: leaves are used again. */
  readonly #rosters = new Map<number, ReadonlyMap<number, ParticipantId>>();
  #early: { readonly transformer: Transformer; readonly options: TransformOptions }[] = [];
  readonly #senders = new Set<FrameSender>();
  /** With what was proven of each last. */
  readonly #receivers = new Map<FrameReceiver, Proof | null>();
  /** Of the present epoch. */
  #leaves: ReadonlyMap<ParticipantId, number> = new Map();
  /**
   * What the server says that each slot carries, by mid; null where nobody says it. It decides whose frames are opened there, and what forged ones may cost,
   * and nothing about who is shown.
   */
  #slots: ReadonlyMap<string, Slot> | null = null;
  #decrypting = false;
  readonly #socketFrames = { sent: 0, received: 0 };

  constructor(module: Promise<WasmModule>, post: (message: FromWorker) => void) {
    this.#module = module;
    this.#post = post;
    module.catch((error: unknown) => this.#fail(error));
  }

  handleMessage(message: ToWorker): void {
    this.#guard(() => {
      switch (message.type) {
        case "start":
          this.#start(message.options).catch((error: unknown) => this.#fail(error));
          return;
        case "control":
          // What was meant for a connection that is gone meanwhile would be a protocol error on the next one.
          if (this.#greeted) this.#send(JSON.stringify(message.message));
          return;
        case "announce":
          this.#announcement = message.state;
          this.#announce();
          return;
        case "voice":
          this.#sendApplication(voiceMessage);
          return;
        case "chat":
          this.#sendChat(message);
          return;
        case "close-connection":
          this.#closeConnection(message.connection);
          return;
        case "counts":
          this.#post({ type: "counts", request: message.request, counts: this.#counts(message.restartGaps) });
          return;
        case "recordings":
          this.#post({ type: "recordings", request: message.request, recordings: this.#recordings() });
          return;
        case "reconnect":
          this.#running?.socket.reconnectAfter(0);
          return;
        case "leave":
          this.#leave();
          return;
        default:
          unreachable(message);
      }
    });
  }

  handleOnline(): void {
    this.#guard(() => this.#running?.socket.renew());
  }

  handleTransform(transformer: Transformer, options: TransformOptions): void {
    const running = this.#running;
    if (running === null) {
      // Unread until then, so nothing passes.
      if (this.#early.length < maxEarlyTransforms) this.#early.push({ transformer, options });
      return;
    }
    const handle = options.role === "sender" ? this.#sender(running, options) : this.#receiver(running, options, transformer);
    let deliver: FrameSink = () => undefined;
    const stream = new TransformStream<Frame, Frame>({
      start: (controller) => {
        deliver = (result) => controller.enqueue(result);
      },
      // Nothing is made anew for each frame here, and nothing waits: not even for a promise.
      transform: (frame) => {
        if (this.#failed) return;
        try {
          handle(frame, deliver);
        } catch (error) {
          this.#fail(error);
        }
      },
    });
    // Ends with an error when the connection is closed; nothing is left to do then.
    transformer.readable.pipeThrough(stream).pipeTo(transformer.writable).catch(() => undefined);
  }

  // ---- Starting and ending ----

  async #start(options: StartOptions): Promise<void> {
    if (this.#running !== null) throw new Error("started twice");
    const [module, deviceSeed] = await Promise.all([
      this.#module,
      options.deviceIdentity === "persistent" ? persistentDeviceSeed() : temporaryDeviceSeed(),
    ]);
    const session = new WasmSession(module, {
      room: options.room,
      secret: options.secret,
      deviceSeed,
      name: options.displayName,
      suite: suiteNumber(options.suite),
    });
    // Whoever is at the other end of a port need not follow the group's tree as our server does, nor speak of slots.
    if (typeof options.signaling === "string") this.#slots = new Map();
    else session.putTreeInWelcomes();
    deviceSeed.fill(0);
    options.secret.fill(0);
    const socket: SignalingSocket = signalingSocket(options.signaling, {
      handleConnecting: (attempt) => this.#post({ type: "socket", status: "connecting", attempt, code: null }),
      handleOpen: () =>
        this.#guard(() => {
          this.#post({ type: "socket", status: "open", attempt: 0, code: null });
          session.connected();
          this.#pump();
        }),
      handleClosed: (code, wasOpen, attempt) =>
        this.#guard(() => {
          this.#greeted = false;
          if (wasOpen) session.disconnected();
          if (code === closeReplaced) socket.stop();
          this.#post({ type: "socket", status: "closed", attempt, code });
          this.#pump();
        }),
      handleBinary: (bytes) =>
        this.#guard(() => {
          this.#socketFrames.received += 1;
          // The module would have to make room for it first, and might have none.
          if (bytes.length > maxSocketFrameBytes) {
            socket.reconnectAfter(unreadableDelayMs);
            return;
          }
          session.frame(bytes);
          this.#pump();
        }),
      handleText: (frame) => this.#guard(() => this.#handleText(socket, frame)),
    });
    this.#running = {
      session,
      socket,
      buffers: new FrameBuffers(module),
      recorder: options.recordEncoderOutput ? new FrameRecorder() : null,
    };
    for (const { transformer, options: its } of this.#early.splice(0)) this.handleTransform(transformer, its);
    this.#pump();
    socket.connect();
  }

  #leave(): void {
    const running = this.#running;
    if (running === null) {
      this.#post({ type: "session", event: { type: "left" } });
      return;
    }
    clearTimeout(this.#newcomersTimer);
    clearTimeout(this.#announceTimer);
    running.session.leave();
    this.#pump();
  }

  #guard(action: () => void): void {
    if (this.#failed) return;
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#heldTimer);
    clearTimeout(this.#newcomersTimer);
    clearTimeout(this.#announceTimer);
    clearTimeout(this.#outboxTimer);
    this.#running?.socket.stop();
    this.#post({ type: "failed", reason: error instanceof Error ? error.message : String(error) });
  }

  // ---- The session's run loop ----

  #pump(): void {
    const running = this.#running;
    if (running === null || this.#failed) return;
    for (let output = running.session.poll(); output !== null; output = running.session.poll()) {
      switch (output.kind) {
        case "binary":
          this.#send(output.bytes);
          break;
        case "event":
          this.#handleEvent(running, parseSessionEvent(output.json));
          break;
        case "reconnect":
          running.socket.reconnectAfter(output.delayMs);
          break;
        case "close":
          running.socket.stop();
          break;
        default:
          unreachable(output);
      }
    }
    clearTimeout(this.#timer);
    const delay = running.session.nextTimeoutMs();
    if (delay === null) return;
    this.#timer = setTimeout(() => {
      this.#guard(() => {
        running.session.timeout();
        this.#pump();
      });
    }, delay);
  }

  #handleEvent(running: Running, event: SessionEvent | null): void {
    if (event === null) return;
    switch (event.type) {
      case "ready":
        this.#greeted = true;
        running.socket.confirm();
        this.#handleBack();
        if (event.resumed) this.#announceAgainSoon();
        break;
      case "epoch": {
        if (event.era !== this.#era) this.#rosters.clear();
        this.#era = event.era;
        this.#rosters.set(event.epoch, new Map(event.roster.map((member) => [member.leaf, member.incarnation])));
        const newcomers = event.roster.map(({ incarnation }) => incarnation).filter((incarnation) => !this.#leaves.has(incarnation));
        this.#leaves = new Map(event.roster.map((member) => [member.incarnation, member.leaf]));
        for (const epoch of this.#rosters.keys()) {
          if (this.#rosters.size <= maxRosters) break;
          this.#rosters.delete(epoch);
        }
        const isFirst = !this.#entered;
        this.#entered = true;
        // What was written until now was not meant for who comes in.
        if (event.reason.joined.length > 0) this.#forgetWritten();
        // Before the announcement, whose output this very loop sends on.
        this.#post({ type: "session", event });
        if (isFirst) {
          this.#announce();
        } else if (newcomers.length > 0 || this.#announcementDue) {
          this.#tellNewcomersSoon(newcomers);
          this.#announceAgainSoon();
        }
        this.#placeReceivers();
        return;
      }
      case "keys":
        this.#retryHeld();
        break;
      case "rejoining":
        this.#entered = false;
        this.#greeted = false;
        this.#newcomers.clear();
        this.#forgetWritten();
        break;
      case "present":
        if (event.connected) {
          this.#handleBack();
          this.#announceAgainSoon();
        }
        break;
      case "error":
        if (event.fatal) running.socket.stop();
        break;
      case "waiting":
      case "devices":
      case "departed":
      case "overdue":
      case "announcement":
      case "voice":
      case "chat":
      case "stream":
      case "left":
        break;
      default:
        unreachable(event);
    }
    this.#post({ type: "session", event });
  }

  #handleText(socket: SignalingSocket, frame: string): void {
    try {
      const message = parseServerControl(frame);
      if (message?.type === "slots") this.#noteSlots(message.slots);
      if (message !== null) this.#post({ type: "control", message });
    } catch (error) {
      if (!(error instanceof CheckError)) throw error;
      this.#post({
        type: "control",
        message: { type: "error", id: null, code: "unreadable", message: `The server sent what we cannot read (${error.message}).` },
      });
      socket.reconnectAfter(unreadableDelayMs);
    }
  }

  #send(data: Uint8Array<ArrayBuffer> | string): void {
    this.#socketFrames.sent += 1;
    this.#running?.socket.send(data);
  }

  /** Among many, what newcomers are told is spread, and said once to those who came meanwhile. */
  #tellNewcomersSoon(newcomers: readonly ParticipantId[]): void {
    for (const incarnation of newcomers) this.#newcomers.add(incarnation);
    if (this.#leaves.size <= 16) return this.#tellNewcomers();
    this.#newcomersTimer ??= setTimeout(() => this.#guard(() => this.#tellNewcomers()), Math.random() * 25 * this.#leaves.size);
  }

  #tellNewcomers(): void {
    clearTimeout(this.#newcomersTimer);
    this.#newcomersTimer = undefined;
    const to = [...this.#newcomers].filter((incarnation) => this.#leaves.has(incarnation));
    this.#newcomers.clear();
    if (to.length > 0) this.#announce(to);
  }

  /** To all, once: who came in or came back may have missed it, and so may others when we were away. Each announcement costs who gets it a signature check. */
  #announceAgainSoon(): void {
    this.#announceTimer ??= setTimeout(
      () =>
        this.#guard(() => {
          this.#announceTimer = undefined;
          if (this.#entered) this.#announce();
        }),
      1000 + Math.random() * 100 * this.#leaves.size,
    );
  }

  #announce(to: readonly ParticipantId[] = []): void {
    if (this.#announcement === null) return;
    const isSent = this.#sendApplication(writeAnnouncement(this.#announcement), to);
    this.#announcementDue = isSent ? this.#announcementDue && to.length > 0 : true;
  }

  #sendChat({ number, text }: Written): void {
    if (this.#sendApplication(writeChat({ number, text }))) this.#outbox.add(performance.now(), { number, text });
    else this.#post({ type: "chat-doubtful", numbers: [number] });
  }

  #handleBack(): void {
    this.#outbox.handleBack(performance.now());
    this.#watchOutbox();
  }

  #watchOutbox(): void {
    clearTimeout(this.#outboxTimer);
    const { deadline } = this.#outbox;
    if (deadline === null) return;
    this.#outboxTimer = setTimeout(() => this.#guard(() => this.#sendAgain()), Math.max(1, Math.ceil(deadline - performance.now())));
  }

  // From a timer, when all that the session had to say is handled: what it encrypts is for the members whom the outbox knows of.
  #sendAgain(): void {
    const unsent = this.#outbox.toSendAgain(performance.now()).filter((written) => !this.#sendApplication(writeChat(written)));
    if (unsent.length > 0) this.#post({ type: "chat-doubtful", numbers: unsent.map(({ number }) => number) });
    this.#watchOutbox();
  }

  #forgetWritten(): void {
    const numbers = this.#outbox.forget(performance.now());
    clearTimeout(this.#outboxTimer);
    if (numbers.length > 0) this.#post({ type: "chat-doubtful", numbers });
  }

  /** To these members, or without any to all others. False: nothing was sent. */
  #sendApplication(json: string, to: readonly ParticipantId[] = []): boolean {
    if (this.#running === null || !this.#entered) return false;
    const isSent = this.#running.session.sendApplication(json, to);
    this.#pump();
    return isSent;
  }

  // ---- Frames ----

  #sender(
    running: Running,
    options: Extract<TransformOptions, { role: "sender" }>,
  ): (frame: Frame, deliver: FrameSink) => void {
    const sender = new FrameSender(running.session, running.buffers, running.recorder, options.connection, options.source);
    this.#senders.add(sender);
    let isFirst = true;
    return (frame, deliver) => {
      const isProtected = sender.handleFrame(frame, deliver);
      if (!isFirst || !isProtected) return;
      isFirst = false;
      const { connection, source } = options;
      this.#post({ type: "protecting", connection, source, at: performance.timeOrigin + performance.now() });
    };
  }

  #receiver(
    running: Running,
    options: Extract<TransformOptions, { role: "receiver" }>,
    transformer: Transformer,
  ): (frame: Frame, deliver: FrameSink) => void {
    const receiver = new FrameReceiver(
      running.session,
      running.buffers,
      options,
      // Rejected when the connection was closed meanwhile: then nobody needs a key frame.
      () => void transformer.sendKeyFrameRequest().catch(() => undefined),
      (from, leaf, context, epoch) => this.#handleDecrypted(from, leaf, context, epoch, options.kind),
    );
    this.#receivers.set(receiver, null);
    this.#place(receiver);
    return (frame, deliver) => {
      receiver.handleFrame(frame, performance.now(), deliver);
      this.#watchHeld();
    };
  }

  #noteSlots(slots: readonly Slot[]): void {
    const before = this.#slots;
    this.#slots = new Map(slots.map((slot) => [slot.mid, slot]));
    for (const receiver of this.#receivers.keys()) {
      const carries = this.#slots.get(receiver.mid);
      const carried = before?.get(receiver.mid);
      if (carries !== undefined && (carries.incarnation !== carried?.incarnation || carries.source !== carried.source)) receiver.renew();
    }
    this.#placeReceivers();
  }

  /** Whose slot it is the server says, who has which leaf the group. */
  #place(receiver: FrameReceiver): void {
    if (this.#slots === null) return;
    const slot = this.#slots.get(receiver.mid);
    receiver.openOnly((slot === undefined ? undefined : this.#leaves.get(slot.incarnation)) ?? nobody);
  }

  // What came before both were known can be told apart now.
  #placeReceivers(): void {
    for (const receiver of this.#receivers.keys()) this.#place(receiver);
    this.#retryHeld();
  }

  /** False if the frame can be shown under nobody. */
  #handleDecrypted(receiver: FrameReceiver, leaf: number, context: number, epoch: number, kind: "audio" | "video"): boolean {
    const source = sourceOf(context);
    const incarnation = this.#rosters.get(epoch)?.get(leaf);
    if (incarnation === undefined || source === null || mediaKind(source) !== kind) return false;
    const proven = this.#receivers.get(receiver);
    if (proven?.incarnation === incarnation && proven.source === source) return true;
    const { connection, mid } = receiver;
    const proof = { connection, mid, incarnation, leaf, source };
    this.#receivers.set(receiver, proof);
    this.#post({ type: "proof", proof });
    if (this.#decrypting) return true;
    this.#decrypting = true;
    this.#post({ type: "decrypting", at: performance.timeOrigin + performance.now() });
    return true;
  }

  #retryHeld(): void {
    const now = performance.now();
    for (const receiver of this.#receivers.keys()) receiver.handleHeld(now);
  }

  // One timer while any frame waits.
  #watchHeld(): void {
    if (this.#heldTimer !== undefined) return;
    let earliest = Infinity;
    for (const receiver of this.#receivers.keys()) earliest = Math.min(earliest, receiver.deadline ?? Infinity);
    if (earliest === Infinity) return;
    this.#heldTimer = setTimeout(() => {
      this.#heldTimer = undefined;
      this.#guard(() => {
        this.#retryHeld();
        this.#watchHeld();
      });
    }, Math.max(1, earliest - performance.now()));
  }

  #closeConnection(connection: number): void {
    for (const sender of this.#senders) {
      if (sender.connection !== connection) continue;
      sender.close();
      this.#senders.delete(sender);
    }
    for (const receiver of this.#receivers.keys()) {
      if (receiver.connection !== connection) continue;
      receiver.close();
      this.#receivers.delete(receiver);
    }
  }

  #counts(restartGaps: boolean): Counts {
    const now = performance.now();
    return {
      senders: [...this.#senders].map((sender) => sender.counts),
      receivers: [...this.#receivers.keys()].map((receiver) => receiver.readCounts(now, restartGaps)),
      socketFrames: { ...this.#socketFrames },
    };
  }

  #recordings(): readonly EncoderRecording[] {
    return this.#running?.recorder?.recordings ?? [];
  }
}
