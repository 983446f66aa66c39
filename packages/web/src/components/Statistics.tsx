import type { MeetingStats, PathStats } from "@satsuma/core";
import { useEffect, useState, type JSX } from "react";

const intervalMs = 1000;

interface Props {
  readonly stats: () => Promise<MeetingStats>;
}

/** What the call does to the network, and what limits it; nothing is measured while it is closed. */
export function Statistics({ stats }: Props): JSX.Element {
  const [open, setOpen] = useState(false);
  const [shown, setShown] = useState<MeetingStats | null>(null);
  useEffect(() => {
    if (!open) return;
    let ended = false;
    const ask = (): void => void stats().then((now) => ended || setShown(now));
    ask();
    const timer = setInterval(ask, intervalMs);
    return () => {
      ended = true;
      clearInterval(timer);
    };
  }, [open, stats]);
  return (
    <details className="statistics" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Statistics</summary>
      {shown !== null && <Table shown={shown} />}
    </details>
  );
}

function Table({ shown }: { readonly shown: MeetingStats }): JSX.Element {
  const { path } = shown;
  const received = shown.slots.filter((slot) => slot.participant !== null);
  return (
    <>
      {path !== null && <p>{pathText(path)}</p>}
      <table>
        <thead>
          <tr>
            <th scope="col">Stream</th>
            <th scope="col">Picture</th>
            <th scope="col">Lost</th>
            <th scope="col">Limited by</th>
          </tr>
        </thead>
        <tbody>
          {shown.senders
            .filter((sender) => sender.packetsSent > 0)
            .map((sender) => (
              <tr key={sender.source}>
                <th scope="row">own {sender.source}</th>
                <td>{sender.width > 0 ? `${sender.width} × ${sender.height}` : ""}</td>
                <td />
                <td>{sender.codec ?? ""}</td>
              </tr>
            ))}
          {received.map((slot) => {
            const state = path?.slots.find((told) => told.mid === slot.mid);
            return (
              <tr key={slot.mid}>
                <th scope="row">
                  {slot.mid} {slot.source}
                </th>
                <td>{state?.paused === true ? "paused" : slot.width > 0 ? `${slot.width} × ${slot.height}, ${Math.round(slot.framesPerSecond)}/s` : ""}</td>
                <td>{slot.packetsReceived > 0 ? `${((100 * slot.packetsLost) / (slot.packetsReceived + slot.packetsLost)).toFixed(1)} %` : ""}</td>
                <td>
                  {state === undefined ? "" : `${state.layers > 1 ? `size ${state.layer + 1} of ${state.layers} ` : ""}${limits[state.limitedBy]}`}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}

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
