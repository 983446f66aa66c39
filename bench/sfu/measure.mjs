/** Starts each server in turn, offers it the same load, and reads what it used of the processor from /proc. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const server = path.join(root, "build/release/apps/server/satsumad");
const client = path.join(root, "build/release/apps/client/satsuma");
const bench = path.join(root, "build/release/bench/sfu/sfu_bench");

const usage = `usage: scripts/bench sfu [--seconds N] [--case NAME] [--peers ours,janus] [--ramp] [--idle N] [--json]

Cases: 1to100, 1to100-audio, 25x25, 25x25-audio. For each: microseconds of the server's processor time for a forwarded
packet at the same offered load, what of it was lost, and the latency added; the raw limit is AES-128-GCM and
UDP_SEGMENT in one thread, the same packets to as many who read them, with no logic. Its cipher is OpenSSL's; "our
cipher" is the limit with the one that our server uses (docs/adr/packet-cipher.md).
  --seconds N  of measuring for each (default 5), in ten rounds, of which the best counts
  --ramp       besides, double the load of 1to100 until something is lost
  --idle N     besides, the memory of N participants, connected both ways, who send nothing (default 0)
  --join-rate N  how many of ours come in a second (default 40); a busy machine cannot make as many
  --json       the figures as JSON
Latencies and losses mean something on a quiet machine only: the generator needs a core of its own.
`;

const options = { seconds: 5, cases: null, peers: ["ours", "janus"], ramp: false, idle: 0, joinRate: 40, json: false };
for (let i = 2; i < process.argv.length; i += 1) {
  const argument = process.argv[i];
  const value = () => process.argv[++i] ?? "";
  if (argument === "--seconds") options.seconds = Number(value());
  else if (argument === "--case") options.cases = value().split(",");
  else if (argument === "--peers") options.peers = value().split(",");
  else if (argument === "--ramp") options.ramp = true;
  else if (argument === "--idle") options.idle = Number(value());
  else if (argument === "--join-rate") options.joinRate = Number(value());
  else if (argument === "--json") options.json = true;
  else {
    console.log(usage);
    process.exit(argument === "--help" || argument === "-h" ? 0 : 2);
  }
}

/** 30,000 packets a second go out in each. */
const cases = {
  "1to100": { participants: 101, publishers: 1, audio: false, bytes: 1200, rate: 300, perFrame: 4 },
  "1to100-audio": { participants: 101, publishers: 1, audio: true, bytes: 150, rate: 50, perFrame: 1 },
  "25x25": { participants: 25, publishers: 25, audio: false, bytes: 1200, rate: 50, perFrame: 4 },
  "25x25-audio": { participants: 25, publishers: 25, audio: true, bytes: 150, rate: 50, perFrame: 1 },
};

const folder = mkdtempSync(path.join(tmpdir(), "satsuma-bench-"));
const children = new Set();
function end() {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
process.on("exit", end);
process.on("SIGINT", () => process.exit(130));

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const freePort = () =>
  new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

function start(program, parameters) {
  const child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"] });
  child.output = "";
  child.problems = "";
  child.stdout.on("data", (data) => (child.output += data));
  child.stderr.on("data", (data) => (child.problems = (child.problems + data).slice(-4000)));
  child.ended = new Promise((resolve) => child.on("close", resolve));
  child.on("error", (error) => (child.problems += error.message));
  children.add(child);
  child.ended.then(() => children.delete(child));
  return child;
}

async function stop(child) {
  child.kill("SIGTERM");
  await Promise.race([child.ended, sleep(3000)]);
  child.kill("SIGKILL");
}

/** Seconds of processor time of each of its threads, to the nanosecond. */
function cpuOf(pid) {
  const threads = new Map();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      threads.set(thread, Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e9);
    } catch {
      // it has just ended
    }
  }
  return threads;
}
/** ... between the two. What a thread used that came or went meanwhile does not count. */
function cpuBetween(before, after) {
  let used = 0;
  for (const [thread, seconds] of after) if (before.has(thread)) used += seconds - before.get(thread);
  return used;
}
function residentOf(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
}

async function until(condition, ms, what) {
  for (let waited = 0; waited < ms; waited += 50) {
    if (condition()) return;
    await sleep(50);
  }
  throw new Error(`${what} did not happen within ${ms / 1000} s`);
}

async function startOurs() {
  const web = path.join(folder, "web");
  mkdirSync(web, { recursive: true });
  writeFileSync(path.join(web, "index.html"), "<!doctype html>");
  const port = await freePort();
  const child = start(server, ["--web", web, "--data", path.join(folder, "data"), "--listen", `127.0.0.1:${port}`, "--media-port", "0", "--store", "memory", "--log-level", "error",
    "--max-connections-per-address", "5000"]);
  await until(() => child.output.includes("ready"), 10_000, "the start of satsumad");
  return { child, link: `http://127.0.0.1:${port}/r/bench#AAAAAAAAAAAAAAAAAAAAAA` };
}

async function startJanus() {
  const port = await freePort();
  const child = start(path.join(root, "bench/sfu/janus"), [path.join(folder, "janus"), port, process.env.SATSUMA_BENCH_ADDRESS ?? "127.0.0.1"].map(String));
  await until(() => {
    try {
      return readFileSync(`/proc/${child.pid}/net/tcp`, "utf8").includes(`:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 0A`);
    } catch {
      return false;
    }
  }, 10_000, "the start of Janus");
  return { child, port };
}

/** How long all may take to be in and see each publisher, and when nothing more is begun: with these the four cases end within eight minutes, whatever goes wrong. */
const readyTimeoutSeconds = 55;
const beginUntilSeconds = 390;

/** Of measuring, each. The limit has as many, as long: half of them before and half behind. */
const rounds = 10;

/** Offers `shape`, and reads the server's processor time while it holds. */
async function measure(peer, shape, seconds) {
  const started = peer === "ours" ? await startOurs() : await startJanus();
  const ready = path.join(folder, `ready-${Math.random()}`);
  const load = start(client, ["load", ...(peer === "ours" ? [started.link] : ["--janus", `http://127.0.0.1:${started.port}/janus`]),
    "--participants", shape.participants, "--publishers", shape.publishers, "--seconds", seconds + 1.5, "--ready-file", ready,
    "--join-rate", options.joinRate, "--decrypt-every", 20, "--json", "--ready-timeout", readyTimeoutSeconds - 5,
    ...(shape.audio ? ["--no-video"] : ["--no-audio", "--packet-bytes", shape.bytes, "--packets-per-second", shape.rate, "--packets-per-frame", shape.perFrame])].map(String));
  try {
    await until(() => existsSync(ready) || load.exitCode !== null, readyTimeoutSeconds * 1000, `the load on ${peer}`);
    if (!existsSync(ready)) throw new Error(load.problems || Object.keys(JSON.parse(load.output).problems).join(" "));
    await sleep(500);
    // The best of several rounds, as of the limit: whatever else runs on the machine only adds.
    let share = Infinity;
    for (let round = 0; round < rounds; ++round) {
      const [cpu, time] = [cpuOf(started.child.pid), performance.now()];
      await sleep((seconds / rounds) * 1000);
      share = Math.min(share, cpuBetween(cpu, cpuOf(started.child.pid)) / ((performance.now() - time) / 1000));
    }
    const memory = residentOf(started.child.pid);
    await Promise.race([load.ended, sleep(15_000)]);
    const result = JSON.parse(load.output);
    if (result.good === false) throw new Error(Object.keys(result.problems).join(" "));
    const latency = shape.audio ? result.audio_arrival_ms : result.video_arrival_ms;
    return { us: (share / result.packets_per_second) * 1e6, rate: result.packets_per_second, lost: result.packets_lost / Math.max(1, result.packets_received + result.packets_lost),
      p50: latency.p50, p99: latency.p99, memory, undecryptable: result.undecryptable ?? 0 };
  } finally {
    await stop(load);
    await stop(started.child);
  }
}

async function raw(shape, seconds) {
  const child = start(bench, ["--participants", shape.participants, "--publishers", shape.publishers, "--seconds", seconds, "--packet-bytes", shape.bytes, "--packets-per-second", shape.rate, "--packets-per-frame", shape.perFrame,
    ...(shape.audio ? ["--audio"] : [])].map(String));
  await child.ended;
  const { us_per_packet: openssl, us_per_packet_servers_cipher: same } = JSON.parse(child.output);
  return { openssl, same };
}

async function idle(participants) {
  const started = await startOurs();
  const before = residentOf(started.child.pid);
  const ready = path.join(folder, "ready-idle");
  // In rooms of 50, so that what grows with the square of a room is not what is measured.
  const rooms = Math.max(1, Math.round(participants / 50));
  const load = start(client, ["load", started.link, "--participants", Math.round(participants / rooms), "--publishers", Math.round(participants / rooms), "--muted", "--rooms", rooms, "--seconds", 40,
    "--join-rate", Math.min(60, options.joinRate), "--json", "--ready-timeout", 200,
    "--ready-file", ready].map(String));
  try {
    await until(() => existsSync(ready) || load.exitCode !== null, 300_000, "the entry of all");
    await sleep(35_000); // what entering took goes back to the system twenty seconds after the last came in
    const after = residentOf(started.child.pid);
    await load.ended;
    const result = JSON.parse(load.output);
    return { participants: result.in, kb: (after - before) / result.in };
  } finally {
    await stop(load);
    await stop(started.child);
  }
}

const results = {};
const cell = (value, width) => String(value).padStart(width);
if (!options.json) console.log("case            peer    out pkt/s   us/pkt   raw limit   of it  our cipher    lost     latency p50 / p99 ms");
for (const [name, shape] of Object.entries(cases)) {
  if (options.cases && !options.cases.includes(name)) continue;
  // Before and behind each peer, and the better of the two: the machine is faster in one minute than in the next.
  let before = await raw(shape, options.seconds);
  results[name] = {};
  if (!options.json) console.log(name);
  for (const peer of options.peers) {
    if (peer === "janus" && !existsSync("/usr/bin/janus")) {
      console.error("Janus is not installed: scripts/install-packages bench");
      continue;
    }
    if (performance.now() > beginUntilSeconds * 1000) {
      console.error(`${name}, ${peer}: left out, it has taken too long already. Try --case ${name}.`);
      process.exitCode = 1;
      continue;
    }
    try {
      const result = await measure(peer, shape, options.seconds);
      const behind = await raw(shape, options.seconds);
      const limit = Math.min(before.openssl, behind.openssl);
      const sameCipher = Math.min(before.same, behind.same);
      before = behind;
      results[name][peer] = { ...result, raw: limit, raw_with_our_cipher: sameCipher };
      if (!options.json)
        console.log(`${"".padEnd(16)}${peer.padEnd(8)}${cell(result.rate.toFixed(0), 9)}${cell(result.us.toFixed(2), 9)}${cell(limit.toFixed(2), 12)}${cell(`${((100 * limit) / result.us).toFixed(0)} %`, 8)}${cell(sameCipher.toFixed(2), 12)}${
          cell(`${(100 * result.lost).toFixed(2)} %`, 9)}${cell(result.p50.toFixed(2), 12)} / ${result.p99.toFixed(2)}${result.undecryptable ? `   ${result.undecryptable} undecryptable` : ""}`);
    } catch (error) {
      results[name][peer] = { error: error.message };
      console.error(`${name}, ${peer}: ${error.message}`);
      process.exitCode = 1;
    }
  }
}
if (options.ramp) {
  results.ramp = {};
  for (const peer of options.peers) {
    let best = null;
    for (let rate = 150; rate <= 4800; rate *= 2) {
      let result;
      try {
        result = await measure(peer, { ...cases["1to100"], rate }, options.seconds);
      } catch {
        break;
      }
      if (result.lost > 0.001 || result.rate < 0.97 * rate * 100) break;
      best = result;
    }
    results.ramp[peer] = best;
    if (!options.json && best) console.log(`1to100, ${peer}: no loss up to ${best.rate.toFixed(0)} packets a second at ${best.us.toFixed(2)} us: ${(1e6 / best.us).toFixed(0)} packets a core-second`);
  }
}
if (options.idle > 0) {
  results.idle = await idle(options.idle);
  if (!options.json) console.log(`memory: ${results.idle.kb.toFixed(1)} KB for each of ${results.idle.participants} idle participants`);
}
if (options.json) console.log(JSON.stringify(results, null, 2));
