import { TriangleAlert } from "lucide-react";
import type { JSX } from "react";

export function RefutedDevice(): JSX.Element {
  return (
    <strong className="device-refuted">
      <TriangleAlert size={14} aria-hidden="true" /> Not the device that it claims to be
    </strong>
  );
}
