/** What a room encrypts with: chosen when it is made, named in its link behind the secret (docs/protocol.md s.1 and 4). */
export type RoomSuite = "standard" | "aes" | "b128" | "b192" | "pq";

/** `number` is SatsumaSuite of the module; a link names all but the first. */
const numbers: Readonly<Record<RoomSuite, number>> = { standard: 0, aes: 1, b128: 2, b192: 3, pq: 4 };

export const roomSuites: readonly RoomSuite[] = ["standard", "aes", "b128", "b192", "pq"];
export const standardSuite: RoomSuite = "standard";

export function suiteNumber(suite: RoomSuite): number {
  return numbers[suite];
}

/** Behind the secret in a link: nothing for the standard suite. */
export function suiteSuffix(suite: RoomSuite): string {
  return suite === standardSuite ? "" : `.${suite}`;
}

/** Null for a name that this version does not know. */
export function suiteOfSuffix(suffix: string): RoomSuite | null {
  return roomSuites.find((suite) => suiteSuffix(suite) === suffix) ?? null;
}
