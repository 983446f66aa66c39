// Every codec between every pair of browsers, and what happens to the pictures when the room changes its codec.
import assert from 'node:assert/strict';
import { scenario } from '../lib/world.mjs';
import { eventually } from '../lib/person.mjs';

const mime = { vp8: 'video/VP8', vp9: 'video/VP9', av1: 'video/AV1', h264: 'video/H264' };
/** Debian's Firefox has no H.264 of its own: it is a plug-in that would be downloaded. */
const cannot = { 'h264/firefox': 'Firefox has no H.264 without its plug-in' };

const withOptions = (server, link, options) => `${server.origin}/r/${link.room}?debug=1&${options}#${link.secret}`;

/** Who is seen, in which codec and how many frames of each were decoded: name → { codec, frames }. */
const seen = (person) => person.evaluate(async () => {
  const { participants } = window.satsumaDebug.state();
  const { slots } = await window.satsumaDebug.stats();
  const codecs = new Map();
  for (const entry of await window.e2e.stats()) if (entry.type === 'inbound-rtp' && entry.kind === 'video') codecs.set(entry.mid, entry.codecId);
  const named = new Map((await window.e2e.stats()).filter((entry) => entry.type === 'codec').map((entry) => [entry.id, entry.mimeType]));
  const result = {};
  for (const slot of slots) {
    const name = participants.find(({ id }) => id === slot.participant)?.name;
    if (name === undefined || slot.source !== 'camera') continue;
    result[name] = { codec: named.get(codecs.get(slot.mid)) ?? null, frames: slot.framesDecoded, dropped: slot.framesDropped, decrypted: slot.framesDecrypted };
  }
  return result;
});

export const sendCodec = (person, codec) => person.evaluate((name) => window.satsumaDebug.sendCodec(name), codec);

scenario('every codec is seen moving between Chromium and Firefox, in all four directions', async (world) => {
  const server = await world.server();
  const link = server.link();
  const kinds = { Ada: 'chrome', Bo: 'firefox', Cy: 'chrome', Di: 'firefox' };
  const people = await Promise.all(Object.entries(kinds).map(([name, kind]) => world.person(name, kind, { width: 160, height: 90, frameRate: 10 })));
  for (const person of people) await person.enter(withOptions(server, link, ''));
  const pairs = people.flatMap((sender) => people.filter((reader) => reader !== sender).map((reader) => ({ sender, reader })));
  const left = [];
  for (const codec of Object.keys(mime)) {
    for (const person of people) await sendCodec(person, codec);
    const can = ({ sender, reader }) => [sender, reader].every(({ kind }) => cannot[`${codec}/${kind}`] === undefined);
    const before = new Map();
    await eventually(`${codec} arrives everywhere`, async () => {
      for (const pair of pairs.filter(can)) {
        const now = (await seen(pair.reader))[pair.sender.name];
        const what = `${pair.sender.kind} → ${pair.reader.kind}: ${JSON.stringify(now)}`;
        if (now?.codec !== mime[codec]) throw new Error(what);
        if (!before.has(pair)) before.set(pair, now.frames);
        if (now.frames < before.get(pair) + 5) throw new Error(what);
      }
      return true;
    }, 60_000);
    for (const reader of people) {
      const moving = pairs.filter((pair) => pair.reader === reader && can(pair)).length;
      if (moving > 0) await eventually(`${reader.name} sees ${moving} pictures move in ${codec}`, async () => (await reader.movingPictures()) >= moving);
    }
    for (const pair of pairs.filter((one) => !can(one))) {
      const reason = cannot[`${codec}/${pair.sender.kind}`] ?? cannot[`${codec}/${pair.reader.kind}`];
      left.push(`${codec}: ${pair.sender.kind} → ${pair.reader.kind} (${reason})`);
      assert.notEqual((await seen(pair.reader))[pair.sender.name]?.codec, mime[codec], 'not so any more: take it out of the list');
    }
  }
  for (const cell of new Set(left)) console.log(`not possible: ${cell}`);
}, { timeout: 300_000 });

const sent = (person) => person.evaluate(async () => (await window.satsumaDebug.stats()).senders.find(({ source }) => source === 'camera'));

scenario('somebody arrives who reads VP8 alone: all go over to it, and back when he leaves, and no frame is lost', async (world) => {
  const server = await world.server();
  const link = server.link();
  const small = { width: 160, height: 90, frameRate: 10 };
  const ada = await world.person('Ada', 'chrome', small);
  const bo = await world.person('Bo', 'firefox', small);
  const both = [[ada, bo], [bo, ada]];
  for (const person of [ada, bo]) await person.enter(withOptions(server, link, 'reads=vp9,vp8'));
  const all = async (codec) => {
    for (const [reader, sender] of both) await eventually(`${sender.name} is seen in ${codec}`, async () => (await seen(reader))[sender.name]?.codec === mime[codec]);
  };
  await all('vp9');
  /** Frames that left and did not come out yet: but for those on the way, the same at all times. */
  const missing = async () => Promise.all(both.map(async ([reader, sender]) => {
    const arrived = (await seen(reader))[sender.name];
    return { missing: (await sent(sender)).framesProtected - arrived.decrypted, dropped: arrived.dropped };
  }));
  const before = await missing();
  const cy = await world.person('Cy', 'chrome', small);
  await cy.enter(withOptions(server, link, 'reads=vp8'));
  await all('vp8');
  for (const name of ['Ada', 'Bo']) await eventually(`Cy sees ${name}`, async () => (await seen(cy))[name]?.frames >= 5);
  await cy.leave();
  await all('vp9');
  const after = await missing();
  after.forEach((now, index) => {
    const lost = now.missing - before[index].missing;
    assert.ok(lost <= 4 && now.dropped === before[index].dropped, `${JSON.stringify(before)} → ${JSON.stringify(after)}: no more than on the way`);
  });
}, { timeout: 200_000 });
