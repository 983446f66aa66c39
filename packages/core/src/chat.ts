/** What members write to each other (docs/protocol.md s.5). Pure. */

/** UTF-16 units of one message; escaped at worst it is well below the 16 KiB of an application message. */
export const maxChatLength = 2000;
/** Messages that are kept, of all members together; the oldest go. */
export const maxChatMessages = 500;
const sentAgainForMs = 60_000;
const maxSentAgain = 32;
/** Of one message: who comes and goes all the time, or a server that says so, does not make everybody send for ever. */
const maxCopies = 4;

export interface Written {
  /** Of its author, from 0 on: who gets a message twice knows it by that. */
  readonly number: number;
  readonly text: string;
}

/** Without what is invisible and at most as long as is sent; "" when nothing is left. */
export function cleanChat(text: string): string {
  return text
    .replace(/(?![\n\t])\p{Cc}/gu, "")
    .trim()
    .slice(0, maxChatLength);
}

/**
 * What one wrote in the last minute. The server keeps no message for whom it cannot reach at the moment, so it is sent again when a connection comes
 * back, one's own or another's: unless somebody came in since, for whom it was not meant.
 */
export class ChatOutbox {
  #next = 0;
  #recent: (Written & { readonly at: number; readonly copies: number })[] = [];

  write(now: number, text: string): Written {
    const written = { number: this.#next, text };
    this.#next += 1;
    this.#recent = [...this.#recent, { ...written, at: now, copies: 0 }].slice(-maxSentAgain);
    return written;
  }

  toSendAgain(now: number): readonly Written[] {
    this.#recent = this.#recent.filter(({ at, copies }) => now - at < sentAgainForMs && copies < maxCopies).map((one) => ({ ...one, copies: one.copies + 1 }));
    return this.#recent.map(({ number, text }) => ({ number, text }));
  }

  /** Somebody came in, or we did as somebody new. */
  forget(): void {
    this.#recent = [];
  }
}
