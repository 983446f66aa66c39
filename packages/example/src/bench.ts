/** scripts/bench frames --chromium drives this page: `bench(streams, seconds, how)`. */
import { Encryption, newRoomName, newRoomSecret, OrderingRoom, peerConfiguration, restrictCodecs } from "@satsuma/core/encryption";

type How = "encrypted" | "pipe" | "writer";
interface Result {
  readonly frames: number;
  /** In the worker, of each frame, both sides. */
  readonly meanMs: number;
  readonly decoded: number;
  /** From the encoder to the decoder's door. */
  readonly jitterBufferMs: number;
}

const connectionNumber = 1;

/** A picture that changes everywhere, without a camera. */
function movingPicture(): MediaStreamTrack {
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 180 });
  const context = canvas.getContext("2d");
  let at = 0;
  setInterval(() => {
    if (context === null) return;
    at += 1;
    for (let bar = 0; bar < 16; bar += 1) {
      context.fillStyle = `hsl(${String((at * 7 + bar * 40) % 360)} 60% 50%)`;
      context.fillRect(((bar * 20 + at * 3) % 340) - 20, 0, 20, 180);
    }
  }, 66);
  const [track] = canvas.captureStream(15).getVideoTracks();
  if (track === undefined) throw new Error("a canvas without track");
  return track;
}

interface Ends {
  sender(sender: RTCRtpSender, index: number): void;
  receiver(receiver: RTCRtpReceiver, mid: string): void;
  counts(): Promise<{ readonly frames: number; readonly spentMs: number }>;
}

async function encrypted(): Promise<Ends> {
  const room = { room: newRoomName(), secret: newRoomSecret() };
  const ordering = new OrderingRoom();
  const peers = ["Ada", "Bo"].map(() => new Encryption());
  const entered = peers.map((peer) => new Promise<void>((resolve) => {
    peer.subscribe((event) => {
      if (event.type === "session" && event.event.type === "epoch" && event.event.roster.length === 2) resolve();
    }, new AbortController().signal);
  }));
  for (const [index, peer] of peers.entries()) {
    const { port1, port2 } = new MessageChannel();
    const { receive } = ordering.connect((bytes) => port1.postMessage(bytes, [bytes.buffer]));
    port1.onmessage = (event: MessageEvent<Uint8Array<ArrayBuffer>>) => receive(event.data);
    await peer.start({ ...room, displayName: `peer ${String(index)}`, deviceIdentity: "temporary", signaling: port2 });
  }
  await Promise.all(entered);
  const [ada, bo] = peers;
  if (ada === undefined || bo === undefined) throw new Error("two peers");
  return {
    sender: (sender) => ada.protect(sender, { connection: connectionNumber, source: "camera" }),
    receiver: (receiver, mid) => bo.unprotect(receiver, { connection: connectionNumber, mid, kind: "video" }),
    counts: async () => {
      const [sent, received] = await Promise.all([ada.counts(), bo.counts()]);
      const all = [...(sent?.senders ?? []).map((one) => ({ frames: one.protected, spentMs: one.spentMs })), ...(received?.receivers ?? []).map((one) => ({ frames: one.decrypted, spentMs: one.spentMs }))];
      return { frames: all.reduce((sum, one) => sum + one.frames, 0), spentMs: all.reduce((sum, one) => sum + one.spentMs, 0) };
    },
  };
}

async function passing(way: "pipe" | "writer"): Promise<Ends> {
  const worker = new Worker(new URL("./bench.worker.ts", import.meta.url), { type: "module" });
  await new Promise((resolve) => {
    worker.onmessage = resolve;
  });
  return {
    sender: (sender) => {
      sender.transform = new RTCRtpScriptTransform(worker, { way });
    },
    receiver: (receiver) => {
      receiver.transform = new RTCRtpScriptTransform(worker, { way });
    },
    counts: () => new Promise((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<{ frames: number; spentMs: number }>) => resolve(data);
      worker.postMessage("counts");
    }),
  };
}

async function bench(streams: number, seconds: number, how: How): Promise<Result> {
  const ends = how === "encrypted" ? await encrypted() : await passing(how);
  const from = new RTCPeerConnection(peerConfiguration());
  const to = new RTCPeerConnection(peerConfiguration());
  from.onicecandidate = ({ candidate }) => void to.addIceCandidate(candidate ?? undefined);
  to.onicecandidate = ({ candidate }) => void from.addIceCandidate(candidate ?? undefined);
  to.ontrack = ({ receiver, transceiver, track }) => {
    ends.receiver(receiver, transceiver.mid ?? "");
    const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, width: 64, srcObject: new MediaStream([track]) });
    document.body.append(video);
  };
  const picture = movingPicture();
  const senders = Array.from({ length: streams }, (_, index) => {
    const transceiver = from.addTransceiver("video", { direction: "sendonly", sendEncodings: [{ maxBitrate: 300_000 }] });
    ends.sender(transceiver.sender, index);
    restrictCodecs(transceiver, "video");
    return transceiver.sender;
  });
  const offer = await from.createOffer();
  await to.setRemoteDescription(offer);
  await from.setLocalDescription(offer);
  const answer = await to.createAnswer();
  await from.setRemoteDescription(answer);
  await to.setLocalDescription(answer);
  for (const sender of senders) await sender.replaceTrack(picture);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const before = await ends.counts();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const after = await ends.counts();
  const frames = after.frames - before.frames;
  let decoded = 0;
  let delay = 0;
  let emitted = 0;
  for (const report of (await to.getStats()).values() as Iterable<RTCInboundRtpStreamStats>) {
    if (report.type !== "inbound-rtp") continue;
    decoded += report.framesDecoded ?? 0;
    delay += report.jitterBufferDelay ?? 0;
    emitted += report.jitterBufferEmittedCount ?? 0;
  }
  from.close();
  to.close();
  picture.stop();
  return { frames, meanMs: (after.spentMs - before.spentMs) / Math.max(1, frames), decoded, jitterBufferMs: (1000 * delay) / Math.max(1, emitted) };
}

Object.assign(globalThis, { bench });
