import type { JSX, ReactNode, RefObject } from "react";
import { Button, Tooltip, TooltipTrigger } from "react-aria-components";

interface Props {
  readonly label: string;
  readonly active?: boolean;
  /** What it switches is off, and that stands out. */
  readonly off?: boolean;
  readonly expanded?: boolean;
  /** The letter that does the same with Ctrl. */
  readonly shortcut?: string;
  readonly buttonRef?: RefObject<HTMLButtonElement | null>;
  /** Without it the DialogTrigger around it opens its dialog. */
  readonly onPress?: () => void;
  readonly children: ReactNode;
}

/** Round, with a name that is read out and shown on hovering. */
export function IconButton({ label, active = false, off = false, expanded, shortcut, buttonRef, onPress, children }: Props): JSX.Element {
  return (
    <TooltipTrigger delay={500}>
      <Button
        className={`round-button${active ? " active" : ""}${off ? " off" : ""}`}
        aria-label={label}
        {...(onPress === undefined ? {} : { onPress })}
        {...(expanded === undefined ? {} : { "aria-expanded": expanded })}
        {...(shortcut === undefined ? {} : { "aria-keyshortcuts": `Control+${shortcut}` })}
        {...(buttonRef === undefined ? {} : { ref: buttonRef })}
      >
        {children}
      </Button>
      <Tooltip className="tooltip">{shortcut === undefined ? label : `${label} (Ctrl+${shortcut})`}</Tooltip>
    </TooltipTrigger>
  );
}
