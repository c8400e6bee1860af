// How long the coin cell lasts: node current-budget.mjs prints the table of README.md. Calculated, not measured.
// Charges in microcoulombs, currents in microamperes, times in milliseconds.

/** What the parts take, at 3 V and room temperature. Where each number is from stands beside it in README.md. */
export const parts = {
  sleepMicroamperes: 1.9, // nRF52832, System ON, all RAM kept, RTC running
  radioMilliamperes: 5.3, // transmitting at 0 dBm, DC/DC converter on
  startUpMs: 0.14, // of the radio before each packet
  startUpMilliamperes: 3.0, // on average meanwhile
  crystalMs: 1.0, // the 32 MHz crystal, once per event
  crystalMilliamperes: 0.3,
  processorMilliamperes: 3.3, // running from flash, 64 MHz, DC/DC
  eventProcessorMs: 1.0, // the stack's work per advertising event
  readingProcessorMs: 5, // measuring, text, HMAC, once per reading
  sensorMs: 8.3, // SHT40, high repeatability
  sensorMilliamperes: 0.32,
  sensorSleepMicroamperes: 0.08,
  regulatorMicroamperes: 0, // none: everything runs from the cell
  cellMilliampereHours: 220, // CR2032, nominal
  cellUsable: 0.7, // what is left for us: cold, ageing, and the voltage under the pulses
  selfDischargePerYear: 0.02,
};

const channels = 3;
/** Octets that are sent around the advertising data: preamble, access address, header, address, CRC. */
const packetBytes = 1 + 4 + 2 + 6 + 3;

/** Charge of one advertising event: the same packet on three channels. */
export function eventMicrocoulombs(dataBytes, p = parts) {
  const onAirMs = ((packetBytes + dataBytes) * 8) / 1_000; // 1 Mbit/s
  const packet = onAirMs * p.radioMilliamperes + p.startUpMs * p.startUpMilliamperes;
  return channels * packet + p.crystalMs * p.crystalMilliamperes + p.eventProcessorMs * p.processorMilliamperes;
}

/** Mean current, and the months that a cell lasts with it. */
export function budget({ measureSeconds, saidShare, advertiseSeconds, intervalMs, dataBytes }, p = parts) {
  const events = Math.floor((advertiseSeconds * 1_000) / intervalMs) + 1;
  const perReading = p.sensorMs * p.sensorMilliamperes + p.readingProcessorMs * p.processorMilliamperes;
  const perSaying = events * eventMicrocoulombs(dataBytes, p);
  const meanMicroamperes =
    p.sleepMicroamperes +
    p.sensorSleepMicroamperes +
    p.regulatorMicroamperes +
    (perReading + saidShare * perSaying) / measureSeconds;
  const selfMicroamperes = (p.cellMilliampereHours * p.selfDischargePerYear * 1_000) / 8_766;
  const hours = (p.cellMilliampereHours * p.cellUsable * 1_000) / (meanMicroamperes + selfMicroamperes);
  return { events, meanMicroamperes, months: hours / 730.5 };
}

export const cases = [
  { measureSeconds: 10, saidShare: 1, advertiseSeconds: 5, intervalMs: 250, dataBytes: 25 },
  { measureSeconds: 10, saidShare: 1, advertiseSeconds: 5, intervalMs: 1_000, dataBytes: 25 },
  { measureSeconds: 60, saidShare: 1, advertiseSeconds: 5, intervalMs: 1_000, dataBytes: 25 },
  { measureSeconds: 60, saidShare: 0.2, advertiseSeconds: 5, intervalMs: 1_000, dataBytes: 25 },
  { measureSeconds: 600, saidShare: 1, advertiseSeconds: 5, intervalMs: 1_000, dataBytes: 25 },
];

export function table() {
  const rows = cases.map((each) => {
    const { events, meanMicroamperes, months } = budget(each);
    const said = each.saidShare === 1 ? "each" : `one in ${Math.round(1 / each.saidShare)}`;
    const how = `${each.advertiseSeconds} s, every ${each.intervalMs} ms`;
    return `| ${each.measureSeconds} s | ${said} | ${how} | ${events} | ${meanMicroamperes.toFixed(1)} µA | ${Math.round(months)} |`;
  });
  return [
    "| Measured every | of them said | transmits for | packets on 3 channels | mean current | months |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

if (process.argv[1] === new URL(import.meta.url).pathname) console.log(table());
