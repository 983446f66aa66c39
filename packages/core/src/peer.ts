/** What the publishing and the subscribing connection have in common. */
import type { MediaConnection } from "./api.ts";
import type { TurnCredentials } from "./control.ts";
import { baseCodec, codecName, isOurs } from "./codecs.ts";

/** Chromium's switch that makes a connection without transform send nothing at all; Firefox ignores it. */
interface ClosedConfiguration extends RTCConfiguration {
  readonly encodedInsertableStreams: true;
}

let connections = 0;

/** Distinguishes the connections of this page, in what the worker counts and reports. */
export function nextConnectionNumber(): number {
  connections += 1;
  return connections;
}

/** By `turn` only where there is no other way: a relay is asked for, and kept, whether it is used or not. */
export function peerConfiguration(turn: TurnCredentials | null): ClosedConfiguration {
  return {
    // No STUN server: ours is reachable by its own candidates and learns our address from the checks.
    iceServers: turn === null ? [] : [{ urls: turnUrl(globalThis.location), username: turn.username, credential: turn.credential }],
    bundlePolicy: "max-bundle",
    rtcpMuxPolicy: "require",
    encodedInsertableStreams: true,
  };
}

/** The server's TURN is where the page came from: that gets through. */
export function turnUrl(page: Pick<Location, "hostname" | "port">): string {
  return `turns:${page.hostname}:${page.port === "" ? "443" : page.port}?transport=tcp`;
}

export function newPeerConnection(turn: TurnCredentials | null): RTCPeerConnection {
  return new RTCPeerConnection(peerConfiguration(turn));
}

export function mediaConnection(state: RTCPeerConnectionState): MediaConnection {
  switch (state) {
    case "new":
    case "connecting":
      return "connecting";
    case "connected":
      return "connected";
    case "disconnected":
      return "interrupted";
    case "failed":
      return "failed";
    case "closed":
      return "none";
  }
}

/** Only codecs whose frames we know how to wrap, the one that everybody reads first: it is sent until another is chosen. */
export function restrictCodecs(transceiver: RTCRtpTransceiver, kind: "audio" | "video"): void {
  const ours = (RTCRtpReceiver.getCapabilities(kind)?.codecs ?? []).filter(isOurs);
  const isBase = (codec: RTCRtpCodec): boolean => codecName(codec) === baseCodec;
  transceiver.setCodecPreferences([...ours.filter(isBase), ...ours.filter((codec) => !isBase(codec))]);
}

const audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const dependencyDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

interface ExtensionChoice {
  readonly uri: string;
  direction: RTCRtpTransceiverDirection;
}
/** TypeScript's DOM library does not know these yet, nor do all browsers. */
interface TransceiverWithExtensions {
  getHeaderExtensionsToNegotiate?(): ExtensionChoice[];
  setHeaderExtensionsToNegotiate?(extensions: readonly ExtensionChoice[]): void;
}

/** Offers the extension that tells the layers of every codec apart, where the browser has it. */
export function offerDependencyDescriptor(transceiver: RTCRtpTransceiver): void {
  offerExtension(transceiver, dependencyDescriptor);
}

/** Chromium does not offer again by itself what an answer left out. */
export function offerAudioLevel(transceiver: RTCRtpTransceiver): void {
  offerExtension(transceiver, audioLevel);
}

function offerExtension(transceiver: RTCRtpTransceiver, uri: string): void {
  const choosing = transceiver as RTCRtpTransceiver & TransceiverWithExtensions;
  const extensions = choosing.getHeaderExtensionsToNegotiate?.() ?? [];
  const wanted = extensions.find((extension) => extension.uri === uri);
  if (wanted === undefined || choosing.setHeaderExtensionsToNegotiate === undefined) return;
  wanted.direction = "sendrecv";
  choosing.setHeaderExtensionsToNegotiate(extensions);
}

const transportNumbers = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/** What may stand in the clear beside an encrypted frame: not how loud it is, nor whether somebody speaks. */
const allowedExtensions: readonly string[] = [
  "urn:ietf:params:rtp-hdrext:sdes:mid",
  transportNumbers,
  // Which stream of a simulcast a packet belongs to, and which of its layers: the server chooses by them what each member gets.
  "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
  "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
  dependencyDescriptor,
];

/**
 * A description without header extensions that the server has no business knowing; the browser then does not send them. `told`: it may know how
 * loud the microphone is.
 */
export function withAllowedExtensions(sdp: string, told = false): string {
  const isAllowed = (uri: string): boolean => allowedExtensions.includes(uri) || (told && uri === audioLevel);
  const lines = sdp.split(/[\r\n]+/).filter((line) => line !== "");
  const allowed = lines.filter((line) => !/^a=extmap:/i.test(line) || isAllowed(line.split(/\s+/)[1] ?? ""));
  return allowed.map((line) => `${line}\r\n`).join("");
}

/**
 * A description that offers to send lost sound again, which browsers do not offer by themselves, but do. They send the same number with the same frame, so
 * nothing in its header may be another than before: under AES-GCM two packets with one number give away the key that authenticates them.
 */
export function withResentSound(sdp: string): string {
  return sdp
    .split(/^(?=m=)/m)
    .map((media) => {
      if (!media.startsWith("m=audio")) return media;
      const kept = media.replace(/^a=extmap:[^\n]*\n/gm, (line) => (line.includes(transportNumbers) ? "" : line));
      return kept.replace(/^a=rtpmap:(\d+) opus\/48000\/2\r?\n/m, "$&a=rtcp-fb:$1 nack\r\n");
    })
    .join("");
}

/** What of an answer the server does not read, or has read in the first m-line of the bundle: of many slots it makes most of the text. */
const unreadLines = /^a=(?:rtcp-fb|rtcp|ssrc|ssrc-group|msid|candidate|end-of-candidates|ice-options)(?::|$)/;
const transportLines = /^a=(?:(?:ice-ufrag|ice-pwd|fingerprint|setup):|extmap-allow-mixed$)/;

export function shortenedAnswer(sdp: string): string {
  let mediaLines = 0;
  return sdp
    .split(/\r?\n/)
    .filter((line) => {
      if (line.startsWith("m=")) mediaLines += 1;
      return !unreadLines.test(line) && !(mediaLines > 1 && transportLines.test(line));
    })
    .join("\r\n");
}

/** The value of the first line with that prefix. */
export function sdpLine(sdp: string, prefix: string): string | null {
  const line = sdp.split(/\r?\n/).find((candidate) => candidate.startsWith(prefix));
  return line === undefined ? null : line.slice(prefix.length);
}
