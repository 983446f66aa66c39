/**
 * The two peer connections and the talk with the server about them. `setReady` follows the session; everything that
 * fails is tried again after a while as long as the server knows us.
 */
import type { MediaConnection, ParticipantId, Problem, NoticeCode, Source } from "./api.ts";
import type { ClientControl, PathReport, ServerControl, Slot, TurnCredentials } from "./control.ts";
import { unreachable } from "./check.ts";
import { sources } from "./ids.ts";
import type { Counts } from "./messages.ts";
import { baseCodec, type VideoCodec } from "./codecs.ts";
import { mediaConnection } from "./peer.ts";
import { PublishConnection } from "./publish.ts";
import type { ViewMessage } from "./stage-view.ts";
import { SubscribeConnection } from "./subscribe.ts";

/** The server answers each request at once, if only to refuse it: silence means that the socket is dead. */
const answerTimeoutMs = 6000;
const retryDelayMs = 1000;
/** ICE often mends itself within this time after "disconnected". */
const interruptedPatienceMs = 2500;
const connectPatienceMs = 10_000;
/** UDP takes a fraction of a second, TCP some two; who is not there by then, and could come inside TLS, tries that. */
const directPatienceMs = 2000;

export interface MediaSessionPort {
  readonly worker: Worker;
  /** The server may know how loud the microphone is; as it is now. */
  tellsLevels(): boolean;
  send(message: ClientControl): void;
  /** The server does not answer. */
  onSilence(): void;
  closeConnection(connection: number): void;
  onState(side: "publish" | "subscribe", state: MediaConnection): void;
  onSubscription(connection: number): void;
  onStream(connection: number, mid: string, stream: MediaStream): void;
  onSlots(sequence: number, slots: readonly Slot[], voices: number): void;
  onNotice(notice: Problem<NoticeCode>): void;
  onNewPublication(): void;
}

type Tracks = Readonly<Record<Source, MediaStreamTrack | null>>;

export class MediaSession {
  readonly #port: MediaSessionPort;
  #publish: PublishConnection | null = null;
  #subscribe: SubscribeConnection | null = null;
  #ready = false;
  #closed = false;
  #request = 0;
  #publishRequest: number | null = null;
  #restarting = false;
  #subscribeRequest: number | null = null;
  #publishTimer: ReturnType<typeof setTimeout> | undefined;
  #subscribeTimer: ReturnType<typeof setTimeout> | undefined;
  /** What #subscribeTimer waits for is to subscribe anew, something having failed. */
  #subscribesLater = false;
  #offers: Promise<void> = Promise.resolve();
  #tracks: Tracks = { microphone: null, camera: null, screen: null };
  #active: readonly Source[] = [];
  #codec: VideoCodec = baseCodec;
  /** What the server was told last, since it answered our offer; null: nothing yet. */
  #sentSources: string | null = null;
  #sentView: string | null = null;
  #sentVoices = "[]";
  #path: PathReport | null = null;
  #turn: TurnCredentials | null = null;
  /** Nothing else has connected. It stays so while this page is open, for the network is most likely the same. */
  #needsTurn = false;
  #hasConnected = false;
  /** Attempts in a row that came to nothing. */
  #missed = 0;
  readonly #stopped: Set<Source>;

  /** `stopped`: what the watchdog has found to leave unencrypted, and adds to. It is not sent again on any connection, nor with another engine. */
  constructor(port: MediaSessionPort, stopped: Set<Source>) {
    this.#port = port;
    this.#stopped = stopped;
  }

  get publishConnection(): PublishConnection | null {
    return this.#publish;
  }

  /** What the server said last about the path to us; null before it did. */
  get path(): PathReport | null {
    return this.#path;
  }

  /** What is on the screen. Told to the server when it is something else than before. */
  setView({ tiles, speakers }: ViewMessage): void {
    const text = JSON.stringify([tiles, speakers]);
    if (!this.#ready || this.#subscribe === null || this.#subscribeRequest !== null || text === this.#sentView) return;
    this.#sentView = text;
    this.#port.send(speakers === null ? { type: "view", tiles } : { type: "view", tiles, speakers });
  }

  /** Whose microphones we want where not all have a slot. Told to the server when they are others than before. */
  setVoices(of: readonly ParticipantId[]): void {
    const text = JSON.stringify(of);
    if (!this.#ready || this.#subscribe === null || this.#subscribeRequest !== null || text === this.#sentVoices) return;
    this.#sentVoices = text;
    this.#port.send({ type: "voices", of });
  }

  get subscribeConnection(): SubscribeConnection | null {
    return this.#subscribe;
  }

  /** The server knows us. `anew`: as somebody it has not seen before, so that the old connections mean nothing. */
  handleReady(anew: boolean): void {
    this.#ready = true;
    if (anew) {
      this.#closePublish();
      this.#closeSubscribe();
    }
    this.#startPublish();
    this.#startSubscribe();
  }

  handleNotReady(): void {
    this.#ready = false;
    this.#sentView = null;
    this.#sentVoices = "[]";
    this.#publishRequest = null;
    this.#subscribeRequest = null;
    clearTimeout(this.#publishTimer);
    clearTimeout(this.#subscribeTimer);
  }

  handleControl(message: ServerControl): void {
    switch (message.type) {
      case "published":
        if (message.id === this.#publishRequest) void this.#handlePublished(message.sdp);
        return;
      case "offer":
        // One after the other: a connection takes one description at a time.
        this.#offers = this.#offers.then(() => this.#handleOffer(message.revision, message.sdp));
        return;
      case "slots":
        // After the offer that they belong to.
        this.#offers = this.#offers.then(() => this.#port.onSlots(message.sequence, message.slots, message.voices));
        return;
      case "layers":
        if (message.source !== "screen_audio") void this.#publish?.setLayers(message.source, message.active);
        return;
      case "path":
        this.#path = message;
        return;
      case "turn":
        this.#turn = message;
        return;
      case "error":
        this.#handleError(message.id, message.message);
        return;
      default:
        unreachable(message);
    }
  }

  /** The tracks that shall go out, and what the server is told to forward. */
  setTracks(tracks: Tracks, active: readonly Source[]): void {
    this.#tracks = tracks;
    this.#active = active.filter((source) => !this.#stopped.has(source));
    void this.#applyTracks();
    this.#sendSources();
  }

  /** The codec of all pictures from the next frame on. */
  setVideoCodec(codec: VideoCodec): void {
    this.#codec = codec;
    void this.#publish?.setVideoCodec(codec);
  }

  /** Compares what left with what the worker encrypted (read before the counts, so that it cannot be ahead of them). */
  async checkNothingUnprotected(counts: () => Promise<Counts | null>): Promise<void> {
    const publish = this.#publish;
    if (publish === null) return;
    const outbound = await publish.outbound();
    const workers = await counts();
    if (publish !== this.#publish) return; // closed meanwhile, and forgotten by the worker: its counts are no measure for what was sent
    // Chromium counts frames as sent before a worker that is dead lets none of them out: the engine is started anew then, and nothing can be said of this one.
    if (workers === null) return;
    for (const [source, { sent }] of outbound) {
      const own = workers.senders.find((sender) => sender.connection === publish.number && sender.source === source);
      if (this.#stopped.has(source) || sent <= (own?.protected ?? 0)) continue;
      this.#stopped.add(source);
      await publish.stop(source);
      this.setTracks(this.#tracks, this.#active);
      this.#port.onNotice({
        code: "media-stopped-unencrypted",
        message: `This browser sent media of your ${source} without encrypting it, so sending was stopped.`,
        advice: "Reload the page. If it happens again, use another browser and report it.",
      });
    }
  }

  /**
   * Whether the server may know how loud the microphone is has changed. What it may know is offered on the connection that there is; what it may not know
   * any more ends at once with that connection, for an offer without it would leave it to the server when, and whether, it ends.
   */
  handleTellsLevels(): void {
    if (this.#publish === null) return;
    if (this.#port.tellsLevels()) this.#startPublish();
    else if (this.#publish.offersLevels) this.#publishAnew();
  }

  close(): void {
    this.#closed = true;
    this.handleNotReady();
    this.#closePublish();
    this.#closeSubscribe();
  }

  // ---- Publishing ----

  #startPublish(): void {
    clearTimeout(this.#publishTimer);
    if (!this.#ready || this.#closed) return;
    this.#restarting = this.#publish !== null;
    this.#publish ??= this.#newPublish();
    void this.#offerPublish(this.#publish, this.#nextRequest());
    this.#publishTimer = setTimeout(() => this.#port.onSilence(), answerTimeoutMs);
  }

  #newPublish(): PublishConnection {
    const connection = new PublishConnection(this.#port.worker, () => this.#port.tellsLevels(), this.#turnIfNeeded, (state) => {
      if (connection === this.#publish) this.#watchPublish(state);
    });
    void connection.setVideoCodec(this.#codec);
    this.#port.onNewPublication();
    return connection;
  }

  async #offerPublish(connection: PublishConnection, id: number): Promise<void> {
    this.#publishRequest = id;
    try {
      const sdp = await connection.offer();
      if (this.#publishRequest === id) this.#port.send({ type: this.#restarting ? "restart" : "publish", id, sdp });
    } catch {
      if (this.#publishRequest === id) this.#publishLater();
    }
  }

  async #handlePublished(sdp: string): Promise<void> {
    const connection = this.#publish;
    this.#publishRequest = null;
    this.#sentSources = null;
    clearTimeout(this.#publishTimer);
    if (connection === null) return;
    if (!connection.canContinueWith(sdp)) {
      this.#publishAnew();
      return;
    }
    try {
      await connection.accept(sdp);
      await this.#applyTracks();
      this.#sendSources();
      this.#watchPublish(connection.state);
    } catch {
      if (connection === this.#publish) this.#publishLater();
    }
  }

  // A timer for each state that should not last.
  #watchPublish(state: RTCPeerConnectionState): void {
    this.#port.onState("publish", mediaConnection(state));
    if (this.#publishRequest !== null) return;
    clearTimeout(this.#publishTimer);
    switch (state) {
      case "connected":
        return this.#connected();
      case "closed":
        return;
      case "new":
      case "connecting":
        this.#publishTimer = setTimeout(() => this.#publishOtherwise(), this.#patienceMs(this.#publish));
        return;
      case "disconnected":
        this.#publishTimer = setTimeout(() => this.#startPublish(), interruptedPatienceMs);
        return;
      case "failed":
        this.#publishOtherwise();
        return;
    }
  }

  #publishLater(): void {
    this.#publishRequest = null;
    clearTimeout(this.#publishTimer);
    this.#publishTimer = setTimeout(() => this.#publishAnew(), retryDelayMs);
  }

  /** It came to nothing: once more, inside TLS if need be. */
  #publishOtherwise(): void {
    this.#missAttempt();
    this.#publishAnew();
  }

  #publishAnew(): void {
    this.#closePublish();
    this.#startPublish();
  }

  #closePublish(): void {
    this.#publishRequest = null;
    clearTimeout(this.#publishTimer);
    if (this.#publish === null) return;
    this.#publish.close();
    this.#port.closeConnection(this.#publish.number);
    this.#publish = null;
    this.#port.onState("publish", "none");
  }

  async #applyTracks(): Promise<void> {
    const publish = this.#publish;
    if (publish === null) return;
    for (const source of sources) {
      const track = this.#active.includes(source) ? this.#tracks[source] : null;
      await publish.setTrack(source, track);
    }
  }

  #sendSources(): void {
    const text = this.#active.join();
    if (!this.#ready || this.#publish === null || this.#publishRequest !== null || text === this.#sentSources) return;
    this.#sentSources = text;
    this.#port.send({ type: "sources", active: this.#active });
  }

  // ---- Subscribing ----

  #startSubscribe(): void {
    clearTimeout(this.#subscribeTimer);
    this.#subscribesLater = false;
    if (!this.#ready || this.#closed) return;
    const id = this.#nextRequest();
    this.#subscribeRequest = id;
    this.#port.send({ type: "subscribe", id });
    this.#subscribeTimer = setTimeout(() => this.#port.onSilence(), answerTimeoutMs);
  }

  async #handleOffer(revision: number, sdp: string): Promise<void> {
    if (!this.#ready || this.#closed) return;
    if (this.#subscribe !== null && !this.#subscribe.canContinueWith(sdp)) this.#closeSubscribe();
    // An offer of other slots changes nothing of how it connects, nor of how long that may take.
    const connects = this.#subscribe === null || this.#subscribeRequest !== null || this.#subscribesLater;
    if (connects) clearTimeout(this.#subscribeTimer);
    this.#subscribesLater = false;
    this.#subscribeRequest = null;
    const connection = this.#subscribe ?? this.#newSubscribe(sdp);
    this.#subscribe = connection;
    try {
      const answer = await connection.answer(sdp);
      if (connection !== this.#subscribe || !this.#ready) return;
      this.#port.send({ type: "answer", revision, sdp: answer });
      if (connects) this.#watchSubscribe(connection.state);
    } catch {
      if (connection === this.#subscribe) this.#subscribeLater();
    }
  }

  #newSubscribe(firstOffer: string): SubscribeConnection {
    const connection: SubscribeConnection = new SubscribeConnection(
      this.#port.worker,
      firstOffer,
      (mid, stream) => this.#port.onStream(connection.number, mid, stream),
      this.#turnIfNeeded,
      (state) => {
        if (connection === this.#subscribe) this.#watchSubscribe(state);
      },
    );
    this.#port.onSubscription(connection.number);
    return connection;
  }

  #watchSubscribe(state: RTCPeerConnectionState): void {
    this.#port.onState("subscribe", mediaConnection(state));
    if (this.#subscribeRequest !== null) return;
    clearTimeout(this.#subscribeTimer);
    switch (state) {
      case "connected":
        return this.#connected();
      case "closed":
        return;
      case "new":
      case "connecting":
        this.#subscribeTimer = setTimeout(() => this.#subscribeOtherwise(), this.#patienceMs(this.#subscribe));
        return;
      case "disconnected":
        this.#subscribeTimer = setTimeout(() => this.#startSubscribe(), interruptedPatienceMs);
        return;
      case "failed":
        this.#subscribeOtherwise();
        return;
    }
  }

  #subscribeLater(): void {
    this.#subscribesLater = true;
    this.#subscribeRequest = null;
    clearTimeout(this.#subscribeTimer);
    this.#subscribeTimer = setTimeout(() => this.#subscribeAnew(), retryDelayMs);
  }

  /** It came to nothing: once more, inside TLS if need be. */
  #subscribeOtherwise(): void {
    this.#missAttempt();
    this.#subscribeAnew();
  }

  #subscribeAnew(): void {
    this.#closeSubscribe();
    this.#startSubscribe();
  }

  #closeSubscribe(): void {
    this.#subscribeRequest = null;
    clearTimeout(this.#subscribeTimer);
    if (this.#subscribe === null) return;
    this.#subscribe.close();
    this.#port.closeConnection(this.#subscribe.number);
    this.#subscribe = null;
    this.#port.onState("subscribe", "none");
  }

  // ----

  /** Who was connected otherwise before most likely can be again, once the server or the network is back; but the network may be another one now. */
  #missAttempt(): void {
    this.#missed += 1;
    this.#needsTurn ||= this.#turn !== null && (!this.#hasConnected || this.#missed > 2);
  }

  #connected(): void {
    this.#hasConnected = true;
    this.#missed = 0;
  }

  get #turnIfNeeded(): TurnCredentials | null {
    return this.#needsTurn ? this.#turn : null;
  }

  /** How long an attempt may take: not long if it is one that does not go inside TLS, and that could be what is needed. */
  #patienceMs(attempt: { readonly hasTurn: boolean } | null): number {
    const another = this.#turn !== null && attempt?.hasTurn !== true && (this.#needsTurn || !this.#hasConnected);
    return another ? directPatienceMs : connectPatienceMs;
  }

  #handleError(id: number | null, message: string): void {
    if (id !== null && id === this.#publishRequest) {
      // Refused a restart: it does not know that connection any more.
      if (this.#restarting) this.#publishAnew();
      else this.#publishLater();
    } else if (id !== null && id === this.#subscribeRequest) {
      this.#subscribeLater();
    } else {
      this.#port.onNotice({ code: "server-message", message, advice: "The meeting goes on; reload the page if something does not work." });
    }
  }

  #nextRequest(): number {
    this.#request += 1;
    return this.#request;
  }
}
