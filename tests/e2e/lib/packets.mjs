import fs from 'node:fs';

/** The packets that the server wrote down: each a length of four bytes, big endian, and the packet. */
export function packets(file) {
  const dump = fs.readFileSync(file);
  const result = [];
  for (let at = 0; at + 4 <= dump.length;) {
    const size = dump.readUInt32BE(at);
    if (at + 4 + size > dump.length) break;
    result.push(dump.subarray(at + 4, at + 4 + size));
    at += 4 + size;
  }
  return result;
}
