/** Who has a tile when there are more people than tiles. Pure. */

export interface StagePerson {
  readonly id: string;
  readonly isSelf: boolean;
  readonly hasPicture: boolean;
}

/** Of the tiles of a call: wide windows have twelve places, phones eight. Who has the floor takes four of them. */
export function placesFor(isWide: boolean, hasLargeTile: boolean): number {
  return (isWide ? 12 : 8) - (hasLargeTile ? 3 : 0);
}

/**
 * The ids of those who have a tile, in the order of `people`, which is the group's: nobody's tile moves because somebody else speaks. `before` is the last
 * answer: who is in it stays, until somebody who is not speaks and takes the place of the one who has been silent longest, of who has no picture first. Where
 * not all fit, one place is left for saying how many more there are.
 */
export function chooseStage(before: readonly string[], people: readonly StagePerson[], lastSpeakers: readonly string[], places: number): readonly string[] {
  if (people.length <= places) return people.map(({ id }) => id);
  const room = Math.max(places - 1, 1);
  const here = new Map(people.map((person, index) => [person.id, { ...person, index }]));
  const spoke = new Map(lastSpeakers.map((id, index) => [id, index]));
  // First oneself, then those who spoke last, then those with a picture; of these and of the others those who have a tile already, then the first who came.
  const had = new Set(before);
  const rank = (id: string): readonly [number, number] => {
    const person = here.get(id);
    if (person === undefined || person.isSelf) return [0, 0];
    const order = spoke.get(id);
    if (order !== undefined) return [1, order];
    return [2 + (person.hasPicture ? 0 : 2) + (had.has(id) ? 0 : 1), person.index];
  };
  const ranked = people.map(({ id }) => ({ id, rank: rank(id) })).sort((a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1]);
  const chosen = new Set(ranked.slice(0, room).map(({ id }) => id));
  return people.filter(({ id }) => chosen.has(id)).map(({ id }) => id);
}
