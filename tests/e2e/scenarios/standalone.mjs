// The encryption without our server and user interface: packages/example.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { scenario } from '../lib/world.mjs';
import { eventually } from '../lib/person.mjs';

export const example = fileURLToPath(new URL('../../../packages/example/dist', import.meta.url));

for (const kind of ['chrome', 'firefox']) {
  scenario(`two peers in a page without a server call each other, encrypted, in ${kind}`, async (world) => {
    assert.ok(fs.existsSync(`${example}/index.html`), 'npm run build -w packages/example');
    const ada = await world.person('Ada', kind);
    await ada.open(await ada.call('serve', example));
    await ada.click('Call');
    const cards = () => ada.evaluate(() => [...document.querySelectorAll('[data-peer]')].map(({ dataset, innerText }) => ({ ...dataset, text: innerText })));
    await eventually('each shows a picture that the other\'s key decrypted', async () => {
      const now = await cards();
      if (now.length === 2 && now.every(({ peer, people, proof }) => people === '2' && proof === { Ada: 'Bo', Bo: 'Ada' }[peer])) return true;
      throw new Error(JSON.stringify(now));
    });
    await eventually('both pictures move', async () => (await ada.movingPictures()) === 2);
    const numbers = (await cards()).map(({ text }) => /\d{5}(?: \d{5}){5}/.exec(text)?.[0]);
    assert.ok(numbers[0] !== undefined && numbers[0] === numbers[1], 'one safety number on both sides');
  });
}
