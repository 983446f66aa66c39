/** The link to the room, into the clipboard. */
import type { Meeting } from "@satsuma/core";
import { Check, Link2 } from "lucide-react";
import { useEffect, useState, type JSX } from "react";
import { Button } from "react-aria-components";

import { IconButton } from "./IconButton.tsx";

export interface Invitation {
  readonly result: "idle" | "copied" | "refused";
  readonly copy: () => void;
}

export function useInvitation(meeting: Meeting): Invitation {
  const [result, setResult] = useState<Invitation["result"]>("idle");
  useEffect(() => {
    if (result === "idle") return;
    const timer = setTimeout(() => setResult("idle"), 4000);
    return () => clearTimeout(timer);
  }, [result]);
  return {
    result,
    copy: () => {
      navigator.clipboard.writeText(meeting.invitationLink() ?? location.href).then(
        () => setResult("copied"),
        () => setResult("refused"),
      );
    },
  };
}

export function CopyLinkButton({ invitation: { result, copy } }: { readonly invitation: Invitation }): JSX.Element {
  return (
    <>
      <IconButton label="Copy invitation link" active={result === "copied"} onPress={copy}>
        {result === "copied" ? <Check aria-hidden="true" /> : <Link2 aria-hidden="true" />}
      </IconButton>
      <span className={result === "idle" ? "visually-hidden" : "toast"} role="status">
        {result === "copied" && "Link copied. Send it to those you want here: whoever has it can enter."}
        {result === "refused" && "The browser did not allow copying. Copy the address from the address bar instead."}
      </span>
    </>
  );
}

/** For who is alone: the one thing to do next, where the eye is. */
export function InvitationBanner({ invitation: { result, copy } }: { readonly invitation: Invitation }): JSX.Element {
  return (
    <div className="banner invitation">
      <span role="status">You are the only one here. Send the link to those you want to meet; whoever has it can enter.</span>
      <Button className="primary-button small" onPress={copy}>
        {result === "copied" ? <Check size={18} aria-hidden="true" /> : <Link2 size={18} aria-hidden="true" />} Copy link
      </Button>
    </div>
  );
}
