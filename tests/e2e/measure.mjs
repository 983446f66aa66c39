// tests/e2e/run --measure [times]: from the click on "Join" to the first decrypted remote frame, in Chromium, with one other
// person in the room. Prints each step's median; a fresh page each time, the browser stays.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Person, eventually, sleep } from './lib/person.mjs';
import { Server, page } from './lib/server.mjs';

const times = Number(process.argv[2] ?? 10);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'satsuma-measure-'));
const server = new Server(folder);
const ada = new Person('Ada', 'chrome');
const bo = new Person('Bo', 'chrome');
try {
  await server.start();
  const link = server.link();
  await ada.launch();
  await bo.launch();
  await ada.enter(link.url);
  const runs = [];
  for (let i = 0; i < times; i += 1) {
    await bo.open('about:blank');
    await eventually('Ada is alone', async () => (await ada.movingPictures(200)) === 0);
    await bo.open(`${server.origin}/r/${link.room}?debug=1#${link.secret}`);
    await sleep(1500); // the person types a name meanwhile
    await bo.join();
    const steps = await eventually('a frame of Ada', async () => {
      const { times: now } = await bo.evaluate(() => window.satsumaDebug.stats());
      return now.firstRemoteFrameDecrypted === null ? null : now;
    });
    runs.push(steps);
    console.log(Object.entries(steps).map(([step, ms]) => `${step} ${ms === null ? '-' : Math.round(ms)}`).join('  '));
    await bo.leave();
  }
  const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
  for (const step of Object.keys(runs[0])) {
    console.log(`median of ${runs.length}, ms from the click: ${step} ${Math.round(median(runs.map((run) => run[step]).filter((ms) => ms !== null)))}`);
  }
  let bytes = 0;
  for (const name of fs.readdirSync(page, { recursive: true })) {
    const file = path.join(page, String(name));
    if (file.endsWith('.br') || !fs.statSync(file).isFile()) continue;
    bytes += fs.statSync(fs.existsSync(`${file}.br`) ? `${file}.br` : file).size;
  }
  console.log(`the page as a browser downloads it: ${bytes} bytes`);
} finally {
  await Promise.all([ada.dispose(), bo.dispose()]);
  await server.stop();
  fs.rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
