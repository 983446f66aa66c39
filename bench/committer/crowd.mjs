// 200 native clients enter one room of a real server within a second, in real time: how long until each is in an epoch with all the others, and has decrypted
// a frame of everybody who sends. scripts/bench committer --crowd [--people N] [--runs N]
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { people: { type: "string", default: "200" }, publishers: { type: "string", default: "4" }, runs: { type: "string", default: "3" }, seconds: { type: "string", default: "2" } } });
const people = Number(values.people);
const publishers = Number(values.publishers);
const aim = 5;
// A generator has one thread.
const generators = Math.max(1, Math.min(availableParallelism(), people));
const apps = join(dirname(fileURLToPath(import.meta.url)), "../../build/release/apps");

function run(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (data) => (out += data));
  child.stderr.on("data", (data) => (err += data));
  const ended = new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
  const saying = (pattern) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(out + err);
        if (found !== null) resolve(found);
      };
      child.stdout.on("data", look);
      child.stderr.on("data", look);
      void ended.then(() => reject(new Error(`${program} ended: ${out}${err}`)));
    });
  return { child, ended, saying };
}

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function crowd() {
  const data = mkdtempSync(join(tmpdir(), "satsuma-crowd-"));
  const server = run(`${apps}/server/satsumad`, ["--listen", "127.0.0.1:0", "--media-port", "0", "--data", data, "--web", data, "--log-level", "warn"]);
  try {
    const [, address] = await server.saying(/ready: (http:\/\/[^/\s]+)/);
    const made = await run(`${apps}/client/satsuma`, ["link", address, "--room", "crowd"]).ended;
    const share = (all, i) => Math.floor(all / generators) + (i < all % generators ? 1 : 0);
    const all = Array.from({ length: generators }, (_, i) => {
      const participants = share(people, i);
      const sending = share(publishers, i);
      return run(`${apps}/client/satsuma`, [
        ...["load", made.out.trim(), "--participants", String(participants), "--publishers", String(sending), "--others", String(people - participants)],
        ...["--other-publishers", String(publishers - sending), "--join-rate", String(participants), "--no-video", "--seconds", values.seconds, "--json"],
      ]);
    });
    const ended = await Promise.all(all.map((one) => one.ended));
    const results = ended.map(({ out, err }) => (out === "" ? { problems: { [err]: 1 } } : JSON.parse(out)));
    const good = results.every((one) => one.clock !== undefined && Object.keys(one.problems).length === 0);
    if (!good) return { good, problems: results.map((one) => one.problems) };
    const first = Math.min(...results.map((one) => one.clock.first_began));
    const last = Math.max(...results.map((one) => one.clock.last_began));
    const latest = (what) => Math.max(...results.map((one) => one.clock[what]));
    return {
      good,
      joined: last - first,
      together: latest("last_saw_everybody") - first,
      decrypting: latest("last_saw_all_frames") - first,
      sinceLast: latest("last_saw_all_frames") - last,
      commits: Math.max(...results.map((one) => one.epoch_with_everybody)),
      cpu: results.reduce((sum, one) => sum + one.cpu_seconds_until_ready, 0),
      server: cpuSeconds(server.child.pid),
      rejoins: results.reduce((sum, one) => sum + one.rejoins, 0),
      unread: results.reduce((sum, one) => sum + one.undecryptable, 0),
      read: results.reduce((sum, one) => sum + one.frames_decrypted, 0),
    };
  } finally {
    server.child.kill();
    await server.ended;
    rmSync(data, { recursive: true, force: true });
  }
}

const seconds = (value) => value.toFixed(2);
const took = [];
for (let i = 0; i < Number(values.runs); ++i) {
  const one = await crowd();
  if (!one.good) {
    console.log(`${people} natives at once: FAILED`, JSON.stringify(one.problems));
    took.push(Infinity);
    continue;
  }
  took.push(one.sinceLast);
  console.log(
    `${people} natives within ${seconds(one.joined)} s: ${one.commits} commits; all in one epoch ${seconds(one.together)} s after the first began, all decrypting all ${publishers} who speak after ${seconds(one.decrypting)} s` +
      ` (${seconds(one.sinceLast)} s after the last began); CPU ${seconds(one.cpu)} s of the clients until then, ${seconds(one.server)} s of the server in all; ${one.rejoins} rejoined; ${one.unread} of ${one.read + one.unread} frames came before the key to them`,
  );
}
took.sort((a, b) => a - b);
const median = took[Math.floor(took.length / 2)];
console.log(`median: all decrypting ${seconds(median)} s after the last began, on ${availableParallelism()} cores${median <= aim ? `, within ${aim} s` : `: NOT within ${aim} s`}`);
process.exit(median <= aim ? 0 : 1);
