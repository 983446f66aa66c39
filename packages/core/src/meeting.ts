/** Ties the parts together: engine (worker), capture, media connections, model. Effects are here, decisions in `model`. */
import type {
  AudioLevels,
  DeviceKind,
  Meeting,
  MeetingError,
  MeetingOptions,
  MeetingState,
  MeetingStats,
  NoticeCode,
  ParticipantId,
  Problem,
  Source,
  StageView,
} from "./api.ts";
import { Capture } from "./capture.ts";
import { baseCodec, chooseVideoCodec, usableVideoCodecs, type VideoCodec, videoCodecs } from "./codecs.ts";
import { cleanChat } from "./chat.ts";
import { unreachable } from "./check.ts";
import { installDebugHook } from "./debug.ts";
import { type DebugOptions, debugOptions } from "./debug-options.ts";
import { EngineClient, takeEngine } from "./engine-client.ts";
import { missingFeatures } from "./features.ts";
import { decodeRoomSecret, makeRoomLink } from "./link.ts";
import { MediaSession, type MediaSessionPort } from "./media-session.ts";
import type { FromWorker } from "./messages.ts";
import { audibleMids, activeSources, canSend, type Change, codecsOfOthers, initialModel, type Model, ownAnnouncement, reduce, refused, view } from "./model.ts";
import { SpeakerDetector } from "./speakers.ts";
import { viewMessage } from "./stage-view.ts";
import type { SessionEvent } from "./session-events.ts";
import { collectStats } from "./stats.ts";
import { Store } from "./store.ts";
import { standardSuite } from "./suites.ts";
import { isCrowded, VoiceTeller, wantedVoices } from "./voices.ts";

const watchdogIntervalMs = 1000;
const speakersIntervalMs = 300;
/** Questions in a row that the engine leaves unanswered, each for three seconds, before it counts as dead. */
const silentCountsTolerated = 3;
/** An engine that stops again within this time after that many new starts is not started any more. */
const maxRestarts = 3;
const restartsForgottenMs = 5 * 60_000;
const maxFirstAttempts = 6;
const closeReplaced = 4409;
const leaveTimeoutMs = 1000;
const maxNameBytes = 64;
/** A member that has not said by then what it reads is taken to read what all browsers do. */
const codecPatienceMs = 3000;
/** To a better codec only when things have settled: each change costs a key frame. To one that all read at once. */
const betterCodecDelayMs = 1000;

export function createMeeting(options: MeetingOptions): Meeting {
  return new EncryptedMeeting(options);
}

type Times = { -readonly [Step in keyof MeetingStats["times"]]: MeetingStats["times"][Step] };

class EncryptedMeeting implements Meeting {
  readonly #options: MeetingOptions;
  readonly #debug: DebugOptions;
  readonly #capture: Capture;
  #engine: EngineClient | null;
  #media: MediaSession | null;
  readonly #ending = new AbortController();
  readonly #states: Store<MeetingState>;
  #model: Model;
  #watchdog: ReturnType<typeof setInterval> | undefined;
  #listener: ReturnType<typeof setInterval> | undefined;
  readonly #detector = new SpeakerDetector();
  #hearing = false;
  #voice = new VoiceTeller();
  #written = 0;
  #listeningToSelf: AbortController | null = null;
  #watching = false;
  #unansweredCounts = 0;
  #restarts: number[] = []; // performance.now() of each
  #joined = false;
  #incarnation: ParticipantId | null = null;
  #noticeId = 0;
  #announced = "";
  #codecs: readonly VideoCodec[] = [baseCodec];
  #codec: VideoCodec = baseCodec;
  #forcedCodec: VideoCodec | null = null;
  /** What the watchdog stopped: the browser is the same with a new engine. */
  readonly #stopped = new Set<Source>();
  #codecTimer: ReturnType<typeof setTimeout> | undefined;
  #rosterChangedAt = -Infinity;
  #startedAt: number | null = null;
  readonly #times: Times = {
    socketOpen: null,
    inRoom: null,
    firstFrameProtected: null,
    firstRemoteFrameDecrypted: null,
  };
  #leaving: Promise<void> | null = null;
  #handleLeft: () => void = () => undefined;

  constructor(options: MeetingOptions) {
    this.#options = options;
    this.#debug = debugOptions();
    this.#capture = new Capture(
      {
        videoSize: this.#debug.videoSize,
        ...(options.devices === undefined ? {} : { chosen: options.devices }),
        ...(options.local === undefined ? {} : { tracks: options.local }),
      },
      (source) => this.#handleEnded(source),
    );
    this.#model = initialModel(options.room, this.#capture.store.state, options.suite, options.audioLevels);
    this.#states = new Store(view(this.#model));
    // The engine loads while the person still looks for the button.
    const canRun = missingFeatures().length === 0;
    this.#engine = canRun ? takeEngine() : null;
    if (canRun) this.#codecs = this.#debug.reads ?? usableVideoCodecs();
    this.#media = this.#engine === null ? null : this.#newMediaSession(this.#engine);
    this.#capture.store.subscribe((capture) => this.#handleCapture(capture), this.#ending.signal);
    this.#listenTo(this.#engine);
    if (this.#debug.enabled) {
      installDebugHook({
        state: () => this.getState(),
        stats: () => this.stats(),
        encoderOutput: async () => (await this.#engine?.recordings()) ?? [],
        sendCodec: (codec) => {
          this.#forcedCodec = codec;
          this.#chooseCodec();
        },
        counts: async () => (await this.#engine?.counts()) ?? null,
        startedAt: () => this.#startedAt,
      });
    }
  }

  getState(): MeetingState {
    return this.#states.state;
  }

  subscribe(listener: (state: MeetingState) => void, signal: AbortSignal): void {
    this.#states.subscribe(listener, signal);
  }

  async join(): Promise<void> {
    const engine = this.#engine;
    if (this.#joined) return;
    this.#joined = true;
    if (engine === null) {
      this.#apply({ type: "fail", error: missingFeaturesError() });
      return;
    }
    this.#startedAt = absoluteNow();
    this.#apply({ type: "socket", status: "connecting", attempt: 1 });
    await this.#start(engine);
    this.#watchdog = setInterval(() => void this.#watch(), watchdogIntervalMs);
    this.#listener = setInterval(() => void this.#hear(), speakersIntervalMs);
    // The others learn at once, not after the time that a lost connection is given.
    globalThis.addEventListener("pagehide", () => this.#engine?.post({ type: "leave" }), { signal: this.#ending.signal });
    globalThis.addEventListener("online", () => void this.#watch(), { signal: this.#ending.signal });
  }

  async #start(engine: EngineClient): Promise<void> {
    await engine.listening;
    engine.post({
      type: "start",
      options: {
        signaling: webSocketUrl(this.#options.serverUrl),
        room: this.#options.room,
        secret: this.#options.secret === null ? new Uint8Array() : decodeRoomSecret(this.#options.secret),
        suite: this.#options.suite ?? standardSuite,
        displayName: cutName(this.#options.displayName),
        deviceIdentity: this.#options.deviceIdentity ?? "persistent",
        recordEncoderOutput: this.#debug.recordEncoderOutput,
      },
    });
    this.#announced = "";
    this.#announce();
  }

  /** Once, however often it is called: all wait for the same goodbye. */
  leave(): Promise<void> {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave(): Promise<void> {
    const engine = this.#engine;
    if (this.#ending.signal.aborted) return;
    if (engine !== null && this.#joined) {
      const left = new Promise<void>((resolve) => {
        this.#handleLeft = resolve;
        setTimeout(resolve, leaveTimeoutMs);
      });
      engine.post({ type: "leave" });
      this.#capture.stop();
      this.#media?.close();
      await left;
      // The worker's socket still delivers the goodbye.
      setTimeout(() => engine.terminate(), leaveTimeoutMs);
    } else {
      engine?.terminate();
    }
    this.#apply({ type: "session", event: { type: "left" }, calendarMs: Date.now() });
    this.#end();
  }

  setMicrophone(on: boolean): Promise<void> {
    return this.#capture.setMicrophone(on);
  }

  setCamera(on: boolean): Promise<void> {
    return this.#capture.setCamera(on);
  }

  startScreenShare(): Promise<void> {
    return this.#capture.setScreen(true);
  }

  stopScreenShare(): Promise<void> {
    return this.#capture.setScreen(false);
  }

  chooseDevice(kind: DeviceKind, id: string | null): Promise<void> {
    return this.#capture.chooseDevice(kind, id);
  }

  sendChat(text: string): boolean {
    const clean = cleanChat(text);
    if (clean === "" || !canSend(this.#model)) return false;
    const written = { number: this.#written, text: clean };
    this.#written += 1;
    this.#apply({ type: "chat", calendarMs: Date.now(), ...written });
    this.#engine?.post({ type: "chat", ...written });
    return true;
  }

  invitationLink(): string | null {
    const { serverUrl, room, secret, suite } = this.#options;
    return secret === null ? null : makeRoomLink(serverUrl, room, secret, suite);
  }

  watchMicrophoneLevel(listener: (level: number) => void, signal: AbortSignal): void {
    this.#capture.watchMicrophoneLevel(listener, AbortSignal.any([signal, this.#ending.signal]));
  }

  setView(stage: StageView): void {
    this.#media?.setView(viewMessage(this.#model, stage));
  }

  setAudioLevels(levels: AudioLevels): void {
    if (levels === this.#model.audioLevels) return;
    this.#apply({ type: "audio-levels", levels });
    this.#media?.handleTellsLevels();
  }

  dismissNotice(id: number): void {
    this.#apply({ type: "dismiss", id });
  }

  async stats(): Promise<MeetingStats> {
    return collectStats(this.#model, this.#times, this.#engine, this.#media);
  }

  // ---- From the engine ----

  #listenTo(engine: EngineClient | null): void {
    engine?.listen((message) => {
      if (engine === this.#engine) this.#handleEngine(message);
    });
  }

  /**
   * The engine is dead, or not to be trusted any more. Its keys died with it, so this comes back as somebody new; both connections go too,
   * since their transforms were the old engine's.
   */
  #restartEngine(reason: string): void {
    const now = performance.now();
    this.#restarts = this.#restarts.filter((at) => now - at < restartsForgottenMs);
    this.#media?.close();
    this.#engine?.terminate();
    if (this.#incarnation === null || this.#restarts.length >= maxRestarts) {
      this.#fail({
        code: "engine-failed",
        message: `The encryption engine stopped: ${reason}.`,
        advice: `Reload the page to come back.${this.#nothingLeaked}`,
      });
      return;
    }
    this.#restarts.push(now);
    this.#incarnation = null;
    this.#unansweredCounts = 0;
    const engine = new EngineClient();
    this.#engine = engine;
    this.#media = this.#newMediaSession(engine);
    this.#media.setVideoCodec(this.#codec);
    this.#listenTo(engine);
    this.#apply({ type: "session", event: { type: "rejoining", reason: "engine", committer: "" }, calendarMs: Date.now() });
    for (const source of this.#model.protecting) this.#apply({ type: "protecting", source, on: false });
    this.#notice({
      code: "engine-restarted",
      message: "The encryption engine of this page stopped and was started anew.",
      advice: `You come back by yourself, with fresh keys.${this.#nothingLeaked}`,
    });
    void this.#start(engine);
  }

  get #nothingLeaked(): string {
    return this.#stopped.size === 0 ? " Nothing was sent unencrypted." : "";
  }

  #handleEngine(message: FromWorker): void {
    if (this.#ending.signal.aborted) return;
    switch (message.type) {
      case "listening":
      case "counts":
      case "recordings":
        return;
      case "socket":
        this.#handleSocket(message);
        return;
      case "control":
        this.#media?.handleControl(message.message);
        return;
      case "session":
        this.#handleSession(message.event);
        return;
      case "proof":
        this.#apply({ type: "proof", proof: message.proof });
        return;
      case "protecting":
        this.#times.firstFrameProtected ??= this.#sinceStart(message.at);
        if (message.connection === this.#media?.publishConnection?.number) {
          this.#apply({ type: "protecting", source: message.source, on: true });
        }
        return;
      case "decrypting":
        this.#times.firstRemoteFrameDecrypted ??= this.#sinceStart(message.at);
        return;
      case "chat-doubtful":
        this.#apply({ type: "chat-doubtful", numbers: message.numbers });
        return;
      case "failed":
        this.#restartEngine(message.reason);
        return;
      default:
        unreachable(message);
    }
  }

  #handleSocket(message: Extract<FromWorker, { type: "socket" }>): void {
    switch (message.status) {
      case "open":
        this.#times.socketOpen ??= this.#sinceStart(absoluteNow());
        break;
      case "closed":
        this.#media?.handleNotReady();
        if (message.code === closeReplaced) {
          this.#fail({
            code: "opened-elsewhere",
            message: "This meeting goes on in another window.",
            advice: "Close this one, or reload it to join again.",
          });
          return;
        }
        if (!this.#model.hasEntered && this.#incarnation === null && message.attempt >= maxFirstAttempts) {
          const { said, isSaidNow } = this.#model;
          if (isSaidNow) {
            this.#fail(refused(null, said, "Try again in a moment. If it goes on, ask whoever runs the server."));
            return;
          }
          this.#fail({
            code: "server-unreachable",
            message: "The server cannot be reached.",
            advice: "Check your network connection, then reload the page.",
          });
          return;
        }
        break;
      case "connecting":
        break;
      default:
        unreachable(message.status);
    }
    this.#apply({ type: "socket", status: message.status, attempt: message.attempt });
  }

  #handleSession(event: SessionEvent): void {
    this.#apply({ type: "session", event, calendarMs: Date.now() });
    switch (event.type) {
      case "ready": {
        const anew = event.incarnation !== this.#incarnation;
        this.#incarnation = event.incarnation;
        this.#media?.handleReady(anew);
        return;
      }
      case "epoch":
        this.#times.inRoom ??= this.#sinceStart(absoluteNow());
        this.#rosterChangedAt = performance.now();
        this.#chooseCodec();
        this.#sendTracks();
        return;
      case "rejoining":
        this.#media?.handleNotReady();
        return;
      case "error":
        // The model has failed by it already, and says why.
        if (event.fatal) this.#shutDown();
        return;
      case "left":
        this.#handleLeft();
        return;
      case "departed":
      case "announcement":
        this.#chooseCodec();
        return;
      case "present":
      case "devices":
      case "waiting":
      case "overdue":
      case "keys":
      case "stream":
      case "voice":
      case "chat":
        return;
      default:
        unreachable(event);
    }
  }

  // ---- From the devices ----

  #handleCapture(capture: Model["capture"]): void {
    this.#apply({ type: "capture", capture });
    this.#sendTracks();
    this.#announce();
  }

  #handleEnded(source: Source): void {
    if (source === "screen") {
      this.#notice({ code: "screen-share-ended", message: "Screen sharing has ended.", advice: "Share again whenever you like." });
    } else {
      this.#notice({
        code: "device-lost",
        message: `Your ${source} was disconnected.`,
        advice: "Connect it again or choose another one, then turn it on.",
      });
    }
  }

  // Before one is a member there is no key: encoding would only make frames that have to be dropped.
  #sendTracks(): void {
    const { capture, hasEntered } = this.#model;
    if (hasEntered) this.#media?.setTracks(capture.tracks, activeSources(capture));
  }

  #announce(): void {
    const state = ownAnnouncement(this.#model.capture, this.#codecs);
    const text = JSON.stringify(state);
    if (!this.#joined || text === this.#announced) return;
    this.#announced = text;
    this.#engine?.post({ type: "announce", state });
  }

  // ---- Media ----

  #chooseCodec(): void {
    clearTimeout(this.#codecTimer);
    const now = performance.now();
    const settledAt = this.#rosterChangedAt + codecPatienceMs;
    const others = codecsOfOthers(this.#model).map((reads) => reads ?? (now >= settledAt ? [baseCodec] : null));
    const wanted = this.#forcedCodec ?? chooseVideoCodec(this.#codecs, others, this.#codec);
    const isBetter = this.#forcedCodec === null && videoCodecs.indexOf(wanted) < videoCodecs.indexOf(this.#codec);
    const betterAt = this.#rosterChangedAt + betterCodecDelayMs;
    if (wanted !== this.#codec && (!isBetter || now >= betterAt)) {
      this.#codec = wanted;
      this.#media?.setVideoCodec(wanted);
    }
    if (this.#ending.signal.aborted) return;
    const again = [...(isBetter && now < betterAt ? [betterAt] : []), ...(others.includes(null) ? [settledAt] : [])];
    if (again.length > 0) this.#codecTimer = setTimeout(() => this.#chooseCodec(), Math.max(1, Math.min(...again) - now));
  }

  #newMediaSession(engine: EngineClient): MediaSession {
    const port: MediaSessionPort = {
      worker: engine.worker,
      tellsLevels: () => this.#model.audioLevels === "told",
      send: (message) => engine.post({ type: "control", message }),
      onSilence: () => engine.post({ type: "reconnect" }),
      closeConnection: (connection) => engine.post({ type: "close-connection", connection }),
      onState: (side, state) => {
        this.#apply({ type: "media", side, state });
        if (state === "failed") {
          this.#notice({
            code: "media-connection-failed",
            message: "Sound and pictures do not get through.",
            advice: "We keep trying. A firewall may be in the way: try another network.",
          });
        }
      },
      onSubscription: (connection) => this.#apply({ type: "subscription", connection }),
      onStream: (connection, mid, stream) => this.#apply({ type: "stream", connection, mid, stream }),
      onSlots: (sequence, slots, voices) => this.#apply({ type: "slots", sequence, slots, voices }),
      onNotice: (notice) => this.#notice(notice),
      onNewPublication: () => {
        for (const source of this.#model.protecting) this.#apply({ type: "protecting", source, on: false });
      },
    };
    return new MediaSession(port, this.#stopped);
  }

  async #watch(): Promise<void> {
    const engine = this.#engine;
    if (this.#watching || engine === null) return;
    this.#watching = true;
    try {
      await this.#media?.checkNothingUnprotected(async () => {
        const counts = await engine.counts();
        if (engine === this.#engine) this.#unansweredCounts = counts === null ? this.#unansweredCounts + 1 : 0;
        return counts;
      });
      if (this.#unansweredCounts >= silentCountsTolerated && !this.#ending.signal.aborted) this.#restartEngine("it does not answer");
    } finally {
      this.#watching = false;
    }
  }

  /** Of a room with more microphones than slots, in which the server does not know who speaks: whom we want to hear, and that we speak ourselves. */
  #mindVoices(): void {
    this.#media?.setVoices(wantedVoices(this.#model, performance.now()));
    const isNeeded = isCrowded(this.#model) && this.#model.audioLevels === "hidden" && this.#model.capture.local.microphone.status === "on";
    if (!isNeeded) {
      this.#listeningToSelf?.abort();
      this.#listeningToSelf = null;
    } else if (this.#listeningToSelf === null) {
      this.#listeningToSelf = new AbortController();
      this.#voice = new VoiceTeller();
      this.watchMicrophoneLevel((level) => {
        if (this.#voice.handle(performance.now(), level, true)) this.#engine?.post({ type: "voice" });
      }, this.#listeningToSelf.signal);
    }
  }

  async #hear(): Promise<void> {
    this.#mindVoices();
    const subscribe = this.#media?.subscribeConnection ?? null;
    const mids = audibleMids(this.#model);
    if (this.#hearing || (mids.size === 0 && this.#model.speakers.speaking.size === 0 && this.#model.speakers.main === null)) return;
    this.#hearing = true;
    try {
      const byMid = (await subscribe?.levels(new Set(mids.keys()))) ?? new Map<string, number>();
      const levels = new Map([...byMid].flatMap(([mid, level]) => {
        const id = mids.get(mid);
        return id === undefined ? [] : [[id, level] as const];
      }));
      const members = new Set(this.#model.roster.map(({ incarnation }) => incarnation));
      if (this.#detector.handle(performance.now(), levels, members)) this.#apply({ type: "speakers", speakers: this.#detector.state });
    } catch {
      // The connection was closed meanwhile.
    } finally {
      this.#hearing = false;
    }
  }

  // ----

  #notice(notice: Problem<NoticeCode>): void {
    this.#noticeId += 1;
    this.#apply({ type: "notice", notice, id: this.#noticeId });
  }

  #fail(error: MeetingError): void {
    this.#apply({ type: "fail", error });
    this.#shutDown();
  }

  #shutDown(): void {
    this.#end();
    this.#engine?.terminate();
  }

  #end(): void {
    clearInterval(this.#watchdog);
    clearInterval(this.#listener);
    clearTimeout(this.#codecTimer);
    this.#capture.stop();
    this.#media?.close();
    this.#ending.abort();
  }

  #apply(change: Change): void {
    this.#model = reduce(this.#model, change, performance.now());
    this.#states.set(view(this.#model));
  }

  #sinceStart(at: number): number {
    return at - (this.#startedAt ?? at);
  }
}

/** Comparable between the page and the worker. */
function absoluteNow(): number {
  return performance.timeOrigin + performance.now();
}

function webSocketUrl(serverUrl: string): string {
  const url = new URL("/ws", serverUrl);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** At most 64 bytes of UTF-8, cut at a character's end. */
export function cutName(name: string): string {
  const encoder = new TextEncoder();
  let result = "";
  let size = 0;
  // What is invisible has no place in a name, and the module refuses it.
  for (const character of name.replace(/[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu, " ").trim()) {
    size += encoder.encode(character).length;
    if (size > maxNameBytes) break;
    result += character;
  }
  return result;
}

function missingFeaturesError(): MeetingError {
  const missing = missingFeatures();
  if (missing.includes("secure-context")) {
    return {
      code: "missing-features",
      message: "This page was not opened over a secure connection, so the browser denies it encryption and devices.",
      advice: "Open it with https:// at the front.",
    };
  }
  return {
    code: "missing-features",
    message: `This browser cannot encrypt meetings (missing: ${missing.join(", ")}).`,
    advice: "Use a current version of Chromium, Chrome, Edge or Firefox.",
  };
}
