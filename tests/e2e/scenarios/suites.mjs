// What a room encrypts with is chosen when it is made.
import assert from 'node:assert/strict';
import { scenario } from '../lib/world.mjs';
import { eventually } from '../lib/person.mjs';
import { commonSafetyNumber } from './meeting.mjs';

const names = { aes: 'MLS mandatory', b128: 'Suite B, 128 bits', b192: 'Suite B, 192 bits', pq: 'Post-quantum' };

scenario('a room of every suite: chosen on the first page, shown in the room, and both browsers see and hear each other', async (world) => {
  const server = await world.server();
  const small = { width: 160, height: 90, frameRate: 10 };
  const ada = await world.person('Ada', 'chrome', small);
  const bo = await world.person('Bo', 'firefox', small);
  for (const [suite, name] of Object.entries(names)) {
    await ada.open(`${server.origin}/`);
    await ada.evaluate(() => {
      document.querySelector('.landing-more').open = true;
      document.querySelector('.suite-select button').focus();
    });
    await ada.call('press', 'Enter');
    await ada.click(name, 'option');
    await ada.click('New room');
    const link = await eventually('the link names the suite', async () => {
      const href = await ada.evaluate(() => location.href);
      return href.endsWith(`.${suite}`) ? href : null;
    });
    await ada.join();
    await bo.enter(link);
    await commonSafetyNumber([ada, bo]);
    for (const person of [ada, bo]) {
      await person.seesAndHears(1);
      await person.click('Safety number');
      await eventually('the suite is shown', async () => (await person.evaluate(() => document.querySelector('[data-suite]')?.textContent ?? '')).startsWith(name));
      await person.call('press', 'Escape');
    }
    await bo.leave();
    await ada.leave();
  }
  await bo.open(`${server.link().url}.rot13`);
  assert.ok(await bo.has('This room encrypts in a way that is not known here', 'heading', 10_000));
});
