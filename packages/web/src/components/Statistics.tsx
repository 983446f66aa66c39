import type { MeetingStats, ParticipantId, PathStats, Source } from "@satsuma/core";
import { useEffect, useState, type JSX } from "react";

import { kilobits } from "../words.ts";

const intervalMs = 1000;

interface Props {
  readonly stats: () => Promise<MeetingStats>;
  readonly nameOf: (participant: ParticipantId) => string;
}

interface Shown {
  readonly now: MeetingStats;
  /** A second earlier. */
  readonly before: MeetingStats | null;
}

/** What the call does to the network, and what limits it; nothing is measured while it is closed. */
export function Statistics({ stats, nameOf }: Props): JSX.Element {
  const [open, setOpen] = useState(false);
  const [shown, setShown] = useState<Shown | null>(null);
  useEffect(() => {
    if (!open) return;
    let ended = false;
    const ask = (): void => void stats().then((now) => ended || setShown((last) => ({ now, before: last?.now ?? null })));
    ask();
    const timer = setInterval(ask, intervalMs);
    return () => {
      ended = true;
      clearInterval(timer);
      setShown(null);
    };
  }, [open, stats]);
  return (
    <details className="statistics" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Statistics</summary>
      {shown !== null && <Table shown={shown} nameOf={nameOf} />}
    </details>
  );
}

function Table({ shown: { now, before }, nameOf }: { readonly shown: Shown } & Pick<Props, "nameOf">): JSX.Element {
  const { path } = now;
  const ms = before === null ? 0 : now.at - before.at;
  return (
    <>
      {path !== null && <p>{pathText(path)}</p>}
      <table>
        <thead>
          <tr>
            <th scope="col">Stream</th>
            <th scope="col">What</th>
            <th scope="col">Rate</th>
            <th scope="col">Lost</th>
            <th scope="col">Limited by</th>
          </tr>
        </thead>
        <tbody>
          {now.senders
            .filter((sender) => sender.framesProtected > 0)
            .map((sender) => (
              <tr key={sender.source}>
                <th scope="row">Your {sourceNames[sender.source]}</th>
                <td>{[sender.width > 0 ? `${sender.width} × ${sender.height}` : "", sender.codec?.replace(/^.*\//, "") ?? ""].filter((part) => part !== "").join(", ")}</td>
                <td>{kilobits(before?.senders.find(({ source }) => source === sender.source)?.bytesSent, sender.bytesSent, ms)}</td>
                <td />
                <td />
              </tr>
            ))}
          {now.slots.map((slot) => {
            if (slot.participant === null || slot.source === null) return null;
            const state = path?.slots.find((told) => told.mid === slot.mid);
            return (
              <tr key={slot.mid}>
                <th scope="row">
                  {nameOf(slot.participant)}: {sourceNames[slot.source]}
                </th>
                <td>{state?.paused === true ? "paused" : slot.width > 0 ? `${slot.width} × ${slot.height}, ${Math.round(slot.framesPerSecond)}/s` : ""}</td>
                <td>{kilobits(before?.slots.find(({ mid }) => mid === slot.mid)?.bytesReceived, slot.bytesReceived, ms)}</td>
                <td>{slot.packetsReceived > 0 ? `${((100 * slot.packetsLost) / (slot.packetsReceived + slot.packetsLost)).toFixed(1)} %` : ""}</td>
                <td>
                  {state !== undefined && [state.layers > 1 ? `size ${state.layer + 1} of ${state.layers}` : "", limits[state.limitedBy]].filter((part) => part !== "").join(", ")}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}

const sourceNames: Readonly<Record<Source, string>> = { microphone: "sound", camera: "camera", screen: "screen" };

const limits: Readonly<Record<PathStats["slots"][number]["limitedBy"], string>> = {
  "": "",
  view: "your window",
  bandwidth: "your connection",
  publisher: "the sender",
};

function pathText(path: PathStats): string {
  const cause = path.limitedBy === "loss" ? ", limited by loss" : path.limitedBy === "delay" ? ", limited by your connection" : "";
  const estimate = path.bitrateKbps > 0 ? `about ${path.bitrateKbps} kbit/s are possible${cause}, ` : "";
  return `From the server: ${estimate}${path.usedKbps} kbit/s used, ${path.lossPercent} % lost, ${path.roundTripMs} ms there and back.`;
}
