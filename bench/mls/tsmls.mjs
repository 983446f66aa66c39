// The same figures of ts-mls, for "one creator added all". usage: tsmls.mjs SUITE,... MEMBERS,... SECONDS
import { createRequire } from 'node:module';
import { pathToFileURL, fileURLToPath } from 'node:url';
import path from 'node:path';

// From where the interoperability tests have it.
const require = createRequire(path.join(path.dirname(fileURLToPath(import.meta.url)), '../../tests/interop/members.mjs'));
const {
  acceptAll, createCommit, createGroup, decodeMlsMessage, defaultCapabilities, emptyPskIndex, encodeMlsMessage, generateKeyPackage, getCiphersuiteFromName,
  getCiphersuiteImpl, joinGroup, processPublicMessage,
} = await import(pathToFileURL(path.join(path.dirname(require.resolve('@hpke/chacha20poly1305/package.json')), '../../ts-mls/dist/src/index.js')).href);

const [suites, sizes, seconds] = process.argv.slice(2);
const names = {
  1: 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519', 2: 'MLS_128_DHKEMP256_AES128GCM_SHA256_P256',
  3: 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519',
};
const bytes = (text) => new TextEncoder().encode(text);
const now = BigInt(Math.floor(Date.now() / 1000));

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

for (const suite of suites.split(',')) {
  if (names[suite] === undefined) continue;
  const impl = await getCiphersuiteImpl(getCiphersuiteFromName(names[suite]));
  const person = (name) => generateKeyPackage({ credentialType: 'basic', identity: bytes(name) }, defaultCapabilities(),
    { notBefore: now - 86400n, notAfter: now + 86400n }, [], impl);
  const add = ({ publicPackage }) => ({ proposalType: 'add', add: { keyPackage: publicPackage } });
  const decode = (encoded) => decodeMlsMessage(encoded, 0)[0];
  for (const size of sizes.split(',').map(Number)) {
    const creator = await person('member 0');
    let first = await createGroup(bytes('bench'), creator.publicPackage, creator.privatePackage, [], impl);
    const others = [];
    for (let i = 1; i < size; ++i) others.push(await person(`member ${i}`));
    const made = await createCommit({ state: first, cipherSuite: impl }, { extraProposals: others.map(add), ratchetTreeExtension: true, wireAsPublicMessage: true });
    first = made.newState;
    const newest = others.at(-1);
    const last = await joinGroup(made.welcome, newest.publicPackage, newest.privatePackage, emptyPskIndex, impl);
    console.log(`\nsuite ${suite}, ${size} members`);
    const both = async (create, process_, proposals) => {
      const commit = () => createCommit({ state: first, cipherSuite: impl }, { extraProposals: proposals, ratchetTreeExtension: true, wireAsPublicMessage: true });
      const pending = await commit();
      const encoded = encodeMlsMessage(pending.commit);
      row(create, await median(async () => encodeMlsMessage((await commit()).commit)), encoded.length);
      row(process_, await median(() => processPublicMessage(last, decode(encoded).publicMessage, emptyPskIndex, impl, acceptAll)));
      return pending;
    };
    await both('create empty commit', 'process it', []);
    const newcomer = await person(`member ${size}`);
    const adding = await both('create commit, one added', 'process it', [add(newcomer)]);
    if (size > 2) await both('create commit, one removed', 'process it', [{ proposalType: 'remove', remove: { removed: Math.floor(size / 2) } }]);
    const welcome = encodeMlsMessage({ welcome: adding.welcome, wireformat: 'mls_welcome', version: 'mls10' });
    row('join by Welcome with tree', await median(() => joinGroup(decode(welcome).welcome, newcomer.publicPackage, newcomer.privatePackage, emptyPskIndex, impl)), welcome.length);
  }
}
