/** What is known of a meeting, how each event changes it, and what a user interface sees of it. Pure. */
import type {
  AudioLevels,
  ChatMessage,
  Connection,
  MediaConnection,
  MeetingError,
  MeetingState,
  Notice,
  NoticeCode,
  Participant,
  ParticipantId,
  Problem,
  RoomName,
  RoomSuite,
  SafetyNumber,
  Source,
  SourceState,
  WaitingReason,
} from "./api.ts";
import type { CaptureState } from "./capture.ts";
import { maxChatMessages, maxChatOfOne, sentAgainForMs, type Written } from "./chat.ts";
import { unreachable } from "./check.ts";
import type { VideoCodec } from "./codecs.ts";
import { mostVoices, type Slot } from "./control.ts";
import { sourceOf, sources } from "./ids.ts";
import { standardSuite } from "./suites.ts";
import type { Proof } from "./messages.ts";
import { nobodySpeaks, type Speakers } from "./speakers.ts";
import type { Announcement, RosterEntry, SessionEvent } from "./session-events.ts";

const maxNotices = 8;
/** Numbers that are remembered of each member: more than it sends again. */
const maxReadNumbers = 128;
/** Of those who have left, whose last messages a commit may have overtaken: names, and what came of them already. */
const maxFormer = 64;
const maxBlamed = 8;
const maxVoices = 64;
/** UTF-16 units: a sentence. The server may send more, and it is shown in a heading. */
const maxServerWords = 200;
/** Of `error` (apps/wasm/README.md, docs/protocol.md). */
const ownFailure = 0;
const wrongSuite = 11;
/** Nobody honest says more often that they speak than every three seconds. */
const leastVoiceIntervalMs = 2000;

/** From the socket and the session together; each leads on to the next, and any one back to "away". */
export type Link =
  | { readonly at: "idle" }
  | { readonly at: "away"; readonly attempt: number } // no socket, or one that the server has not greeted
  | { readonly at: "ready" } // the server knows us
  | { readonly at: "waiting"; readonly reason: WaitingReason }
  | { readonly at: "in" } // member of the group
  | { readonly at: "left" }
  | { readonly at: "failed"; readonly error: MeetingError };

export interface Model {
  readonly room: RoomName;
  readonly suite: RoomSuite;
  readonly link: Link;
  /** performance.now() when `link` last came to where it is. */
  readonly linkSince: number;
  readonly hasEntered: boolean;
  /** What the server said when it turned us away for now; it lets us in later, or this stays the reason why not. */
  readonly said: string;
  /** It said that on the connection of now, which it closes after it. A connection that ends without a word has another reason. */
  readonly isSaidNow: boolean;
  readonly roster: readonly RosterEntry[];
  readonly epoch: { readonly era: number; readonly epoch: number } | null;
  readonly safetyNumber: SafetyNumber | null;
  readonly away: ReadonlySet<ParticipantId>;
  /** Gone for good, and still in the group until a commit takes them out. */
  readonly departed: ReadonlySet<ParticipantId>;
  /** The session says that a commit is needed and none comes. */
  readonly overdue: boolean;
  /** Names of those whose commits did not work for somebody, since the last epoch. */
  readonly blamed: readonly string[];
  readonly announced: ReadonlyMap<ParticipantId, Announcement>;
  /** Who said that they speak, and when: the latest first. */
  readonly voices: readonly { readonly incarnation: ParticipantId; readonly at: number }[];
  /** False: somebody who left still holds the keys, and new ones do not come. */
  readonly sends: boolean;
  readonly chat: readonly ChatMessage[];
  /** The numbers of what came of each member, and of who is in `former`, whether it is still in `chat` or not. */
  readonly read: ReadonlyMap<ParticipantId, readonly number[]>;
  readonly former: ReadonlyMap<ParticipantId, string>;
  readonly subscription: number | null;
  readonly slotSequence: number;
  readonly slots: ReadonlyMap<string, Slot>;
  /** Microphones that have slots at most, as the server says. */
  readonly slotsForVoices: number;
  readonly streams: ReadonlyMap<string, MediaStream>;
  readonly proofs: ReadonlyMap<string, Proof>;
  readonly protecting: ReadonlySet<Source>;
  /** Streams in which frames came that the member did not send, as `incarnation/source`. */
  readonly forged: ReadonlySet<string>;
  readonly speakers: Speakers;
  readonly capture: CaptureState;
  readonly audioLevels: AudioLevels;
  readonly media: { readonly publish: MediaConnection; readonly subscribe: MediaConnection };
  readonly notices: readonly Notice[];
}

export type Change =
  | { readonly type: "socket"; readonly status: "connecting" | "open" | "closed"; readonly attempt: number }
  | { readonly type: "session"; readonly event: SessionEvent; readonly calendarMs: number }
  | { readonly type: "fail"; readonly error: MeetingError }
  | { readonly type: "capture"; readonly capture: CaptureState }
  | { readonly type: "audio-levels"; readonly levels: AudioLevels }
  | { readonly type: "slots"; readonly sequence: number; readonly slots: readonly Slot[]; readonly voices: number }
  /** A new subscribing connection: nothing of the old one counts. */
  | { readonly type: "subscription"; readonly connection: number }
  | { readonly type: "stream"; readonly connection: number; readonly mid: string; readonly stream: MediaStream }
  | { readonly type: "proof"; readonly proof: Proof }
  | { readonly type: "speakers"; readonly speakers: Speakers }
  | { readonly type: "protecting"; readonly source: Source; readonly on: boolean }
  | { readonly type: "media"; readonly side: "publish" | "subscribe"; readonly state: MediaConnection }
  /** Written by ourselves. */
  | ({ readonly type: "chat"; readonly calendarMs: number } & Written)
  | { readonly type: "chat-doubtful"; readonly numbers: readonly number[] }
  | { readonly type: "notice"; readonly notice: Problem<NoticeCode>; readonly id: number }
  | { readonly type: "dismiss"; readonly id: number };

export function initialModel(room: RoomName, capture: CaptureState, suite: RoomSuite = standardSuite, audioLevels: AudioLevels = "hidden"): Model {
  return {
    room,
    suite,
    link: { at: "idle" },
    linkSince: 0,
    hasEntered: false,
    said: "",
    isSaidNow: false,
    roster: [],
    epoch: null,
    safetyNumber: null,
    away: new Set(),
    departed: new Set(),
    overdue: false,
    blamed: [],
    announced: new Map(),
    voices: [],
    sends: true,
    chat: [],
    read: new Map(),
    former: new Map(),
    subscription: null,
    slotSequence: -1,
    slots: new Map(),
    slotsForVoices: mostVoices,
    streams: new Map(),
    proofs: new Map(),
    protecting: new Set(),
    forged: new Set(),
    speakers: nobodySpeaks,
    capture,
    audioLevels,
    media: { publish: "none", subscribe: "none" },
    notices: [],
  };
}

export function reduce(model: Model, change: Change, now: number): Model {
  switch (change.type) {
    case "socket":
      // An open socket is not yet a server that knows us: the session's "ready" says so.
      if (change.status === "open") return model;
      return moveTo(change.status === "closed" ? { ...model, said: model.isSaidNow ? model.said : "", isSaidNow: false } : model, { at: "away", attempt: change.attempt }, now);
    case "session":
      return reduceSession(model, change.event, change.calendarMs, now);
    case "fail":
      return moveTo(model, { at: "failed", error: change.error }, now);
    case "capture":
      return { ...model, capture: change.capture };
    case "audio-levels":
      return { ...model, audioLevels: change.levels };
    case "slots":
      // Messages of an older mapping may not overtake a newer one.
      if (change.sequence <= model.slotSequence) return model;
      return {
        ...model,
        slotSequence: change.sequence,
        slots: new Map(change.slots.map((slot) => [slot.mid, slot])),
        slotsForVoices: change.voices,
      };
    case "subscription":
      // The mapping stays: the server sends it again only when it changes, and nothing is shown by it alone.
      return { ...model, subscription: change.connection, streams: new Map(), proofs: new Map() };
    case "stream":
      if (change.connection !== model.subscription) return model;
      return { ...model, streams: new Map(model.streams).set(change.mid, change.stream) };
    case "proof":
      if (change.proof.connection !== model.subscription) return model;
      return { ...model, proofs: new Map(model.proofs).set(change.proof.mid, change.proof) };
    case "speakers":
      return { ...model, speakers: change.speakers };
    case "protecting": {
      const protecting = new Set(model.protecting);
      if (change.on) protecting.add(change.source);
      else protecting.delete(change.source);
      return { ...model, protecting };
    }
    case "media":
      return reduceMedia(model, { ...model.media, [change.side]: change.state });
    case "chat": {
      const self = model.roster.find((member) => member.self);
      return self === undefined ? model : addChat(model, self.incarnation, change, change.calendarMs);
    }
    case "chat-doubtful":
      return { ...model, chat: doubt(model.chat, ({ id }) => change.numbers.some((number) => id.endsWith(`/${number}`))) };
    case "notice": {
      const others = model.notices.filter((notice) => notice.code !== change.notice.code);
      return { ...model, notices: [...others, { ...change.notice, id: change.id }].slice(-maxNotices) };
    }
    case "dismiss":
      return { ...model, notices: model.notices.filter((notice) => notice.id !== change.id) };
    default:
      return unreachable(change);
  }
}

function reduceMedia(model: Model, media: Model["media"]): Model {
  const works = media.publish === "connected" && media.subscribe === "connected";
  const notices = works ? model.notices.filter((notice) => notice.code !== "media-connection-failed") : model.notices;
  return { ...model, media, notices };
}

function moveTo(model: Model, link: Link, now: number): Model {
  // Both are final.
  if (model.link.at === "left" || model.link.at === "failed") return model;
  return { ...model, link, linkSince: model.link.at === link.at ? model.linkSince : now };
}

function reduceSession(model: Model, event: SessionEvent, calendarMs: number, now: number): Model {
  switch (event.type) {
    case "ready":
      if (event.resumed) return moveTo({ ...model, said: "", isSaidNow: false }, model.roster.length > 0 ? { at: "in" } : { at: "ready" }, now);
      // Somebody new to the server, for whom it counts its messages from the start.
      return moveTo({ ...model, said: "", isSaidNow: false, slotSequence: -1, slots: new Map() }, { at: "ready" }, now);
    case "waiting":
      return moveTo(model, { at: "waiting", reason: waitingReasons[event.reason] }, now);
    case "epoch": {
      const members = new Set(event.roster.map((member) => member.incarnation));
      const leaving = model.roster.filter(({ incarnation }) => !members.has(incarnation)).map(({ incarnation, name }) => [incarnation, name] as const);
      const former = new Map([...model.former, ...leaving].slice(-maxFormer));
      return moveTo(
        {
          ...model,
          hasEntered: true,
          roster: event.roster,
          epoch: { era: event.era, epoch: event.epoch },
          safetyNumber: {
            groups: event.safety_number.split(" "),
            qrBits: parseHex(event.authenticator),
            previous: event.previous?.split(" ") ?? null,
            reason: {
              kind: event.reason.kind === "new_era" ? "new-era" : event.reason.kind,
              joined: event.reason.joined,
              left: event.reason.left,
              blamed: model.blamed,
            },
            changedAt: calendarMs,
          },
          away: new Set([...model.away].filter((id) => members.has(id))),
          departed: new Set([...model.departed].filter((id) => members.has(id))),
          blamed: [],
          sends: true,
          read: new Map([...model.read].filter(([id]) => members.has(id) || former.has(id))),
          former,
          announced: new Map([...model.announced].filter(([id]) => members.has(id))),
          voices: model.voices.filter(({ incarnation }) => members.has(incarnation)),
          forged: new Set([...model.forged].filter((stream) => event.roster.some(({ incarnation }) => stream.startsWith(`${incarnation}/`)))),
        },
        { at: "in" },
        now,
      );
    }
    case "devices": {
      const checked = new Map(event.checked.map((member) => [member.incarnation, member]));
      return { ...model, roster: model.roster.map((member) => ({ ...member, ...checked.get(member.incarnation) })) };
    }
    case "departed":
      return blame(
        { ...model, away: new Set(model.away).add(event.incarnation), departed: new Set(model.departed).add(event.incarnation) },
        event.cause === "reported" ? event.name : event.cause === "could_not_follow" ? event.committer : "",
      );
    case "overdue":
      return { ...model, overdue: event.overdue };
    case "present": {
      const away = new Set(model.away);
      if (event.connected) away.delete(event.incarnation);
      else away.add(event.incarnation);
      return { ...model, away };
    }
    case "announcement":
      return { ...model, announced: new Map(model.announced).set(event.incarnation, event.announcement) };
    case "voice":
      if (model.voices.some(({ incarnation, at }) => incarnation === event.incarnation && now - at < leastVoiceIntervalMs)) return model;
      return { ...model, voices: [{ incarnation: event.incarnation, at: now }, ...model.voices.filter(({ incarnation }) => incarnation !== event.incarnation)].slice(0, maxVoices) };
    case "chat":
      return addChat(model, event.incarnation, event, calendarMs);
    case "stream": {
      const source = sourceOf(event.context);
      if (event.verdict !== "forged" || source === null) return model;
      return { ...model, forged: new Set(model.forged).add(`${event.incarnation}/${source}`) };
    }
    case "rejoining":
      return moveTo(
        blame({ ...model, chat: doubt(model.chat, ({ at }) => calendarMs - at < sentAgainForMs), roster: [], away: new Set(), departed: new Set(), overdue: false, announced: new Map(), voices: [] }, event.committer),
        { at: "away", attempt: 0 },
        now,
      );
    case "error":
      if (!event.fatal) return { ...model, said: serverWords(event.text), isSaidNow: true };
      return moveTo(model, { at: "failed", error: refused(event.code, event.text, "Reload the page to try again. If it goes on, ask whoever runs the server.") }, now);
    case "left":
      return moveTo(model, { at: "left" }, now);
    case "keys":
      return { ...model, sends: event.sending !== null };
    default:
      return unreachable(event);
  }
}

function addChat(model: Model, sender: ParticipantId, { number, text }: Written, at: number): Model {
  const numbers = model.read.get(sender) ?? [];
  if (numbers.includes(number)) return model;
  const member = model.roster.find(({ incarnation }) => incarnation === sender);
  const name = member?.name ?? model.former.get(sender) ?? "";
  const message = { id: `${sender}/${number}`, sender, name, isSelf: member?.self ?? false, text, at, isDoubtful: false };
  const ofSender = model.chat.filter((one) => one.sender === sender);
  const oldest = ofSender.length >= maxChatOfOne ? ofSender[0] : undefined;
  return {
    ...model,
    read: new Map(model.read).set(sender, [...numbers, number].slice(-maxReadNumbers)),
    chat: [...model.chat.filter((one) => one !== oldest), message].slice(-maxChatMessages),
  };
}

/** Of our own messages. */
function doubt(chat: readonly ChatMessage[], isDoubtful: (message: ChatMessage) => boolean): readonly ChatMessage[] {
  return chat.map((message) => (message.isSelf && isDoubtful(message) ? { ...message, isDoubtful: true } : message));
}

/** Whether what we write now can leave. */
export function canSend(model: Model): boolean {
  return model.link.at === "in" && model.sends;
}

/** Empty: nobody is. */
function blame(model: Model, name: string): Model {
  if (name === "" || model.blamed.includes(name)) return model;
  return { ...model, blamed: [...model.blamed, name].slice(-maxBlamed) };
}

const waitingReasons = {
  no_secret: "no-secret",
  not_admitted: "not-admitted",
  empty: "empty",
} as const satisfies Readonly<Record<string, WaitingReason>>;

/** Without what is invisible or turns the text around it, and bounded: nobody vouches for what a server says. */
function serverWords(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, "").trim().slice(0, maxServerWords);
}

/** In quotation marks, and isolated in its direction (U+2068, U+2069): it stands where the page's own words do. */
export function refused(code: number | null, text: string, advice: string): MeetingError {
  if (code === ownFailure) return { code: "server-refused", message: text, advice };
  // The session finds this out by itself too.
  if (code === wrongSuite) return { code: "server-refused", message: "This room uses another encryption than the link says.", advice: "Ask for the whole link." };
  const words = serverWords(text);
  return { code: "server-refused", message: words === "" ? "The server refused the connection." : `The server says: “\u2068${words}\u2069”`, advice };
}

function parseHex(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

// ---- What is shown ----

export function view(model: Model): MeetingState {
  return {
    room: model.room,
    suite: model.suite,
    connection: viewConnection(model),
    participants: model.roster.map((member) => (member.self ? viewSelf(model, member) : viewOther(model, member))),
    self: model.roster.find((member) => member.self)?.incarnation ?? null,
    mainSpeaker: model.roster.find((member) => !member.self && member.incarnation === model.speakers.main)?.incarnation ?? null,
    lastSpeakers: model.speakers.ranking.filter((id) => model.roster.some((member) => !member.self && member.incarnation === id)),
    safetyNumber: model.safetyNumber,
    overdue: model.overdue && model.link.at === "in",
    withheld: model.link.at === "in" && !model.sends,
    chat: model.chat,
    local: model.capture.local,
    devices: model.capture.devices,
    audioLevels: model.audioLevels,
    media: model.media,
    notices: model.notices,
  };
}

function viewConnection(model: Model): Connection {
  const { link, linkSince: since, hasEntered, said } = model;
  switch (link.at) {
    case "idle":
      return { status: "idle" };
    case "away":
      return hasEntered ? { status: "reconnecting", attempt: link.attempt, since, said } : { status: "connecting", said };
    case "ready":
      return hasEntered ? { status: "reconnecting", attempt: 0, since, said } : { status: "waiting", since, reason: null };
    case "waiting":
      return { status: "waiting", since, reason: link.reason };
    case "in":
      return { status: "in-room" };
    case "left":
      return { status: "left" };
    case "failed":
      return { status: "failed", error: link.error };
  }
}

function viewSelf(model: Model, member: RosterEntry): Participant {
  const { local, cameraStream, screenStream } = model.capture;
  const state = (source: Source, stream: MediaStream | null): SourceState => ({
    on: local[source].status === "on",
    stream,
    proof: local[source].status === "on" && model.protecting.has(source) ? "encrypted" : "none",
  });
  return {
    ...identity(member),
    connected: model.link.at === "in",
    departed: false,
    speaking: false,
    microphone: state("microphone", null), // nobody wants to hear oneself
    camera: state("camera", cameraStream),
    screen: state("screen", screenStream),
  };
}

function viewOther(model: Model, member: RosterEntry): Participant {
  const announced = model.announced.get(member.incarnation);
  const state = (source: Source): SourceState => {
    const stream = provenStream(model, member.incarnation, source);
    return { on: announced?.[source] ?? false, stream, proof: stream === null ? "none" : model.forged.has(`${member.incarnation}/${source}`) ? "forged" : "encrypted" };
  };
  return {
    ...identity(member),
    connected: !model.away.has(member.incarnation),
    departed: model.departed.has(member.incarnation),
    speaking: model.speakers.speaking.has(member.incarnation),
    microphone: state("microphone"),
    camera: state("camera"),
    screen: state("screen"),
  };
}

function identity(member: RosterEntry): Pick<Participant, "id" | "leaf" | "name" | "isSelf" | "device" | "deviceProof"> {
  return { id: member.incarnation, leaf: member.leaf, name: member.name, isSelf: member.self, device: member.device, deviceProof: member.proof };
}

/**
 * The slot whose frames decrypt with this member's key. The server's mapping can only hide a stream: if it names
 * somebody else than the key does, the slot is shown under nobody.
 */
function provenStream(model: Model, id: ParticipantId, source: Source): MediaStream | null {
  for (const proof of model.proofs.values()) {
    if (proof.incarnation !== id || proof.source !== source) continue;
    const slot = model.slots.get(proof.mid);
    if (slot?.incarnation === id && slot.source === source) return model.streams.get(proof.mid) ?? null;
  }
  return null;
}

/** Whose sound comes over which line of the subscribing connection, as the keys prove it. */
export function audibleMids(model: Model): ReadonlyMap<string, ParticipantId> {
  const found = new Map<string, ParticipantId>();
  for (const { mid, incarnation, source } of model.proofs.values()) {
    const slot = model.slots.get(mid);
    if (source === "microphone" && slot?.incarnation === incarnation && slot.source === source) found.set(mid, incarnation);
  }
  return found;
}

/** What we tell the other members. */
export function ownAnnouncement(capture: CaptureState, video: readonly VideoCodec[]): Announcement {
  const on = (source: Source): boolean => capture.local[source].status === "on";
  return { microphone: on("microphone"), camera: on("camera"), screen: on("screen"), video };
}

/** What each of the others reads; null for one that has not said it yet. */
export function codecsOfOthers(model: Model): readonly (readonly VideoCodec[] | null)[] {
  const others = model.roster.filter((member) => !member.self && !model.departed.has(member.incarnation));
  return others.map((member) => model.announced.get(member.incarnation)?.video ?? null);
}

/** What is being sent: the sources that are on and have a live track. */
export function activeSources(capture: CaptureState): readonly Source[] {
  return sources.filter((source) => capture.local[source].status === "on" && capture.tracks[source] !== null);
}
