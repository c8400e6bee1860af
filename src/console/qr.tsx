/** A text as a QR code, dark on light in any colour scheme, as readers need it. */
import encodeQR from "qr";

/** Modules on each side. [ISO/IEC 18004 5.3.8] */
const quietZone = 4;

export function Qr({ text, says }: { readonly text: string; readonly says: string }) {
  const rows = encodeQR(text, "raw", { ecc: "medium", border: quietZone });
  const size = rows.length;
  const dark = rows.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : [])));
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={says} shape-rendering="crispEdges">
      <rect class="light" width={size} height={size} />
      <path class="dark" d={dark.join("")} />
    </svg>
  );
}
