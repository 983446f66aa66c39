/**
 * Where more microphones are on than there are slots (docs/protocol.md s.6, "Who speaks"): who begins to speak tells the others, and whoever is told asks the
 * server for that microphone. Elsewhere nobody says anything, for a message at that moment tells the server who speaks. Pure.
 */
import type { ParticipantId } from "./api.ts";
import type { Model } from "./model.ts";

/** Of slots for microphones, whatever the server says: in a room of fewer it cannot make us tell when we speak. As the server's --voices, which allows no fewer. */
const fewestSlots = 8;
/** The server takes no more. */
const maxAsked = 16;
/** Who speaks on says so every ten seconds, and what comes a moment later is late. */
const freshMs = 12_000;
/** Who has not said so for so long has fallen silent. */
const keptMs = 30_000;

const isOn = (model: Model, id: ParticipantId): boolean => model.announced.get(id)?.microphone === true && !model.departed.has(id);

function othersOn(model: Model): readonly ParticipantId[] {
  return model.roster.filter(({ incarnation, self }) => !self && isOn(model, incarnation)).map(({ incarnation }) => incarnation);
}

/**
 * Whether more microphones are on, ours among them, than anybody has slots for: who has none of their own then may miss us, though we miss nobody. It counts what
 * the members say, and not whom the server gave slots to.
 */
export function isCrowded(model: Model): boolean {
  return model.subscription !== null && othersOn(model).length >= Math.max(model.slotsForVoices, fewestSlots);
}

/** Whose microphones we want, the most wanted first: who said lately that they speak, who is heard speaking, so that they are not taken away, and who said so longer ago. */
export function wantedVoices(model: Model, now: number): readonly ParticipantId[] {
  if (!isCrowded(model)) return [];
  const others = new Set(othersOn(model));
  const heard = new Set([...model.slots.values()].filter(({ source }) => source === "microphone").map(({ incarnation }) => incarnation));
  if ([...others].every((id) => heard.has(id))) return [];
  const said = (from: number, until: number): readonly ParticipantId[] =>
    model.voices.filter(({ at }) => now - at >= from && now - at < until).map(({ incarnation }) => incarnation);
  return [...new Set([...said(0, freshMs), ...model.speakers.speaking, ...said(freshMs, keptMs)])].filter((id) => others.has(id)).slice(0, maxAsked);
}

/** On watchMicrophoneLevel's scale: -36 dB. */
const voiceLevel = 0.48;
/** A click is no voice. */
const establishedMs = 150;
const pauseMs = 1500;
/** Who speaks on says so again, for those who came meanwhile, and against those who began later. */
const repeatMs = 10_000;
/** Each message costs every member a signature check. */
const leastIntervalMs = 3000;
/** Who leaves and who comes back may be in the room together for a moment. */
const settledMs = 2000;

/** When to tell the others that we speak, from how loud our microphone is. */
export class VoiceTeller {
  #crowdedSince: number | null = null;
  #began = -Infinity;
  #heard = -Infinity;
  #told = -Infinity;
  #toldBegan = -Infinity;

  /** Every 50 ms or so. True: tell them now. */
  handle(now: number, level: number, crowded: boolean): boolean {
    this.#crowdedSince = crowded ? (this.#crowdedSince ?? now) : null;
    if (level >= voiceLevel) {
      if (now - this.#heard > pauseMs) this.#began = now;
      this.#heard = now;
    }
    if (this.#crowdedSince === null || now - this.#crowdedSince < settledMs) return false;
    const speaks = now - this.#heard <= pauseMs && this.#heard - this.#began >= establishedMs;
    const due = this.#toldBegan === this.#began ? repeatMs : leastIntervalMs;
    if (!speaks || now - this.#told < due) return false;
    this.#told = now;
    this.#toldBegan = this.#began;
    return true;
  }
}
