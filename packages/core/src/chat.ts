/** What members write to each other (docs/protocol.md s.5). Pure. */

/** UTF-16 units of one message; escaped at worst it is well below the 16 KiB of an application message. */
export const maxChatLength = 2000;
/** Messages that are kept, of all members together; the oldest go. */
export const maxChatMessages = 500;
/** Of these, of one member: nobody can drive away what the others wrote. */
export const maxChatOfOne = 100;
/** For so long a message is sent again to who comes back. */
export const sentAgainForMs = 60_000;
const maxSentAgain = 32;
/** Of one message: who comes and goes all the time, or a server that says so, does not make everybody send for ever. */
const maxCopies = 4;
/** After the last connection that came back, and so long after the first at most. */
const againAfterMs = 1000;
const againAtLastMs = 4000;

export interface Written {
  /** Of its author, from 0 on: who gets a message twice knows it by that. */
  readonly number: number;
  readonly text: string;
}

interface Sent extends Written {
  readonly at: number;
  readonly copies: number;
}

/** Without what is invisible and at most as long as is sent; "" when nothing is left. */
export function cleanChat(text: string): string {
  return text
    .replace(/(?![\n\t])\p{Cc}/gu, "")
    .trim()
    .slice(0, maxChatLength);
}

/**
 * What one wrote in the last minute. The server keeps no message for whom it cannot reach at the moment, so it is sent again when a connection has come
 * back, one's own or another's: once for all that come back together, and not if somebody came in since, for whom it was not meant. The engine has it,
 * since only there nothing lies between hearing of a newcomer and encrypting.
 */
export class ChatOutbox {
  #recent: readonly Sent[] = [];
  #again: { readonly since: number; readonly at: number } | null = null;

  /** It was sent. */
  add(now: number, { number, text }: Written): void {
    this.#recent = [...this.#recent, { number, text, at: now, copies: 0 }].slice(-maxSentAgain);
  }

  /** A connection came back. */
  handleBack(now: number): void {
    if (this.#stillDue(now).length === 0) return;
    const since = this.#again?.since ?? now;
    this.#again = { since, at: Math.min(now + againAfterMs, since + againAtLastMs) };
  }

  get deadline(): number | null {
    return this.#again?.at ?? null;
  }

  /** At the deadline, and nothing before it. */
  toSendAgain(now: number): readonly Written[] {
    if (this.#again === null || now < this.#again.at) return [];
    this.#again = null;
    this.#recent = this.#stillDue(now).map((one) => ({ ...one, copies: one.copies + 1 }));
    return this.#recent.map(({ number, text }) => ({ number, text }));
  }

  /** Somebody came in, or we do as somebody new. Returns the numbers of those that were to be sent again and will not be. */
  forget(now: number): readonly number[] {
    const due = this.#again === null ? [] : this.#stillDue(now).map(({ number }) => number);
    this.#recent = [];
    this.#again = null;
    return due;
  }

  /** What a connection that comes back now is to get. */
  #stillDue(now: number): readonly Sent[] {
    return this.#recent.filter(({ at, copies }) => now - at < sentAgainForMs && copies < maxCopies);
  }
}
