import { useSyncExternalStore } from "react";

const moved = "satsuma:moved";

/** Goes to a page of ours without loading it anew. */
export function navigate(url: string): void {
  history.pushState(null, "", url);
  window.dispatchEvent(new Event(moved));
}

export function useLocation(): string {
  return useSyncExternalStore(subscribe, () => location.href);
}

function subscribe(listener: () => void): () => void {
  const events = ["popstate", "hashchange", moved];
  for (const event of events) window.addEventListener(event, listener);
  return () => {
    for (const event of events) window.removeEventListener(event, listener);
  };
}
