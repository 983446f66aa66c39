import type { JSX, ReactNode, RefObject } from "react";
import { Button, Tooltip, TooltipTrigger } from "react-aria-components";

interface Props {
  readonly label: string;
  readonly active?: boolean;
  readonly expanded?: boolean;
  readonly buttonRef?: RefObject<HTMLButtonElement | null>;
  readonly onPress: () => void;
  readonly children: ReactNode;
}

/** Round, with a name that is read out and shown on hovering. */
export function IconButton({ label, active = false, expanded, buttonRef, onPress, children }: Props): JSX.Element {
  return (
    <TooltipTrigger delay={500}>
      <Button
        className={`round-button${active ? " active" : ""}`}
        aria-label={label}
        onPress={onPress}
        {...(expanded === undefined ? {} : { "aria-expanded": expanded })}
        {...(buttonRef === undefined ? {} : { ref: buttonRef })}
      >
        {children}
      </Button>
      <Tooltip className="tooltip">{label}</Tooltip>
    </TooltipTrigger>
  );
}
