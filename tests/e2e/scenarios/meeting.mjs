// People come, see, hear, leave.
import assert from 'node:assert/strict';
import os from 'node:os';
import path from 'node:path';
import { scenario } from '../lib/world.mjs';
import { eventually } from '../lib/person.mjs';

/** The safety number, once it is the same on all screens and none of `before`. */
export async function commonSafetyNumber(people, before = []) {
  return eventually('one safety number on all screens, and a new one', async () => {
    const numbers = await Promise.all(people.map((person) => person.safetyNumber()));
    const [first] = numbers;
    if (first !== null && numbers.every((number) => number === first) && !before.includes(first)) return first;
    throw new Error(JSON.stringify(numbers));
  }, 20_000);
}

async function meeting(world, kinds, families = kinds.map(() => 4)) {
  const server = await world.server({ everyAddress: families.includes(6) });
  const link = server.link();
  const names = ['Ada', 'Bo', 'Cy', 'Di', 'Ed', 'Fay'];
  const present = [];
  const numbers = [];
  for (const [index, kind] of kinds.entries()) {
    const person = await world.person(names[index], kind, { family: families[index] });
    await person.enter(families[index] === 6 ? link.url6 : link.url);
    present.push(person);
    numbers.push(await commonSafetyNumber(present, numbers));
  }
  for (const person of present) await person.seesAndHears(present.length - 1);
  return { server, link, present, numbers };
}

/** What a person reads about the call under Settings, Statistics. */
async function readsStatistics(world, person, other) {
  await person.click('Settings');
  await person.evaluate(() => document.querySelector('.statistics > summary').click());
  await eventually(`${person.name} reads the statistics`, async () => {
    const { path, rows } = await person.evaluate(() => ({
      path: document.querySelector('.statistics > p')?.innerText ?? '',
      rows: [...document.querySelectorAll('.statistics tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText)),
    }));
    const row = (name) => rows.find(([first]) => first === name) ?? [];
    const said = JSON.stringify({ path, rows });
    assert.match(path, /^From the server: .*[1-9]\d* kbit\/s used, [\d.]+ % lost, [\d.]+ ms there and back\.$/, said);
    for (const name of ['Your camera', 'Your sound', `${other.name}: camera`, `${other.name}: sound`]) assert.match(row(name)[2] ?? '', /^[1-9]\d* kbit\/s$/, said);
    assert.match(row(`${other.name}: camera`)[1], /^\d+ × \d+, \d+\/s$/, said);
    assert.match(row(`${other.name}: camera`)[3], /^[\d.]+ %$/, said);
    return true;
  }, 20_000);
  await person.call('screenshot', path.join(world.folder, `statistics-${person.kind}.png`));
  await person.click('Close');
}

scenario('two people in Chromium see and hear each other, one of them over IPv6 alone', async (world) => {
  const { present: [ada, bo], numbers } = await meeting(world, ['chrome', 'chrome'], [4, 6]);
  await readsStatistics(world, ada, bo);
  await bo.leave();
  await commonSafetyNumber([ada], numbers);
  await eventually('nobody else is in the picture', async () => (await ada.movingPictures()) === 0);
});

scenario('two people in Firefox see and hear each other, one of them over IPv6 alone', async (world) => {
  const { present: [ada, bo] } = await meeting(world, ['firefox', 'firefox'], [4, 6]);
  await readsStatistics(world, ada, bo);
});

scenario('three people in Chromium and Firefox see and hear each other, and each coming and going changes the safety number', async (world) => {
  const { present: [ada, bo, cy], numbers } = await meeting(world, ['chrome', 'firefox', 'chrome']);
  assert.equal(new Set(numbers).size, 3);
  // Browsers' made-up microphones beep: the page shows who is heard, and no more once the microphone is off.
  const speaks = (who, whom) => who.evaluate((name) => document.querySelector(`figure[aria-label="${name}"]`)?.dataset.speaking === 'true', whom.name);
  for (const [who, whom] of [[ada, bo], [bo, ada], [cy, bo]]) await eventually(`${who.name} sees that ${whom.name} speaks`, () => speaks(who, whom), 20_000, 100);
  // What one writes the others read, in both browsers, by the real server.
  await ada.click('Chat');
  await ada.call('fill', 'Message to everybody', 'Hello from Ada', 10_000);
  await ada.call('press', 'Enter');
  for (const reader of [bo, cy]) {
    await reader.click('Chat, 1 new');
    assert.match(await reader.call('text', 'Messages', 'log', 10_000), /Ada[^]*Hello from Ada/);
  }
  await bo.click('Mute microphone');
  await eventually('nobody sees Bo speak any more', async () => !(await speaks(ada, bo)) && !(await speaks(cy, bo)));
  await bo.leave();
  const after = await commonSafetyNumber([ada, cy], numbers);
  assert.ok(!numbers.includes(after));
  await ada.seesAndHears(1);
  await cy.seesAndHears(1);
});

scenario('two enter an empty room at the same moment and find themselves in one group', async (world) => {
  const server = await world.server();
  const link = server.link();
  const people = await Promise.all([world.person('Ada', 'chrome'), world.person('Bo', 'chrome')]);
  for (const person of people) await person.open(link.url);
  await Promise.all(people.map((person) => person.join()));
  await commonSafetyNumber(people);
  for (const person of people) await person.seesAndHears(1);
});

scenario('muting is seen by the others and silences, turning the camera off takes the picture away', async (world) => {
  const { present: [ada, bo] } = await meeting(world, ['chrome', 'chrome']);
  await ada.click('Mute microphone');
  assert.ok(await ada.has('Unmute microphone', 'button', 3000));
  await ada.click('Turn off camera');
  assert.ok(await ada.has('Turn on camera', 'button', 3000));
  await eventually('no moving picture of Ada', async () => (await bo.movingPictures()) === 0);
  await ada.click('Turn on camera');
  await ada.click('Unmute microphone');
  await bo.seesAndHears(1);
});

scenario('a shared screen arrives', async (world) => {
  const { present: [ada, bo] } = await meeting(world, ['chrome', 'chrome']);
  const before = await bo.stats('inbound-rtp', 'video');
  const active = (entries) => entries.filter((entry) => (entry.framesDecoded ?? 0) > 0).length;
  await ada.click('Share screen');
  await eventually('a second picture arrives from Ada', async () => active(await bo.stats('inbound-rtp', 'video')) > active(before));
});

// Six browsers that encode one picture and decode five each: two cores do it, but starve whatever runs beside.
const large = os.availableParallelism() >= 4 || process.env.SATSUMA_E2E_LARGE === '1';
scenario('six people in both browsers see and hear each other', async (world) => {
  await meeting(world, ['chrome', 'firefox', 'chrome', 'firefox', 'chrome', 'chrome']);
}, { skip: large ? false : 'needs four cores, or SATSUMA_E2E_LARGE=1' });
