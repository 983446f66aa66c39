import type { RoomSuite, SafetyNumber } from "@satsuma/core";
import { ShieldCheck } from "lucide-react";
import type { JSX } from "react";
import { Button, DialogTrigger } from "react-aria-components";

import { reasonText, suiteWords } from "../words.ts";
import { QrCode } from "./QrCode.tsx";
import { TitledDialog } from "./TitledDialog.tsx";

interface Props {
  readonly safetyNumber: SafetyNumber;
  readonly people: number;
  readonly suite: RoomSuite;
}

export function SafetyNumberButton({ safetyNumber, people, suite }: Props): JSX.Element {
  return (
    <DialogTrigger>
      <Button className="safety-button" aria-label="Safety number" aria-describedby="safety-digits">
        <ShieldCheck size={18} aria-hidden="true" />
        <Digits groups={safetyNumber.groups} id="safety-digits" />
      </Button>
      <TitledDialog title="Safety number">
        <div className="safety-value">
          <Digits groups={safetyNumber.groups} large />
          <QrCode text={qrText(safetyNumber)} label="The safety number as a QR code" />
        </div>
        <p>
          {people > 1 ? (
            <>
              Everybody in this call sees <strong>the same 30 digits</strong>, as long as nobody sits in between. Let one person read
              them aloud, or compare them over another channel that you trust.
            </>
          ) : (
            <>You are alone in the room. The number changes as soon as somebody joins; compare it then.</>
          )}
        </p>
        <ul className="advice">
          <li>
            <strong>All the same:</strong> only the people on the list can see and hear this call. The server cannot.
          </li>
          <li>
            <strong>Different for someone:</strong> say nothing private. Leave, make a new room, and send its link another way.
          </li>
        </ul>
        <dl className="safety-history">
          <dt>Last change</dt>
          <dd>
            {reasonText(safetyNumber.reason)}, <time dateTime={new Date(safetyNumber.changedAt).toISOString()}>{timeOf(safetyNumber.changedAt)}</time>
          </dd>
          <dt>Encryption</dt>
          <dd data-suite={suite}>
            {suiteWords[suite].name}: {suiteWords[suite].what.split(". ")[0]}
          </dd>
          <dt>The number before</dt>
          <dd>{safetyNumber.previous === null ? "none yet" : <Digits groups={safetyNumber.previous} />}</dd>
        </dl>
        <p className="hint">It changes whenever somebody joins or leaves, and when keys are renewed; the reason is always given here.</p>
      </TitledDialog>
    </DialogTrigger>
  );
}

interface DigitsProps {
  readonly groups: readonly string[];
  readonly large?: boolean;
  readonly id?: string;
}

function Digits({ groups, large = false, id }: DigitsProps): JSX.Element {
  return (
    <span className={large ? "digits large" : "digits"} id={id} {...(large ? { "data-testid": "safety-number" } : {})}>
      {groups.map((group, index) => (
        <span key={index}>{group} </span>
      ))}
    </span>
  );
}

function qrText(value: SafetyNumber): string {
  return `satsuma-safety-number:1:${[...value.qrBits].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function timeOf(at: number): string {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
