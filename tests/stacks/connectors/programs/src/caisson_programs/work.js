// Files, zlib, a server, a thread, a child: what programs of Node.js do.
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { gunzipSync, gzipSync } = require('node:zlib');
const fs = require('node:fs/promises');
const http = require('node:http');
const crypto = require('node:crypto');
const { execFile } = require('node:child_process');
if (!isMainThread) {
  let sum = 0; for (let n = 0; n < workerData; n++) sum += n % 7;
  parentPort.postMessage(sum);
} else (async () => {
  await fs.mkdir('/tmp/node'); await fs.writeFile('/tmp/node/a', 'x'.repeat(100000));
  const size = (await fs.stat('/tmp/node/a')).size;
  await fs.copyFile('/tmp/node/a', '/tmp/node/b'); await fs.rename('/tmp/node/b', '/tmp/node/c');
  const names = await fs.readdir('/tmp/node'); await fs.rm('/tmp/node', { recursive: true });
  const packed = gunzipSync(gzipSync('packed')).toString();
  const said = await new Promise((done, failed) => http.get({ host: 'localhost', port: process.argv[2] }, answer => {
    let text = ''; answer.on('data', part => text += part); answer.on('end', () => done(text));
  }).on('error', failed));
  const sum = await new Promise((done, failed) => {
    const worker = new Worker(__filename, { workerData: 1e6 }); worker.on('message', done); worker.on('error', failed);
  });
  const digest = await new Promise((done, failed) => crypto.scrypt('p', 's', 16, (error, key) => error ? failed(error) : done(key.length)));
  const child = await new Promise((done, failed) => execFile(process.execPath, ['-p', '6 * 7'], (error, out) => error ? failed(error) : done(out.trim())));
  console.log(JSON.stringify({ size, names, packed, said, sum, digest, child }));
})();
