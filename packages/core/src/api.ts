/**
 * What a user interface may know about a meeting. It renders `MeetingState`, an immutable value, and calls the
 * actions of `Meeting`; everything else (keys, frames, connections) stays behind this file.
 *
 *   const meeting = createMeeting({ serverUrl, room, secret, displayName, local: preview.take() });
 *   meeting.subscribe((state) => render(state), signal);
 *   await meeting.join();
 */

import type { RoomSuite } from "./suites.ts";

export type { RoomSuite } from "./suites.ts";

declare const brand: unique symbol;
type Branded<Value, Name extends string> = Value & { readonly [brand]: Name };

/** A participant from one entry to its departure: 32 lower-case hex digits (docs/protocol.md s.1). */
export type ParticipantId = Branded<string, "ParticipantId">;
/** The room's name: 1 to 64 characters of a-z, 0-9 and '-'. */
export type RoomName = Branded<string, "RoomName">;
/** 16 random bytes as 22 characters of base64url; stands after '#' in a link and is never sent. */
export type RoomSecret = Branded<string, "RoomSecret">;

export type Source = "microphone" | "camera" | "screen";
export type DeviceKind = "microphone" | "camera" | "speaker";

/** A problem in words for a person: what happened, and what to do about it. */
export interface Problem<Code extends string> {
  readonly code: Code;
  readonly message: string;
  readonly advice: string;
}

export type MeetingErrorCode =
  | "missing-features" // this browser cannot encrypt media; `message` names what is missing
  | "server-unreachable" // could not reach the server at the first attempt, and again and again
  | "server-refused" // the server said no, in its own words
  | "opened-elsewhere" // the same incarnation connected from another page
  | "engine-failed"; // the encryption engine stopped again and again, or did not start: a fault of ours
export type MeetingError = Problem<MeetingErrorCode>;

export type DeviceErrorCode =
  | "no-device" // nothing of that kind is attached
  | "permission-denied" // by the person or the system
  | "in-use" // another program holds it
  | "cancelled" // the picker of screen share was closed
  | "insecure-context" // the page is not served over HTTPS or from this machine
  | "unsupported" // this browser has no such function (screen share on phones)
  | "failed"; // anything else
export type DeviceError = Problem<DeviceErrorCode>;

export type NoticeCode =
  | "media-stopped-unencrypted" // the watchdog saw frames leave that the worker did not encrypt: sending stopped
  | "media-connection-failed" // media does not get through (UDP blocked?)
  | "screen-share-ended" // by the browser's own button
  | "device-lost" // a device was unplugged
  | "engine-restarted" // the encryption engine stopped and was started anew, with fresh keys
  | "server-message"; // something the server said about a request of ours
/** Something to tell the person that does not end the meeting. */
export type Notice = Problem<NoticeCode> & { readonly id: number };

export type WaitingReason = "no-secret" | "not-admitted" | "empty";

export type Connection =
  | { readonly status: "idle" } // join() was not called yet
  /** `said`: why the server did not let us in just now ("The room is full. ..."), in its own words; "" when it said nothing. We try again by ourselves. */
  | { readonly status: "connecting"; readonly said: string }
  /**
   * The server knows us; no member has admitted us to the group yet. `since` is performance.now() in ms. `reason` comes
   * after 3 s: "no-secret": the link lacks its part after '#'; "not-admitted": there are members and none let us in (a
   * wrong secret, or they are all gone and not yet declared so); "empty": nobody is there, and we start the room next.
   */
  | { readonly status: "waiting"; readonly since: number; readonly reason: WaitingReason | null }
  | { readonly status: "in-room" }
  /** The connection is gone and we try again by ourselves; `since` as above. */
  | { readonly status: "reconnecting"; readonly attempt: number; readonly since: number; readonly said: string }
  | { readonly status: "left" }
  | { readonly status: "failed"; readonly error: MeetingError };

/**
 * Media of one source of one participant. `proof` says what the worker saw: "encrypted" means that frames which arrive
 * on this stream were decrypted with that participant's own key. A remote stream exists only with proof.
 */
export interface SourceState {
  /** What the participant says about itself (end-to-end encrypted message); false until it said so. */
  readonly on: boolean;
  /** Ready for `srcObject`; the identity of the object is stable as long as the media is the same. */
  readonly stream: MediaStream | null;
  /** "encrypted": frames decrypt (or, for oneself, are encrypted); "none": nothing received (or sent) yet;
   * "forged": among what decrypts there are frames that the participant did not sign, so another member made them. */
  readonly proof: "encrypted" | "forged" | "none";
}

export interface Participant {
  readonly id: ParticipantId;
  /** The place in the MLS tree; may be used again by somebody else after this one left. */
  readonly leaf: number;
  /** From the MLS credential, decrypted with the room secret; never from the server. */
  readonly name: string;
  readonly isSelf: boolean;
  /** Fingerprint of the device's long-term identity key, in hex; the same device keeps it over meetings. Empty unless proven. */
  readonly device: string;
  /** "pending": not checked yet, for a few seconds after many came at once; "refuted": it pretends to be another's device. */
  readonly deviceProof: "pending" | "proven" | "refuted";
  /** The server's word: false while the participant's connection is interrupted. */
  readonly connected: boolean;
  /** Left for good, but a commit that takes away its keys is still to come; without one, nothing is sent after 15 s. */
  readonly departed: boolean;
  /** From the decoded sound; false for oneself. */
  readonly speaking: boolean;
  readonly microphone: SourceState;
  readonly camera: SourceState;
  readonly screen: SourceState;
}

/** Why the number changed, with the display names of those concerned. */
export interface SafetyNumberReason {
  /** "entered": oneself came in; "refreshed": only keys were renewed; "new-era": the group was started anew. */
  readonly kind: "entered" | "changed" | "refreshed" | "new-era";
  readonly joined: readonly string[];
  readonly left: readonly string[];
  /** Whose changes of keys did not work for somebody before this one, which is then why it came. Those who say so cannot prove it to others. */
  readonly blamed: readonly string[];
}

export interface SafetyNumber {
  /** Six groups of five digits. */
  readonly groups: readonly string[];
  /** All bits, for the QR code. */
  readonly qrBits: Uint8Array;
  /** The groups of the number before this one. */
  readonly previous: readonly string[] | null;
  readonly reason: SafetyNumberReason;
  /** Date.now() of the change. */
  readonly changedAt: number;
}

/** Written by a member to all who are in the call at that moment; kept nowhere. */
export interface ChatMessage {
  readonly id: string;
  readonly sender: ParticipantId;
  /** As it was then: the sender may have left since. */
  readonly name: string;
  readonly isSelf: boolean;
  /** Anything may stand in it, up to 2000 UTF-16 units; lines are parted by \n. */
  readonly text: string;
  /** Date.now() of its arrival here. */
  readonly at: number;
  /** One's own, of which is not known whether everybody who was in the call has it: the connection was lost right then. */
  readonly isDoubtful: boolean;
}

export type LocalSource =
  | { readonly status: "off" }
  | { readonly status: "starting" }
  | { readonly status: "on" }
  | { readonly status: "failed"; readonly error: DeviceError };

export interface LocalMedia {
  readonly microphone: LocalSource;
  readonly camera: LocalSource;
  readonly screen: LocalSource;
}

export interface Device {
  readonly id: string;
  readonly kind: DeviceKind;
  /** Empty until permission was given once. */
  readonly label: string;
}

export interface Devices {
  readonly available: readonly Device[];
  /** null: the browser's default. */
  readonly chosen: Readonly<Record<DeviceKind, string | null>>;
}

export interface MeetingState {
  readonly room: RoomName;
  readonly suite: RoomSuite;
  readonly connection: Connection;
  /** In the order of the MLS tree, oneself included. Empty before "in-room". */
  readonly participants: readonly Participant[];
  readonly self: ParticipantId | null;
  /** Which of the others has the floor: speaks, or spoke last. */
  readonly mainSpeaker: ParticipantId | null;
  /** Of the others, who spoke, the latest first. Who never did is not in it. */
  readonly lastSpeakers: readonly ParticipantId[];
  /** Null until in the room. */
  readonly safetyNumber: SafetyNumber | null;
  /** A change of keys has been needed for 15 s, and none comes: the server holds it back, or somebody's device hangs. */
  readonly overdue: boolean;
  /** Nothing is sent at present, no sound, picture or message: somebody has left, and the change of keys that would keep it from them does not come. */
  readonly withheld: boolean;
  /** The oldest first; the last 500, of each member the last 100. */
  readonly chat: readonly ChatMessage[];
  readonly local: LocalMedia;
  readonly devices: Devices;
  readonly audioLevels: AudioLevels;
  /** The media connections; "none" before there is one. Trouble here is shown, and mended without the person. */
  readonly media: { readonly publish: MediaConnection; readonly subscribe: MediaConnection };
  readonly notices: readonly Notice[];
}

export type MediaConnection = "none" | "connecting" | "connected" | "interrupted" | "failed";

/**
 * "told": the server (and who listens on the network) may know how loud the microphone is, so that in a room with more people than a screen holds it can
 * send the pictures of who speaks at once. "hidden": only the members hear it, and ask for the pictures of whom they hear.
 */
export type AudioLevels = "hidden" | "told";

export interface MeetingOptions {
  /** Where the server is: its origin, `https://host[:port]`; the WebSocket is at `/ws` of it. */
  readonly serverUrl: string;
  readonly room: RoomName;
  /** null: the link had none. Nobody will admit us; the state says so after 3 s ("waiting", "no-secret"). */
  readonly secret: RoomSecret | null;
  /** What the room encrypts with, from its link; everybody in it uses the same. "standard" if left out. */
  readonly suite?: RoomSuite;
  /** 1 to 64 bytes of UTF-8; longer ones are cut at a character's end. */
  readonly displayName: string;
  /**
   * Where the long-term identity of this device lives. "persistent": in this browser's storage for this origin, read
   * and written by the worker alone; "temporary": a new identity for this meeting.
   */
  readonly deviceIdentity?: "persistent" | "temporary";
  /** "hidden" if left out. */
  readonly audioLevels?: AudioLevels;
  /** Tracks from the lobby's preview (`LocalPreview.take()`), so that the camera does not blink. */
  readonly local?: LocalTracks;
  /** Devices chosen in the lobby. */
  readonly devices?: Partial<Readonly<Record<DeviceKind, string | null>>>;
}

export interface LocalTracks {
  readonly microphone: MediaStreamTrack | null;
  readonly camera: MediaStreamTrack | null;
}

export interface Meeting {
  getState(): MeetingState;
  /** Called after each change, until the signal is aborted; not called for the present state. */
  subscribe(listener: (state: MeetingState) => void, signal: AbortSignal): void;

  /** Resolves when the engine runs and the first connection attempt began; failures show in the state. */
  join(): Promise<void>;
  /** Says goodbye, stops all tracks and connections. Final. */
  leave(): Promise<void>;

  /** These never reject: what went wrong is in `local`. */
  setMicrophone(on: boolean): Promise<void>;
  setCamera(on: boolean): Promise<void>;
  startScreenShare(): Promise<void>;
  stopScreenShare(): Promise<void>;
  chooseDevice(kind: DeviceKind, id: string | null): Promise<void>;

  /** To all who are in the call now. False: nothing was sent, since the text is empty, we are not in the room at the moment, or `withheld`. */
  sendChat(text: string): boolean;

  /** The link to send to others, with the secret after '#'; null when we have no secret ourselves. */
  invitationLink(): string | null;
  /** The level of the own microphone, 0 to 1, about 20 times a second until the signal is aborted. */
  watchMicrophoneLevel(listener: (level: number) => void, signal: AbortSignal): void;
  /** What of the others is on the screen; what is not is not sent to us until it is. */
  setView(stage: StageView): void;
  /** From now on. "hidden" takes effect at once, whether the server answers or not. */
  setAudioLevels(levels: AudioLevels): void;
  dismissNotice(id: number): void;
  stats(): Promise<MeetingStats>;
}

/** The tiles of the others, whether there is a picture in them yet or not. */
export interface StageView {
  readonly tiles: readonly {
    readonly participant: ParticipantId;
    readonly source: "camera" | "screen";
    /** In device pixels. */
    readonly height: number;
  }[];
  /** There are more people than tiles. */
  readonly isCrowded: boolean;
}

export interface SlotStats {
  readonly mid: string;
  readonly kind: "audio" | "video";
  readonly participant: ParticipantId | null;
  readonly source: Source | null;
  readonly framesDecrypted: number;
  readonly framesHeld: number;
  /** Undecryptable: no key in time, or an epoch that is over, or refused. */
  readonly framesDropped: number;
  /** Of these, those that authenticated under no key: a sign of tampering. */
  readonly framesRefused: number;
  /** Of these, those that were not opened, being far from all others after many that were refused. */
  readonly framesPassedOver: number;
  readonly duplicates: number;
  /** Between two decrypted frames, since the statistics were asked for last. */
  readonly longestGapMs: number;
  readonly framesDecoded: number;
  readonly keyFramesDecoded: number;
  readonly framesPerSecond: number;
  readonly width: number;
  readonly height: number;
  readonly freezeCount: number;
  readonly packetsReceived: number;
  readonly bytesReceived: number;
  readonly packetsLost: number;
  readonly nackCount: number;
  readonly pliCount: number;
  readonly totalSamplesReceived: number;
  readonly concealedSamples: number;
  readonly silentConcealedSamples: number;
  readonly jitterBufferDelay: number;
}

export interface SenderStats {
  readonly source: Source;
  /** "video/AV1" and the like; null while nothing was sent. */
  readonly codec: string | null;
  readonly framesProtected: number;
  readonly framesDropped: number;
  readonly framesEncoded: number;
  readonly framesSent: number;
  readonly packetsSent: number;
  /** Of all sizes together. */
  readonly bytesSent: number;
  readonly width: number;
  readonly height: number;
  readonly keyFramesEncoded: number;
}

/** How the path from the server to us does, as the server estimates it, and what limits each picture. */
export interface PathStats {
  readonly bitrateKbps: number;
  readonly usedKbps: number;
  readonly wantedKbps: number;
  readonly lossPercent: number;
  readonly roundTripMs: number;
  readonly limitedBy: "" | "delay" | "loss";
  readonly slots: readonly {
    readonly mid: string;
    readonly paused: boolean;
    readonly layer: number;
    readonly layers: number;
    readonly temporal: number;
    readonly limitedBy: "" | "view" | "bandwidth" | "publisher";
  }[];
}

export interface MeetingStats {
  /** Null before the server has said anything. */
  readonly path: PathStats | null;
  readonly at: number;
  /** Milliseconds from join() to each step; null while it did not happen. */
  readonly times: {
    readonly socketOpen: number | null;
    readonly inRoom: number | null;
    readonly firstFrameProtected: number | null;
    readonly firstRemoteFrameDecrypted: number | null;
  };
  readonly senders: readonly SenderStats[];
  readonly slots: readonly SlotStats[];
  readonly epoch: { readonly era: number; readonly epoch: number } | null;
}

// ---- The lobby ----

export interface PreviewState {
  readonly microphone: LocalSource;
  readonly camera: LocalSource;
  /** For the own picture; null while the camera is off. */
  readonly cameraStream: MediaStream | null;
  readonly devices: Devices;
}

/** Camera and microphone before a meeting. */
export interface LocalPreview {
  getState(): PreviewState;
  subscribe(listener: (state: PreviewState) => void, signal: AbortSignal): void;
  /** Never reject: what went wrong is in the state. */
  setMicrophone(on: boolean): Promise<void>;
  setCamera(on: boolean): Promise<void>;
  chooseDevice(kind: DeviceKind, id: string | null): Promise<void>;
  watchMicrophoneLevel(listener: (level: number) => void, signal: AbortSignal): void;
  /** Hands the live tracks over to a meeting; the preview is empty afterwards. */
  take(): LocalTracks;
  stop(): void;
}

// ---- Features ----

export type Feature =
  | "secure-context"
  | "webassembly"
  | "webrtc"
  | "encoded-transform" // RTCRtpScriptTransform
  | "camera-and-microphone"
  | "workers";

// ---- Links ----

export type RoomLink =
  | { readonly kind: "complete"; readonly room: RoomName; readonly secret: RoomSecret; readonly suite: RoomSuite }
  /** Names an encryption that this version does not know. */
  | { readonly kind: "unknown-suite"; readonly room: RoomName }
  | { readonly kind: "without-secret"; readonly room: RoomName }
  | { readonly kind: "damaged-secret"; readonly room: RoomName }
  | { readonly kind: "not-a-room" };
