import { missingFeatures, parseRoomLink, type Meeting } from "@satsuma/core";
import { useEffect, useState, type JSX } from "react";

import { Farewell } from "./pages/Farewell.tsx";
import { Landing } from "./pages/Landing.tsx";
import { Lobby } from "./pages/Lobby.tsx";
import { ProblemPage } from "./pages/ProblemPage.tsx";
import { Room } from "./pages/Room.tsx";
import { useLocation } from "./navigation.ts";

type Visit =
  | { readonly stage: "lobby" }
  | { readonly stage: "room"; readonly meeting: Meeting }
  | { readonly stage: "left" };

export function App(): JSX.Element {
  const href = useLocation();
  const [missing] = useState(() => missingFeatures());
  const [visit, setVisit] = useState<Visit>({ stage: "lobby" });
  const link = parseRoomLink(href);
  useEffect(() => setVisit({ stage: "lobby" }), [href]);
  const meeting = visit.stage === "room" ? visit.meeting : null;
  // "Leave", and the browser's own way out, "back": nobody is heard from a page that no longer shows the call.
  useEffect(() => () => void meeting?.leave(), [href, meeting]);

  if (missing.length > 0) return <ProblemPage problem={{ kind: "missing-features", missing }} />;
  if (new URL(href).pathname === "/") return <Landing />;
  switch (link.kind) {
    case "not-a-room":
      return <ProblemPage problem={{ kind: "not-a-room" }} />;
    case "without-secret":
    case "damaged-secret":
    case "unknown-suite":
      return <ProblemPage problem={{ kind: link.kind, room: link.room }} />;
    case "complete":
      break;
  }
  switch (visit.stage) {
    case "lobby":
      return <Lobby link={link} onEnter={(meeting) => setVisit({ stage: "room", meeting })} />;
    case "room":
      return <Room meeting={visit.meeting} onLeft={() => setVisit({ stage: "left" })} onRetry={() => setVisit({ stage: "lobby" })} />;
    case "left":
      return <Farewell room={link.room} onReturn={() => setVisit({ stage: "lobby" })} />;
  }
}
