import type { LocalSource, Meeting, MeetingState } from "@satsuma/core";
import { X } from "lucide-react";
import { useState, type JSX } from "react";
import { Button } from "react-aria-components";

import { displayedName } from "../words.ts";

/** Whether the banner above the pictures says that media does not get through. */
export function isMediaFailed({ media }: Pick<MeetingState, "media">): boolean {
  return media.publish === "failed" || media.subscribe === "failed";
}

/** What went wrong and does not end the meeting. Each can be put away: it lies over the pictures. */
export function Notices({ meeting, state }: { readonly meeting: Meeting; readonly state: MeetingState }): JSX.Element {
  const [dismissed, setDismissed] = useState<readonly LocalSource[]>([]);
  const failures: readonly (readonly [string, LocalSource])[] = [
    ["Microphone", state.local.microphone],
    ["Camera", state.local.camera],
    ["Screen", state.local.screen],
  ];
  const self = state.participants.find((participant) => participant.isSelf);
  return (
    <div className="notices" aria-live="polite">
      {failures.map(([what, source]) =>
        source.status === "failed" && source.error.code !== "cancelled" && !dismissed.includes(source) ? (
          <Notice key={what} message={`${what}: ${source.error.message}`} advice={source.error.advice} onDismiss={() => setDismissed([...dismissed, source].slice(-failures.length))} />
        ) : null,
      )}
      {state.notices.map((notice) =>
        notice.code === "media-connection-failed" && isMediaFailed(state) ? null : (
          <Notice key={notice.id} message={notice.message} advice={notice.advice} onDismiss={() => meeting.dismissNotice(notice.id)} />
        ),
      )}
      <span className="visually-hidden">{self === undefined ? "" : `You are ${displayedName(self.name)}`}</span>
    </div>
  );
}

/** What is put away does not take the place of who uses the keyboard with it: to the next one of its kind, or else to what is on top. */
export function focusBeside(button: Element): void {
  const others = [".notice button", ".panel button", ".toolbar button"].flatMap((selector) => [...document.querySelectorAll<HTMLElement>(selector)]);
  others.find((other) => other !== button)?.focus();
}

interface NoticeProps {
  readonly message: string;
  readonly advice: string;
  readonly onDismiss: () => void;
}

function Notice({ message, advice, onDismiss }: NoticeProps): JSX.Element {
  return (
    <p className="notice">
      <span>
        <strong>{message}</strong> {advice}
      </span>
      <Button
        className="icon-button quiet"
        aria-label={`Dismiss: ${message}`}
        onPress={({ target }) => {
          focusBeside(target);
          onDismiss();
        }}
      >
        <X size={16} aria-hidden="true" />
      </Button>
    </p>
  );
}
