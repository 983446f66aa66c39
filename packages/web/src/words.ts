/** Sentences that several places say alike. */
import type { SafetyNumberReason } from "@satsuma/core";

export function list(names: readonly string[]): string {
  const shown = names.map((name) => (name === "" ? "Someone without a name" : name));
  if (shown.length <= 1) return shown[0] ?? "Someone";
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1) ?? ""}`;
}

export function reasonText({ kind, joined, left }: SafetyNumberReason): string {
  switch (kind) {
    case "entered":
      return "You came in";
    case "changed": {
      const parts = [...(joined.length > 0 ? [`${list(joined)} joined`] : []), ...(left.length > 0 ? [`${list(left)} left`] : [])];
      return parts.join(", ");
    }
    case "refreshed":
      return "Keys were renewed";
    case "new-era":
      return "The group was started anew, because its keys could not be agreed on";
  }
}

export function displayedName(name: string): string {
  return name === "" ? "Guest" : name;
}
