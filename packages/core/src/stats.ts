/** The browser's statistics and the worker's counts in one value. */
import type { MeetingStats, SenderStats, SlotStats } from "./api.ts";
import type { EngineClient } from "./engine-client.ts";
import { sources } from "./ids.ts";
import type { MediaSession } from "./media-session.ts";
import type { Model } from "./model.ts";

export async function collectStats(
  model: Model,
  times: MeetingStats["times"],
  engine: EngineClient | null,
  media: MediaSession | null,
): Promise<MeetingStats> {
  const publish = media?.publishConnection ?? null;
  const subscribe = media?.subscribeConnection ?? null;
  const [outbound, inbound] = await Promise.all([publish?.outbound(), subscribe?.inbound()]);
  const counts = (await engine?.counts(true)) ?? null;

  const senders = sources.map((source): SenderStats => {
    const sent = outbound?.get(source)?.stats;
    const own = counts?.senders.find((sender) => sender.connection === publish?.number && sender.source === source);
    return {
      source,
      codec: outbound?.get(source)?.codec ?? null,
      framesProtected: own?.protected ?? 0,
      framesDropped: own?.dropped ?? 0,
      framesEncoded: sent?.framesEncoded ?? 0,
      framesSent: sent?.framesSent ?? 0,
      packetsSent: sent?.packetsSent ?? 0,
      bytesSent: outbound?.get(source)?.bytes ?? 0,
      width: sent?.frameWidth ?? 0,
      height: sent?.frameHeight ?? 0,
      keyFramesEncoded: sent?.keyFramesEncoded ?? 0,
    };
  });

  const slots = [...(inbound ?? [])].map(([mid, received]): SlotStats => {
    const own = counts?.receivers.find((receiver) => receiver.connection === subscribe?.number && receiver.mid === mid);
    const proof = model.proofs.get(mid);
    const carries = model.slots.has(mid) ? proof : undefined;
    return {
      mid,
      kind: received.kind === "audio" ? "audio" : "video",
      participant: carries?.incarnation ?? null,
      source: carries?.source ?? null,
      framesDecrypted: own?.decrypted ?? 0,
      framesHeld: own?.held ?? 0,
      framesDropped: own?.dropped ?? 0,
      framesRefused: own?.refused ?? 0,
      framesPassedOver: own?.passedOver ?? 0,
      duplicates: own?.duplicates ?? 0,
      longestGapMs: own?.longestGapMs ?? 0,
      framesDecoded: received.framesDecoded ?? 0,
      keyFramesDecoded: received.keyFramesDecoded ?? 0,
      framesPerSecond: received.framesPerSecond ?? 0,
      width: received.frameWidth ?? 0,
      height: received.frameHeight ?? 0,
      freezeCount: received.freezeCount ?? 0,
      packetsReceived: received.packetsReceived ?? 0,
      bytesReceived: received.bytesReceived ?? 0,
      packetsLost: received.packetsLost ?? 0,
      nackCount: received.nackCount ?? 0,
      pliCount: received.pliCount ?? 0,
      totalSamplesReceived: received.totalSamplesReceived ?? 0,
      concealedSamples: received.concealedSamples ?? 0,
      silentConcealedSamples: received.silentConcealedSamples ?? 0,
      jitterBufferDelay: received.jitterBufferDelay ?? 0,
    };
  });

  const path = media?.path ?? null;
  return {
    path: path && {
      bitrateKbps: path.bitrate_kbps,
      usedKbps: path.used_kbps,
      wantedKbps: path.wanted_kbps,
      lossPercent: path.loss_percent,
      roundTripMs: path.round_trip_ms,
      limitedBy: path.limited_by,
      slots: path.slots.map((slot) => ({ ...slot, limitedBy: slot.limited_by })),
    },
    at: performance.now(),
    times: { ...times },
    senders,
    slots,
    epoch: model.epoch,
  };
}
