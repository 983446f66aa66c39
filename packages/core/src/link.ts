/** Room links: `https://host/r/ROOM#SECRET`, or `#SECRET.SUITE`. The secret never leaves the browser (docs/protocol.md s.1). */
import type { RoomLink, RoomName, RoomSecret } from "./api.ts";
import { type RoomSuite, standardSuite, suiteOfSuffix, suiteSuffix } from "./suites.ts";

const secretBytes = 16;
const roomPattern = /^[a-z0-9-]{1,64}$/;
const secretPattern = /^[A-Za-z0-9_-]{22}$/;
// 22 characters carry 132 bits: the last one has 4 spare bits, which must be zero for one spelling of each secret.
const lastCharacters = "AQgw";
const consonants = "bcdfghjkmnpqrstvwxz";
const vowels = "aeiou";

function isRoomName(text: string): text is RoomName {
  return roomPattern.test(text);
}

function isRoomSecret(text: string): text is RoomSecret {
  return secretPattern.test(text) && lastCharacters.includes(text.slice(-1));
}

export function parseRoomName(text: string): RoomName | null {
  const name = text
    .trim()
    .toLowerCase()
    .replace(/[\s_]+/g, "-");
  return isRoomName(name) ? name : null;
}

export function parseRoomLink(link: string | URL): RoomLink {
  let url: URL;
  try {
    url = new URL(link);
  } catch {
    return { kind: "not-a-room" };
  }
  const room = /^\/r\/([^/]+)\/?$/.exec(url.pathname)?.[1];
  if (room === undefined || !isRoomName(room)) return { kind: "not-a-room" };
  const fragment = url.hash.slice(1);
  if (fragment === "") return { kind: "without-secret", room };
  const [secret = "", ...rest] = fragment.split(/(?=\.)/);
  if (!isRoomSecret(secret)) return { kind: "damaged-secret", room };
  const suite = suiteOfSuffix(rest.join(""));
  return suite === null ? { kind: "unknown-suite", room } : { kind: "complete", room, secret, suite };
}

export function makeRoomLink(origin: string, room: RoomName, secret: RoomSecret, suite: RoomSuite = standardSuite): string {
  return `${new URL(origin).origin}/r/${room}#${secret}${suiteSuffix(suite)}`;
}

export function newRoomSecret(): RoomSecret {
  const secret = encodeBase64Url(crypto.getRandomValues(new Uint8Array(secretBytes)));
  if (!isRoomSecret(secret)) throw new Error("base64url of 16 bytes is always a room secret");
  return secret;
}

/** A name that can be read out over the phone; not secret, but unlikely to meet another room by chance. */
export function newRoomName(): RoomName {
  const word = (): string => pick(consonants) + pick(vowels) + pick(consonants) + pick(vowels);
  const name = [word(), word(), word()].join("-");
  if (!isRoomName(name)) throw new Error("made of letters and dashes alone");
  return name;
}

export function decodeRoomSecret(secret: RoomSecret): Uint8Array<ArrayBuffer> {
  const binary = atob(secret.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function encodeBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

function pick(alphabet: string): string {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  return alphabet.charAt(random % alphabet.length);
}
