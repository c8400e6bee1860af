/**
 * Advertising data as they are sent: elements of length, type and content. [Bluetooth Core Specification, volume 3 part C, section 11]
 * noble keeps one manufacturer's element of each device and combines it with those of earlier reports, so that the element of a beacon
 * hides the element of a sensor. This file finds all elements of one report.
 */
const manufacturerSpecific = 0xff;

/**
 * The contents of the elements with manufacturer data in their order, each with the company id first. The search ends
 * at an element that is cut off, or at zeros; elements before it are returned.
 */
export function manufacturerElements(data: Uint8Array): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at + 1 < data.byteLength; ) {
    const length = data[at] ?? 0;
    const end = at + 1 + length;
    if (length === 0 || end > data.byteLength) break;
    if (data[at + 1] === manufacturerSpecific) found.push(data.subarray(at + 2, end));
    at = end;
  }
  return found;
}
