// A participant without a browser in the same room as browsers.
import assert from 'node:assert/strict';
import { joinNatively, nativeExists, runNatively } from '../lib/native.mjs';
import { eventually } from '../lib/person.mjs';
import { scenario } from '../lib/world.mjs';

scenario('in a room with more people than tiles who speaks gets one, and is marked, whether the server is told how loud people are or not', async (world) => {
  const server = await world.server();
  const link = server.link();
  const ada = await world.person('Ada', 'chrome', { width: 160, height: 90, frameRate: 5 });
  await ada.enter(`${server.origin}/r/${link.room}?debug=1#${link.secret}`);
  const cameras = (count) => eventually(`${count} cameras are on`, async () => (await ada.evaluate(() => window.satsumaDebug.state().participants.filter(({ camera }) => camera.on).length)) === count, 20_000, 100);
  /** Whether the server may have levels of the microphone: what it answered to the page's offer. */
  const told = () => ada.evaluate(() => window.e2e.connections[0].remoteDescription.sdp.includes('ssrc-audio-level'));
  const tile = (name) => ada.evaluate((label) => {
    const figure = document.querySelector(`figure[aria-label="${label}"]`);
    return figure && { speaks: figure.dataset.speaking, pictureOf: figure.querySelector('video')?.videoWidth ?? 0 };
  }, name);
  const ends = [];
  try {
    // With cameras, or those who speak would have a tile for theirs.
    ends.push(runNatively('load', link.url, '--insecure', '--participants', '12', '--publishers', '12', '--no-audio', '--video-kbps', '5', '--video-fps', '1', '--join-rate', '100', '--seconds', '100'));
    await cameras(13);
    const speaker = ['--insecure', '--publish', 'test-pattern'];
    ends.push(runNatively('join', link.url, ...speaker, '--name', 'Hidden', '--voice-from', '3', '--voice-to', '5.5'));
    ends.push(runNatively('join', link.url, ...speaker, '--name', 'Told', '--voice-from', '6', '--voice-to', '9', '--tell-levels'));
    await cameras(15);
    assert.equal(await told(), false, 'unless its user wants it');
    for (const name of ['Hidden', 'Told']) assert.equal(await tile(name), null, `${name} has a tile before speaking`);
    const speaks = (name) => eventually(`${name} has a tile with a picture and a mark`, async () => {
      const found = await tile(name);
      if (found?.speaks === 'true' && found.pictureOf > 0) return true;
      throw new Error(JSON.stringify(found));
    }, 20_000, 100);
    await speaks('Hidden');
    assert.equal(await tile('Told'), null);
    await ada.click('Settings');
    await ada.click('Let the server see when I speak', 'checkbox');
    await eventually('the server is told', told, 5000, 100);
    await speaks('Told');
    await eventually('the mark goes', async () => (await tile('Told'))?.speaks === 'false', 10_000, 100);
  } finally {
    for (const end of ends) end();
  }
}, { skip: !nativeExists });

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
    const robot = joinNatively(link.url, 'Robot');
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
  }, { skip: !nativeExists });
}
