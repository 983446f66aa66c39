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
  const cameras = (count) => eventually(`${count} cameras are on`, async () => (await ada.evaluate(() => window.satsumaDebug.state().participants.filter(({ camera }) => camera.on).length)) === count, 40_000, 100);
  /** Whether the server may have levels of the microphone: what it answered to the page's last offer, on a connection that stands. */
  const told = (publishing) => ada.evaluate((index) => {
    const connection = window.e2e.connections.at(index);
    return connection.connectionState === 'connected' && connection.remoteDescription.sdp.includes('ssrc-audio-level');
  }, publishing);
  const tile = (name) => ada.evaluate((label) => {
    const figure = document.querySelector(`figure[aria-label="${label}"]`);
    return figure && { speaks: figure.dataset.speaking, pictureOf: figure.querySelector('video')?.videoWidth ?? 0 };
  }, name);
  const speaks = (name) => eventually(`${name} has a tile with a picture and a mark`, async () => {
    const found = await tile(name);
    if (found?.speaks === 'true' && found.pictureOf > 0) return true;
    throw new Error(JSON.stringify(found));
  }, 40_000, 100);
  const ends = [];
  const begin = (...args) => {
    ends.push(runNatively(...args));
    return ends.at(-1);
  };
  // With a camera, or those who speak would have a tile for theirs. Each speaks from the start, and on.
  const join = (name, ...options) => begin('join', link.url, '--insecure', '--publish', 'test-pattern', '--name', name, ...options);
  const tellLevels = () => ada.click('Let the server see when I speak', 'checkbox');
  try {
    begin('load', link.url, '--insecure', '--participants', '12', '--publishers', '12', '--no-audio', '--video-kbps', '5', '--video-fps', '1', '--join-rate', '100', '--seconds', '200');
    await cameras(13);
    join('Silent', '--voice-to', '0');
    await cameras(14);
    assert.equal(await told(0), false, 'unless its user wants it');
    join('Hidden');
    await speaks('Hidden');
    await ada.click('Settings');
    await tellLevels();
    await eventually('the server is told', () => told(0), 40_000, 100);
    const endTold = join('Told', '--tell-levels');
    await speaks('Told');
    assert.equal(await tile('Silent'), null, 'who does not speak has none');
    endTold(); // without a goodbye: the tile stays for a while
    await eventually('the mark goes with the voice', async () => (await tile('Told'))?.speaks === 'false', 40_000, 100);
    await tellLevels();
    await eventually('the server is told no more', () => ada.evaluate(() => {
      const [before, now] = [window.e2e.connections[0], window.e2e.connections.at(-1)];
      return before.connectionState === 'closed' && now.connectionState === 'connected' && now.getSenders().length === 3 && !now.remoteDescription.sdp.includes('ssrc-audio-level');
    }), 40_000, 100);
  } finally {
    for (const end of ends) end();
  }
}, { skip: !nativeExists });

scenario('where more microphones are on than there are slots, who begins to speak tells the others and is heard, though the server knows nothing of it', async (world) => {
  const server = await world.server({ options: ['--voices', '8', '--metrics-for-everyone'] });
  const link = server.link();
  const small = { width: 160, height: 90, frameRate: 5 };
  // In a room of fewer microphones nobody would say anything.
  const endCrowd = runNatively('load', link.url, '--insecure', '--participants', '8', '--publishers', '8', '--no-video', '--join-rate', '100', '--seconds', '200');
  try {
    const [ada, bo] = [await world.person('Ada', 'chrome', small), await world.person('Bo', 'chrome', small)];
    for (const person of [ada, bo]) {
      await person.enter(`${server.origin}/r/${link.room}?debug=1#${link.secret}`);
      // Whoever was here first has a slot.
      await eventually(`${person.name} is sent the crowd's sound`, () => person.evaluate(() => window.satsumaDebug.state().participants.filter(({ microphone }) => microphone.stream !== null).length === 8), 40_000, 100);
    }
    const hears = (who, whom) => eventually(`${who.name} hears that ${whom.name} speaks`, () =>
      who.evaluate((name) => document.querySelector(`figure[aria-label="${name}"]`)?.dataset.speaking === 'true', whom.name), 40_000, 100);
    await Promise.all([hears(ada, bo), hears(bo, ada)]);
    const taken = Number(/^satsuma_media_slots_taken_over_total (\d+)$/m.exec(await ada.evaluate(async () => (await fetch('/metrics')).text()))[1]);
    assert.ok(taken >= 2, `${taken} slots went to who was asked for`);
  } finally {
    endCrowd();
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
