import type { JSX } from "react";

export function Brand({ size = 28 }: { readonly size?: number }): JSX.Element {
  return (
    <span className="brand">
      <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
        <circle cx="16" cy="18" r="12" className="brand-fruit" />
        <path d="M16 18 7.5 26.400M16 18l8.500 8.400M16 18H4M16 18h12M16 18V6.200M16 18V30" className="brand-segments" />
        <path d="M16 7c0-3.600 3-5.600 7-5.600 0 4-3 6-7 5.600Z" className="brand-leaf" />
      </svg>
      <span className="brand-name">Satsuma</span>
    </span>
  );
}
