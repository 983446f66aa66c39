#!/usr/bin/env node
// Puts a brotli copy beside each larger file of the built page; the server hands it to browsers that take it.
// usage: scripts/compress-page.mjs folder
import fs from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const folder = process.argv[2];
if (folder === undefined) {
  console.error('usage: scripts/compress-page.mjs folder');
  process.exit(2);
}
let before = 0;
let after = 0;
const visit = (directory) => {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) visit(file);
    else if (/\.(js|css|html|svg|wasm|json)$/.test(entry.name) && fs.statSync(file).size > 1024) {
      const content = fs.readFileSync(file);
      const small = brotliCompressSync(content, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
      });
      fs.writeFileSync(`${file}.br`, small);
      before += content.length;
      after += small.length;
    }
  }
};
visit(folder);
console.log(`the page: ${before} bytes, ${after} as browsers download it`);
