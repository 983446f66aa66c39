import qrcode from "qrcode-generator";
import { useMemo, type JSX } from "react";

export function QrCode({ text, label }: { readonly text: string; readonly label: string }): JSX.Element {
  const { path, size } = useMemo(() => draw(text), [text]);
  return (
    <svg className="qr" viewBox={`0 0 ${String(size)} ${String(size)}`} role="img" aria-label={label} shapeRendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#1c1410" />
    </svg>
  );
}

function draw(text: string): { readonly path: string; readonly size: number } {
  const code = qrcode(0, "M");
  code.addData(text, "Byte");
  code.make();
  const modules = code.getModuleCount();
  const quiet = 3;
  let path = "";
  for (let row = 0; row < modules; ++row) {
    for (let column = 0; column < modules; ++column) {
      if (code.isDark(row, column)) path += `M${String(column + quiet)} ${String(row + quiet)}h1v1h-1z`;
    }
  }
  return { path, size: modules + 2 * quiet };
}
