/**
 * Who speaks, from how loud each decoded stream is. Nobody is told: the streams come without a level that the server
 * could read, and all of them arrive here. Pure.
 */
import type { ParticipantId } from "./api.ts";

/** Of the level, which is 1 for the loudest sine there is: -36 dB to begin, -42 dB to go on. */
const beginLevel = 0.016;
const goOnLevel = 0.008;
/** Pauses between words. */
const pauseMs = 900;
/** A cough does not make a main speaker, and two who talk at once do not make it change all the time. */
const establishedMs = 700;
const holdMs = 2500;
/** More than any screen has tiles. */
const maxRanked = 64;

export interface Speakers {
  readonly speaking: ReadonlySet<ParticipantId>;
  /** Who has the floor; kept by who falls silent, or turns the microphone off, until somebody else speaks. */
  readonly main: ParticipantId | null;
  /** Who spoke, and not only coughed: who began last, first. */
  readonly ranking: readonly ParticipantId[];
}

export const nobodySpeaks: Speakers = { speaking: new Set(), main: null, ranking: [] };

interface Voice {
  began: number;
  heard: number; // when it was last loud enough
  loudness: number; // of the last second or so
  ranked: boolean;
}

export class SpeakerDetector {
  readonly #voices = new Map<ParticipantId, Voice>();
  #main: ParticipantId | null = null;
  #mainSince = -Infinity;
  #ranking: readonly ParticipantId[] = [];
  #state = nobodySpeaks;

  get state(): Speakers {
    return this.#state;
  }

  /** The level of everybody who can be heard, 0 to 1, over the time since the last call, and who is in the room. True when `state` is another one than before. */
  handle(now: number, levels: ReadonlyMap<ParticipantId, number>, members: ReadonlySet<ParticipantId>): boolean {
    for (const [id, level] of levels) {
      const voice = this.#voices.get(id);
      if (voice === undefined) {
        if (level >= beginLevel) this.#voices.set(id, { began: now, heard: now, loudness: level, ranked: false });
        continue;
      }
      voice.loudness += (level - voice.loudness) * 0.3;
      if (level >= goOnLevel) voice.heard = now;
    }
    for (const [id, voice] of this.#voices) {
      if (!levels.has(id) || now - voice.heard > pauseMs) this.#voices.delete(id);
      else if (!voice.ranked && voice.heard - voice.began >= establishedMs) this.#rank(id, voice);
    }
    this.#chooseMain(now, members);
    const speaking = new Set(this.#voices.keys());
    const same = this.#main === this.#state.main && this.#ranking === this.#state.ranking && speaking.size === this.#state.speaking.size && [...speaking].every((id) => this.#state.speaking.has(id));
    if (!same) this.#state = { speaking, main: this.#main, ranking: this.#ranking };
    return !same;
  }

  #rank(id: ParticipantId, voice: Voice): void {
    voice.ranked = true;
    if (this.#ranking[0] !== id) this.#ranking = [id, ...this.#ranking.filter((other) => other !== id)].slice(0, maxRanked);
  }

  #chooseMain(now: number, members: ReadonlySet<ParticipantId>): void {
    if (this.#main !== null && !members.has(this.#main)) this.#main = null;
    const present = this.#main === null ? undefined : this.#voices.get(this.#main);
    // Who has the floor keeps it while speaking, and for a moment in any case.
    if (this.#main !== null && (present !== undefined || now - this.#mainSince < holdMs)) return;
    let best: [ParticipantId, Voice] | null = null;
    for (const entry of this.#voices) {
      if (entry[1].heard - entry[1].began >= establishedMs && (best === null || entry[1].loudness > best[1].loudness)) best = entry;
    }
    if (best === null) return;
    this.#main = best[0];
    this.#mainSince = now;
  }
}
