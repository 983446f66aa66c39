// The same figures of ts-mls, for both shapes. The one in which everyone has committed is made with our members in most places: theirs would take hours.
// usage: tsmls.mjs SUITE,... MEMBERS,... SECONDS
import { createRequire } from 'node:module';
import { pathToFileURL, fileURLToPath } from 'node:url';
import path from 'node:path';

// From where the interoperability tests have it.
const members = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../tests/interop/members.mjs');
const require = createRequire(members);
const { Ours, Theirs } = await import(pathToFileURL(members).href);
const { Mls } = await import(pathToFileURL(require.resolve('@satsuma/mls')).href);
const {
  acceptAll, createCommit, decodeMlsMessage, emptyPskIndex, encodeMlsMessage, joinGroup, processPublicMessage,
} = await import(pathToFileURL(path.join(path.dirname(require.resolve('@hpke/chacha20poly1305/package.json')), '../../ts-mls/dist/src/index.js')).href);

const [suites, sizes, seconds] = process.argv.slice(2);
const mls = await Mls.load();
const bytes = (text) => new TextEncoder().encode(text);

async function median(run) {
  const times = [];
  const cpu = () => { const { user, system } = process.cpuUsage(); return user + system; };
  const began = cpu();
  do {
    const start = cpu();
    await run();
    times.push(cpu() - start);
  } while (times.length < 3 || (cpu() - began < Number(seconds) * 1e6 && times.length < 2000));
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)];
}
const row = (what, us, size) => console.log(`  ${what.padEnd(26)} ${us.toFixed(1).padStart(10)}${size === undefined ? '' : String(size).padStart(56)}`);

const add = ({ publicPackage }) => ({ proposalType: 'add', add: { keyPackage: publicPackage } });
const decode = (encoded) => decodeMlsMessage(encoded, 0)[0];
const commitOf = (state, cipherSuite, extraProposals) =>
  createCommit({ state, cipherSuite }, { extraProposals, ratchetTreeExtension: true, wireAsPublicMessage: true });

/** Two of theirs, in different halves of the tree, and where the first one sits. */
async function addedByOne(library, size) {
  const creator = await library.create(await library.person('member 0'), bytes('bench'));
  const others = [];
  for (let i = 1; i < size; ++i) others.push(await library.person(`member ${i}`));
  const made = await commitOf(creator.state, library.impl, others.map(add));
  const newest = others.at(-1);
  const last = await joinGroup(made.welcome, newest.publicPackage, newest.privatePackage, emptyPskIndex, library.impl);
  return { first: made.newState, last };
}

async function allHaveCommitted(library, size) {
  const ours = await Ours.library(mls, library.suite);
  const creator = await ours.create(await ours.person('member 0'), bytes('bench'));
  let first, last;
  for (let i = 1; i < size; ++i) {
    const by = i === 1 || i === size - 1 ? library : ours;
    const person = await by.person(`member ${i}`);
    // Without a path: else ts-mls 1.6.4 does not join (tests/interop/README.md).
    const pending = creator.group.commit({ add: [person.message], forcePath: false });
    await first?.receive(pending.commit);
    const joined = await by.join(person, pending.welcome);
    creator.group.merge(pending);
    const own = await joined.commit({});
    await creator.receive(own.commit);
    await first?.receive(own.commit);
    own.merge();
    if (i === 1) first = joined;
    else if (i === size - 1) last = joined;
    else joined.group.free();
  }
  const again = await creator.commit({});
  await first.receive(again.commit);
  await last.receive(again.commit);
  return { first: first.state, last: last.state };
}

async function measure(library, { first, last }, size) {
  const { impl } = library;
  const both = async (create, process_, proposals) => {
    const pending = await commitOf(first, impl, proposals);
    const encoded = encodeMlsMessage(pending.commit);
    row(create, await median(async () => encodeMlsMessage((await commitOf(first, impl, proposals)).commit)), encoded.length);
    row(process_, await median(() => processPublicMessage(last, decode(encoded).publicMessage, emptyPskIndex, impl, acceptAll)));
    return pending;
  };
  await both('create empty commit', 'process it', []);
  const newcomer = await library.person(`member ${size}`);
  const adding = await both('create commit, one added', 'process it', [add(newcomer)]);
  if (size > 2) await both('create commit, one removed', 'process it', [{ proposalType: 'remove', remove: { removed: Math.floor(size / 2) } }]);
  const welcome = encodeMlsMessage({ welcome: adding.welcome, wireformat: 'mls_welcome', version: 'mls10' });
  row('join by Welcome with tree', await median(() => joinGroup(decode(welcome).welcome, newcomer.publicPackage, newcomer.privatePackage, emptyPskIndex, impl)), welcome.length);
}

for (const suite of suites.split(',').map(Number).filter((id) => id >= 1 && id <= 3)) {
  const library = await Theirs.library(suite);
  for (const size of sizes.split(',').map(Number)) {
    console.log(`\nsuite ${suite}, ${size} members, one creator added all`);
    await measure(library, await addedByOne(library, size), size);
    if (size < 3) continue; // one of ours is among them
    console.log(`\nsuite ${suite}, ${size} members, everyone has committed once`);
    await measure(library, await allHaveCommitted(library, size), size);
  }
}
