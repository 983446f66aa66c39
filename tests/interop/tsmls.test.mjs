// Our library and ts-mls from npm in one group: whoever makes a message, the others read it. Each test prints its seed.
//   INTEROP_SEED=n replays one, INTEROP_STEPS=n makes it longer, INTEROP_TRACE=1 prints each step.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mls } from '@satsuma/mls';

const skip = Number(process.versions.node.split('.')[0]) < 20 ? 'ts-mls wants node 20' : false;
const { Ours, psks, Theirs } = skip ? {} : await import('./members.mjs');
const mls = await Mls.load();
const text = (value) => new TextEncoder().encode(value);
const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** mulberry32: small numbers from a seed, the same everywhere. */
function seeded(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

class Room {
  constructor(ours, theirs) {
    this.libraries = { satsuma: ours, 'ts-mls': theirs };
    this.members = [];
    this.lost = []; // names of those whom ts-mls did not let in
    this.everLost = 0;
    this.names = 0;
  }
  static async open(suite, creator) {
    const room = new Room(await Ours.library(mls, suite), await Theirs.library(suite));
    const library = room.libraries[creator];
    room.members.push(await library.create(await library.person(room.name()), text('interop')));
    return room;
  }
  name() { return `p${this.names++}`; }

  async invite(kind) {
    const library = this.libraries[kind];
    const name = this.name();
    return { library, name, person: await library.person(name) };
  }
  /** By the last commit: everybody receives it, the new ones join, all agree. */
  async commit(committer, { invited = [], ...options }) {
    const proposals = [...(options.proposals ?? [])];
    if (committer.kind === 'satsuma' && !options.cached) {
      for (const leaf of committer.leavesOf(this.lost)) proposals.push({ remove: leaf });
      this.lost = [];
    }
    const made = await committer.commit({ ...options, proposals: [...proposals, ...invited.map(({ person }) => ({ add: person.message }))] });
    // ts-mls 1.6.4 takes itself for a member still when the commit that removes it gives its leaf to somebody else.
    const removed = proposals.map(({ remove }) => remove).filter((leaf) => leaf !== undefined);
    const unaware = (member) => member.kind === 'ts-mls' && invited.length > 0 && removed.includes(member.leaf);
    for (const member of this.members) if (member !== committer && !unaware(member)) await member.receive(made.commit);
    this.members = this.members.filter((member) => member.active && !unaware(member));
    made.merge();
    for (const { library, name, person } of [...invited, ...(options.waiting ?? [])]) {
      assert.ok(made.welcome !== undefined, 'a Welcome');
      const tree = options.treeInWelcome === false ? this.members.find(({ kind }) => kind === 'satsuma').ratchetTree() : undefined;
      try {
        this.members.push(await library.join(person, made.welcome, tree));
      } catch (error) {
        // ts-mls 1.6.4 wants the unmerged leaves of all nodes above one to be equal; RFC 9420 s.7.9.2 has each list those below itself.
        if (library === this.libraries.satsuma || !/must list leaf node in its unmerged_leaves/.test(error.message)) throw error;
        this.lost.push(name);
        this.everLost += 1;
      }
    }
    await this.agree();
  }
  async propose(proposer, proposal, privateMessage) {
    const message = await proposer.propose(proposal, privateMessage);
    for (const member of this.members) if (member !== proposer) assert.equal(await member.receive(message), null);
  }
  async talk(sender, words) {
    const message = await sender.protect(text(words), text('seen by all'));
    for (const member of this.members) {
      if (member !== sender) assert.equal(Buffer.from(await member.receive(message)).toString(), words);
    }
  }
  async agree() {
    const [first, ...others] = this.members;
    const expected = [first.epoch, hex(first.authenticator()), hex(first.treeHash()), hex(await first.exporter('label', text('context'), 40))];
    for (const member of others) {
      assert.deepEqual([member.epoch, hex(member.authenticator()), hex(member.treeHash()), hex(await member.exporter('label', text('context'), 40))], expected,
        `${member.kind} at leaf ${member.leaf}`);
    }
  }
}

const kinds = ['satsuma', 'ts-mls'];
for (const suite of [1, 2, 3]) {
  for (const creator of kinds) {
    test(`suite ${suite}: a group that ${creator} began lives through adds, updates, removes, PSKs, proposals and messages`, { skip }, async () => {
      const room = await Room.open(suite, creator);
      const other = kinds.find((kind) => kind !== creator);
      await room.commit(room.members[0], { invited: [await room.invite(other)] });
      await room.commit(room.members[1], { invited: [await room.invite(creator), await room.invite(other)], privateMessage: true });
      for (const member of room.members) await room.talk(member, `from ${member.kind}`);
      for (const member of [...room.members]) await room.commit(member, { privateMessage: member.leaf % 2 === 0 }); // updates
      for (const member of [...room.members].slice(0, 2)) await room.commit(member, { proposals: [{ psk: 'shared' }, { psk: 'other' }] });
      // A proposal of each, committed by the other.
      for (const [proposer, committer] of [[0, 1], [1, 0]]) {
        const waiting = await room.invite(kinds[proposer]);
        await room.propose(room.members[proposer], { add: waiting.person.message }, proposer === 0);
        await room.propose(room.members[proposer], { psk: 'shared' }, false);
        const updating = room.members.find((member) => member.kind === 'satsuma' && member !== room.members[committer]);
        if (updating) await room.propose(updating, { update: true }, false);
        await room.commit(room.members[committer], { cached: true, waiting: [waiting] });
      }
      await room.commit(room.members[0], { proposals: [{ remove: room.members[2].leaf }] });
      await room.commit(room.members[1], { proposals: [{ remove: room.members[0].leaf }] });
      for (const member of room.members) await room.talk(member, 'still here');
      assert.ok(Object.keys(psks).length > 1);
    });
  }

  const seed = Number(process.env.INTEROP_SEED ?? 2000 + suite);
  const steps = Number(process.env.INTEROP_STEPS ?? 200);
  test(`suite ${suite}: ${steps} random operations, INTEROP_SEED=${seed}`, { skip }, async (t) => {
    const below = seeded(seed);
    const pick = (list) => list[below(list.length)];
    const room = await Room.open(suite, pick(kinds));
    const most = 6;
    const done = {};
    const did = (what) => { done[what] = (done[what] ?? 0) + 1; };
    let waiting = []; // proposed, not committed yet
    let proposed = false;
    for (let step = 0; step < steps; ++step) {
      const actor = pick(room.members);
      const choice = proposed ? 0 : below(10); // ts-mls says nothing while proposals wait, and commits them all
      if (process.env.INTEROP_TRACE) console.log(step, choice, `${actor.kind} at ${actor.leaf} of`, room.members.map(({ kind, leaf }) => `${leaf} ${kind}`).join(', '));
      if (choice <= 3) {
        const options = { privateMessage: below(2) === 0, cached: proposed, waiting, invited: [], proposals: [] };
        const space = most - room.members.length - room.lost.length - waiting.length;
        for (let n = Math.min(space, below(3)); n > 0; --n) options.invited.push(await room.invite(pick(kinds)));
        const leaves = room.members.filter((member) => member !== actor);
        if (!proposed && leaves.length > 1 && below(3) === 0) {
          options.proposals.push({ remove: pick(leaves).leaf });
          did('remove');
        }
        if (below(5) === 0) {
          options.proposals.push({ psk: pick(Object.keys(psks)) });
          did('psk');
        }
        if (options.invited.length + waiting.length > 0) did('add');
        await room.commit(actor, options);
        did(`commit by ${actor.kind}`);
        waiting = [];
        proposed = false;
      } else if (choice === 4) {
        const kind = below(3);
        const proposal = kind === 0 && actor.kind === 'satsuma' ? { update: true } : kind === 1 || room.members.length >= most ? { psk: 'shared' } : null;
        if (proposal?.update) did('update');
        if (proposal === null) {
          const invited = await room.invite(pick(kinds));
          waiting.push(invited);
          await room.propose(actor, { add: invited.person.message }, below(2) === 0);
        } else {
          await room.propose(actor, proposal, below(2) === 0);
        }
        proposed = true;
        did(`proposal by ${actor.kind}`);
      } else if (choice <= 8) {
        await room.talk(actor, `words ${step}`);
        did(`message by ${actor.kind}`);
      } else {
        for (const member of room.members) member.restart();
        await room.agree();
        did('restart');
      }
    }
    done['not let in by ts-mls'] = room.everLost;
    t.diagnostic(JSON.stringify(done));
    for (const what of ['add', 'remove', 'psk', 'commit by satsuma', 'commit by ts-mls', 'proposal by satsuma', 'proposal by ts-mls', 'message by satsuma', 'message by ts-mls']) {
      assert.ok(steps < 200 || done[what] > 0, `no ${what} in this sequence`);
    }
  });
}
