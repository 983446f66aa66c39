/** Sentences that several places say alike. */
import type { RoomSuite, SafetyNumberReason } from "@satsuma/core";

/** What rooms encrypt with: a name to choose by, and what is in it. */
export const suiteWords: Readonly<Record<RoomSuite, { readonly name: string; readonly what: string }>> = {
  standard: { name: "Standard", what: "X25519, ChaCha20-Poly1305, Ed25519. Fast on every device." },
  aes: { name: "MLS mandatory", what: "X25519, AES-128-GCM, Ed25519. What every MLS program has." },
  b128: { name: "Suite B, 128 bits", what: "P-256, AES-128. For those whose rules ask for NIST's algorithms." },
  b192: { name: "Suite B, 192 bits", what: "P-384, AES-256, SHA-384. The strongest of NIST's; slower." },
  pq: { name: "Post-quantum", what: "ML-KEM-768 with X25519, ChaCha20-Poly1305, Ed25519. For what must stay secret when there are quantum computers." },
};

/** A rate from two counts of bytes, so many milliseconds apart; nothing where there is no earlier one. */
export function kilobits(before: number | undefined, now: number, ms: number): string {
  return before === undefined || ms <= 0 || now < before ? "" : `${Math.round((8 * (now - before)) / ms)} kbit/s`;
}

const rightToLeft = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** A name for the middle of a sentence: one that is written from right to left stands between marks that keep the rest of the sentence in its order. */
export function isolated(name: string): string {
  return rightToLeft.test(name) ? `\u2068${name}\u2069` : name;
}

function list(names: readonly string[]): string {
  const shown = names.map((name) => (name === "" ? "Someone without a name" : isolated(name)));
  if (shown.length <= 1) return shown[0] ?? "Someone";
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1) ?? ""}`;
}

export function comingsText(joined: readonly string[], left: readonly string[]): string {
  return [...(joined.length > 0 ? [`${list(joined)} joined`] : []), ...(left.length > 0 ? [`${list(left)} left`] : [])].join(", ");
}

export function reasonText({ kind, joined, left, blamed }: SafetyNumberReason): string {
  const trouble = blamed.length > 0 ? `the keys that ${list(blamed)} sent did not work` : null;
  switch (kind) {
    case "entered":
      return trouble === null ? "You came in" : `You came in anew: ${trouble} for you`;
    case "changed": {
      const comings = comingsText(joined, left);
      return trouble === null ? comings : `${comings}: ${trouble} for everybody`;
    }
    case "refreshed":
      return "Keys were renewed";
    case "new-era":
      return `The group was started anew, because ${trouble ?? "its keys could not be agreed on"}`;
  }
}

export const overdueText =
  "New keys have been due for a while and do not come: the server holds them back, or a device hangs. " +
  "Nobody can come in meanwhile, and when somebody has left, nothing more is sent until they are here.";

const sentenceMarks = ".,;:!?)]}'’»";

/** Without the marks that are the sentence's, not the address's. A loop, since a pattern tried at each place takes time with the square of the length. */
function withoutMarks(address: string): string {
  let end = address.length;
  while (end > 0 && sentenceMarks.includes(address.charAt(end - 1))) end -= 1;
  return address.slice(0, end);
}

/** How an address is shown if it may be opened: so that whoever reads it knows where it leads. Null for one with a name before an "@", which looks like the host, or with invisible characters. */
function shownAddress(address: string): string | null {
  if (/\p{Cf}/u.test(address) || !URL.canParse(address)) return null;
  const url = new URL(address);
  if (url.username !== "" || url.password !== "") return null;
  // Letters of other scripts that look alike, and other ways to write a host, are shown as what the browser makes of them.
  return address.toLowerCase().startsWith(`${url.protocol}//${url.host}`) ? address : url.href;
}

export const withheldText = "Not sent at the moment: somebody has left who could still read it, until new keys are here.";

/** A text in parts, the web addresses in it by themselves; only http and https become links. */
export function linkParts(text: string): readonly { readonly text: string; readonly url: string | null }[] {
  const parts: { readonly text: string; readonly url: string | null }[] = [];
  let at = 0;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"]+/gu)) {
    const address = withoutMarks(found);
    const shown = shownAddress(address);
    if (shown === null) continue;
    if (index > at) parts.push({ text: text.slice(at, index), url: null });
    parts.push({ text: shown, url: address });
    at = index + address.length;
  }
  if (at < text.length) parts.push({ text: text.slice(at), url: null });
  return parts;
}

export function displayedName(name: string): string {
  return name === "" ? "Guest" : name;
}
