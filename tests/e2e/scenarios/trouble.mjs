// Crashes, cuts and restarts.
import assert from 'node:assert/strict';
import path from 'node:path';
import { scenario } from '../lib/world.mjs';
import { eventually, sleep } from '../lib/person.mjs';
import { commonSafetyNumber } from './meeting.mjs';

async function together(world, kinds) {
  const server = await world.server();
  const link = server.link();
  const people = [];
  for (const [index, kind] of kinds.entries()) {
    const person = await world.person(['Ada', 'Bo', 'Cy'][index], kind);
    await person.enter(link.url);
    people.push(person);
    await commonSafetyNumber(people);
  }
  for (const person of people) await person.seesAndHears(people.length - 1);
  return { server, link, people };
}

/** Longest time without a newly decoded frame while `during` runs, in ms, on the streams of whoever still sends. */
async function longestFreeze(person, during) {
  await person.evaluate(() => {
    const watch = { last: performance.now(), longest: 0, running: true, frames: -1 };
    window.e2e.freeze = watch;
    const loop = async () => {
      while (watch.running) {
        const entries = (await window.e2e.stats()).filter((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video');
        // the stream that has most: the one of the member who stays
        const frames = entries.reduce((sum, entry) => sum + (entry.framesDecoded ?? 0), 0);
        const now = performance.now();
        if (frames !== watch.frames) {
          watch.frames = frames;
          watch.last = now;
        }
        watch.longest = Math.max(watch.longest, now - watch.last);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    void loop();
  });
  await during();
  return person.evaluate(() => {
    window.e2e.freeze.running = false;
    return window.e2e.freeze.longest;
  });
}

scenario("the committer's browser is killed: the others go on, it is removed, a newcomer gets in", async (world) => {
  const { link, people: [ada, bo, cy] } = await together(world, ['chrome', 'chrome', 'firefox']);
  const before = await bo.safetyNumber();
  // The oldest member is the designated committer.
  const freeze = await longestFreeze(bo, async () => {
    ada.kill();
    await commonSafetyNumber([bo, cy], [before]);
  });
  console.log(`Bo's picture of Cy stood still for ${Math.round(freeze)} ms at most (aim: 1000)`);
  const di = await world.person('Di', 'chrome');
  await di.enter(link.url);
  await commonSafetyNumber([bo, cy, di], [before]);
  for (const person of [bo, cy, di]) await person.seesAndHears(2);
});

scenario('someone reloads the page and is back', async (world) => {
  const { people: [ada, bo] } = await together(world, ['chrome', 'firefox']);
  const before = await ada.safetyNumber();
  await bo.call('reload');
  if (await bo.has('Join', 'button', 5000)) await bo.join();
  await commonSafetyNumber([ada, bo], [before]);
  await ada.seesAndHears(1);
  await bo.seesAndHears(1);
});

scenario("someone's network is cut for 5 seconds and comes back", async (world) => {
  const { people: [ada, bo] } = await together(world, ['chrome', 'chrome']);
  const before = await ada.safetyNumber();
  bo.host.cut();
  await eventually("Bo's picture stands still", async () => (await ada.movingPictures()) === 0, 5000);
  await sleep(5000);
  bo.host.mend();
  await ada.seesAndHears(1);
  await bo.seesAndHears(1);
  assert.equal(await commonSafetyNumber([ada, bo]), before, 'within the grace time nobody is removed');
});

scenario('the server is killed and started again: everyone returns by themselves', async (world) => {
  const { server, link, people } = await together(world, ['chrome', 'firefox']);
  await server.kill();
  await sleep(2000);
  await server.start();
  for (const person of people) await person.seesAndHears(1, 60_000);
  const number = await commonSafetyNumber(people);
  const cy = await world.person('Cy', 'chrome');
  await cy.enter(link.url);
  await commonSafetyNumber([...people, cy], [number]);
  for (const person of [...people, cy]) await person.seesAndHears(2);
});

scenario('the encryption engine of a page dies: it starts anew with fresh keys, and they see and hear each other again', async (world) => {
  const server = await world.server();
  const link = server.link();
  const ada = await world.person('Ada', 'chrome');
  const bo = await world.person('Bo', 'firefox');
  for (const person of [ada, bo]) await person.enter(`${server.origin}/r/${link.room}?debug=1#${link.secret}`);
  const own = (person) => person.evaluate(() => window.satsumaDebug?.state().self ?? null);
  await commonSafetyNumber([ada, bo]);
  for (const person of [ada, bo]) {
    const before = { self: await own(person), number: await person.safetyNumber() };
    // As when the browser takes the memory away: no word of farewell.
    await person.evaluate(() => window.e2e.workers.forEach((worker) => worker.terminate()));
    await sleep(500); // what was encrypted is on its way
    // What goes a second time was encrypted the first time.
    const fresh = ({ packetsSent, retransmittedPacketsSent }) => packetsSent - (retransmittedPacketsSent ?? 0);
    const sent = await person.stats('outbound-rtp');
    assert.ok(sent.some((entry) => fresh(entry) > 0), 'the connection is still there');
    await sleep(1000);
    const now = await person.stats('outbound-rtp');
    for (const before of sent) {
      const after = now.find(({ id, connection }) => id === before.id && connection === before.connection);
      assert.ok(after === undefined || fresh(after) === fresh(before), `${person.kind}: no ${before.kind} leaves that nobody encrypts: ${fresh(before)}, then ${after && fresh(after)}`);
    }
    await eventually(`${person.name} is back as somebody new`, async () => ![null, before.self].includes(await own(person)), 60_000);
    await commonSafetyNumber([ada, bo], [before.number]);
    await ada.seesAndHears(1, 60_000);
    await bo.seesAndHears(1, 60_000);
  }
});

scenario('new keys that do not come, and whose keys did not work, are said in words', async (world) => {
  const { people } = await together(world, ['chrome', 'firefox']);
  for (const person of people) {
    // What the session says when a commit is withheld or cannot be followed (tests/sim has it from the real thing), as it comes out of the worker.
    const tell = (event) => person.evaluate((told) => window.e2e.workers.at(-1).dispatchEvent(new MessageEvent('message', { data: { type: 'session', event: told } })), event);
    const says = (words) => eventually(`${person.name} reads "${words}"`, () => person.evaluate((wanted) => document.body.innerText.includes(wanted), words), 10_000);
    await tell({ type: 'overdue', overdue: true });
    await says('New keys have been due for a while');
    await person.call('screenshot', path.join(world.folder, `overdue-${person.kind}.png`));
    await tell({ type: 'overdue', overdue: false });
    await eventually('the banner goes', () => person.evaluate(() => document.querySelector('[data-overdue]') === null), 10_000);
  }
  const [ada, bo] = people;
  const before = await ada.safetyNumber();
  const tellAda = (event) => ada.evaluate((told) => window.e2e.workers.at(-1).dispatchEvent(new MessageEvent('message', { data: { type: 'session', event: told } })), event);
  // A device that was found false is marked beside what it writes, also when it has left.
  const incarnation = await ada.evaluate((name) => document.querySelector(`figure[aria-label="${name}"]`).dataset.participant, bo.name);
  await tellAda({ type: 'devices', checked: [{ incarnation, device: '', proof: 'refuted' }] });
  await tellAda({ type: 'chat', incarnation, number: 0, text: 'I am Bo' });
  const marked = (place) => ada.evaluate((selector) => /Not the device[^]*I am Bo|I am Bo[^]*Not the device/.test(document.querySelector(selector)?.innerText ?? ''), place);
  await ada.click('Chat, 1 new');
  await eventually('the chat warns', () => marked('.messages'), 10_000);
  await ada.call('screenshot', path.join(world.folder, 'refuted.png'));
  await tellAda({
    type: 'departed', incarnation: '00'.repeat(16), name: 'Cy', cause: 'could_not_follow', committer: 'Mallory',
  });
  bo.kill();
  await eventually('the next epoch', async () => (await ada.safetyNumber()) !== before, 60_000);
  await eventually('Ada reads whose keys did not work', () => ada.evaluate(() => document.body.innerText.includes('the keys that Mallory sent did not work')), 10_000);
  assert.ok(await marked('.messages'), 'the mark stays');
  await ada.call('screenshot', path.join(world.folder, 'blamed.png'));
});
