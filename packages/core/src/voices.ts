/**
 * Where more microphones are on than there are slots (docs/protocol.md s.6, "Who speaks"): who begins to speak tells the others, and whoever is told asks the
 * server for that microphone. Elsewhere nobody says anything, for a message at that moment tells the server who speaks. Pure.
 */
import type { ParticipantId } from "./api.ts";
import type { Model } from "./model.ts";

/** Slots for microphones at most: where so many others are on, somebody without a microphone of their own may miss us, though we miss nobody. */
const slotsForVoices = 40;
/** The server takes no more. */
const maxAsked = 16;

const isOn = (model: Model, id: ParticipantId): boolean => model.announced.get(id)?.microphone === true && !model.departed.has(id);

function othersOn(model: Model): readonly ParticipantId[] {
  return model.roster.filter(({ incarnation, self }) => !self && isOn(model, incarnation)).map(({ incarnation }) => incarnation);
}

/** Whether microphones are on that we, or others, cannot hear. */
export function isAnybodyUnheard(model: Model): boolean {
  const heard = new Set([...model.slots.values()].filter(({ source }) => source === "microphone").map(({ incarnation }) => incarnation));
  const others = othersOn(model);
  return model.subscription !== null && (others.length >= slotsForVoices || others.some((id) => !heard.has(id)));
}

/** Whose microphones we want, the most wanted first: who said last that they speak, and who is heard speaking, so that they are not taken away. */
export function wantedVoices(model: Model): readonly ParticipantId[] {
  if (!isAnybodyUnheard(model)) return [];
  const others = new Set(othersOn(model));
  return [...new Set([...model.voices, ...model.speakers.speaking])].filter((id) => others.has(id)).slice(0, maxAsked);
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
/** People come, and their slots a moment later; only then is somebody unheard. */
const settledMs = 2000;

/** When to tell the others that we speak, from how loud our microphone is. */
export class VoiceTeller {
  #unheardSince: number | null = null;
  #began = -Infinity;
  #heard = -Infinity;
  #told = -Infinity;
  #toldBegan = -Infinity;

  /** Every 50 ms or so. True: tell them now. */
  handle(now: number, level: number, isUnheard: boolean): boolean {
    this.#unheardSince = isUnheard ? (this.#unheardSince ?? now) : null;
    if (level >= voiceLevel) {
      if (now - this.#heard > pauseMs) this.#began = now;
      this.#heard = now;
    }
    if (this.#unheardSince === null || now - this.#unheardSince < settledMs) return false;
    const speaks = now - this.#heard <= pauseMs && this.#heard - this.#began >= establishedMs;
    const due = this.#toldBegan === this.#began ? repeatMs : leastIntervalMs;
    if (!speaks || now - this.#told < due) return false;
    this.#told = now;
    this.#toldBegan = this.#began;
    return true;
  }
}
