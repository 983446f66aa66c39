import { useEffect, useRef, type JSX } from "react";

interface Props {
  readonly watch: (listener: (level: number) => void, signal: AbortSignal) => void;
  readonly active: boolean;
}

/** Moves with the voice, twenty times a second, without rendering anything anew. */
export function LevelMeter({ watch, active }: Props): JSX.Element {
  const meter = useRef<HTMLDivElement>(null);
  const bar = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const ended = new AbortController();
    const show = (level: number): void => {
      if (bar.current !== null) bar.current.style.transform = `scaleX(${level.toFixed(3)})`;
      meter.current?.setAttribute("aria-valuenow", String(Math.round(100 * level)));
    };
    if (active) watch((level) => show(Math.min(1, 1.6 * Math.sqrt(level))), ended.signal);
    return () => {
      ended.abort();
      show(0);
    };
  }, [watch, active]);
  return (
    <div className="level-meter" role="meter" aria-label="Microphone level" aria-valuemin={0} aria-valuemax={100} aria-valuenow={0} ref={meter}>
      <div ref={bar} />
    </div>
  );
}
