/** What is on the screen, as the server is told it (docs/protocol.md s.6, "view"). Pure. */
import type { ParticipantId, StageView } from "./api.ts";
import type { SpeakersView, TileView } from "./control.ts";
import type { Model } from "./model.ts";

/** Of a stream that cannot be shown yet, as it is asked for. */
const unprovenHeight = 360;
const maxTileHeight = 16_384;
/** Tiles of people whose pictures no slot carries; the server takes 64. */
const maxNamed = 40;
/** Of these, shared screens: few share at a time, and who only says so takes the place of no more than as many cameras. */
const maxNamedScreens = 8;
/** Of those who let the server know how loud they are, whose pictures it sends as soon as they speak, before we have asked. */
const unaskedSpeakers = 2;

export interface ViewMessage {
  readonly tiles: readonly TileView[];
  readonly speakers: SpeakersView | null;
}

export function viewMessage(model: Model, stage: StageView): ViewMessage {
  const key = (incarnation: string, source: string): string => `${incarnation}/${source}`;
  const heights = new Map(stage.tiles.map((tile) => [key(tile.participant, tile.source), Math.min(Math.round(tile.height), maxTileHeight)]));
  const tiles: TileView[] = [];
  for (const slot of model.slots.values()) {
    if (slot.source !== "camera" && slot.source !== "screen") continue;
    const name = key(slot.incarnation, slot.source);
    const shown = heights.get(name);
    heights.delete(name);
    const proof = model.proofs.get(slot.mid);
    // A screen gets its place when it has proven whose it is, and without a frame there is no proof.
    const proven = proof !== undefined && proof.incarnation === slot.incarnation && proof.source === slot.source;
    const height = shown ?? (slot.source === "screen" && !proven ? unprovenHeight : 0);
    if (height >= 1) tiles.push({ mid: slot.mid, height });
  }
  if (!stage.isCrowded) return { tiles, speakers: null };
  const named: TileView[] = [];
  const ask = (participant: ParticipantId, source: "camera" | "screen", height: number): void => {
    if (height >= 1 && named.length < maxNamed) named.push({ incarnation: participant, source, height });
  };
  const shared = new Set([...model.slots.values()].filter(({ source }) => source === "screen").map(({ incarnation }) => incarnation));
  // Cameras may have taken all the slots: a screen, which has no tile without one, would never be seen.
  const unseen = model.roster.filter(({ incarnation, self }) => !self && !shared.has(incarnation) && model.announced.get(incarnation)?.screen === true);
  for (const { incarnation } of unseen.slice(0, maxNamedScreens)) ask(incarnation, "screen", heights.get(key(incarnation, "screen")) ?? unprovenHeight);
  for (const { participant, source } of stage.tiles) {
    if (source === "camera" && model.announced.get(participant)?.camera === true) ask(participant, source, heights.get(key(participant, source)) ?? 0);
  }
  const highest = Math.max(0, ...stage.tiles.filter(({ source }) => source === "camera").map(({ height }) => Math.round(height)));
  return { tiles: [...tiles, ...named], speakers: highest >= 1 ? { count: unaskedSpeakers, height: Math.min(highest, maxTileHeight) } : null };
}
