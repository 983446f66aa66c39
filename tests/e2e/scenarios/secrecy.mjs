// Who does not know the room's secret, the server above all, sees and hears nothing.
import assert from 'node:assert/strict';
import path from 'node:path';
import { scenario } from '../lib/world.mjs';
import { eventually, sleep } from '../lib/person.mjs';
import { packets } from '../lib/packets.mjs';
import { encoderHook } from '../lib/encoder-hook.mjs';
import { forgingHook, pageWithHook, tellEngine } from '../lib/engine-hooks.mjs';
import { commonSafetyNumber } from './meeting.mjs';
import { redPayloadType, sendCodec } from './codecs.mjs';

const encoderFrames = (person) => person.evaluate(() => new Promise((resolve) => {
  const channel = new BroadcastChannel('e2e-encoder');
  channel.onmessage = ({ data }) => {
    if (data.frames === undefined) return;
    channel.close();
    resolve(data.frames.map(({ kind, mime, size, bytes }) => {
      let text = '';
      for (const byte of bytes) text += String.fromCharCode(byte);
      return { kind, mime, size, base64: btoa(text) };
    }));
  };
  channel.postMessage('give');
}));

/** Pieces of a frame that do not repeat and are long enough not to occur by chance. */
function pieces(frame) {
  const length = 12;
  const result = [];
  for (const share of [0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9]) {
    const at = Math.floor((frame.length - length) * share);
    if (at < 0) continue;
    const piece = frame.subarray(at, at + length);
    if (new Set(piece).size >= 8) result.push(piece);
  }
  return result;
}

async function lookForPlaintext(world, adas, bos) {
  const dump = path.join(world.folder, 'rtp.dump');
  const server = await world.server({ web: pageWithHook(path.join(world.folder, 'web'), encoderHook), environment: { SATSUMA_DUMP_RTP: dump } });
  const link = server.link();
  const ada = await world.person('Ada', 'chrome', adas);
  const bo = await world.person('Bo', 'firefox', bos);
  const url = `${server.origin}/r/${link.room}?debug=1#${link.secret}`;
  await ada.enter(url);
  await bo.enter(url);
  await commonSafetyNumber([ada, bo]);
  return { server, ada, bo, dump };
}

const headSize = 6;
/** Where a payload may begin with a frame: behind a descriptor or a shell, which have no more than that. */
const mostBeforeFrame = 48;

function payload(packet) {
  let at = 12 + 4 * (packet[0] & 0x0f);
  if (packet[0] & 0x10) at += 4 + 4 * packet.readUInt16BE(at + 2);
  return packet.subarray(at);
}

/**
 * Where parts of a frame begin that a packetiser leaves as they are: it takes off H.264's start codes and may put another header in the place of a NAL unit's (RFC 6184
 * s.5.8), and AV1's temporal delimiter, sizes and their flag (AOMedia's RTP specification, s.4.4).
 */
function heads(bytes, mime) {
  const starts = [];
  if (/h264/i.test(mime)) {
    for (let at = bytes.indexOf('000001', 0, 'hex'); at >= 0; at = bytes.indexOf('000001', at + 3, 'hex')) starts.push(at + 4);
  } else if (/av1/i.test(mime)) {
    for (let at = 0; at < bytes.length;) {
      const extended = (bytes[at] & 4) !== 0, sized = (bytes[at] & 2) !== 0;
      at += extended ? 2 : 1;
      let size = 0;
      for (let shift = 0; sized && at < bytes.length; shift += 7) {
        size += (bytes[at] & 0x7f) * 2 ** shift;
        if ((bytes[at++] & 0x80) === 0) break;
      }
      starts.push(at);
      at = sized ? at + size : bytes.length;
    }
  } else {
    starts.push(0);
  }
  return starts.map((at) => bytes.subarray(at, at + headSize)).filter((head) => head.length === headSize && new Set(head).size >= 4).map((head) => head.toString('hex'));
}

/** Of packets that begin with one of these, which. */
function withHeads(known, held) {
  const found = [];
  for (const packet of held) {
    const text = payload(packet).subarray(0, mostBeforeFrame + headSize).toString('hex');
    for (let at = 0; at + 2 * headSize <= text.length; at += 2) {
      const head = text.slice(at, at + 2 * headSize);
      if (known.has(head)) found.push(`${known.get(head)} has ${head}, as does a packet behind ${at / 2} bytes`);
    }
  }
  return found;
}

const headsOf = (frames) => new Map(frames.filter(({ size }) => size >= 8).flatMap(({ base64, kind, mime }) => heads(Buffer.from(base64, 'base64'), mime).map((head) => [head, `${mime} ${kind}`])));

/** The first packet of a frame, had nobody encrypted it. */
function packetised({ base64, mime }) {
  const bytes = Buffer.from(base64, 'base64');
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  if (/h264/i.test(mime)) {
    const at = bytes.indexOf('000001', 0, 'hex') + 3;
    const unit = bytes.subarray(at, at + 400);
    return Buffer.concat([header, Buffer.from([(unit[0] & 0xe0) | 28, 0x80 | (unit[0] & 0x1f)]), unit.subarray(1)]); // FU-A
  }
  if (/av1/i.test(mime)) {
    const delimiter = bytes[0] === 0x12 ? 2 : 0;
    const size = bytes[delimiter + 1] & 0x80 ? 2 : 1; // below 16 KiB
    return Buffer.concat([header, Buffer.from([0x10, bytes[delimiter] & ~2]), bytes.subarray(delimiter + 1 + size, delimiter + 400)]); // one element, to the end
  }
  return Buffer.concat([header, bytes.subarray(0, 400)]);
}

function leaks(frames, dumpFile) {
  const held = packets(dumpFile);
  const all = Buffer.concat(held);
  let looked = 0;
  const found = [];
  // A few clear bytes at the front are shorter than a piece.
  found.push(...withHeads(headsOf(frames), held));
  for (const { base64, kind, mime, size } of frames) {
    for (const piece of pieces(Buffer.from(base64, 'base64'))) {
      looked += 1;
      if (all.includes(piece)) found.push(`${mime} ${kind} of ${size} bytes: ${piece.toString('hex')}`);
    }
  }
  return { held: held.length, bytes: all.length, looked, found };
}

scenario('what the server holds contains no plaintext of any frame, in any codec', async (world) => {
  const { ada, bo, dump } = await lookForPlaintext(world, { redundantAudio: true });
  await ada.seesAndHears(1);
  await eventually('Bo sees Ada', async () => (await bo.movingPictures()) === 1); // Firefox has no RED
  for (const codec of ['vp8', 'vp9', 'av1', 'h264']) {
    for (const person of [ada, bo]) await sendCodec(person, codec);
    await sleep(2500);
  }
  const frames = [...await encoderFrames(ada), ...await encoderFrames(bo)];
  for (const codec of ['opus', 'vp8', 'vp9', 'av1', 'h264']) {
    const recorded = frames.filter(({ mime }) => mime.toLowerCase().endsWith(codec));
    assert.ok(recorded.length >= 10, `${codec} was recorded (${recorded.length} frames)`);
    assert.ok(codec === 'opus' || recorded.some(({ kind }) => kind === 'key'), `${codec} with a key frame`);
    const seen = recorded.filter((frame) => withHeads(headsOf([frame]), [packetised(frame)]).length > 0).length;
    assert.ok(2 * seen > recorded.length, `${codec}: the look at heads sees what a packetiser leaves of a clear frame (${seen} of ${recorded.length})`);
  }
  const red = packets(dump).filter((packet) => packet.length > 12 && (packet[1] & 0x7f) === redPayloadType).length;
  assert.ok(red > 100 && frames.some(({ mime }) => /opus/i.test(mime)), `Ada's sound is in RED, and Bo's is not: ${red} packets`);
  const { held, looked, found } = leaks(frames, dump);
  assert.ok(held > 200 && looked > 500, `${held} packets, ${looked} pieces: enough to mean something`);
  assert.deepEqual(found, []);
});

/** Packets that begin a VP8 key frame in the clear: RFC 7741 s.4.2 (descriptor) and RFC 6386 s.9.1 (start code). */
function clearKeyFrames(held) {
  const startCode = Buffer.from([0x9d, 0x01, 0x2a]);
  return held.filter((packet) => {
    const bytes = payload(packet);
    let at = 0;
    const descriptor = bytes[at];
    if (descriptor === undefined || (descriptor & 0x17) !== 0x10) return false; // begins partition 0
    at += 1;
    if (descriptor & 0x80) {
      const extension = bytes[at++];
      if (extension & 0x80) at += bytes[at] & 0x80 ? 2 : 1;
      if (extension & 0x40) at += 1;
      if (extension & 0x30) at += 1;
    }
    return bytes.subarray(at + 3, at + 6).equals(startCode);
  });
}

const packetsSent = async (person) => (await person.stats('outbound-rtp')).reduce((sum, { packetsSent: sent }) => sum + (sent ?? 0), 0);

scenario('a transform attached too late lets nothing out either', async (world) => {
  // Chromium keeps what has no transform, even if it says that there is one; in Firefox the page gives such a sender nothing to send.
  // There it stays away: on a slow machine the page might have it in time.
  const { ada, bo, dump } = await lookForPlaintext(world, { attachLateMs: 3000, pretendAttached: true }, { attachLateMs: 3_600_000 });
  await sleep(6000);
  const frames = await encoderFrames(ada);
  const { held, looked, found } = leaks(frames, dump);
  assert.ok(held > 50 && looked > 50, `${held} packets, ${looked} pieces: enough to mean something`);
  assert.deepEqual(found, []);
  assert.equal(clearKeyFrames(packets(dump)).length, 0, 'VP8 key frames in the clear');
  assert.equal(await packetsSent(bo), 0);
});

scenario('the control: where browsers are made to fail open on purpose, the same look finds plaintext, and the watchdog stops them', async (world) => {
  const never = { attachLateMs: 3_600_000, pretendAttached: true };
  const { ada, bo, dump } = await lookForPlaintext(world, { ...never, failOpen: true }, never);
  for (const person of [ada, bo]) {
    await eventually(`${person.kind} sends`, async () => (await packetsSent(person)) > 0, 15_000);
    await eventually(`${person.kind}: the page says that it stopped`, async () => /without encrypting it, so sending was stopped/.test(await person.evaluate(() => document.body.innerText)), 15_000);
  }
  await eventually('a key frame in the clear', () => clearKeyFrames(packets(dump)).length > 0, 15_000);
  // Each source in its turn.
  await eventually('they send nothing more', async () => {
    const before = await Promise.all([ada, bo].map(packetsSent));
    await sleep(2500); // Firefox would send a black picture each second
    assert.deepEqual(await Promise.all([ada, bo].map(packetsSent)), before);
    return true;
  }, 15_000);
});

scenario("frames that another makes under a member's keys are marked as forged on that member's tile alone", async (world) => {
  const server = await world.server({ web: pageWithHook(path.join(world.folder, 'web'), forgingHook) });
  const link = server.link();
  const small = { width: 160, height: 90, frameRate: 10 };
  const people = [];
  for (const [name, kind] of [['Ada', 'chrome'], ['Bo', 'firefox'], ['Cy', 'chrome']]) {
    people.push(await world.person(name, kind, small));
    await people.at(-1).enter(`${server.origin}/r/${link.room}?debug=1#${link.secret}`);
  }
  const [ada, bo, cy] = people;
  await Promise.all(people.map((person) => person.seesAndHears(2)));
  /** What stands on the tiles of the others' cameras. */
  const tiles = (person) => person.evaluate(() => Object.fromEntries([...document.querySelectorAll('figure.tile.camera')].map((tile) => [tile.getAttribute('aria-label'), tile.dataset.proof])));
  await sleep(5000); // several digests of each
  for (const person of people) assert.ok(Object.values(await tiles(person)).every((proof) => proof === 'encrypted'), JSON.stringify(await tiles(person)));
  await tellEngine(ada, { forge: true });
  for (const person of [bo, cy]) {
    await eventually(`${person.name} is warned`, async () => (await tiles(person)).Ada === 'forged', 15_000);
    assert.match(await person.evaluate(() => document.body.innerText), /Forged: Ada did not send this/);
    const honest = person === bo ? 'Cy' : 'Bo';
    assert.equal((await tiles(person))[honest], 'encrypted', 'the others are who they are');
    await eventually('to SFrame it is genuine: the picture goes on', async () => (await person.movingPictures()) === 2);
  }
});

scenario('a browser that comes without the secret is not admitted and sees nothing', async (world) => {
  const server = await world.server();
  const link = server.link();
  const ada = await world.person('Ada', 'chrome');
  const bo = await world.person('Bo', 'chrome');
  await ada.enter(link.url);
  await bo.enter(link.url);
  const number = await commonSafetyNumber([ada, bo]);
  const eve = await world.person('Eve', 'chrome');
  await eve.open(link.withoutSecret);
  if (await eve.has('Join', 'button', 5000)) {
    await eve.call('fill', 'Your name', 'Eve', 3000).catch(() => {});
    await eve.click('Join').catch(() => {});
  }
  await sleep(6000);
  assert.equal(await eve.movingPictures(), 0);
  assert.equal(await eve.framesDecoded(), 0);
  assert.equal(await eve.safetyNumber(), null);
  assert.equal(await commonSafetyNumber([ada, bo]), number, 'nobody was added');
  // The same with a wrong one.
  await eve.open(`${link.withoutSecret}#AAAAAAAAAAAAAAAAAAAAAA`);
  if (await eve.has('Join', 'button', 5000)) {
    await eve.call('fill', 'Your name', 'Eve', 3000).catch(() => {});
    await eve.click('Join').catch(() => {});
  }
  await sleep(6000);
  assert.equal(await eve.movingPictures(), 0);
  assert.equal(await eve.framesDecoded(), 0);
  assert.equal(await commonSafetyNumber([ada, bo]), number, 'nobody was added');
});

scenario("the server's log holds no key, no payload, no name, no address of a member", async (world) => {
  const server = await world.server();
  const link = server.link();
  const ada = await world.person('Ada-Wilhelmine', 'chrome');
  const bo = await world.person('Bodhisattva', 'chrome');
  await ada.enter(link.url);
  await bo.enter(link.url);
  await ada.seesAndHears(1);
  const number = await ada.safetyNumber();
  await bo.leave();
  await eventually('Bo is gone', async () => (await ada.safetyNumber()) !== number);
  await ada.leave();
  await server.stop();
  const log = server.log();
  assert.ok(log.length > 0);
  const secret = Buffer.from(link.secret, 'base64url');
  for (const forbidden of ['Wilhelmine', 'Bodhisattva', link.secret, secret.toString('hex'), number, number.replaceAll(' ', ''), ada.host.address, bo.host.address]) {
    assert.ok(!log.includes(forbidden), `the log holds ${forbidden}`);
  }
  // Nothing long enough to be a key or a payload in hex or base64.
  const long = log.match(/[0-9a-fA-F]{40,}|[A-Za-z0-9+/_-]{60,}/g)?.filter((word) => !word.includes('/build/') && !word.startsWith('/')) ?? [];
  assert.deepEqual(long, []);
});
