import type { Feature, RoomName } from "@satsuma/core";
import { useEffect, type JSX } from "react";
import { Button } from "react-aria-components";

import { Brand } from "../components/Brand.tsx";
import { navigate } from "../navigation.ts";

export type PageProblem =
  | { readonly kind: "missing-features"; readonly missing: readonly Feature[] }
  | { readonly kind: "without-secret"; readonly room: RoomName }
  | { readonly kind: "damaged-secret"; readonly room: RoomName }
  | { readonly kind: "unknown-suite"; readonly room: RoomName }
  | { readonly kind: "not-a-room" };

const features: Readonly<Record<Feature, string>> = {
  "secure-context": "a secure page (HTTPS, or the machine's own address)",
  webassembly: "WebAssembly",
  webrtc: "calls in the page (WebRTC)",
  "encoded-transform": "encryption of calls (RTCRtpScriptTransform)",
  "camera-and-microphone": "access to camera and microphone",
  workers: "background workers",
};

export function ProblemPage({ problem }: { readonly problem: PageProblem }): JSX.Element {
  const { title, text } = words(problem);
  useEffect(() => {
    document.title = `${title} – Satsuma`;
  }, [title]);
  return (
    <div className="page">
      <header className="page-header">
        <Brand />
      </header>
      <main className="message-page" role="alert">
        <h1>{title}</h1>
        {text.map((paragraph) => (
          <p key={paragraph}>{paragraph}</p>
        ))}
        {problem.kind !== "missing-features" && (
          <Button className="primary-button" onPress={() => navigate("/")}>
            Make a room of your own
          </Button>
        )}
      </main>
    </div>
  );
}

function words(problem: PageProblem): { readonly title: string; readonly text: readonly string[] } {
  switch (problem.kind) {
    case "missing-features":
      return problem.missing.includes("secure-context")
        ? {
            title: "This page is not served securely",
            text: [
              "Browsers allow camera, microphone and encryption only on pages served over HTTPS, or from the machine itself.",
              "Open the address with https:// in front. If it is your server: start it with a certificate, or let it make one.",
            ],
          }
        : {
            title: "This browser cannot encrypt calls",
            text: [
              `It lacks ${problem.missing.map((feature) => features[feature]).join(", ")}.`,
              "Satsuma never sends a call unencrypted, so it stops here. Use a current Chrome, Edge or other Chromium browser, or Firefox 117 or later.",
            ],
          };
    case "without-secret":
      return {
        title: "This link lacks its key",
        text: [
          `The link to “${problem.room}” should go on after a #, with 22 more characters. They are the key to the room, and without them nobody can be let in.`,
          "Ask the person who invited you to send the whole link again. Some programs cut links off: copying it with the button in the meeting helps.",
        ],
      };
    case "damaged-secret":
      return {
        title: "The key in this link is damaged",
        text: [
          `What follows the # in the link to “${problem.room}” is not a whole key: it must have exactly 22 characters.`,
          "Ask for the link again, or copy it once more, from its first to its last character.",
        ],
      };
    case "unknown-suite":
      return {
        title: "This room encrypts in a way that is not known here",
        text: [
          `The link to “${problem.room}” names an encryption after the key that this version of Satsuma does not have. Without it nobody inside could let you in.`,
          "Ask for the link again in case it was damaged; if it was not, reload this page when its server has been brought up to date.",
        ],
      };
    case "not-a-room":
      return { title: "There is nothing here", text: ["This address is not a room. A link to a room looks like /r/name#key."] };
  }
}
