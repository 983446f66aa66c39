// A participant without a browser in the same room as browsers.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { eventually } from '../lib/person.mjs';
import { binary } from '../lib/server.mjs';
import { scenario } from '../lib/world.mjs';

const beside = path.join(path.dirname(binary), '../client/satsuma');
const native = process.env.SATSUMA_CLIENT ?? beside;

function join(url, name) {
  const child = spawn(native, ['join', url, '--insecure', '--name', name, '--publish', 'test-pattern', '--decode', '--json', '--seconds', '150']);
  const output = { text: '', problems: '' };
  child.stdout.on('data', (data) => { output.text += data; });
  child.stderr.on('data', (data) => { output.problems += data; });
  const ended = new Promise((resolve) => child.once('close', resolve));
  return {
    async leave() {
      child.kill('SIGINT');
      const code = await ended;
      assert.equal(code, 0, output.problems);
      return JSON.parse(output.text);
    },
    end: () => child.kill('SIGKILL'),
  };
}

for (const kind of ['chrome', 'firefox']) {
  scenario(`a native participant and ${kind === 'chrome' ? 'Chromium' : 'Firefox'} see and hear each other`, async (world) => {
    const server = await world.server();
    const link = server.link();
    const ada = await world.person('Ada', kind);
    await ada.enter(link.url);
    const alone = await eventually('Ada has a safety number', async () => {
      const number = await ada.safetyNumber();
      if (number === null) throw new Error('none yet');
      return number;
    }, 20_000);
    const robot = join(link.url, 'Robot');
    try {
      await ada.seesAndHears(1);
      const together = await ada.safetyNumber();
      assert.notEqual(together, alone);
      const result = await robot.leave();
      assert.equal(result.safety_number.replaceAll(' ', ''), String(together).replaceAll(/\s/g, ''));
      assert.equal(result.undecryptable, 0);
      const camera = result.streams.find((stream) => stream.name === 'Ada' && stream.source === 'camera');
      const microphone = result.streams.find((stream) => stream.name === 'Ada' && stream.source === 'microphone');
      assert.ok(camera.decoded > 10 && camera.width > 0 && camera.undecodable === 0, JSON.stringify(camera));
      assert.ok(microphone.decoded > 10 && microphone.undecodable === 0 && microphone.loudness > 0.001, JSON.stringify(microphone));
      await eventually('the robot is out of the picture', async () => (await ada.movingPictures()) === 0);
    } finally {
      robot.end();
    }
  }, { skip: !fs.existsSync(native) });
}
